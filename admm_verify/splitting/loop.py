"""The loop around every scheme: check points, finished rows, end of the run. Written once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.bounds.backward import Backward
from admm_verify.run import Ended, Run
from admm_verify.settings import SolverSettings
from admm_verify.splitting.eliminate import Elimination
from admm_verify.splitting.ledger import Ledger
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.replay import Iterations
from admm_verify.splitting.scheme import Scheme
from admm_verify.splitting.state import Duals
from admm_verify.splitting.sweeps import DualPoint, filled, polish_sweep

ROUNDING_GAP = 1e-10
"""Relative gap below which nothing is left to gain in float64."""


@dataclass(eq=False)
class Solving:
    """One block of rows on its way through its schemes; noted: told of its passes and finished rows at check points."""

    rows: Rows
    ledger: Ledger
    settings: SolverSettings
    run: Run
    noted: Callable[[int, int], None]
    elimination: Elimination | None = None
    passes: np.ndarray = field(init=False)
    interruption: Ended | None = None

    def __post_init__(self) -> None:
        self.passes = np.zeros(self.rows.offset.shape[0], dtype=np.int64)

    def unfinished(self, tolerance: float) -> np.ndarray:
        """Numbers of the rows whose gap is over tolerance * max(1, |lower|)."""
        return np.flatnonzero(~to_numpy(self.ledger.converged(tolerance)))

    def _wanted(self, scheme: Scheme, numbers: np.ndarray) -> np.ndarray:
        """Numbers of the unfinished rows that a scheme has to do with."""
        return numbers if scheme.aims else numbers[np.isinf(to_numpy(self.ledger.upper)[numbers])]

    def _taken(self, scheme: Scheme, index: Array) -> Rows:
        """Some rows, as a scheme takes them."""
        rows = self.rows.take(index)
        return rows if scheme.aims else rows.aimless()

    def iterate(self, scheme: Scheme) -> None:
        """Iterate one scheme on the unfinished rows, starting from the ledger's multipliers.

        A scheme without aims gets those of which no feasible point is known.
        """
        # A planned schedule is worth running for any gap that rounding leaves to be closed.
        tolerance = self.settings.tolerance
        left = self.unfinished(tolerance if scheme.stops_at_gap else min(tolerance, ROUNDING_GAP))
        numbers = self._wanted(scheme, left)
        if self.interruption is not None or not len(numbers) or scheme.passes <= 0:
            return
        index = self._indices(numbers)
        known = self._multipliers(index)
        rows = self._taken(scheme, index).tilted(known.residual)
        # Behind CROWN's multipliers are CROWN's slopes, which no sweep has to look for.
        point = DualPoint.start(rows) if self.ledger.records == 1 else DualPoint.behind(rows, known)
        if self.elimination is not None:
            point = self.elimination.restrict(point)
            rows = self.elimination.reduce(rows)
        state, step = scheme.start(rows, point), Iterations(scheme, rows)
        done, most, going = 0, len(numbers), numbers
        while done < scheme.passes and self.interruption is None and len(numbers):
            state = step(state)
            done += 2
            self.passes[going] += 2
            self.interruption = self.run.ended()
            last = done >= scheme.passes or self.interruption is not None
            if last or (scheme.stops_at_gap and done % (2 * self.settings.check_interval) == 0):
                self._check(scheme, rows, state, index, last)
                left = self.unfinished(tolerance)
                self.noted(int(self.passes.max()), len(self.passes) - len(left))
                unfinished = np.isin(numbers, self._wanted(scheme, left))
                # Dropping rows copies every array of the state, so it waits until a fifth of them is finished.
                if scheme.stops_at_gap and np.sum(unfinished) <= 0.8 * len(going):
                    going, keep = numbers[unfinished], self._kept(unfinished, most)
                    spare = np.setdiff1d(numbers[keep], going)
                    self.ledger.settled = self._flags(spare) if len(spare) else None
                    if len(keep) < len(numbers):
                        kept, numbers = self._indices(keep), numbers[keep]
                        rows, state, index = rows.take(kept), state.take(kept), self._indices(numbers)
                        step = Iterations(scheme, rows)
        self.ledger.settled = None

    def _kept(self, unfinished: np.ndarray, most: int) -> np.ndarray:
        """Places of the rows that come along: the unfinished ones.

        A GPU plans its transforms and convolutions anew for every number of rows, and captures its graphs again: there
        are few of these, and some finished rows make one up. most: rows at the start.
        """
        if Placement.of(self.rows.offset).on_gpu:
            return filled_up(unfinished, bucket(int(np.sum(unfinished)), most))
        return np.flatnonzero(unfinished)

    def _flags(self, numbers: np.ndarray) -> Array:
        flags = np.zeros(len(self.passes), dtype=bool)
        flags[numbers] = True
        return Placement.of(self.ledger.lower).put_flags(flags)

    def _check(self, scheme: Scheme, rows: Rows, state: object, index: Array, last: bool) -> None:
        multipliers, point = scheme.multipliers(rows, state), scheme.point(rows, state)
        sweep: Backward | None = None
        if self.elimination is not None:
            full = self._taken(scheme, index).tilted(multipliers.residual)
            point = PrimalPoint(point.x, self.elimination.expand(point.shares, full))
            multipliers = replace(multipliers, layers=self.elimination.expand(multipliers.layers, full))
            plain = scheme.aims and not full.constrained and full.squares is None
            if plain:
                # The sweep that finds these multipliers is then the one that certifies them.
                full = self.ledger.taken(index)
                multipliers = multipliers.mapped(Placement.of(full.offset).put)
            # Stable neurons have a where they are active, 0 where not.
            found = polish_sweep(full, multipliers)
            multipliers = replace(multipliers, layers=filled(found.pre, multipliers.layers))
            sweep = found if plain else None
        self.ledger.record(index, multipliers, point, sweep, aims=scheme.aims, restore=last)

    def _multipliers(self, index: Array) -> Duals:
        put, known = Placement.of(self.rows.offset).put, self.ledger.multipliers
        return known.mapped(lambda g: put(namespace(g).take(g, index, axis=0)))

    def _indices(self, numbers: np.ndarray) -> Array:
        return Placement.of(self.rows.offset).put_indices(numbers)


def bucket(count: int, most: int) -> int:
    """The least of most, its half, a quarter and so on, each rounded up, that is not less than count."""
    size = most
    while size > 1 and -(-size // 2) >= count:
        size = -(-size // 2)
    return size if count else 0


def filled_up(wanted: np.ndarray, size: int) -> np.ndarray:
    """Places of the wanted ones, and the first of the others, as many in all as size says, in their order."""
    others = np.flatnonzero(~wanted)[: max(0, size - int(np.sum(wanted)))]
    return np.sort(np.concatenate([np.flatnonzero(wanted), others]))
