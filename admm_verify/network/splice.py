"""Networks inside networks: one graph for a chain of them."""

from dataclasses import replace

from admm_verify.arrays import Placement
from admm_verify.errors import InputError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Affine, Input, Network, check_network

_SMALL = 2**12
"""Entries of a matrix that takes next to no memory."""


def splice(builder: Builder, network: Network, x: Tensor, merged: bool = False) -> Tensor:
    """The network's output, flat, at a value of the graph under construction; its nodes are those it was read with.

    merged: its nodes are those that are bounded, and small maps are matrices, which merge with all that is around them:
    where a network is read at its own output again and again, what does not merge doubles every time.
    Raises: InputError where the value's size is not that of the network's input, or the network has a head.
    """
    if x.size != network.input_size:
        raise InputError(f"{network.name} takes {network.input_size} numbers and is given {x.size}.")
    places, last = {0: x.node}, x
    check_network(network)
    own = network if merged else network.as_read or network
    for i, node in enumerate(own.put(Placement.numpy()).nodes):
        if not isinstance(node, Input):
            part = _in_matrices(node) if merged and isinstance(node, Affine) else node
            last = builder.append(part.reading(places))
            places[i] = last.node
    return last


def _in_matrices(node: Affine) -> Affine:
    """The node with small maps as matrices."""
    terms = [
        replace(term, map=term.map.dense()) if term.map.rows * term.map.columns <= _SMALL else term
        for term in node.terms
    ]
    return replace(node, terms=tuple(terms), original=None)
