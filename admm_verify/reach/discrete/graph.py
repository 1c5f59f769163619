"""Bounds of all steps of a system in discrete time by one graph, and cells where that is not tight enough."""

import time
from dataclasses import replace
from functools import cached_property

import numpy as np

from admm_verify.bounds.work import crown_work
from admm_verify.complete.tables import join, take
from admm_verify.errors import InputError
from admm_verify.reach.discrete.cells import CellBounder, Cells
from admm_verify.reach.discrete.effort import tightened
from admm_verify.reach.discrete.rollout import Rollout, rollout
from admm_verify.reach.settings import ReachSettings
from admm_verify.reach.starts import StartSet
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.box import Box

_MOST_ROWS = 2**24
"""Numbers of the matrix of all directions at all steps."""

_PAYS = 0.25
"""Share of the sampled width that CROWN must gain on cells for more effort to pay."""

_QUICK = 1e7
"""Multiplications of CROWN on a graph that is tightened whatever cells have shown."""


def check_length(task: Task, directions: np.ndarray, settings: ReachSettings) -> None:
    """Raise InputError where a horizon is too long for one graph."""
    if task.steps**2 * directions.size > _MOST_ROWS and settings.window is None:
        most = int((_MOST_ROWS / directions.size) ** 0.5)
        raise InputError(
            f"A horizon of {task.steps} steps with {len(directions)} directions is too long for one graph; give at "
            f"most {most} steps, or fewer directions."
        )


