"""Nearest points of boxes cut with a few rows, many at once, by Newton's method on the multipliers of the rows."""

from typing import Any

from admm_verify.arrays import Array, Float, namespace, quiet_overflow
from admm_verify.sets.images import along, applied

_STEPS = 12
"""At most; three to five are common."""

_CLOSE = 2.0**-42
"""How far rows with a multiplier may be from their limits, and others beyond, in units of what they add up."""

_REGULAR = 2.0**-40
"""What is added to the diagonal of the systems, so that rows may depend on each other."""

_STEEP = 2.0**-10
"""Share of a row that has to be inside the box, for steps that believe in what is there."""


def nearest_points(
    x: Float[Array, "... n"],
    ends: tuple[Float[Array, "... n"], Float[Array, "... n"]],
    normals: Float[Array, "... m n"],
    limits: Float[Array, "... m"],
) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
    """The points of lower <= z <= upper, normals z <= limits nearest to x, and where that is what they are, up to
    rounding.

    They are the points z(mu) of the box nearest to x - normals'mu for the mu >= 0 where the concave dual function
    |z - x|^2 / 2 + mu'(normals z - limits) is greatest; its gradient is normals z - limits, and its Hessian that of the
    coordinates inside the box.
    Reference: Qi and Sun, A quadratically convergent Newton method for computing the nearest correlation matrix, SIAM
    J. Matrix Anal. Appl. 28 (2006), whose semismooth dual function has another set in the box's place.
    """
    xp, search = namespace(x), _Pulled(namespace(x), x, ends, normals, limits)
    with quiet_overflow():
        for _ in range(_STEPS):
            if not search.step():
                break
    return search.z, xp.all(search.settled, axis=-1)


class _Pulled:
    """Multipliers mu of rows of length 1, and the points z they pull x to.

    Shapes: z [..., n]; mu, slope [..., m].
    """

    def __init__(self, xp: Any, x: Array, ends: tuple[Array, Array], normals: Array, limits: Array) -> None:
        self.xp, self.x, (self.lower, self.upper) = xp, x, ends
        length = xp.sqrt(xp.sum(normals * normals, axis=-1))
        length = xp.where(length > 0, length, xp.ones_like(length))
        self.rows, self.limits = normals / length[..., None], limits / length
        reach = xp.maximum(xp.abs(self.lower), xp.abs(self.upper))
        self.room = _CLOSE * (applied(xp.abs(self.rows), reach) + xp.abs(self.limits))
        self.eye = xp.eye(normals.shape[-2], dtype=x.dtype, device=x.device)
        self.mu = xp.zeros_like(self.limits + x[..., :1])
        self._look()

    def _look(self) -> None:
        xp = self.xp
        self.pulled = self.x - along(self.mu, self.rows)
        self.z = xp.minimum(xp.maximum(self.pulled, self.lower), self.upper)
        self.slope = applied(self.rows, self.z) - self.limits
        over = self.slope <= self.room
        self.settled = xp.where(self.mu > 0, xp.abs(self.slope) <= self.room, over)

    def step(self) -> bool:
        """One step of all that are not settled; whether there were any."""
        xp = self.xp
        open = ~xp.all(self.settled, axis=-1, keepdims=True)
        if not bool(xp.any(open)):
            return False
        way = self._way()
        far = self._far(way)
        self.mu = xp.where(open, xp.maximum(self.mu + far * way, xp.zeros_like(way)), self.mu)
        self._look()
        return True

    def _way(self) -> Array:
        """Newton's direction for the rows that pull; as if all coordinates were inside, where few are."""
        xp, zero = self.xp, self.xp.zeros_like(self.slope)
        active = (self.mu > 0) | (self.slope > self.room)
        inside = xp.astype((self.z > self.lower) & (self.z < self.upper), self.z.dtype)
        held = xp.sum(self.rows * self.rows * inside[..., None, :], axis=-1)
        few = xp.any(active & (held < _STEEP), axis=-1, keepdims=True)
        inside = xp.where(few, xp.ones_like(inside), inside)
        own = self.rows * xp.astype(active, self.z.dtype)[..., None]
        idle = xp.where(active, zero + _REGULAR, zero + 1.0)
        matrix = (own * inside[..., None, :]) @ xp.matrix_transpose(own) + idle[..., None] * self.eye
        way = xp.linalg.solve(matrix, xp.where(active, self.slope, zero)[..., None])[..., 0]
        # Without an ascent left by this, the gradient is one.
        known = xp.all(xp.isfinite(way), axis=-1, keepdims=True) & (
            xp.sum(way * self.slope, axis=-1, keepdims=True) > 0
        )
        gradient = xp.where(active & ((self.mu > 0) | (self.slope > 0)), self.slope, zero)
        return xp.where(known, way, gradient)

    def _far(self, way: Array) -> Array:
        """How far along a way the dual function grows, at most to where a multiplier is zero: [..., 1]."""
        xp, pull = self.xp, along(way, self.rows)
        falls = way < 0
        most = xp.where(falls, self.mu / xp.where(falls, -way, xp.ones_like(way)), xp.full_like(way, float("inf")))
        # Those that are zero already stay so, and hold nobody up.
        most = xp.where(most > 0, most, xp.full_like(way, float("inf")))
        limit = xp.min(most, axis=-1, keepdims=True)
        moving = pull != 0
        width = xp.where(moving, pull, xp.ones_like(pull))
        ends = [(self.pulled - end) / width for end in (self.lower, self.upper)]
        infinite = xp.full_like(pull, float("inf"))
        begin = xp.where(moving, xp.maximum(xp.minimum(*ends), 0.0 * pull), infinite)
        end = xp.where(moving, xp.maximum(xp.maximum(*ends), 0.0 * pull), infinite)
        # The derivative is rise, and falls by pull^2 for every coordinate that is on its way through the box.
        rise = xp.sum(pull * self.z, axis=-1, keepdims=True) - xp.sum(way * self.limits, axis=-1, keepdims=True)
        times, turns = xp.concat([begin, end], axis=-1), xp.concat([pull * pull, -pull * pull], axis=-1)
        order = xp.argsort(times, axis=-1)
        times, turns = (xp.take_along_axis(part, order, axis=-1) for part in (times, turns))
        fall = xp.cumulative_sum(turns, axis=-1)
        finite = xp.isfinite(times)
        known = xp.where(finite, times, xp.zeros_like(times))
        gaps = xp.where(finite[..., 1:], known[..., 1:] - known[..., :-1], xp.zeros_like(known[..., 1:]))
        lost = xp.concat(
            [0.0 * rise, xp.cumulative_sum(xp.maximum(fall, 0.0 * fall)[..., :-1] * gaps, axis=-1)], axis=-1
        )
        before = finite & (lost <= rise)
        last = xp.sum(xp.astype(before, xp.int64), axis=-1, keepdims=True) - 1
        last = xp.maximum(last, xp.zeros_like(last))
        left, steep = rise - xp.take_along_axis(lost, last, axis=-1), xp.take_along_axis(fall, last, axis=-1)
        more = left / xp.where(steep > 0, steep, xp.ones_like(steep))
        far = xp.take_along_axis(known, last, axis=-1) + xp.where(steep > 0, more, xp.zeros_like(more))
        return xp.minimum(xp.maximum(far, xp.zeros_like(far)), limit)
