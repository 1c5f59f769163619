"""Sets and verdicts of systems in discrete time: cells from step to step, then one graph over the horizon."""

import time
from dataclasses import replace
from functools import cached_property

import numpy as np

from admm_verify.enclosures.plants import Plant
from admm_verify.reach.checks import holds
from admm_verify.reach.discrete.dynamics import SteppedSystem
from admm_verify.reach.discrete.graph import GraphBounds, check_length
from admm_verify.reach.discrete.known import BoundedSets
from admm_verify.reach.discrete.rollout import rollout
from admm_verify.reach.discrete.verdicts import DiscreteJudge
from admm_verify.reach.discrete.written import writable
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.refinement import CellRefinement
from admm_verify.reach.sets import ReachSets
from admm_verify.reach.settings import ReachSettings
from admm_verify.reach.systems import NonlinearSystem, Task
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.box import Box
from admm_verify.verdict import Answer

_EXACT = 0.01
"""Share of the sampled width within which sets are as good as exact."""

_LOOSE, _LOOSE_CELLS = 1.0, 64
"""Share of the sampled width by which sets are too wide, and most cells that are made for tighter ones alone."""

_CELLS, _PROGRESS = 1024, 0.8
"""Made before the graph of the horizon is asked, which takes over where twice as many leave more of the box open."""

_DECIDED = Answer.VERIFIED, Answer.FALSIFIED

_GRACE = 0.25
"""Seconds after the end of the time for intervals where there is nothing better."""


_MOST_FUNCTIONS = 60
"""Nodes of a horizon's graph that are not affine, up to which it is made for a plant."""


def has_graph(task: Task, settings: ReachSettings) -> bool:
    """Whether cells leave something to a graph: of a plant, where it is short, and they are not halved for width."""
    system = task.system
    if not isinstance(system, NonlinearSystem):
        return True
    if settings.tolerance is not None or (isinstance(system.plant, Plant) and not writable(system.plant.rates)):
        return False
    return task.steps * len(rollout(system, 1).network.functions) <= _MOST_FUNCTIONS


class DiscreteReach:
    """The sets of one task, and its requirements.

    Cells get up to half of the time that is left; where requirements are open then, the graph gets up to half of the
    rest, and branch and bound what remains.
    """

    def __init__(self, task: Task, directions: np.ndarray, settings: ReachSettings, run: Run) -> None:
        """Shapes: directions [d, n]."""
        check_length(task, directions, settings)
        self.task, self.directions, self.settings, self.run = task, directions, settings, run
        self.began, self.dynamics = time.monotonic(), SteppedSystem(task)
        self.cells = CellRefinement(task, self.dynamics, directions, settings, run)
        self.graph = GraphBounds(
            task, self.dynamics.starts, directions, settings, self.cells.inner[1:], self.cells.scale[1:]
        )

    def reached(self) -> tuple[ReachSets, list[Judgement]]:
        """Sets and verdicts, as far as possible."""
        cells, limit = self.cells, self.settings.cells
        cells.start(self._grid, self.run if self._grid.count == 1 else self.run.within(0.25))
        early = self.run.within(0.5)
        cells.refine(min(limit, _LOOSE_CELLS), early, _LOOSE)
        self._refine(early)
        sets = self._sets(self.run.within(0.5 if cells.undecided() else 1.0))
        found = BoundedSets.of(self.directions, sets.cells_bound)
        for i, requirement in enumerate(self.task.requirements):
            if holds(requirement, found, self.task.steps).all():
                cells.parts.good[:, i] = True
        judge, answers = DiscreteJudge(self.dynamics, self.graph, self.run), {}
        # The graph holds states alone.
        open = [i for i in cells.undecided() if self._counts and self.task.requirements[i].of is None]
        for place, i in enumerate(open):
            share = self.run.within(1.0 / (len(open) - place))
            answers[i] = judge.judge(self.task.requirements[i], cells.known, share)
        ended = Ended.COMPLETE
        if any(i not in answers or answers[i].outcome not in _DECIDED for i in cells.undecided()):
            ended = cells.refine(limit, self.run)
        return sets, [self._judgement(i, answers.get(i), ended) for i in range(len(self.task.requirements))]

    def _refine(self, run: Run) -> None:
        """Halve cells for the requirements, twice as many each time, as long as ever less of the box is open."""
        cells, count, share = self.cells, _CELLS, 1.0
        while True:
            ended = cells.refine(min(self.settings.cells, count), run)
            left = cells.open_share
            if ended is not Ended.CELL_LIMIT or count >= self.settings.cells or left > _PROGRESS * share:
                return
            count, share = 2 * count, left

    def _judgement(self, i: int, answer: Judgement | None, ended: Ended) -> Judgement:
        """What cells show, where they do; else what the graph does."""
        found = self.cells.judgement(i, ended)
        if answer is None or found.outcome in _DECIDED or answer.outcome in _DECIDED:
            return found if answer is None or answer.outcome not in _DECIDED else answer
        seconds, parts = found.seconds + answer.seconds, found.parts + answer.parts
        return replace(found, seconds=seconds, parts=parts, reason=f"{found.reason} {answer.reason}")

    @property
    def _counts(self) -> bool:
        """Whether the graph says something of trajectories: it does not know where a plant is not defined.

        Where all cells have sets up to the end, it is.
        """
        system = self.task.system
        conditions = isinstance(system, NonlinearSystem) and isinstance(system.plant, Plant) and system.plant.conditions
        return not conditions or bool(np.isfinite(self.cells.parts.bound).all())

    @cached_property
    def _grid(self) -> Box:
        return self.dynamics.starts.grid(self.settings.grid)

    def _sets(self, run: Run) -> ReachSets:
        """What cells and the graph say together, over the finer ones."""
        parts, ended = self.cells.parts, Ended.COMPLETE
        inputs, tubes = parts.inputs, parts.bound[:, 1:].reshape(len(parts), -1)
        if self.settings.window is not None:
            states, bound, ended = self.graph.windowed(run)
            return self._of(states, bound, ended)
        known = tubes.max(axis=0)
        if not self._counts:
            return self._of(inputs, tubes, run.ended() or Ended.TOO_LOOSE)
        if (known - self.graph.inner <= _EXACT * self.graph.scale).all():
            return self._of(inputs, tubes, ended)
        try:
            found, ended = self.graph.cells(known if len(parts) > self._grid.count else None, run)
        except Stopped:
            if not np.isfinite(known).all():
                tubes = np.minimum(tubes, self.graph.hurried(Run.of(self.run.endless(), _GRACE)))
            return self._of(inputs, tubes, self.run.ended() or Ended.TIMED_OUT)
        found = found.at_most(known)
        if self.settings.tolerance is not None and ended is Ended.COMPLETE:
            found, ended = self.graph.refined(found, run)
        if len(found) < len(parts):
            return self._of(inputs, np.minimum(tubes, found.bound.max(axis=0)), ended)
        return self._of(found.inputs, found.bound, ended)

    def _of(self, inputs: Box, bound: np.ndarray, ended: Ended) -> ReachSets:
        count, known = len(self.directions), self.cells.known
        start = self.dynamics.starts.support(inputs, self.directions)
        cells = np.concatenate([start[:, None], bound.reshape(len(bound), self.task.steps, count)], axis=1)
        return ReachSets(
            self.directions,
            cells.max(axis=0),
            np.concatenate([self.cells.inner[:1], self.graph.inner.reshape(self.task.steps, count)]),
            *inputs.range,
            cells,
            known.paths,
            time.monotonic() - self.began,
            ended,
            ending=self.cells.ending,
        )
