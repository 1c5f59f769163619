"""Sets of points that differ from a center in few entries."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb, prod
from typing import Any

import numpy as np

from admm_verify.arrays import SMALLEST, Array, Bool, Float, Placement, inner, namespace, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.options import Range, count as counted, shown
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box, center_and_radius
from admm_verify.sets.contract import InputSet, Numbers, Vectors, WalkableSet

_MOST_GROUPS = 2**24
"""Labels stay whole numbers in float32."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Sparse(WalkableSet):
    """The set {x : lower <= x <= upper, x = center but for at most `count` groups of entries}, or a batch of them.

    `Sparse(center, count, radius=None, within=None, groups=None)` makes them: entries change by at most `radius`, which
    may be left out, and lie within the ends `within`, one of which must be given. groups: a whole number for every
    entry; those with the same one change together, as all channels of a pixel. Without, every entry is a group.

    The set is not convex unless it is a box. Bounds hold over its convex hull {x = center + d : lower <= x <= upper,
    sum over groups of the largest share of an entry's way to its end <= count}, whose functionals are least in the set
    itself; nearest points, samples, steps and membership are those of the set, so that what attacks find counts.

    Shapes: center [*input_shape] for one set, [rows, *input_shape] for one per row; radius, both ends and groups
    numbers or arrays that broadcast.
    Raises: InputError for what are no arrays of real numbers, NaN or infinite ends, a center outside its ends, a count
    below 1, and groups that are no whole numbers.
    Error: exact.
    """

    center: Array
    lower: Array
    upper: Array
    most: Array
    label: Array

    __repr__ = short_repr

    def __init__(
        self,
        center: Array,
        count: int,
        radius: Array | float | None = None,
        within: tuple[Array | float, Array | float] | None = None,
        groups: Array | None = None,
    ) -> None:
        most = counted(count, "The number of entries that change", Range(1))
        if radius is None and within is None:
            raise InputError("Nothing says how far entries change; give a radius, or a range within.")
        middle, width = center_and_radius(center, np.inf if radius is None else radius)
        box = Box.around(middle, width, within)
        xp, (lower, upper) = namespace(middle), box.range
        if bool(xp.any((middle < lower) | (upper < middle))):
            raise InputError("The center lies outside the range within; give one that entries can keep.")
        labels = _labels(groups, middle)
        for name, part in zip(_FIELDS, (middle, lower, upper, xp.full_like(middle, most), labels), strict=True):
            object.__setattr__(self, name, part)

    @classmethod
    def of(cls, *numbers: Array) -> "Sparse":
        sparse = object.__new__(cls)
        for name, number in zip(_FIELDS, numbers, strict=True):
            object.__setattr__(sparse, name, number)
        return sparse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, self.numbers

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.center, self.lower, self.upper, self.most, self.label

    @cached_property
    def _members(self) -> tuple[Array, Array] | None:
        """Entries of every group, [..., most members, n] with n for none, and the group of every entry, [..., n].

        None where every entry is a group of its own.
        """
        labels = to_numpy(self.label)
        order = np.argsort(labels, axis=-1, kind="stable")
        ordered = np.take_along_axis(labels, order, axis=-1)
        first = np.ones(labels.shape, dtype=bool)
        first[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
        if first.all():
            return None
        slot, place = np.cumsum(first, axis=-1) - 1, np.arange(self.size)
        rank = place - np.maximum.accumulate(np.where(first, place, 0), axis=-1)
        members = np.full((*self.lead, self.size, int(rank.max()) + 1), self.size)
        lead = np.indices(labels.shape)[:-1]
        members[(*lead, slot, rank)] = order
        own = np.empty_like(slot)
        np.put_along_axis(own, order, slot, axis=-1)
        put = self.placement.put_indices
        return put(np.moveaxis(members, -1, -2)), put(own)

    def _grouped(self, x: Vectors) -> Vectors:
        """The sums of numbers of entries over groups, in the first places."""
        if self._members is None:
            return x
        xp, members = namespace(x), self._members[0]
        padded = xp.concat([x, xp.zeros_like(x[..., :1])], axis=-1)
        shape = (*x.shape[:-1], self.size)
        total = xp.zeros_like(x)
        for j in range(members.shape[-2]):
            total = total + xp.take_along_axis(padded, xp.broadcast_to(members[..., j, :], shape), axis=-1)
        return total

    def _spread(self, groups: Array) -> Array:
        """A number of every group as one of every entry."""
        if self._members is None:
            return groups
        xp = namespace(groups)
        return xp.take_along_axis(groups, xp.broadcast_to(self._members[1], groups.shape), axis=-1)

    @cached_property
    def _forced(self) -> Array:
        """Groups that cannot stay at the center, as 1 or 0."""
        xp = namespace(self.center)
        out = (self.center < self.lower) | (self.upper < self.center)
        return xp.astype(self._grouped(xp.astype(out, self.center.dtype)) > 0, self.center.dtype)

    @cached_property
    def _base(self) -> Vectors:
        """The center, with the nearest possible entries in forced groups."""
        xp = namespace(self.center)
        return xp.where(self._spread(self._forced) > 0, self._clipped(self.center), self.center)

    def _clipped(self, x: Vectors) -> Vectors:
        xp = namespace(x)
        return xp.minimum(xp.maximum(x, self.lower), self.upper)

    def _chosen(self, gain: Array) -> Bool[Array, "... n"]:
        """The groups that change: those that must, then those of the largest gains."""
        xp = namespace(gain)
        forced = self._forced > 0
        first = xp.where(forced, xp.full_like(gain, float("inf")), gain)
        rank = xp.argsort(xp.argsort(first, axis=-1, descending=True), axis=-1)
        return (rank < xp.max(self.most, axis=-1, keepdims=True)) | forced

    @property
    def range(self) -> tuple[Any, Any]:
        return self.lower, self.upper

    @property
    def reach(self) -> Vectors:
        xp = namespace(self.lower)
        return xp.maximum(xp.abs(self.lower), xp.abs(self.upper))

    @property
    def centre(self) -> Vectors:
        return self._base

    def _ends(self, coefficient: Vectors) -> Vectors:
        """Where every entry is best alone."""
        xp = namespace(coefficient)
        best = xp.where(coefficient > 0, self.lower, self.upper)
        return xp.where(coefficient == 0, self._base, best)

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        # c'x is c'base and what each group gains by going to its best ends, for the best groups.
        xp, size = namespace(coefficient), namespace(coefficient).abs(coefficient)
        gain = self._grouped(coefficient * (self._base - self._ends(coefficient)))
        least = inner(coefficient, self._base) - xp.sum(
            xp.where(self._chosen(gain), gain, xp.zeros_like(gain)), axis=-1
        )
        away = xp.maximum(self.upper - self._base, self._base - self.lower)
        magnitude = inner(size, self.reach) + inner(size, xp.abs(self._base)) + inner(size, away)
        return least - 8.0 * self.size * SMALLEST, 2.0 * magnitude

    def minimiser(self, coefficient: Vectors) -> Vectors:
        xp, ends = namespace(coefficient), self._ends(coefficient)
        # Gains are compared only, and may be as small or large as they like.
        scale = xp.max(xp.abs(coefficient), axis=-1, keepdims=True)
        scaled = coefficient / xp.where(scale > 0, scale, xp.ones_like(scale))
        gain = self._grouped(scaled * (self._base - ends))
        return xp.where(self._spread(self._chosen(gain)), ends, self._base)

    def project(self, x: Vectors) -> Vectors:
        """The nearest point of the set itself, up to rounding; one of them where there are several."""
        xp, near = namespace(x), self._clipped(x)
        x = xp.where(xp.isnan(x), self._base, x)
        largest = xp.finfo(x.dtype).max
        away = xp.clip(xp.abs(x - self._base), 0.0, largest)
        scale = xp.max(away, axis=-1, keepdims=True)
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        gain = self._grouped((away / scale) ** 2 - (xp.clip(xp.abs(x - near), 0.0, largest) / scale) ** 2)
        return xp.where(self._spread(self._chosen(gain)), xp.where(xp.isnan(near), self._base, near), self._base)

    def drawn_in(self, x: Vectors) -> Vectors:
        xp, x = namespace(x), self.project(x)
        return xp.where(self.contains(x)[..., None], x, xp.full_like(x, float("nan")))

    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        # From the centre a step of 1 leads to the point where the direction ascends most, one of -1 to the least.
        xp, step = namespace(x), self.placement.put(np.asarray(step)) if isinstance(step, int | float) else step
        known = xp.where(xp.isnan(direction), xp.zeros_like(direction), direction)
        largest = xp.finfo(direction.dtype).max
        top = self.minimiser(-xp.sign(step) * xp.clip(known, -largest, largest))
        return self.project(x + xp.abs(step) * (top - self._base))

    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        sets, shape = self.at((..., None, slice(None))), (*self.lead, count, self.size)
        xp, shares = self.placement.xp, self.placement.put(rng.random(shape))
        drawn = sets.lower * (1.0 - shares) + sets.upper * shares
        # Places behind the last group, where there is none, come last.
        there = sets._grouped(xp.ones_like(sets.center)) > 0
        chosen = sets._chosen(xp.where(there, self.placement.put(rng.random(shape)), xp.zeros_like(shares)))
        return xp.where(sets._spread(chosen), sets._clipped(drawn), sets._base)

    def supports(self, most: int) -> Box | None:
        """Boxes that together are the set, one for each choice of groups that change; None where there are more.

        Shapes: one set [1, n] or [n] -> a box [choices, n].
        Raises: InputError for a batch of several sets.
        """
        if self.lead not in ((), (1,)):
            raise InputError(f"There are {self.lead} sets; take one of them by at(...) to list its supports.")
        one = self if self.lead == () else self.at(0)
        xp = namespace(one.center)
        wide = to_numpy(one._grouped(xp.astype(one.lower < one.upper, one.center.dtype))) > 0
        forced = to_numpy(one._forced) > 0
        free, taken = np.flatnonzero(wide & ~forced), np.flatnonzero(forced)
        left = min(max(int(to_numpy(one.most).max()) - len(taken), 0), len(free))
        choices = comb(len(free), left)
        if choices > most:
            return None
        chosen = np.zeros((choices, self.size), dtype=bool)
        for row, some in zip(chosen, combinations(free, left), strict=True):
            row[[*some, *taken]] = True
        masks = self.placement.xp.asarray(chosen, device=self.placement.device)
        # Every choice has the groups of the one set.
        entries = one.at(None)._spread(masks)
        return Box.of(*(xp.where(entries, end, one._base) for end in one.range))

    def flattened(self, flatten: Callable[[Array], Array]) -> "Sparse":
        found = self.mapped(flatten)
        ranks = np.stack([np.unique(row, return_inverse=True)[1] + 1.0 for row in to_numpy(found.label)])
        found = self.of(*found.numbers[:-1], found.placement.put(ranks))
        bad = ~to_numpy(found.contains(found.centre))
        if bad.any():
            raise InputError(f"The sparse set of row {int(bad.argmax())} has no point; change more entries.")
        return found

    def seen(self, crop: Callable[[Array], Array]) -> "Sparse":
        # Entries outside, and those seen twice, share a label.
        return self.mapped(crop)

    def within(self, lower: Vectors, upper: Vectors) -> "Sparse":
        xp = namespace(self.lower)
        low = xp.maximum(self.lower, lower)
        high = xp.maximum(low, xp.minimum(self.upper, upper))
        center, most, label = (xp.broadcast_to(part, low.shape) for part in (self.center, self.most, self.label))
        return self.of(center, low, high, most, label)

    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        xp = namespace(x)
        inside = xp.all((self.lower <= x) & (x <= self.upper), axis=-1)
        return inside & self._few(x != self.center)

    def _few(self, changed: Any) -> Bool[Array, "..."]:
        """Whether no more groups have such entries than may change."""
        xp = namespace(changed)
        groups = self._grouped(xp.astype(changed, self.center.dtype)) > 0
        return xp.sum(xp.astype(groups, xp.int64), axis=-1) <= xp.max(self.most, axis=-1)

    def covers(self, other: InputSet) -> bool:
        xp, (low, high) = namespace(self.center), other.range
        if not bool(xp.all((self.lower <= low) & (high <= self.upper))):
            return False
        if isinstance(other, Sparse) and bool(
            xp.all((self.center == other.center) & (self.label == other.label) & (other.most <= self.most))
        ):
            return True
        return bool(xp.all(self._few((low != self.center) | (high != self.center))))

    def inward(self, placement: Placement) -> "Sparse":
        box = Box.of(self.lower, self.upper).inward(placement)
        center, most, label = (placement.put(part) for part in (self.center, self.most, self.label))
        return self.of(center, *box.range, most, label)


_FIELDS = ("center", "lower", "upper", "most", "label")


def _labels(groups: Array | None, center: Array) -> Array:
    """A whole number for every entry, in the center's shape; where none are given, all are different."""
    xp, place = namespace(center), Placement.of(center)
    if groups is None:
        return xp.reshape(xp.arange(1, prod(center.shape) + 1, dtype=center.dtype, device=place.device), center.shape)
    found = float64_array(groups, "groups", place)
    try:
        found = xp.broadcast_to(found, center.shape)
    except (ValueError, RuntimeError):
        raise InputError(
            f"The groups have shape {tuple(found.shape)}, but the center has {tuple(center.shape)}."
        ) from None
    if not bool(xp.all((xp.round(found) == found) & (xp.abs(found) < _MOST_GROUPS))):
        raise InputError(f"The groups are {shown(groups)}; give whole numbers below {_MOST_GROUPS} in size.")
    # Zero is the label of what crops hold outside an image, which never changes.
    return found
