"""Points of a set of inputs where a network is steep: certified lower bounds of local Lipschitz constants."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.lipschitz.attained import slopes_and_directions
from admm_verify.lipschitz.jacobians import MOST_OUTPUTS, enclosed_jacobian
from admm_verify.lipschitz.local_region import slopes_at
from admm_verify.lipschitz.norms import DUAL, length_of, steepest_of
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.norm_names import NormName

_ROOM = 2.0**-20
"""Of the width of every input: how far neighbours of the centre lie away that tell whether a set has an inside."""

_TRIED = 4
"""Points of an ascent whose slopes are certified."""


@dataclass(frozen=True, eq=False)
class SteepPoint:
    """A point of a set, flat, where |J|_norm is at least slope."""

    slope: float
    point: np.ndarray


class SteepestPoint:
    """The steepest point seen so far of a network over a set [1, n], whose inputs without width keep still.

    The norm of a Jacobian at a point is a slope that differences attain nearby, where the set has points all around
    some point of it; where it has none, nothing is claimed.
    """

    def __init__(self, graph: Network, inputs: WalkableSet, norm: NormName, free: np.ndarray) -> None:
        self.graph, self.inputs, self.free = graph, inputs, free
        self.norm: NormName = norm
        self.best: SteepPoint | None = None
        self.solid = _has_inside(inputs, free)

    @property
    def slope(self) -> float:
        """The lower bound that it is, 0 without a point."""
        return 0.0 if self.best is None else self.best.slope

    def ascend(self, points: int, rounds: int, run: Run) -> None:
        """From random points of the set, moved towards others wherever the Jacobian's norm is larger there."""
        if not self.solid:
            return
        rng = np.random.default_rng(0)
        x = to_numpy(self.inputs.sample(points, rng)).reshape(-1, self.graph.input_size)
        x[0] = to_numpy(self.inputs.centre).reshape(-1, self.graph.input_size)[0]
        slope = self._measured(x, rng)
        for _ in range(rounds):
            if run.over():
                break
            order = np.argsort(-slope)
            x, slope = (np.concatenate([part[order[: (points + 1) // 2]]] * 2)[:points] for part in (x, slope))
            away = to_numpy(self.inputs.sample(points, rng)).reshape(-1, x.shape[1])
            # Convex combinations of points stay inside, up to rounding.
            moved = x + 0.5 ** rng.integers(0, 8, (points, 1)) * (away - x) * (
                rng.random(x.shape) < rng.choice([0.2, 1])
            )
            moved = to_numpy(self.inputs.project(moved))
            found = self._measured(moved, rng)
            better = found > slope
            x, slope = np.where(better[:, None], moved, x), np.where(better, found, slope)
        self.try_points(x[np.argsort(-slope)[:_TRIED]])

    def try_points(self, points: np.ndarray) -> None:
        """Certify the slopes at points, as far as they lie in the set and are larger than what is known."""
        if not self.solid:
            return
        inside = to_numpy(self.inputs.drawn_in(points))
        inside = inside[np.isfinite(inside).all(axis=1)]
        if not len(inside) or self.graph.output_size > MOST_OUTPUTS:
            return
        for point, slopes in zip(inside, slopes_at(self.graph, inside), strict=True):
            centre, _ = enclosed_jacobian(self.graph, slopes, np.eye(self.graph.output_size))
            if not np.isfinite(centre).all():
                continue
            row = _steepest_row(centre * self.free, self.norm)
            slope = self._length(*enclosed_jacobian(self.graph, slopes, row)) / _longest(row, self.norm)
            slope *= 1.0 - 4.0 * gamma(8)
            if np.isfinite(slope) and slope > self.slope:
                self.best = SteepPoint(float(slope), point)

    def _length(self, centre: np.ndarray, radius: np.ndarray) -> float:
        """|c'J| at least, in the dual norm."""
        least = np.where(self.free, np.maximum(np.abs(centre) - radius, 0.0), 0.0) * (1.0 - gamma(4))
        return float(length_of(least, DUAL[self.norm])[0]) * (1.0 - 4.0 * gamma(least.shape[-1] + 8))

    def _measured(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return slopes_and_directions(self.graph, x, (self.norm, self.norm), rng, self.free)[0]


def _steepest_row(jacobian: np.ndarray, norm: NormName) -> np.ndarray:
    """The c [1, outputs] of |c|_dual = 1, more or less, with the largest |c'J|_dual."""
    if norm == "linf":
        return np.eye(1, len(jacobian), int(np.argmax(np.sum(np.abs(jacobian), axis=1))))
    if norm == "l1":
        column = jacobian[:, int(np.argmax(np.sum(np.abs(jacobian), axis=0)))]
        return steepest_of(column[None], "linf")
    return np.linalg.svd(jacobian, full_matrices=False)[0][:, :1].T


def _longest(row: np.ndarray, norm: NormName) -> float:
    """|c| in the dual norm, rounded upward."""
    return float(length_of(row, DUAL[norm])[0]) * (1.0 + 4.0 * gamma(row.shape[-1] + 8))


def _has_inside(inputs: WalkableSet, free: np.ndarray) -> bool:
    """Whether the set holds points on both sides of its centre along every free input, so that none of these is tied to
    the others.
    """
    some = np.flatnonzero(free)
    if not len(some):
        return False
    centre, width = to_numpy(inputs.centre)[0], to_numpy(inputs.width)[0]
    for way in (1.0, -1.0):
        moved = np.repeat(centre[None], len(some), axis=0)
        moved[np.arange(len(some)), some] += way * _ROOM * width[some]
        if np.any(moved[np.arange(len(some)), some] == centre[some]) or not np.all(to_numpy(inputs.surely(moved))):
            return False
    return True
