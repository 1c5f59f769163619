"""What a search bounds in place of rows' values: numbers that the values never fall with."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.bounds.interval import Forward
from admm_verify.network.graph import Activation, Affine, Input, Network, Term
from admm_verify.network.selection import SelectionMap
from admm_verify.sets.box import Box

_MONOTONE = ("clip", "elu", "relu", "sigmoid", "softplus", "tanh")
"""Kinds of activations that never fall, whatever their parameters."""

_ENTRIES = 2**16
"""Entries of the largest map that is looked at."""

_HUGE, _FINITE = float(np.finfo(np.float64).max), 2.0**500
"""The largest number, and what values are below that do not grow with it."""

_HALVINGS, _DOUBLINGS = 64, 64
"""Steps of the search for a score by its value."""


class Scores(ABC):
    """A score s = a'g(x) of every row, with which its value c'f(x) + d never falls.

    network: g. Shapes: objective (the a) [rows, outputs of g].
    """

    network: Network
    objective: np.ndarray

    @abstractmethod
    def values(self, score: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Lower bounds of the rows' values where their scores are at least some numbers; shapes [m] each.

        Error: rounded downward.
        """

    @abstractmethod
    def level(self, floor: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Scores from which on `values` are at least some floors. Shapes: floor, start (scores below) [rows]."""


@dataclass(frozen=True, eq=False)
class PlainScores(Scores):
    """c'f(x) itself, where the value is that and a constant. Shapes: offset [rows]."""

    network: Network
    objective: np.ndarray
    offset: np.ndarray

    def values(self, score: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.nextafter(score + self.offset[rows], -np.inf)

    def level(self, floor: np.ndarray, start: np.ndarray) -> np.ndarray:
        # By more than the roundings, here and on the way back.
        return floor - self.offset + 2.0**-50 * (np.abs(floor) + np.abs(self.offset))


@dataclass(frozen=True, eq=False)
class TailScores(Scores):
    """One number of the network, or its negative, of which the only output that the row takes is a function.

    Bounds of the number, through which the function takes them exactly, are tighter than those of the function's
    relaxation: a clip or a tanh at the end of a policy costs nothing.
    tail: from the values of `network` to the outputs; entry: the number that the row takes.
    Shapes: coefficient (the c of the output), offset, output, entry, sign (of the score) [rows].
    """

    network: Network
    objective: np.ndarray
    tail: Network
    coefficient: np.ndarray
    offset: np.ndarray
    output: np.ndarray
    entry: np.ndarray
    sign: np.ndarray

    @classmethod
    def of(cls, network: Network, objective: np.ndarray, offset: np.ndarray) -> "TailScores | None":
        """Shapes: objective [rows, outputs]; offset [rows]. None for networks and rows that are not so."""
        found = _cut(network)
        if found is None or not (np.count_nonzero(objective, axis=1) == 1).all():
            return None
        first, entries, signs = found
        head = Network(
            network.nodes[: first + 1],
            network.input_shape,
            (network.nodes[first].size,),
            network.name,
            network.element_type,
        )
        zero = np.zeros(head.output_size)
        same = Affine((Term(0, SelectionMap.identity(len(zero))),), zero, zero)
        places = {i: i - first + 1 for i in range(first, len(network.nodes))}
        rest = tuple(node.reading(places) for node in network.nodes[first + 1 :] if not isinstance(node, Input))
        tail = Network((Input(len(zero)), same, *rest), head.output_shape, network.output_shape, network.name)
        output = np.argmax(objective != 0, axis=1)
        coefficient = objective[np.arange(len(output)), output]
        sign = np.sign(coefficient) * signs[output]
        rows = np.zeros((len(output), head.output_size))
        rows[np.arange(len(output)), entries[output]] = sign
        return cls(head, rows, tail, coefficient, offset, output, entries[output], sign)

    def values(self, score: np.ndarray, rows: np.ndarray) -> np.ndarray:
        # What comes of the largest number comes of all beyond it, but where it grows without end.
        place, known = np.arange(len(rows)), np.nan_to_num(score, nan=-_HUGE, neginf=-_HUGE, posinf=_HUGE)
        point = np.zeros((len(rows), self.network.output_size))
        point[place, self.entry[rows]] = self.sign[rows] * known
        with quiet_overflow():
            forward = Forward(self.tail, Box.point(point)).run()
            ends = [to_numpy(side[-1])[place, self.output[rows]] for side in (forward.lower, forward.upper)]
            coefficient = self.coefficient[rows]
            least = np.nextafter(coefficient * np.where(coefficient > 0, *ends), -np.inf)
            found = np.nextafter(least + self.offset[rows], -np.inf)
        return np.where(np.isnan(found) | ((known == -_HUGE) & ~(np.abs(found) < _FINITE)), -np.inf, found)

    def level(self, floor: np.ndarray, start: np.ndarray) -> np.ndarray:
        every, low = np.arange(len(floor)), np.clip(start, -_HUGE, _HUGE)
        high, step = low, 2.0**-30 * (1.0 + np.abs(low))
        for _ in range(_DOUBLINGS):
            short = self.values(high, every) < floor
            if not short.any():
                break
            low, high, step = np.where(short, high, low), np.where(short, high + step, high), 2.0 * step
        for _ in range(_HALVINGS):
            middle = low / 2 + high / 2
            enough = self.values(middle, every) >= floor
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return high


def scores_of(network: Network, objective: np.ndarray, offset: np.ndarray) -> Scores:
    """The scores of rows c'f(x) + d. Shapes: objective [rows, outputs]; offset [rows]."""
    return TailScores.of(network, objective, offset) or PlainScores(network, objective, offset)


def _cut(network: Network) -> tuple[int, np.ndarray, np.ndarray] | None:
    """The node of whose entries the outputs are functions that are monotone, one each; with the entry of every output
    and whether it grows (1) or falls (-1) with that. None for networks of which nothing is so.
    """
    entries, signs = np.arange(network.output_size), np.ones(network.output_size)
    found = None
    for i in range(network.output, 0, -1):
        node = network.nodes[i]
        if isinstance(node, Activation):
            if node.kind not in _MONOTONE or node.source != i - 1:
                break
            found = i - 1, entries, signs
            continue
        drawn = _drawn(node, i) if isinstance(node, Affine) else None
        if drawn is None:
            break
        entries, signs = drawn[0][entries], signs * drawn[1][entries]
        if not signs.all():
            break
    return found


def _drawn(node: Affine, number: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The one entry of the node before that every entry depends on, and the sign of its factor; None for sums."""
    if len(node.terms) != 1 or node.terms[0].source != number - 1:
        return None
    map = node.terms[0].map
    if map.rows * map.columns > _ENTRIES:
        return None
    matrix = to_numpy(map.apply(np.eye(map.columns))).T
    if (np.count_nonzero(matrix, axis=1) > 1).any():
        return None
    entry = np.argmax(matrix != 0, axis=1)
    return entry, np.sign(matrix[np.arange(len(entry)), entry])
