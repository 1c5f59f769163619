"""The hull of a product of two numbers against exact corners, a quadratic program's optimum, and its own planes."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from admm_verify.arrays import DOUBLE_ROUNDOFF, quiet_overflow
from admm_verify.relaxations.bilinear import Bilinear, BilinearPlanes, pair, stacked

HULL = Bilinear()
RNG = np.random.default_rng(7)


def boxes(rows: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Ranges of both operands, [rows, 2]: of all sizes, some a point or with an end at zero."""
    limit = 8 if dtype == np.float64 else 3
    centre = RNG.standard_normal((rows, 2)) * 10.0 ** RNG.uniform(-limit, limit, (rows, 2))
    width = np.abs(RNG.standard_normal((rows, 2))) * 10.0 ** RNG.uniform(-limit, limit, (rows, 2))
    width = np.where(RNG.random((rows, 2)) < 0.1, 0.0, width)
    low = np.where(RNG.random((rows, 2)) < 0.1, 0.0, centre)
    return low.astype(dtype), (low + width).astype(dtype)


def points(low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
    """Points of every box, corners among them, [count, rows, 2]."""
    share = RNG.random((count, *low.shape))
    share[:4] = np.array(list(product((0.0, 1.0), repeat=2)))[:, None, :]
    return np.clip(low + share * (high - low), low, high)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_images_and_supports_stay_below_every_point(dtype):
    low, high = boxes(300, dtype)
    a, g = RNG.standard_normal((300, 1)).astype(dtype), RNG.standard_normal((300, 2)).astype(dtype)
    least, most = HULL.image(low, high)
    bound = HULL.support(low, high, a, g)
    unit = DOUBLE_ROUNDOFF if dtype == np.float64 else 2.0**-24
    reach = np.maximum(np.abs(low), np.abs(high))
    size = np.abs(a) * np.maximum(np.abs(least), np.abs(most)) + np.sum(np.abs(g) * reach, axis=1, keepdims=True)
    for p in np.clip(points(low, high, 40).astype(dtype), low, high):
        for row in range(0, 300, 7):
            x, y = map(Fraction, p[row].tolist())
            assert Fraction(float(least[row, 0])) <= x * y <= Fraction(float(most[row, 0]))
            value = Fraction(float(a[row, 0])) * x * y - sum(
                Fraction(float(w)) * v for w, v in zip(g[row], (x, y), strict=True)
            )
            assert Fraction(float(bound[row, 0])) <= value + Fraction(32 * unit) * Fraction(float(size[row, 0]))


def test_supports_are_attained_at_corners():
    low, high = boxes(300)
    a, g = RNG.standard_normal((300, 1)), RNG.standard_normal((300, 2))
    corners = [
        np.stack(np.broadcast_arrays(x, y), -1) for x in (low[:, 0], high[:, 0]) for y in (low[:, 1], high[:, 1])
    ]
    values = [a[:, 0] * p[:, 0] * p[:, 1] - np.sum(g * p, axis=1) for p in corners]
    found, size = HULL.support(low, high, a, g)[:, 0], np.max(np.abs(values), axis=0)
    assert (np.abs(found - np.min(values, axis=0)) <= 1e-14 * size + 1e-300).all()


def test_any_lines_are_planes_below_or_above():
    low, high = boxes(200)
    planes = BilinearPlanes(low, high)
    weights = np.concatenate([np.zeros((50, 2)), np.ones((50, 2)), RNG.random((100, 2))])
    for sign in (1.0, -1.0):
        a = np.full((200, 1), sign)
        contact = planes.contact(a, weights)
        for p in points(low, high, 20):
            x, y = pair(p)
            reach = np.maximum(np.abs(low), np.abs(high)).prod(axis=1, keepdims=True)
            assert (sign * planes.post(a, contact, p) <= sign * x * y + 1e-14 * reach).all()
        again = planes.recover(a, planes.multiplier(a, contact))
        used = pair(again)[0 if sign > 0 else 1], pair(weights)[0 if sign > 0 else 1]
        width = high - low
        fine = (width > 1e-6 * np.maximum(np.abs(low), np.abs(high))).all(axis=1)
        np.testing.assert_allclose(used[0][fine], used[1][fine], atol=1e-6)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_projections_are_the_nearest_points(library):
    centre, width = RNG.standard_normal((400, 2)), RNG.random((400, 2)) * np.where(RNG.random((400, 2)) < 0.1, 0.0, 2.0)
    low, high = centre - width, centre + width
    pre, post = centre + 2.0 * RNG.standard_normal((400, 2)), 2.0 * RNG.standard_normal((400, 1))
    put = np.asarray if library == "numpy" else torch.asarray
    moved, height = (np.asarray(part) for part in HULL.project(put(low), put(high), put(pre), put(post)))
    assert (moved >= low - 1e-12).all() and (moved <= high + 1e-12).all()
    floor, ceiling = HULL.hull(low, high, np.clip(moved, low, high))
    assert (height >= floor - 1e-12).all() and (height <= ceiling + 1e-12).all()
    way = np.concatenate([pre - moved, post - height], axis=1)
    for x, y in product((0, 1), repeat=2):
        corner = np.stack([(low, high)[x][:, 0], (low, high)[y][:, 1]], axis=1)
        vertex = np.concatenate([corner, corner.prod(axis=1, keepdims=True)], axis=1)
        # The nearest point of a convex set: no vertex lies ahead of it on the way to the point.
        assert (np.sum(way * (vertex - np.concatenate([moved, height], axis=1)), axis=1) <= 1e-11).all()


def test_points_inside_stay_where_they_are():
    low, high = np.array([[-1.0, 0.5]]), np.array([[2.0, 3.0]])
    pre = np.array([[0.3, 1.2]])
    floor, ceiling = HULL.hull(low, high, pre)
    post = 0.5 * (floor + ceiling)
    moved, height = HULL.project(low, high, pre, post)
    np.testing.assert_array_equal(moved, pre)
    np.testing.assert_array_equal(height, post)


def test_gains_and_gradients_are_those_of_the_product():
    low, high = boxes(100)
    gain = HULL.gain(low, high)
    for p in points(low, high, 10):
        assert (np.abs(HULL.gradient(p)) <= gain).all()
        np.testing.assert_array_equal(HULL.gradient(p), p[:, ::-1])
    np.testing.assert_array_equal(HULL.folded(HULL.repeated(low[:, :1])), 2.0 * low[:, :1])


def test_nothing_is_known_of_infinite_ranges_times_zero():
    low, high = np.array([[-np.inf, 0.0]]), np.array([[np.inf, 0.0]])
    with quiet_overflow():
        least, most = HULL.image(low, high)
    assert least == -np.inf and most == np.inf


def test_only_pairs_of_open_operands_are_open():
    low, high = np.array([[0.0, 1.0, 0.0, 1.0]]), np.array([[1.0, 1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(HULL.open(low, high), [[True, False, True, False]])
    np.testing.assert_array_equal(stacked(*pair(low)), low)


def test_a_box_that_is_a_point_has_no_other_nearest_point():
    low = np.array([[0.8, -1.2]])
    moved, height = HULL.project(low, low, np.array([[1.7, -0.2]]), np.array([[1.6]]))
    np.testing.assert_array_equal(moved, low)
    np.testing.assert_allclose(height, low[:, :1] * low[:, 1:], rtol=1e-15)


def test_planes_of_products_by_a_known_number_are_not_apart():
    low, high = np.array([[-1.0, 2.0, 0.5, 3.0], [1.0, 2.0, 0.5, 3.0]]), np.array([[2.0, 5.0, 0.5, 3.0]])
    np.testing.assert_array_equal(BilinearPlanes(low, high).apart, [0.0, 0.0])
    # Middles 1 and 2, widths 2 and 4: 8 over 1 * 4 + 2 * 2; around zero nothing is linear.
    low, high = np.array([[0.0, 0.0], [-1.0, -3.0]]), np.array([[2.0, 4.0], [1.0, 3.0]])
    np.testing.assert_array_equal(BilinearPlanes(low, high).apart, [1.0, np.inf])
