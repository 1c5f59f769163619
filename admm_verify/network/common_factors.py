"""Products of a value's entries by a common factor, of which only sums are read: the sums first, then one product.

sum_i w_i (d_i s) = (sum_i w_i d_i) s. Behind a normalisation, s is one number for all entries of a token, and every
neuron of the next layer reads a weighted sum of them: one product of the sum has a relaxation that is as loose as the
range of the sum, where products entry by entry are as loose as the sum of all ranges.
"""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.network.compose import compose
from admm_verify.network.graph import Activation, Affine, Network, Node, Term
from admm_verify.network.limits import Limits
from admm_verify.network.maps import LinearMap
from admm_verify.network.selection import SelectionMap
from admm_verify.run import paced

_ENTRIES = 2**22
"""Entries of the largest matrix of sums that is looked at."""

_MORE = 4
"""Times as many products as before, up to which sums are worth it."""

_DIVISORS = ("power", "reciprocal")
"""What common factors are behind normalisations, on which the gain was measured."""


def factors_of(copies: Affine) -> list[tuple[int, np.ndarray]] | None:
    """Where the first and the second factors of products come from, a node and its entries each; None where a node of
    copies does anything else.
    """
    if np.any(to_numpy(copies.bias_magnitude)):
        return None
    found: list[tuple[int, np.ndarray]] = []
    for half in (0, 1):
        drawn = []
        for term in copies.terms:
            if not isinstance(term.map, SelectionMap):
                return None
            entries = np.split(to_numpy(term.map.gather), 2)[half]
            if (entries < term.map.columns).all():
                drawn.append((term.source, entries))
            elif (entries < term.map.columns).any():
                return None
        if len(drawn) != 1:
            return None
        found.append(drawn[0])
    return found


def summed_before_products(network: Network) -> Network:
    """The same function with sums of products by a common factor as products of sums, where all readers are sums.

    Valid when: in real numbers; a runtime rounds the products that are gone.
    """
    found = [plan for i in paced(network.activations) if (plan := _planned(network, i)) is not None]
    if not found:
        return network
    gone = {i for plan in found for i in (plan.product, plan.copies)}
    kept: list[Node] = [network.nodes[0]]
    place = {0: 0}
    for i, node in enumerate(network.nodes[1:], start=1):
        if i in gone:
            continue
        made = node
        for plan in found:
            if i in plan.sums:
                made = plan.read(made, i, kept, place)
        kept.append(_moved(made, place))
        place[i] = len(kept) - 1
    return replace(network, nodes=tuple(kept), as_read=network.as_read or network)


def _moved(node: Node, place: dict[int, int]) -> Node:
    """A node with what it reads renumbered; what has a number below zero, made in its new place, keeps that."""
    assert isinstance(node, Affine | Activation), "The input reads nothing"
    return node.reading(_Places(place))


class _Places(dict[int, int]):
    """Old numbers to new ones; -1 - i stands for the new number i."""

    def __missing__(self, number: int) -> int:
        assert number < 0, "All that is read was made before"
        return -1 - number


@dataclass(frozen=True, eq=False)
class _Plan:
    """An activation of products by a common factor, the node of its operands, and how each reader sums them.

    value, factor: the nodes of d and s. sums[r]: for reader r, the map from d to the sums, and which entry of s belongs
    to each, and limits of the product.
    """

    product: int
    copies: int
    value: int
    factor: int
    size: int
    sums: dict[int, tuple[LinearMap, np.ndarray, Limits | None]]

    def read(self, node: Node, index: int, kept: list[Node], place: dict[int, int]) -> Node:
        """A reader that adds products of sums up instead, which are appended to the new nodes."""
        assert isinstance(node, Affine), "Only sums are planned"
        map, factors, limits = self.sums[index]
        rows = len(factors)
        zero = np.zeros(rows)
        kept.append(Affine((Term(place[self.value], map),), zero, zero, node.peak_gain, node.peak_shift))
        places = np.arange(rows)
        halves = [np.append(places, np.full(rows, rows)), np.append(np.full(rows, self.size), factors)]
        terms = (
            Term(len(kept) - 1, SelectionMap.from_gather(halves[0], rows)),
            Term(place[self.factor], SelectionMap.from_gather(halves[1], self.size)),
        )
        kept.append(Affine(terms, np.zeros(2 * rows), np.zeros(2 * rows)))
        kept.append(Activation("product", len(kept) - 1, rows, limits=limits))
        own = Term(-1 - (len(kept) - 1), SelectionMap.identity(rows))
        return replace(node, terms=tuple(own if term.source == self.product else term for term in node.terms))


def _planned(network: Network, index: int) -> _Plan | None:
    """What becomes of an activation; None where it stays."""
    node, numbers = network.nodes[index], sorted(network.readers[index])
    origins = _origins(network, index)
    readers = [reader for r in numbers if (reader := network.affine.get(r)) is not None]
    few = sum(reader.size for reader in readers) <= _MORE * node.size
    if origins is None or index == network.output or len(readers) < len(numbers) or not few:
        return None
    (value, entries), (factor, owners) = origins
    selected = SelectionMap.from_gather(entries, network.nodes[value].size)
    sums = {}
    for r, reader in zip(numbers, readers, strict=True):
        found = _sum_of(reader, index, owners, selected, network.functions[network.activations.index(index)].limits)
        if found is None:
            return None
        sums[r] = found
    copies = network.sources[network.activations.index(index)]
    return _Plan(index, copies, value, factor, network.nodes[factor].size, sums)


def _origins(network: Network, index: int) -> list[tuple[int, np.ndarray]] | None:
    """Where the values and the common factors of products come from; None for other activations."""
    node = network.nodes[index]
    if not isinstance(node, Activation) or node.kind != "product":
        return None
    copies = network.affine.get(node.source)
    origins = None if copies is None or network.readers[node.source] != {index} else factors_of(copies)
    if origins is None:
        return None
    repeated = [len(np.unique(entries)) < len(entries) for _, entries in origins]
    origins = origins if repeated[1] else origins[::-1]
    divisor = network.nodes[origins[1][0]]
    common = sum(repeated) == 1 and isinstance(divisor, Activation) and divisor.kind in _DIVISORS
    return origins if common else None


def _sum_of(
    reader: Affine, index: int, owners: np.ndarray, selected: SelectionMap, limits: Limits | None
) -> tuple[LinearMap, np.ndarray, Limits | None] | None:
    """A reader's map of products as one of their values, the factor of each of its rows, and what is known of the
    products of sums where limits of the products are; None where a row has several factors.
    """
    maps = [term.map for term in reader.terms if term.source == index]
    if len(maps) != 1 or reader.size * len(owners) > _ENTRIES or isinstance(maps[0], SelectionMap):
        return None
    matrix = maps[0].dense()
    magnitude = np.abs(matrix.weight) if matrix.magnitude is None else matrix.magnitude
    used = to_numpy(magnitude) > 0
    least = np.where(used, owners, owners.max()).min(axis=1)
    most = np.where(used, owners, 0).max(axis=1)
    if (used.any(axis=1) & (least != most)).any():
        return None
    merged = compose(matrix, selected)
    if merged is None:
        return None
    if limits is None:
        return merged, least, None
    # The weights are rounded, and so are their sums, by less than the factor.
    size = 1.000001 * (np.abs(matrix.weight) + gamma(matrix.roundings) * magnitude)
    rows = np.minimum(size.sum(axis=1) * limits.entry, np.sqrt((size**2).sum(axis=1)) * limits.norm)
    return merged, least, Limits(float(np.max(rows)))
