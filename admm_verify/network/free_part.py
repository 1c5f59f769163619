"""The part of a network that depends on some of its inputs: all other values become constants that it is handed.

Where a query fixes most inputs, most values of all nodes are constants. What reads them takes their contribution as one
more input, so that bounds over many boxes, and over parts of boxes, pass through what is left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.submatrix import columns_read, submatrix


@dataclass(frozen=True, eq=False)
class Contribution:
    """What entries of affine node `node` have from constants: M c for the values c of `source` that are no part of it,
    summed over terms.

    terms: the sources, the columns of each, and M with its magnitude, [entries, columns] both.
    """

    node: int
    entries: np.ndarray
    terms: tuple[tuple[int, np.ndarray, np.ndarray, np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class FreePart:
    """g with f(x) = g(x_free, e(x_fixed)): network g takes the free inputs, then the contributions one after the other.

    places: of the nodes of f that g has, their numbers in g.
    """

    network: Network
    free: np.ndarray
    contributions: tuple[Contribution, ...]
    places: dict[int, int]

    def constants(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """The contributions from values of all nodes of f, [..., n_i] each -> [..., n]; rounded."""
        lead = values[0].shape[:-1]
        parts = [
            sum((values[source][..., columns] @ weight.T for source, columns, weight, _ in one.terms), np.zeros(1))
            for one in self.contributions
        ]
        return np.concatenate([np.zeros((*lead, 0)), *parts], axis=-1)

    def magnitudes(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The sums of absolute products behind the contributions, for sizes of all nodes of f."""
        return [
            sum((values[source][..., columns] @ size.T for source, columns, _, size in one.terms), np.zeros(1))
            for one in self.contributions
        ]


class _TooLarge(Exception):
    """A map would take too much memory as a matrix."""


def free_part(network: Network, free: np.ndarray) -> FreePart | None:
    """The part of a simplified network that depends on some inputs, given by their numbers; None where maps are too
    large for that.
    """
    try:
        return _Parting(network, free).part()
    except _TooLarge:
        return None


