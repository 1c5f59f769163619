"""The search: worst subproblems first, until none is left, a counterexample is found, or somebody says stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from admm_verify.complete.candidates import Witness
from admm_verify.complete.pool import Nodes, Pool, join, take
from admm_verify.complete.splitting import Grown, Splitter
from admm_verify.memory import Stopped
from admm_verify.settings import SearchSettings

Kind = TypeVar("Kind", bound=Nodes)
Candidates = Callable[[np.ndarray, np.ndarray], Witness | None]
"""candidates(points, goal): a confirmed counterexample among some inputs, or None."""


@dataclass(frozen=True)
class Progress:
    """Where a search stands: subproblems bounded so far and open, and the proven lower bound of the worst of them."""

    bounded: int
    open: int
    lower: float


class Search(Generic[Kind]):
    """A search over one kind of subproblems; what is known survives any interruption."""

    def __init__(
        self,
        splitter: Splitter[Kind],
        settings: SearchSettings,
        candidates: Candidates,
        stop: Callable[[], bool],
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.splitter, self.settings, self.candidates = splitter, settings, candidates
        self.stop, self.progress = stop, progress
        self.pool: Pool[Kind] | None = None
        self.witness: Witness | None = None
        self.stuck: Kind | None = None
        self.bounded = 0
        self._batch = settings.least_batch

    @property
    def state(self) -> Progress:
        """Where the search stands."""
        if self.pool is None:
            return Progress(0, 1, -np.inf)
        kept = 0 if self.stuck is None else len(self.stuck.bound)
        least = np.inf if self.stuck is None else float(self.stuck.bound.min(initial=np.inf))
        return Progress(self.bounded, len(self.pool) + kept, min(self.pool.lowest, least))

    @property
    def done(self) -> bool:
        """Whether nothing is left to split."""
        return self.pool is not None and not len(self.pool)

    @property
    def excluded(self) -> bool:
        """Whether nothing is left at all."""
        return self.done and self.stuck is None

    def remaining_goals(self) -> np.ndarray:
        """The goal of everything that is open."""
        assert self.pool is not None, "The root comes first"
        stuck = [] if self.stuck is None else [self.stuck.goal]
        return np.concatenate([self.pool.all().goal, *stuck])

    def run(self, until: Callable[[], bool]) -> None:
        """Split until a counterexample is found, nothing is left, or `until` or `stop` says so."""
        while self.witness is None and not self.done and not (self.stop() or until()):
            try:
                self._step()
            except Stopped:
                return
            if self.progress is not None:
                self.progress(self.state)

    def _step(self) -> None:
        began = time.monotonic()
        if self.pool is None:
            grown = self.splitter.root()
            self.pool = Pool(take(grown.open, np.zeros(0, dtype=np.int64)))
            self.bounded += len(grown.open.bound)
        else:
            grown = self._expanded(self.pool)
        self._keep(self.pool, grown.open)
        self.witness = self.candidates(grown.points, grown.goal)
        self._adapt(time.monotonic() - began)

    def _expanded(self, pool: Pool[Kind]) -> Grown[Kind]:
        deep = len(pool) * pool.bytes > self.settings.frontier_bytes
        nodes = pool.pop(self._batch, best=deep)
        try:
            grown = self.splitter.expand(nodes)
        except BaseException:
            pool.push(nodes)
            raise
        self.bounded += 2 * len(nodes.bound)
        return grown

    def _keep(self, pool: Pool[Kind], nodes: Kind) -> None:
        """Put what is open into the pool, and what cannot be split any more aside."""
        ends = ~nodes.splittable
        if ends.any():
            aside = take(nodes, ends)
            self.stuck = aside if self.stuck is None else join([self.stuck, aside])
        pool.push(take(nodes, ~ends))

    def _adapt(self, seconds: float) -> None:
        """Batches large enough to be fast, and small enough to answer at once when asked to stop."""
        settings = self.settings
        if seconds < settings.seconds_per_step:
            self._batch = min(2 * self._batch, settings.most_batch)
        elif seconds > 2 * settings.seconds_per_step:
            self._batch = max(self._batch // 2, settings.least_batch)
