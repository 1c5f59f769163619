"""A system in discrete time over its horizon, step by step."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from admm_verify.reach.discrete.rollout import noise_columns, noise_set
from admm_verify.reach.discrete.steps import PlantStep, step_of
from admm_verify.reach.discrete.tube import StepSets, beside, step_sets
from admm_verify.reach.dynamics import Dynamics, Trajectories
from admm_verify.reach.sets import most
from admm_verify.reach.singular import continuous, crosses, crossing, singular_start
from admm_verify.reach.starts import starts_of
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.run import Run
from admm_verify.sets.box import Box

_WIDEST = 3.0
"""Largest sampled widths beyond which a cell's set, from its middle on, is given up: it is halved in any case."""


_LOOKED_AT = 2000
"""Trajectories along which it is looked at what must not be zero."""


class SteppedSystem(Dynamics):
    """Of a task in discrete time."""

    def __init__(self, task: Task) -> None:
        assert not isinstance(task.system, ContinuousSystem), "Continuous time has a room of its own"
        self.task, self.system, self.step = task, task.system, step_of(task.system)
        self.starts = starts_of(task.initial, task.exact, noise_set(task.system, task.steps))
        first = self.starts.first.numbers
        self.columns = [first + noise_columns(task.system, t, task.steps) for t in range(task.steps)]
        self.widest = np.full(task.system.states, np.inf)

    @property
    def plain(self) -> "SteppedSystem":
        return self._plain

    @cached_property
    def _plain(self) -> "SteppedSystem":
        if self.starts.first.is_plain:
            return self
        return SteppedSystem(replace(self.task, initial=Box.of(*self.task.initial.range)))

    def sampled(self, count: int, run: Run) -> Trajectories:
        """The same, from which it is known how wide sets are when they are too wide."""
        known = super().sampled(count, run)
        width = (most(known.paths) + most(-known.paths)).max(axis=0)
        self.widest = _WIDEST * (np.nan_to_num(width, nan=np.inf) + 1e-9 * (1.0 + np.abs(known.paths[0, 0])))
        return known

    def simulated(self, points: np.ndarray, run: Run) -> Trajectories:
        """All of them, which takes next to no time."""
        paths = np.empty((len(points), self.task.steps + 1, self.system.states))
        state = paths[:, 0] = self.starts.first.states(points[:, : self.starts.first.numbers])
        for t, noise in enumerate(self.columns):
            state = paths[:, t + 1] = self.step.simulated(np.concatenate([state, points[:, noise]], axis=1))
        return Trajectories(points, paths)

    def opened(self, cells: Box, ends: Trajectories) -> np.ndarray:
        """By what is not linear along simulated trajectories."""
        shape, middle = (cells.count, 2, self.starts.sides, -1), self.simulated(np.asarray(cells.centre), Run())
        score = np.zeros((cells.count, self.starts.sides))
        for t in range(self.task.steps):
            score += self.step.opened(self._seen(middle, t), self._seen(ends, t).reshape(shape))
        return score

    def _seen(self, known: Trajectories, step: int) -> np.ndarray:
        """The inputs of a step along trajectories."""
        return np.concatenate([known.paths[:, step], known.points[:, self.columns[step]]], axis=1)

    def sets(self, cells: Box, run: Run) -> StepSets:
        widest = np.full_like(self.widest, np.inf) if cells.covers(self.starts.box) else self.widest
        return step_sets(self.step, cells, self.task.steps, widest, run, self.starts)

    def singularity(self, known: Trajectories, run: Run) -> tuple[int, str] | None:
        if not isinstance(self.step, PlantStep) or not self.step.plant.conditions:
            return None
        plant = self.step.plant
        reason = singular_start(plant, self.task.initial, run)
        if reason:
            return 1, reason
        if self.step.law is not None and not continuous(self.step.law):
            return None
        few = Trajectories(known.points[:_LOOKED_AT], known.paths[:_LOOKED_AT])
        seen = [self.step.values(self._seen(few, t)) for t in range(self.task.steps)]
        found = crossing(plant, {name: np.stack([one[name] for one in seen], axis=1) for name in seen[0]})
        if found is None:
            return None
        step, pair = found
        points = self.starts.around(known.points[list(pair)])
        sets = self.sets(points, run)
        if (sets.valid_steps < step).any():
            return None
        noise = points.at((slice(None), self.columns[step]))
        names = self.step.names(beside(sets.states[step], noise), sets.anchor.at(sets.cells[step]))
        reason = crosses(plant, {name: forms.interval for name, forms in names.items()})
        return (step + 1, f"{reason} on the way from step {step} to the next, for some trajectory.") if reason else None