class GraphBounds:
    """Upper bounds of every direction after every step, [cells, steps d].

    inner: what trajectories attain, which halving finds more of. scale: the units of gaps.
    """

    def __init__(
        self,
        task: Task,
        starts: StartSet,
        directions: np.ndarray,
        settings: ReachSettings,
        inner: np.ndarray,
        scale: np.ndarray,
    ) -> None:
        """Shapes: directions [d, n]; inner, scale [steps, d]."""
        assert not isinstance(task.system, ContinuousSystem), "Continuous time has a room of its own"
        self.task, self.system, self.directions, self.settings = task, task.system, directions, settings
        self.starts, self.inner, self.scale = starts, inner.reshape(-1), scale.reshape(-1)
        began = time.monotonic()
        self.once = rollout(task.system, 1)
        # To make the graph, to bring it into both precisions, and until somebody asks for the first time.
        self._seconds = 3.0 * task.steps * (time.monotonic() - began)

    @cached_property
    def horizon(self) -> Rollout:
        """The graph of all steps."""
        return rollout(self.system, self.task.steps, self.starts.first)

    def fits(self, run: Run) -> bool:
        """Whether there is time to begin with the graph."""
        return not run.over() and self._seconds < run.left

    @cached_property
    def rows(self) -> np.ndarray:
        """All directions at all steps."""
        return self.horizon.rows(self.directions)

    def cells(self, known: np.ndarray | None, run: Run) -> tuple[Cells, Ended]:
        """Bounds over the grid, none of them above known ones, which come of smaller cells.

        Where time may end, the whole box comes first, whose bounds stand for those of cells that are not reached.
        Raises: Stopped, where there are none.
        """
        if not self.fits(run):
            raise Stopped
        inputs, ended = self.starts.grid(self.settings.grid), Ended.COMPLETE
        if known is not None and crown_work(self.horizon.network) > _QUICK:
            # Tightening the whole box takes long, and rarely gets ahead of small cells where CROWN does not.
            plain = self._bounded(inputs, replace(self.settings, method="crown", iterations=0), run)
            if (plain.bound.max(axis=0) > known - _PAYS * self.scale).all():
                return plain.at_most(known), ended
        if inputs.count == 1 or run.deadline is None:
            return self._tightened(inputs, known, run), ended
        whole, found, first = self._tightened(self.starts.box.at(None), known, run), [], 0
        while first < inputs.count and ended is Ended.COMPLETE:
            try:
                found.append(self._bounded(inputs.at(slice(first, first + self.settings.batch)), self.settings, run))
            except Stopped:
                ended = run.ended() or Ended.STOPPED
            first = sum(map(len, found))
        rest = inputs.at(slice(first, None))
        spread = replace(take(whole, np.zeros(rest.count, dtype=int)), inputs=rest)
        return join([*found, spread]).at_most(whole.bound[0]), ended

    def refined(self, cells: Cells, run: Run) -> tuple[Cells, Ended]:
        """Halve cells where some bound exceeds what is attained by more than the tolerance, the worst first."""
        settings, tolerance = self.settings, self.settings.tolerance
        assert tolerance is not None, "There is something to reach"
        while True:
            ended, gap = run.ended(), ((cells.bound - self.inner) / self.scale).max(axis=1)
            run.say(f"{len(cells)} cells, largest gap {gap.max():.3g} of the sampled width")
            wanted = np.flatnonzero((gap > tolerance) & (cells.side >= 0))
            if not len(wanted):
                return cells, Ended.COMPLETE
            if ended is not None or len(cells) >= settings.cells:
                return cells, ended or Ended.CELL_LIMIT
            worst = wanted[np.argsort(-gap[wanted])][: min(settings.batch, settings.cells - len(cells))]
            try:
                halves = cells.inputs.at(worst).halved(cells.side[worst])
                met = self.starts.met(halves)
                parts = self._bounded(halves.at(met), settings.of_cells, run)
            except Stopped:
                continue
            parts = parts.at_most(np.tile(cells.bound[worst], (2, 1))[met])
            attained = self.horizon.trajectories(self.starts.within(parts.points.reshape(-1, parts.points.shape[-1])))
            values = np.einsum("pts,ds->ptd", attained, self.directions).max(axis=0)
            self.inner = np.maximum(self.inner, values.reshape(-1))
            cells = join([take(cells, np.setdiff1d(np.arange(len(cells)), worst)), parts])

    def windowed(self, run: Run) -> tuple[Box, np.ndarray, Ended]:
        """Each step from the boxes of the grid's cells some steps before: cells, bounds, how it ended."""
        window, count = min(self.settings.window or 1, self.task.steps), len(self.directions)
        rows, starts, own = self._with_sides, self.starts, slice(self.starts.first.numbers)
        boxes, found, ended = [starts.grid(self.settings.grid).at((slice(None), own))], [], Ended.COMPLETE
        for step in range(1, self.task.steps + 1):
            depth, chart = min(window, step), starts.first if step <= window else None
            graph = rollout(self.system, depth, chart)
            part = None if chart is None else starts.with_noise(graph.noise).part
            bounder = CellBounder(graph.network, np.kron(np.eye(depth)[-1:], rows), self.settings, run.silent(), part)
            bound = np.full((1, len(rows)), np.inf)
            try:
                bound = bounder.cells(graph.inputs(boxes[step - depth]), *_plain(rows)).bound
            except Stopped:
                ended = run.ended() or Ended.STOPPED
            if not np.isfinite(bound).all():
                ended = Ended.TOO_LOOSE if ended is Ended.COMPLETE else ended
                break
            run.say(f"step {step} of {self.task.steps}")
            found.append(bound[:, :count])
            boxes.append(self._boxes(bound))
        missing = [np.full((boxes[0].count, count), np.inf)] * (self.task.steps - len(found))
        return boxes[0], np.concatenate([*found, *missing], axis=1), ended

    def hurried(self, run: Run) -> np.ndarray:
        """Intervals over the whole box, step after step until a run is over: loose, but they take no time."""
        rows, count = self._with_sides, len(self.directions)
        quick = replace(self.settings, method="interval", iterations=0)
        bounder = CellBounder(self.once.network, rows, quick, run.endless())
        box, bound = Box.of(*self.task.initial.range).at(None), np.full((self.task.steps, count), np.inf)
        for step in range(self.task.steps):
            found = bounder.cells(self.once.inputs(box), *_plain(rows)).bound
            bound[step] = found[0, :count]
            if run.over() or not np.isfinite(found).all():
                break
            box = self._boxes(found)
        return bound.reshape(-1)

    @property
    def _with_sides(self) -> np.ndarray:
        unit = np.eye(self.system.states)
        return np.concatenate([self.directions, unit, -unit])

    def _boxes(self, bound: np.ndarray) -> Box:
        """The boxes of bounds of these rows."""
        count, states = len(self.directions), self.system.states
        return Box.of(-bound[:, count + states :], bound[:, count : count + states])

    def _tightened(self, inputs: Box, known: np.ndarray | None, run: Run) -> Cells:
        def bound(how: ReachSettings) -> tuple[Cells, float]:
            found = self._bounded(inputs, how, run)
            found = found if known is None else found.at_most(known)
            return found, float(((found.bound - self.inner) / self.scale).max())

        return tightened(bound, self.settings, run)

    def _bounded(self, inputs: Box, settings: ReachSettings, run: Run) -> Cells:
        bounder = CellBounder(self.horizon.network, self.rows, settings, run.silent(), self.starts.part)
        return bounder.cells(inputs, self.inner, self.scale)


def _plain(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What rows attain and the units of their gaps, where nothing is halved."""
    return np.zeros(len(rows)), np.ones(len(rows))