class _Parting:
    """Takes a network apart."""

    def __init__(self, network: Network, free: np.ndarray) -> None:
        self.network, self.free = network, free
        self.kept = self._kept()

    def part(self) -> FreePart:
        """What depends on the free inputs. Raises: _TooLarge."""
        made: dict[int, Contribution] = {}
        for i, node in self.network.affine.items():
            own = self._contribution(i, node) if len(self.kept[i]) else None
            if own is not None:
                made[i] = own
        starts = np.cumsum([len(self.free), *(len(own.entries) for own in made.values())]).tolist()
        layout = _Layout(len(self.free), dict(zip(made, starts, strict=False)), starts[-1])
        nodes: list[Node] = [Input(layout.inputs)]
        places = {0: 0}
        for i, node in enumerate(self.network.nodes[1:], start=1):
            if not len(self.kept[i]):
                continue
            if isinstance(node, Activation):
                parameters = tuple(to_numpy(array)[self.kept[i]] for array in node.parameters)
                nodes.append(Activation(node.kind, places[node.source], len(self.kept[i]), parameters))
            else:
                assert isinstance(node, Affine), "only the first node is an input"
                nodes.append(self._affine(i, node, places, layout))
            places[i] = len(nodes) - 1
        shapes = (layout.inputs,), (self.network.output_size,)
        network = Network(tuple(nodes), *shapes, self.network.name, self.network.element_type)
        return FreePart(network, self.free, tuple(made.values()), places)

    def _kept(self) -> tuple[np.ndarray, ...]:
        """Of every node the entries that depend on the free inputs, all of the output, and what activations with them
        read besides.
        """
        network = self.network
        depends: list[np.ndarray] = [np.zeros(node.size, dtype=bool) for node in network.nodes]
        depends[0][self.free] = True
        for i, affine, k in network.steps:
            if affine is None:
                node = network.functions[k]
                depends[i] = np.asarray(depends[node.source].reshape(node.operands, -1).any(axis=0))
                continue
            for term in affine.terms:
                # Also what only seems to cancel, as rounded products of matrices do.
                reached = to_numpy(term.map.magnitude_apply(depends[term.source].astype(np.float64))) > 0
                depends[i] = np.logical_or(depends[i], reached)
        depends[-1][:] = True
        for i, affine, k in reversed(network.steps):
            if affine is None:
                node = network.functions[k]
                depends[node.source] |= np.tile(depends[i], node.operands)
        return tuple(map(np.flatnonzero, depends))

    def _rows(self, map: LinearMap, entries: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = submatrix(map, entries, columns)
        if found is None:
            raise _TooLarge
        return found

    def _contribution(self, index: int, node: Affine) -> Contribution | None:
        """What the kept entries of an affine node have from constants; None where that is nothing."""
        terms = []
        for term in node.terms:
            others = columns_read(term.map, self.kept[index])
            others[self.kept[term.source]] = False
            columns = np.flatnonzero(others)
            if len(columns):
                terms.append((term.source, columns, *self._rows(term.map, self.kept[index], columns)))
        return Contribution(index, self.kept[index], tuple(terms)) if terms else None

    def _affine(self, index: int, node: Affine, places: dict[int, int], layout: "_Layout") -> Affine:
        """The kept entries of an affine node."""
        entries, terms, first = self.kept[index], [], layout.first.get(index)
        direct: list[DenseMap] = []
        for term in node.terms:
            if not len(self.kept[term.source]):
                continue
            weight, size = self._rows(term.map, entries, self.kept[term.source])
            if term.source:
                moves = isinstance(term.map, SelectionMap | DiagonalMap | TransposedMap)
                made = _compact if moves else _dense
                terms.append(Term(places[term.source], made(weight, size, term.map.roundings)))
            else:
                direct.append(_dense(weight, size, term.map.roundings))
        if direct:
            terms.insert(0, Term(0, layout.read(direct, first)))
        elif first is not None:
            terms.insert(0, Term(0, SelectionMap.from_gather(first + np.arange(len(entries)), layout.inputs)))
        bias, size = to_numpy(node.bias)[entries], to_numpy(node.bias_magnitude)[entries]
        return Affine(tuple(terms), bias, size, node.peak_gain, node.peak_shift)


def _dense(weight: np.ndarray, size: np.ndarray, roundings: int) -> DenseMap:
    """A matrix with these magnitudes."""
    return DenseMap(weight, None if np.array_equal(size, np.abs(weight)) else size, roundings)


def _compact(weight: np.ndarray, size: np.ndarray, roundings: int) -> LinearMap:
    """A matrix with these magnitudes as the plainest map that it is: such maps merge with others at little cost."""
    rows, columns = weight.shape
    some = size > 0
    plain = np.array_equal(size, np.abs(weight))
    if plain and (some.sum(axis=1) <= 1).all() and (weight[some] == 1.0).all():
        gather = np.where(some.any(axis=1), some.argmax(axis=1), columns)
        return SelectionMap.from_gather(gather, columns, roundings)
    if rows == columns and np.count_nonzero(some) == np.count_nonzero(np.diag(some)):
        scale, magnitude = np.diag(weight).copy(), np.diag(size).copy()
        return DiagonalMap(scale, None if plain else magnitude, max(1, roundings))
    return _dense(weight, size, roundings)


@dataclass(frozen=True)
class _Layout:
    """Where g's inputs are: the free ones, then the contributions, whose first entries are told by their nodes."""

    free: int
    first: dict[int, int]
    inputs: int

    def read(self, direct: Sequence[DenseMap], first: int | None) -> DenseMap:
        """The map of all inputs that adds up maps of the free ones, and a contribution where there is one."""
        rows = direct[0].rows
        weight, size = np.zeros((rows, self.inputs)), np.zeros((rows, self.inputs))
        for map in direct:
            weight[:, : self.free] += to_numpy(map.weight)
            size[:, : self.free] += np.abs(to_numpy(map.weight)) if map.magnitude is None else to_numpy(map.magnitude)
        if first is not None:
            weight[np.arange(rows), first + np.arange(rows)] = 1.0
            size[np.arange(rows), first + np.arange(rows)] = 1.0
        magnitude = None if np.array_equal(size, np.abs(weight)) else size
        return DenseMap(weight, magnitude, max(map.roundings for map in direct) + len(direct) - 1)
