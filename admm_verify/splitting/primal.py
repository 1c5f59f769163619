"""Feasible values of the relaxation: what a primal point is good for, an upper bound on the relaxation's optimum."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from admm_verify.arrays import SMALLEST, Array, Placement, gamma
from admm_verify.backends.choice import kernels_for
from admm_verify.backends.verbs import ArrayVerbs, Verbs
from admm_verify.bounds.backward import Backward
from admm_verify.bounds.region import Region, largest
from admm_verify.relaxations.triangle import Triangle
from admm_verify.run import paced
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import PerRow
from admm_verify.splitting.sweeps import DualSweep


@dataclass(frozen=True, eq=False)
class PrimalPoint(PerRow):
    """A point of the relaxation: input x and per neuron the share of the way from the hull's floor to its ceiling.

    Shapes: x [rows, n_0] inside the box; shares[k] [rows, n_k] in [0, 1].
    """

    x: Array
    shares: list[Array]

    @classmethod
    def zero(cls, rows: Rows) -> "PrimalPoint":
        """No point of the relaxation, but where means begin."""
        shape = (rows.offset.shape[0], rows.inputs.size)
        zero = rows.xp.zeros(shape, dtype=rows.offset.dtype, device=rows.offset.device)
        return cls(zero, rows.outputs())

    def averaged(self, x: Array, sweep: Backward, iteration: int) -> "PrimalPoint":
        """The running mean after one more point, with weights growing like iteration^2.

        It converges where single points jump between vertices. The point's shares are the best response to the dual:
        1 (ceiling) where a neuron's coefficient is negative, else 0 (floor).
        """
        weight, place = 3.0 / (iteration + 3.0), Placement.of(x)
        fused = kernels_for(place) if place.on_gpu else None
        if fused is not None and all(a is not None for a in sweep.post):
            pairs = [(mean, a) for mean, a in zip(self.shares, sweep.post, strict=True) if a is not None]
            moved, *shares = fused.averages([(self.x, x), *pairs], weight)
            return PrimalPoint(moved, shares)

        def verbs(array: Array) -> Verbs:
            return kernels_for(place, prod(array.shape)) or ArrayVerbs()

        shares = [
            (1.0 - weight) * mean if a is None else verbs(mean).average(mean, a, weight)
            for mean, a in zip(self.shares, sweep.post, strict=True)
        ]
        return PrimalPoint(verbs(x).blend(self.x, x, weight), shares)


def best_response(rows: Rows, dual: DualSweep) -> PrimalPoint:
    """The minimiser of the input set for a sweep's coefficients, with ceilings where they are negative, else floors."""
    shares = [
        zero if a is None else rows.xp.astype(a < 0, zero.dtype)
        for a, zero in zip(dual.sweep.post, rows.outputs(), strict=True)
    ]
    return PrimalPoint(rows.inputs.minimiser(dual.input), shares)


def relaxed_values(rows: Rows, point: PrimalPoint) -> list[Array]:
    """Values of all nodes at a point, where hulls are those of the pre-activations clipped to [l, u]."""
    xp = rows.xp

    def post(k: int, pre: Array) -> Array:
        inside = xp.minimum(xp.maximum(pre, rows.lower[k]), rows.upper[k])
        floor, ceiling = rows.relaxations[k].hull(rows.lower[k], rows.upper[k], inside)
        return floor + xp.clip(point.shares[k], 0.0, 1.0) * (ceiling - floor)

    return rows.network.forward(point.x, post)


def feasible_value(rows: Rows, errors: Sequence[Array], point: PrimalPoint) -> Array:
    """The objective of a feasible point of the relaxation, an upper bound on the relaxation's optimum.

    x runs forward with post = floor(pre) + share (ceiling(pre) - floor(pre)) of the hull. Where some pre leaves its
    [l, u], which can happen with bounds that the layers below do not imply, the point is not feasible and the value is
    +inf.

    Valid when: there are no constraints. Shapes: rows in float64; errors as `evaluation_errors` gives them -> [rows].
    Error: rounded upward; pre may leave [l, u] by its own rounding error.
    """
    missed: list[Array] = []

    def post(k: int, pre: Array) -> Array:
        value, outside = _between(rows, k, pre, point.shares[k], errors[rows.network.sources[k]])
        missed.append(outside)
        return value

    values = rows.network.forward(point.x, post)
    found = upward_value(rows, errors, values, sum(missed, rows.xp.zeros_like(rows.offset)) < 1)
    if all(hull.tied(low) is None for hull, low in zip(rows.relaxations, rows.lower, strict=True)):
        return found
    # Shares hardly ever keep operands together that belong together; the network itself does.
    own = rows.network.forward(point.x, lambda k, pre: rows.network.functions[k](pre))
    inside = rows.xp.ones_like(rows.offset, dtype=rows.xp.bool)
    for k, source in enumerate(rows.network.sources):
        slack = rows.held.of_rows(errors[source])
        kept = (own[source] >= rows.lower[k] - slack) & (own[source] <= rows.upper[k] + slack)
        inside = inside & rows.xp.all(kept, axis=-1)
    return rows.xp.minimum(found, upward_value(rows, errors, own, inside))


