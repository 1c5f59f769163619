"""Cells of the initial box, halved until the sets that their trajectories run through meet the requirements."""

import time
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.complete.tables import join, take
from admm_verify.reach.discrete.checks import holds, violates
from admm_verify.reach.discrete.rollout import Rollout
from admm_verify.reach.discrete.tube import step_sets
from admm_verify.reach.sets import most
from admm_verify.reach.systems import ContinuousSystem, Requirement, Task
from admm_verify.run import Run
from admm_verify.sets.box import Box

_SHARE = 0.6
"""Of the time that is left; the rest is for bounds that see the whole horizon at once."""

_LOOSE = 1.0
"""Share of the sampled width by which sets may be too wide without being split for it alone."""

_LOOSE_CELLS = 64
"""Most cells that are made for tighter sets alone."""

_WIDEST = 3.0
"""Largest sampled widths beyond which a cell's set, from its middle on, is given up: it is halved in any case."""


@dataclass(frozen=True, eq=False)
class CellTubes:
    """Cells that cover the initial box: bounds of all directions after every step, and which requirements hold.

    broken: by the requirement's place, a trajectory from a first state all of whose trajectories break it for certain.
    Shapes: inputs [cells, n]; bound [cells, steps + 1, d]; good [cells, requirements]; broken [steps + 1, n] each.
    """

    inputs: Box
    bound: np.ndarray
    good: np.ndarray
    broken: dict[int, np.ndarray]
    seconds: float

    @property
    def upper(self) -> np.ndarray:
        """Bounds over the whole box, [steps + 1, d]."""
        return self.bound.max(axis=0)


@dataclass(frozen=True, eq=False)
class _TubeRows:
    """The same, cell by cell."""

    inputs: Box
    bound: np.ndarray
    good: np.ndarray


class Splitting:
    """Halves the cells of one task."""

    def __init__(self, task: Task, horizon: Rollout, directions: np.ndarray, samples: np.ndarray, cells: int, run: Run):
        """samples: simulated trajectories, [points, steps + 1, n]. cells: most of them."""
        assert not isinstance(task.system, ContinuousSystem), "Continuous time has cells of its own"
        self.task, self.system, self.horizon, self.directions, self.samples, self.cells = (
            task,
            task.system,
            horizon,
            directions,
            samples,
            cells,
        )
        self.began = now = time.monotonic()
        share = None if run.deadline is None else now + _SHARE * max(run.deadline - now, 0.0)
        self.run = replace(run, deadline=share)
        high, low = most(samples), -most(-samples)
        self.unit = np.nan_to_num((high - low).max(axis=0), nan=np.inf) + 1e-9 * (1.0 + np.abs(high[0]))
        values = np.einsum("pts,ds->ptd", samples, directions)
        self.inner = most(values)
        spread = self.inner + most(-values)
        self.scale = np.where(np.isfinite(spread), np.maximum(spread, 1e-9 * (1.0 + np.abs(self.inner))), 1.0)
        self.broken: dict[int, np.ndarray] = {}

    def found(self, first: Box, batch: int) -> CellTubes:
        """The cells after halving as many at once as `batch` says, from a grid on."""
        self._falsify(self.samples)
        parts = self._bounded(first, np.full_like(self.unit, np.inf))
        while not self.run.over():
            open = self._open(parts)
            self.run.say(f"{parts.inputs.count} cells, {len(open)} open")
            chosen = open[: min(batch, self.cells - parts.inputs.count)]
            if not len(chosen):
                break
            fresh = self._bounded(self._halved(parts.inputs.at(chosen)), _WIDEST * self.unit)
            known = take(parts, np.tile(chosen, 2))
            fresh = replace(fresh, bound=np.minimum(fresh.bound, known.bound), good=fresh.good | known.good)
            parts = join([take(parts, np.setdiff1d(np.arange(parts.inputs.count), chosen)), fresh])
        return CellTubes(parts.inputs, parts.bound, parts.good, self.broken, time.monotonic() - self.began)

    @property
    def _wanted(self) -> list[int]:
        return [i for i in range(len(self.task.requirements)) if i not in self.broken]

    def _bounded(self, inputs: Box, widest: np.ndarray) -> _TubeRows:
        task = self.task
        sets = step_sets(self.system, self.horizon.inputs(inputs), task.steps, widest, self.run)
        bound = np.stack([sets.support(t, self.directions) for t in range(task.steps + 1)], axis=1)
        good = [holds(requirement, sets, task.steps) for requirement in task.requirements]
        return _TubeRows(inputs, bound, np.array(good, dtype=bool).reshape(-1, inputs.count).T)

    def _open(self, parts: _TubeRows) -> np.ndarray:
        """The cells that are worth halving, the worst first."""
        with quiet_overflow():
            gap = np.nan_to_num((parts.bound - self.inner) / self.scale, nan=np.inf, posinf=np.inf)
        gap = gap[:, 1:].max(axis=(1, 2))
        undecided = ~parts.good[:, self._wanted].all(axis=1)
        if parts.inputs.count < _LOOSE_CELLS:
            undecided |= gap > _LOOSE
        found = np.flatnonzero(undecided & parts.inputs.halvable.any(axis=1))
        return found[np.argsort(-gap[found], kind="stable")]

    def _halved(self, inputs: Box) -> Box:
        """Every cell halved at the side that moves its simulated trajectories most."""
        (count, states), cells = inputs.shape, inputs.at((slice(None), None, None))
        ends = to_numpy(cells.project(cells.centre + np.stack([np.eye(states), -np.eye(states)]) * (0.5 * cells.width)))
        paths = self._paths(ends).reshape(count, 2, states, -1, states)
        self._falsify(paths.reshape(-1, paths.shape[-2], states))
        with quiet_overflow():
            moved = np.nan_to_num(np.abs(paths[:, 0] - paths[:, 1]) / self.unit, nan=1e300).max(axis=(2, 3))
        return inputs.halved(np.where(inputs.halvable, moved, -1.0).argmax(axis=1))

    def _paths(self, first: np.ndarray) -> np.ndarray:
        """Trajectories without noise but its middle, [..., n] -> [points, steps + 1, n]."""
        first = first.reshape(-1, self.task.system.states)
        noise = np.broadcast_to(self.horizon.noise.centre, (len(first), self.horizon.noise.size))
        after = self.horizon.trajectories(np.concatenate([first, noise], axis=1))
        return np.concatenate([first[:, None], after], axis=1)

    def _falsify(self, paths: np.ndarray) -> None:
        """Look for violations among simulated trajectories [points, steps + 1, n], and certify the clearest."""
        for i in self._wanted:
            requirement = self.task.requirements[i]
            with quiet_overflow():
                room = np.nan_to_num(requirement.room(paths), nan=np.inf)
            worst = int(np.argmin(room))
            if room[worst] < 0 and self._breaks(requirement, paths[worst, 0]):
                self.broken[i] = self._paths(self.task.box.around(paths[worst, 0]).range[0])[0]

    def _breaks(self, requirement: Requirement, first: np.ndarray) -> bool:
        """Whether all trajectories from the point of the box next to a state break a requirement for certain."""
        start = self.horizon.inputs(self.task.box.around(first).at(None))
        sets = step_sets(self.system, start, self.task.steps, np.full_like(self.unit, np.inf), self.run)
        return bool(violates(requirement, sets, self.task.steps)[0])
