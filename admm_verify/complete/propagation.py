"""What fixed signs and the atoms of a disjunct say together of inputs and neurons, passed on from row to row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from admm_verify.arrays import SMALLEST, Bool, Float, gamma, to_numpy
from admm_verify.bounds.region import Region
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.network.graph import Affine, Network
from admm_verify.relaxations.registry import facts_of, relaxations_of
from admm_verify.run import paced
from admm_verify.sets.box import Box

_WORTH = 0.1
"""Share of its width that some value has to lose in a round for another one."""

_TRACE = 1e-300
"""Keeps neurons on which no row that binds depends above those that are not open."""


@dataclass(frozen=True, eq=False)
class Narrowed:
    """Boxes and the ranges of all activations' inputs that hold wherever a part's disjunct does.

    empty: parts in which it holds nowhere; what is said of them is anything.
    Shapes: packed [parts, 2 inputs]; lower[k], upper[k] [parts, n_k]; empty [parts].
    """

    packed: Float[np.ndarray, "parts _"]
    lower: list[np.ndarray]
    upper: list[np.ndarray]
    empty: Bool[np.ndarray, " parts"]


class Propagation:
    """Ranges of all values of a network of rectifiers, narrowed by every row that they satisfy, for parts of boxes.

    Of sum_e a_e v_e in [low, high] each a_e v_e is at most high less the least that the others can be, and at least low
    less the most. The rows are those of the affine nodes and, at most zero, the atoms; a rectifier's input is at most
    its output's upper end, and at least its lower one where that is positive.

    Reference: Benhamou et al., Revising hull and box consistency, ICLP 1999 (HC4).
    Error: rounded outward: every row has a slack for the roundings of its sums and of merged coefficients, over ranges
    that only shrink.
    """

    def __init__(self, region: Region, owner: np.ndarray, disjuncts: Disjuncts, rounds: int) -> None:
        """region: of whole boxes, with leading axes [boxes, 1]; owner: the box of each disjunct."""
        self.network, self.disjuncts, self.rounds, self.owner = region.network, disjuncts, rounds, owner
        self.relaxations = relaxations_of(self.network)
        sizes = [node.size for node in self.network.nodes]
        edges = np.concatenate([[0], np.cumsum(sizes)])
        self.places = [slice(int(first), int(last)) for first, last in pairwise(edges)]
        self.size = int(edges[-1])
        self.rows = {i: _RowEntries.of(node, self.places) for i, node in paced(self.network.affine.items())}
        self.slack = {i: self._slack(region, i) for i in self.rows}
        reach = np.broadcast_to(region.reach_at(self.network.output), (region.inputs.count, 1, sizes[-1]))[owner]
        objective, offset = disjuncts.objective, disjuncts.offset
        total = (np.abs(objective) * reach).sum(axis=-1) + np.abs(offset)
        slack = 4.0 * gamma(sizes[-1] + 16) * total + 16.0 * SMALLEST * (sizes[-1] + 4)
        # Atoms of which no bound says anything cut nothing.
        self.limit = np.where(disjuncts.sound, slack - offset, np.inf)

    @staticmethod
    def suits(network: Network) -> bool:
        """Whether all activations are rectifiers."""
        return bool(network.functions) and all(facts_of(node).rectifies for node in network.functions)

    def __call__(
        self, disjunct: np.ndarray, inputs: Box, lower: Sequence[np.ndarray], upper: Sequence[np.ndarray]
    ) -> Narrowed:
        """Parts of some disjuncts, narrowed; ends that cross are an empty part.

        Shapes: disjunct [parts]; inputs [parts, n]; lower[k], upper[k] [parts, n_k].
        """
        ranges = self._given(inputs, lower, upper)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            self._settle(disjunct, ranges)
        ends = [[side[self.places[i]].T.copy() for side in (ranges.low, ranges.high)] for i in self.network.sources]
        packed = to_numpy(Box.of(*(side[self.places[0]].T for side in (ranges.low, ranges.high))).packed)
        return Narrowed(packed, [low for low, _ in ends], [high for _, high in ends], ranges.empty)

    def scores(self, disjunct: np.ndarray, found: Narrowed) -> list[np.ndarray]:
        """How much the rows that bind depend on every open neuron, [parts, n_k], 0 for others.

        A row whose sums could leave its value's range by the share t of their own counts t times the share that an
        entry has of them: relative smear, Trombettoni et al., A branch-and-bound algorithm with cuts, 2011. A neuron
        has its output's count, and of its input's entries that count what their share of it is, squared.
        """
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            scores = self._scores(disjunct, found)
        ends = zip(found.lower, found.upper, scores, strict=True)
        return [np.where((low < 0) & (high > 0), score + _TRACE, 0.0) for low, high, score in ends]

    def _scores(self, disjunct: np.ndarray, found: Narrowed) -> list[np.ndarray]:
        ranges = self._given(Box.unpacked(found.packed), found.lower, found.upper)
        self._forward(disjunct, ranges)
        self._atoms(disjunct, ranges)
        count, shares = np.zeros_like(ranges.low), {}
        for i, rows in self.rows.items():
            place, sums = self.places[i], rows.sums(ranges)
            span = sums.high - sums.low
            beyond = np.maximum(sums.high - ranges.high[place], ranges.low[place] - sums.low)
            share = np.nan_to_num((sums.most - sums.least) / span[rows.row])
            shares[i] = share
            rows.add_by_column(count, np.clip(np.nan_to_num(beyond / span), 0.0, 1.0)[rows.row] * share)
        scores = []
        for k, source in enumerate(self.network.sources):
            score = count[self.places[self.network.activations[k]]].copy()
            if source in self.rows:
                rows = self.rows[source]
                rows.add_by_row(score, shares[source] ** 2 * count[rows.column])
            scores.append(score.T)
        return scores

    def _given(self, inputs: Box, lower: Sequence[np.ndarray], upper: Sequence[np.ndarray]) -> "_ValueRanges":
        """Ranges of inputs and activations' inputs, and of nothing else."""
        ranges = _ValueRanges(self.size, inputs.count)
        ranges.cut(self.places[0], *(to_numpy(end).T for end in inputs.range))
        for source, low, high in zip(self.network.sources, lower, upper, strict=True):
            ranges.cut(self.places[source], low.T, high.T)
        return ranges

    def _settle(self, disjunct: np.ndarray, ranges: "_ValueRanges") -> None:
        """Forward and backward through the network until little changes any more."""
        left = np.arange(len(disjunct))
        for _ in range(self.rounds):
            part = ranges.take(left)
            before = part.high - part.low
            self._forward(disjunct[left], part)
            self._backward(disjunct[left], part)
            ranges.put(left, part)
            width = part.high - part.low
            lost = (before - width > _WORTH * before).any(axis=0)
            left = left[lost & ~part.empty]
            if not len(left):
                return

    def _forward(self, disjunct: np.ndarray, ranges: "_ValueRanges") -> None:
        for i, affine, k in self.network.steps:
            if affine is not None:
                sums = self.rows[i].sums(ranges)
                slack = self.slack[i][:, self.owner[disjunct]]
                ranges.cut(self.places[i], sums.low - slack, sums.high + slack)
                continue
            source = self.places[self.network.sources[k]]
            image = self.relaxations[k].image(ranges.low[source].T, ranges.high[source].T)
            ranges.cut(self.places[i], *(end.T for end in image))

    def _backward(self, disjunct: np.ndarray, ranges: "_ValueRanges") -> None:
        self._atoms(disjunct, ranges)
        for i, affine, k in reversed(self.network.steps):
            if affine is not None:
                self.rows[i].narrow(ranges, self.places[i], self.slack[i][:, self.owner[disjunct]])
                continue
            low, high = ranges.low[self.places[i]], ranges.high[self.places[i]]
            ranges.cut(self.places[self.network.sources[k]], np.where(low > 0, low, -np.inf), high)

    def _atoms(self, disjunct: np.ndarray, ranges: "_ValueRanges") -> None:
        """What every atom says of the outputs."""
        place = self.places[self.network.output]
        for atom in range(self.disjuncts.atoms):
            # Disjuncts with fewer atoms than others repeat their last one.
            if (atom >= self.disjuncts.count[disjunct]).all():
                return
            own = self.disjuncts.objective[disjunct, atom].T
            limit = self.limit[disjunct, atom]
            low, high = ranges.low[place], ranges.high[place]
            least = np.where(own > 0, own * low, own * high)
            least = np.where(own == 0, 0.0, least)
            total = least.sum(axis=0)
            ranges.empty |= total > limit
            bound = (limit - total) + least
            quotient = bound / own
            up, down = np.nextafter(quotient, np.inf), np.nextafter(quotient, -np.inf)
            ranges.cut(place, np.where(own < 0, down, -np.inf), np.where(own > 0, up, np.inf))

    def _slack(self, region: Region, index: int) -> np.ndarray:
        """What the sums of an affine node's rows are off by, [n_i, boxes]."""
        magnitude = region.magnitudes[index]
        assert magnitude is not None
        lost = region.relative_error * magnitude + region.underflow[..., None]
        return np.broadcast_to(lost, (region.inputs.count, 1, magnitude.shape[-1]))[:, 0].T.copy()


