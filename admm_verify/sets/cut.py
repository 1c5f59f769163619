"""Sets cut with boxes: what input splitting makes of sets that have corners of no box."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Array, Bool, Float, Placement, inner, namespace
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box
from admm_verify.sets.composite import Composite
from admm_verify.sets.contract import InputSet, Numbers, Vectors, WalkableSet
from admm_verify.sets.dual_simplex import solve_programs
from admm_verify.sets.images import along

_SPLITS = 16
"""Rounds in which a functional is shared out between set and box."""

_FEW = 10
"""Rounds that lead to a point which is nearly the best."""

_LOOKS = (0, 2, 5, 10)
"""Rounds after which bounds are made of it, besides the last; the best counts."""

_PROJECTIONS = 40
"""Passes of Dykstra's method, which comes nearer with every one."""

_STILL = 1e-13
"""Of the range's width: passes that move points by less are the last."""


@dataclass(frozen=True, eq=False, repr=False)
class Cut(Composite):
    """The sets {x in base : x in box}, of one base and one box each; some may be empty, where any bound holds.

    Points are as near to both as some passes of an iteration bring them; `drawn_in` makes sure.
    Shapes: base, box [..., n].
    """

    base: WalkableSet
    box: Box

    __repr__ = short_repr

    @classmethod
    def of_parts(cls, *parts: Any) -> "Cut":
        return cls(*parts)

    @property
    def parts(self) -> tuple[WalkableSet, ...]:
        return self.base, self.box

    @property
    def supersets(self) -> tuple[InputSet, ...]:
        return self, *self.base.supersets, self.box

    @property
    def range(self) -> tuple[Any, Any]:
        return self.box.range

    @property
    def reach(self) -> Vectors:
        return self.box.reach

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        # For any d, min c'x >= min over base of (c - d)'x + min over box of d'x.
        xp = namespace(coefficient)
        value, size = self.box.minimum(coefficient)
        other, more = self.base.minimum(coefficient)
        value, size = xp.maximum(value, other), xp.maximum(size, more)
        reach = xp.maximum(self.base.reach, self.reach)
        shares = list(self._shares(coefficient))
        for k, share in enumerate(shares):
            if k in _LOOKS or k == len(shares) - 1:
                rest = coefficient - share
                (low, first), (high, second) = self.base.minimum(rest), self.box.minimum(share)
                # What the difference was rounded by.
                slack = 4.0 * DOUBLE_ROUNDOFF * inner(xp.abs(rest) + xp.abs(share), reach) + SMALLEST * self.size
                both = low + high - slack
                better = both > value
                value, size = xp.where(better, both, value), xp.where(better, xp.maximum(first + second, size), size)
        return value, size

    def _shares(self, coefficient: Vectors) -> "_Shares":
        return _Shares(self, coefficient)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        xp, shares, alone = namespace(coefficient), self._shares(coefficient), self.base.minimiser(coefficient)
        fits = self.box.contains(alone)[..., None]
        if bool(xp.all(fits)):
            return alone
        for _ in islice(shares, _FEW):
            pass
        return xp.where(fits, alone, self.project(shares.z))

    def project(self, x: Vectors) -> Vectors:
        xp = namespace(x)
        first, second = xp.zeros_like(x), xp.zeros_like(x)
        for _ in range(_PROJECTIONS):
            near = self.base.project(x + first)
            first, last = x + first - near, x
            x = self.box.project(near + second)
            second = near + second - x
            if bool(xp.all(xp.abs(x - last) <= _STILL * self.width)):
                break
        return x

    @property
    def centre(self) -> Vectors:
        return self._centre

    @cached_property
    def _centre(self) -> Array:
        # The nearest points to two middles are on different borders, so that their mean is on neither.
        return self.box.project(0.5 * self.project(self.box.centre) + 0.5 * self.project(self.base.centre))

    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        return self.project(self.box.stepped(x, step, direction))

    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        """Points of every set, more of them near its border than uniform ones."""
        sets = self.at((*(slice(None) for _ in self.lead), None))
        found = sets.drawn_in(self.box.sample(count, rng))
        return namespace(found).where(namespace(found).isnan(found), sets.centre, found)

    def inward(self, placement: Placement) -> "Cut":
        return Cut(self.base.inward(placement), self.box.inward(placement))

    def flattened(self, flatten: Callable[[Array], Array]) -> "Cut":
        return Cut(self.base.flattened(flatten), self.box.flattened(flatten))

    def within(self, lower: Vectors, upper: Vectors) -> "Cut":
        return Cut(self.base, self.box.within(lower, upper))

    def seen(self, crop: Callable[[Array], Array]) -> InputSet:
        return self.box.seen(crop)

    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        return namespace(x).logical_and(self.base.contains(x), self.box.contains(x))

    def surely(self, x: Vectors) -> Bool[Array, "..."]:
        return namespace(x).logical_and(self.base.surely(x), self.box.surely(x))

    def found_inside(self, x: Vectors) -> Bool[Array, "..."]:
        return namespace(x).logical_and(self.base.found_inside(x), self.box.contains(x))

    def covers(self, other: InputSet) -> bool:
        return self.base.covers(other) and self.box.covers(other)


class _Shares:
    """The parts of a functional that the box takes, better ones round after round.

    Kelley's cutting planes: a point of the box outside the base is cut off by a hyperplane at its nearest point there;
    with multipliers mu of all planes A so far the box takes c + A'mu, and the base the rest.
    Reference: Kelley, The cutting-plane method for solving convex programs, J. SIAM 8 (1960).
    """

    def __init__(self, cut: Cut, coefficient: Vectors) -> None:
        self.cut, self.coefficient, box = cut, coefficient, cut.box
        self.middle, self.half = box.middle
        self.z = box.minimiser(coefficient)

    def __iter__(self) -> Iterator[Vectors]:
        xp, cost = namespace(self.coefficient), self.coefficient * self.half
        scale = _most(cost)
        one = xp.ones_like(self.half)
        slopes, rooms = [], []
        for k in range(_SPLITS):
            way = -self.coefficient if k == 0 else self.z - self.cut.base.project(self.z)
            if bool(xp.all(xp.abs(way) <= _STILL * self.half)):
                # Nothing is left to cut off.
                return
            most = -self.cut.base.minimum(-way)[0]
            slope = way * self.half
            size = _most(slope)
            slopes.append(slope / size)
            rooms.append((most - xp.sum(way * self.middle, axis=-1))[..., None] / size)
            normals = xp.stack(slopes, axis=-2)
            t, mu = solve_programs(cost / scale, (-one, one), normals, xp.concat(rooms, axis=-1))
            self.z = self.cut.box.project(self.middle + self.half * t)
            share = self.coefficient + scale * along(mu, normals) / xp.where(self.half > 0, self.half, one)
            yield xp.where(self.half > 0, share, self.coefficient)


def _most(x: Array) -> Array:
    """max |x_i|, or 1 for zeros, [..., 1]."""
    xp = namespace(x)
    most = xp.max(xp.abs(x), axis=-1, keepdims=True)
    return xp.where(most > 0, most, xp.ones_like(most))
