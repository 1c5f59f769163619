"""The part of a network that depends on some of its inputs: all other values become constants that it is handed.

Where a query fixes most inputs, most values of all nodes are constants. What reads them takes their contribution as one
more input, so that bounds over many boxes, and over parts of boxes, pass through what is left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import LinearMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.submatrix import columns_read, cut, multiplications


@dataclass(frozen=True, eq=False)
class Contribution:
    """What entries of affine node `node` have from constants: M c for the values c of `source` that are no part of it,
    summed over terms.

    terms: the sources, the columns of each, and M.
    """

    node: int
    entries: np.ndarray
    terms: tuple[tuple[int, np.ndarray, LinearMap], ...]


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
            sum((to_numpy(map.apply(values[source][..., at])) for source, at, map in one.terms), np.zeros(1))
            for one in self.contributions
        ]
        return np.concatenate([np.zeros((*lead, 0)), *parts], axis=-1)

    def magnitudes(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The sums of absolute products behind the contributions, for sizes of all nodes of f."""
        return [
            sum((to_numpy(map.magnitude_apply(values[source][..., at])) for source, at, map in one.terms), np.zeros(1))
            for one in self.contributions
        ]


class _TooLarge(Exception):
    """A map would take too much memory as a matrix."""


def free_part(network: Network, free: np.ndarray, most: float = np.inf) -> FreePart | None:
    """The part of a simplified network that depends on some inputs, given by their numbers; None where maps are too
    large for that, or the part would take more than `most` multiplications, which is known before it is made.
    """
    parting = _Parting(network, free)
    try:
        return parting.part() if parting.work() <= most else None
    except _TooLarge:
        return None


class _Parting:
    """Takes a network apart."""

    def __init__(self, network: Network, free: np.ndarray) -> None:
        self.network, self.free = network, free
        self.kept = self._kept()

    def work(self) -> int:
        """Multiplications of what is kept of maps, about."""
        return sum(
            multiplications(term.map, len(self.kept[i]), len(self.kept[term.source]))
            for i, node in self.network.affine.items()
            for term in node.terms
        )

    def part(self) -> FreePart:
        """What depends on the free inputs. Raises: _TooLarge."""
        made: dict[int, Contribution] = {}
        for i, node in self.network.affine.items():
            own = self._contribution(i, node) if len(self.kept[i]) else None
            if own is not None:
                made[i] = own
        starts = np.cumsum([len(self.free), *(len(own.entries) for own in made.values())]).tolist()
        first, inputs = dict(zip(made, starts, strict=False)), starts[-1]
        nodes: list[Node] = [Input(inputs)]
        places = {0: 0}
        if made:
            # Maps of the free inputs need no columns for the contributions.
            nodes.append(_moved(SelectionMap.from_gather(np.arange(len(self.free)), inputs)))
            places[0] = 1
        for i, node in enumerate(self.network.nodes[1:], start=1):
            if not len(self.kept[i]):
                continue
            if isinstance(node, Activation):
                parameters = tuple(to_numpy(array)[self.kept[i]] for array in node.parameters)
                nodes.append(Activation(node.kind, places[node.source], len(self.kept[i]), parameters))
            else:
                assert isinstance(node, Affine), "only the first node is an input"
                own = _moves(first[i], len(self.kept[i]), inputs) if i in first else ()
                nodes.append(self._affine(i, node, places, own))
            places[i] = len(nodes) - 1
        shapes = (inputs,), (self.network.output_size,)
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
                if not depends[term.source].any():
                    continue
                # Also what only seems to cancel, as rounded products of matrices do.
                reached = to_numpy(term.map.magnitude_apply(depends[term.source].astype(np.float64))) > 0
                depends[i] = np.logical_or(depends[i], reached)
        depends[-1][:] = True
        for i, affine, k in reversed(network.steps):
            if affine is None:
                node = network.functions[k]
                depends[node.source] |= np.tile(depends[i], node.operands)
        return tuple(map(np.flatnonzero, depends))

    def _cut(self, map: LinearMap, entries: np.ndarray, columns: np.ndarray) -> LinearMap:
        found = cut(map, entries, columns)
        if found is None:
            raise _TooLarge
        return found

    def _contribution(self, index: int, node: Affine) -> Contribution | None:
        """What the kept entries of an affine node have from constants; None where that is nothing."""
        terms = []
        for term in node.terms:
            if len(self.kept[term.source]) == self.network.nodes[term.source].size:
                continue
            others = columns_read(term.map, self.kept[index])
            others[self.kept[term.source]] = False
            columns = np.flatnonzero(others)
            if len(columns):
                terms.append((term.source, columns, self._cut(term.map, self.kept[index], columns)))
        return Contribution(index, self.kept[index], tuple(terms)) if terms else None

    def _affine(self, index: int, node: Affine, places: dict[int, int], own: tuple[Term, ...]) -> Affine:
        """The kept entries of an affine node; own: what it reads of the constants."""
        entries = self.kept[index]
        terms = [
            Term(places[term.source], self._cut(term.map, entries, self.kept[term.source]))
            for term in node.terms
            if len(self.kept[term.source])
        ]
        bias, size = to_numpy(node.bias)[entries], to_numpy(node.bias_magnitude)[entries]
        return Affine((*own, *terms), bias, size, node.peak_gain, node.peak_shift)


def _moves(first: int, count: int, inputs: int) -> tuple[Term, ...]:
    """The term that reads some inputs one after the other."""
    return (Term(0, SelectionMap.from_gather(first + np.arange(count), inputs)),)


def _moved(map: SelectionMap) -> Affine:
    """Some inputs as a node of their own."""
    return Affine((Term(0, map),), np.zeros(map.rows), np.zeros(map.rows))
