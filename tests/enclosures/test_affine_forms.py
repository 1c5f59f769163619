"""Affine forms: every operation holds the exact value at every point z, with zero slack."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify import Box
from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.intervals import Interval
from tests.enclosures.exact import BINARY, ERROR, apply
from tests.laws.laws import law

SEEDS = st.integers(0, 10**6)
UNARY = {
    "square": AffineForms.square,
    "sin": AffineForms.sin,
    "cos": AffineForms.cos,
    "exp": AffineForms.exp,
    "tanh": AffineForms.tanh,
    "sqrt": AffineForms.sqrt,
    "tan": AffineForms.tan,
    "abs": AffineForms.abs,
}


def drawn(rng: np.random.Generator, cells: int = 6, symbols: int = 3, low: float = -3.0) -> AffineForms:
    scale = 10.0 ** rng.uniform(-6, 0.3, (cells, 1))
    generators = scale * rng.standard_normal((cells, symbols)) * (rng.random((cells, symbols)) < 0.7)
    radius = scale[:, 0] * rng.random(cells) * (rng.random(cells) < 0.5)
    # Constants leave nothing but rounding errors in the radius of a product.
    steady = rng.random(cells) < 0.3
    generators[steady], radius[steady] = 0.0, 0.0
    return AffineForms(rng.uniform(low, 3, cells), generators, radius)


def exact_at(forms: AffineForms, cell: int, z: list[Fraction], e: Fraction) -> Fraction:
    total = Fraction(float(forms.centre[cell])) + e * Fraction(float(forms.radius[cell]))
    return total + sum(Fraction(float(g)) * s for g, s in zip(forms.generators[cell], z, strict=True))


def holds_at(forms: AffineForms, cell: int, z: list[Fraction], value: Fraction, spare: Fraction = Fraction(0)) -> bool:
    numbers = (forms.centre[cell], forms.radius[cell], *forms.generators[cell])
    if not np.isfinite(numbers).all():
        box = forms.interval
        return box.lower[cell] == -np.inf and box.upper[cell] == np.inf
    middle = exact_at(forms, cell, z, Fraction(0))
    return abs(value - middle) <= Fraction(float(forms.radius[cell])) + spare


def point(rng: np.random.Generator, symbols: int) -> list[Fraction]:
    if rng.random() < 0.5:
        return [Fraction(int(sign)) for sign in rng.choice([-1, 1], symbols)]
    return [Fraction(int(share), 1000) for share in rng.integers(-1000, 1001, symbols)]


@pytest.mark.parametrize("name", BINARY)
@law(60)
@given(SEEDS)
def test_operations_hold_exact_values_at_every_point(name, seed):
    rng = np.random.default_rng(seed)
    x, y = drawn(rng), drawn(rng, low=0.2 if name == "/" else -3.0)
    with quiet_overflow():
        found = BINARY[name](x, y)
        scaled = BINARY[name](x, Interval(np.array(0.1), np.array(0.3)))
    for cell in range(6):
        z, ends = point(rng, 3), rng.integers(-1, 2, 2)
        first, second = exact_at(x, cell, z, Fraction(int(ends[0]))), exact_at(y, cell, z, Fraction(int(ends[1])))
        if name != "/" or second:
            assert holds_at(found, cell, z, apply(name, first, second))
        assert holds_at(scaled, cell, z, apply(name, first, Fraction(2 + int(ends[1]) // 2, 10)))


@pytest.mark.parametrize("name", UNARY)
@law(60)
@given(SEEDS)
def test_functions_hold_exact_values_at_every_point(name, seed):
    rng = np.random.default_rng(seed)
    x = drawn(rng, low=0.3 if name == "sqrt" else -3.0)
    with quiet_overflow():
        found = UNARY[name](x)
    for cell in range(6):
        z = point(rng, 3)
        value = exact_at(x, cell, z, Fraction(int(rng.integers(-1, 2))))
        if name != "sqrt" or value >= 0:
            result = apply(name, value)
            assert holds_at(found, cell, z, result, 0 if name == "square" else ERROR * min(abs(result), 1))


@law(40)
@given(SEEDS)
def test_sums_of_many_forms_stay_rigorous(seed):
    """A hundred alternating additions and scalings, whose rounding errors add up in the radius."""
    rng = np.random.default_rng(seed)
    x, y = drawn(rng), drawn(rng)
    z = point(rng, 3)
    quiet = [AffineForms(form.centre, form.generators, np.zeros(6)) for form in (x, y)]
    total = quiet[0]
    exact = [exact_at(quiet[0], cell, z, Fraction(0)) for cell in range(6)]
    for _ in range(50):
        total = (total + quiet[1]) * 1.1
        exact = [(value + exact_at(quiet[1], cell, z, Fraction(0))) * Fraction(1.1) for cell, value in enumerate(exact)]
    assert all(holds_at(total, cell, z, exact[cell]) for cell in range(6))
    assert (total.radius <= 1e-12 * np.maximum(np.abs(total.centre), 1e3)).all()


def test_extreme_sizes():
    numbers = np.array([1e-300, 1e-160, 5e-324, 1e150, 1e200, 0.0])
    x = AffineForms(numbers, numbers[:, None] * np.array([1.0, -0.5]), numbers)
    z = [Fraction(1), Fraction(-1)]
    with quiet_overflow():
        for found, name in ((x * x.at(np.arange(6)), "*"), (x.square(), "square"), (x + x, "+")):
            for cell in range(6):
                value = exact_at(x, cell, z, Fraction(0))
                assert holds_at(found, cell, z, apply(name, value, value))


def test_what_is_not_defined_is_the_whole_line():
    x = AffineForms(np.array([0.1, 2.0]), np.array([[1.0], [1.0]]), np.zeros(2))
    with quiet_overflow():
        for found in (x.reciprocal(), 1.0 / x, x.sqrt(), x / x, (x + 1.4).tan(), x.sqrt().abs(), x.sqrt().max(x)):
            box = found.interval
            assert (box.lower[0], box.upper[0]) == (-np.inf, np.inf)
            assert np.isfinite(box.lower[1]) and np.isfinite(box.upper[1])


def test_kinks_lose_nothing_away_from_them_and_little_at_them():
    x = AffineForms(np.array([2.0, -2.0, 0.5]), np.ones((3, 1)), np.zeros(3))
    found = x.abs()
    np.testing.assert_allclose(found.generators[:, 0], [1.0, -1.0, 0.5], rtol=1e-12)
    # The chord of |x| over [-0.5, 1.5] is 0.75 above 0.
    np.testing.assert_allclose(found.radius, [0.0, 0.0, 0.375], atol=1e-12)
    same = x.max(x - 0.1)
    assert (same - x).interval.magnitude.max() <= 1e-12
    assert x.min(Interval.point(0.5)).interval.upper[0] <= 0.5 + 1e-12


def test_correlation_is_kept():
    x = AffineForms.around(Box.of(np.array([[-1.0, 2.0]]), np.array([[1.0, 4.0]])))
    first, second = x.coordinates()
    assert (first - first).interval.upper[0] <= 1e-14
    product = first * second  # 3 x + x y', with y' in [-1, 1]
    assert product.radius[0] == pytest.approx(1.0) and product.generators[0, 0] == pytest.approx(3.0)
    square = first.square()
    assert square.interval.lower[0] == pytest.approx(0.0, abs=1e-14) and square.interval.upper[0] == pytest.approx(1.0)
    parallel = (first * 2.0) * (first * 0.5)
    assert parallel.interval.lower[0] == pytest.approx(0.0, abs=1e-14)


def test_second_order_is_best():
    """The radius of a smooth function is a quarter of |f''| spread^2 to leading order."""
    x = AffineForms(np.array([0.7]), np.array([[1e-3]]), np.zeros(1))
    for found, bend in ((x.sin(), np.sin(0.7)), (x.exp(), np.exp(0.7)), (x.reciprocal(), 2 / 0.7**3)):
        assert found.radius[0] == pytest.approx(0.25e-6 * abs(bend), rel=0.01)


@law(30)
@given(SEEDS)
def test_reduction_holds_every_point(seed):
    rng = np.random.default_rng(seed)
    forms = AffineForms(rng.standard_normal((4, 3)), rng.standard_normal((4, 3, 12)), rng.random((4, 3)))
    reduced = forms.reduced(7)
    assert reduced.symbols == 7 and not reduced.radius.any()
    assert forms.reduced(12) is forms and forms.reduced(1).symbols == 3
    directions = np.concatenate([rng.standard_normal((50, 3)), np.eye(3)])
    widths = [np.abs(directions @ form.generators).sum(-1) for form in (forms, reduced)]
    assert (widths[0] + forms.radius @ np.abs(directions).T <= widths[1] * (1 + 1e-12)).all()
    # Axis by axis a box loses nothing.
    np.testing.assert_allclose(widths[1][:, 50:], forms.deviation, rtol=1e-12)


def test_shapes():
    x = AffineForms.around(Box.of(np.zeros((2, 3)), np.ones((2, 3))))
    assert (
        x.symbols == 3
        and x.coordinate(1).centre.shape == (2,)
        and AffineForms.stack(x.coordinates()).centre.shape == (2, 3)
    )
    wide = x.widened(2)
    assert wide.symbols == 5 and wide.refreshed().symbols == 8
    assert x.at(np.array([True, False])).centre.shape == (1, 3)
    with pytest.raises(TypeError):
        x + "1"  # type: ignore[operator]
