"""Networks for the tests: a builder, random small networks with degenerate kinds among them, and random graphs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from admm_verify import Box, Network
from admm_verify.network.graph import Activation, Affine, Input, Node, Term
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import simplify


def relaxed(network: Network) -> Network:
    """The graph that a network is relaxed by, as a network that is evaluated by it too."""
    return replace(network, as_read=None)


class Builder:
    """Appends nodes one by one; every method returns the index of the node it added."""

    def __init__(self, inputs: int) -> None:
        self.nodes: list[Node] = [Input(inputs)]

    def size(self, index: int) -> int:
        return self.nodes[index].size

    def affine(self, terms: list[tuple[int, LinearMap]], bias: np.ndarray) -> int:
        self.nodes.append(Affine(tuple(Term(source, part) for source, part in terms), bias, np.abs(bias)))
        return len(self.nodes) - 1

    def dense(self, source: int, weight: np.ndarray, bias: np.ndarray) -> int:
        return self.affine([(source, DenseMap(weight))], bias)

    def relu(self, source: int) -> int:
        self.nodes.append(Activation("relu", source, self.size(source)))
        return len(self.nodes) - 1

    def network(self) -> Network:
        return Network(tuple(self.nodes), (self.nodes[0].size,), (self.nodes[-1].size,))


def chain(weights: list[np.ndarray], biases: list[np.ndarray]) -> Network:
    """Dense layers with ReLU between them."""
    builder = Builder(weights[0].shape[1])
    last = 0
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        last = builder.relu(builder.dense(last, weight, bias))
    builder.dense(last, weights[-1], biases[-1])
    return builder.network()


@dataclass(frozen=True, eq=False)
class Case:
    """A network in normal form with a box and objective rows."""

    kind: str
    network: Network
    box: Box
    objective: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, eq=False)
class Layers:
    """What a kind of random network may change: weights and biases of a chain, and the box."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    lower: np.ndarray
    upper: np.ndarray


def _plain(layers: Layers, rng: np.random.Generator) -> Layers:
    return layers


def _point(layers: Layers, rng: np.random.Generator) -> Layers:
    return Layers(layers.weights, layers.biases, layers.lower, layers.lower)


def _partly_point(layers: Layers, rng: np.random.Generator) -> Layers:
    fixed = rng.random(len(layers.lower)) < 0.5
    return Layers(layers.weights, layers.biases, layers.lower, np.where(fixed, layers.lower, layers.upper))


def _dead_neurons(layers: Layers, rng: np.random.Generator) -> Layers:
    biases = [np.where(rng.random(len(b)) < 0.5, -100.0, b) for b in layers.biases[:-1]]
    return Layers(layers.weights, [*biases, layers.biases[-1]], layers.lower, layers.upper)


def _dead_layer(layers: Layers, rng: np.random.Generator) -> Layers:
    dead = rng.integers(len(layers.biases) - 1)
    biases = [np.full(len(b), -1e4) if k == dead else b for k, b in enumerate(layers.biases)]
    return Layers(layers.weights, biases, layers.lower, layers.upper)


def _active_neurons(layers: Layers, rng: np.random.Generator) -> Layers:
    biases = [np.where(rng.random(len(b)) < 0.7, b + 50.0, b) for b in layers.biases[:-1]]
    return Layers(layers.weights, [*biases, layers.biases[-1]], layers.lower, layers.upper)


def _disconnected(layers: Layers, rng: np.random.Generator) -> Layers:
    weights = [w * (rng.random(w.shape[1]) < 0.6) for w in layers.weights]
    return Layers(weights, layers.biases, layers.lower, layers.upper)


def _zero_weights(layers: Layers, rng: np.random.Generator) -> Layers:
    zero = rng.integers(len(layers.weights))
    weights = [0.0 * w if k == zero else w for k, w in enumerate(layers.weights)]
    return Layers(weights, layers.biases, layers.lower, layers.upper)


