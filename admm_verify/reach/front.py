"""`reach_sets`: from a system to its reachable sets and verdicts."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.errors import InputError
from admm_verify.reach.continuous_sets import ContinuousReach
from admm_verify.reach.directions import (
    TEMPLATES,
    box_directions,
    even_directions,
    octagon_directions,
    principal_directions,
)
from admm_verify.reach.discrete import DiscreteReach, ReachSettings
from admm_verify.reach.discrete_verdicts import DiscreteJudge
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.sets import Ended, ReachSets
from admm_verify.reach.simulate import simulate, spread
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.splitting.loop import Clock


@dataclass(frozen=True, eq=False)
class ReachReport:
    """The sets of a task, and what was found out about each of its requirements, in order."""

    sets: ReachSets
    judgements: tuple[Judgement, ...]


def reach_sets(
    task: Task,
    directions: str | int | np.ndarray = "box",
    settings: ReachSettings | None = None,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> ReachReport:
    """Certified bounds of d'x_t for every step t and direction d, and verdicts on the task's requirements.

    In discrete time all steps are one network, bounded at once, and requirements are decided by branch and bound on
    it. In continuous time the sets are affine forms in the initial state, carried through CROWN's planes of the
    controller and Taylor expansions of the plant with an enclosed remainder; verdicts hold at all times, not only at
    control times, and cells of the initial box are halved until they are decided. A requirement is falsified by a
    trajectory whose violation is certified. Everything found by the time limit counts.

    directions: "box", "octagon" (all +-e_i and +-e_i +- e_j), "principal" (axes of sampled states beside the box), a
    count of directions around the plane of the first two states, or an array [d, n]. timeout in seconds. stop: asked
    often; once true, what is known comes back.

    Raises: InputError for directions that do not fit or settings the system cannot have.
    """
    began = time.monotonic()
    settings = ReachSettings() if settings is None else settings
    if timeout is not None and not timeout >= 0:
        raise InputError(f"The timeout {timeout} is negative or NaN; give seconds >= 0.")
    rows = _directions(task, directions)
    deadline = None if timeout is None else began + timeout
    tell = progress or (lambda text: None)

    def ended() -> Ended | None:
        if stop is not None and stop():
            return Ended.STOPPED
        return Ended.TIMED_OUT if deadline is not None and time.monotonic() >= deadline else None

    if isinstance(task.system, ContinuousSystem) and settings.window is not None:
        raise InputError("A window of steps is for systems in discrete time; leave it out.")
    # Simulations and sets of unstable systems may overflow; what is not finite is no bound.
    with quiet_overflow():
        if isinstance(task.system, ContinuousSystem):
            sets, judgements = ContinuousReach(task, task.system, rows, settings, ended, tell).run()
            return ReachReport(sets, tuple(judgements))
        sets = DiscreteReach(task.system, task.initial, task.steps, rows, settings, ended, tell).run()
        judge = DiscreteJudge(task, task.system, settings.memory, Clock(deadline, stop), tell)
        return ReachReport(sets, tuple(judge.judge(requirement) for requirement in task.requirements))


def _directions(task: Task, directions: str | int | np.ndarray) -> np.ndarray:
    states = task.system.states
    if isinstance(directions, np.ndarray):
        rows = np.asarray(directions, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != states or not len(rows) or not np.isfinite(rows).all():
            raise InputError(f"The directions have shape {rows.shape}; give finite numbers [d, {states}].")
        return rows
    if isinstance(directions, int):
        return even_directions(states, directions)
    if directions == "box":
        return box_directions(states)
    if directions == "octagon":
        return octagon_directions(states)
    if directions == "principal":
        rng = np.random.default_rng(0)
        points = simulate(task.system, spread(task.initial, 1000, rng), task.steps, rng)[:, -1]
        return principal_directions(points[np.isfinite(points).all(axis=1)])
    raise InputError(f"The directions {directions!r} are unknown; give a count or one of {', '.join(TEMPLATES)}.")
