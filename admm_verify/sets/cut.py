"""Sets cut with boxes: what input splitting makes of sets that have corners of no box."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Array, Bool, Float, Placement, inner, namespace
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box
from admm_verify.sets.composite import Composite
from admm_verify.sets.contract import InputSet, Numbers, Vectors, WalkableSet
from admm_verify.sets.shares import nearest_in_both, plane_shares

_SPLITS = 16
"""Rounds in which a functional is shared out between set and box."""

_FEW = 10
"""Rounds that lead to a point which is nearly the best."""

_CHEAP = 4
"""Rounds of iterations, which do without the last digits."""

_LOOKS = (0, 2, 5, 10)
"""Rounds after which bounds are made of it, besides the last; the best counts."""


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
        for share in self._looks(coefficient):
            both, more = self._shared(coefficient, share)
            better = both > value
            value, size = xp.where(better, both, value), xp.where(better, xp.maximum(more, size), size)
        return value, size

    def _looks(self, coefficient: Vectors) -> Iterator[Vectors]:
        """Shares of the box that are worth a bound."""
        known = self.base.shared_with(self.box.range, coefficient)
        if known is not None:
            yield known[0]
            if bool(namespace(coefficient).all(known[2])):
                return
        shares = [share for share, _ in plane_shares(self.base, self.box, coefficient, _SPLITS)]
        for k, share in enumerate(shares):
            if k in _LOOKS or k == len(shares) - 1:
                yield share

    def _shared(self, coefficient: Vectors, share: Vectors) -> tuple[Numbers, Numbers]:
        """The bound where the box takes a share of a functional, and its magnitude."""
        xp, rest = namespace(coefficient), coefficient - share
        (low, first), (high, second) = self.base.minimum(rest), self.box.minimum(share)
        # What the difference was rounded by.
        reach = xp.maximum(self.base.reach, self.reach)
        slack = 4.0 * DOUBLE_ROUNDOFF * inner(xp.abs(rest) + xp.abs(share), reach) + SMALLEST * self.size
        return low + high - slack, first + second

    def _near(self, coefficient: Vectors, rounds: int, all_known: bool) -> tuple[Vectors, Vectors]:
        """The share of the box, and points of it near to minimisers; planes find the rest where all are to be known."""
        xp, known = namespace(coefficient), self.base.shared_with(self.box.range, coefficient)
        if known is not None and (not all_known or bool(xp.all(known[2]))):
            return known[:2]
        found = [(coefficient, self.box.minimiser(coefficient))]
        found += plane_shares(self.base, self.box, coefficient, rounds)
        share, x = found[-1]
        if known is None:
            return share, x
        sure = known[2][..., None]
        return xp.where(sure, known[0], share), xp.where(sure, known[1], x)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        xp, alone = namespace(coefficient), self.base.minimiser(coefficient)
        fits = self.box.contains(alone)[..., None]
        if bool(xp.all(fits)):
            return alone
        return xp.where(fits, alone, self.project(self._near(coefficient, _FEW, True)[1]))

    def best(self, coefficient: Vectors) -> tuple[Vectors, Numbers]:
        """A point near to a minimiser, and a bound of the value there, which few rounds make."""
        xp, x = namespace(coefficient), self.base.minimiser(coefficient)
        fits = self.box.contains(x)[..., None]
        value = xp.sum(coefficient * x, axis=-1)
        if bool(xp.all(fits)):
            return x, value
        share, point = self._near(coefficient, _CHEAP, False)
        both = xp.maximum(value, self._shared(coefficient, share)[0])
        return xp.where(fits, x, point), xp.where(fits[..., 0], value, both)

    def project(self, x: Vectors) -> Vectors:
        return nearest_in_both(self.base, self.box, x)

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
