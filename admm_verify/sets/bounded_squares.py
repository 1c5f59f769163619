"""Least squares in cubes, many at once, by an active-set method."""

from math import prod

from admm_verify.arrays import Array, Bool, Float, namespace, quiet_overflow
from admm_verify.sets.images import along, applied

_CLOSE = 2.0**-46
"""Slopes left at a minimum, in units of what they add up."""

_STEPS = 4
"""For each unknown, at most; about one for each dimension is common."""

_NUMBERS = 2**18
"""Of the inverses that are worked on at a time, so that they stay in a cache."""

_CROWDED = 0.75
"""Share of problems that are open when the others are put away."""


def least_squares(
    slopes: Float[Array, "... n m"], rooms: Float[Array, "... n"], start: Float[Array, "... m"]
) -> tuple[Float[Array, "... m"], Bool[Array, "..."]]:
    """z with |z_i| <= 1 for which |slopes z - rooms| is least, and where that is what they are, up to rounding.

    Free unknowns, whose columns stay independent, solve their equations; the first one to meet an end is held there,
    and of those held the one with the steepest slope is freed. Each change is one of rank one of the free columns'
    pseudo-inverse.
    Shapes: entries of the slopes are at most 1 or so; leading axes of the slopes broadcast against those of the rooms.
    Reference: Stark and Parker, Bounded-variable least squares, Computational Statistics 10 (1995); Greville, Some
    applications of the pseudoinverse of a matrix, SIAM Review 2 (1960).
    """
    xp, (n, m) = namespace(rooms), slopes.shape[-2:]
    lead = tuple(start.shape[:-1])
    count, shared = prod(lead), prod(slopes.shape[:-2]) == 1
    if not count:
        return start, xp.zeros_like(start[..., 0], dtype=xp.bool)
    first = xp.reshape(slopes, (1, n, m)) if shared else xp.broadcast_to(slopes, (*lead, n, m))
    first = xp.reshape(first, (-1, n, m))
    second, third = (xp.reshape(xp.broadcast_to(part, (*lead, part.shape[-1])), (count, -1)) for part in (rooms, start))
    block = max(1, _NUMBERS // (n * m))
    found = []
    with quiet_overflow():
        for k in range(0, count, block):
            own = first if shared else first[k : k + block]
            found.append(_solved(_Cubes(own, second[k : k + block], third[k : k + block])))
    z, settled = (xp.concat(parts, axis=0) for parts in zip(*found, strict=True))
    return xp.reshape(z, (*lead, m)), xp.reshape(settled, lead)


def _solved(problems: "_Cubes") -> tuple[Array, Array]:
    """Step until all problems are settled, with fewer and fewer of them."""
    xp, done = problems.xp, []
    place = xp.arange(problems.z.shape[0], device=problems.z.device)
    for _ in range(_STEPS * problems.z.shape[-1] + 8):
        left = int(xp.sum(xp.astype(~problems.settled, xp.int64)))
        if not left:
            break
        if left < _CROWDED * place.shape[0]:
            closed, open = (xp.nonzero(some)[0] for some in (problems.settled, ~problems.settled))
            done.append([xp.take(part, closed, axis=0) for part in (place, problems.z, problems.settled)])
            place = xp.take(place, open, axis=0)
            problems.keep(open)
        problems.step()
    done.append([place, problems.z, problems.settled])
    place, z, settled = (xp.concat(parts, axis=0) for parts in zip(*done, strict=True))
    order = xp.argsort(place)
    return xp.take(z, order, axis=0), xp.take(settled, order, axis=0)


class _Cubes:
    """Problems with a pseudo-inverse of the free columns each; its rows are zero for unknowns that are held.

    Shapes: slopes [rows or 1, n, m]; rooms, left [rows, n]; z, free [rows, m]; inverse [rows, m, n].
    """

    def __init__(self, slopes: Array, rooms: Array, start: Array) -> None:
        xp = self.xp = namespace(rooms)
        self.slopes, self.rooms, self.z = slopes, rooms, start
        length = xp.sqrt(xp.sum(slopes * slopes, axis=-2))
        self.length = xp.where(length > 0, length, xp.ones_like(length)) + xp.zeros_like(start)
        n, m = slopes.shape[-2:]
        self.free = xp.zeros_like(start, dtype=xp.bool)
        self.settled = self.free[..., 0]
        self.inverse = xp.zeros((start.shape[0], m, n), dtype=start.dtype, device=start.device)
        self.close = _CLOSE * (n + m) * (1.0 + xp.max(xp.abs(rooms), axis=-1, keepdims=True))
        self.number = xp.arange(m, device=start.device)
        self.left = rooms - applied(slopes, start)

    def keep(self, open: Array) -> None:
        """Only some of the problems."""
        xp = self.xp
        parts = (self.rooms, self.z, self.length, self.free, self.settled, self.inverse, self.close)
        self.rooms, self.z, self.length, self.free, self.settled, self.inverse, self.close = (
            xp.take(part, open, axis=0) for part in parts
        )
        self.left = xp.take(self.left, open, axis=0)
        if self.slopes.shape[0] > 1:
            self.slopes = xp.take(self.slopes, open, axis=0)

    def step(self) -> None:
        """Go where free unknowns solve their equations, or to the first end; then change what is free by one."""
        xp, one = self.xp, self.xp.ones_like(self.z)
        way = xp.where(self.free, (self.inverse @ self.left[..., None])[..., 0], 0.0 * one)
        # Those that are held by an end already are in no inverse, and do not move.
        moves = way != 0
        room = xp.where(moves, (xp.sign(way) - self.z) / xp.where(moves, way, one), xp.full_like(way, float("inf")))
        first = xp.argmin(room, axis=-1, keepdims=True)
        far = xp.take_along_axis(room, first, axis=-1)
        blocked = far < 1.0
        met = blocked & (self.number == first)
        z = self.z + xp.where(far < 1.0, far, xp.ones_like(far)) * way
        z = xp.minimum(xp.maximum(xp.where(met, xp.sign(way), z), -one), one)
        self.z = xp.where(self.settled[..., None], self.z, z)
        self.left = self.rooms - applied(self.slopes, self.z)
        slope = along(self.left, self.slopes) / self.length
        stuck = ((self.z >= 1.0) & (slope > 0)) | ((self.z <= -1.0) & (slope < 0))
        steep = xp.where(stuck & ~self.free, 0.0 * one, xp.abs(slope))
        high = steep > self.close
        self.settled = self.settled | ~xp.any(high | blocked, axis=-1)
        rest = xp.where(self.free, 0.0 * one, steep)
        second = xp.argmax(rest, axis=-1, keepdims=True)
        joins = ~blocked & (xp.take_along_axis(rest, second, axis=-1) > self.close)
        self._change(xp.where(blocked, first, second), blocked, joins)

    def _change(self, which: Array, leaves: Array, joins: Array) -> None:
        """One unknown of every problem leaves the free ones, or joins them, [rows, 1]."""
        xp, here = self.xp, self.number == which
        own = xp.take_along_axis(self.inverse, which[..., None], axis=-2)[..., 0, :]
        columns = xp.matrix_transpose(self.slopes)
        if self.slopes.shape[0] == 1:
            column = xp.take(columns[0, ...], which[..., 0], axis=0)
        else:
            column = xp.take_along_axis(columns, which[..., None], axis=-2)[..., 0, :]
        turned = (self.inverse @ xp.where(leaves, own, column)[..., None])[..., 0]
        # Of a column that joins, what the others do not span; of the inverse without a row, what is orthogonal to it.
        apart = xp.where(leaves, own, column - applied(self.slopes, turned))
        square = xp.sum(apart * apart, axis=-1, keepdims=True)
        changes = xp.logical_or(leaves, joins) & (square > 0) & ~self.settled[..., None]
        apart = xp.where(changes, apart / xp.where(changes, square, xp.ones_like(square)), xp.zeros_like(apart))
        turned = xp.where(joins & here, turned - 1.0, turned)
        self.inverse = self.inverse - turned[..., None] * apart[..., None, :]
        gone = changes & leaves & here
        self.free = (self.free & ~gone) | (changes & joins & here)
