"""The laws of every relaxation on steps, with and without a tolerance, and what only jumps have to fear."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from admm_verify.arrays import quiet_overflow
from admm_verify.relaxations.steps import Ceil, Floor, Heaviside, Round, Sign
from tests.laws.laws import law
from tests.laws.test_piecewise_linear import DTYPES, NEURONS, SEEDS, Case, RelaxationLaws, one, sized

WIDE = Decimal(2) ** 53


class StepLaws(RelaxationLaws):
    """Steps have neither slopes nor a constant of their own: their hulls have, and where these are steep heights are
    known no better than places; so the shared laws are tried on sixteenths.
    """

    def case(self, seed: int, dtype: type) -> Case:
        """Ends at jumps and beside them, near and far."""
        case = super().case(seed, dtype)
        rng = case.rng
        ends = np.sort(rng.integers(-100, 101, (2, NEURONS)), axis=0) * rng.choice([1 / 16, 0.5, 1.0, 16.0], NEURONS)
        equal = rng.random(NEURONS) < 0.1
        return Case(
            case.relaxation, case.wide, ends[0].astype(dtype), np.where(equal, ends[0], ends[1]).astype(dtype), rng
        )

    def exact_values(self, case: Case, p: np.ndarray) -> list[list[Decimal]]:
        parts = [[Decimal(float(x)) for x in part] for part in vars(case.relaxation).values() if np.ndim(part)]
        return [[self.exact([part[i] for part in parts], Decimal(float(x))) for i, x in enumerate(row)] for row in p]

    @law(60)
    @given(SEEDS, DTYPES)
    def test_the_gain_bounds_all_quotients(self, seed: int, dtype: type) -> None:
        """Of floor and ceiling."""
        case = self.case(seed, dtype)
        gain = case.relaxation.gain(case.lower, case.upper).astype(np.float64)
        p = case.samples(9).astype(np.float64)
        heights = [np.stack(side) for side in zip(*(case.wide.hull(*case.ends, row) for row in p), strict=True)]
        for side in heights:
            run, rise = np.abs(p[:, None] - p[None]), np.abs(side[:, None] - side[None])
            reach = np.where(run > 0, np.where(np.isfinite(gain), gain, 0.0) * run, np.inf)
            case.check(((rise <= reach + case.slack()) | ~np.isfinite(gain)).all(axis=(0, 1)))

    @law(100)
    @given(SEEDS, DTYPES)
    def test_the_slopes_are_those_of_the_hull(self, seed: int, dtype: type) -> None:
        """No line has less area than the default ones."""
        case = self.case(seed, dtype)
        found = case.relaxation.slopes(case.lower, case.upper)
        case.check((found.lower_min <= found.lower) & (found.lower <= found.lower_max))
        case.check((found.upper_min <= found.upper) & (found.upper <= found.upper_max))
        low, high = case.ends
        middle = 0.5 * (low + high)

        def height(slope: np.ndarray, sign: float) -> np.ndarray:
            slope = slope.astype(np.float64)
            return case.wide.support(low, high, np.full(NEURONS, sign), sign * slope) + sign * slope * middle

        for sign, default, ends in (
            (1.0, found.lower, (found.lower_min, found.lower_max)),
            (-1.0, found.upper, (found.upper_min, found.upper_max)),
        ):
            best = height(default, sign)
            for other in (*ends, 0.5 * default, 1.5 * default, 0 * default):
                case.check(height(other, sign) <= best + case.slack(), default, other, best)

    @law(60)
    @given(SEEDS, DTYPES)
    def test_any_ends_give_bounds(self, seed: int, dtype: type) -> None:
        """Image, support and hull at magnitudes from 1e-30 to 1e8, at ends next to jumps and to each other."""
        case = super().case(seed, dtype)
        rng = case.rng
        whole = rng.random(NEURONS) < 0.4
        ends = (np.sort(rng.integers(-6, 7, (2, NEURONS)), axis=0) / 2).astype(dtype)
        nudged = [np.where(rng.random(NEURONS) < 0.3, np.nextafter(end, dtype(9)), end) for end in ends]
        lower, upper = np.where(whole, nudged[0], case.lower), np.where(whole, nudged[1], case.upper)
        case = Case(case.relaxation, case.wide, lower, np.maximum(lower, upper), rng)
        low, high = case.relaxation.image(case.lower, case.upper)
        a = sized(rng, NEURONS).astype(dtype)
        g = np.where(rng.random(NEURONS) < 0.5, a, sized(rng, NEURONS)).astype(dtype)
        with quiet_overflow():
            bound = case.relaxation.support(case.lower, case.upper, a, g)
            found = case.relaxation.slopes(case.lower, case.upper)
            case.check((found.lower_min <= found.lower) & (found.lower <= found.lower_max))
            case.check((found.upper_min <= found.upper) & (found.upper <= found.upper_max))
        size_p, size_phi = case.largest
        for p in case.samples(12):
            q = case.relaxation.value(p)
            case.check((low <= q) & (q <= high), p, q)
            with quiet_overflow():
                floor, ceiling = case.relaxation.hull(case.lower, case.upper, p)
            case.check((floor <= q) & (q <= ceiling), p, q)
            a_, g_, p_, q_ = (part.astype(np.longdouble) for part in (a, g, p, q))
            error = 32 * case.roundoff * (abs(a_) * size_phi + abs(g_) * size_p) + 1e-44
            case.check(a_ * q_ - g_ * p_ >= bound - error, p, q, bound)

    @law(60)
    @given(SEEDS, DTYPES)
    def test_any_value_within_the_tolerance_is_in_the_hull(self, seed: int, dtype: type) -> None:
        """phi(p + e) of |e| <= tolerance: in image and hull at p, and never below the support."""
        case = self.case(seed, dtype)
        rng = case.rng
        tolerance = (10.0 ** rng.uniform(-9, 0, NEURONS) * (rng.random(NEURONS) > 0.2)).astype(dtype)
        parts = [part for name, part in vars(case.relaxation).items() if name != "tolerance"]
        some = type(case.relaxation)(*parts, tolerance)
        exact = type(case.relaxation)(*(part.astype(np.float64) for part in parts))
        wide = type(case.relaxation)(*(part.astype(np.float64) for part in parts), tolerance.astype(np.float64))
        low, high = some.image(case.lower, case.upper)
        a, g = case.weights()
        bound = wide.support(*case.ends, a.astype(np.float64), g.astype(np.float64))
        for p in case.samples(10).astype(np.float64):
            floor, ceiling = wide.hull(*case.ends, p)
            for share in (-1.0, rng.uniform(-1, 1, NEURONS), 1.0):
                # Moved by less than the tolerance, whatever is rounded.
                q = exact.value(np.where(tolerance > 0, p + (1 - 1e-12) * share * tolerance, p))
                case.check((q >= low) & (q <= high), p, q)
                slack = 64 * 2.0**-53 * np.maximum(np.abs(q), np.abs(p))
                case.check((floor <= q + slack) & (q <= ceiling + slack), p, q, floor, ceiling)
                sizes = np.abs(a) * np.maximum(np.abs(low), np.abs(high)) + np.abs(g) * np.maximum(
                    *map(np.abs, case.ends)
                )
                case.check(a * q - g * p >= bound - 64 * 2.0**-53 * sizes, p, q, bound)

    @law(40)
    @given(SEEDS)
    def test_errors_end_within_the_tolerance_and_reach_all_jumps_beyond(self, seed: int) -> None:
        case = self.case(seed, np.float64)
        error = 10.0 ** case.rng.uniform(-12, 0, NEURONS)
        carried = case.relaxation.carried(case.lower, case.upper, error)
        parts = [part for name, part in vars(case.relaxation).items() if name != "tolerance"]
        within = type(case.relaxation)(*parts, error).carried(case.lower, case.upper, error)
        assert (within == 0).all()
        for p in case.samples(10):
            for share in (-1.0, case.rng.uniform(-1, 1, NEURONS), 1.0):
                moved = np.abs(case.relaxation.value(p + share * error) - case.relaxation.value(p))
                case.check(moved <= carried, p, moved, carried)
        assert (case.relaxation.carried(case.lower, case.upper, np.zeros(NEURONS)) == 0).all()


class TestSign(StepLaws):
    kind = Sign

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return Decimal((p > 0) - (p < 0))


class TestHeaviside(StepLaws):
    kind = Heaviside

    def parameters(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [rng.choice([0.0, 0.5, 1.0], NEURONS)]

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return parameters[0] if p == 0 else Decimal(int(p > 0))


class WholeNumbers(StepLaws):
    rounding: str

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return p if abs(p) > WIDE else p.to_integral_value(self.rounding)


class TestFloor(WholeNumbers):
    kind, rounding = Floor, ROUND_FLOOR


class TestCeil(WholeNumbers):
    kind, rounding = Ceil, ROUND_CEILING


class TestRound(WholeNumbers):
    kind, rounding = Round, ROUND_HALF_EVEN


@pytest.mark.parametrize(
    ("relaxation", "bounds", "below", "above"),
    [
        (Sign(), (-2.0, 1.0), [(-2, -1), (0, -1), (0, -1), (1, 1)], [(-2, -1), (0, 1), (0, 1), (1, 1)]),
        (Sign(), (0.0, 1.0), [(0, 0), (0, 0), (0, 0), (1, 1)], [(0, 0), (0, 1), (0, 1), (1, 1)]),
        (Sign(0.5), (-2.0, 1.0), [(-2, -1), (0.5, -1), (0.5, -1), (1, 1)], [(-2, -1), (-0.5, 1), (-0.5, 1), (1, 1)]),
        (Sign(0.5), (0.25, 1.0), [(0.25, -1), (0.5, -1), (0.5, -1), (1, 1)], [(0.25, 1), (0.25, 1), (0.25, 1), (1, 1)]),
        (Floor(), (0.5, 3.5), [(0.5, 0), (1, 0), (3, 2), (3.5, 3)], [(0.5, 0), (1, 1), (3, 3), (3.5, 3)]),
        (Ceil(), (0.5, 3.5), [(0.5, 1), (1, 1), (3, 3), (3.5, 4)], [(0.5, 1), (1, 2), (3, 4), (3.5, 4)]),
        (Round(), (0.5, 2.0), [(0.5, 0), (0.5, 0), (1.5, 1), (2, 2)], [(0.5, 0), (0.5, 1), (1.5, 2), (2, 2)]),
    ],
)
def test_corners_known_by_hand(relaxation: Any, bounds, below, above) -> None:
    ends = one(*bounds)
    for chain, expected in ((relaxation.below(*ends), below), (relaxation.above(*ends), above)):
        np.testing.assert_allclose(np.array(chain)[..., 0], expected, rtol=0, atol=1e-15)


@law(20)
@given(SEEDS)
def test_attacks_are_led_by_what_is_near_a_jump(seed: int) -> None:
    x = sized(np.random.default_rng(seed), 3, 8)
    lead = Sign().gradient(x)
    assert ((lead > 0) & (lead <= 1)).all()
    order = np.argsort(np.abs(x), axis=-1)
    assert (np.diff(np.take_along_axis(lead, order, axis=-1)) <= 0).all()
