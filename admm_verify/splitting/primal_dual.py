"""Primal-dual splitting on the eliminated chain: only the input and the slopes are splitting variables."""

from dataclasses import dataclass

from admm_verify.arrays import Array
from admm_verify.backends.verbs import KinkPaces
from admm_verify.relaxations.lines import KinkLines
from admm_verify.settings import PrimalDualSettings
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Duals, Incumbent, PerRow
from admm_verify.splitting.sweeps import (
    DualPoint,
    DualSweep,
    Units,
    pre_activations,
    ranges_of,
    slope_sweep,
)


@dataclass(frozen=True, eq=False)
class PrimalDualState(PerRow):
    """Input and multipliers, the units of constraints' multipliers, the best ones seen, and the mean primal point."""

    iteration: int
    x: Array
    duals: DualPoint
    units: Units | None
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
    aims: bool = True

    def start(self, rows: Rows, point: DualPoint) -> PrimalDualState:
        dual = slope_sweep(rows, point)
        best = Incumbent.none(rows).improved(dual.value, dual.sweep, point.coupled)
        return PrimalDualState(
            0, rows.inputs.minimiser(dual.input), point, Units.of(rows, point), best, PrimalPoint.zero(rows)
        )

    def step(self, rows: Rows, state: PrimalDualState) -> PrimalDualState:
        xp, settings = rows.xp, self.settings
        dual = slope_sweep(rows, state.duals)
        typical = xp.mean(xp.abs(dual.input), axis=-1, keepdims=True)
        direction = xp.where(typical > 0, dual.input / xp.where(typical > 0, typical, 1.0), 0.0)
        fall = min(1.0, settings.constant / (state.iteration + 1.0)) ** settings.fall
        x = rows.inputs.project(state.x - fall * settings.primal_step * rows.inputs.stride * direction)
        fading = 0.5 ** (state.iteration / settings.dual_step_halving)
        rate = fall * (settings.dual_step_end + (settings.dual_step_start - settings.dual_step_end) * fading)
        slopes = list(state.duals.slopes)

        def post(k: int, pre: Array) -> Array:
            if dual.sweep.post[k] is None:
                # What the objective never reaches may have any value of its relaxation.
                return pre[..., : rows.network.functions[k].size]
            value, slopes[k] = _slid(rows, k, dual, slopes[k], pre, rate)
            return value

        values = rows.network.forward(2.0 * x - state.x, post)
        pre = pre_activations(rows, values)
        duals = DualPoint(slopes, _ranges(rows, state.duals, dual, pre, rate), _coupled(rows, state, values, rate))
        best = state.best.improved(dual.value, dual.sweep, state.duals.coupled)
        mean = state.mean.averaged(x, dual.sweep, state.iteration)
        return PrimalDualState(state.iteration + 1, x, duals, state.units, best, mean)

    def multipliers(self, rows: Rows, state: PrimalDualState) -> Duals:
        return state.best.multipliers

    def point(self, rows: Rows, state: PrimalDualState) -> PrimalPoint:
        return state.mean


def _slid(rows: Rows, k: int, dual: DualSweep, slopes: Array, pre: Array, rate: float) -> tuple[Array, Array]:
    """The lines in use of layer k at pre, and their slopes after a step along their direction of ascent, in units of
    span per u - l.

    With x the nearer input, |a| (pre - touching point), turned where the line is above, is a supergradient of D.
    """
    xp, a, held = rows.xp, dual.sweep.post[k], rows.held.lines[k]
    assert a is not None, "the objective reaches the layer"
    kernels = rows.kernels(a.shape[-1])
    if kernels is not None and isinstance(held, KinkLines):
        slopes, pre = (one if one.shape == a.shape else xp.broadcast_to(one, a.shape) for one in (slopes, pre))
        lines = KinkPaces(held.upper_slope, held.upper_intercept, held.minimum, held.maximum, held.pace)
        return kernels.slide(a, pre, slopes, lines, rows.order, rate)
    line, contact = rows.lines[k], dual.contacts[k]
    moved = slopes + line.pace * (rate * line.direction(a, contact, pre))
    return line.post(a, contact, pre), xp.minimum(xp.maximum(moved, line.minimum), line.maximum)


def _ranges(rows: Rows, duals: DualPoint, dual: DualSweep, pre: list[Array], rate: float) -> list[Array | None]:
    """The multipliers of ends after a step, in units of the layer's mean coefficient per u - l."""
    xp, found = rows.xp, list(duals.ranges)
    if not rows.constrained:
        return found
    for k, a in enumerate(dual.sweep.post):
        ranges = ranges_of(rows, duals, k)
        if ranges is not None and a is not None:
            width = ranges.upper - ranges.lower
            unit = xp.mean(xp.abs(a), axis=-1, keepdims=True) / xp.where(width > 0, width, xp.ones_like(width))
            moved = ranges.tau + rate * unit * ranges.gradient(pre[k])
            found[k] = xp.where(moved * ranges.tau < 0, xp.zeros_like(moved), moved)
    return found


def _coupled(rows: Rows, state: PrimalDualState, values: list[Array], rate: float) -> Array:
    """The multipliers of constraints after a step."""
    coupled, couplings, xp = state.duals.coupled, rows.couplings, rows.xp
    if couplings is None or state.units is None:
        return coupled
    moved = coupled + rate * state.units.multipliers / state.units.values * couplings.values(values)
    return xp.maximum(moved, xp.zeros_like(moved))
