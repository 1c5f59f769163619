"""Second-order steps on the loss, where steps of signs go in circles: L-BFGS in boxes, from all starts at once."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.method import Method
from admm_verify.attacks.spectral import Spectral
from admm_verify.attacks.targets import Targets
from admm_verify.options import AtLeastOne, Count, Nonnegative

_SHARE = 1e-4
"""Of the fall that the gradient promises, what a step has to keep."""

_SHORTEST, _LONGEST = 0.1, 0.5
"""What a step that does not keep it is cut to, at least and at most."""

_ARRAYS = 12
"""Arrays of one number per point and input beside the pairs."""

_FIRST = 0.5
"""The first step's share of the root of the number of free inputs: a quarter of the way from corner to corner."""

_HUGE = 1e15
"""Stands for slopes where the network overflows; its square is a number in float32."""

_CURVED = 1e-10
"""The least curvature along a step, in units of its turn of the gradient, that tells of the Hessian."""


@dataclass(frozen=True)
class Lbfgs(Method):
    """L-BFGS on the loss over every box, from all starts at once; over other sets, `Spectral` steps.

    steps: a step may take two evaluations. targets: how many of the open targets of a block are tried, those of least
    loss first. memory: pairs that stand for the Hessian. aim: how far below zero targets of several atoms aim, in units
    of the loss at the start.

    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.1; Bertsekas, Projected
    Newton methods for optimization problems with simple constraints, SIAM J. Control Optim. 20, 1982; Liu and Nocedal,
    On the limited memory BFGS method, Math. Program. 45, 1989.
    """

    steps: Count = 30
    targets: Count = 2
    memory: AtLeastOne = 10
    aim: Nonnegative = 0.1

    def improve(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        order = np.argsort(to_numpy(hunt.found.loss)[rows], kind="stable")[: self.targets]
        some, rows = points[Placement.of(points).put_indices(order)], rows[order]
        if not hunt.landscape.targets.inputs.fills_range:
            return hunt.descend(rows, Spectral.start(some), 2 * self.steps)
        count, each, inputs = some.shape
        step = int(max(1, hunt.landscape.budget.bytes // (8 * (2 * self.memory + _ARRAYS) * count * inputs)))
        for first in range(0, each, step):
            left = np.flatnonzero(np.isin(rows, hunt.open))
            if not len(left):
                return
            part = some[Placement.of(some).put_indices(left), first : first + step, :]
            self._descend(hunt, rows[left], part)

    def _descend(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        xp, losses = namespace(points), hunt.landscape.take(rows).losses(points)
        zero = xp.zeros_like(losses)
        above = xp.where(xp.isfinite(losses), xp.maximum(losses, zero), zero)
        hunt.descend(rows, _Quasi.start(points, self.memory), 2 * self.steps, self.aim * above)


@dataclass(frozen=True, eq=False)
class _Pair:
    """A step and what the gradient turned by along it, both [targets, points, inputs]."""

    step: Array
    turn: Array

    def take(self, rows: Array) -> "_Pair":
        return _Pair(self.step[rows], self.turn[rows])


@dataclass(frozen=True, eq=False)
class _Quasi:
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
    pairs: tuple[_Pair, ...] = ()

    @classmethod
    def start(cls, points: Array, memory: int) -> "_Quasi":
        """The state before anything is known of the points."""
        xp = namespace(points)
        still, endless = xp.zeros_like(points), xp.full_like(points[..., 0], float("inf"))
        return cls(memory, points, points, still, still, endless, xp.ones_like(endless))

    def take(self, rows: Array) -> "_Quasi":
        kept = {name: value[rows] for name, value in vars(self).items() if name not in ("memory", "pairs")}
        return replace(self, **kept, pairs=tuple(pair.take(rows) for pair in self.pairs))

    def moved(self, targets: Targets, losses: Array, gradient: Array) -> "_Quasi":
        xp, half = namespace(losses), targets.spread.half
        one = xp.ones_like(half)
        slope, huge = xp.where(half > 0, gradient * half, xp.zeros_like(gradient)), xp.full_like(gradient, _HUGE)
        slope = xp.minimum(xp.maximum(slope, -huge), huge)
        step = (self.points - self.x) / xp.where(half > 0, half, one)
        promised = xp.sum(self.slope * step, axis=-1)
        good = losses <= self.level + _SHARE * xp.minimum(promised, xp.zeros_like(promised))
        # Rejected steps tell of the Hessian, too.
        pairs = (*self.pairs, _Pair(step, slope - self.slope))[-self.memory :]
        chosen = good[..., None]
        x = xp.where(chosen, self.points, self.x)
        here, level = xp.where(chosen, slope, self.slope), xp.where(good, losses, self.level)
        ahead = xp.where(chosen, _downhill(targets, x, here, pairs), self.ahead)
        share = xp.where(good, xp.ones_like(self.share), self.share * self._cut(losses, promised))
        points = targets.spread.project(x + share[..., None] * ahead * half)
        return _Quasi(self.memory, points, x, here, ahead, level, share, pairs)

    def _cut(self, losses: Array, promised: Array) -> Array:
        """Where the parabola through both values with the promised slope at x is least, in shares of the step."""
        xp = namespace(losses)
        bend = 2.0 * (losses - self.level - promised)
        curved = xp.isfinite(bend) & (bend > 0)
        least = xp.where(curved, -promised / xp.where(curved, bend, xp.ones_like(bend)), xp.zeros_like(bend))
        low, high = (xp.full_like(least, end) for end in (_SHORTEST, _LONGEST))
        return xp.minimum(xp.maximum(least, low), high)


def _downhill(targets: Targets, x: Array, slope: Array, pairs: tuple[_Pair, ...]) -> Array:
    """-H slope on the free inputs, by the two loops; a first step along the negative slope where that is not
    downhill.
    """
    xp, box = namespace(x), targets.spread
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
