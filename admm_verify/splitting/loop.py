"""The loop around every scheme: check points, finished rows, deadline. Written once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.run import Ended
from admm_verify.splitting.eliminate import Elimination
from admm_verify.splitting.ledger import Ledger
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.scheme import Scheme
from admm_verify.splitting.sweeps import filled, polish_sweep, slopes_of

ROUNDING_GAP = 1e-10
"""Relative gap below which nothing is left to gain in float64."""

Progress = Callable[[int, int, int], None]
"""progress(passes, finished rows, rows), called at check points."""


@dataclass(frozen=True)
class Clock:
    """When to stop: a deadline in seconds of time.monotonic(), and a question asked after every iteration."""

    deadline: float | None = None
    stop: Callable[[], bool] | None = None

    def interruption(self) -> Ended | None:
        """TIMED_OUT or STOPPED once one of them applies, else None."""
        if self.stop is not None and self.stop():
            return Ended.STOPPED
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return Ended.TIMED_OUT
        return None


@dataclass(eq=False)
class Run:
    """The progress of one block of rows through its schemes."""

    rows: Rows
    ledger: Ledger
    clock: Clock
    tolerance: float
    check_interval: int
    progress: Progress | None
    elimination: Elimination | None = None
    passes: np.ndarray = field(init=False)
    interruption: Ended | None = None

    def __post_init__(self) -> None:
        self.passes = np.zeros(self.rows.offset.shape[0], dtype=np.int64)

    def unfinished(self, tolerance: float) -> np.ndarray:
        """Numbers of the rows whose gap is over tolerance * max(1, |lower|)."""
        return np.flatnonzero(~to_numpy(self.ledger.converged(tolerance)))

    def run(self, scheme: Scheme) -> None:
        """Iterate one scheme on the unfinished rows, starting from the ledger's multipliers."""
        # A planned schedule is worth running for any gap that rounding leaves to be closed.
        numbers = self.unfinished(self.tolerance if scheme.stops_at_gap else min(self.tolerance, ROUNDING_GAP))
        if self.interruption is not None or not len(numbers) or scheme.passes <= 0:
            return
        index = self._indices(numbers)
        rows = self.rows.take(index)
        slopes = slopes_of(rows, self._multipliers(index))
        if self.elimination is not None:
            slopes = self.elimination.restrict(slopes)
            rows = self.elimination.reduce(rows)
        state = scheme.start(rows, slopes)
        done = 0
        while done < scheme.passes and self.interruption is None and len(numbers):
            state = scheme.step(rows, state)
            done += 2
            self.passes[numbers] += 2
            self.interruption = self.clock.interruption()
            last = done >= scheme.passes or self.interruption is not None
            if last or (scheme.stops_at_gap and done % (2 * self.check_interval) == 0):
                self._check(scheme, rows, state, index)
                keep = np.flatnonzero(np.isin(numbers, self.unfinished(self.tolerance)))
                # Dropping rows copies every array of the state, so it waits until a fifth of them is finished.
                if scheme.stops_at_gap and (len(keep) == 0 or len(keep) <= 0.8 * len(numbers)):
                    kept = self._indices(keep)
                    rows, state = rows.take(kept), state.take(kept)
                    numbers, index = numbers[keep], self._indices(numbers[keep])

    def _check(self, scheme: Scheme, rows: Rows, state: object, index: Array) -> None:
        multipliers, point = scheme.multipliers(rows, state), scheme.point(rows, state)
        if self.elimination is not None:
            full = self.rows.take(index)
            shares = self.elimination.expand(point.shares, full)
            multipliers = self.elimination.expand(multipliers, full)
            # Stable neurons have a where they are active, 0 where not.
            multipliers = filled(polish_sweep(full, multipliers).pre, multipliers)
            point = PrimalPoint(point.x, shares)
        self.ledger.record(index, multipliers, point)
        if self.progress is not None:
            rows_done = len(self.passes) - len(self.unfinished(self.tolerance))
            self.progress(int(self.passes.max()), rows_done, len(self.passes))

    def _multipliers(self, index: Array) -> list[Array]:
        put = Placement.of(self.rows.offset).put
        return [put(namespace(g).take(g, index, axis=0)) for g in self.ledger.multipliers]

    def _indices(self, numbers: np.ndarray) -> Array:
        return Placement.of(self.rows.offset).put_indices(numbers)
