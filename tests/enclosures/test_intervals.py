"""Interval arithmetic against exact fractions and 60-digit decimals, with zero slack."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify import InputError
from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.intervals import PI, Interval
from tests.enclosures.exact import BINARY, ERROR, apply
from tests.laws.laws import law

UNARY = {
    "square": Interval.square,
    "sin": Interval.sin,
    "cos": Interval.cos,
    "exp": Interval.exp,
    "tanh": Interval.tanh,
    "sqrt": Interval.sqrt,
    "tan": Interval.tan,
    "abs": Interval.abs,
}
FINITE = st.floats(-1e6, 1e6) | st.floats(-2, 2) | st.sampled_from([0.0, -0.0, 1e-200, -1e-300, 5e-324, 1.0])
ENDS = st.tuples(FINITE, FINITE).map(sorted)
SHARES = st.fractions(0, 1, max_denominator=1000) | st.sampled_from([Fraction(0), Fraction(1)])


def of(ends) -> Interval:
    return Interval(np.array(ends[0]), np.array(ends[1]))


def inside(ends, share: Fraction) -> Fraction:
    return Fraction(ends[0]) * (1 - share) + Fraction(ends[1]) * share


def holds(found: Interval, value: Fraction, spare: Fraction = Fraction(0)) -> bool:
    low, high = float(found.lower), float(found.upper)
    return (low == -np.inf or Fraction(low) <= value + spare) and (high == np.inf or Fraction(high) >= value - spare)


@pytest.mark.parametrize("name", BINARY)
@law(150)
@given(ENDS, ENDS, SHARES, SHARES)
def test_operations_hold_exact_values(name, first, second, s, t):
    x, y = inside(first, s), inside(second, t)
    with quiet_overflow():
        found = BINARY[name](of(first), of(second))
    if name != "/" or y:
        assert holds(found, apply(name, x, y))
    if name == "/" and second[0] <= 0 <= second[1]:
        assert (found.lower, found.upper) == (-np.inf, np.inf)


@pytest.mark.parametrize("name", UNARY)
@law(150)
@given(ENDS, SHARES)
def test_functions_hold_exact_values(name, ends, share):
    large = 30.0 if name != "exp" else 600.0
    ends = [float(np.clip(end, -large, large)) for end in ends]
    x = inside(ends, share)
    with quiet_overflow():
        found = UNARY[name](of(ends))
    if name == "sqrt" and ends[0] < 0:
        assert (found.lower, found.upper) == (-np.inf, np.inf)
    else:
        value = apply(name, x)
        # The reference's own error, which is far below one unit of the interval's last place.
        assert holds(found, value, 0 if name == "square" else ERROR * min(abs(value), 1))


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_waves_have_their_extrema(name):
    rng = np.random.default_rng(1)
    low = rng.uniform(-50, 50, 400)
    high = low + rng.uniform(0, 7, 400)
    found = UNARY[name](Interval(low, high))
    grid = getattr(np, name)(low + (high - low) * np.linspace(0, 1, 2001)[:, None])
    assert (found.lower <= grid.min(axis=0)).all() and (found.upper >= grid.max(axis=0)).all()
    # Not looser than the grid's step allows.
    assert (found.upper - grid.max(axis=0)).max() < 1e-5 and (grid.min(axis=0) - found.lower).max() < 1e-5


def test_tangents_between_poles_and_across_them():
    low, high = np.array([-1.5, 1.0, 1.5, 4.72, -1e9, -np.inf]), np.array([1.5, 1.5, 1.6, 7.8, -1e9, 0.0])
    found, known = Interval(low, high).tan(), [True, True, False, True, False, False]
    assert np.array_equal(np.isfinite(found.lower), known) and np.array_equal(np.isfinite(found.upper), known)
    np.testing.assert_allclose(found.lower[known], np.tan(low[known]), rtol=1e-12)
    np.testing.assert_allclose(found.upper[known], np.tan(high[known]), rtol=1e-12)


def test_kinks_are_exact():
    x, y = Interval(np.array([-1.0, 2.0, -3.0]), np.array([0.5, 3.0, -2.0])), Interval.point(0.25)
    for found, low, high in (
        (x.abs(), [0.0, 2.0, 2.0], [1.0, 3.0, 3.0]),
        (x.min(y), [-1.0, 0.25, -3.0], [0.25, 0.25, -2.0]),
        (y.max(x), [0.25, 2.0, 0.25], [0.5, 3.0, 0.25]),
    ):
        assert found.lower.tolist() == low and found.upper.tolist() == high


def test_waves_of_huge_and_infinite_arguments():
    found = Interval(np.array([1e9, -np.inf, 3.0]), np.array([1e9, 1.0, np.inf])).sin()
    assert (found.lower == -1).all() and (found.upper == 1).all()


def test_points_stay_tight():
    x = Interval.point(np.linspace(0.5, 3, 50))
    for found in (x + 1.0, 2.0 - x, x * x, 1.0 / x, x.square(), x.sin(), x.cos(), x.exp(), x.tanh(), x.sqrt(), x.abs()):
        assert (found.upper - found.lower <= 1e-14 * np.maximum(1.0, found.magnitude)).all()


def test_overflow_and_underflow():
    with quiet_overflow():
        big, tiny = Interval.point(1e300), Interval.point(1e-300)
        assert float((big * big).upper) == np.inf and float((big * big).lower) <= 1.7976931348623157e308
        assert float((tiny * tiny).upper) > 0 >= float((tiny * tiny).lower)
        e = Interval.point(np.array([800.0, -800.0])).exp()
        assert e.upper[0] == np.inf and np.isfinite(e.lower[0]) and e.upper[1] > 0 == e.lower[1]
        whole = Interval.point(1.0) / Interval(np.array(-1.0), np.array(1.0))
        assert float((whole * 0.0).lower) <= 0 <= float((whole * 0.0).upper)
        assert float((whole - whole).lower) == -np.inf
        assert float(Interval(np.array(-np.inf), np.array(np.inf)).tanh().upper) == 1.0


@law(100)
@given(st.fractions() | st.fractions(-1, 1) | st.just(Fraction(1, 10**400)))
def test_numbers_are_enclosed(value):
    found = Interval.number(value)
    assert holds(found, value)
    assert (found.lower == found.upper) == (Fraction(float(value)) == value)


def test_numbers_beyond_the_range_are_refused():
    with pytest.raises(InputError, match="too large"):
        Interval.number(Fraction(10**400))


def test_pi():
    digits = Fraction("3.14159265358979323846264338327950288419716939937510582097494459")
    assert Fraction(float(PI.lower)) < digits < Fraction(float(PI.upper))


def test_sets():
    first, second = of((0.0, 2.0)), of((1.0, 3.0))
    joined = first.hull(second)
    assert (joined.lower, joined.upper) == (0.0, 3.0)
    assert joined.contains(first) and not first.contains(second)
    chosen = first.where(np.array([True, False]), second)
    assert chosen.lower.tolist() == [0.0, 1.0]
    assert abs(of((0.1, 0.3)).middle - 0.2) <= of((0.1, 0.3)).radius