def _integers(layers: Layers, rng: np.random.Generator) -> Layers:
    """Small integers: pre-activation bounds and coefficients that are exactly zero, and ties everywhere."""
    return Layers(
        [np.rint(2 * w) for w in layers.weights],
        [np.rint(b) for b in layers.biases],
        np.floor(layers.lower),
        np.ceil(layers.upper),
    )


def _scaled(exponent: int) -> Callable[[Layers, np.random.Generator], Layers]:
    """Weights times 2**exponent, biases so that every layer's values grow by the same factor."""

    def scale(layers: Layers, rng: np.random.Generator) -> Layers:
        weights = [np.ldexp(w, exponent) for w in layers.weights]
        biases = [np.ldexp(b, exponent * (k + 1)) for k, b in enumerate(layers.biases)]
        return Layers(weights, biases, layers.lower, layers.upper)

    return scale


def _uneven(layers: Layers, rng: np.random.Generator) -> Layers:
    """Every neuron on a scale of its own, from 1e-4 to 1e4."""
    weights = [w * 10.0 ** rng.uniform(-4, 4, (len(w), 1)) for w in layers.weights]
    return Layers(weights, layers.biases, layers.lower, layers.upper)


KINDS: dict[str, Callable[[Layers, np.random.Generator], Layers]] = {
    "plain": _plain,
    "residual": _plain,
    "one neuron": _plain,
    "point box": _point,
    "partly point box": _partly_point,
    "dead neurons": _dead_neurons,
    "dead layer": _dead_layer,
    "active neurons": _active_neurons,
    "disconnected": _disconnected,
    "zero weights": _zero_weights,
    "integers": _integers,
    "huge": _scaled(12),
    "tiny": _scaled(-12),
    "uneven": _uneven,
}


