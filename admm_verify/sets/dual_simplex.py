"""Linear programs over boxes with a few rows, many functionals at once, by the dual simplex method with bounds."""

from math import prod
from typing import Any

from admm_verify.arrays import Array, Float, namespace, quiet_overflow

_ITERATIONS = 8
"""Pivots for each row of the programs, besides a few for all; most functionals take about one for each."""

_ROUNDINGS = 64.0
"""How far variables may be from their range, in roundings of what is added up."""

_PIVOT = 2.0**-24
"""How small a pivot is, beside others of its row, that may come of rounding."""

_CLEAR = 2.0**-30
"""How far rows have to exclude each other, in units of what they add up, before nothing counts as feasible."""

_FAR = 2.0**60
"""How far multipliers go where nothing is feasible: to so many times what they have to outweigh."""


def solve_programs(
    coefficient: Float[Array, "... n"],
    ends: tuple[Float[Array, "... n"], Float[Array, "... n"]],
    normals: Float[Array, "... m n"],
    limits: Float[Array, "... m"],
) -> tuple[Float[Array, "... n"], Float[Array, "... m"]]:
    """Minimisers of c'x over lower <= x <= upper, normals x <= limits, and multipliers mu >= 0 of the rows.

    For any mu >= 0, min c'x >= min over the box of (c + mu'normals)'x - mu'limits; at these it is attained up to
    rounding, or nearly, where the pivots that are taken do not suffice. Minimisers lie in the box, and keep the rows up
    to rounding. Where no point is feasible mu is large along what excludes all, and x is some point of the box.

    Shapes: leading axes of the ends, normals and limits broadcast against those of the functionals.
    Reference: Koberstein, The Dual Simplex Method, Techniques for a Fast and Stable Implementation (2005), 3.1, 6.2.2.
    """
    xp, (m, n) = namespace(coefficient), normals.shape[-2:]
    lead = tuple(coefficient.shape[:-1])
    found = _Tableau(
        xp,
        xp.reshape(coefficient, (prod(lead), n)),
        [_rows(xp, end, lead, 1) for end in ends],
        _rows(xp, normals, lead, 2),
        _rows(xp, limits, lead, 1),
    )
    with quiet_overflow():
        for _ in range(_ITERATIONS * m + 4):
            if not found.step():
                break
        return xp.reshape(found.point(), (*lead, n)), xp.reshape(found.multipliers(), (*lead, m))


def _rows(xp: Any, array: Array, lead: tuple[int, ...], last: int) -> Array:
    """An array for every functional, or one that all of them share: [functionals or 1, ...]."""
    own, tail = array.shape[: len(array.shape) - last], array.shape[len(array.shape) - last :]
    if prod(own) == 1:
        return xp.reshape(array, (1, *tail))
    return xp.reshape(xp.broadcast_to(array, (*lead, *tail)), (-1, *tail))


