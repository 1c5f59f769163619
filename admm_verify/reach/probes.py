"""What no cell can show: where the sets from single points alone do not say what is asked."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.reach.checks import TrajectorySets, holds
from admm_verify.reach.dynamics import Dynamics, Trajectories
from admm_verify.reach.requirements import Kind, Requirement
from admm_verify.reach.systems import Task
from admm_verify.run import Run


def room(requirement: Requirement, paths: np.ndarray) -> np.ndarray:
    """`Requirement.room`, infinite where the simulation overflows and nothing is known of the rest, [points]."""
    with quiet_overflow():
        return np.nan_to_num(requirement.room(paths), nan=np.inf)


def behind(requirement: Requirement, steps: int) -> str:
    """Why a horizon is too short to show a requirement, whatever trajectories do; empty where it is not."""
    late = requirement.last > steps and requirement.kind is not Kind.REACH_SOME_TIME
    return _late(requirement, steps) if late else ""


def _late(requirement: Requirement, steps: int) -> str:
    last = ceil(requirement.last)
    return f"It is about times up to step {last}, and the horizon ends at step {steps}: give a longer one."


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
        middle = dynamics.starts.centre
        points = np.concatenate([known.points[sorted(set(chosen))], middle[None]])
        sets = dynamics.sets(dynamics.starts.around(points), run)
        singular, simulated = dynamics.singularity(known, run), dynamics.simulated(points, run)
        return None if run.over() else cls(task, simulated, sets, singular)

    @property
    def ending(self) -> str:
        """Why there are no sets from all cells up to the end; empty where there may be."""
        if self.singular is not None:
            return self.singular[1]
        return next((self._ended(j) for j in range(len(self.sets.valid_steps)) if self._ends(j)), "")

    def reason(self, i: int) -> str:
        """Why no cells can show a requirement; empty where they may."""
        requirement, steps = self.task.requirements[i], self.task.steps
        some_time, last = requirement.kind is Kind.REACH_SOME_TIME, requirement.last
        if self.singular is not None and (requirement.first if some_time else last) >= self.singular[0]:
            return self.singular[1]
        short = np.flatnonzero(~holds(requirement, self.sets, steps))
        broken = room(requirement, self.from_points.paths) < 0
        late = short[broken[short]] if last > steps else short[:0]
        if len(late):
            return f"From {self._start(int(late[0]))}, it is not met within the horizon. {_late(requirement, steps)}"
        for j in map(int, short):
            start, reached = self._start(j), int(self.sets.valid_steps[j])
            if reached >= min(last, steps):
                what = "breaks" if broken[j] else "meets"
                return (
                    f"The sets from the single state {start} are too loose to tell; a simulation from there {what} it."
                )
            if self._ends(j):
                return self._ended(j)
        return ""

    def _ended(self, j: int) -> str:
        after = int(self.sets.valid_steps[j])
        return f"The trajectory from {self._start(j)} is not finite, or the plant not defined, after step {after}."

    def _ends(self, j: int) -> bool:
        """Whether there is no state any more where the sets from a point end, as far as a simulation tells.

        Where there is one, other cells may have better luck.
        """
        reached = int(self.sets.valid_steps[j])
        return reached < self.task.steps and not np.isfinite(self.from_points.paths[j, reached + 1]).all()

    def _start(self, j: int) -> str:
        return f"({', '.join(f'{value:.6g}' for value in self.from_points.paths[j, 0])})"
