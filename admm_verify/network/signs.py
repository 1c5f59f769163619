"""Which values of a graph as read are no negative numbers whatever the input: sums of squares, sizes, roots of these.

Bounds of such sums are rounded below 0, where a root is not defined. As what is summed up is not negative, neither is
the sum as computed, in any arithmetic.
"""

from collections.abc import Sequence

import numpy as np

from admm_verify.arrays import Array, to_numpy
from admm_verify.network.blocks import BlockMap
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Node
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap

_ALWAYS = ("exp", "heaviside", "relu", "sqrt", "square")
"""Kinds of activations that are never negative, in anyone's arithmetic."""

_KEEPING = ("ceil", "floor", "prelu", "product", "round", "sign", "tanh")
"""Kinds that are not negative of operands that are not."""

_SURE = 2.0**-8
"""Share of its magnitude from which a number that was computed has the right sign, in float32 too."""


def nonnegative_nodes(nodes: Sequence[Node]) -> list[bool]:
    """Of every node of a graph whether all of its entries are known not to be negative."""
    found: list[bool] = []
    for node in nodes:
        if isinstance(node, Affine):
            usual = node.original is None or node.original.kind == "quotient"
            added = all(found[term.source] and keeps_signs(term.map) for term in node.terms)
            found.append(usual and added and _is_sure(node.bias, node.bias_magnitude))
        else:
            found.append(isinstance(node, Activation) and _is_nonnegative(node, found[node.source]))
    return found


def _is_nonnegative(node: Activation, source: bool) -> bool:
    """Whether an activation is never negative; source: whether its operands are not."""
    if node.kind == "power":
        half = to_numpy(node.parameters[0]) / 2
        return source or bool((half == np.floor(half)).all())
    if node.kind == "prelu" and (to_numpy(node.parameters[0]) <= 0).all():
        return True
    return node.kind in _ALWAYS or (source and node.kind in _KEEPING)


def adds_up(node: Affine) -> bool:
    """Whether a node that is never negative has no negative weights, so that it is least where its sources are.

    False on another device, where looking would wait for it.
    """
    here = node.nonnegative and isinstance(node.bias, np.ndarray)
    return here and all(keeps_signs(term.map) for term in node.terms)


def keeps_signs(map: LinearMap) -> bool:
    """Whether a map has no negative entries."""
    if isinstance(map, TransposedMap):
        return keeps_signs(map.inner)
    if isinstance(map, DiagonalMap):
        return _is_sure(map.scale, map.magnitude)
    if isinstance(map, DenseMap | BlockMap | ConvolutionMap):
        return _is_sure(map.weight, map.magnitude)
    return isinstance(map, SelectionMap)


def _is_sure(numbers: Array, magnitude: Array | None) -> bool:
    """Whether no number is negative, nor could be where it was computed."""
    known = to_numpy(numbers)
    return bool((known >= (0.0 if magnitude is None else _SURE * to_numpy(magnitude))).all())