class _Tableau:
    """Programs min c'x, normals x + s = limits, s >= 0: m variables of each are basic, the others at an end.

    The variables are x and then s. basis: the basic ones; inverse: of their columns. reduced: costs d = c + normals'mu
    of x and mu of s, of a sign that fits the ends at which variables are, which `upper` says. ray: a direction of mu
    along which the bound grows for ever.
    Shapes: basis [rows, m]; inverse [rows, m, m]; basic, upper, reduced [rows, n + m]; ray [rows, m].
    """

    def __init__(self, xp: Any, c: Array, ends: list[Array], normals: Array, limits: Array) -> None:
        self.xp, (count, n), m = xp, c.shape, limits.shape[-1]
        kind = {"dtype": c.dtype, "device": c.device}
        self.n, self.m, self.limits = n, m, limits
        eye = xp.eye(m, **kind)
        self.columns = xp.concat([normals, xp.broadcast_to(eye, (normals.shape[0], m, m))], axis=-1)
        some = xp.zeros((max(end.shape[0] for end in ends), m), **kind)
        lower, upper = (xp.broadcast_to(end, (some.shape[0], n)) for end in ends)
        self.low, self.high = xp.concat([lower, some], axis=-1), xp.concat([upper, some + float("inf")], axis=-1)
        self.number = xp.arange(n + m, device=c.device)
        self.inverse = xp.zeros((count, m, m), **kind) + eye
        self.basis = xp.zeros((count, m), dtype=self.number.dtype, device=c.device) + self.number[n:]
        self.basic = (self.number >= n) & xp.ones((count, 1), dtype=xp.bool, device=c.device)
        self.reduced = xp.concat([c, xp.zeros((count, m), **kind)], axis=-1)
        self.upper, self.ray = self.reduced < 0, xp.zeros((count, m), **kind)
        self.halted = xp.zeros((count, 1), dtype=xp.bool, device=c.device)
        reach = xp.maximum(xp.abs(lower), xp.abs(upper))
        size = xp.abs(limits) + (xp.abs(normals) @ reach[..., None])[..., 0]
        self.size = size
        self.slack = _ROUNDINGS * xp.finfo(c.dtype).eps * (size + xp.finfo(c.dtype).smallest_normal)
        self.tiny = max(_ROUNDINGS * float(xp.finfo(c.dtype).eps), _PIVOT)

    def point(self) -> Array:
        """Where the variables x are, in the boxes."""
        xp, n = self.xp, self.n
        x, values = self._ends()[:, :n], self._values()
        for k in range(self.m):
            x = xp.where(self.number[:n] == self.basis[:, k, None], values[:, k, None], x)
        x = xp.where(xp.isnan(x), self.low[:, :n], x)
        return xp.minimum(xp.maximum(x, self.low[:, :n]), self.high[:, :n])

    def multipliers(self) -> Array:
        """mu, with what the rays add to it."""
        xp, mu = self.xp, self.reduced[:, self.n :] + self.ray
        return xp.where(xp.isfinite(mu), xp.maximum(mu, xp.zeros_like(mu)), xp.zeros_like(mu))

    def step(self) -> bool:
        """One pivot of all programs with a basic variable out of its range; whether there was one."""
        xp, values = self.xp, self._values()
        low, high = (
            xp.take_along_axis(xp.broadcast_to(end, self.reduced.shape), self.basis, axis=-1)
            for end in (self.low, self.high)
        )
        below, above = low - values, values - high
        away = xp.maximum(below, above) - (xp.abs(self.inverse) @ self.slack[..., None])[..., 0]
        row = xp.argmax(away, axis=-1)[:, None]
        away = xp.take_along_axis(away, row, axis=-1)
        open = (away > 0) & ~self.halted
        if not bool(xp.any(open)):
            return False
        rises = xp.take_along_axis(below > above, row, axis=-1)
        sign = xp.where(rises, -xp.ones_like(away), xp.ones_like(away))
        own = xp.take_along_axis(self.inverse, row[..., None], axis=-2)
        self._pivot(open, row, sign, sign * (own @ self.columns)[:, 0, :], away)
        return True

    def _pivot(self, open: Array, row: Array, sign: Array, alpha: Array, away: Array) -> None:
        """The basic variables of some rows leave for the end they are beyond; alpha: their rows, times the sign."""
        xp, zero = self.xp, self.xp.zeros_like(alpha)
        size = xp.abs(alpha)
        # Of the others those count that can make up for it.
        useful = ~self.basic & (self.high > self.low)
        useful = useful & (xp.where(self.upper, -alpha, alpha) > self.tiny * xp.max(size, axis=-1, keepdims=True))
        size = xp.where(useful, size, zero)
        ratio = xp.where(useful, xp.abs(self.reduced) / xp.where(useful, size, zero + 1.0), zero + float("inf"))
        order = xp.argsort(ratio, axis=-1)
        gains = xp.where(useful, size * (self.high - self.low), zero)
        # Past a ratio its variable is better at its other end, until what is made up for is all.
        passed = xp.cumulative_sum(xp.take_along_axis(gains, order, axis=-1), axis=-1)
        enough = passed >= away
        place = xp.argmax(xp.astype(enough, xp.int8), axis=-1, keepdims=True)
        enter = xp.take_along_axis(order, place, axis=-1)
        some = xp.any(enough, axis=-1, keepdims=True)
        self._note_rays(open & ~some, alpha, away - passed[:, -1:])
        moves = open & some
        rank = xp.argsort(order, axis=-1)
        head = xp.take_along_axis(alpha, enter, axis=-1)
        step = xp.take_along_axis(self.reduced, enter, axis=-1) / xp.where(moves, head, xp.ones_like(head))
        leave = xp.take_along_axis(self.basis, row, axis=-1)
        goes, comes = self.number == leave, self.number == enter
        reduced = xp.where(comes, zero, xp.where(goes, -step * sign, self.reduced - step * alpha))
        # What rounding does to a sign is nothing.
        upper = xp.where(goes, sign > 0, self.upper ^ (useful & (rank < place)))
        reduced = xp.where(
            goes | comes | self.basic, reduced, xp.where(upper, xp.minimum(reduced, zero), xp.maximum(reduced, zero))
        )
        self.reduced = xp.where(moves, reduced, self.reduced)
        self.upper = xp.where(moves, upper, self.upper)
        column = xp.take_along_axis(
            xp.broadcast_to(self.columns, (len(enter), *self.columns.shape[1:])), enter[..., None], axis=-1
        )
        self.basic = xp.where(moves, (self.basic & ~goes) | comes, self.basic)
        here = xp.arange(self.m, device=row.device) == row
        self.basis = xp.where(moves & here, enter, self.basis)
        self._exchange(moves, here, (self.inverse @ column)[..., 0])

    def _exchange(self, moves: Array, here: Array, column: Array) -> None:
        """Another column in one place of the bases."""
        xp = self.xp
        head = xp.sum(xp.where(here, column, xp.zeros_like(column)), axis=-1, keepdims=True)
        head = xp.where(moves, head, xp.ones_like(head))
        row = xp.sum(xp.where(here[..., None], self.inverse, xp.zeros_like(self.inverse)), axis=-2) / head
        rest = self.inverse - column[..., None] * row[:, None, :]
        inverse = xp.where(here[..., None], row[:, None, :], rest)
        self.inverse = xp.where(moves[..., None], inverse, self.inverse)

    def _note_rays(self, endless: Array, alpha: Array, slope: Array) -> None:
        """Where all others together do not make up for it, nothing is feasible, and mu may go as far as one likes."""
        xp = self.xp
        weight = xp.sum(xp.abs(self.reduced[:, : self.n]) * (self.high - self.low)[:, : self.n], axis=-1, keepdims=True)
        most = xp.max(xp.abs(self.reduced), axis=-1, keepdims=True)
        far = _FAR * (weight + most + 1.0) / xp.where(endless, slope, xp.ones_like(slope))
        ray = -alpha[:, self.n :]
        ray = xp.maximum(ray, xp.zeros_like(ray))
        # What is next to nothing may come of rounding.
        clear = endless & (slope > _CLEAR * xp.sum(ray * self.size, axis=-1, keepdims=True))
        self.ray = xp.where(clear, far * ray, self.ray)
        self.halted = self.halted | endless

    def _ends(self) -> Array:
        """The values of all variables where they are not basic, zero of those that are."""
        xp = self.xp
        ends = xp.where(self.upper, self.high, self.low)
        return xp.where(self.basic, xp.zeros_like(ends), ends)

    def _values(self) -> Array:
        """The values of basic variables."""
        rest = self.limits - (self.columns @ self._ends()[..., None])[..., 0]
        return (self.inverse @ rest[..., None])[..., 0]
