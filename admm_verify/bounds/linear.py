"""CROWN bounds of chosen neurons of one affine node, in blocks that fit a memory budget."""

import numpy as np

from admm_verify.arrays import Array, Float, Int
from admm_verify.bounds.functionals import neurons
from admm_verify.bounds.region import Region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.memory import Budget

_PRODUCT = 2e9
"""Multiplications of a block's product with one node: enough to be worth its call, and less than a second."""


def linear_bounds(
    region: Region, wanted: Int[np.ndarray, " m"], budget: Budget
) -> tuple[Float[Array, "boxes m"], Float[Array, "boxes m"]]:
    """CROWN bounds of the wanted neurons of the region's last node, from the bounds of the activations before it.

    Shapes: region with leading axes [boxes, 1].
    Error: rounded outward. Raises: MemoryError when not even one row fits.
    """
    widest = max(node.size for node in region.network.nodes)
    boxes = region.inputs.lead[0]
    heaviest = max((node.multiplications for node in region.network.affine.values()), default=0)
    step = max(1, min(budget.block(boxes * widest), int(_PRODUCT // max(1, boxes * heaviest))))
    relaxed = Relaxed(region)
    blocks = budget.blocks(len(wanted), step, lambda first, last: crown(relaxed, wanted[first:last]))
    xp = region.inputs.placement.xp
    return xp.concat([low for low, _ in blocks], axis=-1), xp.concat([high for _, high in blocks], axis=-1)


def crown(
    relaxed: Relaxed, wanted: Int[np.ndarray, "*#boxes m"]
) -> tuple[Float[Array, "*boxes m"], Float[Array, "*boxes m"]]:
    """CROWN's bounds of neurons of a relaxed region's last node, [sets, m], for wanted [m] or [sets, m]."""
    chosen = neurons(relaxed.region, wanted)
    return relaxed.certify(chosen)[0], -relaxed.certify(chosen.negative())[0]
