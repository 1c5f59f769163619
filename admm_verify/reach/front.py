"""`reach_sets`: from a system to its reachable sets and verdicts."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow
from admm_verify.backends.placement import iteration_placement
from admm_verify.errors import InputError
from admm_verify.memory import memory_errors
from admm_verify.options import Range, choice, count, instance
from admm_verify.reach.cellwise import cellwise_reach
from admm_verify.reach.continuous.dynamics import SampledPlant
from admm_verify.reach.directions import (
    MOST_DIRECTIONS,
    TEMPLATES,
    box_directions,
    even_directions,
    octagon_directions,
    principal_directions,
)
from admm_verify.reach.discrete.dynamics import SteppedSystem
from admm_verify.reach.discrete.reachable import DiscreteReach, has_graph
from admm_verify.reach.inputs import array
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.sets import ReachSets
from admm_verify.reach.settings import ReachSettings
from admm_verify.reach.simulate import trajectories
from admm_verify.reach.starts import scattered
from admm_verify.reach.systems import ContinuousSystem, NonlinearSystem, Task
from admm_verify.reprs import short_repr
from admm_verify.run import Run


@dataclass(frozen=True, eq=False, repr=False)
class ReachReport:
    """The sets of a task, and what was found out about each of its requirements, in order."""

    sets: ReachSets
    judgements: tuple[Judgement, ...]

    __repr__ = short_repr


@memory_errors()
def reach_sets(
    task: Task,
    directions: str | int | Array = "box",
    *,
    timeout: float | None = None,
    settings: ReachSettings | None = None,
    run: Run | None = None,
) -> ReachReport:
    """Certified bounds of d'x_t for every step t and direction d, and verdicts on the task's requirements.

    In discrete time, cells of the initial set are halved until the sets that their trajectories run through, step after
    step, meet the requirements; then all steps are one network, bounded at once, and what is still open is decided by
    branch and bound on it; of a nonlinear plant, cells alone do both where its horizon is long or a tolerance is set,
    and hold where every operation is defined. In continuous time the sets are affine forms in the initial state,
    carried through CROWN's planes of the controller and Taylor expansions of the plant with an enclosed remainder;
    verdicts hold at all times, not only at control times, and cells of the initial set are halved until they are
    decided. A requirement is falsified by a trajectory whose violation is certified. Everything found by the time limit
    counts.

    directions: "box", "octagon" (all +-e_i and +-e_i +- e_j), "principal" (axes of sampled states beside the box), a
    count of directions around the plane of the first two states, or an array [d, n]. timeout in seconds. run: asked
    often; once it is over, what is known comes back. Its device is that of the bounds and of the search where the
    horizon is one network.

    Raises: InputError for what is no task or run, directions that do not fit, settings the system cannot have, and a
    timeout that is negative or NaN, and a GPU where the host alone computes; DeviceError.
    """
    instance(task, Task, "The task", ", such as av.read_task(path)")
    settings = ReachSettings() if settings is None else instance(settings, ReachSettings, "The settings of reach")
    run, rows = Run.of(run, timeout), _directions(task, directions)
    iteration_placement(Placement.numpy(), run.device, None)
    system = task.system
    if settings.window is not None and isinstance(system, ContinuousSystem | NonlinearSystem):
        raise InputError("A window of steps is for linear systems and networks in discrete time; leave it out.")
    # Simulations and sets of unstable systems may overflow; what is not finite is no bound.
    with quiet_overflow():
        if isinstance(system, ContinuousSystem) or not has_graph(task, settings):
            _refuse_gpu(run)
        if isinstance(system, ContinuousSystem):
            sets, judgements = cellwise_reach(task, SampledPlant(task), rows, settings, run)
        elif not has_graph(task, settings):
            sets, judgements = cellwise_reach(task, SteppedSystem(task), rows, settings, run)
        else:
            sets, judgements = DiscreteReach(task, rows, settings, run).reached()
    return ReachReport(sets, tuple(replace(one, remarks=task.remarks) for one in judgements))


def _refuse_gpu(run: Run) -> None:
    """Raise InputError where somebody wants a GPU for what the host alone computes."""
    if run.device is not None and run.device.startswith("cuda"):
        raise InputError(
            f"The device {run.device!r} is of no use here: sets in continuous time, and those of plants over long "
            "horizons, are computed on the host alone. Leave the device out, or give 'auto' or 'cpu'."
        )


def _directions(task: Task, directions: str | int | Array) -> np.ndarray:
    states = task.system.states
    if isinstance(directions, str):
        return _template(task, choice(directions, "The word for directions", TEMPLATES))
    if isinstance(directions, int | np.integer):
        return even_directions(states, count(directions, "The count of directions", Range(1, most=MOST_DIRECTIONS)))
    rows = array(directions, (None, states), "directions")
    if not len(rows) or len(rows) > MOST_DIRECTIONS:
        raise InputError(f"There are {len(rows)} directions; give from 1 to {MOST_DIRECTIONS}.")
    return rows


def _template(task: Task, name: str) -> np.ndarray:
    states = task.system.states
    if name == "box":
        return box_directions(states)
    if name == "octagon":
        return octagon_directions(states)
    rng = np.random.default_rng(0)
    points = trajectories(task.system, scattered(task.initial, 1000, rng), task.steps, rng)[:, -1]
    return principal_directions(points[np.isfinite(points).all(axis=1)])
