"""Primal-dual splitting on the eliminated chain: only the input and the slopes are splitting variables."""

from dataclasses import dataclass

from admm_verify.arrays import Array, select_rows
from admm_verify.settings import PrimalDualSettings
from admm_verify.splitting.average import averaged
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import forward_sweep, slope_sweep


@dataclass(frozen=True, eq=False)
class PrimalDualState:
    """Input and slopes, the best multipliers seen, and the mean primal point."""

    iteration: int
    x: Array
    slopes: list[Array]
    best_value: Array
    best: list[Array]
    mean_x: Array
    mean_shares: list[Array]


@dataclass(frozen=True)
class PrimalDual:
    """Saddle point of a_0(alpha)'x + constant(alpha) over x in the box (min) and slopes alpha (max).

    x+ = proj(x - e_x (u_0 - l_0) a_0 / mean|a_0|); forward sweep from 2 x+ - x;
    alpha_k+ = clip(alpha_k + e_a pre_k / (u_k - l_k), 0, 1) where a_k > 0, for ReLU; other lines alike.

    Reference: Chambolle and Pock, JMIV 2011 (extrapolation), on the eliminated form of the relaxation.
    """

    settings: PrimalDualSettings
    passes: int
    stops_at_gap: bool = True

    def start(self, rows: Rows, slopes: list[Array]) -> PrimalDualState:
        dual = slope_sweep(rows, slopes)
        xp = rows.xp
        x = rows.inputs.minimiser(dual.input)
        zeros = rows.neurons(0.0)
        best = [zero if g is None else g for zero, g in zip(zeros, dual.sweep.pre, strict=True)]
        return PrimalDualState(0, x, slopes, dual.value, best, xp.zeros_like(x), zeros)

    def step(self, rows: Rows, state: PrimalDualState) -> PrimalDualState:
        settings = self.settings
        dual = slope_sweep(rows, state.slopes)
        xp = rows.xp
        better = dual.value > state.best_value
        best = [
            old if g is None else select_rows(better, g, old) for g, old in zip(dual.sweep.pre, state.best, strict=True)
        ]
        typical = xp.mean(xp.abs(dual.input), axis=-1, keepdims=True)
        direction = xp.where(typical > 0, dual.input / xp.where(typical > 0, typical, 1.0), 0.0)
        fall = min(1.0, settings.constant / (state.iteration + 1.0)) ** settings.fall
        x = rows.inputs.project(state.x - fall * settings.primal_step * rows.inputs.width * direction)
        pre = forward_sweep(rows, 2.0 * x - state.x, dual)
        fading = 0.5 ** (state.iteration / settings.dual_step_halving)
        rate = fall * (settings.dual_step_end + (settings.dual_step_start - settings.dual_step_end) * fading)
        slopes = [
            old if a is None else _move(rows, k, old, rate * rows.lines[k].direction(a, dual.contacts[k], p))
            for k, (old, a, p) in enumerate(zip(state.slopes, dual.sweep.post, pre, strict=True))
        ]
        point = averaged(state.mean_x, state.mean_shares, x, dual.sweep, state.iteration)
        value = xp.where(better, dual.value, state.best_value)
        return PrimalDualState(state.iteration + 1, x, slopes, value, best, point.x, point.shares)

    def multipliers(self, rows: Rows, state: PrimalDualState) -> list[Array]:
        return state.best

    def point(self, rows: Rows, state: PrimalDualState) -> PrimalPoint:
        return PrimalPoint(state.mean_x, state.mean_shares)


def _move(rows: Rows, k: int, slopes: Array, step: Array) -> Array:
    """The slopes of layer k after a step along their direction of ascent, in units of span per u - l."""
    xp, line = rows.xp, rows.lines[k]
    moved = slopes + line.pace * step
    return xp.minimum(xp.maximum(moved, line.minimum), line.maximum)
