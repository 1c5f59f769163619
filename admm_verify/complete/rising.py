"""Two inputs of one network, one of which moves away from the other: atoms that the sign of derivatives excludes.

Where the inputs meet both outputs are equal, and no bound of their difference is certain of its sign; one of the
derivative is.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from admm_verify.arrays import SMALLEST, gamma, quiet_overflow, to_numpy
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.memory import Budget
from admm_verify.network.graph import Affine, Input, Network
from admm_verify.network.pair import PairedNetwork
from admm_verify.network.sameness import same_networks
from admm_verify.properties.cuts import least, most
from admm_verify.properties.property import Disjunct
from admm_verify.properties.query import Query
from admm_verify.properties.rows import AtomRows, atom_rows
from admm_verify.properties.ties import Ties
from admm_verify.rationals import directed
from admm_verify.run import Run, Stopped
from admm_verify.sets.box import Box
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import Inequality

_SHARE = 0.5
"""Of the time that is left."""

_PARTS = 2**15
"""Parts of a disjunct's inputs that are bounded at most."""

_BLOCK = 1024
"""Parts that are bounded at once, at most."""

_NUMBERS = 2**22
"""Numbers of all nodes, parts and directions together that are held at once, some of them several times."""

_WORK = 2**30
"""Such numbers of all parts that are bounded at most."""


def rising_disjuncts(query: Query, run: Run) -> list[int]:
    """The disjuncts of a query about two inputs of one network that hold nowhere by the signs of derivatives alone.

    f(x + sum d_i e_i) - f(x) = sum d_i times a mean of df/dx_i between both points, so that c'(f(x') - f(x)) >= 0
    wherever all d_i c'df/dx_i are.
    Valid when: in real numbers; of other networks than ones of rectifiers nothing is found.
    """
    network, ties, found = query.network, query.ties, list[int]()
    if not isinstance(network, PairedNetwork) or ties is None or not query.property.disjuncts:
        return found
    first, second = network.both
    moving = _moving(ties, first.input_size)
    if not moving or not same_networks(first, second) or any(node.kind != "relu" for node in first.functions):
        return found
    part = run.within(_SHARE)
    with suppress(Stopped), part.watching():
        rows = atom_rows(query.property, Budget.of(part))
        for number, disjunct in enumerate(query.property.disjuncts):
            signs = _signs(disjunct.box, moving)
            objectives = [] if signs is None else _objectives(rows, number, disjunct, network.outputs)
            if signs is None or not objectives:
                continue
            inputs = _between(disjunct, ties, first.input_size)
            directions = np.zeros((len(moving), first.input_size))
            directions[np.arange(len(moving)), list(moving)] = signs
            if any(_rises(first, directions, objective, inputs, part) for objective in objectives):
                found.append(number)
    return found


def _rises(network: Network, directions: np.ndarray, objective: np.ndarray, inputs: Box, run: Run) -> bool:
    """Whether no derivative is below zero, of so many directions at once as there is room for."""
    count = math.ceil(len(directions) * _width(network) / _NUMBERS)
    blocks = np.array_split(directions, min(count, len(directions)))
    return all(Slopes(network, block, objective, run).never_fall(inputs) for block in blocks)


def _width(network: Network) -> int:
    """Entries of all nodes together."""
    return sum(node.size for node in network.nodes)


def _moving(ties: Ties, size: int) -> dict[int, int]:
    """The inputs by which the second point differs from the first, and the number that is added to each; nothing where
    it follows otherwise.
    """
    found: dict[int, int] = {}
    added = {j - size: k for k, (j, i) in enumerate(ties.entries) if i is not None and i == j - size}
    for i in range(size):
        (terms, shift), (other, other_shift) = ties.rows[i], ties.rows[size + i]
        if (terms, shift) == (other, other_shift):
            continue
        if i not in added or dict(other) != {**dict(terms), added[i]: Fraction(1)} or shift != other_shift:
            return {}
        found[i] = added[i]
    return found


def _signs(box: ExactBox, moving: dict[int, int]) -> list[float] | None:
    """The signs of what is added to inputs, where it has one all over a box."""
    ends = [(box.range[0][k], box.range[1][k]) for k in moving.values()]
    if any(low < 0 < high for low, high in ends):
        return None
    return [1.0 if low >= 0 else -1.0 for low, _ in ends]


def _objectives(rows: AtomRows, number: int, disjunct: Disjunct, outputs: int) -> list[np.ndarray]:
    """Rows c, each of which excludes a disjunct where c'(f(x') - f(x)) >= 0."""
    found = []
    for atom, row in zip(disjunct.atoms, rows.disjuncts[number], strict=True):
        excludes = atom.constant > 0 or (atom.strict and not atom.constant)
        alone = atom.of_outputs and all(index >= 2 * outputs for index, value in atom.terms if value)
        if excludes and alone and not rows.rounding[row]:
            found.append(rows.objective[row, 2 * outputs :])
    return found


