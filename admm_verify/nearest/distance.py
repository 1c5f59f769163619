"""`distance`: how near the outputs of a network come to a set."""

import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.bounds.preactivation import input_rows
from admm_verify.errors import InputError
from admm_verify.memory import memory_errors
from admm_verify.nearest.outputs import OutputNearness
from admm_verify.nearest.points import enclosed, point_of
from admm_verify.nearest.search import NearSearch
from admm_verify.nearest.settings import DistanceSettings
from admm_verify.network.graph import Network
from admm_verify.network.layout import flatten_batch
from admm_verify.network.placed import unchanging
from admm_verify.options import instance, member
from admm_verify.run import Ended, Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.lengths import distance_above
from admm_verify.sets.polytope import Polytope
from admm_verify.threads import threads_for

_GROWTHS = 40
"""Boxes, each eight times as large, in which a point of a polytope without bounds is looked for."""


@dataclass(frozen=True, eq=False, repr=False)
class Distance:
    """A certified enclosure of a least distance: lower <= the least one <= upper, in real numbers, and where it is.

    input: a point of the input set where a distance of at most upper is attained; None where none was found, and upper
    is infinite. output: the network's output there, as computed. target: what input, or its output, is so near to.
    Where no point counts at all, lower is infinite too. cells: parts of the input set bounded.
    Shapes: input [*input_shape]; output [*output_shape].
    """

    lower: float
    upper: float
    input: np.ndarray | None
    output: np.ndarray | None
    target: np.ndarray | None
    status: Ended
    cells: int
    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", member(self.status, "The status of the distance", Ended))

    @property
    def gap(self) -> float:
        """upper - lower, 0 where both are infinite."""
        return 0.0 if self.lower == self.upper else self.upper - self.lower

    def __repr__(self) -> str:
        return (
            f"Distance, certified: {self.lower:.9g} <= least distance <= {self.upper:.9g} ({self.status.value}, "
            f"{self.cells} parts, {self.seconds:.2f} s)"
        )


@memory_errors()
def distance(
    network: Network,
    inputs: WalkableSet,
    target: WalkableSet,
    *,
    timeout: float | None = None,
    settings: DistanceSettings | None = None,
    run: Run | None = None,
) -> Distance:
    """The least Euclidean distance of the network's outputs over a set of inputs from a set of outputs.

    min |f(x) - s|_2 over x in `inputs` and s in `target`, certified from below and attained from above: how far a
    reachable set stays from an unsafe one; a polytope without a box may reach to infinity. It is positive where the
    outputs miss the target for certain, and 0 for certain where upper is 0. The input set is halved, part by part,
    until the gap is closed, so that it should have few inputs of positive width; with more, the gap stays open, and
    both ends hold all the same. Bounds of neurons are computed on the run's device, the rest on the CPU.

    Shapes: inputs one set of numbers [*input_shape]; target one of [*output_shape].
    Raises: InputError for what is no network, set, settings or run, for sets that do not fit it, and for batches.
    Error: rounded outward.
    """
    began, run = time.monotonic(), Run.of(run, timeout)
    chosen = DistanceSettings() if settings is None else instance(settings, DistanceSettings, "settings")
    home = Placement.numpy()
    flat = single_set(input_rows(network, inputs), "inputs").put(home)
    network.check_finite()
    target = instance(target, WalkableSet, "The target", ", such as av.Box(lower, upper)")
    what = f"the output of {network.name}"
    placed = network.put(home)
    with searching(placed, run):
        aim = _bounded(target, placed, flat)
        aim = aim.flattened(lambda part: flatten_batch(part, network.output_shape, what))
        nearness = OutputNearness(placed, flat, single_set(aim, "target").put(home), chosen, run)
        search = NearSearch(nearness, chosen, run)
        status = search.decide()
    return found_distance(network, search, status, network.output_shape, began)


def _bounded(target: WalkableSet, network: Network, inputs: WalkableSet) -> WalkableSet:
    """The target, which a polytope without bounds becomes where outputs' nearest points are: cut with a box of these.

    The outputs lie in a box, and no nearest point is farther away than any point of the target is from some output.
    """
    if not isinstance(target, Polytope) or target.around is not None or target.normals.ndim != 2:
        return target
    if target.normals.shape[1] != network.output_size:
        raise InputError(
            f"The target is a polytope of {target.normals.shape[1]} numbers, and {network.name} has "
            f"{network.output_size} outputs."
        )
    hull, middle = enclosed(network, Box.of(*inputs.range)), point_of(inputs, to_numpy(inputs.centre)[0])
    if middle is None or not np.isfinite(hull.width).all():
        return target
    output = enclosed(network, Box.point(middle[None]))
    room = max(1e-3, float(np.max(hull.reach)))
    for _ in range(_GROWTHS):
        cut = target.cut(_grown(hull, room))
        if cut is not None:
            near = point_of(cut, to_numpy(output.centre)[0])
            if near is not None:
                far = float(distance_above(near, *output.range)[0])
                return Polytope(target.normals, target.limits, _grown(hull, far))
        room *= 8.0
    return target


def _grown(box: Box, room: float) -> Box:
    low, high = (to_numpy(end)[0] for end in box.range)
    return Box(np.nextafter(low - room, -np.inf), np.nextafter(high + room, np.inf))


def single_set(sets: WalkableSet, what: str) -> WalkableSet:
    """Sets [1, n].

    Raises: InputError for more than one.
    """
    if sets.count != 1:
        raise InputError(f"The {what} are {sets.count} sets; give one, and ask for others one by one.")
    return sets


def searching(network: Network, run: Run) -> AbstractContextManager[object]:
    """The context that searches run in."""
    stack = ExitStack()
    threads = threads_for(network.weight_count, most=run.threads)
    for context in (threads, quiet_overflow(), run.watching(), unchanging(network)):
        stack.enter_context(context)
    return stack


def found_distance(
    network: Network, search: NearSearch, status: Ended, target_shape: tuple[int, ...], began: float
) -> Distance:
    """What a search has found."""
    best = search.best
    output = None if best is None else np.asarray(network.scores(best.x.reshape(network.input_shape)))
    return Distance(
        search.lower,
        search.upper,
        None if best is None else best.x.reshape(network.input_shape),
        output,
        None if best is None else best.target.reshape(target_shape),
        status,
        search.cells,
        time.monotonic() - began,
    )
