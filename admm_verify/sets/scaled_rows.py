"""The rows of a polytope in the coordinates of its box, and the programs over it in those."""

from dataclasses import dataclass
from functools import cached_property

from admm_verify.arrays import Array, Float, namespace, quiet_overflow
from admm_verify.sets.box import Box
from admm_verify.sets.dual_newton import nearest_points
from admm_verify.sets.dual_simplex import solve_programs
from admm_verify.sets.images import along, applied
from admm_verify.sets.interior import Points, Rows, UnitProgram

_SAME = 1e-14
"""Rows of length 1 that differ by less are one."""

_THIN = 1e-10
"""Relative to the width across: two opposite rows that leave less are one equality."""

_OPEN = 1e-9
"""What solutions of size 1 lack: more is not solved."""

_FAR = 4.0
"""Limits farther away than the box reaches are none; nearer ones keep their distance."""


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """x = middle + half t with t in [-1, 1]^n, and rows divided by the most they reach there.

    Of two opposite rows without room between, the first is the equality and the second left out; `mates` says which.
    Shapes: lower, upper, middle, half [..., n]; normals [..., m, n]; size [..., m]; mates [..., m, m].
    """

    lower: Array
    upper: Array
    normals: Array
    limits: Array
    middle: Array
    half: Array
    size: Array
    slopes: Array
    rooms: Array
    program: UnitProgram
    mates: Array | None

    @classmethod
    def of(cls, lower: Array, upper: Array, normals: Array, limits: Array) -> "ScaledRows":
        """Those of sets of such `numbers`, in float64."""
        xp = namespace(lower)
        middle, half = Box.of(lower, upper).middle
        with quiet_overflow():
            scaled = normals * half[..., None, :]
            size = xp.sum(xp.abs(scaled), axis=-1)
            whole = size > 0
            size = xp.where(whole, size, xp.ones_like(size))
            rooms = (limits - applied(normals, middle)) / size
            slopes = scaled / size[..., None]
        rooms = xp.clip(xp.where(whole, rooms, xp.full_like(rooms, _FAR)), -_FAR, _FAR)
        own = slopes, rooms
        mates = _mates(slopes, rooms)
        kinds = xp.ones_like(rooms)
        if mates is not None:
            first, second = xp.any(mates, axis=-1), xp.any(mates, axis=-2)
            other = xp.sum(xp.where(mates, rooms[..., None, :], xp.zeros_like(mates, dtype=rooms.dtype)), axis=-1)
            rooms = xp.where(first, 0.5 * (rooms - other), xp.where(second, xp.full_like(rooms, _FAR), rooms))
            slopes = xp.where(second[..., None], xp.zeros_like(slopes), slopes)
            kinds = xp.where(first, xp.zeros_like(kinds), kinds)
        program = UnitProgram(slopes, rooms, kinds)
        return cls(lower, upper, normals, limits, middle, half, size, *own, program, mates)

    def multipliers(self, coefficient: Points) -> Rows:
        """mu >= 0 for which min over the box of (c + normals'mu)'x - limits'mu is nearly the greatest."""
        return self._linear(coefficient)[1]

    def minimiser(self, coefficient: Points) -> Points:
        """A point of the box where c'x is nearly the least among those that nearly keep the rows."""
        return self.middle + self.half * self._linear(coefficient)[0]

    def _linear(self, coefficient: Points) -> tuple[Points, Rows]:
        xp, cost = namespace(coefficient), coefficient * self.half
        scale = _scale(cost)
        cost = cost / scale
        one = xp.ones_like(self.half)
        t, mu = solve_programs(cost, (-one, one), self.slopes, self.rooms)
        value = _dual_value(cost, mu, self.slopes, self.rooms)
        gap = xp.sum(cost * t, axis=-1, keepdims=True) - value
        over = xp.max(applied(self.slopes, t) - self.rooms, axis=-1, keepdims=True)
        if bool(xp.any((gap > _OPEN) | (over > _OPEN) & (gap > -_OPEN))):
            # Of the few that pivots did not solve, the path gives the better of both.
            other, nu = self.program.solve(cost, xp.zeros_like(cost))
            nu = self._own(nu)
            better = _dual_value(cost, nu, self.slopes, self.rooms) > value
            t, mu = xp.where(over > _OPEN, other, t), xp.where(better, nu, mu)
        return t, mu * scale / self.size

    def nearest(self, x: Points) -> tuple[Points, Points]:
        """Two candidates for the nearest points of the sets, which keep rows nearly.

        The first is the box's nearest to x - normals'mu, for the best multipliers, which is accurate unless x is so far
        away that this difference loses all digits; the second is what the path ends in.
        """
        xp = namespace(x)
        z, done = nearest_points(x, (self.lower, self.upper), self.normals, self.limits)
        if bool(xp.all(done)):
            return z, z
        # Of the few that Newton's steps did not find, the path comes near.
        cost, weight = self.half * (self.middle - x), self.half * self.half + 0.0 * x
        scale = _scale(xp.concat([cost, weight], axis=-1))
        t, mu = self.program.solve(cost / scale, weight / scale)
        pulled = x - along(self._own(mu) * scale / self.size, self.normals)
        boxed = xp.minimum(xp.maximum(pulled, self.lower), self.upper)
        path = self.middle + self.half * t
        return xp.where(done[..., None], z, boxed), xp.where(done[..., None], z, path)

    @cached_property
    def middlemost(self) -> Points:
        """The analytic centres, or anything where there are none."""
        zero = namespace(self.half).zeros_like(self.half)
        return self.middle + self.half * self.program.solve(zero, zero, centring=1.0)[0]

    def _own(self, mu: Rows) -> Rows:
        """The multipliers of the rows as they were given, none negative."""
        xp = namespace(mu)
        zero = xp.zeros_like(mu)
        if self.mates is None:
            return xp.maximum(mu, zero)
        back = xp.where(self.mates, xp.maximum(-mu, zero)[..., :, None], xp.zeros_like(mu)[..., None])
        second = xp.any(self.mates, axis=-2)
        return xp.where(second, zero, xp.maximum(mu, zero)) + xp.sum(back, axis=-2)


