"""Vectors of the layered splitting as rows: every copy of a source or an output has its columns, block by block.

What is done to all entries is then one operation for the whole network; what the pointwise side reads of the copies and
writes to them is a table of columns, so that it is one as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.backends.choice import verbs_for
from admm_verify.backends.verbs import EntryPlaces
from admm_verify.network.maps import LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap


@dataclass(frozen=True, eq=False)
class Copy:
    """Columns first..last of the vectors: its penalty, and the map that picks its value's entries, None for all."""

    penalty: float
    layout: LinearMap | None
    first: int
    last: int

    @classmethod
    def of(cls, penalty: float, layout: LinearMap | None, size: int, first: int) -> "Copy":
        """A copy of a value of so many entries, from a column on."""
        return cls(penalty, layout, first, first + (size if layout is None else layout.columns))

    @property
    def columns(self) -> slice:
        return slice(self.first, self.last)

    def lay(self, value: Array) -> Array:
        """A value as the copy holds it, with zeros around it."""
        return value if self.layout is None else self.layout.transpose(value)

    def places(self, missing: int) -> np.ndarray:
        """The column of every entry of the value, `missing` where it has none."""
        if self.layout is None:
            return np.arange(self.first, self.last)
        # An output's entries are picked from a grid; a source's are laid on one.
        if isinstance(self.layout, TransposedMap):
            laid = self.layout.inner
            assert isinstance(laid, SelectionMap) and not laid.repeats, "no entry of a source is on a grid twice"
            found = to_numpy(laid.scatter)
        else:
            assert isinstance(self.layout, SelectionMap), "outputs are selected"
            found = to_numpy(self.layout.gather)
        return np.where(found < self.last - self.first, self.first + found, missing)


@dataclass(frozen=True, eq=False)
class ColumnSums:
    """Weighted sums of columns, + shift. Shapes: weight, shift [1, n]; entries of n numbers."""

    weight: Array
    shift: Array
    entries: EntryPlaces

    @classmethod
    def of(
        cls,
        groups: Sequence[Sequence[Copy]],
        sizes: Sequence[int],
        weights: Sequence[float],
        width: int,
        place: Placement,
    ) -> "ColumnSums":
        """The sum of the copies of every value of such a size, times its weight."""
        most = max(map(len, groups), default=0)
        places, each = np.full((max(1, most), sum(sizes)), width), np.repeat(np.asarray(weights, dtype=float), sizes)
        for copies, numbers in zip(groups, _spans(sizes, 0), strict=True):
            if copies:
                own = np.stack([copy.places(width) for copy in copies])
                # Those that have a column come first.
                own = np.take_along_axis(own, np.argsort(own == width, axis=0, kind="stable"), axis=0)
                places[: len(own), numbers] = own
        entries = EntryPlaces.of(places, width, place)
        return cls(place.put(each[None]), place.put(np.zeros((1, len(each)))), entries)

    def gathered(self, x: Array) -> Array:
        """The sums of the columns of x, [rows, n]."""
        return verbs_for(Placement.of(x)).gather(x, self.weight, self.shift, self.entries, None)


@dataclass(frozen=True, eq=False)
class Packing:
    """What the pointwise side reads of vectors of so many columns, and how it reflects them.

    inputs: means of the input's copies; targets: layers' values by their images; means: by the copies of their outputs;
    penalties: the sums of their images times the penalty. sign, gain and back: 2 v - z is sign z + gain times the entry
    of what is written back, which is the input, then all layers' moves, then their outputs, then left sides of
    constraints. sizes: of the layers' values, and of their outputs. weight: the columns' penalties.
    Shapes: weight, sign, gain [1, columns].
    """

    sizes: tuple[tuple[int, ...], tuple[int, ...]]
    inputs: ColumnSums
    targets: ColumnSums
    means: ColumnSums
    penalties: ColumnSums
    weight: Array
    sign: Array
    gain: Array
    back: EntryPlaces

    @classmethod
    def of(
        cls,
        copies: Sequence[Copy],
        images: Sequence[Sequence[int]],
        edges: Sequence[Sequence[int]],
        sides: int | None,
        biases: Sequence[Array],
        sources: Sequence[int],
        place: Placement,
    ) -> "Packing":
        """From the copies, those of every layer's value, those of the input and of every layer's output, that of
        constraints' left sides, None for none, the layers' biases, and the sizes of the input and of their outputs.
        """
        width, sizes = copies[-1].last, [bias.shape[-1] for bias in biases]
        readers = [[copies[e] for e in own] for own in edges]
        values = [[copies[i] for i in own] for own in images]
        before, *outputs = sources
        weight, sign, gain, back = np.empty(width), -np.ones(width), np.zeros(width), np.full(width, -1)
        for copy in copies:
            weight[copy.columns] = copy.penalty
        for own, numbers in zip(values, _spans(sizes, before), strict=True):
            for copy in own:
                # EntryPlaces that nobody reads are free.
                sign[copy.columns] = 1.0
                _written(copy, back, gain, numbers, 2.0 / len(own))
        after = before + sum(sizes)
        for own, numbers in zip(readers, [np.arange(before), *_spans(outputs, after)], strict=True):
            for copy in own:
                _written(copy, back, gain, numbers, 2.0)
        total = after + sum(outputs)
        if sides is not None:
            (numbers,) = _spans([copies[sides].last - copies[sides].first], total)
            _written(copies[sides], back, gain, numbers, 2.0)
            total += len(numbers)
        shares = [1.0 / max(1, len(own)) for own in readers]
        ones, penalties = [1.0] * len(values), [own[0].penalty / len(own) if own else 0.0 for own in values]
        targets = ColumnSums.of(values, sizes, ones, width, place)
        if biases:
            shift = place.xp.concat([place.xp.reshape(bias, (1, -1)) for bias in biases], axis=-1)
            targets = replace(targets, shift=shift)
        return cls(
            (tuple(sizes), tuple(outputs)),
            ColumnSums.of(readers[:1], [before], shares[:1], width, place),
            targets,
            ColumnSums.of(readers[1:], outputs, shares[1:], width, place),
            ColumnSums.of(values, sizes, penalties, width, place),
            place.put(weight[None]),
            place.put(sign[None]),
            place.put(gain[None]),
            EntryPlaces.of(np.where(back < 0, total, back)[None], total, place),
        )

    def values(self, array: Array) -> list[Array]:
        """What is known of all layers' values, [rows, all], layer by layer."""
        return _split(array, self.sizes[0])

    def outputs(self, array: Array) -> list[Array]:
        """What is known of all layers' outputs, [rows, all], layer by layer."""
        return _split(array, self.sizes[1])


def _split(array: Array, sizes: Sequence[int]) -> list[Array]:
    ends = list(accumulate(sizes, initial=0))
    return [array[:, first:last] for first, last in pairwise(ends)]


def _spans(sizes: Sequence[int], first: int) -> list[np.ndarray]:
    """Numbers one after the other from a first one on, as many as each size says."""
    return [np.arange(start, end) for start, end in pairwise(accumulate(sizes, initial=first))]


def _written(copy: Copy, back: np.ndarray, gain: np.ndarray, numbers: np.ndarray, factor: float) -> None:
    """Let a copy's columns read the numbers of what is written back, where they have one."""
    places = copy.places(len(back))
    known = places < len(back)
    back[places[known]], gain[places[known]] = numbers[known], factor
