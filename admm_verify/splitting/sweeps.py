"""The two sweeps every scheme is made of: slopes backward, relaxed activations forward. No autograd."""

from dataclasses import dataclass

from admm_verify.arrays import Array
from admm_verify.bounds.backward import Backward, backward
from admm_verify.network.graph import Activation
from admm_verify.relaxations import triangle
from admm_verify.splitting.problem import Rows


@dataclass(frozen=True, eq=False)
class DualSweep:
    """Coefficients of a backward sweep and the (uncertified) dual value [rows] that belongs to them."""

    sweep: Backward
    value: Array

    @property
    def input(self) -> Array:
        """Coefficient of the input, [rows, n_0]."""
        coefficient = self.sweep.nodes[0]
        assert coefficient is not None, "Rows always reach the input: see `slope_sweep`"
        return coefficient


def slope_sweep(rows: Rows, slopes: list[Array]) -> DualSweep:
    """Dual-feasible multipliers from lower slopes: g = slope a where a > 0, chord a where a < 0.

    D = constant + min over the box of input'x + sum of upper_intercept a over neurons with a < 0.

    Shapes: slopes[k] [rows or 1, n_k].
    """
    xp = rows.xp

    def choose(k: int, a: Array) -> Array:
        return xp.where(a > 0, slopes[k], rows.lines[k].upper_slope) * a

    return _valued(rows, _from_objective(rows, choose))


def polish_sweep(rows: Rows, multipliers: list[Array]) -> DualSweep:
    """The nearest slope-form multipliers: where a > 0 g is clipped to [0, a], where a < 0 it is the chord's.

    Shapes: multipliers[k] [rows, n_k].
    """
    xp = rows.xp

    def choose(k: int, a: Array) -> Array:
        line = rows.lines[k]
        low, high = line.lower_min * a, line.lower_max * a
        return xp.where(a > 0, xp.minimum(xp.maximum(multipliers[k], low), high), line.upper_slope * a)

    return _valued(rows, _from_objective(rows, choose))


def multiplier_sweep(rows: Rows, multipliers: list[Array]) -> Backward:
    """The sweep of given multipliers as they are, for `Region.concretise`."""
    return _from_objective(rows, lambda k, _: multipliers[k])


def forward_sweep(rows: Rows, x: Array, slopes: list[Array], dual: DualSweep) -> list[Array]:
    """Pre-activations of the network linearised at the multipliers: slope p where a > 0, the chord where a < 0.

    With x = argmin over the box, a_k^+ pre_k is a supergradient of D in the slopes of layer k.
    """
    xp = rows.xp

    def post(k: int, pre: Array) -> Array:
        line, a = rows.lines[k], dual.sweep.post[k]
        chord = line.upper_slope * pre + line.upper_intercept
        return chord if a is None else xp.where(a > 0, slopes[k] * pre, chord)

    return pre_activations(rows, rows.network.forward(x, post))


def pre_activations(rows: Rows, values: list[Array]) -> list[Array]:
    """The inputs of all activations among the values of all nodes."""
    return [values[node.source] for node in rows.network.nodes if isinstance(node, Activation)]


def start_slopes(rows: Rows) -> list[Array]:
    """CROWN's slopes, [rows, n_k] each."""
    xp, count = rows.xp, rows.objective.shape[0]
    slopes = [triangle.default_slopes(low, high) for low, high in zip(rows.lower, rows.upper, strict=True)]
    return [xp.broadcast_to(slope, (count, slope.shape[1])) + xp.zeros_like(rows.offset[:, None]) for slope in slopes]


def slopes_of(rows: Rows, multipliers: list[Array]) -> list[Array]:
    """Slopes that give back slope-form multipliers: g / a where a > 0, else CROWN's."""
    xp = rows.xp
    dual, slopes = polish_sweep(rows, multipliers), start_slopes(rows)
    for k, (g, a) in enumerate(zip(dual.sweep.pre, dual.sweep.post, strict=True)):
        if g is not None and a is not None:
            slopes[k] = xp.where(a > 0, g / xp.where(a > 0, a, xp.ones_like(a)), slopes[k])
    return slopes


def best_vertex(rows: Rows, coefficient: Array) -> Array:
    """argmin over the box of coefficient'x, [rows, n_0]."""
    return rows.xp.where(coefficient > 0, rows.box_lower, rows.box_upper)


def _from_objective(rows: Rows, choose) -> Backward:
    xp, count = rows.xp, rows.objective.shape[0]
    # The zero start at the input makes its coefficient exist even where no path reaches it.
    zero = xp.zeros((count, rows.box_lower.shape[1]), dtype=rows.objective.dtype, device=rows.objective.device)
    return backward(rows.network, {0: zero, rows.network.output: rows.objective}, rows.offset, choose)


def _valued(rows: Rows, sweep: Backward) -> DualSweep:
    coefficient = sweep.nodes[0]
    assert coefficient is not None
    xp = rows.xp
    value = sweep.constant + xp.sum(xp.minimum(coefficient * rows.box_lower, coefficient * rows.box_upper), axis=-1)
    for line, a in zip(rows.lines, sweep.post, strict=True):
        if a is not None:
            value = value + xp.sum(xp.minimum(a * line.upper_intercept, rows.zero), axis=-1)
    return DualSweep(sweep, value)
