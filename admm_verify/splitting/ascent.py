"""Dual ascent on slopes, with Adam and a geometric schedule."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, select_rows
from admm_verify.settings import AscentSettings
from admm_verify.splitting.average import averaged
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import DualSweep, best_vertex, forward_sweep, slope_sweep


@dataclass(frozen=True, eq=False)
class AscentState:
    """Slopes with Adam's averages, the best multipliers seen, and the mean primal point."""

    iteration: int
    slopes: list[Array]
    mean: list[Array]
    square: list[Array]
    best_value: Array
    best: list[Array]
    x: Array
    shares: list[Array]


@dataclass(frozen=True)
class Ascent:
    """Maximise D over the slopes alpha of the linear bounds of unstable neurons; for ReLU, the lower line's in [0, 1].

    Multipliers g = alpha a, with the lower line's slope where a > 0, the upper line's where a < 0: every iterate is
    dual feasible. One backward sweep gives a_k(alpha) and D; the box vertex minimising a_0'x and one forward sweep
    give pre_k; the supergradient is a_k^+ pre_k for ReLU, |a_k| (pre_k - touching point) for curves.

    Reference: the slope ascent of alpha-CROWN (Xu et al., ICLR 2021), with explicit sweeps and this schedule.
    """

    settings: AscentSettings
    passes: int
    stops_at_gap: bool = False

    @property
    def iterations(self) -> int:
        """Iterations planned."""
        return max(1, self.passes // 2)

    def start(self, rows: Rows, slopes: list[Array]) -> AscentState:
        xp = rows.xp
        zeros = [xp.zeros_like(slope) for slope in slopes]
        neurons = rows.neurons(0.0)
        x = xp.broadcast_to(rows.box_lower, (rows.offset.shape[0], rows.box_lower.shape[1]))
        lowest = xp.full_like(rows.offset, -float("inf"))
        return AscentState(0, slopes, zeros, zeros, lowest, neurons, xp.zeros_like(x), neurons)

    def step(self, rows: Rows, state: AscentState) -> AscentState:
        dual = slope_sweep(rows, state.slopes)
        x = best_vertex(rows, dual.input)
        pre = forward_sweep(rows, x, dual)
        # Steps of the first half are too long to leave anything worth keeping.
        late = state.iteration - self.iterations // 2
        moved = replace(state, iteration=state.iteration + 1)
        if late >= 0:
            better = dual.value > state.best_value
            point = averaged(state.x, state.shares, x, dual, late)
            moved = replace(
                moved,
                best_value=rows.xp.where(better, dual.value, state.best_value),
                best=_best(better, dual, state.best),
                x=point.x,
                shares=point.shares,
            )
        for k, a in enumerate(dual.sweep.post):
            if a is not None:
                moved = self._climb(rows, moved, k, rows.lines[k].gradient(a, dual.contacts[k], pre[k]))
        return moved

    def _climb(self, rows: Rows, state: AscentState, k: int, gradient: Array) -> AscentState:
        """Adam's step for the slopes of layer k, clipped to their range."""
        xp, settings, count, line = rows.xp, self.settings, state.iteration, rows.lines[k]
        mean = settings.momentum * state.mean[k] + (1.0 - settings.momentum) * gradient
        square = settings.memory * state.square[k] + (1.0 - settings.memory) * gradient**2
        first = mean / (1.0 - settings.momentum**count)
        second = xp.sqrt(square / (1.0 - settings.memory**count))
        least = settings.least_end * min(1.0, settings.least_end_until / self.iterations)
        end = max(least, settings.end_per_iteration**self.iterations)
        rate = settings.step * end ** ((count - 1) / max(1, self.iterations - 2))
        # Where nothing has moved yet both are zero; the floor keeps 0 / 0 out.
        move = first / xp.maximum(second, rows.least)
        slopes = xp.minimum(xp.maximum(state.slopes[k] + rate * line.span * move, line.minimum), line.maximum)
        return replace(
            state,
            slopes=_with(state.slopes, k, slopes),
            mean=_with(state.mean, k, mean),
            square=_with(state.square, k, square),
        )

    def multipliers(self, rows: Rows, state: AscentState) -> list[Array]:
        # The last step's slopes have not been evaluated yet.
        dual = slope_sweep(rows, state.slopes)
        return _best(dual.value > state.best_value, dual, state.best)

    def point(self, rows: Rows, state: AscentState) -> PrimalPoint:
        return PrimalPoint(state.x, state.shares)


def _best(better: Array, dual: DualSweep, best: list[Array]) -> list[Array]:
    """The sweep's multipliers in the rows where they are better, else the old ones."""
    return [old if g is None else select_rows(better, g, old) for g, old in zip(dual.sweep.pre, best, strict=True)]


def _with(arrays: list[Array], k: int, array: Array) -> list[Array]:
    return [array if i == k else old for i, old in enumerate(arrays)]
