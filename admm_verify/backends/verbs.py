"""The seam of the kernels: the elementwise chains in which an iteration spends its time, one verb each.

All arrays have one floating dtype. Row r uses row box[r] of bounds and lines, and rows of one box share it; where there
is one box only, all rows share it, whatever `box` says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from admm_verify.arrays import Array, Float, Int, Placement, inner, namespace, take_rows, to_numpy
from admm_verify.errors import InputError
from admm_verify.relaxations import triangle

Values = Float[Array, "rows n"]
Sources = Float[Array, "rows width"]
PerBox = Float[Array, "boxes n"]
Owner = Int[Array, " rows"]
Sums = Float[Array, " rows"]


@dataclass(frozen=True)
class Adam:
    """Constants of Adam's step t: momentum and memory, first = 1 - momentum^t, second = 1 - memory^t, and the rate."""

    momentum: float
    memory: float
    first: float
    second: float
    rate: float


class KinkBounds(NamedTuple):
    """A kink layer's upper lines, chord pre + intercept, and the range of its slopes."""

    chord: PerBox
    intercept: PerBox
    minimum: PerBox
    maximum: PerBox


class KinkPaces(NamedTuple):
    """The same, and how fast the slopes move."""

    chord: PerBox
    intercept: PerBox
    minimum: PerBox
    maximum: PerBox
    pace: PerBox


@dataclass(frozen=True, eq=False)
class SlopeState:
    """Slopes and Adam's averages of a layer, [rows, n] each, which `climb` overwrites: three arrays of their own."""

    slopes: Array
    mean: Array
    square: Array


@dataclass(frozen=True, eq=False)
class EntryPlaces:
    """Which entries of a row of so many every number is made of: places [most, n], `width` behind the last of each."""

    places: Int[Array, "most n"]
    width: int

    @classmethod
    def of(cls, places: np.ndarray, width: int, placement: Placement) -> "EntryPlaces":
        """The entries in a placement; kernels look at no place again.

        Raises: InputError for a place that is none, or that follows one that is none.
        """
        behind = (places[:-1] == width) & (places[1:] < width)
        if places.min(initial=0) < 0 or places.max(initial=0) > width or behind.any():
            raise InputError(f"Places of entries are below 0, above the row's width {width}, or behind a missing one.")
        return cls(placement.put_indices(places), width)


def slope_state(slopes: Values, empty: Callable[[tuple[int, ...]], Array]) -> SlopeState:
    """Slopes as they are before Adam's first step, in arrays that `empty` makes."""
    arrays = [empty(tuple(slopes.shape)) for _ in range(3)]
    for array, value in zip(arrays, (slopes, 0.0, 0.0), strict=True):
        array[...] = value
    return SlopeState(*arrays)


