"""CROWN bounds of chosen neurons of one affine node, in blocks that fit a memory budget."""

import numpy as np

from admm_verify.arrays import Array, Float, Int, namespace
from admm_verify.bounds.functionals import neurons
from admm_verify.bounds.region import Region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.bounds.seen import seen_region
from admm_verify.memory import Budget
from admm_verify.relaxations.bilinear import BilinearPlanes
from admm_verify.relaxations.difference_planes import DifferencePlanes
from admm_verify.settings import AscentSettings

_PRODUCT = 2e9
"""Multiplications of a block's product with one node: enough to be worth its call, and less than a second."""

_PASSED_NUMBERS = 2**18
"""Numbers of an array of a block where matrix products are passed in one step: what is left are many small steps, which
take half of the time in a cache (measured on transformers with 800 to 1600 numbers a layer)."""

_SAME = 2.0**-10
"""How far apart planes may be, in shares of the linear terms of their products, to be as good as the same."""


def linear_bounds(
    region: Region, wanted: Int[np.ndarray, " m"], budget: Budget, looks: bool = False
) -> tuple[Float[Array, "boxes m"], Float[Array, "boxes m"]]:
    """CROWN bounds of the wanted neurons of the region's last node, from the bounds of the activations before it.

    looks: as `crown`. Shapes: region with leading axes [boxes, 1].
    Error: rounded outward. Raises: MemoryError when not even one row fits.
    """
    whole, boxes = Relaxed(region), region.inputs.lead[0]
    passed = {i for product in whole.products.values() for i in product.found.hidden}
    widest = max(node.size for i, node in enumerate(region.network.nodes) if i not in passed)
    heaviest = max((node.multiplications for node in region.network.affine.values()), default=0)
    step = budget.block(boxes * widest)
    if budget.cached:
        step = min(step, int(_PRODUCT // max(1, boxes * heaviest)))
    if passed:
        step = min(step, _PASSED_NUMBERS // (boxes * widest))

    def work(first: int, last: int) -> tuple[Array, Array]:
        # What is passed in one step costs too little to leave entries out.
        seen = region if passed else seen_region(region, wanted[first:last])
        return crown(whole if seen is region else Relaxed(seen), wanted[first:last], looks)

    blocks = budget.blocks(len(wanted), max(1, step), work)
    xp = region.inputs.placement.xp
    return xp.concat([low for low, _ in blocks], axis=-1), xp.concat([high for _, high in blocks], axis=-1)


def crown(
    relaxed: Relaxed, wanted: Int[np.ndarray, "*#boxes m"], looks: bool = False
) -> tuple[Float[Array, "*boxes m"], Float[Array, "*boxes m"]]:
    """CROWN's bounds of neurons of a relaxed region's last node, [sets, m], for wanted [m] or [sets, m].

    Products and differences have no planes that are best for all rows. looks: each row also tries those to which one
    step of ascent takes it, unless the planes of all products are as good as the same.
    """
    chosen = neurons(relaxed.region, wanted)
    below, above = relaxed.crown(chosen), relaxed.crown(chosen.negative())
    if not looks or not _chosen(relaxed):
        return below, -above
    everywhere = np.broadcast_to(wanted, (relaxed.inputs.lead[0], wanted.shape[-1]))
    moved = relaxed.bounded(neurons(relaxed.region, everywhere).both_sides(), None, AscentSettings(), 1).lower
    xp, count = namespace(below), wanted.shape[-1]
    return xp.maximum(below, moved[:, :count]), -xp.maximum(above, moved[:, count:])


def _chosen(relaxed: Relaxed) -> bool:
    """Whether there are products of which it matters which planes are chosen, or differences that are bent."""
    if any(isinstance(line, DifferencePlanes) and bool(namespace(line.bent).any(line.bent)) for line in relaxed.lines):
        return True
    apart = [line.apart for line in relaxed.lines if isinstance(line, BilinearPlanes)]
    # No number where ranges are infinite.
    return any(bool(namespace(share).any(~(share <= _SAME))) for share in apart)
