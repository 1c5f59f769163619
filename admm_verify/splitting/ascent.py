"""Dual ascent on slopes, with Adam and a geometric schedule."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, namespace
from admm_verify.bounds.climb import Climb, Falling
from admm_verify.settings import AscentSettings
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Duals, Incumbent, PerRow
from admm_verify.splitting.sweeps import DualPoint, Units, objectives, ranges_of

_LEAST = 0.3
"""Share of its unit from which on a multiplier takes relative steps: units can be far from where the optimum is."""


@dataclass(frozen=True, eq=False)
class AscentState(PerRow):
    """The climb, which moves on in place as the multipliers of ends do, those of constraints with the units and the
    averages of their steps, the best multipliers seen, and the mean primal point.
    """

    climb: Climb
    coupled: Array
    units: Units | None
    moves: Falling
    best: Incumbent
    mean: PrimalPoint


@dataclass(frozen=True)
class Ascent:
    """Maximise D over the slopes alpha of the linear bounds of unstable neurons; for ReLU, the lower line's in [0, 1].

    Multipliers g = alpha a, with the lower line's slope where a > 0, the upper line's where a < 0: every iterate is
    dual feasible. Multipliers mu >= 0 of constraints climb along by their values in the linearised network. All rows
    run the whole schedule, so none is dropped on the way.
    """

    settings: AscentSettings
    passes: int
    stops_at_gap: bool = False
    aims: bool = True

    @property
    def iterations(self) -> int:
        """Iterations planned."""
        return max(1, self.passes // 2)

    def start(self, rows: Rows, point: DualPoint) -> AscentState:
        ranges = [ranges_of(rows, point, k) for k in range(len(rows.cut))]
        coupled, moves = (
            point.coupled,
            Falling(self.settings, self.iterations, point.coupled, self.settings.coupling_step),
        )
        functionals = replace(objectives(rows, coupled), ranges=tuple(ranges))
        climb = Climb(rows.climbed, functionals, point.slopes, self.settings, self.iterations)
        return AscentState(climb, coupled, Units.of(rows, point), moves, Incumbent.none(rows), PrimalPoint.zero(rows))

    def step(self, rows: Rows, state: AscentState) -> AscentState:
        # Steps of the first half are too long to leave anything worth keeping.
        climb, coupled = state.climb, state.coupled
        late = climb.done - self.iterations // 2
        seen = climb.step()
        if rows.couplings is not None and state.units is not None:
            coupled = stepped(coupled, state.units.multipliers, state.moves.next(rows.couplings.values(seen.values)))
            climb.functionals = replace(objectives(rows, coupled), ranges=climb.functionals.ranges)
        best, mean = state.best, state.mean
        if late >= 0:
            best = best.improved(seen.value, seen.sweep, state.coupled)
            mean = mean.averaged(seen.x, seen.sweep, late)
        return AscentState(climb, coupled, state.units, state.moves, best, mean)

    def multipliers(self, rows: Rows, state: AscentState) -> Duals:
        # The last step's slopes have not been evaluated yet.
        seen = state.climb.look()
        return state.best.improved(seen.value, seen.sweep, state.coupled).multipliers

    def point(self, rows: Rows, state: AscentState) -> PrimalPoint:
        return state.mean


def stepped(multipliers: Array, units: Array, step: Array) -> Array:
    """Multipliers >= 0 after a step that is relative to them, or to a share of their units where they are smaller."""
    xp = namespace(multipliers)
    moved = multipliers + xp.maximum(multipliers, _LEAST * units) * step
    return xp.maximum(moved, xp.zeros_like(moved))
