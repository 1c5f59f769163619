"""Bounds of a network over boxes, derived again from slopes: intervals, sweeps, and a bound on all rounding."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from admm_verify.arrays import Placement, gamma
from admm_verify.certificates.certificate import Tightening
from admm_verify.certificates.couplings import CheckedCouplings
from admm_verify.certificates.dyadics import Short
from admm_verify.certificates.kinds import check_kinds, checked_kind
from admm_verify.certificates.lines import CheckedKind, CheckedLines
from admm_verify.certificates.numbers import Numbers
from admm_verify.certificates.pairs import operands_alone
from admm_verify.certificates.rows import Fixed, accumulate, dot, reach_of, rows_of
from admm_verify.certificates.short_sweeps import LONGEST, ShortSweep, matrix_of
from admm_verify.memory import Budget
from admm_verify.network.graph import Affine, Network
from admm_verify.network.signs import adds_up
from admm_verify.run import paced

_BLOCK_NUMBERS, _BLOCK_ROWS = 2**16, 64
"""Numbers in one array of a block of rows, which stay in the cache, and the least rows of a block."""


class CheckedRanges:
    """What is known of all nodes over some boxes, grown node by node.

    lower[i], upper[i] hold the value of node i over each box; reach[i] is max|value| over all boxes, and scale[i] the
    sum of absolute products behind an affine node's value, in exact numbers how far it can be from what it stands for,
    None where its weights are known exactly.

    Error: in float64 a sweep takes its computed coefficients w as they are, so that an affine node adds at most
    gamma_N |w|'scale to what has been lost, the rounding of its transposed products times what they multiply, and an
    activation at most gamma_N |g|'reach for its multipliers g. Values of activations times their coefficients are
    within the scale of the node that reads them. Eight times that sum also covers the sums of values and of these
    magnitudes; `underflow` is what products can lose below the smallest normal number.

    Shapes: lower[i], upper[i] [boxes, n_i]; reach[i], scale[i] [n_i].
    """

    def __init__(
        self,
        model: "CheckedNetwork",
        ends: tuple[np.ndarray, np.ndarray],
        like: "CheckedRanges | None" = None,
        couplings: CheckedCouplings | None = None,
        short: bool = False,
    ) -> None:
        """ends: of the boxes. like: ranges in float64 over the same boxes, whose slopes are taken. couplings: rows that
        hold over the boxes besides. short: in exact numbers, sweeps of numbers with few digits.
        """
        lower, upper = ends
        self.is_short = short and couplings is None
        self.model, self.lower, self.upper, self.like, self.couplings = model, [lower], [upper], like, couplings
        self.reach = [reach_of(lower, upper)]
        # Activations and the input have none.
        self.scale: list[np.ndarray | None] = [None]
        self.lines: list[CheckedLines] = []
        self._depths: dict[int, Any] = {}
        numbers = model.numbers
        half = numbers.number(0.5)
        self.centre = half * lower + half * upper
        self.radius = np.maximum(upper - self.centre, self.centre - lower)
        self.underflow = 4 * model.count * numbers.smallest

    def interval(self, node: Affine) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The interval W c + b -/+ |W| r of an affine node, rounded outward, and its scale."""
        numbers = self.model.numbers
        half = numbers.number(0.5)
        shape = len(self.lower[0]), node.size
        middle = np.broadcast_to(node.bias, shape)
        spread = np.broadcast_to(numbers.number(0), shape)
        for term in node.terms:
            low, high = self.lower[term.source], self.upper[term.source]
            centre = half * low + half * high
            middle = term.map.apply(centre) + middle
            spread = term.map.absolute_apply(np.maximum(high - centre, centre - low)) + spread
        scale = self._scale(node)
        if scale is not None:
            spread = spread + 2 * self.model.error * scale
        lost = 8 * self.model.count * numbers.smallest
        low, high = (numbers.short(numbers.known(side - spread - lost)) for side in (middle, -middle))
        if node.nonnegative:
            low = np.maximum(low, numbers.number(0))
            if not numbers.exact and adds_up(node):
                low = np.maximum(low, self._least_sum(node, lost))
        return low, -high, scale

    def _least_sum(self, node: Affine, lost: float) -> np.ndarray:
        """The least value of a node that adds up, that of the least of all sources; 0 for no positive one."""
        total, size = np.broadcast_to(node.bias, (len(self.lower[0]), node.size)), node.bias_magnitude
        for term in node.terms:
            least = self.lower[term.source]
            total = term.map.apply(least) + total
            size = term.map.magnitude_apply(abs(least)) + size
        found = total - self.model.error * size - lost
        return np.where(found > 0, found, 0.0)

    def _scale(self, node: Affine) -> np.ndarray | None:
        if self.model.numbers.exact:
            return self.model.numbers.unknown(node, self.reach)
        scale = node.bias_magnitude + 8 * self.model.count * self.model.numbers.smallest
        for term in node.terms:
            scale = term.map.magnitude_apply(self.reach[term.source][None])[0] + scale
        return scale

    def add_affine(self, node: Affine, low: np.ndarray, high: np.ndarray, scale: np.ndarray | None) -> None:
        """Append an affine node with its bounds."""
        index = len(self.lower)
        self._append(low, high)
        # Where one activation alone reads the node, coefficient and multiplier are the same: one product is saved.
        whole = scale is not None and not self.model.numbers.exact and self.model.lone[index]
        self.scale.append(scale + self.reach[index] if whole else scale)
        for term in node.terms:
            size = np.sum(self.reach[term.source]) + 2 * term.map.columns
            self.underflow = self.underflow + 4 * term.map.rows * self.model.numbers.smallest * size

    def add_activation(self, k: int) -> None:
        """Append activation k with the rule's lines."""
        node, kind = self.model.network.functions[k], self.model.kinds[k]
        low, high = self.lower[node.source], self.upper[node.source]
        numbers, like = self.model.numbers, self.like
        lines = kind.lines(numbers, low, high) if like is None else kind.like(numbers, low, high, like.lines[k])
        self.lines.append(lines)
        ends = kind.image(numbers, low, high)
        self._append(*(ends if node.limits is None or numbers.exact else node.limits.cut(*ends)))
        self.scale.append(None)
        size = np.sum(self.reach[node.source]) + node.size
        self.underflow = self.underflow + 8 * self.model.numbers.smallest * size

    def _append(self, low: np.ndarray, high: np.ndarray) -> None:
        self.lower.append(low)
        self.upper.append(high)
        self.reach.append(reach_of(low, high))

    def chosen(
        self, columns: Sequence[np.ndarray], slopes: np.ndarray, fixed: Sequence[Fixed | None] = (), anew: bool = False
    ) -> list[CheckedLines]:
        """The lines so far with the chosen slopes, one row for each of theirs; where neurons have fixed signs, so have
        the operands of differences that they are. anew: what was chosen there is of planes over what these leave.
        """
        lines, ends = list(self.lines), np.cumsum([0, *(len(column) for column in columns)])
        given = [] if self.like is None else self.like.chosen(columns, slopes, fixed, anew)
        for k, column in enumerate(columns[: len(lines)]):
            signs = [fixed[other] for other in self.model.alone.get(k, ())] if fixed else []
            if len(column) or any(part is not None for part in signs):
                kind, numbers = self.model.kinds[k], self.model.numbers
                source = self.model.network.sources[k]
                known = any(part is not None for part in signs)
                whole = self.lower[source], self.upper[source]
                cut = self._signed(k, signs, len(slopes)) if known else whole
                over = cut if anew else whole
                if given:
                    lines[k] = kind.like(numbers, *over, given[k])
                else:
                    lines[k] = kind.lines(numbers, *over, (column, numbers.of(slopes[:, ends[k] : ends[k + 1]])))
                lines[k] = kind.within(numbers, lines[k], *cut) if known and not anew else lines[k]
        return lines

    def _signed(self, k: int, signs: Sequence[Fixed | None], rows: int) -> tuple[np.ndarray, np.ndarray]:
        """The ends of an activation's operands, cut at 0 where the first or the last of three has a fixed sign."""
        source, size = self.model.network.sources[k], self.model.network.functions[k].size
        low, high, zero = self.lower[source], self.upper[source], self.model.numbers.number(0)
        for part, start in zip(signs, (0, 2 * size), strict=False):
            if part is not None:
                shape = rows, low.shape[1]
                low, high = np.broadcast_to(low, shape).copy(), np.broadcast_to(high, shape).copy()
                up, down = ((part.row[on], start + part.entry[on]) for on in (part.positive, ~part.positive))
                low[up], high[down] = np.maximum(low[up], zero), np.minimum(high[down], zero)
        return low, high

    def sweep(
        self,
        lines: Sequence[CheckedLines],
        box: np.ndarray | None,
        start: dict[int, np.ndarray],
        constant: np.ndarray,
        size: np.ndarray,
        fixed: Sequence[Fixed | None] = (),
    ) -> np.ndarray:
        """A lower bound of start'values + constant over boxes, one per row; -inf where there is none.

        box: the box of every row whose lines are those of boxes; None where lines have a row for each, or one for all.
        Shapes: start[i] [rows, n_i]; constant, size (what it is off by, relatively, and |constant|) [rows] -> [rows].
        """
        # A constant node reads nothing.
        last = max(start, default=0)
        if self.is_short and all(part is None for part in fixed):
            given: dict[int, Any] = dict(start)
            parts = {i: part if isinstance(part, Short) else part.floored for i, part in given.items()}
            found = ShortSweep(self, box, parts, constant)
            return found.run(self.model.network, self.model.kinds, lines, last) - size
        network, numbers, coefficients, value = self.model.network, self.model.numbers, dict(start), constant
        for i, affine, k in paced(reversed(network.steps[:last])):
            a = coefficients.pop(i, None)
            if a is None:
                continue
            if affine is not None:
                value, scale = value + a @ affine.bias, self.scale[i]
                size = size if scale is None else size + abs(a) @ scale
                for term in affine.terms:
                    accumulate(coefficients, term.source, term.map.transpose(a))
                continue
            source = network.sources[k]
            kind = self.model.kinds[k]
            g, part = self._through(kind, lines[k], box, a, fixed[k] if fixed else None)
            if numbers.exact:
                # g p >= r p + (g - r) low for any r below g.
                r = numbers.short(g)
                g, part = r, part + dot(g - r, self.lower[source], box)
            value = value + part
            if not self.model.lone[source]:
                size = size + numbers.charge(g, self.reach[source])
            accumulate(coefficients, source, g)
        a = coefficients.get(0)
        if a is not None:
            if self.couplings is not None:
                a, shift, lost = self.couplings.priced(a, (self.lower[0], self.upper[0]), self.reach[0], box)
                value, size = value + shift, size + lost
            value = value + dot(a, self.centre, box) - dot(abs(a), self.radius, box)
            size = size + 4 * numbers.charge(a, self.reach[0])
        return numbers.known(value - self.model.error * size - self.underflow)

    def depth(self, node: int) -> Any:
        """sum max(-low, 0) over a node's entries, [boxes]."""
        if node not in self._depths:
            self._depths[node] = np.sum(np.maximum(-self.lower[node], self.model.numbers.number(0)), axis=-1)
        return self._depths[node]

    def _through(
        self, kind: CheckedKind, lines: CheckedLines, box: np.ndarray | None, a: np.ndarray, fixed: Fixed | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Multipliers of an activation's input for coefficients of its output, and the sum of their intercepts."""
        zero = self.model.numbers.number(0)
        wide = kind.repeated(a)
        g = wide * np.where(wide > 0, rows_of(lines.below, box), rows_of(lines.above, box))
        negative = np.minimum(a, zero)
        if fixed is not None:
            place = fixed.row, fixed.entry
            g[place] = a[place] * fixed.slope - fixed.shift
            negative[place] = zero
        part = dot(negative, lines.above_at, box)
        return g, part if lines.below_at is None else part + dot(np.maximum(a, zero), lines.below_at, box)


class CheckedNetwork:
    """A network in numbers that bounds can be derived in.

    Raises: InputError for activations that cannot be checked.
    """

    def __init__(self, network: Network, numbers: Numbers, budget: Budget) -> None:
        check_kinds(network, numbers.exact)
        self.numbers, self.budget, self.network = numbers, budget, numbers.network(network, budget.bytes)
        self.kinds = [checked_kind(node) for node in self.network.functions]
        self.alone = operands_alone(network)
        nodes = self.network.nodes
        deepest = max((node.roundings for node in self.network.affine.values()), default=1)
        widest = max(node.size for node in nodes)
        # Above the successive roundings behind any one coefficient, product and sum over neurons.
        self.roundings = 2 * deepest + widest + 4 * len(nodes) + 64
        # What weights that are not known exactly can be off by is charged as it is.
        self.error = 1 if numbers.exact else 8.0 * gamma(self.roundings)
        self.count = self.roundings + sum(node.size for node in nodes)
        # Affine nodes that one activation alone reads.
        affine, readers = self.network.affine, self.network.readers
        self.is_short = numbers.exact and max(widest, *map(len, readers)) <= LONGEST
        self.lone = [i in affine and len(found) == 1 and not found & affine.keys() for i, found in enumerate(readers)]
        # Where the network's nodes are in this one.
        self.own = dict(zip(network.sources, self.network.sources, strict=True)) if numbers.exact else None
        self.feeds: dict[int, bool] = {}
        for source, kind in zip(self.network.sources, self.kinds, strict=True):
            self.feeds[source] = self.feeds.get(source, False) or not kind.rectifies
        # What holds the operands of differences, with those that are known by themselves.
        self.differing = {self.network.sources[k]: pair for k, pair in self.alone.items()}
        for source in self.differing:
            del self.feeds[source]

    def derive(
        self,
        ends: tuple[np.ndarray, np.ndarray],
        better: Sequence[Tightening] = (),
        like: CheckedRanges | None = None,
        couplings: CheckedCouplings | None = None,
        short: bool = False,
    ) -> CheckedRanges:
        """Bounds over boxes, and couplings of their inputs: intervals, cut with CROWN's where they leave an activation
        open, then with better ones.

        like: ranges in float64 over the same boxes, whose slopes exact ones take: where the rule is undecided, as for
        neurons over symmetric intervals, a search has gone by its own rounding.
        Shapes: ends [boxes, inputs]; one box where there are better ones. Raises: CertificateError.
        """
        ranges = CheckedRanges(self, ends, like, couplings, short)
        for i, node, k in paced(self.network.steps):
            if node is None:
                ranges.add_activation(k)
            else:
                low, high, scale = ranges.interval(node)
                self._narrow(ranges, node, (low, high, scale), self.differing.get(i))
                # Of the input alone the interval over a box is exact.
                if i in self.feeds and (couplings is not None or any(term.source for term in node.terms)):
                    open = low < high if self.feeds[i] else (low < 0) & (high > 0)
                    self._cut(ranges, node, (low, high, scale), np.nonzero(open), None)
                for found in better:
                    if i == (found.node if self.own is None else self.own.get(found.node)):
                        entries = found.neurons.astype(np.int64)
                        self._cut(ranges, node, (low, high, scale), (np.zeros_like(entries), entries), found)
                ranges.add_affine(node, low, high, scale)
        return ranges

    def _narrow(
        self,
        ranges: CheckedRanges,
        node: Affine,
        known: tuple[np.ndarray, np.ndarray, np.ndarray | None],
        alone: tuple[int, int] | None,
    ) -> None:
        """Cut the bounds of the operands [n; D; n'] of differences in place: with those of n and n' by themselves, and
        where a sign is open with CROWN's of D and of what was not bounded so before.
        """
        if alone is None:
            return
        low, high, _ = known
        size, wanted = node.size // 3, np.ones(low.shape, dtype=bool)
        open = np.zeros((len(low), size), dtype=bool)
        for k, start in zip(alone, (0, 2 * size), strict=True):
            source, own = self.network.sources[k], slice(start, start + size)
            least, most = low[:, own], high[:, own]
            low[:, own] = np.minimum(np.maximum(least, ranges.lower[source]), most)
            high[:, own] = np.maximum(np.minimum(most, ranges.upper[source]), least)
            unknown = (low[:, own] < 0) & (high[:, own] > 0)
            open = open | unknown | self.feeds[source]
            wanted[:, own] = ~(unknown | self.feeds[source])
        wanted = wanted & np.concatenate([open] * 3, axis=1) & (low < high)
        self._cut(ranges, node, known, np.nonzero(wanted), None)

    def blocks(self, count: int, work: Callable[[int, int], None], most: int | None = None) -> None:
        """work(first, last) on blocks of rows, at most so many."""
        self.budget.blocks(count, self._rows(count if most is None else most), work)

    def _rows(self, most: int) -> int:
        """Rows of a block: as many as stay in the cache and fit in memory."""
        widest = max(node.size for node in self.network.nodes)
        return max(1, min(most, max(_BLOCK_ROWS, _BLOCK_NUMBERS // widest), self.budget.block(widest)))

    def _cut(
        self,
        ranges: CheckedRanges,
        node: Affine,
        known: tuple[np.ndarray, np.ndarray, np.ndarray | None],
        place: tuple[np.ndarray, ...],
        better: Tightening | None,
    ) -> None:
        """Cut an affine node's bounds in place with those of some neurons of some boxes."""
        (low, high, scale), (box, neuron) = known, place

        def work(first: int, last: int) -> None:
            where, wanted = box[first:last], neuron[first:last]
            start: dict[int, Any] = {}
            if ranges.is_short:
                start = {term.source: matrix_of(term.map).signed_rows(wanted) for term in node.terms}
            else:
                for term in node.terms:
                    accumulate(start, term.source, term.map.rows_at(wanted, Placement.numpy()))
                start = {i: np.concatenate([part, -part]) for i, part in start.items()}
            constant = np.concatenate([node.bias[wanted], -node.bias[wanted]])
            size = self.numbers.size(constant)
            if scale is not None:
                size = size + np.concatenate([scale[wanted], scale[wanted]])
            lines, boxes = ranges.lines, np.concatenate([where, where]) if len(low) > 1 else None
            if better is not None:
                slopes = np.concatenate([side[first:last] for side in (better.lower, better.upper)])
                lines = ranges.chosen(better.columns, slopes)
            bound = self.numbers.short(ranges.sweep(lines, boxes, start, constant, size))
            least, most = bound[: len(wanted)], -bound[len(wanted) :]
            # Bounds of what couplings leave empty cross by any amount; kept inside, they spoil no shared magnitude.
            own = low[where, wanted], high[where, wanted]
            low[where, wanted] = np.minimum(np.maximum(own[0], least), own[1])
            high[where, wanted] = np.maximum(np.minimum(own[1], most), own[0])

        self.blocks(len(neuron), work)
