"""Which side of a part is halved next."""

import numpy as np

from admm_verify.arrays import Float, Int
from admm_verify.complete.tables import take
from admm_verify.nearest.search import NearCells
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet

_TRACE = 0.05
"""What a side's width counts beside what its coefficient makes of it, so that no side is left for ever."""


def chosen_sides(boxes: Box, coefficient: Float[np.ndarray, "parts rows n"]) -> Int[np.ndarray, " parts"]:
    """The side over which planes below what is bounded change most, of those that can be halved; -1 where none can."""
    width = np.nan_to_num(boxes.width, posinf=1e300)
    change = np.nan_to_num(np.abs(coefficient).max(axis=1), posinf=1e150) * width
    shares = (part / np.maximum(part.max(axis=1, keepdims=True), 1e-300) for part in (change, width))
    score = (next(shares) + _TRACE * next(shares)) * boxes.halvable
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
