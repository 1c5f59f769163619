"""Anchors: points of the relaxation inside all constraints, towards which other points are drawn until they are inside.

All constraints of the relaxation are convex in the input x and the outputs of the activations, and the rest is affine
in these. So on the way from a point that violates some constraints a little to one that satisfies them with room to
spare, all hold after a little of the way: what a point loses is in proportion to what it violates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from admm_verify.arrays import Array, namespace, select_rows, spread, to_numpy
from admm_verify.splitting.primal import PrimalPoint, upward_value
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.restore import follow
from admm_verify.splitting.state import PerRow

_MARGIN = 1e-9
"""Share of the way that is gone further than needed, against rounding."""


@dataclass(frozen=True, eq=False)
class Anchors(PerRow):
    """The point of each row that is deepest inside the constraints so far: its excess is the least.

    Shapes: x [rows, n_0]; posts[k] [rows, n_k], outputs of activation k; excess [rows], of the constraints at most,
    each in its own unit, infinite before there is a point.
    """

    x: Array
    posts: list[Array]
    excess: Array

    @classmethod
    def none(cls, rows: Rows) -> "Anchors":
        """No points yet."""
        zero = PrimalPoint.zero(rows)
        return cls(zero.x, zero.shares, rows.xp.full_like(rows.offset, float("inf")))

    def where(self, chosen: Array, otherwise: "Anchors") -> "Anchors":
        """Those of the chosen rows [rows], the others' elsewhere."""
        posts = [select_rows(chosen, new, old) for new, old in zip(self.posts, otherwise.posts, strict=True)]
        return Anchors(
            select_rows(chosen, self.x, otherwise.x),
            posts,
            namespace(chosen).where(chosen, self.excess, otherwise.excess),
        )

    def with_rows(self, index: Array, some: "Anchors") -> "Anchors":
        """With those of some rows replaced."""
        places, count = to_numpy(index), self.excess.shape[0]
        chosen = spread(namespace(some.excess).ones_like(some.excess), places, count) > 0
        posts = [spread(post, places, count) for post in some.posts]
        return Anchors(spread(some.x, places, count), posts, spread(some.excess, places, count)).where(chosen, self)

    def drawn(self, rows: Rows, errors: Sequence[Array], point: PrimalPoint) -> tuple["Anchors", Array, Array]:
        """The anchors with a point that may be deeper inside, the input of the point drawn towards them, and its value.

        The value is +inf where that is not feasible, up to rounding, as `feasible_value` says.
        """
        xp = rows.xp
        posts = extended_posts(rows, point)
        values = placed(rows, point.x, posts)
        left, own = violations(rows, values, posts)
        new = Anchors(point.x, posts, own)
        anchors = new.where(own < self.excess, self)
        there = violations(rows, placed(rows, anchors.x, anchors.posts), anchors.posts)[0]
        share = xp.zeros_like(rows.offset)
        for violated, room in zip(left, there, strict=True):
            away = xp.where(violated > 0, violated / xp.maximum(violated - room, 0.5 * violated), 0.0)
            share = xp.maximum(share, xp.max(away, axis=-1))
        share = xp.where(share > 0, xp.minimum(share * (1.0 + _MARGIN) + _MARGIN, xp.ones_like(share)), share)[:, None]
        x = (1.0 - share) * point.x + share * anchors.x
        mixed = [(1.0 - share) * post + share * other for post, other in zip(posts, anchors.posts, strict=True)]
        # Rounding may have moved it out of the inputs.
        x = rows.inputs.drawn_in(x)
        values = placed(rows, x, mixed)
        return anchors, x, upward_value(rows, errors, values, feasible(rows, errors, values, mixed))


def extended_posts(rows: Rows, point: PrimalPoint) -> list[Array]:
    """Outputs of all activations at a point."""
    shares, outputs = [rows.xp.clip(share, 0.0, 1.0) for share in point.shares], []
    rows.network.forward(point.x, partial(follow, rows, shares, outputs))
    return [one.value for one in outputs]


def placed(rows: Rows, x: Array, posts: Sequence[Array]) -> list[Array]:
    """Values of all nodes where activations give certain outputs."""
    return rows.network.forward(x, lambda k, _: posts[k])


def violations(rows: Rows, values: Sequence[Array], posts: Sequence[Array]) -> tuple[list[Array], Array]:
    """How far convex functions of the point are above zero, where they ought not be, [rows, _] each, and the excess.

    The ends of all neurons' inputs, floors and ceilings of all hulls, and the constraints. The excess is that of ends
    and constraints that the layers do not imply, over the width of the range, or the size of the sum.
    """
    xp, found = rows.xp, []
    excess = [xp.full_like(rows.offset, -float("inf"))]
    for k, source in enumerate(rows.network.sources):
        pre, low, high, cut = values[source], rows.lower[k], rows.upper[k], rows.cut[k]
        inside = xp.minimum(xp.maximum(pre, low), high)
        floor, ceiling = rows.relaxations[k].hull(low, high, inside)
        bent = xp.astype(rows.lines[k].bent, pre.dtype)
        found += [low - pre, pre - high, bent * (floor - posts[k]), bent * (posts[k] - ceiling)]
        apart = rows.relaxations[k].tied(pre)
        if apart is not None:
            found.append(xp.abs(apart))
        if cut is not None:
            width = xp.where(high > low, high - low, xp.ones_like(high))
            outside = xp.maximum(low - pre, pre - high) / width
            excess.append(xp.max(xp.where(cut, outside, -xp.ones_like(outside)), axis=-1))
    if rows.couplings is not None:
        left = rows.couplings.values(values)
        found.append(left)
        excess.append(xp.max(left / rows.couplings.size(values), axis=-1))
    return found, xp.max(xp.stack(excess, axis=-1), axis=-1)


def feasible(rows: Rows, errors: Sequence[Array], values: Sequence[Array], posts: Sequence[Array]) -> Array:
    """Whether a point is in the relaxation and satisfies all constraints, up to the rounding of values, [rows]."""
    xp = rows.xp
    found = xp.ones_like(rows.offset, dtype=xp.bool)
    for k, source in enumerate(rows.network.sources):
        pre, slack = values[source], errors[source]
        low, high = rows.lower[k], rows.upper[k]
        inside = xp.minimum(xp.maximum(pre, low), high)
        floor, ceiling = rows.relaxations[k].hull(low, high, inside)
        own = errors[rows.network.activations[k]]
        ends, edges = (
            (pre >= low - slack) & (pre <= high + slack),
            (posts[k] >= floor - own) & (posts[k] <= ceiling + own),
        )
        found = found & xp.all(ends, axis=-1) & xp.all(edges, axis=-1)
        apart = rows.relaxations[k].tied(pre)
        if apart is not None:
            found = found & xp.all(xp.abs(apart) <= rows.relaxations[k].folded(slack), axis=-1)
    if rows.couplings is None:
        return found
    sizes = {i: xp.broadcast_to(error, values[i].shape) for i, error in enumerate(errors)}
    return found & xp.all(rows.couplings.values(values) <= rows.couplings.slack(values, sizes), axis=-1)
