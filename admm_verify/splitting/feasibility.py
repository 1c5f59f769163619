"""Feasibility: whether constraints hold anywhere in the relaxation, and a point where they do with room to spare."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array
from admm_verify.bounds.climb import Climb, Falling
from admm_verify.bounds.functionals import FreeEnds
from admm_verify.settings import AscentSettings
from admm_verify.splitting.ascent import AscentState, stepped
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Duals, Incumbent
from admm_verify.splitting.sweeps import DualPoint, Units, objectives, ranges_of

_INSIDE = 0.02
"""How far from floor and ceiling the points found keep, as a share of the way between them."""


@dataclass(frozen=True)
class Feasibility:
    """max over mu, tau >= 0 that sum to one, each in units of what its constraint varies, of the constraints' bound.

    The same ascent with zero for an objective, multipliers scaled back after every step: a bound > 0 proves that the
    constraints hold nowhere (Farkas), and where it is below, the mean of the points comes to satisfy them all, by as
    much as they can be at once.
    """

    settings: AscentSettings
    passes: int
    stops_at_gap: bool = False
    aims: bool = False

    @property
    def iterations(self) -> int:
        """Iterations planned."""
        return max(1, self.passes // 2)

    def start(self, rows: Rows, point: DualPoint) -> AscentState:
        xp, units = rows.xp, Units.of(rows, point)
        coupled = point.coupled if units is None else units.multipliers
        ranges = []
        for k, zero in enumerate(rows.neurons(0.0)):
            found = ranges_of(rows, point, k)
            if found is not None:
                width = found.upper - found.lower
                unit = 1.0 / xp.where(width > 0, width, xp.ones_like(width))
                found = replace(found, tau=zero, unit=unit)
            ranges.append(found)
        coupled = _scaled(rows, coupled, units, ranges)
        functionals = replace(objectives(rows, coupled), ranges=tuple(ranges))
        climb = Climb(rows, functionals, point.slopes, self.settings, self.iterations)
        moves = Falling(self.settings, self.iterations, coupled, self.settings.coupling_step)
        return AscentState(climb, coupled, units, moves, Incumbent.none(rows), PrimalPoint.zero(rows))

    def step(self, rows: Rows, state: AscentState) -> AscentState:
        climb, coupled, ranges = state.climb, state.coupled, state.climb.functionals.ranges
        late = climb.done - self.iterations // 2
        seen = climb.step()
        best = state.best.improved(seen.value, seen.sweep, coupled)
        if rows.couplings is not None and state.units is not None:
            coupled = stepped(coupled, state.units.multipliers, state.moves.next(rows.couplings.values(seen.values)))
        coupled = _scaled(rows, coupled, state.units, ranges)
        climb.functionals = replace(objectives(rows, coupled), ranges=ranges)
        mean = state.mean if late < 0 else state.mean.averaged(seen.x, seen.sweep, late)
        return replace(state, coupled=coupled, best=best, mean=mean)

    def multipliers(self, rows: Rows, state: AscentState) -> Duals:
        seen = state.climb.look()
        return state.best.improved(seen.value, seen.sweep, state.coupled).multipliers

    def point(self, rows: Rows, state: AscentState) -> PrimalPoint:
        return replace(state.mean, shares=[rows.xp.clip(share, _INSIDE, 1.0 - _INSIDE) for share in state.mean.shares])


def _scaled(
    rows: Rows, coupled: Array, units: Units | None, ranges: list[FreeEnds | None] | tuple[FreeEnds | None, ...]
) -> Array:
    """Multipliers of constraints over the sum of all, in their units, by which those of ends are divided in place."""
    xp, total = rows.xp, rows.xp.zeros_like(rows.offset)
    if units is not None:
        total = total + xp.sum(coupled / units.multipliers, axis=-1)
    for found in ranges:
        if found is not None and found.unit is not None:
            total = total + xp.sum(xp.abs(found.tau) / found.unit, axis=-1)
    factor = xp.where(total > 0, 1.0 / xp.where(total > 0, total, xp.ones_like(total)), 1.0)[:, None]
    for found in ranges:
        if found is not None:
            found.tau[...] = found.tau * factor
    return coupled * factor
