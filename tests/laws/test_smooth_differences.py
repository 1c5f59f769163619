"""Differences of tanh and of sigmoid against many digits, their bow ties and their planes."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from admm_verify.network.activations import FUNCTIONS
from admm_verify.relaxations.smooth_differences import KINDS, BowTie
from tests.laws.test_differences import abreast, drawn

EXACT = {
    "sigmoid_difference": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tanh_difference": mpmath.tanh,
}
KINDS_TRIED = pytest.mark.parametrize("kind", sorted(KINDS))


def number(x: float | Fraction) -> mpmath.mpf:
    """The same number with many digits."""
    return mpmath.mpf(Fraction(x).numerator) / Fraction(x).denominator


def exact(kind: str, n: Fraction, d: Fraction) -> mpmath.mpf:
    """f(n + D) - f(n)."""
    return EXACT[kind](number(n + d)) - EXACT[kind](number(n))


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(400):
        yield


@KINDS_TRIED
def test_values_are_relatively_accurate(kind):
    rng = np.random.default_rng(1)
    n = rng.standard_normal(300) * 10.0 ** rng.uniform(-8, 1.5, 300)
    d = rng.standard_normal(300) * 10.0 ** rng.uniform(-12, 1.5, 300)
    d[:10] = 0.0
    found = FUNCTIONS[kind](np.concatenate([n, d, n + d]), ())
    for x, y, z in zip(n.tolist(), d.tolist(), found.tolist(), strict=True):
        # n' as computed is off by a rounding, which tails multiply.
        truth = exact(kind, Fraction(x), Fraction(y))
        assert abs(number(z) - truth) <= (1e-15 * (8 + abs(x) + abs(y))) * abs(truth)


@KINDS_TRIED
@pytest.mark.parametrize("seed", range(3))
def test_hulls_hold_the_graph_and_supports_stay_below_it(kind, seed):
    rows, hull = 150, KINDS[kind]()
    low, high, inside = drawn(rows, seed, wild=seed > 0)
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((rows, 1)) * 10.0 ** rng.uniform(-3, 3, (rows, 1))
    g = rng.standard_normal((rows, 3)) * 10.0 ** rng.uniform(-3, 3, (rows, 3)) * rng.integers(0, 2, (rows, 3))
    least, most = hull.image(low, high)
    bound, unit = hull.support(low, high, a, g), mpmath.mpf(2) ** -53
    for r, (n, d, m) in enumerate(inside):
        z = exact(kind, n, d)
        assert number(float(least[r, 0])) <= z <= number(float(most[r, 0]))
        value = number(float(a[r, 0])) * z - sum(
            number(float(w)) * number(p) for w, p in zip(g[r], (n, d, m), strict=True)
        )
        reach = np.maximum(np.abs(low[r]), np.abs(high[r]))
        size = abs(number(float(a[r, 0]))) * max(abs(number(float(least[r, 0]))), abs(number(float(most[r, 0]))))
        size += sum(abs(number(float(w))) * number(float(far)) for w, far in zip(g[r], reach, strict=True))
        assert number(float(bound[r, 0])) <= value + 32 * unit * size + mpmath.mpf(2) ** -1060 * (1 + abs(a[r, 0]))


@KINDS_TRIED
@pytest.mark.parametrize("seed", range(3))
def test_planes_stay_on_their_side(kind, seed):
    rows, hull = 150, KINDS[kind]()
    low, high, inside = drawn(rows, seed, wild=seed > 0)
    planes, unit = hull.planes(low, high), mpmath.mpf(2) ** -53
    for sign in (1.0, -1.0):
        contact = planes.contact(np.full((rows, 1), sign), planes.start)
        assert (contact.slope[:, 1] <= hull.curve.steepest * (1 + 1e-15)).all() and (contact.slope[:, 1] >= 0).all()
        for r, (n, d, _) in enumerate(inside):
            plane = number(float(contact.slope[r, 1])) * number(d) + number(float(contact.height[r, 0]))
            reach = number(float(np.maximum(np.abs(low), np.abs(high))[r, 1]))
            assert sign * plane <= sign * exact(kind, n, d) + 4 * unit * reach * number(float(contact.slope[r, 1]))


@KINDS_TRIED
def test_projections_are_the_nearest_points(kind):
    rows, hull = 300, KINDS[kind]()
    low, high, _ = drawn(rows, 5, wild=False)
    keep = (np.maximum(np.abs(low), np.abs(high)).max(axis=1) < 30) & (high[:, 1] - low[:, 1] > 1e-2)
    low, high = low[keep], high[keep]
    rng = np.random.default_rng(5)
    pre = 0.5 * (low + high) + 3.0 * (high - low) * rng.standard_normal(low.shape)
    post = rng.standard_normal((len(low), 1))
    moved, height = hull.project(low, high, pre, post)
    shape = BowTie.of(hull.curve, low, high)
    way = np.concatenate([pre[:, 1:2] - moved[:, 1:2], post - height], axis=1)
    for side in (shape.floor, shape.ceiling):
        for x, y in zip((shape.low, shape.high), side, strict=True):
            corner = np.concatenate([x - moved[:, 1:2], y - height], axis=1)
            assert (np.sum(way * corner, axis=1) <= 1e-9 * (1 + np.abs(way).sum(axis=1))).all()
    np.testing.assert_allclose(moved[:, 0], np.clip(pre[:, 0], low[:, 0], high[:, 0]))
    np.testing.assert_allclose(moved[:, 2], np.clip(pre[:, 2], low[:, 2], high[:, 2]))
    again, same = hull.project(low, high, moved, height)
    np.testing.assert_allclose(abreast(again, same), abreast(moved, height), atol=1e-9)
    floor, ceiling = hull.hull(low, high, moved)
    assert (height >= floor - 1e-12).all() and (height <= ceiling + 1e-12).all()


@KINDS_TRIED
def test_gradients_are_those_of_both_values(kind):
    rng = np.random.default_rng(2)
    n, d = rng.standard_normal((2, 50))
    hull, step = KINDS[kind](), 1e-6
    g = hull.gradient(np.concatenate([n, d, n + d]))

    def value(n: np.ndarray, d: np.ndarray) -> np.ndarray:
        return FUNCTIONS[kind](np.concatenate([n, d, n + d]), ())

    np.testing.assert_allclose(g[:50] + g[100:], (value(n + step, d) - value(n - step, d)) / (2 * step), atol=1e-8)
    np.testing.assert_allclose(g[50:100] + g[100:], (value(n, d + step) - value(n, d - step)) / (2 * step), atol=1e-8)
