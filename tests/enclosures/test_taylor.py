"""Taylor coefficients against exact fractions, closed forms and trajectories."""

from fractions import Fraction
from math import comb, factorial

import numpy as np
import pytest

from admm_verify import InputError, Plant
from admm_verify.enclosures.arithmetic import FLOATS, FUNCTIONS, ZERO, Arithmetic
from admm_verify.enclosures.intervals import ENCLOSURES, Interval
from admm_verify.enclosures.taylor import taylor_coefficients
from admm_verify.reach.continuous.simulation import integrate
from tests.enclosures.plants import PENDULUM, UNICYCLE

ORDER = 6


class Rational(Fraction):
    """Fractions that are divided by floats exactly, as all types of number here are."""

    def __truediv__(self, other):
        return Rational(super().__truediv__(Fraction(other)))

    def __mul__(self, other):
        return NotImplemented if other is ZERO else Rational(super().__mul__(Fraction(other)))

    def __add__(self, other):
        return NotImplemented if other is ZERO else Rational(super().__add__(Fraction(other)))

    def __sub__(self, other):
        return NotImplemented if other is ZERO else Rational(super().__sub__(Fraction(other)))

    def __neg__(self):
        return Rational(super().__neg__())


def unused(_):
    raise AssertionError("no elementary function here")


EXACT = Arithmetic(Rational, Rational(3), lambda x: x * x, dict.fromkeys(FUNCTIONS, unused))


def series(text: str, start: float) -> list[float]:
    """Coefficients of x1 = integral of f(x2) with x2 = start + t."""
    plant = Plant.read([text, "1"], 0)
    found = taylor_coefficients(plant, [0.0, start], [], ORDER, FLOATS)
    return [0.0 if first is ZERO else float(first) for first, _ in found]


@pytest.mark.parametrize(
    ("text", "derivative"),
    [
        ("exp(x2)", lambda k, a: np.exp(a)),
        ("sin(x2)", lambda k, a: np.sin(a + k * np.pi / 2)),
        ("cos(x2)", lambda k, a: np.cos(a + k * np.pi / 2)),
        ("x2**-1", lambda k, a: (-1) ** k * factorial(k) / a ** (k + 1)),
        ("sqrt(x2)", lambda k, a: np.prod([0.5 - j for j in range(k)]) * a ** (0.5 - k)),
        ("x2**3", lambda k, a: float(np.prod([3 - j for j in range(k)])) * a ** max(3 - k, 0)),
        (
            "exp(2*x2)*sin(x2)",
            lambda k, a: sum(
                comb(k, j) * 2.0**j * np.exp(2 * a) * np.sin(a + (k - j) * np.pi / 2) for j in range(k + 1)
            ),
        ),
    ],
)
def test_known_functions_of_time(text, derivative):
    found = series(text, 0.7)
    expected = [0.0] + [derivative(k, 0.7) / factorial(k + 1) for k in range(ORDER)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_tanh():
    """T' = 1 - T^2 as a solution of its own and as a function of time."""
    own = Plant.read(["1 - x1*x1"], 0)
    expected = [c[0] for c in taylor_coefficients(own, [np.tanh(0.3)], [], ORDER, FLOATS)]
    plant = Plant.read(["tanh(x2)", "1"], 0)
    found = [c[0] for c in taylor_coefficients(plant, [0.0, 0.3], [], ORDER, FLOATS)][1:]
    np.testing.assert_allclose([c * (k + 1) for k, c in enumerate(found)], expected[:ORDER], rtol=1e-12)


def test_tan():
    """T' = 1 + T^2 as a solution of its own and as a function of time."""
    own = Plant.read(["1 + x1*x1"], 0)
    expected = [c[0] for c in taylor_coefficients(own, [np.tan(0.3)], [], ORDER, FLOATS)]
    np.testing.assert_allclose([c * (k + 1) for k, c in enumerate(series("tan(x2)", 0.3)[1:])], expected[:ORDER])


def test_rational_right_hand_sides_exactly():
    """x' = -x^2 has x_k = (-1)^k x^(k+1); x' = 1 / (1 + x) has (1 + x)^2 = (1 + x_0)^2 + 2 t."""
    riccati = Plant.read(["-x1**2"], 0)
    found = taylor_coefficients(riccati, [Rational(3, 7)], [], ORDER, EXACT)
    assert [c[0] for c in found] == [(-1) ** k * Fraction(3, 7) ** (k + 1) for k in range(ORDER + 1)]
    quotient = Plant.read(["1/(1+x1)"], 0)
    root = taylor_coefficients(quotient, [Rational(1)], [], ORDER, EXACT)
    shifted = [Fraction(2)] + [c[0] for c in root[1:]]
    square = [sum(shifted[j] * shifted[k - j] for j in range(k + 1)) for k in range(ORDER + 1)]
    assert square == [4, 2] + [0] * (ORDER - 1)


@pytest.mark.parametrize("plant", [PENDULUM, UNICYCLE], ids=["pendulum", "unicycle"])
def test_polynomials_follow_trajectories(plant):
    rng = np.random.default_rng(0)
    x, u = rng.uniform(-1, 1, plant.states), rng.uniform(-1, 1, plant.inputs)
    coefficients = taylor_coefficients(plant, list(x), list(u), 8, FLOATS)
    polynomial = [
        sum(0.0 if c[i] is ZERO else c[i] * 0.05**k for k, c in enumerate(coefficients)) for i in range(len(x))
    ]
    simulated = integrate(plant, x[None], u[None], 0.05, 200)[0]
    np.testing.assert_allclose(polynomial, simulated, rtol=1e-11, atol=1e-12)


def test_intervals_hold_float_coefficients():
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (4, 20))
    wide = [Interval(row - 0.01, row + 0.01) for row in x]
    control = [Interval.point(np.full(20, 0.3)), Interval.point(np.full(20, -0.2))]
    found = taylor_coefficients(UNICYCLE, wide, control, 5, ENCLOSURES)
    floats = taylor_coefficients(UNICYCLE, list(x), [0.3, -0.2], 5, FLOATS)
    for intervals, numbers in zip(found, floats, strict=True):
        for interval, number in zip(intervals, numbers, strict=True):
            if interval is not ZERO:
                assert (interval.lower <= number).all() and (number <= interval.upper).all()


def test_constants_have_no_higher_coefficients():
    plant = Plant.read(["2*pi + 0*u1 - 1", "-0"], 1)
    found = taylor_coefficients(plant, [1.0, 2.0], [5.0], 3, FLOATS)
    assert found[1][0] == pytest.approx(2 * np.pi - 1)
    assert [c[0] for c in found[2:]] == [ZERO, ZERO]
    assert found[1][1] is ZERO


def test_plants_check_their_texts():
    with pytest.raises(InputError, match="no equations"):
        Plant.read([], 1)
    with pytest.raises(InputError, match="'x3'"):
        Plant.read(["x2", "x3"], 1)
    assert PENDULUM.states == 2 and PENDULUM.inputs == 1
