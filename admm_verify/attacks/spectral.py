"""Spectral projected gradients: steps as long as the curvature just met asks for, over any set with nearest points."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, namespace
from admm_verify.attacks.targets import Targets

_RECENT = 10
"""Values of which a new one has to be below the largest: steps need not go down each time."""

_SHARE = 1e-4
"""Of the fall that the gradient promises, what a step has to keep."""

_RANGE = 1e6
"""How much longer or shorter than one across the set steps may be before they end at its border."""


@dataclass(frozen=True, eq=False)
class Spectral:
    """Points on their way, one evaluation of each a turn: points = x + share ahead are tried, ahead = project(x -
    step gradient) - x, and x moves there where the loss falls; else the share is halved. step = |dx|^2 / dx'dg.

    Shapes: points, x, slope (the gradient at x) and ahead [targets, points, inputs]; share [targets, points]; recent
    [targets, points, 10].
    Reference: Birgin, Martinez and Raydan, Nonmonotone spectral projected gradient methods on convex sets, SIAM J.
    Optim. 10, 2000.
    """

    points: Array
    x: Array
    slope: Array
    ahead: Array
    share: Array
    recent: Array
    begun: bool = False

    @classmethod
    def start(cls, points: Array) -> "Spectral":
        """The state before anything is known of the points."""
        xp, still = namespace(points), namespace(points).zeros_like(points)
        share = xp.ones_like(points[..., 0])
        return cls(points, points, still, still, share, xp.stack([share] * _RECENT, axis=-1))

    def take(self, rows: Array) -> "Spectral":
        arrays = {name: value[rows] for name, value in vars(self).items() if name != "begun"}
        return replace(self, **arrays)

    def moved(self, targets: Targets, losses: Array, gradient: Array) -> "Spectral":
        xp, inputs = namespace(losses), targets.spread
        promised = xp.sum(self.slope * self.ahead, axis=-1)
        good = losses <= xp.max(self.recent, axis=-1) + _SHARE * self.share * promised
        if not self.begun:
            good = xp.ones_like(good)
        chosen = good[..., None]
        x, slope = xp.where(chosen, self.points, self.x), xp.where(chosen, gradient, self.slope)
        across = xp.sqrt(xp.sum(xp.broadcast_to(inputs.stride, inputs.shape) ** 2, axis=-1, keepdims=True))
        size, unit = _measured(slope)
        step, turn = self.points - self.x, gradient - self.slope
        curvature = xp.sum(step * turn, axis=-1, keepdims=True)
        bent = curvature > 0
        far = xp.sum(step * step, axis=-1, keepdims=True) / xp.where(bent, curvature, xp.ones_like(curvature)) * size
        far = xp.where(bent & xp.isfinite(far), far, _RANGE * across) if self.begun else across
        near = inputs.project(x - xp.minimum(xp.maximum(far, across / _RANGE), across * _RANGE) * unit)
        ahead = xp.where(chosen, near - x, self.ahead)
        share = xp.where(good, xp.ones_like(self.share), 0.5 * self.share)
        points = xp.where(chosen, near, x + share[..., None] * ahead)
        if not bool(xp.all(good)):
            # Sets need not be convex.
            points = xp.where(chosen, near, inputs.project(points))
        latest = losses[..., None]
        shifted = xp.concat([self.recent[..., 1:], latest], axis=-1) if self.begun else latest + 0.0 * self.recent
        recent = xp.where(chosen, shifted, self.recent)
        return Spectral(points, x, slope, ahead, share, recent, True)


def _measured(gradient: Array) -> tuple[Array, Array]:
    """|gradient| [..., 1] and the gradient by that; zero where it is."""
    xp = namespace(gradient)
    most = xp.max(xp.abs(gradient), axis=-1, keepdims=True)
    unit = gradient / xp.where(most > 0, most, xp.ones_like(most))
    length = xp.sqrt(xp.sum(unit * unit, axis=-1, keepdims=True))
    return most * length, unit / xp.where(length > 0, length, xp.ones_like(length))
