"""Smooth curves against phi in extended precision: images, supports, hulls and Lipschitz constants, without slack."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from admm_verify.arrays import quiet_overflow
from admm_verify.relaxations.convex import Exp, Log, Reciprocal, Sqrt, Square
from admm_verify.relaxations.gates import Gelu, GeluTanh, HardSwish, Mish, Silu
from admm_verify.relaxations.hyperbolic import Acosh, Asin, Asinh, Atanh, Cosh, Sinh
from admm_verify.relaxations.lines import CurveLines, FixedLines
from admm_verify.relaxations.odd_curves import Atan, Erf, Softsign
from admm_verify.relaxations.powers import Power
from admm_verify.relaxations.smooth import Smooth
from admm_verify.relaxations.waves import Cos, Sin, Tan

Exact = Callable[[np.ndarray], np.ndarray]

WIDE = np.longdouble
NEURONS, POINTS = 800, 40


def exponent(value: float) -> Callable[[type], Smooth]:
    return lambda dtype: Power(np.asarray(value, dtype))


def logistic(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def error(x: np.ndarray) -> np.ndarray:
    """erf of the C library, within 1e-16."""
    return np.vectorize(math.erf, otypes=[WIDE])(x)


def gelu(x: np.ndarray) -> np.ndarray:
    """With erfc of the C library, whose argument is rounded."""
    z = x / np.sqrt(WIDE(2))
    near = z.astype(np.float64)
    tail = np.vectorize(math.erfc, otypes=[WIDE])(-near)
    return x * (tail + (z - near) * 2 / np.sqrt(WIDE(np.pi)) * np.exp(-z * z)) / 2


def mish(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    power = np.where(x < 0, small * (small + 2), (1 + 2 * small) / np.where(x < 0, 1, small * small))
    return x * np.where(np.isinf(power), 1, power / (power + 2))


ROOT = np.sqrt(2 / WIDE("3.14159265358979323846264338"))


CURVES: dict[str, tuple[Callable[[type], Smooth], Exact]] = {
    "acosh": (lambda _: Acosh(), np.arccosh),
    "asin": (lambda _: Asin(), np.arcsin),
    "asinh": (lambda _: Asinh(), np.arcsinh),
    "atan": (lambda _: Atan(), np.arctan),
    "atanh": (lambda _: Atanh(), np.arctanh),
    "cos": (lambda _: Cos(), np.cos),
    "cosh": (lambda _: Cosh(), np.cosh),
    "erf": (lambda _: Erf(), error),
    "exp": (lambda _: Exp(), np.exp),
    "gelu": (lambda _: Gelu(), gelu),
    "gelu_tanh": (lambda _: GeluTanh(), lambda x: x * logistic(2 * ROOT * (x + WIDE(0.044715) * x * x * x))),
    "hardswish": (lambda _: HardSwish(), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "log": (lambda _: Log(), np.log),
    "mish": (lambda _: Mish(), mish),
    "power -3": (exponent(-3.0), lambda x: x ** WIDE(-3)),
    "power -2": (exponent(-2.0), lambda x: x ** WIDE(-2)),
    "power -0.5": (exponent(-0.5), lambda x: x ** WIDE(-0.5)),
    "power 0.25": (exponent(0.25), lambda x: x ** WIDE(0.25)),
    "power 1.75": (exponent(1.75), lambda x: x ** WIDE(1.75)),
    "power 3": (exponent(3.0), lambda x: x ** WIDE(3)),
    "power 4": (exponent(4.0), lambda x: x ** WIDE(4)),
    "reciprocal": (lambda _: Reciprocal(), lambda x: 1 / x),
    "silu": (lambda _: Silu(), lambda x: x * logistic(x)),
    "sin": (lambda _: Sin(), np.sin),
    "sinh": (lambda _: Sinh(), np.sinh),
    "softsign": (lambda _: Softsign(), lambda x: x / (1 + np.abs(x))),
    "sqrt": (lambda _: Sqrt(), np.sqrt),
    "square": (lambda _: Square(), lambda x: x * x),
    "tan": (lambda _: Tan(), np.tan),
}
QUARTERS = [k * np.pi / 2 for k in (-3, -2, -1, 1, 2, 3, 4, 200001)]
SPECIAL: dict[str, list[float]] = {
    "acosh": [1.0],
    "asin": [-1.0, 1.0],
    "atanh": [-1.0, 1.0],
    "cos": QUARTERS,
    "gelu": [*Gelu.inflections, *Gelu.extrema],
    "gelu_tanh": [*GeluTanh.inflections, *GeluTanh.extrema],
    "hardswish": [-3.0, 3.0, -1.5],
    "mish": [*Mish.inflections, *Mish.extrema],
    "silu": [*Silu.inflections, *Silu.extrema],
    "sin": QUARTERS,
    "tan": QUARTERS,
}
"""Kinks, inflections and ends of domains."""

ACCURACY = {"erf": 2.0**-52, "gelu": 2.0**-50, "gelu_tanh": 2.0**-56}
"""Of phi, relatively, where it is not that of extended precision."""


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
    check_bounds(name, dtype, np.random.default_rng([list(CURVES).index(name), np.dtype(dtype).itemsize]))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CURVES)
def test_bounds_contain_the_graph_at_many_points(name, dtype):
    """At 4e5 points and more of other intervals."""
    for draw in range(6):
        check_bounds(name, dtype, np.random.default_rng([list(CURVES).index(name), np.dtype(dtype).itemsize, draw]))


def check_bounds(name: str, dtype: type, rng: np.random.Generator) -> None:
    """Images, supports, hulls and Lipschitz constants over some intervals, at 93 points of each."""
    make, exact = CURVES[name]
    curve = make(dtype)
    lower, upper = ends(rng, name, dtype)
    defined = curve.admits(lower, upper) if isinstance(curve, Smooth) else np.ones(lower.shape, dtype=bool)
    p = points(rng, name, lower, upper)
    q = exact(p.astype(WIDE))
    low, high = (end.astype(WIDE) for end in curve.image(lower, upper))
    assert (np.isneginf(low) & np.isposinf(high) | defined).all()
    p, q, low, high, lower, upper = (x[..., defined] for x in (p, q, low, high, lower, upper))
    accuracy = ACCURACY.get(name, 2.0**-60)
    error = accuracy * np.abs(q)
    least, most = (WIDE(end) for end in curve.values)
    assert ((low <= np.maximum(q - error, least)) & (np.minimum(q + error, most) <= high) | np.isinf(q)).all()
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
    # A minimum that overflows is infinite, of which `Region` makes no bound.
    assert (found - allowed <= least)[:, np.isfinite(allowed) & (found < np.inf)].all()
    assert (found >= np.min(least, 0) - 0.5 * size)[np.isfinite(found)].mean() > 0.75
    assert np.isfinite(found).mean() > 0.5
    floor, ceiling = curve.hull(lower, upper, p)
    fine = np.isfinite(size)
    assert ((floor <= curve.value(p)) & (curve.value(p) <= ceiling))[:, fine].all()
    rise, run = np.abs(np.diff(q, axis=0)), np.abs(np.diff(p.astype(WIDE), axis=0))
    most = curve.gain(lower, upper).astype(WIDE) * run
    assert ((rise - 2 * accuracy * np.abs(q).max(0) <= most) | (run == 0))[:, fine].all()


@pytest.mark.parametrize("name", CURVES)
def test_lines_with_fixed_intercepts_are_bounds(name):
    """Neuron by neuron, whatever their coefficients."""
    rng = np.random.default_rng([list(CURVES).index(name), 5])
    make, exact = CURVES[name]
    curve = make(np.float64)
    lower, upper = ends(rng, name, np.float64)
    slopes = curve.slopes(lower, upper)
    one = np.ones(NEURONS)
    supports = [curve.support(lower, upper, s * one, s * t) for s, t in ((1.0, slopes.lower), (-1.0, slopes.upper))]
    fine = np.isfinite(supports).all(axis=0)
    assert fine.sum() > 50
    lower, upper = lower[fine], upper[fine]
    p = points(rng, name, lower, upper)
    q = exact(p.astype(WIDE))
    lines = CurveLines(curve, lower[:, None], upper[:, None], curve.slopes(lower[:, None], upper[:, None]))
    fixed = FixedLines.of(lines)
    assert fixed is not None
    a = sized(rng, len(lower))
    g, found = fixed.multiplier(a[:, None])[:, 0], fixed.support(a[:, None]).astype(WIDE)
    error = ACCURACY.get(name, 2.0**-60) * np.abs(q)
    low, high = (np.abs(end.astype(WIDE)) for end in curve.image(lower, upper))
    reach = np.maximum(np.abs(lower), np.abs(upper)).astype(WIDE)
    size = np.abs(a) * np.maximum(low, high) + np.abs(g) * reach
    least = a * q - g.astype(WIDE) * p - np.abs(a) * error
    allowed = 40 * WIDE(roundoff(np.float64)) * size + 8 * np.finfo(np.float64).smallest_subnormal
    # What overflows is no bound, as nowhere.
    known = np.isfinite(allowed) & np.isfinite(found)
    assert (found - allowed <= least)[:, known].all()
    # They are the supports of the same multipliers, but where these charge themselves for tails of functions.
    support = curve.support(lower, upper, a, g).astype(WIDE)
    near = np.abs(found - support) <= 2 * allowed + 4 * np.finfo(np.float64).smallest_normal * (1 + np.abs(a))
    assert near[np.isfinite(support) & known].mean() > 0.99


def test_ranges_without_end_have_no_fixed_lines():
    curve, lower, upper = Exp(), np.array([0.0, -np.inf]), np.array([1.0, np.inf])
    with np.errstate(invalid="ignore"):
        assert FixedLines.of(CurveLines(curve, lower, upper, curve.slopes(lower, upper))) is None


def envelope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The convex envelope of points at all of their places, by Andrew's monotone chain."""
    kept: list[tuple[float, float]] = []
    for p, q in zip(x.tolist(), y.tolist(), strict=True):
        while len(kept) > 1 and (kept[-1][0] - kept[-2][0]) * (q - kept[-2][1]) <= (kept[-1][1] - kept[-2][1]) * (
            p - kept[-2][0]
        ):
            kept.pop()
        kept.append((p, q))
    return np.interp(x, *np.array(kept).T)


