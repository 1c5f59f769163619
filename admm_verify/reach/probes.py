"""What no cell can show: where the sets from single points alone do not say what is asked."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.reach.checks import TrajectorySets, holds
from admm_verify.reach.dynamics import Dynamics, Trajectories
from admm_verify.reach.systems import Kind, Requirement, Task
from admm_verify.run import Run


def room(requirement: Requirement, paths: np.ndarray) -> np.ndarray:
    """`Requirement.room`, infinite where the simulation overflows and nothing is known of the rest, [points]."""
    with quiet_overflow():
        return np.nan_to_num(requirement.room(paths), nan=np.inf)


@dataclass(frozen=True, eq=False)
class Probes:
    """Single points with the sets from each, which every cell that holds the point has sets around.

    singular: a step by which a trajectory is not defined any more, and why.
    """

    task: Task
    from_points: Trajectories
    sets: TrajectorySets
    singular: tuple[int, str] | None

    @classmethod
    def of(cls, task: Task, dynamics: Dynamics, known: Trajectories, run: Run) -> "Probes | None":
        """The points nearest to breaking each requirement, one whose simulation overflows, and the middle.

        None where the run ended on the way, which would be mistaken for sets that end.
        """
        chosen = [int(np.argmin(room(requirement, known.paths))) for requirement in task.requirements]
        chosen += np.flatnonzero(~np.isfinite(known.paths).all(axis=(1, 2)))[:1].tolist()
        middle = np.asarray(dynamics.inside.centre)
        points = np.concatenate([known.points[sorted(set(chosen))], middle[None]])
        sets = dynamics.sets(dynamics.around(points), run)
        singular, simulated = dynamics.singularity(known, run), dynamics.simulated(points, run)
        return None if run.over() else cls(task, simulated, sets, singular)

    @property
    def steps(self) -> int:
        """How far there can be sets from all cells."""
        reached = int(self.sets.valid_steps.min())
        return reached if self.singular is None else max(0, min(reached, self.singular[0] - 1))

    def reason(self, i: int) -> str:
        """Why no cells can show a requirement; empty where they may."""
        requirement, steps = self.task.requirements[i], self.task.steps
        some_time, last = requirement.kind is Kind.REACH_SOME_TIME, requirement.last
        behind = f"It is about times up to step {ceil(last)}, and the horizon ends at step {steps}: give a longer one."
        if last > steps and not some_time:
            return behind
        if self.singular is not None and (requirement.first if some_time else last) >= self.singular[0]:
            return self.singular[1]
        short = np.flatnonzero(~holds(requirement, self.sets, steps))
        if not len(short):
            return ""
        broken = room(requirement, self.from_points.paths[short]) < 0
        if last > steps and broken.any():
            return (
                f"Not all trajectories get there within the horizon, as from {self._start(short[broken][0])}. {behind}"
            )
        return self._short(int(short[0]), bool(broken[0]), min(int(last), steps))

    def _short(self, j: int, broken: bool, last: int) -> str:
        """Why the sets from a point do not show what is asked up to a step."""
        start, reached = self._start(j), int(self.sets.valid_steps[j])
        if reached >= last:
            what = "breaks" if broken else "meets"
            return f"The sets from the single state {start} are too loose to tell; a simulation from there {what} it."
        if not np.isfinite(self.from_points.paths[j, reached + 1]).all():
            return f"The trajectory from {start} is not finite, or the plant not defined, after step {reached}."
        return f"The sets from the single state {start} are too loose to go on after step {reached}."

    def _start(self, j: int) -> str:
        return f"({', '.join(f'{value:.6g}' for value in self.from_points.paths[j, 0])})"
