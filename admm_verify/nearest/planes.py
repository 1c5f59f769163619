"""The point of a set nearest to another one among those below some planes, certified from below."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import SMALLEST, Array, Float, gamma
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.lengths import unit

_STEPS = 40
"""Steps of the multipliers."""


@dataclass(frozen=True, eq=False)
class BelowPlanes:
    """Sets, each cut with half-spaces {x : slope_j'x + shift_j <= 0}.

    Shapes: sets [parts, n]; slope [parts, planes, n]; shift [parts, planes].
    """

    sets: WalkableSet
    slope: Float[Array, "parts planes n"]
    shift: Float[Array, "parts planes"]

    def nearest(self, x: Float[np.ndarray, "*#parts n"]) -> tuple[np.ndarray, np.ndarray]:
        """Points p [parts, n] that are nearly the nearest to x, and the multipliers [parts, planes] they belong to.

        p = proj(x - slope'mu / 2), the minimiser of |p - x|^2 + mu'(slope p + shift) over the set; mu >= 0 climbs along
        slope p + shift, with Nesterov's momentum, anew wherever it points downhill, for planes of unit slopes.
        """
        norm = np.sqrt(np.sum(self.slope * self.slope, axis=-1))
        norm = np.where((norm > 0) & np.isfinite(norm), norm, 1.0)
        slope, shift = self.slope / norm[..., None], self.shift / norm
        mu = ahead = np.zeros_like(shift)
        age, best = np.ones(len(shift)), np.full(len(shift), -np.inf)
        kept = x + np.zeros_like(slope[:, 0]), mu
        for _ in range(_STEPS):
            p = self.sets.project(x - 0.5 * np.einsum("pj,pjn->pn", ahead, slope))
            rise = np.einsum("pjn,pn->pj", slope, p) + shift
            value = np.sum((p - x) ** 2, axis=-1) + np.sum(ahead * rise, axis=-1)
            better = value > best
            best = np.where(better, value, best)
            kept = np.where(better[:, None], p, kept[0]), np.where(better[:, None], ahead, kept[1])
            stepped = np.maximum(ahead + 2.0 / shift.shape[1] * rise, 0.0)
            forward = np.sum((stepped - mu) * rise, axis=-1) >= 0
            older = np.where(forward, 0.5 + np.sqrt(0.25 + age * age), 1.0)
            ahead = np.maximum(stepped + (np.where(forward, age - 1.0, 0.0) / older)[:, None] * (stepped - mu), 0.0)
            mu, age, still = stepped, older, np.abs(stepped - mu) <= 1e-14 * stepped
            if still.all():
                break
        return kept[0], kept[1] / norm

    def bound(self, x: Float[np.ndarray, " n"], p: np.ndarray, mu: np.ndarray) -> Float[np.ndarray, " parts"]:
        """Certified lower bounds of the distance from x to the sets below the planes, from any p and mu >= 0.

        |y - x| >= v'(y - x) + mu'(slope y + shift) for any y there and |v| <= 1; v is the direction from x to p.
        Error: rounded downward.
        """
        away = p - x
        v = unit(away)
        length = np.sum(v * away, axis=-1, keepdims=True)
        mu = np.where((length > 0) & np.isfinite(mu), mu / np.where(length > 0, 2.0 * length, 1.0), 0.0)
        slope, size = np.einsum("pj,pjn->pn", mu, self.slope), np.einsum("pj,pjn->pn", mu, np.abs(self.slope))
        least, magnitude = self.sets.minimum(v + slope)
        constant = np.sum(mu * self.shift, axis=-1) - np.sum(v * x, axis=-1)
        # The coefficient's own rounding multiplies points of the set.
        reach = np.sum((np.abs(v) + size) * self.sets.reach, axis=-1)
        sums = np.sum(np.abs(mu * self.shift), axis=-1) + np.sum(np.abs(v * x), axis=-1)
        count = 2 * v.shape[-1] + mu.shape[-1] + 32
        room = 2.0 * gamma(count) * (magnitude + reach + sums) + 16.0 * SMALLEST * count * (1.0 + reach)
        found = least + constant - room
        return np.where(np.isnan(found), -np.inf, found)