class Verbs(Protocol):
    """Fused elementwise work on [rows, n] arrays.

    Valid when: 0 <= box < boxes, no array overlaps another, and all have one dtype. Raises: InputError in the native
    version for shapes, dtypes and boxes that do not fit; on a GPU a box out of range is not noticed.
    Error: a few roundings of the terms; sums over a row a few more. NaN stays NaN.
    """

    def state(self, slopes: Values) -> SlopeState:
        """Slopes, copied, as they are before Adam's first step."""
        ...

    def descend(self, a: Values, slopes: Values, chord: PerBox, intercept: PerBox, box: Owner) -> tuple[Values, Sums]:
        """A kink layer's part of the backward sweep.

        g = slopes a where a > 0, else chord a; value = sum of min(a, 0) intercept.
        """
        ...

    def climb(self, a: Values, pre: Values, bounds: KinkBounds, box: Owner, state: SlopeState, adam: Adam) -> Values:
        """A kink layer's part of the forward sweep, and Adam's step on its slopes in place.

        post = slopes pre where a > 0, else chord pre + intercept, with the slopes before the step;
        gradient = max(a, 0) pre, mean = momentum mean + (1 - momentum) gradient, square = memory square + (1 - memory)
        gradient^2, slopes = clip(slopes + rate (maximum - minimum) (mean / first) / max(sqrt(square / second), least),
        minimum, maximum), where least is the dtype's smallest normal number.
        """
        ...

    def slide(
        self, a: Values, pre: Values, slopes: Values, lines: KinkPaces, box: Owner, rate: float
    ) -> tuple[Values, Values]:
        """A kink layer's part of the forward sweep, and a step of its slopes along their direction of ascent.

        post = slopes pre where a > 0, else chord pre + intercept; moved = clip(slopes + pace rate pre, minimum,
        maximum) where a > 0, else clip(slopes, minimum, maximum).
        """
        ...

    def vertex(self, coefficient: Values, lower: PerBox, upper: PerBox, box: Owner) -> tuple[Values, Sums]:
        """The vertex of the box that minimises coefficient'x.

        x = lower where coefficient > 0, else upper; value = sum of coefficient x.
        """
        ...

    def support(
        self, post: Values, pre: Values, lower: PerBox, upper: PerBox, weight: PerBox, box: Owner
    ) -> tuple[Sums, Sums]:
        """A layer's part of a certified bound, for any multipliers pre.

        value = sum of the least of post q - pre p over the triangle's vertices (p, q); size = sum of |pre| weight.
        """
        ...

    def charge(self, post: Values, pre: Values, intercept: PerBox, weight: PerBox, box: Owner) -> tuple[Sums, Sums]:
        """A kink layer's part of a certified bound, for multipliers pre of its lines.

        value = sum of min(post, 0) intercept; size = sum of |pre| weight.
        """
        ...

    def least(
        self, coefficient: Values, centre: PerBox, radius: PerBox, reach: PerBox, box: Owner
    ) -> tuple[Sums, Sums]:
        """The least value of coefficient'x over the box, as certified bounds take it.

        value = sum of coefficient centre - |coefficient| radius; size = sum of |coefficient| reach.
        """
        ...

    def between(
        self, pre: Values, share: Values, lower: PerBox, upper: PerBox, slack: PerBox, box: Owner
    ) -> tuple[Values, Sums]:
        """A layer's part of a feasible point of the triangle relaxation.

        post = floor + clip(share, 0, 1) (ceiling - floor) of the hull at pre clipped to [lower, upper]; outside = how
        many pre are outside [lower - slack, upper + slack], or NaN.
        """
        ...

    def average(self, mean: Values, a: Values, weight: float) -> Values:
        """A running mean of where a < 0: (1 - weight) mean, + weight where a < 0."""
        ...

    def blend(self, mean: Values, x: Values, weight: float) -> Values:
        """A running mean: (1 - weight) mean + weight x."""
        ...

    def project_triangle(
        self, lower: PerBox, upper: PerBox, pre: Values, post: Values, box: Owner
    ) -> tuple[Values, Values]:
        """The nearest point of the triangle relaxation.

        (p, q) = argmin (p - pre)^2 + (q - post)^2, in the closed form of `relaxations.triangle.project`.
        """
        ...

    def halpern(
        self, u: Values, r: Values, z: Values, anchor: Values, weight: PerBox, since: Sums, box: Owner | None
    ) -> tuple[Values, Sums]:
        """Halpern's step of the reflected operator, with r = 2 v - z, and the square of the residual.

        z_new = anchor / (since + 2) + (since + 1) / (since + 2) (2 u - r); square = sum of weight (u - (r + z) / 2)^2.
        """
        ...

    def gather(self, x: Sources, weight: PerBox, shift: PerBox, entries: EntryPlaces, box: Owner | None) -> Values:
        """Weighted sums of entries: weight times the sum of x at the entries' places, + shift."""
        ...

    def reflect(
        self, z: Values, source: Sources, sign: PerBox, gain: PerBox, entries: EntryPlaces, box: Owner | None
    ) -> Values:
        """sign z + gain times the entry of source, at most one, that belongs to each number."""
        ...

    def turn(
        self, along: Values, across: Values, near: PerBox, far: PerBox, back: PerBox, box: Owner | None
    ) -> tuple[Values, Values]:
        """A projection on a graph, in the coordinates of its singular vectors.

        down = near across - far along; up = back (along + down).
        """
        ...


