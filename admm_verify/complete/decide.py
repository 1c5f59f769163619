"""From a query to what is known about it: the root's bounds, attacks, then the search."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.complete.candidates import Candidates, Witness
from admm_verify.complete.goals import Goals
from admm_verify.complete.input_split import Boxes, InputSplitter
from admm_verify.complete.neuron_split import Branches, NeuronSplitter
from admm_verify.complete.root import Root
from admm_verify.complete.search import Progress, Search
from admm_verify.properties.query import Query
from admm_verify.properties.rows import atom_rows
from admm_verify.settings import SearchSettings, SolverSettings
from admm_verify.splitting.loop import Clock
from admm_verify.splitting.placement import iteration_placement
from admm_verify.splitting.solution import Status
from admm_verify.splitting.solve import solve

_ATTACKS = (0.3, 3.0, 12.0, 48.0)
"""Seconds of search after which thorough attacks take a turn: most queries are decided before the first."""


@dataclass(frozen=True)
class Options:
    """How a query is to be decided: the front door's options."""

    method: str
    tolerance: float
    device: str | None
    arithmetic: str
    memory: float | None
    max_subproblems: int | None


class Decision:
    """What is known of a query, which only grows; `run` stops once it is decided or the clock says so."""

    def __init__(
        self,
        query: Query,
        options: Options,
        clock: Clock,
        progress: Callable[[str], None] | None,
        settings: SearchSettings | None = None,
    ) -> None:
        self.query, self.options, self.clock = query, options, clock
        self.settings = SearchSettings() if settings is None else settings
        self.rows = atom_rows(query.property)
        self.tell = progress or (lambda text: None)
        self.root = Root(query, self.rows, options.arithmetic, clock, options.memory, self._layers)
        self.candidates = Candidates(query, self.rows, self.over, options.memory)
        self.witness: Witness | None = None
        self.search: Search[Boxes] | Search[Branches] | None = None

    def over(self) -> bool:
        """Whether time is up or somebody said stop."""
        return self.clock.interruption() is not None

    @property
    def interruption(self) -> Status | None:
        """Why the run ended before an answer, if it did."""
        return self.clock.interruption()

    @property
    def open(self) -> int:
        """Disjuncts that are not excluded."""
        if self.search is None or self.search.pool is None:
            return len(self.root.open)
        atomless = sum(1 for i in self.root.open if not self.rows.disjuncts[i])
        return len(np.unique(self.search.remaining_goals())) + atomless

    @property
    def lower(self) -> float:
        """The proven bound of the best atom on the worst part that is left, infinite where none is."""
        if self.search is not None and self.search.pool is not None:
            return self.search.state.lower
        best = [max((self.root.lower[row] for row in self.rows.disjuncts[i]), default=-np.inf) for i in self.root.open]
        return float(min(best, default=np.inf))

    @property
    def subproblems(self) -> int:
        """Parts of the disjuncts bounded in the search."""
        return 0 if self.search is None else self.search.bounded

    def run(self) -> None:
        """Decide the query, as far as possible."""
        self.witness = self.candidates.boxes_alone()
        for stage in (self._crown, self._quick_attack, self._ascent, self._tightened, self._search):
            if self.witness is not None or not self.root.open_rows().size or self.over():
                return
            stage()

    def _crown(self) -> None:
        self._solve(0)

    def _quick_attack(self) -> None:
        self.tell("attack")
        self.witness = self.candidates.quick(self.root.open)

    def _ascent(self) -> None:
        if not self._narrow:
            self._solve(50)

    def _tightened(self) -> None:
        if not self._narrow:
            self.root.tighten(self.root.open_rows())
            self._solve(50)

    @property
    def _narrow(self) -> bool:
        """Whether boxes have so few sides that splitting them at once beats better bounds of the whole."""
        widths = self.rows.boxes_upper > self.rows.boxes_lower
        return bool(widths.sum(axis=1).max() <= self.settings.input_sides) and self.options.max_subproblems != 0

    def _solve(self, passes: int) -> None:
        rows, options = self.root.open_rows(), self.options
        left = None if self.clock.deadline is None else max(0.0, self.clock.deadline - time.monotonic())
        self.tell(f"{len(self.root.open)} of {len(self.rows.disjuncts)} disjuncts open, {len(rows)} rows")
        solution = solve(
            self.root.problem(rows),
            options.method,
            options.tolerance,
            passes,
            left,
            options.device,
            settings=SolverSettings(memory=options.memory),
            stop=self.clock.stop,
        )
        self.root.record(rows, solution)
        if self.root.open:
            self.witness = self.candidates.primal(self.root, rows, solution.primal)

    def _search(self) -> None:
        limit = self.options.max_subproblems
        if limit == 0:
            return
        goals = self.root.goals()
        search = self._made(goals)
        self.search = search
        spent, last = 0.0, (*_ATTACKS, np.inf)

        for seed, turn in enumerate(last):
            began = time.monotonic()

            def paused(end: float = began + turn - spent) -> bool:
                return time.monotonic() >= end or (limit is not None and search.bounded >= limit)

            search.run(paused)
            spent += time.monotonic() - began
            self.witness = search.witness
            ended = search.done or self.witness is not None or self.over()
            if ended or (limit is not None and search.bounded >= limit):
                return
            self.tell("attack")
            open_disjuncts = goals.disjunct[np.unique(search.remaining_goals())]
            self.witness = self.candidates.thorough([int(i) for i in open_disjuncts], seed)
            if self.witness is not None:
                return

    def _made(self, goals: Goals) -> Search[Boxes] | Search[Branches]:
        network, memory = self.query.network, self.options.memory
        home = iteration_placement(Placement.numpy(), self.options.device, "float64")

        def try_points(points: np.ndarray, goal: np.ndarray) -> Witness | None:
            return self.candidates.points(goals, points, goal)

        if self._narrow:
            halving = InputSplitter(network, goals, home, self.settings, self.over, memory)
            return Search(halving, self.settings, try_points, self.over, self._state)
        rows = self.rows
        box = rows.box[goals.row[:, 0]]
        used, own = np.unique(box, return_inverse=True)
        ends = own.reshape(-1), rows.boxes_lower[used], rows.boxes_upper[used]
        fixing = NeuronSplitter(network, goals, ends, self.root.bounds_of(used), home, self.settings, self.over, memory)
        return Search(fixing, self.settings, try_points, self.over, self._state)

    def _state(self, state: Progress) -> None:
        self.tell(f"{state.bounded} subproblems, {state.open} open, worst bound {state.lower:.6g}")

    def _layers(self, done: int, activations: int) -> None:
        self.tell(f"pre-activation bounds of {done} of {activations} layers")
