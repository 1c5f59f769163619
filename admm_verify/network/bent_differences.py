"""Differences phi(p') - phi(p) of activations, by nodes that are bounded as differences.

Piecewise linear functions are sums of rectifiers, so that one kind of node serves all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from admm_verify.arrays import Array
from admm_verify.network.activations import FUNCTIONS
from admm_verify.network.graph import Activation, Affine, Node, Term
from admm_verify.network.maps import DiagonalMap
from admm_verify.network.sameness import same_function


@dataclass(frozen=True, eq=False)
class Bent:
    """Two activations of one kind and the nodes of a joint graph: p, p', p' - p (None for zero), phi(p), phi'(p')."""

    below: int
    below_second: int
    change: int | None
    value: int
    value_second: int
    first: Activation
    second: Activation


class Growing(Protocol):
    """A joint graph that nodes are appended to."""

    def append(self, node: Node) -> int:
        """The number of a node."""
        ...

    def beside(self, parts: Sequence[int | None], bias: Array | None = None) -> int:
        """The node of nodes' values one after the other."""
        ...

    def total(self, terms: Sequence[Term], bias: Array, magnitude: Array) -> Affine:
        """An affine node."""
        ...


def bent_difference(joint: Growing, bent: Bent) -> int | None:
    """The node of phi'(p') - phi(p); None for kinds without nodes for their differences."""
    first, second = bent.first, bent.second
    if first.size != second.size:
        return None
    if first.kind == "prelu":
        return _of_slopes(joint, bent)
    if first.kind == "clip":
        return _of_ends(joint, bent)
    if f"{first.kind}_difference" not in FUNCTIONS or not same_function(first, second):
        return None
    return _node(joint, bent, first.kind)


def _node(joint: Growing, bent: Bent, kind: str, shifts: tuple[Array, Array] | None = None) -> int:
    """phi(p' - shift') - phi(p - shift)."""
    bias = None
    if shifts is not None:
        bias = np.concatenate([-shifts[0], shifts[0] - shifts[1], -shifts[1]])
    operands = joint.beside([bent.below, bent.change, bent.below_second], bias)
    return joint.append(Activation(f"{kind}_difference", operands, bent.first.size))


def _of_slopes(joint: Growing, bent: Bent) -> int:
    """s'p' + (1 - s') relu(p') - s p - (1 - s) relu(p) = s' D + (1 - s') (relu(p') - relu(p)) + (s' - s)(p - relu(p)),
    where p - relu(p) = (p - phi(p)) / (1 - s); or the same with both changed places, by the smaller slope.
    """
    slopes = np.asarray(bent.first.parameters[0]), np.asarray(bent.second.parameters[0])
    own = slopes[0] <= slopes[1]
    moved, kept = np.where(own, slopes[1], slopes[0]), np.where(own, slopes[0], slopes[1])
    # Each of these is rounded twice, and their quotient once more.
    share = np.where(slopes[0] == slopes[1], 0.0, (slopes[1] - slopes[0]) / np.where(kept == 1, 1.0, 1.0 - kept))
    terms = _scaled([(bent.change, moved, 1), (_node(joint, bent, "relu"), 1.0 - moved, 2)])
    sides = (np.where(own, share, 0.0), bent.below, bent.value), (np.where(own, 0.0, share), *_others(bent))
    for factor, below, value in sides:
        terms += _scaled([(below, factor, 4), (value, -factor, 4)])
    return _total(joint, terms, np.zeros(bent.first.size))


def _others(bent: Bent) -> tuple[int, int]:
    return bent.below_second, bent.value_second


def _of_ends(joint: Growing, bent: Bent) -> int | None:
    """min(max(p, l), h) is l + relu(p - l) - relu(p - h), p instead of l + relu(p - l) where l is infinite."""
    (low, high), (other_low, other_high) = (
        [np.asarray(end) for end in node.parameters] for node in (bent.first, bent.second)
    )
    cut, capped = np.isfinite(low), np.isfinite(high)
    if not (np.array_equal(cut, np.isfinite(other_low)) and np.array_equal(capped, np.isfinite(other_high))):
        return None
    terms, bias = _scaled([(bent.change, np.where(cut, 0.0, 1.0), 1)]), np.zeros(bent.first.size)
    for used, sign, ends in ((cut, 1.0, (low, other_low)), (capped, -1.0, (high, other_high))):
        if used.any():
            shifts = np.where(used, ends[0], 0.0), np.where(used, ends[1], 0.0)
            terms += _scaled([(_node(joint, bent, "relu", shifts), np.where(used, sign, 0.0), 1)])
            bias = bias + (shifts[1] - shifts[0] if sign > 0 else 0.0)
    return _total(joint, terms, bias)


def _scaled(parts: Sequence[tuple[int | None, Array, int]]) -> list[Term]:
    """Terms of nodes times factors, with the roundings behind these; without zeros."""
    return [
        Term(node, DiagonalMap(factor, roundings=roundings))
        for node, factor, roundings in parts
        if node is not None and np.any(factor != 0)
    ]


def _total(joint: Growing, terms: Sequence[Term], bias: Array) -> int:
    return joint.append(joint.total(terms, bias, np.abs(bias)))
