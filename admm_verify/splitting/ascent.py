"""Dual ascent on slopes, with Adam and a geometric schedule."""

from dataclasses import dataclass

from admm_verify.arrays import Array
from admm_verify.bounds.climb import Climb
from admm_verify.settings import AscentSettings
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Incumbent, PerRow
from admm_verify.splitting.sweeps import objectives


@dataclass(frozen=True, eq=False)
class AscentState(PerRow):
    """The climb, which moves on in place, the best multipliers seen, and the mean primal point."""

    climb: Climb
    best: Incumbent
    mean: PrimalPoint


@dataclass(frozen=True)
class Ascent:
    """Maximise D over the slopes alpha of the linear bounds of unstable neurons; for ReLU, the lower line's in [0, 1].

    Multipliers g = alpha a, with the lower line's slope where a > 0, the upper line's where a < 0: every iterate is
    dual feasible. All rows run the whole schedule, so none is dropped on the way.
    """

    settings: AscentSettings
    passes: int
    stops_at_gap: bool = False

    @property
    def iterations(self) -> int:
        """Iterations planned."""
        return max(1, self.passes // 2)

    def start(self, rows: Rows, slopes: list[Array]) -> AscentState:
        climb = Climb(rows, objectives(rows), slopes, self.settings, self.iterations)
        return AscentState(climb, Incumbent.none(rows), PrimalPoint.zero(rows))

    def step(self, rows: Rows, state: AscentState) -> AscentState:
        # Steps of the first half are too long to leave anything worth keeping.
        late = state.climb.done - self.iterations // 2
        seen = state.climb.step()
        if late < 0:
            return state
        best = state.best.improved(seen.value, seen.sweep)
        return AscentState(state.climb, best, state.mean.averaged(seen.x, seen.sweep, late))

    def multipliers(self, rows: Rows, state: AscentState) -> list[Array]:
        # The last step's slopes have not been evaluated yet.
        seen = state.climb.look()
        return state.best.improved(seen.value, seen.sweep).multipliers

    def point(self, rows: Rows, state: AscentState) -> PrimalPoint:
        return state.mean