def _mates(slopes: Array, rooms: Array) -> Float[Array, "... m m"] | None:
    """Where row j and a later row k are opposite and leave no room between, each row once; None where no two are."""
    xp, m = namespace(slopes), slopes.shape[-2]
    used = xp.zeros_like(rooms, dtype=xp.bool)
    index = xp.arange(m, device=rooms.device)
    found, some = [], False
    for j in range(m):
        opposite = xp.all(xp.abs(slopes + slopes[..., j : j + 1, :]) <= _SAME, axis=-1)
        thin = xp.abs(rooms + rooms[..., j : j + 1]) <= _THIN
        match = opposite & thin & xp.logical_not(used | used[..., j : j + 1]) & (index > j)
        first = match & (xp.cumulative_sum(xp.astype(match, xp.int64), axis=-1) == 1)
        used = used | first | ((index == j) & xp.any(first, axis=-1, keepdims=True))
        some = some or bool(xp.any(first))
        found.append(first)
    return xp.stack(found, axis=-2) if some else None


def _dual_value(cost: Points, mu: Rows, slopes: Array, rooms: Array) -> Array:
    """min over [-1, 1]^n of (cost + slopes'mu)'t - rooms'mu, [..., 1]."""
    xp = namespace(cost)
    least = xp.sum(xp.abs(cost + along(mu, slopes)), axis=-1, keepdims=True)
    return -least - xp.sum(mu * rooms, axis=-1, keepdims=True)


def _scale(x: Array) -> Array:
    """max |x_i|, or 1 for zeros, [..., 1]."""
    xp = namespace(x)
    most = xp.max(xp.abs(x), axis=-1, keepdims=True)
    return xp.where(most > 0, most, xp.ones_like(most))
