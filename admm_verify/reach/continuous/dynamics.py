"""A continuous plant with a sampled controller over its horizon."""

import numpy as np

from admm_verify.enclosures.intervals import Interval
from admm_verify.reach.continuous.simulation import trajectories
from admm_verify.reach.continuous.singular import crosses, crossing, singular_start
from admm_verify.reach.continuous.tube import Tube, reach
from admm_verify.reach.dynamics import Dynamics, Trajectories
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.run import Run
from admm_verify.sets.box import Box


class SampledPlant(Dynamics):
    """Of a task in continuous time; trajectories depend on the first state alone."""

    def __init__(self, task: Task) -> None:
        assert isinstance(task.system, ContinuousSystem), "Discrete time has a room of its own"
        self.task, self.system, self.inputs, self.inside = task, task.system, task.initial, task.box.inside

    def simulated(self, points: np.ndarray, run: Run) -> Trajectories:
        return Trajectories(points, trajectories(self.system, points, self.task.steps, run=run))

    def sets(self, cells: Box, run: Run) -> Tube:
        return reach(self.system, cells, self.task.steps, run=run)

    def around(self, points: np.ndarray) -> Box:
        return self.task.box.around(points)

    def singularity(self, known: Trajectories, run: Run) -> tuple[int, str] | None:
        plant = self.system.plant
        reason = singular_start(plant, self.task.initial, run)
        if reason:
            return 0, reason
        found = crossing(plant, known.paths)
        if found is None:
            return None
        step, pair = found
        there = self.sets(self.around(known.points[list(pair)]), run).box(step)
        reason = crosses(plant, *(Interval(there.lower[j], there.upper[j]) for j in (0, 1)))
        return (step, f"{reason} by step {step}.") if reason else None
