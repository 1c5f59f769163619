"""Convex hulls of a few points for every neuron: the heights at a place in the plane, and the nearest point."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from admm_verify.arrays import Array, namespace
from admm_verify.relaxations.contract import Layer, Mask
from admm_verify.relaxations.curves import epsilon, tiniest

_SLACK = 64.0
"""Roundings that a place may be outside a triangle, in shares of it, and still counts as inside."""


def heights(x: Array, y: Array, z: Array, at: tuple[Layer, Layer]) -> tuple[Layer, Layer, Mask]:
    """The least and the largest z of the hull of points (x, y, z) over a place (x, y), and where there are any.

    Of all triangles, segments and points of the hull, those over the place count. Up to rounding.
    Shapes: x, y, z [points, ..., n]; at [..., n] each.
    """
    xp, count = namespace(x, at[0]), x.shape[0]
    px, py = at
    first, second, third = (np.array(part) for part in zip(*combinations(range(count), 3), strict=True))
    one, two, three = (_picked(xp, (x, y, z), part) for part in (first, second, third))
    ux, uy, vx, vy = two[0] - one[0], two[1] - one[1], three[0] - one[0], three[1] - one[1]
    wx, wy = px - one[0], py - one[1]
    area = ux * vy - uy * vx
    scale = xp.abs(ux * vy) + xp.abs(uy * vx)
    slack = _SLACK * epsilon(z)
    fine = xp.abs(area) > slack * scale
    some = xp.where(fine, area, xp.ones_like(area))
    s, t = (wx * vy - wy * vx) / some, (ux * wy - uy * wx) / some
    inside = fine & (s >= -slack) & (t >= -slack) & (s + t <= 1.0 + slack)
    height = one[2] + s * (two[2] - one[2]) + t * (three[2] - one[2])
    left, right = (np.array(part) for part in zip(*combinations(range(count), 2), strict=True))
    start, end = (_picked(xp, (x, y, z), part) for part in (left, right))
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    share = ((px - start[0]) * dx + (py - start[1]) * dy) / xp.where(length > 0, length, xp.ones_like(length))
    share = xp.clip(xp.where(length > 0, share, xp.zeros_like(share)), 0.0, 1.0)
    near = slack * (xp.max(xp.abs(x), axis=0) + xp.max(xp.abs(y), axis=0)) + tiniest(z)
    off = xp.maximum(xp.abs(start[0] + share * dx - px), xp.abs(start[1] + share * dy - py))
    on = off <= near
    along = start[2] + share * (end[2] - start[2])
    infinity = xp.full_like(height[:1, ...], float("inf"))[0]
    low = xp.minimum(xp.min(xp.where(inside, height, infinity), axis=0), xp.min(xp.where(on, along, infinity), axis=0))
    high = xp.maximum(
        xp.max(xp.where(inside, height, -infinity), axis=0), xp.max(xp.where(on, along, -infinity), axis=0)
    )
    return low, high, low <= high


def nearest(points: tuple[Array, ...], place: tuple[Layer, ...], inside: Mask) -> tuple[Layer, ...]:
    """The nearest point of the hull of points, whose boundary is made of triangles; the place itself where `inside`.

    Shapes: points[axis] [points, ..., n]; place[axis] [..., n].
    """
    xp, count = namespace(points[0], place[0]), points[0].shape[0]
    first, second, third = (np.array(part) for part in zip(*combinations(range(count), 3), strict=True))
    one, two, three = (_picked(xp, points, part) for part in (first, second, third))
    u, v = _way(one, two), _way(one, three)
    w = [p - a for p, a in zip(place, one, strict=True)]
    uu, uv, vv, uw, vw = _dot(u, u), _dot(u, v), _dot(v, v), _dot(u, w), _dot(v, w)
    area = uu * vv - uv * uv
    fine = area > _SLACK * epsilon(area) * uu * vv
    some = xp.where(fine, area, xp.ones_like(area))
    s, t = (uw * vv - vw * uv) / some, (vw * uu - uw * uv) / some
    fine = fine & (s >= 0) & (t >= 0) & (s + t <= 1.0)
    feet = [a + s * b + t * c for a, b, c in zip(one, u, v, strict=True)]
    left, right = (np.array(part) for part in zip(*combinations(range(count), 2), strict=True))
    start, end = (_picked(xp, points, part) for part in (left, right))
    way = _way(start, end)
    length = _dot(way, way)
    share = _dot(way, [p - a for p, a in zip(place, start, strict=True)])
    share = share / xp.where(length > 0, length, xp.ones_like(length))
    share = xp.clip(xp.where(length > 0, share, xp.zeros_like(share)), 0.0, 1.0)
    edge = [a + share * b for a, b in zip(start, way, strict=True)]
    candidates = [xp.concat([foot, other], axis=0) for foot, other in zip(feet, edge, strict=True)]
    usable = xp.concat([fine, share >= 0], axis=0)
    away = _dot(*([[c - p for c, p in zip(candidates, place, strict=True)]] * 2))
    away = xp.where(usable & xp.isfinite(away), away, xp.full_like(away, float("inf")))
    best = xp.argmin(away, axis=0, keepdims=True)
    chosen = [xp.take_along_axis(part, best, axis=0)[0, ...] for part in candidates]
    return tuple(xp.where(inside, p, c) for p, c in zip(place, chosen, strict=True))


def nearest_mean(points: Sequence[Array], place: Array, size: int) -> list[Array]:
    """The weights, all at least 0 and 1 together, of the mean of a point, two or three nearest to a place.

    Shapes: points, place [..., axes size], an axis after the other -> [..., size] each.
    """
    xp = namespace(place, *points)

    def dot(first: Array, second: Array) -> Array:
        both = first * second
        return xp.sum(xp.reshape(both, (*both.shape[:-1], both.shape[-1] // size, size)), axis=-2)

    one = xp.ones_like(dot(place, points[0]))
    if len(points) == 1:
        return [one]
    best, weights = xp.full_like(one, float("inf")), [0.0 * one] * len(points)
    pairs = list(combinations(range(len(points)), 2))
    candidates: list[tuple[list[Array], Mask]] = []
    for i, j in pairs:
        way = points[j] - points[i]
        length = dot(way, way)
        share = xp.clip(dot(place - points[i], way) / xp.where(length > 0, length, one), 0.0, 1.0)
        candidates.append(
            ([1.0 - share if k == i else share if k == j else 0.0 * one for k in range(len(points))], one > 0)
        )
    for i, j, k in combinations(range(len(points)), 3):
        u, v, w = points[j] - points[i], points[k] - points[i], place - points[i]
        uu, uv, vv, uw, vw = dot(u, u), dot(u, v), dot(v, v), dot(w, u), dot(w, v)
        area = uu * vv - uv * uv
        fine = area > _SLACK * epsilon(area) * uu * vv
        some = xp.where(fine, area, one)
        s, t = (uw * vv - vw * uv) / some, (vw * uu - uw * uv) / some
        own = [0.0 * one] * len(points)
        own[i], own[j], own[k] = 1.0 - s - t, s, t
        candidates.append((own, fine & (s >= 0) & (t >= 0) & (s + t <= 1.0)))
    for own, usable in candidates:
        gap = place
        for weight, point in zip(own, points, strict=True):
            gap = gap - xp.concat([weight] * (place.shape[-1] // size), axis=-1) * point
        away = dot(gap, gap)
        nearer = usable & (away < best)
        best = xp.where(nearer, away, best)
        weights = [xp.where(nearer, new, old) for new, old in zip(own, weights, strict=True)]
    return weights


def _picked(xp: object, points: tuple[Array, ...], index: np.ndarray) -> list[Array]:
    return [part[index, ...] for part in points]


def _way(start: list[Array], end: list[Array]) -> list[Array]:
    return [b - a for a, b in zip(start, end, strict=True)]


def _dot(first: list[Array], second: list[Array]) -> Array:
    total = first[0] * second[0]
    for a, b in zip(first[1:], second[1:], strict=True):
        total = total + a * b
    return total
