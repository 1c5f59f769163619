"""Reachable sets of systems in discrete time: one graph over the horizon, and cells where that is not tight enough."""

import time
from dataclasses import replace
from functools import cached_property

import numpy as np

from admm_verify.complete.tables import join, take
from admm_verify.errors import InputError
from admm_verify.reach.discrete.cells import CellBounder, Cells
from admm_verify.reach.discrete.effort import tightened
from admm_verify.reach.discrete.rollout import Rollout, rollout
from admm_verify.reach.discrete.splitting import CellTubes, Splitting
from admm_verify.reach.sets import ReachSets
from admm_verify.reach.settings import ReachSettings
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.box import Box

_MOST_ROWS = 2**24
"""Numbers of the matrix of all directions at all steps."""

_EXACT = 0.01
"""Share of the sampled width within which sets are as good as exact."""

_PAYS = 0.25
"""Share of the sampled width that CROWN must gain on cells for more effort to pay."""


class DiscreteReach:
    """The sets of one system from one box."""

    def __init__(self, task: Task, directions: np.ndarray, settings: ReachSettings, run: Run) -> None:
        """Shapes: directions [d, n]."""
        assert not isinstance(task.system, ContinuousSystem), "Continuous time has a room of its own"
        self.task, self.system, self.initial, self.steps = task, task.system, task.initial, task.steps
        self.directions, self.settings, self.run = directions, settings, run
        if self.steps**2 * directions.size > _MOST_ROWS and settings.window is None:
            most = int((_MOST_ROWS / directions.size) ** 0.5)
            raise InputError(
                f"A horizon of {self.steps} steps with {len(directions)} directions is too long for one graph; give at "
                f"most {most} steps, or fewer directions."
            )
        self.horizon, self.began = rollout(self.system, self.steps), time.monotonic()
        count, states = settings.trajectories(self.steps, self.system.states), self.system.states
        points = self.horizon.inputs(self.initial.at(None)).scattered(count, np.random.default_rng(0))
        self.samples = self.horizon.trajectories(points, run)
        self.first = points[: len(self.samples), :states]

    @cached_property
    def tubes(self) -> CellTubes:
        """The sets that the steps run through one after the other, from cells of the initial box."""
        paths = np.concatenate([self.first[:, None], self.samples], axis=1)
        splitting = Splitting(self.task, self.horizon, self.directions, paths, self.settings.cells, self.run)
        return splitting.found(self.initial.grid(self.settings.grid), self.settings.batch)

    def reached(self) -> ReachSets:
        """Bound everything, as far as possible."""
        values = np.einsum("pts,ds->ptd", self.samples, self.directions).reshape(len(self.samples), -1)
        inner = values.max(axis=0)
        width = inner - values.min(axis=0)
        scale = np.maximum(width, 1e-9 * (1.0 + np.abs(inner)))
        if self.settings.window is not None:
            return self._windowed(inner)
        known = self.tubes.upper[1:].reshape(-1)
        if (known - inner <= _EXACT * scale).all():
            return self._sets(self.tubes.inputs, self.tubes.bound[:, 1:], inner, Ended.COMPLETE)
        try:
            cells = self._whole(known, inner, scale)
        except Stopped:
            return self._stopped(inner, scale)
        ended = Ended.COMPLETE
        if self.settings.tolerance is not None:
            cells, inner, ended = self._refined(cells, inner, scale)
        if len(cells) < self.tubes.inputs.count:
            whole = cells.bound.max(axis=0).reshape(self.steps, -1)
            return self._sets(self.tubes.inputs, np.minimum(self.tubes.bound[:, 1:], whole), inner, ended)
        return self._sets(cells.inputs, cells.bound, inner, ended)

    def _whole(self, known: np.ndarray, inner: np.ndarray, scale: np.ndarray) -> Cells:
        """Bounds over the grid by the graph of the whole horizon, none of them above known ones."""
        inputs, rows = self.horizon.inputs(self.initial.grid(self.settings.grid)), self.horizon.rows(self.directions)
        if self.tubes.inputs.count > inputs.count:
            # Tightening the whole box takes long, and rarely gets ahead of small cells where CROWN does not.
            plain = replace(self.settings, method="crown", iterations=0)
            cells = self._bounder(self.horizon, rows, plain).cells(inputs, inner, scale)
            if (cells.bound.max(axis=0) > known - _PAYS * scale).all():
                return cells.at_most(known)

        def bound(how: ReachSettings) -> tuple[Cells, float]:
            cells = self._bounder(self.horizon, rows, how).cells(inputs, inner, scale).at_most(known)
            return cells, float(((cells.bound - inner) / scale).max())

        return tightened(bound, self.settings, self.run)

    def _stopped(self, inner: np.ndarray, scale: np.ndarray) -> ReachSets:
        """What is known where no time is left for the graph."""
        ended, tubes = self.run.ended() or Ended.STOPPED, self.tubes
        bound = tubes.bound[:, 1:]
        if not np.isfinite(bound.max(axis=0)).all():
            # Intervals are loose, but they take no time.
            quick, inputs = replace(self.settings, method="interval", iterations=0), self.horizon.inputs(tubes.inputs)
            rows = self.horizon.rows(self.directions)
            cells = CellBounder(self.horizon.network, rows, quick, self.run.endless()).cells(inputs, inner, scale)
            bound = np.minimum(bound, cells.bound.reshape(bound.shape))
        return self._sets(tubes.inputs, bound, inner, ended)

    def _bounder(self, graph: Rollout, rows: np.ndarray, settings: ReachSettings) -> CellBounder:
        return CellBounder(graph.network, rows, settings, self.run.silent())

    def _refined(self, cells: Cells, inner: np.ndarray, scale: np.ndarray) -> tuple[Cells, np.ndarray, Ended]:
        """Halve cells where some bound exceeds what is attained, the worst first."""
        settings, tolerance = self.settings, self.settings.tolerance
        bounder = self._bounder(self.horizon, self.horizon.rows(self.directions), settings.of_cells)
        assert tolerance is not None, "There is something to reach"
        while True:
            ended = self.run.ended()
            gap = ((cells.bound - inner) / scale).max(axis=1)
            self.run.say(f"{len(cells)} cells, largest gap {gap.max():.3g} of the sampled width")
            wanted = np.flatnonzero((gap > tolerance) & (cells.side >= 0))
            if not len(wanted):
                return cells, inner, Ended.COMPLETE
            if ended is not None or len(cells) >= settings.cells:
                return cells, inner, ended or Ended.CELL_LIMIT
            worst = wanted[np.argsort(-gap[wanted])][: min(settings.batch, settings.cells - len(cells))]
            try:
                parts = bounder.cells(cells.inputs.at(worst).halved(cells.side[worst]), inner, scale)
            except Stopped:
                continue
            parts = parts.at_most(np.tile(cells.bound[worst], (2, 1)))
            attained = self.horizon.trajectories(parts.points.reshape(-1, parts.points.shape[-1]))
            inner = np.maximum(inner, np.einsum("pts,ds->ptd", attained, self.directions).max(axis=0).reshape(-1))
            cells = join([take(cells, np.setdiff1d(np.arange(len(cells)), worst)), parts])

    def _windowed(self, inner: np.ndarray) -> ReachSets:
        """Each step from the boxes of the cells some steps before."""
        window, states = min(self.settings.window or 1, self.steps), self.horizon.states
        count = len(self.directions)
        unit = np.concatenate([np.eye(states), -np.eye(states)])
        rows = np.concatenate([self.directions, unit])
        boxes = [self.initial.grid(self.settings.grid)]
        found, ended = [], Ended.COMPLETE
        for step in range(1, self.steps + 1):
            depth = min(window, step)
            graph = rollout(self.system, depth)
            last = np.kron(np.eye(depth)[-1:], rows)
            inputs = graph.inputs(boxes[step - depth])
            none = np.zeros(len(rows))
            bound = np.full((1, len(rows)), np.inf)
            try:
                bound = self._bounder(graph, last, self.settings).cells(inputs, none, none + 1.0).bound
            except Stopped:
                ended = self.run.ended() or Ended.STOPPED
            if not np.isfinite(bound).all():
                ended = Ended.TOO_LOOSE if ended is Ended.COMPLETE else ended
                break
            self.run.say(f"step {step} of {self.steps}")
            found.append(bound[:, :count])
            boxes.append(Box.of(-bound[:, count + states :], bound[:, count : count + states]))
        missing = [np.full((boxes[0].count, count), np.inf)] * (self.steps - len(found))
        return self._sets(boxes[0], np.concatenate([*found, *missing], axis=1), inner, ended)

    def _sets(self, inputs: Box, bound: np.ndarray, inner: np.ndarray, ended: Ended) -> ReachSets:
        states, count = self.horizon.states, len(self.directions)
        start = inputs.at((slice(None), slice(states))).support(self.directions)
        cells = np.concatenate([start[:, None], bound.reshape(len(bound), self.steps, count)], axis=1)
        first = (self.first @ self.directions.T).max(axis=0)
        samples = np.concatenate([self.first[:, None], self.samples], axis=1)
        return ReachSets(
            self.directions,
            cells.max(axis=0),
            np.concatenate([first[None], inner.reshape(self.steps, count)]),
            *inputs.range,
            cells,
            samples,
            time.monotonic() - self.began,
            ended,
        )
