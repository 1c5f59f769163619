"""Sets and verdicts of systems in continuous time: cells are halved until they do what is asked of them."""

import time
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.complete.tables import join, take
from admm_verify.reach.continuous.checks import holds, violates
from admm_verify.reach.continuous.simulation import trajectories
from admm_verify.reach.continuous.tube import Tube, reach
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.sets import ReachSets, most
from admm_verify.reach.settings import ReachSettings
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.run import Ended, Run
from admm_verify.sets.box import Box
from admm_verify.verdict import Answer


@dataclass(frozen=True, eq=False)
class _Parts:
    """Cells with what their tubes say: support at control times and during periods, and which requirements hold.

    Shapes: inputs [cells, n]; bound [cells, steps + 1, d]; during [cells, steps, d]; good [cells, requirements].
    """

    inputs: Box
    bound: np.ndarray
    during: np.ndarray
    good: np.ndarray


class ContinuousReach:
    """The tube of one task, and its requirements."""

    def __init__(self, task: Task, directions: np.ndarray, settings: ReachSettings, run: Run) -> None:
        """Shapes: directions [d, n]."""
        assert isinstance(task.system, ContinuousSystem), "Discrete time has a room of its own"
        self.task, self.system, self.directions, self.settings, self.run = task, task.system, directions, settings, run
        self.began = time.monotonic()
        count = settings.trajectories(task.steps, task.system.states)
        first = task.box.inside.scattered(count, np.random.default_rng(0))
        self.samples = trajectories(self.system, first, task.steps, run=run)
        values = np.einsum("pts,ds->ptd", self.samples, directions)
        self.inner = most(values)
        width = self.inner + most(-values)
        known = np.isfinite(width)
        self.scale = np.where(known, np.maximum(width, 1e-9 * (1.0 + np.abs(self.inner))), 1.0)
        self.broken: dict[int, np.ndarray] = {}

    def reached(self) -> tuple[ReachSets, list[Judgement]]:
        """Sets and verdicts, as far as possible."""
        self._falsify(self.samples)
        parts = self._bounded(self.task.initial.grid(self.settings.grid))
        ended = self.run.ended() or Ended.COMPLETE
        while ended is Ended.COMPLETE:
            open = self._open(parts)
            self.run.say(f"{parts.inputs.count} cells, {len(open)} open")
            if not len(open):
                break
            if parts.inputs.count >= self.settings.cells:
                ended = Ended.CELL_LIMIT
                break
            chosen = open[: min(self.settings.batch, self.settings.cells - parts.inputs.count)]
            fresh = self._bounded(self._halved(parts.inputs.at(chosen)))
            ended = self.run.ended() or Ended.COMPLETE
            if ended is Ended.COMPLETE:
                known = take(parts, np.tile(chosen, 2))
                fresh = replace(
                    fresh,
                    bound=np.minimum(fresh.bound, known.bound),
                    during=np.minimum(fresh.during, known.during),
                    good=fresh.good | known.good,
                )
                parts = join([take(parts, np.setdiff1d(np.arange(parts.inputs.count), chosen)), fresh])
        return self._sets(parts, ended), self._judgements(parts, ended)

    def _bounded(self, inputs: Box) -> _Parts:
        tube, steps = self._tube(inputs), self.task.steps
        bound = np.stack([tube.support(t, self.directions) for t in range(steps + 1)], axis=1)
        during = np.stack([tube.support_during(t, self.directions) for t in range(steps)], axis=1)
        good = [holds(requirement, tube, steps) for requirement in self.task.requirements]
        return _Parts(inputs, bound, during, np.array(good, dtype=bool).reshape(-1, inputs.count).T)

    def _tube(self, inputs: Box) -> Tube:
        return reach(self.system, inputs, self.task.steps, run=self.run)

    def _open(self, parts: _Parts) -> np.ndarray:
        """The cells that are worth halving, the worst first."""
        wanted = [i for i in range(len(self.task.requirements)) if i not in self.broken]
        # Smaller cells keep their sets longer.
        undecided = ~parts.good[:, wanted].all(axis=1) | ~np.isfinite(parts.bound).all(axis=(1, 2))
        with quiet_overflow():
            gap = np.nan_to_num((parts.bound - self.inner) / self.scale, nan=np.inf)[:, 1:].max(axis=(1, 2))
        tolerance = self.settings.tolerance
        if tolerance is not None:
            undecided |= gap > tolerance
        undecided &= parts.inputs.halvable.any(axis=1)
        found = np.flatnonzero(undecided)
        return found[np.argsort(-gap[found])]

    def _halved(self, inputs: Box) -> Box:
        """Every cell halved at the side that moves its simulated trajectories most."""
        (count, states), cells = inputs.shape, inputs.at((slice(None), None, None))
        ends = cells.project(cells.centre + np.stack([np.eye(states), -np.eye(states)]) * (0.5 * cells.width))
        paths = trajectories(self.system, np.reshape(ends, (-1, states)), self.task.steps)
        paths = paths.reshape(count, 2, states, -1, states)
        every = self.samples.reshape(-1, states)
        unit = np.nan_to_num(most(every) + most(-every), nan=1.0, posinf=1.0) + 1e-300
        with quiet_overflow():
            moved = np.nan_to_num(np.abs(paths[:, 0] - paths[:, 1]) / unit, nan=1e300).max(axis=(2, 3))
        self._falsify(paths.reshape(-1, *paths.shape[-2:]))
        return inputs.halved(np.where(inputs.halvable, moved, -1.0).argmax(axis=1))

    def _falsify(self, paths: np.ndarray) -> None:
        """Look for violations among simulated trajectories [points, steps + 1, n], and certify the clearest."""
        for i, requirement in enumerate(self.task.requirements):
            if i in self.broken:
                continue
            with quiet_overflow():
                # Where the simulation overflows, nothing is known of the rest.
                room = np.nan_to_num(requirement.room(paths), nan=np.inf)
            worst = int(np.argmin(room))
            if room[worst] >= 0:
                continue
            start = self.task.box.around(paths[worst, 0]).at(None)
            if violates(requirement, self._tube(start), self.task.steps)[0]:
                self.broken[i] = trajectories(self.system, start.range[0], self.task.steps)[0]

    def _sets(self, parts: _Parts, ended: Ended) -> ReachSets:
        if ended is Ended.COMPLETE and not np.isfinite(parts.bound).all():
            ended = Ended.TOO_LOOSE
        return ReachSets(
            self.directions,
            parts.bound.max(axis=0),
            self.inner,
            *parts.inputs.range,
            parts.bound,
            self.samples,
            time.monotonic() - self.began,
            ended,
            float(self.system.period),
            parts.during.max(axis=0),
        )

    def _judgements(self, parts: _Parts, ended: Ended) -> list[Judgement]:
        found = []
        for i, requirement in enumerate(self.task.requirements):
            outcome = Answer.TIMED_OUT if ended is Ended.TIMED_OUT else Answer.UNKNOWN
            if i in self.broken:
                outcome = Answer.FALSIFIED
            elif parts.good[:, i].all():
                outcome = Answer.VERIFIED
            seconds = time.monotonic() - self.began
            found.append(Judgement(requirement, outcome, seconds, parts.inputs.count, self.broken.get(i)))
        return found