def random_case(seed: int, kind: str | None = None, widest: int = 12, deepest: int = 4) -> Case:
    """A random network of 1 to `deepest` hidden layers with 1 to 3 objective rows; the seed picks the kind."""
    rng = np.random.default_rng(seed)
    kind = list(KINDS)[seed % len(KINDS)] if kind is None else kind
    depth = int(rng.integers(1, deepest + 1))
    sizes = [int(size) for size in rng.integers(1, widest + 1, depth + 2)]
    if kind == "one neuron":
        sizes[int(rng.integers(1, depth + 1))] = 1
    if kind == "residual":
        sizes[1:-1] = [min(sizes[1], 8)] * depth
    gain = rng.uniform(0.7, 2.5)
    weights = [gain * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    biases = [rng.uniform(0, 0.5) * rng.standard_normal(m) for m in sizes[1:]]
    centre, radius = rng.uniform(-1, 1, sizes[0]), rng.uniform(0, 1, sizes[0])
    layers = KINDS[kind](Layers(weights, biases, centre - radius, centre + radius), rng)
    build = _residual if kind == "residual" else chain
    network = simplify(build(layers.weights, layers.biases))
    rows = int(rng.integers(1, 4))
    objective, offset = rng.standard_normal((rows, sizes[-1])), rng.standard_normal(rows)
    return Case(kind, network, Box(layers.lower, layers.upper), objective, offset)


def _residual(weights: list[np.ndarray], biases: list[np.ndarray]) -> Network:
    """A chain whose inner pre-activations also add the activation one layer below, h + W relu(V h)."""
    builder = Builder(weights[0].shape[1])
    last = builder.relu(builder.dense(0, weights[0], biases[0]))
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        skip = SelectionMap.identity(builder.size(last))
        last = builder.relu(builder.affine([(last, DenseMap(weight)), (last, skip)], bias))
    straight = DenseMap(np.ones((len(biases[-1]), builder.size(0))))
    builder.affine([(last, DenseMap(weights[-1])), (0, straight)], biases[-1])
    return builder.network()


def random_graph(seed: int) -> Network:
    """A random graph, *not* in normal form: affine chains, two-term sums, selections, diagonals, twins, dead nodes."""
    rng = np.random.default_rng(seed)
    builder = Builder(int(rng.integers(1, 6)))
    grow = (_add_dense, _add_dense, _add_sum, _add_selection, _add_diagonal, _add_relu, _add_relu, _add_twin_relus)
    for _ in range(int(rng.integers(2, 14))):
        grow[rng.integers(len(grow))](builder, rng)
    if rng.random() < 0.7:
        _add_dense(builder, rng)
    return builder.network()


def _some_node(builder: Builder, rng: np.random.Generator) -> int:
    """A random node, the last one half of the time, so that graphs grow deep and leave dead nodes behind."""
    return len(builder.nodes) - 1 if rng.random() < 0.5 else int(rng.integers(len(builder.nodes)))


def random_weight(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Standard normal entries over sqrt(columns)."""
    return rng.standard_normal((rows, columns)) / np.sqrt(columns)


def _add_dense(builder: Builder, rng: np.random.Generator) -> None:
    source, rows = _some_node(builder, rng), int(rng.integers(1, 6))
    builder.dense(source, random_weight(rng, rows, builder.size(source)), rng.standard_normal(rows))


def _add_sum(builder: Builder, rng: np.random.Generator) -> None:
    first, second = _some_node(builder, rng), _some_node(builder, rng)
    size = builder.size(first)
    skip: LinearMap = SelectionMap.identity(size)
    other = DenseMap(random_weight(rng, size, builder.size(second)))
    builder.affine([(first, skip), (second, other)], rng.standard_normal(size))


def random_selection(rng: np.random.Generator, rows: int, columns: int) -> SelectionMap:
    """Distinct entries in random order, with zeros where the rows outnumber them and sometimes elsewhere."""
    gather = np.full(rows, columns, dtype=np.int64)
    count = int(rng.integers(0, min(rows, columns) + 1))
    gather[rng.permutation(rows)[:count]] = rng.permutation(columns)[:count]
    return SelectionMap.from_gather(gather, columns)


def _add_selection(builder: Builder, rng: np.random.Generator) -> None:
    source, rows = _some_node(builder, rng), int(rng.integers(1, 6))
    builder.affine([(source, random_selection(rng, rows, builder.size(source)))], np.zeros(rows))


def _add_diagonal(builder: Builder, rng: np.random.Generator) -> None:
    source = _some_node(builder, rng)
    size = builder.size(source)
    builder.affine([(source, DiagonalMap(rng.standard_normal(size)))], rng.standard_normal(size))


def _add_relu(builder: Builder, rng: np.random.Generator) -> None:
    builder.relu(_some_node(builder, rng))


def _add_twin_relus(builder: Builder, rng: np.random.Generator) -> None:
    source = _some_node(builder, rng)
    first, second = builder.relu(source), builder.relu(source)
    size = builder.size(source)
    builder.affine([(first, SelectionMap.identity(size)), (second, SelectionMap.identity(size))], np.zeros(size))


def stacked_network(seed: int) -> Network:
    """Layers of several affine nodes each, not yet merged: dense, scaling, selection with a bias, residual."""
    rng = np.random.default_rng(seed)
    builder = Builder(int(rng.integers(1, 6)))
    last = 0
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.integers(1, 7))
        dense = builder.dense(last, random_weight(rng, size, builder.size(last)), rng.standard_normal(size))
        scaled = builder.affine([(dense, DiagonalMap(rng.standard_normal(size)))], rng.standard_normal(size))
        moved = builder.affine([(scaled, random_selection(rng, size, size))], rng.standard_normal(size))
        skip = SelectionMap.identity(size)
        residual = builder.affine([(moved, DenseMap(random_weight(rng, size, size))), (dense, skip)], np.zeros(size))
        last = builder.relu(residual)
    builder.dense(last, random_weight(rng, 2, builder.size(last)), rng.standard_normal(2))
    return builder.network()
