"""Constants that a network computes from constants: their numbers, with what rounding can make of them.

Products of matrices of constants and the like end in bits that depend on the runtime. They stay values of the graph,
while what multiplies them is scaled by numbers that carry the same roundings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.network.graph import Activation, Affine, Node
from admm_verify.network.maps import FLUSHED, LinearMap
from admm_verify.network.selection import SelectionMap


@dataclass(frozen=True, eq=False)
class Computed:
    """A constant as computed in float64, which real arithmetic and any runtime have within gamma_roundings magnitude,
    underflow apart.

    magnitude: the sums of absolute products behind it. peak: the largest size of a number on the way, up to rounding.
    Shapes: value, magnitude [n].
    """

    value: np.ndarray
    magnitude: np.ndarray
    roundings: int
    peak: float


def computed(node: Node, known: Sequence[Computed | None]) -> Computed | None:
    """The constant that a node holds, from those that the nodes before it hold; None where it is none."""
    if isinstance(node, Activation):
        source = known[node.source]
        if node.kind != "relu" or source is None:
            return None
        # A rectifier adds no rounding, and brings two numbers no farther apart.
        return Computed(np.maximum(source.value, 0.0), source.magnitude, source.roundings, source.peak)
    if not isinstance(node, Affine):
        return None
    value, magnitude = np.asarray(node.bias), np.asarray(node.bias_magnitude)
    roundings, peak = node.roundings, node.peak_shift
    for term in node.terms:
        if _is_zero(term.map):
            continue
        source = known[term.source]
        if source is None:
            return None
        # What float32 flushes to zero in the source, the map may make large again.
        hidden = 0.0 if isinstance(term.map, SelectionMap) else FLUSHED
        value = term.map.apply(source.value) + value
        magnitude = term.map.magnitude_apply(source.magnitude + hidden) + magnitude
        roundings = max(roundings, node.roundings + source.roundings)
        peak = max(peak, source.peak)
    return Computed(value, magnitude, roundings, max(peak, float(np.max(magnitude))))


def _is_zero(map: LinearMap) -> bool:
    """Whether a map gives zeros, whatever it is applied to."""
    return isinstance(map, SelectionMap) and bool(np.all(np.asarray(map.gather) == map.columns))
