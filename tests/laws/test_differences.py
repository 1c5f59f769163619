"""The hull of relu(n') - relu(n) over a polygon, against all its vertices in exact numbers, and its planes."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from admm_verify.arrays import DOUBLE_ROUNDOFF
from admm_verify.network.activations import FUNCTIONS
from admm_verify.relaxations.difference_planes import ChosenPlanes, DifferencePlanes, FixedPlanes
from admm_verify.relaxations.differences import ReluDifference
from admm_verify.relaxations.plane_slopes import PLANES
from admm_verify.relaxations.polygons import Polygon, abreast, triple

HULL = ReluDifference()
Exact = tuple[Fraction, Fraction, Fraction]


def drawn(rows: int, seed: int, dtype: type = np.float64, wild: bool = True) -> tuple[np.ndarray, np.ndarray, list]:
    """Ranges around points (n, D, n') with n' = n + D, [rows, 3]: of all sizes, some a point or with an end at zero or
    at the point, so that polygons are points, lines and thin; and the points as fractions.
    """
    rng = np.random.default_rng(seed)
    limit = (30, 8) if wild and dtype == np.float64 else (3, 3)
    n = rng.standard_normal(rows) * 10.0 ** rng.uniform(-limit[0], limit[1], rows)
    d = rng.standard_normal(rows) * 10.0 ** rng.uniform(-limit[0], limit[1], rows)
    n, d = np.where(rng.random((2, rows)) < 0.1, 0.0, np.stack([n, d]))
    n, d = n.astype(dtype), d.astype(dtype)
    inside = [
        (Fraction(float(x)), Fraction(float(y)), Fraction(float(x)) + Fraction(float(y)))
        for x, y in zip(n, d, strict=True)
    ]
    size = np.maximum(np.abs(np.stack([n, d, n + d], axis=1)), 10.0 ** -limit[0])
    spread = size[:, :1] * 0 + size * 10.0 ** rng.uniform(-4, 4, (rows, 3)) * rng.random((2, rows, 3))
    spread = np.where(rng.random((2, rows, 3)) < 0.25, 0.0, spread)
    low, high = np.empty((2, rows, 3), dtype=dtype)
    for r, point in enumerate(inside):
        for i, exact in enumerate(point):
            low[r, i] = outward(float(exact) - spread[0, r, i], exact, dtype, -np.inf)
            high[r, i] = outward(float(exact) + spread[1, r, i], exact, dtype, np.inf)
    flush = rng.random((2, rows, 3)) < 0.1
    return (
        np.where(flush[0] & (low > 0), 0.0, low).astype(dtype),
        np.where(flush[1] & (high < 0), 0.0, high).astype(dtype),
        inside,
    )


def outward(end: float, exact: Fraction, dtype: type, way: float) -> float:
    """An end that leaves the exact number inside."""
    end = dtype(end)
    while (Fraction(float(end)) > exact) if way < 0 else (Fraction(float(end)) < exact):
        end = np.nextafter(end, dtype(way))
    return end


def relu(x: Fraction) -> Fraction:
    return max(x, Fraction(0))


def vertices(low: np.ndarray, high: np.ndarray) -> list[tuple[Fraction, Fraction]]:
    """(n, D) of all crossings of lines of the arrangement in the polygon, exactly."""
    (ln, ld, lm), (un, ud, um) = ([Fraction(float(x)) for x in side] for side in (low, high))
    found = set()

    def add(n: Fraction, d: Fraction) -> None:
        if ln <= n <= un and ld <= d <= ud and lm <= n + d <= um:
            found.add((n, d))

    for n, d in product((ln, un, Fraction(0)), (ld, ud)):
        add(n, d)
    for n, m in product((ln, un, Fraction(0)), (lm, um, Fraction(0))):
        add(n, m - n)
    for d, m in product((ld, ud), (lm, um, Fraction(0))):
        add(m - d, d)
    return sorted(found)


def phi(n: Fraction, d: Fraction) -> Fraction:
    return relu(n + d) - relu(n)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_supports_are_those_of_all_vertices(seed, dtype):
    rows = 120
    low, high, _ = drawn(rows, seed, dtype)
    rng = np.random.default_rng(seed)
    a = (rng.standard_normal((rows, 1)) * 10.0 ** rng.uniform(-3, 3, (rows, 1))).astype(dtype)
    g = (rng.standard_normal((rows, 3)) * 10.0 ** rng.uniform(-3, 3, (rows, 3))).astype(dtype)
    # Multipliers near those of planes, where all terms cancel.
    close = rng.random(rows) < 0.7
    g[close] = a[close] * rng.choice(np.array([-1.0, 0.0, 0.5, 1.0], dtype=dtype), (close.sum(), 3))
    found = HULL.support(low, high, a, g)
    least, most = HULL.image(low, high)
    unit = Fraction(DOUBLE_ROUNDOFF if dtype == np.float64 else 2.0**-24)
    for r in range(rows):
        corners = vertices(low[r], high[r])
        assert corners
        weight, (x, y, w) = Fraction(float(a[r, 0])), map(Fraction, g[r].tolist())
        values = [phi(n, d) for n, d in corners]
        exact = min(weight * z - x * n - y * d - w * (n + d) for z, (n, d) in zip(values, corners, strict=True))
        reach = np.maximum(np.abs(low[r]), np.abs(high[r]))
        size = abs(weight) * max(map(abs, values)) + sum(
            abs(part) * Fraction(float(most_)) for part, most_ in zip((x, y, w), reach, strict=True)
        )
        tiny = Fraction(2) ** (-1060 if dtype == np.float64 else -140)
        assert abs(Fraction(float(found[r, 0])) - exact) <= 32 * unit * size + tiny, (low[r], high[r], a[r], g[r])
        assert Fraction(float(least[r, 0])) <= min(values)
        assert max(values) <= Fraction(float(most[r, 0]))
        # A polygon that is thinner than the roundings of D is as wide as these.
        spare = 16 * unit * max(abs(d) for _, d in corners)
        assert (
            Fraction(float(least[r, 0])) >= min(values) - spare and Fraction(float(most[r, 0])) <= max(values) + spare
        )


@pytest.mark.parametrize("seed", range(4))
def test_any_planes_stay_on_their_side(seed):
    rows = 200
    low, high, _ = drawn(rows, seed, wild=False)
    planes = DifferencePlanes.of(low, high)
    rng = np.random.default_rng(seed)
    slopes = np.where(rng.random((rows, 1)) < 0.5, planes.start, rng.random((rows, planes.start.shape[-1])))
    reach = np.maximum(np.abs(low), np.abs(high))
    for sign in (1.0, -1.0):
        a = np.full((rows, 1), sign)
        contact = planes.contact(a, slopes)
        room = 1e-12 * (1.0 + np.abs(contact.slope)) @ np.ones((3, 1)) * reach.max(axis=1, keepdims=True)
        n, d, m, z, some = Polygon.of(low, high).vertices
        for k in range(12):
            p = np.concatenate([n[k], d[k], m[k]], axis=1)
            left = sign * (z[k] - planes.post(a, contact, p))
            assert ((left >= -room) | ~some[k]).all()
        exact = HULL.support(low, high, a, planes.multiplier(a, contact))
        assert (exact >= sign * contact.height - room).all()


@pytest.mark.parametrize("seed", range(4))
def test_known_signs_leave_one_plane(seed):
    low, high, _ = drawn(300, seed, wild=False)
    planes = DifferencePlanes.of(low, high)
    known = ~planes.bent[:, 0]
    assert known.sum() > 20
    for sign in (1.0, -1.0):
        contact = planes.contact(np.full((300, 1), sign), planes.start)
        assert np.isin(contact.slope[known], (-1.0, 0.0, 1.0)).all()
        n, d, m, z, some = Polygon.of(low, high).vertices
        p = np.concatenate([n, d, m], axis=-1)
        left = np.abs(z - planes.post(np.full((300, 1), sign), contact, p))
        reach = (np.maximum(np.abs(low), np.abs(high)) * np.abs(contact.slope)).sum(axis=1, keepdims=True)
        assert (left <= 4e-14 * (reach + np.abs(z).max(axis=0)) + 1e-300)[:, known][some[:, known]].all()


def inside(low: np.ndarray, high: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A point of each hull, a mean of its vertices, [rows, 3] and [rows, 1]."""
    n, d, _, z, some = Polygon.of(low, high).vertices
    share = np.random.default_rng(seed).exponential(size=n.shape) ** 3 * some
    share /= share.sum(axis=0)
    n, d, z = ((share * part).sum(axis=0) for part in (n, d, z))
    return np.concatenate([n, d, n + d], axis=1), z


@pytest.mark.parametrize("seed", range(3))
def test_hulls_hold_the_graph_and_touch_what_supports_say(seed):
    rows = 150
    low, high, _ = drawn(rows, seed, wild=False)
    p, mixed = inside(low, high, seed)
    floor, ceiling = HULL.hull(low, high, p)
    z = FUNCTIONS["relu_difference"](p, ())
    reach = np.maximum(np.abs(low), np.abs(high)).max(axis=1, keepdims=True)
    for height in (z, mixed):
        assert (floor <= height + 1e-12 * reach).all() and (ceiling >= height - 1e-12 * reach).all()
    rng = np.random.default_rng(seed)
    for sign in (1.0, -1.0):
        edge = floor if sign > 0 else ceiling
        tightest = np.full((rows, 1), -np.inf)
        for _ in range(200):
            g = sign * rng.uniform(-1.2, 1.2, (rows, 3)) * rng.integers(0, 2, (rows, 3))
            bound = HULL.support(low, high, np.full((rows, 1), sign), g) + (g * p).sum(axis=1, keepdims=True)
            tightest = np.maximum(tightest, bound)
        assert (tightest <= sign * edge + 1e-11 * reach).all()


@pytest.mark.parametrize("seed", range(3))
def test_outlines_are_around_hulls(seed):
    low, high, _ = drawn(150, seed, wild=False)
    p, mixed = inside(low, high, seed)
    floor, ceiling = HULL.outline(low, high, p)
    room = 1e-12 * np.maximum(np.abs(low), np.abs(high)).max(axis=1, keepdims=True)
    assert (floor <= mixed + room).all() and (ceiling >= mixed - room).all()
    exact = HULL.hull(low, high, p)
    # In most ranges they are all there is of the hull.
    assert np.median((ceiling - floor) - (exact[1] - exact[0])) <= 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_projections_are_the_nearest_points(seed):
    rows = 150
    low, high, _ = drawn(rows, seed, wild=False)
    rng = np.random.default_rng(seed)
    reach = np.maximum(np.abs(low), np.abs(high)).max(axis=1, keepdims=True)
    keep = (reach > 1e-2)[:, 0]
    low, high, reach = low[keep], high[keep], reach[keep]
    pre = inside(low, high, seed)[0] + reach * rng.standard_normal((len(low), 3)) * rng.integers(0, 2, (len(low), 1))
    post = reach * rng.standard_normal((len(low), 1)) * rng.random((len(low), 1))
    moved, height = HULL.project(low, high, pre, post)
    n, d, m = triple(moved)
    np.testing.assert_allclose(n + d, m, atol=1e-12 * reach.max())
    way = np.concatenate([pre - moved, post - height], axis=1)
    n, d, m, z, some = Polygon.of(low, high).vertices
    for k in range(12):
        corner = np.concatenate([n[k], d[k], m[k], z[k]], axis=1)
        ahead = np.sum(way * (corner - np.concatenate([moved, height], axis=1)), axis=1)
        # The nearest point of a convex set: no vertex lies ahead of it on the way to the point.
        assert ((ahead <= 1e-9 * reach[:, 0] * (reach[:, 0] + np.abs(way).sum(axis=1))) | ~some[k][:, 0]).all()
    floor, ceiling = HULL.hull(low, high, moved)
    assert (height >= floor - 1e-9 * reach).all() and (height <= ceiling + 1e-9 * reach).all()
    again, same = HULL.project(low, high, moved, height)
    np.testing.assert_allclose(abreast(again, same), abreast(moved, height), atol=1e-7 * reach.max())


@pytest.mark.parametrize("seed", range(4))
def test_intercepts_of_planes_bound_supports_from_below(seed):
    """With exact numbers: whatever mean of planes is used, with its slopes as they came out."""
    rows = 60
    low, high, _ = drawn(rows, seed)
    planes, rng = DifferencePlanes.of(low, high), np.random.default_rng(seed)
    a = rng.standard_normal((rows, 1)) * 10.0 ** rng.uniform(-3, 3, (rows, 1))
    fixed, chosen = FixedPlanes.of(planes), ChosenPlanes(planes, rng.random((rows, planes.start.shape[-1])))
    unit = Fraction(DOUBLE_ROUNDOFF)
    for lines in (fixed, chosen):
        g = lines.multiplier(a)
        heights = lines.support(a) if lines is chosen else fixed_heights(fixed, a)
        for r in range(rows):
            height = Fraction(float(heights[r]))
            weight, (x, y, w) = Fraction(float(a[r, 0])), map(Fraction, g[r].tolist())
            corners = vertices(low[r], high[r])
            values = [phi(n, d) for n, d in corners]
            exact = min(weight * z - x * n - y * d - w * (n + d) for z, (n, d) in zip(values, corners, strict=True))
            reach = np.maximum(np.abs(low[r]), np.abs(high[r]))
            size = sum(abs(part) * Fraction(float(far)) for part, far in zip((x, y, w), reach, strict=True))
            # What bounds charge: 40 roundings of |g| max|p| + |a| max|phi|, and what underflows.
            charged = 40 * unit * (size + abs(weight) * max(map(abs, values))) + Fraction(2) ** -1060 * (
                1 + abs(weight)
            )
            assert height <= exact + charged


def fixed_heights(fixed: FixedPlanes, a: np.ndarray) -> np.ndarray:
    """The supports of rows of which each has planes of its own."""
    return np.maximum(a, 0.0)[:, 0] * fixed.floor[:, 0] + np.minimum(a, 0.0)[:, 0] * fixed.ceiling[:, 0]


@pytest.mark.parametrize("seed", range(3))
def test_multipliers_of_planes_are_given_back(seed):
    low, high, _ = drawn(200, seed, wild=False)
    planes, rng = DifferencePlanes.of(low, high), np.random.default_rng(seed)
    slopes = rng.random((200, planes.start.shape[-1]))
    for sign in (1.0, -1.0):
        a = sign * np.exp(rng.standard_normal((200, 1)))
        wanted = planes.multiplier(a, planes.contact(a, slopes))
        found = planes.nearest(a, wanted)
        np.testing.assert_allclose(found, wanted, atol=1e-6 * (1 + np.abs(wanted).max()))
        # What no mean of planes has goes to one that is no further away than any of them.
        far = wanted + rng.standard_normal(wanted.shape)
        near = np.linalg.norm(planes.nearest(a, far) - far, axis=1)
        for k in range(PLANES):
            one = np.zeros_like(slopes)
            one[:, [k, PLANES + k]] = 1.0
            assert (near <= np.linalg.norm(planes.multiplier(a, planes.contact(a, one)) - far, axis=1) + 1e-9).all()
