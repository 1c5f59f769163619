"""Input sets that bounds have proven to be empty: no value lies between a lower bound and a smaller upper one."""

from typing import Any

import numpy as np

from admm_verify.arrays import namespace, to_numpy
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet


def without_contradictions(
    network: Network, inputs: WalkableSet, bounds: PreactivationBounds, run: Run
) -> tuple[PreactivationBounds, np.ndarray]:
    """Bounds over sets that say something of an input each, and which of the sets are empty.

    Over those any bounds hold, and they get ones of the boxes around them. Boxes are never empty.
    Shapes: inputs [sets, n]; bounds [sets, n_k] -> [sets].
    """
    empty = np.zeros(inputs.count, dtype=bool)
    if isinstance(inputs, Box):
        return bounds, empty
    for low, high in zip(bounds.lower, bounds.upper, strict=True):
        empty |= to_numpy(namespace(low).any(low > high, axis=-1))
    if not empty.any():
        return bounds, empty
    plain = derived_bounds(network, Box.of(*inputs.range), "interval", run, abandon=False)
    mask = inputs.placement.put(empty) > 0.5

    def chosen(own: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
        pairs = zip(own, other, strict=True)
        return tuple(namespace(end).where(mask[:, None], around, end) for end, around in pairs)

    ends = chosen(bounds.lower, plain.lower), chosen(bounds.upper, plain.upper)
    return PreactivationBounds(*ends, origin=bounds.origin), empty
