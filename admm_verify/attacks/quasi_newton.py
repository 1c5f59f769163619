"""L-BFGS in boxes, many points at once: the state between two evaluations of what is to be lowered."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, namespace
from admm_verify.sets.contract import WalkableSet

_SHARE = 1e-4
"""Of the fall that the gradient promises, what a step has to keep."""

_SHORTEST, _LONGEST = 0.1, 0.5
"""What a step that does not keep it is cut to, at least and at most."""

_FIRST = 0.5
"""The first step's share of the root of the number of free inputs: a quarter of the way from corner to corner."""

_HUGE = 1e15
"""Stands for slopes where the network overflows; its square is a number in float32."""

_CURVED = 1e-10
"""The least curvature along a step, in units of its turn of the gradient, that tells of the Hessian."""


@dataclass(frozen=True, eq=False)
class StepPair:
    """A step and what the gradient turned by along it, both [targets, points, inputs]."""

    step: Array
    turn: Array

    def take(self, rows: Array) -> "StepPair":
        return StepPair(self.step[rows], self.turn[rows])


@dataclass(frozen=True, eq=False)
class QuasiNewton:
    """Points on their way, one evaluation of each a turn: points = clip(x + share ahead) are tried, and x moves there
    where the loss falls by enough; else the share is cut. ahead = -H slope on the inputs that are not held at an end of
    their interval by the slope, with the inverse Hessian H that the pairs stand for.

    Lengths and slopes are in half-widths of the box. Shapes: points, x, slope (at x) and ahead [targets, points,
    inputs]; level (what is lowered at x) and share [targets, points].
    """

    memory: int
    points: Array
    x: Array
    slope: Array
    ahead: Array
    level: Array
    share: Array
    pairs: tuple[StepPair, ...] = ()

    @classmethod
    def start(cls, points: Array, memory: int) -> "QuasiNewton":
        """The state before anything is known of the points."""
        xp = namespace(points)
        still, endless = xp.zeros_like(points), xp.full_like(points[..., 0], float("inf"))
        return cls(memory, points, points, still, still, endless, xp.ones_like(endless))

    def take(self, rows: Array) -> "QuasiNewton":
        kept = {name: value[rows] for name, value in vars(self).items() if name not in ("memory", "pairs")}
        return replace(self, **kept, pairs=tuple(pair.take(rows) for pair in self.pairs))

    def moved(self, box: WalkableSet, losses: Array, gradient: Array) -> "QuasiNewton":
        """The next state, from what it is to lower and the gradient of that at the points.

        Shapes: box [targets, 1, inputs]; losses [targets, points]; gradient [targets, points, inputs].
        """
        xp, half = namespace(losses), box.half
        one = xp.ones_like(half)
        slope, huge = xp.where(half > 0, gradient * half, xp.zeros_like(gradient)), xp.full_like(gradient, _HUGE)
        slope = xp.minimum(xp.maximum(slope, -huge), huge)
        step = (self.points - self.x) / xp.where(half > 0, half, one)
        promised = xp.sum(self.slope * step, axis=-1)
        good = losses <= self.level + _SHARE * xp.minimum(promised, xp.zeros_like(promised))
        # Rejected steps tell of the Hessian, too.
        pairs = (*self.pairs, StepPair(step, slope - self.slope))[-self.memory :]
        chosen = good[..., None]
        x = xp.where(chosen, self.points, self.x)
        here, level = xp.where(chosen, slope, self.slope), xp.where(good, losses, self.level)
        ahead = xp.where(chosen, _downhill(box, x, here, pairs), self.ahead)
        share = xp.where(good, xp.ones_like(self.share), self.share * self._cut(losses, promised))
        points = box.project(x + share[..., None] * ahead * half)
        return QuasiNewton(self.memory, points, x, here, ahead, level, share, pairs)

    def _cut(self, losses: Array, promised: Array) -> Array:
        """Where the parabola through both values with the promised slope at x is least, in shares of the step."""
        xp = namespace(losses)
        bend = 2.0 * (losses - self.level - promised)
        curved = xp.isfinite(bend) & (bend > 0)
        least = xp.where(curved, -promised / xp.where(curved, bend, xp.ones_like(bend)), xp.zeros_like(bend))
        low, high = (xp.full_like(least, end) for end in (_SHORTEST, _LONGEST))
        return xp.minimum(xp.maximum(least, low), high)


def _downhill(box: WalkableSet, x: Array, slope: Array, pairs: tuple[StepPair, ...]) -> Array:
    """-H slope on the free inputs, by the two loops; a first step along the negative slope where that is not
    downhill.
    """
    xp = namespace(x)
    # From inside, half a width reaches beyond where x is.
    low, high = x <= box.project(x - box.half), x >= box.project(x + box.half)
    held = (low & (slope > 0)) | (high & (slope < 0)) | (low & high)
    free = xp.where(held, xp.zeros_like(slope), xp.ones_like(slope))
    descent = slope * free
    size = xp.sqrt(_inner(descent, descent))
    across = _FIRST * xp.sqrt(xp.sum(free, axis=-1, keepdims=True))
    first = descent * (across / xp.where(size > 0, size, xp.ones_like(size)))
    steps, turns, weights, scale = [], [], [], xp.ones_like(size)
    for pair in pairs:
        step, turn = pair.step * free, pair.turn * free
        curvature, square = _inner(step, turn), _inner(turn, turn)
        known = (curvature > _CURVED * square) & xp.isfinite(square)
        one = xp.ones_like(curvature)
        weights.append(xp.where(known, one / xp.where(known, curvature, one), xp.zeros_like(one)))
        scale = xp.where(known, curvature / xp.where(known, square, one), scale)
        steps.append(xp.where(known, step, xp.zeros_like(step)))
        turns.append(xp.where(known, turn, xp.zeros_like(turn)))
    way, shares = descent, []
    for step, turn, weight in reversed(list(zip(steps, turns, weights, strict=True))):
        shares.append(weight * _inner(step, way))
        way = way - shares[-1] * turn
    way = scale * way
    for step, turn, weight, share in zip(steps, turns, weights, reversed(shares), strict=True):
        way = way + step * (share - weight * _inner(turn, way))
    any_known = sum((xp.astype(weight > 0, x.dtype) for weight in weights), xp.zeros_like(size)) > 0
    usable = any_known & (_inner(way, descent) > 0) & xp.isfinite(_inner(way, way))
    return -xp.where(usable, way, first)


def _inner(a: Array, b: Array) -> Array:
    return namespace(a).sum(a * b, axis=-1, keepdims=True)
