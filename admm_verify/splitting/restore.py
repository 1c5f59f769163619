"""Restoring feasibility: a point of the layers' relaxations moves until the constraints hold as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from admm_verify.arrays import Array
from admm_verify.bounds.backward import backward
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows

_STEP = 1.5
"""Of the step that would end where the sum of squares is zero, were it as steep all the way; twice is Newton's."""


@dataclass(frozen=True, eq=False)
class Output:
    """An activation's output at a share of the way from its hull's floor to the ceiling, its slope there, and the
    height of the way. Shapes: [rows, n].
    """

    value: Array
    slope: Array
    height: Array

    @classmethod
    def of(cls, rows: Rows, k: int, pre: Array, share: Array) -> "Output":
        """At [l, u] clipped; where the hull is a line, that line, as far as it takes."""
        xp, low, high, line, hull = rows.xp, rows.lower[k], rows.upper[k], rows.lines[k], rows.relaxations[k]
        inside = xp.minimum(xp.maximum(pre, low), high)
        floor, ceiling = hull.hull(low, high, inside)
        height = ceiling - floor
        flat = line.middle
        own = floor + share * height
        slope = flat
        if hull.rectifies:
            slope = xp.where(line.bent, share * flat + (1.0 - share) * xp.astype(pre > 0, pre.dtype), flat)
        return cls(xp.where(line.bent, own, own + hull.folded(flat * (pre - inside))), slope, height)


def restored(rows: Rows, point: PrimalPoint, margin: float, iterations: int) -> PrimalPoint:
    """The point after some steps down the sum of squares of max(0, violation + margin), over the constraints and the
    ends that the layers do not imply, each violation in its own unit.

    Input and shares move, so that the point stays in the layers' relaxations; steps are Polyak's for the least value
    zero. Rows where all constraints hold by the margin stay.
    """
    xp = rows.xp
    x, shares = point.x, [xp.clip(share, 0.0, 1.0) for share in point.shares]
    stride = rows.inputs.stride
    for _ in range(iterations):
        outputs: list[Output] = []
        values = rows.network.forward(x, partial(follow, rows, shares, outputs))
        start, total = _pull(rows, values, margin)
        if not start or not bool(xp.any(total > 0)):
            break
        sweep = backward(
            rows.network, start, 0.0, lambda k, a, at=outputs: at[k].slope * rows.relaxations[k].repeated(a)
        )
        moves = [
            xp.zeros_like(one.height) if a is None else a * one.height
            for a, one in zip(sweep.post, outputs, strict=True)
        ]
        inward = sweep.input * stride
        size = xp.sum(inward**2, axis=-1)
        for move in moves:
            size = size + xp.sum(move**2, axis=-1)
        rate = xp.where(size > 0, _STEP * total / xp.where(size > 0, size, xp.ones_like(size)), 0.0)[:, None]
        x = rows.inputs.project(x - rate * stride * inward)
        shares = [xp.clip(share - rate * move, 0.0, 1.0) for share, move in zip(shares, moves, strict=True)]
    return PrimalPoint(x, shares)


def follow(rows: Rows, shares: Sequence[Array], outputs: list[Output], k: int, pre: Array) -> Array:
    """Activation k's output, which joins those before it."""
    outputs.append(Output.of(rows, k, pre, shares[k]))
    return outputs[-1].value


def _pull(rows: Rows, values: Sequence[Array], margin: float) -> tuple[dict[int, Array], Array]:
    """The derivatives of the sum of squares in the nodes' values, and the sum itself, [rows]."""
    xp, total, start = rows.xp, rows.xp.zeros_like(rows.offset), {}
    for k, source in enumerate(rows.network.sources):
        pre, cut, low, high = values[source], rows.cut[k], rows.lower[k], rows.upper[k]
        if cut is None:
            continue
        width, zero = xp.where(high > low, high - low, xp.ones_like(high)), xp.zeros_like(pre)
        above = xp.where(cut, xp.maximum((pre - high) / width + margin, zero), zero)
        below = xp.where(cut, xp.maximum((low - pre) / width + margin, zero), zero)
        total = total + xp.sum(above**2 + below**2, axis=-1)
        part = 2.0 * (above - below) / width
        start[source] = start[source] + part if source in start else part
    if rows.couplings is not None:
        left, size = rows.couplings.values(values), rows.couplings.size(values)
        over = xp.maximum(left / size + margin, xp.zeros_like(left))
        total = total + xp.sum(over**2, axis=-1)
        for i, part in rows.couplings.weighed(2.0 * over / size).items():
            start[i] = start[i] + part if i in start else part
    return start, total
