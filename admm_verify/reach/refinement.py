"""Cells of what trajectories begin with, halved until the sets from each do what is asked of them."""

import time
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.complete.tables import join, take
from admm_verify.reach.checks import holds, violates
from admm_verify.reach.dynamics import Dynamics, Trajectories
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.probes import Probes, behind, room
from admm_verify.reach.sets import most
from admm_verify.reach.settings import ReachSettings
from admm_verify.reach.systems import Task
from admm_verify.run import Ended, Run
from admm_verify.sets.box import Box
from admm_verify.verdict import Answer

_SECONDS = 0.5
"""Between two questions whether the time is up."""

_WHY = {
    Ended.TIMED_OUT: "The time was up.",
    Ended.STOPPED: "The run was stopped.",
    Ended.CELL_LIMIT: "The limit of cells was reached.",
    Ended.COMPLETE: "Cells cannot be halved any further.",
}

_CLEAREST = 8
"""Simulated violations that are looked at closer."""

_LOOKING = 0.2
"""Share of the time left for violations and reasons, before cells are halved."""

_LOOKS = (2, 5, 10, 20)
"""Rounds of halving after which there is a look where none has come to an end yet."""

_MOVED = 0.1
"""Weight of how far sides move trajectories beside what they do to the sets' error."""

_FAR = 0.5
"""Of the distance between the median and the least, how far the worst trajectory is from a violation."""

_HUNTS, _HUNTED, _AROUND = 4, 8, 16
"""Rounds of a hunt for violations, the worst trajectories that it goes on from, and points around each."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Cells with what their sets say: support at steps and during periods, and which requirements hold.

    Shapes: inputs [cells, inputs]; bound [cells, steps + 1, d]; during [cells, steps, d], None in discrete time; good
    [cells, requirements].
    """

    inputs: Box
    bound: np.ndarray
    during: np.ndarray | None
    good: np.ndarray

    def __len__(self) -> int:
        return len(self.bound)

    def besides(self, known: "Parts") -> "Parts":
        """The same cells with what is known already of sets that hold them."""
        during = self.during
        if during is not None and known.during is not None:
            during = np.minimum(during, known.during)
        return replace(self, bound=np.minimum(self.bound, known.bound), during=during, good=self.good | known.good)


