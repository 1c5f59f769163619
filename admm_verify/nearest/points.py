"""Points of input sets, and what a network makes of them, enclosed."""

import numpy as np

from admm_verify.arrays import Float
from admm_verify.bounds.interval import Forward
from admm_verify.network.graph import Network
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet

PULLS = 2.0 ** -np.arange(52.0, -1.0, -2.0)
"""Shares of the way to the centre by which points just outside a set are moved."""


def enclosed(network: Network, points: Box) -> Box:
    """Intervals around the outputs over small boxes [points, n], [points, outputs]; infinite where they overflow.

    Error: rounded outward.
    """
    forward = Forward(network, points).run()
    return Box.of(forward.lower[-1], forward.upper[-1])


def point_of(inputs: WalkableSet, x: Float[np.ndarray, " n"]) -> np.ndarray | None:
    """A point of a set [1, n], exactly, next to x; None where none is found."""
    start, centre = inputs.project(x[None]), inputs.centre
    for pull in (0.0, *PULLS):
        # Of a flat set the centre itself may be all that is inside for certain.
        moved = start + pull * (centre - start) if pull < 1.0 else centre
        if bool(np.all(inputs.found_inside(moved))):
            return moved[0]
    return None


def lies_inside(target: WalkableSet, values: Box) -> bool:
    """Whether a convex set [1, n] holds a box [1, n], as far as its corners can be counted."""
    corners = values.corners(_CORNERS) if np.isfinite(values.width).all() else None
    return corners is not None and bool(np.all(target.found_inside(corners[0])))


_CORNERS = 2**10