def _between(rows: Rows, k: int, pre: Array, share: Array, slack: Array) -> tuple[Array, Array]:
    """The outputs of layer k at shares of the way from floor to ceiling, and how many pre leave [l, u], [rows]."""
    xp, relaxation, held = rows.xp, rows.relaxations[k], rows.held
    kernels = rows.kernels(share.shape[-1])
    if kernels is not None and type(relaxation) is Triangle:
        # A layer that nothing below distinguishes has one pre-activation for all rows.
        pre = pre if pre.shape == share.shape else xp.broadcast_to(pre, share.shape)
        low, high, slack = xp.broadcast_arrays(held.lower[k], held.upper[k], slack)
        return kernels.between(pre, share, low, high, slack, rows.order)
    lower, upper, own = rows.lower[k], rows.upper[k], held.of_rows(slack)
    floor, ceiling = relaxation.hull(lower, upper, xp.minimum(xp.maximum(pre, lower), upper))
    outside = ~((pre >= lower - own) & (pre <= upper + own))
    apart = relaxation.tied(pre)
    if apart is not None:
        outside = outside | relaxation.repeated(~(xp.abs(apart) <= relaxation.folded(own)))
    value = floor + xp.clip(share, 0.0, 1.0) * (ceiling - floor)
    return value, xp.sum(xp.astype(outside, rows.offset.dtype), axis=-1)


def upward_value(rows: Rows, errors: Sequence[Array], values: Sequence[Array], feasible: Array) -> Array:
    """The objective at values of all nodes, rounded upward; +inf where these are not feasible."""
    xp = rows.xp
    if rows.squares is not None:
        value = rows.squares.value(values[-1], errors[-1])
        return xp.where(feasible & xp.isfinite(value), value, xp.full_like(value, float("inf")))
    value = xp.sum(rows.objective * values[-1], axis=-1) + rows.offset
    error = rows.held.of_rows(errors[-1])
    # Three times covers the last dot product, whose magnitudes are those of the output's own error term.
    value = value + 3.0 * xp.sum(xp.abs(rows.objective) * error, axis=-1) + 4.0 * gamma(4) * xp.abs(rows.offset)
    return xp.where(feasible & xp.isfinite(value), value, xp.full_like(value, float("inf")))


def evaluation_errors(rows: Rows, region: Region) -> list[Array]:
    """Bound on the float64 rounding error of every node's value, at any point of the relaxation.

    Shapes: [sets or 1, n_i] for node i.
    """
    xp = rows.xp
    relative = 4.0 * gamma(rows.network.roundings)
    errors: list[Array] = [xp.zeros_like(rows.held.inputs.reach)]
    for i, affine, k in paced(rows.network.steps):
        if affine is None:
            # Chord and interpolation add a few roundings of numbers no larger than these.
            relaxation, low, high = rows.relaxations[k], rows.held.lower[k], rows.held.upper[k]
            gain = relaxation.gain(low, high)
            fold, before = relaxation.folded, errors[rows.network.sources[k]]
            size = largest(*relaxation.image(low, high)) + fold(gain * (high - low))
            errors.append(1.001 * fold(gain * before) + 8.0 * gamma(8 + relaxation.evaluation_roundings) * size)
            continue
        magnitude = region.magnitudes[i]
        assert magnitude is not None
        products = affine.roundings + sum(term.map.columns for term in affine.terms)
        carried: Array = relative * magnitude + SMALLEST * products
        for term in affine.terms:
            carried = term.map.magnitude_apply(errors[term.source]) + carried
        errors.append(carried)
    return errors
