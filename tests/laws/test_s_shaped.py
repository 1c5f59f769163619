"""The laws of every relaxation on sigmoid, tanh, softplus and ELU, and what only curves have to fear."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given

from admm_verify.relaxations.curves import tangent_point
from admm_verify.relaxations.s_shaped import Elu, Sigmoid, Softplus, Tanh
from tests.laws.laws import law
from tests.laws.test_piecewise_linear import DIGITS, DTYPES, NEURONS, SEEDS, RelaxationLaws, one


class CurvedLaws(RelaxationLaws):
    """Laws of nearest points on curves, which distances alone would test to half the digits only."""

    @law(60)
    @given(SEEDS)
    def test_the_nearest_point_of_a_curve_is_accurate(self, seed: int) -> None:
        """(p - pre) + (phi(p) - post) phi'(p) changes sign within 1e-9 of it, or of the ends of the curved part."""
        case = self.case(seed, np.float64)
        pre, post = case.points()
        p, q = case.relaxation.project(case.lower, case.upper, pre, post)
        floor, ceiling = case.relaxation.hull(case.lower, case.upper, np.clip(pre, case.lower, case.upper))
        t, s = case.relaxation.contacts(case.lower, case.upper)
        for outside, start, end in ((post < floor, case.lower, t), (post > ceiling, s, case.upper)):
            curved = outside & (p > start) & (p < end)
            reach = 1e-9 * np.maximum(np.abs(p), np.minimum(np.abs(pre) + np.abs(post), 1e-3))
            for side in (-1.0, 1.0):
                at = np.clip(p + side * reach, start, end)
                pull = (at - pre) + (case.relaxation.value(at) - post) * case.relaxation.derivative(at)
                # A sign is only known beyond the rounding of what is added.
                noise = 64 * case.roundoff * (np.abs(at) + np.abs(pre) + np.abs(post) + 1)
                case.check(~curved | (side * pull >= -noise), pre, post, p, q, pull)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_extreme_bounds_and_weights_give_numbers(self, dtype: type) -> None:
        """No NaN, no overflow and no warning, whatever the bounds and weights."""
        numbers = np.array([0.0, 1e-30, 1e-8, 0.3, 20.0, 900.0, 1e8, 1e30])
        ends = np.concatenate([-numbers, numbers]).astype(dtype)
        weights = np.array([-1e3, -1e-30, 0.0, 1e-20, 1.0]).astype(dtype)
        l, u, a, g = (part.ravel() for part in np.meshgrid(ends, ends, weights, weights))
        l, u = np.minimum(l, u), np.maximum(l, u)
        alpha = [np.asarray(0.5, dtype)] if self.kind is Elu else []
        some = self.kind(*alpha)
        slopes = vars(some.slopes(l, u)).values()
        arrays = [*some.image(l, u), *slopes, *some.touch(l, u, g, a < 0), some.gain(l, u), some.support(l, u, a, g)]
        arrays += [*some.hull(l, u, np.clip(g, l, u)), *some.project(l, u, a, g)]
        assert all(np.isfinite(array).all() and array.dtype == dtype for array in arrays)

    @law(40)
    @given(SEEDS)
    def test_derivatives_are_those_of_phi(self, seed: int) -> None:
        """Against quotients of 60 digits; phi'' / phi' against those of phi'."""
        case = self.case(seed, np.float64)
        x = np.clip(case.lower, -30, 30)
        x = np.where(np.abs(x) < 1e-6, 1e-6, x)
        step = 1e-7 * np.abs(x)
        with localcontext(DIGITS):
            ends = np.vstack([x - 1e-4 * step, x + 1e-4 * step])
            low, high = self.exact_values(case, ends)
            rate = [float((b - a) / Decimal(e - s)) for a, b, s, e in zip(low, high, *ends, strict=True)]
        found = case.relaxation.derivative(x)
        case.check(np.abs(found - rate) <= 1e-4 * found + 1e-290, x, found, np.array(rate))
        quotient = np.log(case.relaxation.derivative(x + step) / case.relaxation.derivative(x - step)) / (2 * step)
        case.check(np.abs(case.relaxation.bend(x) - quotient) <= 1e-4 + 1e-8 / np.abs(x), x, quotient)

    @law(40)
    @given(SEEDS, DTYPES)
    def test_the_inverse_derivative_inverts(self, seed: int, dtype: type) -> None:
        case = self.case(seed, dtype)
        x = -np.minimum(np.abs(case.lower), dtype(40.0))
        slope = case.relaxation.derivative(x)
        again = case.relaxation.derivative(case.relaxation.inverse_derivative(slope))
        case.check(np.abs(again - slope) <= 4e2 * case.roundoff * slope, x, slope, again)


# The exact values below use some terms of a series where the plain formula would lose more than 13 of 60 digits.


