"""Bounds of layers computed on a run's device, for sets that live elsewhere."""

from collections.abc import Callable
from dataclasses import replace

from admm_verify.arrays import Placement
from admm_verify.backends.placement import iteration_placement
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.work import bounding_work
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.contract import WalkableSet


def computed_there(
    place: Placement, inputs: WalkableSet, derive: Callable[[WalkableSet], PreactivationBounds]
) -> PreactivationBounds:
    """What `derive` finds about sets moved to a place, back where they live: bounds over the sets as they are."""
    home = inputs.placement.double
    if place == home:
        return derive(inputs)
    found = derive(inputs.put(place))
    return found.put(home, None if found.origin is None else replace(found.origin, inputs=inputs))


def bounding_place(network: Network, method: str, inputs: WalkableSet, run: Run) -> Placement:
    """Where bounds of sets are computed: the run's device, which "auto" chooses by the work."""
    work = bounding_work(network, method, inputs)
    return iteration_placement(inputs.placement.double, run.device, "float64", work, run.left)


def derived_there(network: Network, inputs: WalkableSet, method: str, run: Run) -> PreactivationBounds:
    """`derived_bounds` on the run's device. Raises: Stopped."""
    place = bounding_place(network, method, inputs, run)
    return computed_there(place, inputs, lambda there: derived_bounds(network, there, method, run))
