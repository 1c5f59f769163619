"""Neurons of two networks matched by their weights, where layers are of different widths or in another order.

A neuron that the other network lacks has a partner there that nothing goes into or out of, so that both graphs get one
form and the differences of their layers are bounded as such. Any matching is right; a good one makes bounds tight.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from admm_verify.arrays import Array
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Input, Node, Term
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap
from admm_verify.network.selection import SelectionMap

_KINDS = ("clip", "elu", "prelu", "relu", "sigmoid", "softplus", "tanh")
"""Kinds of activations that neurons without weights may have: they are defined at 0."""

_LARGEST = 2**22
"""Pairs of neurons of two layers up to which all of them are compared."""

_FAR = 0.05
"""Relative squared distance of a neuron and that in the same place from which others are looked at."""


@dataclass(frozen=True, eq=False)
class Order:
    """The neurons of two layers in their common order: their numbers in each, -1 for one that is lacking there."""

    first: np.ndarray
    second: np.ndarray

    @classmethod
    def in_order(cls, size: int) -> "Order":
        return cls(np.arange(size), np.arange(size))

    @property
    def are_in_order(self) -> bool:
        """Whether nothing is lacking or moved."""
        return all(np.array_equal(side, np.arange(len(side))) for side in self.sides())

    def like(self, other: "Order") -> bool:
        """Whether they are the same places."""
        return all(map(np.array_equal, self.sides(), other.sides()))

    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        return self.first, self.second


def of_one_form(first: Sequence[Node], second: Sequence[Node]) -> tuple[Sequence[Node], Sequence[Node]]:
    """Two graphs whose neurons are matched, as graphs of one form; as they are where that cannot be done, or they have
    one form already and no other order brings them closer.
    """
    if not _fit(first, second):
        return first, second
    places: list[Order] = []
    made: tuple[list[Node], list[Node]] = [], []
    for i, (one, two) in enumerate(zip(first, second, strict=True)):
        if isinstance(one, Affine) and isinstance(two, Affine):
            found = Order.in_order(one.size) if i == len(first) - 1 else _matched(one, two, places)
        else:
            found = places[one.source] if isinstance(one, Activation) else Order.in_order(one.size)
        if found is None:
            return first, second
        places.append(found)
        for nodes, node, other, side in ((made[0], one, two, 0), (made[1], two, one, 1)):
            moved = _moved(node, other, places, side)
            if moved is None:
                return first, second
            nodes.append(moved)
    return (first, second) if all(found.are_in_order for found in places) else made


def _fit(first: Sequence[Node], second: Sequence[Node]) -> bool:
    """Whether two graphs differ in the widths of layers at most, whose neurons may be matched."""
    if len(first) != len(second) or first[0] != second[0] or first[-1].size != second[-1].size:
        return False
    for one, two in zip(first[1:], second[1:], strict=True):
        if isinstance(one, Activation) and isinstance(two, Activation):
            fits = (one.kind, one.source) == (two.kind, two.source) and one.kind in _KINDS
        elif isinstance(one, Affine) and isinstance(two, Affine):
            fits = [term.source for term in one.terms] == [term.source for term in two.terms]
        else:
            fits = False
        if not fits:
            return False
    return True


def _matched(first: Affine, second: Affine, places: Sequence[Order]) -> Order | None:
    """The neurons of two layers in a common order; None where their maps do not tell them."""
    kept = [places[term.source] for node in (first, second) for term in node.terms if _keeps_places(term.map)]
    if kept:
        return kept[0] if all(found.like(kept[0]) for found in kept) else None
    spread = _spatial(first, second)
    if spread is None:
        return Order.in_order(first.size) if first.size == second.size else None
    rows = [_features(node, places, side, spread) for side, node in enumerate((first, second))]
    if rows[0] is None or rows[1] is None:
        return Order.in_order(first.size) if first.size == second.size else None
    found = _partners(rows[0], rows[1])
    if spread == 1:
        return found
    return Order(*(_spread(side, spread) for side in found.sides()))


def _keeps_places(map: LinearMap) -> bool:
    return isinstance(map, DiagonalMap) or (isinstance(map, SelectionMap) and map.is_identity)


def _spatial(first: Affine, second: Affine) -> int | None:
    """How many entries of a layer share their weights; None where its maps do not agree on that."""
    counts = {
        prod(term.map.output_shape[1:]) if isinstance(term.map, ConvolutionMap) and term.map.groups == 1 else 1
        for node in (first, second)
        for term in node.terms
        if isinstance(term.map, ConvolutionMap | DenseMap)
    }
    known = all(isinstance(term.map, ConvolutionMap | DenseMap) for node in (first, second) for term in node.terms)
    return counts.pop() if known and len(counts) == 1 else None


def _features(node: Affine, places: Sequence[Order], side: int, spread: int) -> np.ndarray | None:
    """What neurons are compared by, one row each: their weights in the common order of what they read, and biases."""
    parts = [np.asarray(node.bias).reshape(-1, spread)[:, :1]]
    for term in node.terms:
        columns = places[term.source].sides()[side]
        if isinstance(term.map, ConvolutionMap):
            channels = _channels(columns, prod(term.map.input_shape[1:]))
            if channels is None or term.map.groups != 1:
                return None
            weight = _taken(np.asarray(term.map.weight), channels, 1)
            parts.append(weight.reshape(len(weight), -1))
        else:
            assert isinstance(term.map, DenseMap), "looked at before"
            parts.append(_taken(np.asarray(term.map.weight), columns, 1))
    return np.concatenate(parts, axis=1)


def _partners(first: np.ndarray, second: np.ndarray) -> Order:
    """Rows of two matrices matched: the closest ones first, none to one that points away from it."""
    lengths = [np.sum(rows * rows, axis=1) for rows in (first, second)]
    if len(first) == len(second):
        apart = _relative(np.sum((first - second) ** 2, axis=1), lengths[0] + lengths[1])
        if apart.max(initial=0.0) <= _FAR:
            return Order.in_order(len(first))
    if len(first) * len(second) > _LARGEST:
        count = min(len(first), len(second))
        return _joined(len(first), len(second), np.arange(count), np.arange(count))
    total = lengths[0][:, None] + lengths[1]
    distances = _relative(total - 2.0 * (first @ second.T), total)
    order = np.argsort(distances, axis=None, kind="stable")
    order = order[distances.reshape(-1)[order] < 1.0]
    taken: dict[int, int] = {}
    free = np.ones(len(second), dtype=bool)
    for i, j in zip(*np.unravel_index(order, distances.shape), strict=True):
        if free[j] and int(i) not in taken:
            taken[int(i)] = int(j)
            free[j] = False
    rows = np.array(sorted(taken), dtype=np.int64)
    found = np.array([taken[int(i)] for i in rows], dtype=np.int64)
    if len(first) == len(second):
        straight = np.minimum(np.diagonal(distances), 1.0).sum()
        if distances[rows, found].sum() + (len(first) - len(rows)) > 0.5 * straight:
            return Order.in_order(len(first))
    return _joined(len(first), len(second), rows, found)


def _relative(distances: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.where(total > 0, np.maximum(distances, 0.0) / np.where(total > 0, total, 1.0), 0.0)


def _joined(first: int, second: int, rows: np.ndarray, found: np.ndarray) -> Order:
    """All neurons of both layers: those of the first with their partners, then the rest of the second."""
    partner = np.full(first, -1)
    partner[rows] = found
    rest = np.setdiff1d(np.arange(second), found)
    return Order(np.append(np.arange(first), np.full(len(rest), -1)), np.append(partner, rest))


def _moved(node: Node, other: Node, places: Sequence[Order], side: int) -> Node | None:
    """A node of one of the graphs with its entries in the common order of both; None where its maps have none."""
    rows = places[-1].sides()[side]
    if isinstance(node, Input):
        return node
    if isinstance(node, Activation):
        assert isinstance(other, Activation), "looked at before"
        there = places[-1].sides()[1 - side]
        # A neuron without weights has the parameters of its partner.
        pairs = zip(node.parameters, other.parameters, strict=True)
        parameters = tuple(np.where(rows < 0, _taken(b, there), _taken(a, rows)) for a, b in pairs)
        return replace(node, size=len(rows), parameters=parameters)
    terms = []
    for term in node.terms:
        map = _placed(term.map, rows, places[term.source].sides()[side])
        if map is None:
            return None
        terms.append(Term(term.source, map))
    bias, magnitude = (_taken(part, rows) for part in (node.bias, node.bias_magnitude))
    return replace(node, terms=tuple(terms), bias=bias, bias_magnitude=magnitude)


def _placed(map: LinearMap, rows: np.ndarray, columns: np.ndarray) -> LinearMap | None:
    """A map from a layer in one order to one in another, with zeros for what is lacking."""
    if _in_order(rows, map.rows) and _in_order(columns, map.columns):
        return map
    if isinstance(map, DenseMap):
        weight, magnitude = (
            None if part is None else _taken(_taken(part, rows, 0), columns, 1) for part in (map.weight, map.magnitude)
        )
        assert weight is not None
        return DenseMap(weight, magnitude, map.roundings)
    if _keeps_places(map) and np.array_equal(rows, columns):
        if isinstance(map, DiagonalMap):
            magnitude = None if map.magnitude is None else _taken(map.magnitude, rows)
            return replace(map, scale=_taken(map.scale, rows), magnitude=magnitude)
        return SelectionMap.identity(len(rows)).with_roundings(map.roundings)
    return _placed_channels(map, rows, columns) if isinstance(map, ConvolutionMap) and map.groups == 1 else None


def _placed_channels(map: ConvolutionMap, rows: np.ndarray, columns: np.ndarray) -> ConvolutionMap | None:
    outputs = _channels(rows, prod(map.output_shape[1:]))
    inputs = _channels(columns, prod(map.input_shape[1:]))
    if outputs is None or inputs is None:
        return None
    weight, magnitude = (
        None if part is None else _taken(_taken(part, outputs, 0), inputs, 1) for part in (map.weight, map.magnitude)
    )
    shapes = (len(inputs), *map.input_shape[1:]), (len(outputs), *map.output_shape[1:])
    return replace(map, weight=weight, magnitude=magnitude, input_shape=shapes[0], output_shape=shapes[1])


def _in_order(places: np.ndarray, size: int) -> bool:
    return len(places) == size and np.array_equal(places, np.arange(size))


def _taken(array: Array, places: np.ndarray, axis: int = 0) -> np.ndarray:
    """The entries of an array at some places along an axis, zero for -1."""
    given = np.asarray(array)
    lengths = [(0, 1) if k == axis else (0, 0) for k in range(given.ndim)]
    return np.ascontiguousarray(np.take(np.pad(given, lengths), places, axis=axis))


def _channels(places: np.ndarray, spread: int) -> np.ndarray | None:
    """The channels whose entries are at some places one after the other; None where entries are moved by themselves."""
    if len(places) % spread:
        return None
    channels = places.reshape(-1, spread)[:, 0] // spread
    return channels if np.array_equal(_spread(channels, spread), places) else None


def _spread(channels: np.ndarray, spread: int) -> np.ndarray:
    """The places of all entries of some channels, -1 for those of a channel -1."""
    places = channels[:, None] * spread + np.arange(spread)
    return np.where(channels[:, None] < 0, -1, places).reshape(-1)