class ArrayVerbs:
    """The verbs as chains of array operations, for any library: NumPy in float64 is the reference."""

    def state(self, slopes: Values) -> SlopeState:
        xp = namespace(slopes)
        return slope_state(slopes, lambda shape: xp.empty(shape, dtype=slopes.dtype, device=slopes.device))

    def descend(self, a: Values, slopes: Values, chord: PerBox, intercept: PerBox, box: Owner) -> tuple[Values, Sums]:
        xp = namespace(a)
        g = xp.where(a > 0, slopes, take_rows(chord, box)) * a
        return g, inner(xp.minimum(a, xp.zeros_like(a[..., :1])), take_rows(intercept, box))

    def climb(self, a: Values, pre: Values, bounds: KinkBounds, box: Owner, state: SlopeState, adam: Adam) -> Values:
        xp = namespace(a)
        chord, intercept, low, high = (take_rows(bound, box) for bound in bounds)
        post = xp.where(a > 0, state.slopes * pre, chord * pre + intercept)
        gradient = xp.maximum(a, xp.zeros_like(a[..., :1])) * pre
        mean = adam.momentum * state.mean + (1.0 - adam.momentum) * gradient
        square = adam.memory * state.square + (1.0 - adam.memory) * gradient**2
        least = xp.full_like(a[..., :1], xp.finfo(a.dtype).smallest_normal)
        move = (mean / adam.first) / xp.maximum(xp.sqrt(square / adam.second), least)
        slopes = xp.minimum(xp.maximum(state.slopes + adam.rate * (high - low) * move, low), high)
        for array, moved in ((state.slopes, slopes), (state.mean, mean), (state.square, square)):
            array[...] = moved
        return post

    def slide(
        self, a: Values, pre: Values, slopes: Values, lines: KinkPaces, box: Owner, rate: float
    ) -> tuple[Values, Values]:
        xp, below = namespace(a), a > 0
        chord, intercept, low, high, pace = (take_rows(part, box) for part in lines)
        post = xp.where(below, slopes * pre, chord * pre + intercept)
        moved = slopes + pace * xp.where(below, rate * pre, xp.zeros_like(pre))
        return post, xp.minimum(xp.maximum(moved, low), high)

    def vertex(self, coefficient: Values, lower: PerBox, upper: PerBox, box: Owner) -> tuple[Values, Sums]:
        xp = namespace(coefficient)
        x = xp.where(coefficient > 0, take_rows(lower, box), take_rows(upper, box))
        return x, inner(coefficient, x)

    def support(
        self, post: Values, pre: Values, lower: PerBox, upper: PerBox, weight: PerBox, box: Owner
    ) -> tuple[Sums, Sums]:
        xp = namespace(post)
        part = triangle.support(take_rows(lower, box), take_rows(upper, box), post, pre)
        return xp.sum(part, axis=-1), inner(xp.abs(pre), take_rows(weight, box))

    def charge(self, post: Values, pre: Values, intercept: PerBox, weight: PerBox, box: Owner) -> tuple[Sums, Sums]:
        xp = namespace(post)
        below = xp.minimum(post, xp.zeros_like(post[..., :1]))
        return inner(below, take_rows(intercept, box)), inner(xp.abs(pre), take_rows(weight, box))

    def least(
        self, coefficient: Values, centre: PerBox, radius: PerBox, reach: PerBox, box: Owner
    ) -> tuple[Sums, Sums]:
        size = namespace(coefficient).abs(coefficient)
        value = inner(coefficient, take_rows(centre, box)) - inner(size, take_rows(radius, box))
        return value, inner(size, take_rows(reach, box))

    def between(
        self, pre: Values, share: Values, lower: PerBox, upper: PerBox, slack: PerBox, box: Owner
    ) -> tuple[Values, Sums]:
        xp, (low, high, off) = namespace(pre), (take_rows(bound, box) for bound in (lower, upper, slack))
        floor, ceiling = triangle.Triangle().hull(low, high, xp.minimum(xp.maximum(pre, low), high))
        missed = ~((pre >= low - off) & (pre <= high + off))
        return floor + xp.clip(share, 0.0, 1.0) * (ceiling - floor), xp.sum(xp.astype(missed, pre.dtype), axis=-1)

    def average(self, mean: Values, a: Values, weight: float) -> Values:
        kept = (1.0 - weight) * mean
        return namespace(a).where(a < 0, kept + weight, kept)

    def blend(self, mean: Values, x: Values, weight: float) -> Values:
        return (1.0 - weight) * mean + weight * x

    def project_triangle(
        self, lower: PerBox, upper: PerBox, pre: Values, post: Values, box: Owner
    ) -> tuple[Values, Values]:
        return triangle.project(take_rows(lower, box), take_rows(upper, box), pre, post)

    def halpern(
        self, u: Values, r: Values, z: Values, anchor: Values, weight: PerBox, since: Sums, box: Owner | None
    ) -> tuple[Values, Sums]:
        move = u - 0.5 * (r + z)
        pull = (since + 1.0)[:, None] / (since + 2.0)[:, None]
        return anchor / (since + 2.0)[:, None] + pull * (2.0 * u - r), inner(move * move, _of_rows(weight, box))

    def gather(self, x: Sources, weight: PerBox, shift: PerBox, entries: EntryPlaces, box: Owner | None) -> Values:
        first, *others = (_entries(x, entries.places[d, :]) for d in range(entries.places.shape[0]))
        total = sum(others, first)
        return _of_rows(weight, box) * total + _of_rows(shift, box)

    def reflect(
        self, z: Values, source: Sources, sign: PerBox, gain: PerBox, entries: EntryPlaces, box: Owner | None
    ) -> Values:
        return _of_rows(sign, box) * z + _of_rows(gain, box) * _entries(source, entries.places[0, :])

    def turn(
        self, along: Values, across: Values, near: PerBox, far: PerBox, back: PerBox, box: Owner | None
    ) -> tuple[Values, Values]:
        down = _of_rows(near, box) * across - _of_rows(far, box) * along
        return down, _of_rows(back, box) * (along + down)


