"""Primal-dual splitting on the eliminated chain: only the input and the slopes are splitting variables."""

from dataclasses import dataclass

from admm_verify.arrays import Array
from admm_verify.settings import PrimalDualSettings
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Incumbent, PerRow
from admm_verify.splitting.sweeps import forward_sweep, slope_sweep


@dataclass(frozen=True, eq=False)
class PrimalDualState(PerRow):
    """Input and slopes, the best multipliers seen, and the mean primal point."""

    iteration: int
    x: Array
    slopes: list[Array]
    best: Incumbent
    mean: PrimalPoint


@dataclass(frozen=True)
class PrimalDual:
    """Saddle point of a_0(alpha)'x + constant(alpha) over x in the input set (min) and slopes alpha (max).

    x+ = proj(x - e_x d a_0 / mean|a_0|) with the set's stride d, u_0 - l_0 for boxes; forward sweep from 2 x+ - x;
    alpha_k+ = clip(alpha_k + e_a pre_k / (u_k - l_k), 0, 1) where a_k > 0, for ReLU; other lines alike.

    Reference: Chambolle and Pock, JMIV 2011 (extrapolation), on the eliminated form of the relaxation.
    """

    settings: PrimalDualSettings
    passes: int
    stops_at_gap: bool = True

    def start(self, rows: Rows, slopes: list[Array]) -> PrimalDualState:
        dual = slope_sweep(rows, slopes)
        best = Incumbent.none(rows).improved(dual.value, dual.sweep)
        return PrimalDualState(0, rows.inputs.minimiser(dual.input), slopes, best, PrimalPoint.zero(rows))

    def step(self, rows: Rows, state: PrimalDualState) -> PrimalDualState:
        xp, settings = rows.xp, self.settings
        dual = slope_sweep(rows, state.slopes)
        typical = xp.mean(xp.abs(dual.input), axis=-1, keepdims=True)
        direction = xp.where(typical > 0, dual.input / xp.where(typical > 0, typical, 1.0), 0.0)
        fall = min(1.0, settings.constant / (state.iteration + 1.0)) ** settings.fall
        x = rows.inputs.project(state.x - fall * settings.primal_step * rows.inputs.stride * direction)
        pre = forward_sweep(rows, 2.0 * x - state.x, dual)
        fading = 0.5 ** (state.iteration / settings.dual_step_halving)
        rate = fall * (settings.dual_step_end + (settings.dual_step_start - settings.dual_step_end) * fading)
        slopes = [
            old if a is None else _move(rows, k, old, rate * rows.lines[k].direction(a, dual.contacts[k], p))
            for k, (old, a, p) in enumerate(zip(state.slopes, dual.sweep.post, pre, strict=True))
        ]
        best = state.best.improved(dual.value, dual.sweep)
        mean = state.mean.averaged(x, dual.sweep, state.iteration)
        return PrimalDualState(state.iteration + 1, x, slopes, best, mean)

    def multipliers(self, rows: Rows, state: PrimalDualState) -> list[Array]:
        return state.best.multipliers

    def point(self, rows: Rows, state: PrimalDualState) -> PrimalPoint:
        return state.mean


def _move(rows: Rows, k: int, slopes: Array, step: Array) -> Array:
    """The slopes of layer k after a step along their direction of ascent, in units of span per u - l."""
    xp, line = rows.xp, rows.lines[k]
    moved = slopes + line.pace * step
    return xp.minimum(xp.maximum(moved, line.minimum), line.maximum)
