"""Cuts: ends of pre-activation bounds that the layers below do not imply, which are constraints of their own."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Bool, Float, Placement, namespace, to_numpy
from admm_verify.bounds.couplings import Couplings
from admm_verify.bounds.preactivation import preactivation_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.sharing import Sharing
from admm_verify.network.graph import Network
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.registry import relaxations_of
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet

_SHARE = 1e-3
"""Of the width that CROWN implies: by less, ends differ by rounding in somebody else's arithmetic."""


@dataclass(frozen=True, eq=False)
class CutBounds:
    """Pre-activation bounds, and where they cut what the layers below imply: cut[k], None where nowhere in the layer.

    Shapes: lower[k], upper[k], cut[k] [rows or 1, n_k].
    """

    lower: tuple[Float[Array, "rows _"], ...]
    upper: tuple[Float[Array, "rows _"], ...]
    cut: tuple[Bool[Array, "rows _"] | None, ...]

    @classmethod
    def of(
        cls, network: Network, inputs: WalkableSet, bounds: PreactivationBounds, couplings: Couplings | None
    ) -> "CutBounds":
        """Bounds, cut once more with couplings that bound one neuron alone.

        Where that leaves nothing of a neuron's bounds they stay: then the coupling contradicts them.
        """
        lower, upper = list(bounds.lower), list(bounds.upper)
        if couplings is not None:
            for k, source in enumerate(network.sources):
                ends = _alone(couplings, source)
                if ends is not None:
                    lower[k], upper[k] = _within((lower[k], upper[k]), ends)
        same = all(new is old for new, old in zip((*lower, *upper), (*bounds.lower, *bounds.upper), strict=True))
        if bounds.implied and same:
            return cls(bounds.lower, bounds.upper, (None,) * len(lower))
        known = bounds if bounds.implied else _implied(network, inputs)
        ends = zip(relaxations_of(network), lower, upper, known.lower, known.upper, strict=True)
        cut = [_cut(*end) for end in ends]
        return cls(tuple(lower), tuple(upper), tuple(cut))


def _implied(network: Network, inputs: WalkableSet) -> PreactivationBounds:
    """CROWN's bounds, computed once for neighbouring boxes that are alike."""
    shared = Sharing.of(inputs.numbers, inputs.count) if isinstance(inputs, Box) else None
    if shared is None:
        return preactivation_bounds(network, inputs)
    put = inputs.placement.put_indices
    return preactivation_bounds(network, inputs.take(put(shared.first))).take(put(shared.owner))


def _cut(relaxation: Hull, lower: Array, upper: Array, low: Array, high: Array) -> Array | None:
    """Where ends are inside those that are implied by more than a share of the width.

    Neurons that these leave linear do not count: no more than intervals is known of them, which own bounds often cut
    without adding anything.
    """
    xp = namespace(lower, low)
    slack = _SHARE * (high - low)
    found = ((lower > low + slack) | (upper < high - slack)) & relaxation.open(low, high)
    return found if bool(xp.any(found)) else None


def _alone(couplings: Couplings, node: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Ends [1 or rows, n] of a node's values from couplings that read a single one of them and nothing else.

    Error: rounded outward.
    """
    if node not in couplings.parts:
        return None
    part, offset = to_numpy(couplings.parts[node]), to_numpy(couplings.offset)
    others = [to_numpy(other).any(axis=-1) for i, other in couplings.parts.items() if i != node]
    single = (np.count_nonzero(part, axis=-1) == 1) & ~np.any([np.zeros(offset.shape, dtype=bool), *others], axis=0)
    if not single.any():
        return None
    lower, upper = np.full(part[:, 0].shape, -np.inf), np.full(part[:, 0].shape, np.inf)
    row, j = np.nonzero(single)
    neuron = np.argmax(part[row, j] != 0, axis=-1)
    weight = part[row, j, neuron]
    end = -offset[row, j] / weight
    exact = offset[row, j] == 0
    above = weight > 0
    outward = np.where(exact, 0.0, np.nextafter(end, np.where(above, np.inf, -np.inf)))
    np.minimum.at(upper, (row[above], neuron[above]), outward[above])
    np.maximum.at(lower, (row[~above], neuron[~above]), outward[~above])
    return lower, upper


def _within(ends: tuple[Array, Array], cuts: tuple[np.ndarray, np.ndarray]) -> tuple[Array, Array]:
    """Ends cut with others where both leave something."""
    put, xp = Placement.of(ends[0]).put, namespace(ends[0])
    lower, upper = xp.maximum(ends[0], put(cuts[0])), xp.minimum(ends[1], put(cuts[1]))
    fine = lower <= upper
    return xp.where(fine, lower, ends[0]), xp.where(fine, upper, ends[1])