def _of_rows(array: Array, box: Array | None) -> Array:
    """Every row's own; without a box there is one for all."""
    return array if box is None else take_rows(array, box)


def _entries(x: Array, places: Array) -> Array:
    """x [rows, width] at places [n], 0 at `width`."""
    xp = namespace(x)
    return xp.take(xp.concat([x, xp.zeros_like(x[:, :1])], axis=-1), places, axis=-1)


def agrees(verbs: Verbs, put: Callable[[np.ndarray], Any] = np.copy) -> bool:
    """Whether every verb returns what the reference does, on a few rows longer than a vector register.

    Certified bounds are sums that verbs make, so what a compiler got wrong must not be used.
    put: brings arrays to where the verbs compute.
    """
    return all(
        np.allclose(to_numpy(mine), theirs, rtol=near, atol=near)
        for dtype, near in ((np.dtype(np.float32), 1e-5), (np.dtype(np.float64), 1e-12))
        for mine, theirs in zip(samples(verbs, dtype, put), samples(ArrayVerbs(), dtype), strict=True)
    )


def samples(verbs: Verbs, dtype: np.dtype, put: Callable[[np.ndarray], Any] = np.copy) -> list[Array]:
    """All results of all verbs on fixed inputs, by which compiled ones are checked before they are used."""
    rows, n = 3, 37
    waves = np.sin(np.arange(1.0, 1.0 + 8 * rows * n).reshape(8, rows, n)).astype(dtype)
    lower, upper = np.minimum(waves[6], waves[7])[:2], np.maximum(waves[6], waves[7])[:2]
    a, b, c, d, mean, square = map(put, (*waves[:3], np.abs(waves[3]), waves[4], waves[5] ** 2))
    lower, upper, chord, intercept = map(put, (lower, upper, np.abs(lower), np.abs(upper)))
    box, since = put(np.array([1, 0, 1])), put(np.arange(1.0, 1.0 + rows).astype(dtype))
    state = SlopeState(put(waves[3] ** 2), mean, square)
    adam = Adam(0.5, 0.9, 1.0 - 0.5**3, 1.0 - 0.9**3, 0.1)
    return [
        *verbs.descend(a, b, chord, intercept, box),
        verbs.climb(a, b, KinkBounds(chord, intercept, lower, upper), box, state, adam),
        *(state.slopes, state.mean, state.square),
        *verbs.slide(a, b, c, KinkPaces(chord, intercept, lower, upper, chord), box, 0.4),
        *verbs.vertex(a, lower, upper, box),
        *verbs.support(a, b, lower, upper, chord, box),
        *verbs.charge(a, b, intercept, chord, box),
        *verbs.least(a, lower, chord, intercept, box),
        *verbs.between(a, b, lower, upper, chord, box),
        verbs.average(a, b, 0.3),
        verbs.blend(a, b, 0.3),
        *verbs.project_triangle(lower, upper, a, b, box),
        *verbs.halpern(a, b, c, d, chord, since, box),
        verbs.gather(a, chord, lower, _crossing(n, put), box),
        verbs.reflect(a, b, chord, lower, _crossing(n, put), box),
        *verbs.turn(a, b, chord, intercept, lower, box),
    ]


def _crossing(n: int, put: Callable[[np.ndarray], Any]) -> EntryPlaces:
    """Entries in falling order, each with its neighbour, none for the last numbers."""
    falling = np.arange(n)[::-1]
    places = np.stack([np.where(falling < 2, n, falling), np.where(falling < 3, n, falling - 1)])
    return EntryPlaces(put(places), n)
