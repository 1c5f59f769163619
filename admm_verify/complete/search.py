"""The search: worst subproblems first, until none is left, a counterexample is found, or somebody says stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from admm_verify.attacks.confirm import Witness
from admm_verify.complete.batches import Batches
from admm_verify.complete.pool import Nodes, Pool
from admm_verify.complete.splitter import Closed, Grown, Splitter
from admm_verify.complete.tables import join, take
from admm_verify.memory import memory_errors
from admm_verify.run import Run, Stopped
from admm_verify.settings import SearchSettings

Kind = TypeVar("Kind", bound=Nodes)
Counterexamples = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[Witness | None, np.ndarray]]
"""counterexamples(points, disjunct, offset): a confirmed counterexample among some inputs, or None, and which of them
no bound can exclude.
"""


@dataclass(frozen=True)
class Standing:
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
        counterexamples: Counterexamples,
        run: Run,
        noted: Callable[[Standing], None] = lambda standing: None,
        record: bool = False,
    ) -> None:
        """noted: told where the search stands after every step. record: keep what proves that parts are excluded."""
        self.splitter, self.settings, self.counterexamples = splitter, settings, counterexamples
        self.run, self.noted = run, noted
        self.pool: Pool[Kind] | None = None
        self.witness: Witness | None = None
        self.stuck: Kind | None = None
        self.proofs: list[Closed] | None = [] if record else None
        self.bounded = 0
        self._batches = Batches(settings)

    @property
    def state(self) -> Standing:
        """Where the search stands."""
        if self.pool is None or self.stuck is None:
            return Standing(0, 1, -np.inf)
        lowest = min(self.pool.lowest, float(self.stuck.bound.min(initial=np.inf)))
        return Standing(self.bounded, len(self.pool) + len(self.stuck.bound), lowest)

    @property
    def done(self) -> bool:
        """Whether nothing is left to split."""
        return self.pool is not None and not len(self.pool)

    @property
    def closed(self) -> Closed | None:
        """What proves that parts are excluded, where that is recorded."""
        return join(self.proofs) if self.proofs else None

    def remaining_disjuncts(self) -> np.ndarray:
        """The disjunct of everything that is open."""
        if self.pool is None or self.stuck is None:
            return np.arange(len(self.splitter.disjuncts))
        return np.concatenate([self.pool.disjuncts, self.stuck.disjunct])

    def restore(self, open: Kind, stuck: Kind, bounded: int, closed: Closed | None) -> None:
        """Go on from a saved state."""
        self.pool, self.stuck, self.bounded = Pool(open), stuck, bounded
        if self.proofs is not None and closed is not None:
            self.proofs = [closed]

    def advance(self, until: Callable[[], bool]) -> None:
        """Split until a counterexample is found, nothing is left, the run is over or `until` says so."""
        while self.witness is None and not self.done and not (self.run.over() or until()):
            try:
                with memory_errors():
                    self._step()
            except Stopped:
                return
            except MemoryError:
                if self._batches.size <= 1:
                    raise
                # What was taken out has been put back.
                self._batches.ran_out_of_memory()
            self.noted(self.state)

    def _step(self) -> None:
        began = time.monotonic()
        if self.pool is None:
            grown = self.splitter.root()
            self.witness, ends = self._tried(grown)
            self.stuck, pool = take(grown.open, ends), Pool(take(grown.open, ~ends))
            self._record(grown)
            self.bounded, self.pool = len(self.splitter.disjuncts), pool
        else:
            before = self.bounded
            self._expand(self.pool, self.stuck)
            self._batches.took((self.bounded - before) // 2, time.monotonic() - began)

    def _expand(self, pool: Pool[Kind], stuck: Kind | None) -> None:
        """Replace some subproblems by their parts; whatever fails on the way, none is lost."""
        deep = len(pool) * pool.bytes > self.settings.frontier_bytes
        nodes = pool.pop(self._batches.size, best=deep)
        try:
            grown = self.splitter.expand(nodes)
            witness, ends = self._tried(grown)
            if stuck is not None and ends.any():
                stuck = join([stuck, take(grown.open, ends)])
            pool.push(take(grown.open, ~ends))
        except BaseException:
            pool.put_back()
            raise
        self.stuck, self.witness = stuck, witness
        self.bounded += 2 * len(nodes.bound)
        self._record(grown)
        pool.release()

    def _tried(self, grown: Grown[Kind]) -> tuple[Witness | None, np.ndarray]:
        """A counterexample, and which open parts are better set aside: they cannot be split, or never be excluded."""
        witness, hopeless = self.counterexamples(grown.points, grown.disjunct, grown.offset)
        ends = ~grown.open.splittable
        if len(ends):
            # Each part has as many points as there are atoms.
            ends |= hopeless.reshape(len(ends), -1).any(axis=1)
        return witness, ends

    def _record(self, grown: Grown[Kind]) -> None:
        if self.proofs is not None:
            self.proofs.append(grown.closed)
