"""Shares of sums, p_i / (p_1 + .. + p_n), which are softmaxes of logarithms wherever all p_j are positive.

Numerator and denominator, bounded apart, forget that one is part of the other. Written as softmax_i(log p), a share is
within [0, 1], and what its numerator and the other terms have in common cancels. Measured on two networks that end in
sum b_i y_i^3 / sum y_j^3 (ranges of y of 30 %): bounds of -1.4 and 4.2 where the least value found is 4.8.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Activation, Affine, Network, Term
from admm_verify.network.selection import SelectionMap
from admm_verify.network.softmax import softmax

_MOST_ENTRIES = 2**22
"""Of the matrix of which share is of which sum."""


@dataclass(frozen=True, eq=False)
class Shares:
    """Node `ratio` of a graph as read holds entries of terms / (sums of some of these).

    terms: the node of p. members: which entries of p each sum has. sums, places: the sum and the place among its
    members of every entry of the node.
    Shapes: members [sums, n]; sums, places [entries].
    """

    ratio: int
    terms: int
    members: np.ndarray
    sums: np.ndarray
    places: np.ndarray


def shares_in(network: Network) -> list[Shares]:
    """All nodes of the graph as read that hold shares of sums of two terms or more, all sums of equally many."""
    read = network.as_read or network
    found = (_shares(read, i, node) for i, node in enumerate(read.nodes) if isinstance(node, Affine))
    return [shares for shares in found if shares is not None]


def with_logarithms(network: Network, ratios: Sequence[int], real: bool) -> Network:
    """The network with some shares relaxed as softmaxes of logarithms; its graph as read stays.

    Powers and exponentials pass through the logarithm where bounds are to hold in real numbers alone (`real`); else
    their terms are relaxed as they are, so that what runtimes make of these is charged.
    Valid when: all terms are positive; the relaxation of the logarithm holds for nothing else.
    Raises: InputError for numbers of nodes that hold no shares.
    """
    read, known = network.as_read or network, {shares.ratio: shares for shares in shares_in(network)}
    if not set(ratios) <= set(known):
        raise InputError(
            f"{network.name} has shares of sums at its nodes {sorted(known)}, and {list(ratios)} are told."
        )
    builder, places = Builder((network.input_size,), network.element_type), {0: 0}
    last = Tensor(0, (network.input_size,))
    for i, node in enumerate(read.nodes[1:], start=1):
        assert isinstance(node, Affine | Activation), "the input comes first"
        last = _softmax(builder, read, known[i], places, real) if i in ratios else builder.append(node.reading(places))
        places[i] = last.node
    made = builder.finish(last, network.name)
    return replace(network, nodes=made.nodes, as_read=read)


def _softmax(builder: Builder, read: Network, shares: Shares, places: dict[int, int], real: bool) -> Tensor:
    """The softmax of logarithms that a node of shares is."""
    size, (count, width) = read.nodes[shares.terms].size, shares.members.shape
    node = read.nodes[shares.terms]
    if real and isinstance(node, Activation) and node.kind == "exp":
        logarithms = Tensor(places[node.source], (size,))
    elif real and isinstance(node, Activation) and node.kind == "power":
        base = builder.activation("log", Tensor(places[node.source], (size,)))
        logarithms = builder.scale(base, to_numpy(node.parameters[0]))
    else:
        # Sums of as many terms must not overflow either.
        zeros, term = np.zeros(size), Term(places[shares.terms], SelectionMap.identity(size))
        terms = builder.append(Affine((term,), zeros, zeros, peak_gain=float(width)))
        logarithms = builder.activation("log", terms)
    drawn = builder.select(logarithms, shares.members)
    found = softmax(builder, builder.reshape(drawn, (count, width, 1)), (count, width, 1))
    return builder.select(found, shares.sums * width + shares.places)


def _shares(read: Network, index: int, node: Affine) -> Shares | None:
    if node.original is None or node.original.kind != "ratio" or len(node.original.sources) != 2:
        return None
    (terms, own), (total, which) = (_drawn(read, source) for source in node.original.sources)
    matrix = _added(read, total, terms)
    if own is None or which is None or matrix is None or not len(own) == len(which) == node.size:
        return None
    used, sums = np.unique(which, return_inverse=True)
    matrix = matrix[used]
    count = int(matrix[0].sum())
    plain = np.isin(matrix, (0.0, 1.0)).all() and (matrix.sum(axis=1) == count).all() and count > 1
    if not plain or not (matrix[sums, own] == 1.0).all():
        return None
    members = np.nonzero(matrix)[1].reshape(len(used), count)
    places = (members[sums] == own[:, None]).argmax(axis=1)
    return Shares(index, terms, members, sums, places)


def _added(read: Network, index: int, terms: int) -> np.ndarray | None:
    """The matrix of a node that reads entries of the terms and adds nothing to them, [n_index, n_terms]."""
    node = read.nodes[index]
    if not isinstance(node, Affine) or len(node.terms) != 1 or to_numpy(node.bias_magnitude).any():
        return None
    map = node.terms[0].map
    base, drawn = _drawn(read, node.terms[0].source)
    if base != terms or drawn is None or map.rows * map.columns > _MOST_ENTRIES:
        return None
    matrix = np.zeros((node.size, read.nodes[terms].size))
    np.add.at(matrix.T, drawn, to_numpy(map.dense().weight).T)
    return matrix


def _drawn(read: Network, index: int) -> tuple[int, np.ndarray | None]:
    """The node whose entries a node holds in another order, and which ones; None where it holds zeros besides."""
    places = np.arange(read.nodes[index].size)
    while True:
        node = read.nodes[index]
        if not isinstance(node, Affine) or node.original is not None or len(node.terms) != 1:
            return index, places
        (term,) = node.terms
        if not isinstance(term.map, SelectionMap) or to_numpy(node.bias_magnitude).any():
            return index, places
        gather = to_numpy(term.map.gather)[places]
        if (gather >= term.map.columns).any():
            return index, None
        index, places = term.source, gather