class CellRefinement:
    """Halves cells of one system for its requirements, and where asked to for the width of its sets.

    broken: trajectories that violate a requirement for certain. hopeless: why no cell can show a requirement. ending:
    why there are no sets from all cells up to the end, where that is known.
    """

    def __init__(self, task: Task, dynamics: Dynamics, directions: np.ndarray, settings: ReachSettings, run: Run):
        """Simulates. Shapes: directions [d, n]."""
        self.task, self.dynamics, self.directions, self.settings, self.run = task, dynamics, directions, settings, run
        self.starts = dynamics.starts
        self.began = time.monotonic()
        self.known = dynamics.sampled(settings.trajectories(task.steps, task.system.states), run)
        values = np.einsum("pts,ds->ptd", self.known.paths, directions)
        self.inner, width = most(values), most(values) + most(-values)
        self.scale = np.where(np.isfinite(width), np.maximum(width, 1e-9 * (1.0 + np.abs(self.inner))), 1.0)
        self.broken: dict[int, np.ndarray] = {}
        reasons = {i: behind(requirement, task.steps) for i, requirement in enumerate(task.requirements)}
        self.hopeless = {i: reason for i, reason in reasons.items() if reason}
        self.ending, self._looked, self._rate = "", False, 1e-6
        self._falsify(self.known)

    def start(self, cells: Box, run: Run) -> None:
        """Sets from the whole box, then from cells of it; where time does not reach, those of the whole box count."""
        self.parts = self._bounded(self.starts.box.at(None), run)
        whole, found = np.zeros(cells.count, dtype=int), []
        if cells.count > 1:
            known, first = replace(take(self.parts, whole), inputs=cells), 0
            while first < cells.count and not run.over():
                some = np.arange(first, min(first + self._batch, cells.count))
                found.append(self._bounded(cells.at(some), run).besides(take(known, some)))
                first += len(some)
            self.parts = join([*found, take(known, np.arange(first, cells.count))])

    def refine(self, cells: int, run: Run, tolerance: float | None = None) -> Ended:
        """Halve cells until nothing is open, there are so many of them, or a run is over.

        Open are cells for which a requirement is undecided, and those whose bounds exceed what is attained by more
        than the tolerance, a share of the sampled width.
        """
        turn = 0
        if not self._looked and self._unknown() and not run.over():
            self._look(run)
        while True:
            ended, open = run.ended(), self._open(tolerance, width_first=turn % 2 > 0)
            self.run.say(f"{len(self.parts)} cells, {len(open)} open")
            if ended is not None or not len(open):
                return ended or Ended.COMPLETE
            if len(self.parts) >= cells:
                return Ended.CELL_LIMIT
            # Sets that end too early are often mended by one cut. A look that took too long is worth another one.
            if not self._looked and turn in _LOOKS:
                self._look(run)
                turn += 1
                continue
            chosen = open[: min(self._batch, cells - len(self.parts))]
            halves, known = self._halved(self.parts.inputs.at(chosen)), take(self.parts, np.tile(chosen, 2))
            kept = self.starts.met(halves)
            fresh = self._bounded(halves.at(kept), run).besides(take(known, kept))
            self.parts = join([take(self.parts, np.setdiff1d(np.arange(len(self.parts)), chosen)), fresh])
            turn += 1

    def judgement(self, i: int, ended: Ended) -> Judgement:
        """What is known of a requirement once the work has ended."""
        outcome, reason, open = Answer.UNKNOWN, "", int(np.count_nonzero(~self.parts.good[:, i]))
        if i in self.broken:
            outcome = Answer.FALSIFIED
        elif not open:
            outcome = Answer.VERIFIED
        elif i in self.hopeless:
            reason = self.hopeless[i]
        else:
            outcome = Answer.TIMED_OUT if ended is Ended.TIMED_OUT else outcome
            reason = f"{_WHY[ended]} {open} of {len(self.parts)} cells are undecided."
        seconds, requirement = time.monotonic() - self.began, self.task.requirements[i]
        return Judgement(requirement, outcome, seconds, len(self.parts), self.broken.get(i), reason=reason)

    def undecided(self) -> list[int]:
        """The numbers of the requirements that more cells could decide."""
        return [i for i in self._unknown() if i not in self.hopeless]

    @property
    def open_share(self) -> float:
        """The part of the box, by volume, where more cells could decide a requirement."""
        own, whole = np.asarray(self.parts.inputs.width), np.asarray(self.starts.box.width)
        share = np.prod(own / np.where(whole > 0, whole, 1.0), axis=1, where=np.broadcast_to(whole > 0, own.shape))
        return float(share[~self.parts.good[:, self.undecided()].all(axis=1)].sum())

    def _unknown(self) -> list[int]:
        return [int(i) for i in np.flatnonzero(~self.parts.good.all(axis=0)) if i not in self.broken]

    def _look(self, run: Run) -> None:
        """Look for violations, and for what no cell can show, in part of the time that is left."""
        run = run.within(_LOOKING)
        for i in self._unknown():
            self._hunt(i, run)
        probes = Probes.of(self.task, self.dynamics, self.known, run)
        if probes is not None:
            self._looked = True
            self.ending = probes.ending
            reasons = {i: probes.reason(i) for i in self.undecided()}
            self.hopeless |= {i: reason for i, reason in reasons.items() if reason}

    def _bounded(self, inputs: Box, run: Run) -> Parts:
        began, steps = time.monotonic(), self.task.steps
        sets = self.dynamics.sets(inputs, run)
        self._rate = 1e-6 + (time.monotonic() - began) / inputs.count
        bound = np.stack([sets.support(t, self.directions) for t in range(steps + 1)], axis=1)
        good = [holds(requirement, sets, steps) for requirement in self.task.requirements]
        during = sets.during(steps, self.directions)
        return Parts(inputs, bound, during, np.array(good, dtype=bool).reshape(-1, inputs.count).T)

    def _open(self, tolerance: float | None, width_first: bool) -> np.ndarray:
        """The cells that are worth halving, for requirements and for the width of sets, the worst of each first."""
        parts = self.parts
        with quiet_overflow():
            gap = np.nan_to_num((parts.bound - self.inner) / self.scale, nan=np.inf)[:, 1:].max(axis=(1, 2))
        # Smaller cells keep their sets longer.
        short = ~np.isfinite(parts.bound).all(axis=(1, 2))
        wanted = ~parts.good[:, self.undecided()].all(axis=1) | (short & (not self.ending))
        wide = np.zeros_like(wanted) if tolerance is None else (gap > tolerance) & ~(short & bool(self.ending))
        halvable = parts.inputs.halvable[:, : self.starts.sides].any(axis=1)
        both = [np.flatnonzero(halvable & one) for one in (wanted, wide & ~wanted)]
        return np.concatenate([one[np.argsort(-gap[one])] for one in (both[::-1] if width_first else both)])

    def _halved(self, inputs: Box) -> Box:
        """Every cell halved at the side that loosens its sets most, or else moves its simulated trajectories most."""
        (count, size), cells, sides = inputs.shape, inputs.at((slice(None), None, None)), self.starts.sides
        unit = np.eye(size)[:sides]
        ends = cells.project(cells.centre + np.stack([-unit, unit]) * (0.5 * cells.width))
        tried = self.dynamics.simulated(np.reshape(ends, (-1, size)), self.run)
        states = tried.paths.shape[-1]
        paths = tried.paths.reshape(count, 2, sides, -1, states)
        every = self.known.paths.reshape(-1, states)
        unit = np.nan_to_num(most(every) + most(-every), nan=1.0, posinf=1.0) + 1e-300
        with quiet_overflow():
            moved = np.nan_to_num(np.abs(paths[:, 0] - paths[:, 1]) / unit, nan=1e300).max(axis=(2, 3))
            score = _shares(self.dynamics.opened(inputs, tried)) + _MOVED * _shares(moved)
        self._falsify(tried)
        return inputs.halved(np.where(inputs.halvable[:, :sides], score, -1.0).argmax(axis=1))

    def _hunt(self, i: int, run: Run) -> None:
        """Look for a violation of a requirement around the trajectories that come nearest to one."""
        requirement, tried, rng = self.task.requirements[i], self.known, np.random.default_rng(1)
        width, left = self.starts.width, room(requirement, tried.paths)
        # Far from any violation, beside what trajectories differ by, there is none to be found nearby.
        if left.min() > _FAR * (np.median(left) - left.min()):
            return
        for turn in range(_HUNTS):
            if run.over() or i in self.broken:
                return
            worst = np.argsort(room(requirement, tried.paths))[:_HUNTED]
            moves = rng.standard_normal((_HUNTED, _AROUND, len(width))) * (width * 0.5 ** (turn + 2))
            near = (tried.points[worst][:, None] + moves[: len(worst)]).reshape(-1, len(width))
            found = self.dynamics.simulated(self.starts.near(near), run)
            self._falsify(found)
            tried = join([take(tried, worst), found])
        best = np.argsort(room(requirement, tried.paths))[:1]
        self.known = join([take(tried, best), self.known])

    def _falsify(self, tried: Trajectories) -> None:
        """Look for violations among simulated trajectories, and certify the clearest."""
        for i, requirement in enumerate(self.task.requirements):
            left = room(requirement, tried.paths)
            if i in self.broken or not (left < 0).any():
                continue
            _, own = np.unique(tried.points, axis=0, return_index=True)
            worst = own[np.argsort(left[own], kind="stable")][:_CLEAREST]
            worst = worst[left[worst] < 0]
            # One is mostly enough, and takes a fraction of the time.
            for some in (worst[:1], worst[1:]):
                if i not in self.broken and len(some):
                    self._certify(i, tried.points[some])

    def _certify(self, i: int, points: np.ndarray) -> None:
        """Whether the trajectory from one of some points violates a requirement for certain."""
        plain = self.dynamics.plain
        starts = plain.starts.around(self.dynamics.certain(points))
        if not starts.count:
            return
        sure = violates(self.task.requirements[i], plain.sets(starts, self.run), self.task.steps)
        for point in starts.at(np.flatnonzero(sure)[:1]).range[0]:
            self.broken[i] = plain.simulated(point[None], self.run.endless()).paths[0]

    @property
    def _batch(self) -> int:
        """How many cells are taken at once: large batches are the fastest ones, but have to end in time."""
        if self.run.deadline is None:
            return self.settings.batch
        allowed = min(self.run.left / 2, _SECONDS * self.task.steps)
        return int(min(self.settings.batch, max(1.0, allowed / self._rate)))


def _shares(score: np.ndarray) -> np.ndarray:
    """Every cell's numbers over their sum, [cells, sides]."""
    total = score.sum(axis=1, keepdims=True)
    return score / np.where(total > 0, total, 1.0)
