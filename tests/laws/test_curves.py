"""Smooth curves against phi in extended precision: images, supports, hulls and Lipschitz constants, without slack."""

from collections.abc import Callable

import numpy as np
import pytest

from admm_verify.arrays import quiet_overflow
from admm_verify.relaxations.convex import Exp, Log, Reciprocal, Sqrt, Square
from admm_verify.relaxations.powers import Power
from admm_verify.relaxations.smooth import Smooth

Exact = Callable[[np.ndarray], np.ndarray]

WIDE = np.longdouble
NEURONS, POINTS = 1000, 40


def exponent(value: float) -> Callable[[type], Smooth]:
    return lambda dtype: Power(np.asarray(value, dtype))


CURVES: dict[str, tuple[Callable[[type], Smooth], Exact]] = {
    "exp": (lambda _: Exp(), np.exp),
    "log": (lambda _: Log(), np.log),
    "power -3": (exponent(-3.0), lambda x: x ** WIDE(-3)),
    "power -2": (exponent(-2.0), lambda x: x ** WIDE(-2)),
    "power -0.5": (exponent(-0.5), lambda x: x ** WIDE(-0.5)),
    "power 0.25": (exponent(0.25), lambda x: x ** WIDE(0.25)),
    "power 1.75": (exponent(1.75), lambda x: x ** WIDE(1.75)),
    "power 3": (exponent(3.0), lambda x: x ** WIDE(3)),
    "power 4": (exponent(4.0), lambda x: x ** WIDE(4)),
    "reciprocal": (lambda _: Reciprocal(), lambda x: 1 / x),
    "sqrt": (lambda _: Sqrt(), np.sqrt),
    "square": (lambda _: Square(), lambda x: x * x),
}
SPECIAL: dict[str, list[float]] = {}
"""Kinks and inflections."""

ACCURACY = 2.0**-60
"""Of phi in extended precision, relatively."""


@pytest.fixture(autouse=True)
def quiet():
    """As at every door: what overflows has no bound, and says nothing of it."""
    with quiet_overflow():
        yield


def sized(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of both signs and magnitudes from 1e-30 to 1e8, more of them from 1e-2 to 1e2."""
    exponents = np.where(rng.random(shape) < 0.5, rng.uniform(-30, 8, shape), rng.uniform(-2, 2, shape))
    return rng.choice([-1.0, 1.0], shape) * 10.0**exponents


def ends(rng: np.random.Generator, name: str, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Intervals anywhere: around and beside the special points, one number, or two that are next to each other."""
    first, second = sized(rng, 2, NEURONS).astype(dtype)
    special = np.array([0.0, *SPECIAL.get(name, [])])[rng.integers(0, 1 + len(SPECIAL.get(name, [])), NEURONS)]
    sort = rng.integers(0, 8, NEURONS)
    near = (special + np.where(sort < 2, sized(rng, NEURONS) * 1e-8, 0.0)).astype(dtype)
    first = np.where(sort <= 2, near, first)
    second = np.where(sort == 3, first, np.where(sort == 4, np.nextafter(first, dtype(np.inf)), second))
    second = np.where(sort == 5, first + dtype(0.1) * second, second).astype(dtype)
    return np.minimum(first, second), np.maximum(first, second)


def points(rng: np.random.Generator, name: str, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Points of [l, u], [count, neurons]: ends, special points and both their sides, everything between."""
    dtype = lower.dtype.type
    special = np.array([0.0, *SPECIAL.get(name, [])], dtype)
    beside = np.concatenate([special, np.nextafter(special, dtype(9)), np.nextafter(special, dtype(-9))])
    share = np.sort(np.concatenate([rng.random(POINTS), 10.0 ** rng.uniform(-20, 0, 4)])).astype(dtype)[:, None]
    some = [lower[None], lower + share * (upper - lower), upper - share * (upper - lower), upper[None]]
    return np.clip(np.concatenate([*some, np.repeat(beside[:, None], len(lower), 1)]), lower, upper)


def roundoff(dtype: type) -> float:
    return float(np.finfo(dtype).eps) / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CURVES)
def test_bounds_contain_the_graph(name, dtype):
    rng = np.random.default_rng([list(CURVES).index(name), np.dtype(dtype).itemsize])
    make, exact = CURVES[name]
    curve = make(dtype)
    lower, upper = ends(rng, name, dtype)
    defined = curve.admits(lower, upper)
    p = points(rng, name, lower, upper)
    q = exact(p.astype(WIDE))
    low, high = (end.astype(WIDE) for end in curve.image(lower, upper))
    assert (np.isneginf(low) & np.isposinf(high) | defined).all()
    p, q, low, high, lower, upper = (x[..., defined] for x in (p, q, low, high, lower, upper))
    error = ACCURACY * np.abs(q)
    assert ((low <= q - error) & (q + error <= high) | np.isinf(q)).all()
    a, g = sized(rng, 2, len(lower)).astype(dtype)
    slope = rng.choice(p, axis=0)
    g = np.where(rng.random(len(lower)) < 0.7, a * curve.derivative(slope), g)
    g = np.where(np.isfinite(g), g, dtype(1))
    found = curve.support(lower, upper, a, g).astype(WIDE)
    size = np.maximum(np.abs(low), np.abs(high))
    reach = np.maximum(np.abs(lower), np.abs(upper)).astype(WIDE)
    size = np.abs(a) * size + np.abs(g) * reach
    allowed = 32 * WIDE(roundoff(dtype)) * size + 8 * np.finfo(dtype).smallest_subnormal
    least = a * q - g.astype(WIDE) * p - np.abs(a) * error
    assert (found - allowed <= least)[:, np.isfinite(allowed)].all()
    assert (found >= np.min(least, 0) - 0.5 * size)[np.isfinite(found)].mean() > 0.9
    assert np.isfinite(found).mean() > 0.5
    floor, ceiling = curve.hull(lower, upper, p)
    fine = np.isfinite(size)
    assert ((floor <= curve.value(p)) & (curve.value(p) <= ceiling))[:, fine].all()
    rise, run = np.abs(np.diff(q, axis=0)), np.abs(np.diff(p.astype(WIDE), axis=0))
    most = curve.gain(lower, upper).astype(WIDE) * run
    assert ((rise - ACCURACY * np.abs(q).max(0) <= most) | (run == 0))[:, fine].all()