class TestSigmoid(CurvedLaws):
    kind = Sigmoid

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        small = (-abs(p)).exp()
        return (1 if p >= 0 else small) / (1 + small)


class TestTanh(CurvedLaws):
    kind = Tanh

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        if abs(p) < Decimal("1e-8"):
            return p - p**3 / 3 + 2 * p**5 / 15 - 17 * p**7 / 315
        small = (-2 * abs(p)).exp()
        return ((1 - small) / (1 + small)).copy_sign(p)


class TestSoftplus(CurvedLaws):
    kind = Softplus

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        small = (-abs(p)).exp()
        series = small - small**2 / 2 + small**3 / 3 - small**4 / 4
        return max(p, Decimal(0)) + (series if abs(p) > 30 else (1 + small).ln())


class TestElu(CurvedLaws):
    kind = Elu

    def parameters(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [np.where(rng.random(NEURONS) < 0.3, 1.0, rng.uniform(1e-3, 1.0, NEURONS))]

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        if abs(p) < Decimal("1e-12"):
            return p if p >= 0 else parameters[0] * (p + p**2 / 2 + p**3 / 6 + p**4 / 24)
        return p if p >= 0 else parameters[0] * (p.exp() - 1)


@pytest.mark.parametrize("relaxation", [Sigmoid(), Tanh()])
def test_tangents_meet_the_far_end(relaxation) -> None:
    u = np.array([1e-3, 0.1, 1.0, 3.0, 10.0, 700.0, 1e8, 1e30])
    t = tangent_point(relaxation, u)
    reached = relaxation.value(t) + relaxation.derivative(t) * (u - t)
    assert (t < 0).all() and np.allclose(reached, relaxation.value(u), rtol=1e-12, atol=0)


def test_small_tangents_follow_the_cubic() -> None:
    """x - x^3 / 3 has the tangent from u at -u / 2."""
    assert np.allclose(tangent_point(Tanh(), np.array([1e-4, 1e-3])), [-5e-5, -5e-4], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("relaxation", "bounds", "point", "nearest"),
    [
        (Softplus(), (-1.0, 1.0), (0.5, np.log(2) - 1), (0.0, np.log(2))),
        (Sigmoid(), (-3.0, 0.0), (0.25, -0.5), (0.0, 0.5)),
        (Sigmoid(), (-3.0, 0.0), (0.0, -0.5), None),
        (Tanh(), (1.0, 1.0), (4.0, -2.0), (1.0, np.tanh(1.0))),
        (Elu(np.array([0.5])), (-2.0, 2.0), (0.3, -0.4), (0.0, 0.0)),
        (Elu(np.array([1.0])), (-2.0, 2.0), (2.0, 0.0), (1.0, 1.0)),
        (Tanh(), (-2.0, 2.0), (0.1, 0.2), (0.1, 0.2)),
    ],
)
def test_projections_known_by_hand(relaxation, bounds, point, nearest) -> None:
    p, q = relaxation.project(*one(*bounds, *point))
    if nearest is None:
        slope = relaxation.derivative(p)
        assert abs((p[0] - point[0]) + (q[0] - point[1]) * slope[0]) <= 1e-15
    else:
        assert np.allclose([p[0], q[0]], nearest, rtol=0, atol=1e-15)


def test_curves_have_the_gain_of_their_steepest_point() -> None:
    assert Sigmoid().gain(*one(-1.0, 2.0))[0] == 0.25
    assert Tanh().gain(*one(-1.0, 2.0))[0] == 1.0
    assert np.isclose(Tanh().gain(*one(1.0, 2.0))[0], 1 - np.tanh(1.0) ** 2, rtol=1e-14)
    assert np.isclose(Softplus().gain(*one(-9.0, 0.0))[0], 0.5, rtol=1e-14)
    assert np.isclose(Elu(np.array([0.5])).gain(*one(-9.0, -1.0))[0], 0.5 * np.exp(-1.0), rtol=1e-14)


def test_slopes_of_a_straight_piece_are_all_the_same() -> None:
    found = Elu(np.array([0.5])).slopes(*one(0.0, 3.0))
    assert {float(part[0]) for part in vars(found).values()} == {1.0}


def test_default_slopes_touch_the_hull_in_the_middle() -> None:
    """Sigmoid on [-4, 2]: the floor is curved at -1, so its line is phi's tangent there; the ceiling is its chord."""
    relaxation, (l, u) = Sigmoid(), one(-4.0, 2.0)
    found = relaxation.slopes(l, u)
    t, s = relaxation.contacts(l, u)
    assert t[0] < -1.0 + 0.5 and s[0] > -1.0
    chord = (relaxation.value(s) - relaxation.value(l)) / (s - l)
    assert np.isclose(found.upper, chord) and found.lower_min == relaxation.derivative(l)
