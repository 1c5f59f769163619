"""Every kind of activation with its relaxation: the one table the solvers look into."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Protocol

from admm_verify.arrays import Array
from admm_verify.network.graph import Activation, Network
from admm_verify.relaxations import (
    convex,
    gates,
    hyperbolic,
    odd_curves,
    piecewise_linear,
    powers,
    s_shaped,
    smooth_differences,
    steps,
    waves,
)
from admm_verify.relaxations.bilinear import Bilinear
from admm_verify.relaxations.contract import Hull, Layer, Mask, Relaxation
from admm_verify.relaxations.differences import ReluDifference
from admm_verify.relaxations.lines import CurveLines, KinkLines, Lines, PlaneHull
from admm_verify.relaxations.triangle import Triangle


class ReadsNode(Protocol):
    """Who reads a node."""

    def open(self, lower: Layer, upper: Layer) -> Mask:
        """Where tighter ends of the node matter."""
        ...


RELAXATIONS: dict[str, type[Hull]] = {
    "product": Bilinear,
    "relu": Triangle,
    "relu_difference": ReluDifference,
    **convex.KINDS,
    **gates.KINDS,
    **hyperbolic.KINDS,
    **odd_curves.KINDS,
    **piecewise_linear.KINDS,
    **powers.KINDS,
    **s_shaped.KINDS,
    **smooth_differences.KINDS,
    **steps.KINDS,
    **waves.KINDS,
}
"""Records by kind, with all facts about it; they are made of the node's parameters in order."""


def facts_of(node: Activation) -> type[Hull]:
    """What holds for an activation whatever its parameters."""
    return RELAXATIONS[node.kind]


def relaxation_of(node: Activation) -> Hull:
    """The relaxation of an activation node, with the node's parameters where they are."""
    if node.limits is not None:
        return Bilinear(node.limits.entry)
    return RELAXATIONS[node.kind](*node.parameters)


def relaxations_of(network: Network) -> tuple[Hull, ...]:
    """The relaxations of all activations in graph order."""
    return tuple(map(relaxation_of, network.functions))


def relaxations_by_source(network: Network) -> dict[int, list[Hull]]:
    """Of every node that activations read, their relaxations."""
    found: dict[int, list[Hull]] = {}
    for node in network.functions:
        found.setdefault(node.source, []).append(relaxation_of(node))
    return found


def open_to(readers: Iterable[ReadsNode], lower: Layer, upper: Layer) -> Mask:
    """Where tighter bounds of a node can matter to those who read it."""
    return reduce(or_, (reader.open(lower, upper) for reader in readers))


def lines_of(node: Activation, lower: Layer, upper: Layer) -> Lines:
    """The linear bounds of an activation over given pre-activation bounds."""
    relaxation = relaxation_of(node)
    if isinstance(relaxation, PlaneHull):
        return relaxation.planes(lower, upper)
    assert isinstance(relaxation, Relaxation), "A function of one operand"
    slopes = relaxation.slopes(lower, upper)
    if relaxation.kinked:
        return KinkLines.of(slopes, lower, upper)
    return CurveLines(relaxation, lower, upper, slopes)


def sides(node: Activation) -> int:
    """Slopes of each value: one where only the lower line can be chosen, else two, or more of planes."""
    facts = facts_of(node)
    if issubclass(facts, PlaneHull):
        return facts.sides
    return 1 if facts.kinked else 2


def network_lines(network: Network, lower: Sequence[Array], upper: Sequence[Array]) -> tuple[Lines, ...]:
    """The linear bounds of all activations in graph order."""
    return tuple(lines_of(*arguments) for arguments in zip(network.functions, lower, upper, strict=True))
