"""Networks of piecewise linear activations as linear and mixed-integer programs over the vertices of their graphs."""

from fractions import Fraction

import numpy as np
from scipy import sparse

from admm_verify import Box, Network
from admm_verify.network.graph import Activation, Affine, Input
from tests.reference.attack import FUNCTIONS
from tests.reference.highs import Optimum, Program, run, unit

Pair = tuple[np.ndarray, np.ndarray]


class Formulation:
    """Variables in [0, 1]: per input the share of the way through the box; per activation a weight for each of its
    breakpoints, which are the vertices of its hull, and if integer a binary for each piece between two of them.

    Shapes: columns of `images` and rows' matrices are the variables.
    """

    def __init__(self, network: Network, box: Box, bounds: list[Pair], integer: bool) -> None:
        nodes = list(network.functions)
        self.box, self.integer = box, integer
        points = [breakpoints(node, *pair) for node, pair in zip(nodes, bounds, strict=True)]
        self.points = {id(node): part for node, part in zip(nodes, points, strict=True)}
        sizes = [part.size + integer * (part.size - part.shape[1]) for part in points]
        self.used, self.total = network.input_size, network.input_size + sum(sizes)
        self.binary = np.zeros(self.total, dtype=bool)
        self.rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.images: list[Pair] = []
        for node in network.nodes:
            if isinstance(node, Input):
                matrix = np.zeros((node.size, self.total))
                matrix[:, : node.size] = np.diag(box.upper - box.lower)
                self.images.append((matrix, box.lower))
            elif isinstance(node, Affine):
                self.images.append(self._affine(node))
            else:
                self.images.append(self._activation(node))

    def minimum(self, objective: np.ndarray, offset: float) -> Optimum:
        """The least value of objective f + offset, up to HiGHS' tolerances, and the input behind it."""
        matrix, constant = self.images[-1]
        cost, shift = objective @ matrix, float(objective @ constant + offset)
        stacked = [np.concatenate(part) for part in zip(*self.rows, strict=True)]
        ends = np.zeros(self.total), np.ones(self.total)
        rows = sparse.csr_matrix(stacked[0])
        scale = unit(np.abs(cost).max(initial=0.0))
        found = run(Program(cost / scale, rows, stacked[1], stacked[2], *ends, self.binary))
        x = self.box.lower + found[: len(self.box.lower)] * (self.box.upper - self.box.lower)
        size = float(np.abs(cost).sum() + np.abs(objective) @ np.abs(constant) + abs(offset))
        return Optimum(float(cost @ found) + shift, np.clip(x, self.box.lower, self.box.upper), size)

    def _affine(self, node: Affine) -> Pair:
        matrix, constant = np.zeros((node.size, self.total)), node.bias
        for term in node.terms:
            weight, image = term.map.dense().weight, self.images[term.source]
            matrix, constant = matrix + weight @ image[0], constant + weight @ image[1]
        return matrix, constant

    def _activation(self, node: Activation) -> Pair:
        """Appends the rows of an activation: its input and one as sums of weights, and weights only next to a piece."""
        points, (source, shift) = self.points[id(node)], self.images[node.source]
        count, size = points.shape
        weights = self._take(count, size)
        pre, post = np.zeros((size, self.total)), np.zeros((size, self.total))
        ones, values = np.zeros((size, self.total)), FUNCTIONS[node.kind](points, *node.parameters)
        at = np.arange(size)
        for place, point, value in zip(weights, points, values, strict=True):
            pre[at, place], post[at, place], ones[at, place] = point, value, 1.0
        # Every layer is measured in units of its own bounds, so that HiGHS' absolute tolerances fit any scale.
        scale = unit(np.abs(points).max())
        self.rows.append(((pre - source) / scale, shift / scale, shift / scale))
        self.rows.append((ones, np.ones(size), np.ones(size)))
        if self.integer:
            self._pieces(weights, size)
        return post, np.zeros(size)

    def _pieces(self, weights: np.ndarray, size: int) -> None:
        pieces, at = self._take(len(weights) - 1, size), np.arange(size)
        self.binary[pieces.reshape(-1)] = True
        one = np.zeros((size, self.total))
        for place in pieces:
            one[at, place] = 1.0
        self.rows.append((one, np.ones(size), np.ones(size)))
        for k, place in enumerate(weights):
            beside = np.zeros((size, self.total))
            beside[at, place] = 1.0
            for piece in pieces[max(k - 1, 0) : k + 1]:
                beside[at, piece] = -1.0
            self.rows.append((beside, np.full(size, -np.inf), np.zeros(size)))

    def _take(self, count: int, size: int) -> np.ndarray:
        """The next count * size variables, [count, size]."""
        self.used += count * size
        return np.arange(self.used - count * size, self.used).reshape(count, size)


def breakpoints(node: Activation, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The ends of [l, u] and the kinks moved into it, ascending, [m, n]."""
    kinks = node.parameters if node.kind == "clip" else (np.zeros(node.size),)
    return np.stack([lower, *(np.clip(kink, lower, upper) for kink in kinks), upper])


class ExactPieces:
    """A network of piecewise linear activations in rational arithmetic, as it was built."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.weights = [
            [_entries(term.map.dense().weight) for term in node.terms] if isinstance(node, Affine) else []
            for node in network.nodes
        ]

    def values(self, x: np.ndarray) -> list[list[Fraction]]:
        """The values of all nodes at one input of floats."""
        values = [[Fraction(number) for number in x]]
        for node, weights in zip(self.network.nodes[1:], self.weights[1:], strict=True):
            if isinstance(node, Activation):
                values.append(_exact_activation(node, values[node.source]))
                continue
            assert isinstance(node, Affine)
            total = [Fraction(number) for number in node.bias]
            for term, rows in zip(node.terms, weights, strict=True):
                source = values[term.source]
                total = [sum((w * source[j] for j, w in row), y) for row, y in zip(rows, total, strict=True)]
            values.append(total)
        return values

    def objective(self, x: np.ndarray, objective: np.ndarray, offset: float) -> Fraction:
        """objective f(x) + offset."""
        output = self.values(x)[-1]
        return sum((Fraction(c) * y for c, y in zip(objective, output, strict=True)), Fraction(offset))


def _entries(matrix: np.ndarray) -> list[list[tuple[int, Fraction]]]:
    return [[(int(j), Fraction(row[j])) for j in np.flatnonzero(row)] for row in matrix]


def _exact_activation(node: Activation, x: list[Fraction]) -> list[Fraction]:
    zero, parameters = Fraction(0), [[Fraction(number) for number in p] for p in node.parameters]
    if node.kind == "relu":
        return [max(p, zero) for p in x]
    if node.kind == "prelu":
        return [p if p >= 0 else slope * p for p, slope in zip(x, *parameters, strict=True)]
    assert node.kind == "clip"
    return [min(max(p, low), high) for p, low, high in zip(x, *parameters, strict=True)]
