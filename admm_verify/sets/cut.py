"""Sets cut with boxes: what input splitting makes of sets that have corners of no box."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Array, Bool, Float, Placement, inner, namespace
from admm_verify.sets.box import Box
from admm_verify.sets.composite import Composite
from admm_verify.sets.contract import InputSet, Numbers, Vectors, WalkableSet
from admm_verify.sets.images import length

_SPLITS = 24
"""Passes in which a functional is shared out between set and box; what bounds lose is looked at at every eighth."""

_PROJECTIONS = 60
"""Passes of Dykstra's method, which comes nearer with every one."""

_STILL = 1e-13
"""Of the range's width: passes that move points by less are the last."""


@dataclass(frozen=True, eq=False)
class Cut(Composite):
    """The sets {x in base : x in box}, of one base and one box each; some may be empty, where any bound holds.

    Points are as near to both as some passes of an iteration bring them; `drawn_in` makes sure.
    Shapes: base, box [..., n].
    """

    base: WalkableSet
    box: Box

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
        for k, share in self._shares(coefficient):
            if k % 8 == 7:
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
        shares = self._shares(coefficient)
        for _ in shares:
            pass
        return self.project(shares.z)

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

    def covers(self, other: InputSet) -> bool:
        return self.base.covers(other) and self.box.covers(other)


class _Shares:
    """The parts of a functional that the box takes, better ones pass after pass.

    ADMM on min c'x over x in base, z in box, x = z: at the optimum, minus its multiplier is the best share.
    Reference: Boyd et al., Distributed optimization and statistical learning via ADMM (2011), 5.
    """

    def __init__(self, cut: Cut, coefficient: Vectors) -> None:
        xp = namespace(coefficient)
        size = length(cut.box.half)
        self.cut, steep = cut, length(coefficient)
        ones = xp.ones_like(steep)
        self.slope = (xp.where(steep > 0, steep, ones) / xp.where(size > 0, size, xp.ones_like(size)))[..., None]
        self.push = coefficient / self.slope
        self.z = cut.box.project(cut.box.centre - 0.0 * coefficient)
        self.u = xp.zeros_like(self.z)

    def __iter__(self) -> "Any":
        for k in range(_SPLITS):
            x = self.cut.base.project(self.z - self.u - self.push)
            self.z = self.cut.box.project(x + self.u)
            self.u = self.u + x - self.z
            yield k, -self.slope * self.u