def intervals(rng: np.random.Generator, name: str, curve: Smooth) -> np.ndarray:
    """Some intervals of the domain, of lengths from 1e-2 to 30."""
    ends = np.sort(rng.normal(size=(200, 1)) * 3 + 10.0 ** rng.uniform(-2, 1.2, (200, 1)) * rng.normal(size=(200, 2)))
    ends = np.clip(ends, -20, 20) if name == "exp" else ends
    defined = not isinstance(curve, Smooth) or curve.admits(ends[:, 0], ends[:, 1])
    steep = curve.gain(ends[:, 0], ends[:, 1]) > 1e4
    return ends[defined & ~steep & (ends[:, 1] > ends[:, 0] + 1e-3)][:6]


@pytest.mark.parametrize("name", CURVES)
def test_hulls_are_those_of_a_dense_sample(name):
    """Floor and ceiling, default slopes and nearest points, up to what lies between samples."""
    curve = CURVES[name][0](np.float64)
    rng = np.random.default_rng(list(CURVES).index(name))
    found = intervals(rng, name, curve)
    assert len(found) == 6
    for low, high in found:
        x = np.linspace(low, high, 201)
        y, lower, upper = curve.value(x), np.full(201, low), np.full(201, high)
        floor, ceiling = curve.hull(lower, upper, x)
        below, above = envelope(x, y), -envelope(x, -y)
        # A sample's chords are outside by the square of its step times the largest curvature, or by a kink's.
        step, size = x[1] - x[0], np.ptp(y) + high - low
        rough = step**2 * np.abs(np.diff(y, 2)).max() / step**2 + 1e-12 * (size + np.abs(y).max())
        assert (np.abs(floor - below) <= rough).all() and (np.abs(ceiling - above) <= rough).all()
        slopes = curve.slopes(lower, upper)
        middle = np.full(201, 0.5 * low + 0.5 * high)
        at = np.abs(curve.support(lower, upper, np.ones(201), slopes.lower) + slopes.lower * middle - below[100])
        assert (at <= 2 * rough + 1e-9 * size).all()
        at = np.abs(curve.support(lower, upper, -np.ones(201), -slopes.upper) - slopes.upper * middle + above[100])
        assert (at <= 2 * rough + 1e-9 * size).all()
        pre, post = rng.normal(size=(2, 201)) * size + np.array([[middle[0]], [y.mean()]])
        p, q = curve.project(lower, upper, pre, post)
        floor, ceiling = curve.hull(lower, upper, p)
        assert ((p >= low) & (p <= high) & (q >= floor - 1e-9 * size) & (q <= ceiling + 1e-9 * size)).all()
        off = np.hypot(pre - p, post - q) + 1e-30
        beyond = ((pre - p)[:, None] * (x - p[:, None]) + (post - q)[:, None] * (y - q[:, None])) / off[:, None]
        assert beyond.max() <= 1e-7 * size


@pytest.mark.parametrize("name", CURVES)
def test_numpy_and_torch_agree(name):
    make = CURVES[name][0]
    rng = np.random.default_rng(list(CURVES).index(name))
    low, high = intervals(rng, name, make(np.float64)).T
    p, q = rng.normal(size=(2, 5, len(low)))
    results = []
    for put in (np.asarray, torch.asarray):
        curve, (l, u, pre, post) = make(np.float64), map(put, (low, high, p, q))
        curve = Power(put(curve.exponent)) if isinstance(curve, Power) else curve
        arrays = [*curve.image(l, u), *vars(curve.slopes(l, u)).values(), curve.gain(l, u)]
        arrays += [
            *curve.touch(l, u, pre, post > 0),
            curve.support(l, u, post, pre),
            *curve.hull(l, u, l + 0.3 * (u - l)),
        ]
        results.append([*arrays, *curve.project(l, u, pre, post)])
    for array, tensor in zip(*results, strict=True):
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-9, atol=1e-9)
