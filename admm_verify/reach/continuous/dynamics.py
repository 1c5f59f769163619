"""A continuous plant with a sampled controller over its horizon."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.reach.continuous.simulation import trajectories
from admm_verify.reach.continuous.tube import Tube, reach
from admm_verify.reach.control import ControlSettings, controlled
from admm_verify.reach.dynamics import Dynamics, Trajectories
from admm_verify.reach.singular import continuous, crosses, crossing, singular_start
from admm_verify.reach.starts import starts_of
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.run import Run
from admm_verify.sets.box import Box

_LOOKED_AT = 2000
"""Trajectories along which divisors are looked at."""


class SampledPlant(Dynamics):
    """Of a task in continuous time; trajectories depend on the first state alone."""

    def __init__(self, task: Task) -> None:
        assert isinstance(task.system, ContinuousSystem), "Discrete time has a room of its own"
        self.task, self.system = task, task.system
        self.starts = starts_of(task.initial, task.exact, Box.point(np.zeros(0)))

    @property
    def plain(self) -> "SampledPlant":
        return self._plain

    @cached_property
    def _plain(self) -> "SampledPlant":
        if self.starts.first.is_plain:
            return self
        return SampledPlant(replace(self.task, initial=Box.of(*self.task.initial.range)))

    def simulated(self, points: np.ndarray, run: Run) -> Trajectories:
        first = self.starts.first.states(points)
        return Trajectories(points, trajectories(self.system, first, self.task.steps, run=run))

    def sets(self, cells: Box, run: Run) -> Tube:
        return reach(self.system, cells, self.task.steps, run=run, starts=self.starts)

    def singularity(self, known: Trajectories, run: Run) -> tuple[int, str] | None:
        plant, law = self.system.plant, self.system.controller.law
        reason = singular_start(plant, self.task.initial, run)
        if reason:
            return 0, reason
        if not plant.conditions or not continuous(law):
            return None
        paths = known.paths[:_LOOKED_AT]
        control = []
        for t in range(paths.shape[1]):
            if run.over():
                return None
            control.append(law(paths[:, t]))
        axes = list(np.moveaxis(paths, -1, 0)), list(np.moveaxis(np.stack(control, axis=1), -1, 0))
        found = crossing(plant, plant.values(*axes))
        if found is None:
            return None
        step, pair = found
        tube = self.sets(self.starts.around(known.points[list(pair)]), run)
        if (tube.valid_steps < step).any():
            # On its way from one sign to the other, a trajectory has met zero.
            return (
                step,
                f"A simulation from {_shown(paths[pair[int(tube.valid_steps.argmin())], 0])} meets a division by 0.",
            )
        there = tube.box(step)
        forms, _ = controlled(law, AffineForms.around(Box.of(there.lower, there.upper)), ControlSettings())
        reason = crosses(plant, plant.values(there.coordinates(), forms.interval.coordinates()))
        return (step, f"{reason} for some trajectory by step {step}.") if reason else None


def _shown(state: np.ndarray) -> str:
    return f"({', '.join(f'{value:.6g}' for value in state)})"
