"""A system in discrete time over its horizon, step by step."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from admm_verify.reach.discrete.rollout import noise_columns, noise_set, rollout
from admm_verify.reach.discrete.sides import opened
from admm_verify.reach.discrete.tube import StepSets, step_sets
from admm_verify.reach.dynamics import Dynamics, Trajectories
from admm_verify.reach.sets import most
from admm_verify.reach.starts import starts_of
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.run import Run
from admm_verify.sets.box import Box

_WIDEST = 3.0
"""Largest sampled widths beyond which a cell's set, from its middle on, is given up: it is halved in any case."""


class SteppedSystem(Dynamics):
    """Of a task in discrete time."""

    def __init__(self, task: Task) -> None:
        assert not isinstance(task.system, ContinuousSystem), "Continuous time has a room of its own"
        self.task, self.system, self.once = task, task.system, rollout(task.system, 1).network
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
            state = paths[:, t + 1] = self.once.evaluate(np.concatenate([state, points[:, noise]], axis=1))[-1]
        return Trajectories(points, paths)

    def opened(self, cells: Box, ends: Trajectories) -> np.ndarray:
        """By the neurons that are open along simulated trajectories."""
        shape, middle = (cells.count, 2, self.starts.sides, -1), self.simulated(np.asarray(cells.centre), Run())
        score = np.zeros((cells.count, self.starts.sides))
        for t in range(self.task.steps):
            score += opened(self.once, self._seen(middle, t), self._seen(ends, t).reshape(shape))
        return score

    def _seen(self, known: Trajectories, step: int) -> np.ndarray:
        """The inputs of a step along trajectories."""
        return np.concatenate([known.paths[:, step], known.points[:, self.columns[step]]], axis=1)

    def sets(self, cells: Box, run: Run) -> StepSets:
        widest = np.full_like(self.widest, np.inf) if cells.covers(self.starts.box) else self.widest
        return step_sets(self.system, cells, self.task.steps, widest, run, self.starts)

    def singularity(self, known: Trajectories, run: Run) -> tuple[int, str] | None:
        """None: networks are defined everywhere."""
        return None