class _ValueRanges:
    """Ranges of all values, [size, parts], and parts known to be empty."""

    def __init__(self, size: int, parts: int) -> None:
        self.low, self.high = np.full((size, parts), -np.inf), np.full((size, parts), np.inf)
        self.empty = np.zeros(parts, dtype=bool)

    def cut(self, place: slice | np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Cut some ranges; where ends cross the part is empty. NaN cuts nothing."""
        kept_low, kept_high = np.fmax(self.low[place], low), np.fmin(self.high[place], high)
        crossed = kept_low > kept_high
        if crossed.any():
            self.empty |= crossed.any(axis=0)
            kept_low = np.where(crossed, kept_high, kept_low)
        self.low[place], self.high[place] = kept_low, kept_high

    def take(self, parts: np.ndarray) -> "_ValueRanges":
        """Some parts."""
        chosen = _ValueRanges(0, 0)
        chosen.low, chosen.high, chosen.empty = self.low[:, parts], self.high[:, parts], self.empty[parts]
        return chosen

    def put(self, parts: np.ndarray, chosen: "_ValueRanges") -> None:
        """The parts back in their places."""
        self.low[:, parts], self.high[:, parts], self.empty[parts] = chosen.low, chosen.high, chosen.empty


class _Sums(NamedTuple):
    """The ends of every product of a node's rows, [entries, parts], and of their sums, [rows, parts]."""

    least: np.ndarray
    most: np.ndarray
    low: np.ndarray
    high: np.ndarray


class _RowEntries:
    """The entries of one affine node, row by row, and their order by columns."""

    def __init__(self, row: np.ndarray, column: np.ndarray, coefficient: np.ndarray, bias: np.ndarray) -> None:
        order = np.lexsort((column, row))
        self.row, self.column, self.coefficient = row[order], column[order], coefficient[order, None]
        self.bias = bias[:, None]
        self.positive, self.negative = np.maximum(self.coefficient, 0.0), np.minimum(self.coefficient, 0.0)
        self.filled, self.starts = np.unique(self.row, return_index=True)
        self.by_column = np.argsort(self.column, kind="stable")
        self.columns, self.column_starts = np.unique(self.column[self.by_column], return_index=True)

    @classmethod
    def of(cls, node: Affine, places: Sequence[slice]) -> "_RowEntries":
        """The nonzero entries of an affine node, in the network's columns."""
        none = np.zeros(0, dtype=np.int64)
        rows, columns, data = zip((none, none, np.zeros(0)), *_entries(node, places), strict=True)
        return cls(np.concatenate(rows), np.concatenate(columns), np.concatenate(data), np.asarray(node.bias))

    def sums(self, ranges: _ValueRanges) -> _Sums:
        """The ends of products and sums."""
        low, high = ranges.low[self.column], ranges.high[self.column]
        least = self.positive * low + self.negative * high
        most = self.positive * high + self.negative * low
        sums = [np.repeat(self.bias, low.shape[1], axis=1) for _ in range(2)]
        self.add_by_row(sums[0], least)
        self.add_by_row(sums[1], most)
        return _Sums(least, most, *sums)

    def add_by_row(self, total: np.ndarray, part: np.ndarray) -> None:
        """Add numbers of entries to those of their rows, in place; total [rows, parts]."""
        if len(self.starts):
            total[self.filled] += np.add.reduceat(part, self.starts, axis=0)

    def add_by_column(self, total: np.ndarray, part: np.ndarray) -> None:
        """Add numbers of entries to those of their columns, in place; total [all columns, parts]."""
        if len(self.starts):
            total[self.columns] += np.add.reduceat(part[self.by_column], self.column_starts, axis=0)

    def narrow(self, ranges: _ValueRanges, place: slice, slack: np.ndarray) -> None:
        """Cut what the rows add up, by what their values are."""
        if not len(self.starts):
            return
        sums = self.sums(ranges)
        room, need = ranges.high[place] - sums.low + slack, ranges.low[place] - sums.high - slack
        top, bottom = (room[self.row] + sums.least) / self.coefficient, (need[self.row] + sums.most) / self.coefficient
        positive = self.coefficient > 0
        high, low = np.where(positive, top, bottom), np.where(positive, bottom, top)
        least = np.fmin.reduceat(high[self.by_column], self.column_starts, axis=0)
        most = np.fmax.reduceat(low[self.by_column], self.column_starts, axis=0)
        ranges.cut(self.columns, np.nextafter(most, -np.inf), np.nextafter(least, np.inf))


def _entries(node: Affine, places: Sequence[slice]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for term in node.terms:
        dense = to_numpy(term.map.apply(np.eye(term.map.columns)))
        column, row = np.nonzero(dense)
        yield row, places[term.source].start + column, dense[column, row]
