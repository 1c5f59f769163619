"""Which side of a part is halved next."""

import numpy as np

from admm_verify.arrays import Float, Int
from admm_verify.bounds.backward import Backward
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.complete.branching import height_scores
from admm_verify.complete.tables import take
from admm_verify.nearest.search import NearCells
from admm_verify.network.graph import Network
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet

_TRACE = 1e-3
"""What a side's width counts beside what relaxations make of it, so that no side is left for ever."""


def chosen_sides(
    network: Network, boxes: Box, pre: PreactivationBounds, sweep: Backward, weight: Float[np.ndarray, "parts rows"]
) -> Int[np.ndarray, " parts"]:
    """The side that is most of what bounds lose to relaxations, of those that can be halved; -1 where none can.

    weight: of the rows of the sweep. Planes over parts lose nothing where no relaxation does, so that widths alone
    hardly count.
    """
    sizes = [
        None if part is None else np.sum(weight[..., None] * np.abs(np.nan_to_num(part)), axis=1) for part in sweep.post
    ]
    width = np.nan_to_num(boxes.width, posinf=1e300)
    some = np.flatnonzero((width > 0).any(axis=0))
    heights = np.nan_to_num(height_scores(network, width, pre, sizes, some), posinf=1e300)
    shares = [part / np.maximum(part.max(axis=1, keepdims=True), 1e-300) for part in (heights, width)]
    score = (shares[0] + _TRACE * shares[1]) * boxes.halvable
    return np.where(score.max(axis=1) > 0, score.argmax(axis=1), -1)


def within_cells(inputs: WalkableSet, cells: NearCells) -> tuple[NearCells, WalkableSet]:
    """What parts have of input sets, [parts, n], and the parts, which shrink to that; without empty ones.

    Shapes: inputs [disjuncts, n].
    """
    lower, upper = cells.boxes.range
    sets = inputs.at(cells.disjunct).within(lower, upper)
    low, high = sets.range
    low, high = np.maximum(low, lower), np.minimum(high, upper)
    some = np.flatnonzero((low <= high).all(axis=1))
    packed = Box.of(low, high).packed
    found = NearCells(cells.disjunct, cells.bound, cells.side, packed, cells.start)
    return take(found, some), sets.at(some)