def _between(disjunct: Disjunct, ties: Ties, size: int) -> Box:
    """A box [1, n] that holds both points, and with them all between."""
    box, cuts = disjunct.box, () if disjunct.cut is None else disjunct.cut.rows
    limits = {frozenset(row.terms): row.constant for row in cuts}
    lower, upper = [], []
    for i in range(size):
        ends: list[tuple[Fraction, Fraction]] = []
        for terms, shift in (ties.rows[i], ties.rows[size + i]):
            row = Inequality(terms, shift, False)
            low, high = least(box, row), most(box, row)
            below = limits.get(frozenset((k, -value) for k, value in terms))
            above = limits.get(frozenset(terms))
            low = low if below is None else max(low, shift + below)
            ends.append((low, high if above is None else min(high, shift - above)))
        lower.append(min(low for low, _ in ends))
        upper.append(max(high for _, high in ends))
    return Box.of(directed(lower, np.float64, up=False)[None], directed(upper, np.float64, up=True)[None])


@dataclass
class Slopes:
    """The derivatives c'df/dx of a network of rectifiers in some directions, over boxes that are halved.

    Between two points, f changes by the mean of its derivative, which has at almost all of them the slopes 0 or 1 of
    all rectifiers, and any between where one stays at its kink.
    Shapes: directions [directions, n]; objective [outputs].
    """

    network: Network
    directions: np.ndarray
    objective: np.ndarray
    run: Run
    bounded: int = field(default=0, init=False)

    def never_fall(self, inputs: Box) -> bool:
        """Whether all derivatives are at least zero all over a box [1, n]; not where one is found that is not, and none
        of their sign is known soon.

        Raises: Stopped.
        """
        weight = self._first_weights()
        each = len(self.directions) * _width(self.network)
        block_size, most = max(1, min(_BLOCK, _NUMBERS // each)), min(_PARTS, _WORK // each)
        parts = [tuple(to_numpy(end)[0] for end in inputs.range)]
        while parts:
            self.run.check()
            block, parts = parts[-block_size:], parts[:-block_size]
            lower, upper = (np.stack(side) for side in zip(*block, strict=True))
            self.bounded += len(block)
            if self.bounded > most or (self._at(0.5 * (lower + upper)) < 0).any():
                return False
            for i in np.flatnonzero(~self._certain(lower, upper)):
                side = int(np.argmax((upper[i] - lower[i]) * weight))
                middle = 0.5 * (lower[i, side] + upper[i, side])
                if not lower[i, side] < middle < upper[i, side]:
                    return False
                for half in (0, 1):
                    ends = lower[i].copy(), upper[i].copy()
                    ends[1 - half][side] = middle
                    parts.append(ends)
        return True

    def _first_weights(self) -> np.ndarray:
        """How much each input moves the first layers."""
        total = np.zeros(self.network.input_size)
        for node in self.network.affine.values():
            for term in node.terms:
                if term.source == 0:
                    total += term.map.magnitude_transpose(np.ones(term.map.rows))
        return total

    def _at(self, x: np.ndarray) -> np.ndarray:
        """The derivatives at points [points, n], as computed, [points, directions]."""
        values = self.network.evaluate(x)
        moved: list[np.ndarray] = [np.broadcast_to(self.directions, (len(x), *self.directions.shape))]
        for node in self.network.nodes[1:]:
            self.run.check()
            if isinstance(node, Affine):
                parts = [to_numpy(term.map.apply(moved[term.source])) for term in node.terms]
                moved.append(sum(parts, np.zeros(node.size)))
            else:
                assert not isinstance(node, Input), "the input comes first"
                moved.append(np.where(values[node.source][:, None] > 0, moved[node.source], 0.0))
        return moved[-1] @ self.objective

    def _certain(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """Of which parts all derivatives are certainly at least zero, [parts].

        With m the moves of all nodes and z = s m behind a rectifier, 0 <= s <= 1: for any g, c'm_L is at least the sum
        of g_0'm_0 and, over all neurons, of min a z - g m, a the coefficient that reaches z; the least is at an end of
        m, z being 0 or m.
        Error: as that of all bounds, gamma_N times the products' magnitudes, N their roundings.
        """
        network = self.network
        with quiet_overflow():
            found = derived_bounds(network, Box.of(lower, upper), "forward", self.run)
            signs = [
                tuple(to_numpy(end)[:, None] for end in ends) for ends in zip(found.lower, found.upper, strict=True)
            ]
            moves = self._moves(signs, len(lower))
            passed: list[np.ndarray | None] = [None for _ in network.nodes]
            passed[-1] = np.broadcast_to(self.objective, (len(lower), *self.directions.shape[:1], len(self.objective)))
            value = size = np.zeros((len(lower), len(self.directions)))
            for i in range(network.output, 0, -1):
                self.run.check()
                node, own = network.nodes[i], passed[i]
                if own is None:
                    continue
                if isinstance(node, Affine):
                    size = size + (abs(own) * moves[i].size).sum(axis=-1)
                    for term in node.terms:
                        _add(passed, term.source, to_numpy(term.map.transpose(own)))
                else:
                    assert not isinstance(node, Input), "the input comes last"
                    source, ends = moves[node.source], signs[network.activations.index(i)]
                    given, least = _through(own, source.lower, source.upper, ends)
                    value, size = value + least.sum(axis=-1), size + abs(least).sum(axis=-1)
                    size = size + (abs(given) * source.reach).sum(axis=-1) + (abs(own) * source.reach).sum(axis=-1)
                    _add(passed, node.source, given)
            first = passed[0]
            if first is not None:
                value, size = (
                    value + (first * self.directions).sum(axis=-1),
                    size + (abs(first) * abs(self.directions)).sum(-1),
                )
            return np.all(value >= _error(network.roundings, size), axis=-1)

    def _moves(self, signs: Sequence[tuple[np.ndarray, ...]], parts: int) -> "list[_Move]":
        """Ranges of the moves of all nodes.

        Error: a product W m of m = c +- r lies within W c +- (|W| r + gamma_N M (|c| + r)), N its roundings; what
        underflow takes counts where there is anything to lose.
        """
        start = np.broadcast_to(self.directions, (parts, *self.directions.shape))
        found, k = [_Move(start, start, abs(start))], 0
        for node in self.network.nodes[1:]:
            self.run.check()
            if isinstance(node, Affine):
                found.append(self._product(node, found))
                continue
            assert not isinstance(node, Input), "the input comes first"
            source, (low, high) = found[node.source], signs[k]
            k += 1
            none, whole = high <= 0, low >= 0
            lower, upper = np.minimum(source.lower, 0.0), np.maximum(source.upper, 0.0)
            ends = [
                np.where(none, 0.0, np.where(whole, plain, part))
                for plain, part in ((source.lower, lower), (source.upper, upper))
            ]
            found.append(_Move(ends[0], ends[1], np.maximum(abs(ends[0]), abs(ends[1]))))
        return found

    def _product(self, node: Affine, moves: "Sequence[_Move]") -> "_Move":
        total, spread, size = np.zeros(node.size), np.zeros(node.size), np.zeros(node.size)
        for term in node.terms:
            move = moves[term.source]
            centre = 0.5 * (move.lower + move.upper)
            radius = np.nextafter(np.maximum(move.upper - centre, centre - move.lower), np.inf)
            radius = np.where(move.lower == move.upper, 0.0, radius)
            total = total + to_numpy(term.map.apply(centre))
            spread = spread + to_numpy(term.map.absolute_apply(radius))
            size = size + to_numpy(term.map.magnitude_apply(abs(centre) + radius))
        columns = sum(term.map.columns for term in node.terms)
        spread = (spread + _error(node.roundings + columns + 4, size)) * (1 + 1e-9)
        ends = np.nextafter(total - spread, -np.inf), np.nextafter(total + spread, np.inf)
        lower, upper = (np.where(size > 0, end, 0.0) for end in ends)
        return _Move(lower, upper, size)


@dataclass(frozen=True, eq=False)
class _Move:
    """Ranges of how a node's entries move, and the sums of products' sizes behind them.

    Shapes: lower, upper, size [parts, directions, n].
    """

    lower: np.ndarray
    upper: np.ndarray
    size: np.ndarray

    @property
    def reach(self) -> np.ndarray:
        """The largest size of an entry."""
        return np.maximum(abs(self.lower), abs(self.upper))


def _error(roundings: int, size: np.ndarray) -> np.ndarray:
    """What so many roundings, and underflow, take from a sum of products of this size; nothing where that is zero."""
    return np.where(size > 0, 4.0 * gamma(roundings) * size + 8.0 * roundings * SMALLEST, 0.0)


def _add(passed: list[np.ndarray | None], node: int, part: np.ndarray) -> None:
    known = passed[node]
    passed[node] = part if known is None else known + part


def _through(
    given: np.ndarray, lower: np.ndarray, upper: np.ndarray, ends: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients g of a rectifier's moves m between lower and upper, from those of what it makes of them, a, and the
    least a z - g m.

    ends: between which its input lies. h(m) = min(a m, 0) is the least a z; g is the slope of its chord.
    """
    none, whole = ends[1] <= 0, ends[0] >= 0
    low, high = np.minimum(given * lower, 0.0), np.minimum(given * upper, 0.0)
    width = upper - lower
    chord = np.where(width > 0, (high - low) / np.where(width > 0, width, 1.0), 0.0)
    least = np.minimum(low - chord * lower, high - chord * upper)
    return (
        np.where(none, 0.0, np.where(whole, given, chord)),
        np.where(none | whole, 0.0, least),
    )
