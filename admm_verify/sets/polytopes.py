"""Boxes cut with half-spaces, batched: what a polytope of any form becomes where it is a set of inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import SMALLEST, Array, Bool, Float, Placement, gamma, inner, namespace, to_numpy
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet, Numbers, Vectors, WalkableSet
from admm_verify.sets.images import along, applied
from admm_verify.sets.interior import Rows
from admm_verify.sets.scaled_rows import ScaledRows

_KEPT = 1e-9
"""Relative to the width of the box across a row: less than that over it is rounding."""

_STEPS = 40
"""Of a random walk, and two more for every coordinate, before its end counts as a sample."""


@dataclass(frozen=True, eq=False, repr=False)
class Polytopes(WalkableSet):
    """The sets {x : lower <= x <= upper, normals x <= limits}.

    floor, ceiling: limits that floats hold, rounded down for points that are given or said to be inside, and rounded up
    for bounds. inner: a point that keeps all rows with room to spare, towards which others are drawn; of rows
    that leave none, as those that state an equality, points keep what rounding allows.
    Shapes: lower, upper, inner [..., n]; normals [..., m, n]; floor, ceiling [..., m].
    Error: minima are bounds for any multipliers, min over the box of (c + normals'mu)'x - ceiling'mu, mu >= 0.
    """

    lower: Array
    upper: Array
    normals: Array
    ceiling: Array
    floor: Array
    inner: Array

    __repr__ = short_repr

    @classmethod
    def of(cls, *numbers: Array) -> "Polytopes":
        return Polytopes(*numbers)

    @classmethod
    def about(cls, lower: Vectors, upper: Vectors, normals: Array, ceiling: Rows, floor: Rows) -> "Polytopes":
        """The sets with an inner point that is looked for; where there is none, the nearest to the box's middle."""
        middle = Box.of(lower, upper).centre
        start = Polytopes(lower, upper, normals, ceiling, floor, middle)
        if not start.rows:
            return start
        xp, rows = namespace(lower), start._rows
        x = rows.middlemost
        # Rows that state an equality are kept up to rounding.
        kept = applied(normals, x) <= floor + _KEPT * rows.size
        near = xp.all(kept, axis=-1, keepdims=True)
        if not bool(xp.all(near)):
            x = xp.where(near, x, rows.nearest(middle)[0])
        return Polytopes(lower, upper, normals, ceiling, floor, start.enclosing.project(x))

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.lower, self.upper, self.normals, self.ceiling, self.floor, self.inner

    @property
    def range(self) -> tuple[Any, Any]:
        return self.lower, self.upper

    @cached_property
    def enclosing(self) -> Box:
        """The boxes that are cut."""
        return Box.of(self.lower, self.upper)

    @property
    def reach(self) -> Vectors:
        return self.enclosing.reach

    @property
    def centre(self) -> Vectors:
        return self.inner

    @property
    def rows(self) -> int:
        """The number m of half-spaces."""
        return self.normals.shape[-2]

    @cached_property
    def _rows(self) -> ScaledRows:
        return ScaledRows.of(*map(self.placement.double.put, self.numbers[:4]))

    @cached_property
    def doubt(self) -> Rows:
        """How far a computed product of a row with a point of the box can be off."""
        xp = namespace(self.normals)
        roundoff = float(xp.finfo(self.normals.dtype).eps) / 2.0
        size = applied(xp.abs(self.normals), self.reach)
        return 2.0 * gamma(self.size + 8, roundoff) * size + SMALLEST * (self.size + 2)

    @cached_property
    def _spare(self) -> Rows:
        """By how much the inner point keeps the rows; what is not positive is nothing to rely on."""
        return self.floor - 6.0 * self.doubt - applied(self.normals, self.inner)

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        xp, double = namespace(coefficient), self.placement.double
        if double != self.placement:
            value, size = self.put(double).minimum(double.put(coefficient))
            return self.placement.put(value), self.placement.put(size)
        value, size = self.enclosing.minimum(coefficient)
        if not self.rows:
            return value, size
        bound = self.bound(coefficient, self.multipliers(coefficient))
        return xp.where(bound > value, bound, value), size

    def multipliers(self, coefficient: Vectors) -> Rows:
        """mu >= 0 of the rows that give nearly the greatest `bound`, in float64."""
        return self._rows.multipliers(coefficient)

    @cached_property
    def farkas(self) -> Rows:
        """mu >= 0 with a positive `bound` of the zero functional where sets are empty, if such were found."""
        return self.multipliers(namespace(self.lower).zeros_like(self.lower))

    def bound(self, coefficient: Vectors, multipliers: Rows) -> Numbers:
        """min over the boxes of (c + normals'mu)'x - limits'mu for any mu >= 0, a lower bound of c'x over the sets.

        Error: rounded downward.
        """
        xp, mu = namespace(coefficient), multipliers
        size, box = xp.abs(coefficient) + along(mu, xp.abs(self.normals)), self.enclosing
        pull, (middle, radius) = coefficient + along(mu, self.normals), box.middle
        value = inner(pull, middle) - inner(xp.abs(pull), radius) - xp.sum(mu * self.ceiling, axis=-1)
        count = 2 * (self.size + self.rows) + 24
        lost = gamma(count) * (3.0 * inner(size, box.reach) + xp.sum(mu * xp.abs(self.ceiling), axis=-1))
        return value - 2.0 * lost - SMALLEST * count * (self.size + self.rows)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        if not self.rows:
            return self.enclosing.minimiser(coefficient)
        place = Placement.of(coefficient)
        return self._inside(place.put(self._rows.minimiser(place.double.put(coefficient))))

    def project(self, x: Vectors) -> Vectors:
        xp, near = namespace(x), self.enclosing.project(x)
        if not self.rows:
            return near
        kept = xp.all(applied(self.normals, near) <= self.floor - 3.0 * self.doubt, axis=-1, keepdims=True)
        if bool(xp.all(kept)):
            return near
        place = Placement.of(x)
        first, second = (self._inside(place.put(found)) for found in self._rows.nearest(place.double.put(x)))
        # |x - second|^2 - |x - first|^2.
        loss = xp.sum((first - second) * ((x - first) + (x - second)), axis=-1, keepdims=True)
        return xp.where(kept, near, xp.where(loss < 0, second, first))

    def _inside(self, x: Vectors) -> Vectors:
        """Points near the sets moved towards the inner one until they keep all rows that this one keeps."""
        xp, x = namespace(x), self.enclosing.project(x)
        if not self.rows:
            return x
        value, start, room = applied(self.normals, x), applied(self.normals, self.inner), self._spare
        over = value - (self.floor - 5.0 * self.doubt)
        fall = xp.where((over > 0) & (room > 0), value - start, xp.ones_like(over))
        needed = xp.where((over > 0) & (room > 0), over / fall, xp.zeros_like(over))
        share = xp.max(needed, axis=-1, keepdims=True)
        # Where all of the way is needed the inner point itself is meant.
        share = xp.where(share >= 1.0, xp.ones_like(share), share * (1.0 + 2.0**-20))
        moved = self.enclosing.project(x + share * (self.inner - x))
        return xp.where(share >= 1.0, self.inner, xp.where(share > 0, moved, x))

    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        # In the norm of the set around its centre, the steepest ascent is towards a maximiser.
        xp = namespace(x)
        known = xp.all(xp.isfinite(direction), axis=-1, keepdims=True)
        steep = xp.where(known, direction, xp.zeros_like(direction))
        size = step + 0.0 * steep[..., :1]
        far = self.minimiser(-xp.sign(size) * steep)
        moved = x + xp.where(known, xp.abs(size), xp.zeros_like(size)) * (far - self.inner)
        return xp.where(known, self.project(moved), x)

    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        """Ends of random walks inside, uniform up to how short these are.

        Reference: Smith, Efficient Monte Carlo procedures for generating points uniformly distributed over bounded
        regions, Operations Research 32 (1984): hit and run.
        """
        sets = self.at((*(slice(None) for _ in self.lead), None))
        xp, put = namespace(self.lower), self.placement.put
        shape = (*self.lead, count, self.size)
        x, room = sets.inner + put(np.zeros(shape)), xp.maximum(sets._spare, xp.zeros_like(sets._spare))
        for _ in range(_STEPS + 2 * self.size):
            way = put(rng.standard_normal(shape)) * sets.half
            slope = applied(sets.normals, way)
            left = room - applied(sets.normals, x - sets.inner)
            ahead, back = _runs(slope, left)
            for rise, gap in ((way, sets.upper - x), (-way, x - sets.lower)):
                more, less = _runs(rise, gap)
                ahead, back = xp.minimum(ahead, more), xp.minimum(back, less)
            share = put(rng.random((*shape[:-1], 1)))
            x = sets.enclosing.project(x + (share * (ahead + back) - back) * way)
        return sets._inside(x)

    def inward(self, placement: Placement) -> "Polytopes":
        xp, double = placement.xp, self.placement.double
        box, normals = self.enclosing.inward(placement), placement.put(self.normals)
        off = namespace(self.normals).abs(double.put(normals) - double.put(self.normals))
        floor = placement.directed(double.put(self.floor) - 1.01 * applied(off, double.put(self.reach)), up=False)
        middle = xp.minimum(xp.maximum(placement.put(self.inner), box.lower), box.upper)
        return Polytopes(box.lower, box.upper, normals, floor, floor, middle)

    def flattened(self, flatten: Callable[[Array], Array]) -> "Polytopes":
        ends = self.enclosing.flattened(flatten).range
        rest = self.numbers[2:] if self.lead else [part[None] for part in self.numbers[2:]]
        return Polytopes(*ends, *rest)

    def within(self, lower: Vectors, upper: Vectors) -> "Polytopes":
        box = self.enclosing.within(lower, upper)
        xp = namespace(self.lower)
        others = (xp.broadcast_to(part, (*box.lead, *part.shape[len(self.lead) :])) for part in self.numbers[2:5])
        return Polytopes.about(*box.range, *others)

    def seen(self, crop: Callable[[Array], Array]) -> Box:
        return self.enclosing.seen(crop)

    def surely(self, x: Vectors) -> Bool[Array, "..."]:
        xp = namespace(x)
        kept = xp.all(applied(self.normals, x) <= self.floor - self.doubt, axis=-1)
        return kept & self.enclosing.contains(x)

    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        xp, boxed = namespace(x), self.enclosing.contains(x)
        if not self.rows:
            return boxed
        value = applied(self.normals, x)
        kept, lost = value <= self.floor - self.doubt, value > self.floor + self.doubt
        open = np.array(to_numpy(boxed & xp.logical_not(xp.any(lost, axis=-1) | xp.all(kept, axis=-1))))
        inside = np.array(to_numpy(boxed & xp.all(kept, axis=-1)))
        if open.any():
            points, lead = to_numpy(x + 0.0 * self.lower), open.shape
            normals = np.broadcast_to(to_numpy(self.normals), (*lead, self.rows, self.size))
            floor = np.broadcast_to(to_numpy(self.floor), (*lead, self.rows))
            for k in map(tuple, np.argwhere(open)):
                inside[k] = _keeps(normals[k], floor[k], points[k])
        return xp.asarray(inside, device=self.placement.device)

    def covers(self, other: InputSet) -> bool:
        return any(self._covers(one) for one in other.supersets)

    def _covers(self, other: InputSet) -> bool:
        if other.size != self.size or len(other.lead) != len(self.lead) or not self.enclosing.covers(other):
            return False
        xp = namespace(self.lower)
        if isinstance(other, Polytopes) and other.rows == self.rows:
            same = xp.all(other.normals == self.normals) & xp.all(other.ceiling <= self.ceiling)
            if bool(same):
                return True
        value, size = other.spread().minimum(-self.normals)
        most = -value + gamma(2 * self.size + 16) * size
        return bool(xp.all(most <= self.floor))


def _runs(slope: Array, left: Array) -> tuple[Array, Array]:
    """How far a point can go along and against a direction with so much left in every row, [..., 1] each."""
    xp = namespace(slope)
    left, flat = xp.maximum(left, xp.zeros_like(left)), slope == 0
    times = left / xp.where(flat, xp.ones_like(slope), xp.abs(slope))
    far = xp.full_like(times, 1e30)
    ahead, back = xp.where(slope > 0, times, far), xp.where(slope < 0, times, far)
    if not ahead.shape[-1]:
        return xp.sum(ahead, axis=-1, keepdims=True) + 1e30, xp.sum(back, axis=-1, keepdims=True) + 1e30
    return xp.min(ahead, axis=-1, keepdims=True), xp.min(back, axis=-1, keepdims=True)


def _keeps(normals: np.ndarray, floor: np.ndarray, x: np.ndarray) -> bool:
    """Whether normals x <= floor, in rational numbers."""
    point = [Fraction(float(value)) for value in x]
    sums = (sum((Fraction(float(a)) * b for a, b in zip(row, point, strict=True)), Fraction(0)) for row in normals)
    return all(value <= Fraction(float(limit)) for value, limit in zip(sums, floor, strict=True))
