"""Dual ascent on slopes, with Adam and a geometric schedule."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, select_rows
from admm_verify.bounds.climb import Climb, Step
from admm_verify.settings import AscentSettings
from admm_verify.splitting.average import averaged
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import objectives


@dataclass(frozen=True, eq=False)
class AscentState:
    """The climb, which moves on in place, the best multipliers seen, and the mean primal point."""

    climb: Climb
    best_value: Array
    best: list[Array]
    x: Array
    shares: list[Array]


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
        xp, neurons = rows.xp, rows.neurons(0.0)
        climb = Climb(rows, objectives(rows), slopes, self.settings, self.iterations)
        x = xp.zeros((rows.offset.shape[0], rows.inputs.size), dtype=rows.offset.dtype, device=rows.offset.device)
        return AscentState(climb, xp.full_like(rows.offset, -float("inf")), neurons, x, neurons)

    def step(self, rows: Rows, state: AscentState) -> AscentState:
        # Steps of the first half are too long to leave anything worth keeping.
        late = state.climb.done - self.iterations // 2
        seen = state.climb.step()
        if late < 0:
            return state
        better = seen.value > state.best_value
        point = averaged(state.x, state.shares, seen.x, seen.sweep, late)
        return replace(
            state,
            best_value=rows.xp.where(better, seen.value, state.best_value),
            best=_best(better, seen, state.best),
            x=point.x,
            shares=point.shares,
        )

    def multipliers(self, rows: Rows, state: AscentState) -> list[Array]:
        # The last step's slopes have not been evaluated yet.
        seen = state.climb.look()
        return _best(seen.value > state.best_value, seen, state.best)

    def point(self, rows: Rows, state: AscentState) -> PrimalPoint:
        return PrimalPoint(state.x, state.shares)


def _best(better: Array, seen: Step, best: list[Array]) -> list[Array]:
    """The step's multipliers in the rows where they are better, else the old ones."""
    return [old if g is None else select_rows(better, g, old) for g, old in zip(seen.sweep.pre, best, strict=True)]
