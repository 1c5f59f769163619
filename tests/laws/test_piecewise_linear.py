"""Laws of every relaxation, checked on PReLU, |x| and clipping here; values of phi are exact or of 60 digits."""

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from admm_verify.relaxations.piecewise_linear import Clip, PReLU
from tests.laws.laws import law

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float32, np.float64])
NEURONS = 24
LARGEST, LEAST = 7, -30
REFERENCE = Decimal("1e-45")
DIGITS = Context(prec=60, Emin=-(10**17), Emax=10**17)


def sized(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of both signs: magnitudes spread evenly over 1e-30 to 1e8, or over 1e-2 to 1e2, or all of one of them."""
    low, high = (LEAST, LARGEST) if rng.random() < 0.5 else (-2, 1)
    exponents = rng.uniform(low, high, shape if rng.random() < 0.7 else ())
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(1.0, 10.0, shape) * 10.0**exponents


def between(low: np.ndarray, high: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(p, low), high)


def distance(some: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The Euclidean distance in float64, without underflow or overflow."""
    return np.hypot(*(a.astype(np.float64) - b.astype(np.float64) for a, b in zip(some, other, strict=True)))


@dataclass(frozen=True, eq=False)
class Case:
    """A relaxation of neurons in one dtype and in float64, and the generator for whatever else a law needs."""

    relaxation: Any
    wide: Any
    lower: np.ndarray
    upper: np.ndarray
    rng: np.random.Generator

    @property
    def roundoff(self) -> float:
        return float(np.finfo(self.lower.dtype).eps) / 2

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        return self.lower.astype(np.float64), self.upper.astype(np.float64)

    @property
    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        """max|p| and max|phi|, the latter from the image, as the contract's error terms have it."""
        image = self.relaxation.image(self.lower, self.upper)
        sizes = [np.maximum(*map(np.abs, pair)).astype(np.float64) for pair in (self.ends, image)]
        return sizes[0], sizes[1]

    def slack(self, *points: np.ndarray) -> np.ndarray:
        """Some roundings of the largest number that takes part."""
        size = np.maximum(*self.largest)
        for point in points:
            size = np.maximum(size, np.abs(point.astype(np.float64)))
        return 64 * self.roundoff * size

    def samples(self, count: int) -> np.ndarray:
        """Points of [l, u], [count, neurons]: both ends and 0 if inside, some anywhere, some near an end or near 0."""
        low, high = self.ends
        share = np.concatenate([np.linspace(0.0, 1.0, count - 6), 10.0 ** self.rng.uniform(-20, 0, 3)])[:, None]
        inner = [low + share * (high - low), *(sized(self.rng, NEURONS) for _ in range(2)), 0.0 * low]
        points = between(low, high, np.vstack(inner)).astype(self.lower.dtype)
        return between(self.lower, self.upper, points)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Points anywhere, near the neuron's own scale, or in the hull."""
        scale = np.maximum(*self.largest)
        sort = self.rng.integers(0, 3, NEURONS)
        p = self.samples(9).astype(np.float64)
        shares = self.rng.dirichlet(0.5 * np.ones(len(p)), NEURONS).T
        mixed = [np.sum(shares * part, axis=0) for part in (p, self.wide.value(p))]
        pre, post = (
            np.where(sort == 0, sized(self.rng, NEURONS), np.where(sort == 1, scale * self.rng.normal(size=NEURONS), m))
            for m in mixed
        )
        return pre.astype(self.lower.dtype), post.astype(self.lower.dtype)

    def tilts(self) -> np.ndarray:
        """Slopes: of chords of the graph, anything up to 3, or 0."""
        p = self.samples(9).astype(np.float64)
        start, end = p[self.rng.integers(0, 9, NEURONS), range(NEURONS)], p[4]
        rise, run = self.wide.value(end) - self.wide.value(start), end - start
        sort = self.rng.integers(0, 6, NEURONS)
        chord = np.where(run == 0, 0.5, rise / np.where(run == 0, 1.0, run))
        other = np.where(sort == 0, 0.0, np.where(sort == 1, self.rng.uniform(-3, 3, NEURONS), chord))
        return other.astype(self.lower.dtype)

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights a and g whose ratio is such a slope, or anything at all, with a = 0 now and then."""
        a = sized(self.rng, NEURONS) * (self.rng.random(NEURONS) > 0.1)
        sort = self.rng.integers(0, 5, NEURONS)
        g = np.where((a == 0) | (sort == 0), sized(self.rng, NEURONS), a * self.tilts().astype(np.float64))
        return a.astype(self.lower.dtype), np.where(sort == 1, 1e20 * g, g).astype(self.lower.dtype)

    def check(self, condition: np.ndarray, *points: np.ndarray) -> None:
        """Fail with the numbers of the first neuron where a condition does not hold."""
        for i in np.flatnonzero(~np.atleast_2d(condition).all(axis=0)):
            numbers = [float(np.atleast_2d(array)[-1, i]) for array in points]
            bounds = float(self.lower[i]), float(self.upper[i])
            raise AssertionError(f"{self.relaxation} {self.lower.dtype} neuron {i} {bounds}, points {numbers}")


class RelaxationLaws:
    """What holds of every relaxation; a subclass names its class, draws parameters and knows phi exactly."""

    kind: Any

    def parameters(self, rng: np.random.Generator) -> list[np.ndarray]:
        return []

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        raise NotImplementedError

    def case(self, seed: int, dtype: type) -> Case:
        """Neurons with bounds on one side of 0 and on both, with an end at 0, with equal and with adjacent ends."""
        rng = np.random.default_rng(seed)
        lower, upper = np.sort([sized(rng, NEURONS), sized(rng, NEURONS)], axis=0)
        sort = rng.integers(0, 7, NEURONS)
        lower, upper = np.where(sort <= 1, -np.abs(lower), lower), np.where(sort <= 1, np.abs(upper), upper)
        lower = np.where((sort == 2) & (upper > 0), 0.0, lower).astype(dtype)
        upper = np.where((sort == 3) & (lower < 0), 0.0, upper).astype(dtype)
        upper = np.where(sort == 4, lower, np.where(sort == 5, np.nextafter(lower, np.inf, dtype=dtype), upper))
        narrow = [part.astype(dtype) for part in self.parameters(rng)]
        wide = [part.astype(np.float64) for part in narrow]
        return Case(self.kind(*narrow), self.kind(*wide), lower, upper, rng)

    def shallow_case(self, seed: int, dtype: type) -> Case:
        """Neurons whose slopes are all worth choosing."""
        return self.case(seed, dtype)

    def exact_values(self, case: Case, p: np.ndarray) -> list[list[Decimal]]:
        """phi at points [count, neurons]."""
        parameters = [[Decimal(float(x)) for x in part] for part in vars(case.relaxation).values()]
        return [
            [self.exact([part[i] for part in parameters], Decimal(float(x))) for i, x in enumerate(row)] for row in p
        ]

    @law(40)
    @given(SEEDS, DTYPES)
    def test_no_point_of_the_graph_is_below_the_support(self, seed: int, dtype: type) -> None:
        """a phi(p) - g p >= support - 32 roundings, without any further slack."""
        case = self.case(seed, dtype)
        a, g = case.weights()
        found = case.relaxation.support(case.lower, case.upper, a, g)
        assert found.dtype == dtype and np.isfinite(found).all()
        size_p, size_phi = case.largest
        least = 4 * float(np.finfo(dtype).smallest_subnormal)
        moderate = np.abs(g) < 4 * np.abs(a)
        ratio = np.where(moderate, g / np.where(moderate, a, dtype(1)), dtype(0))
        sides = [np.full(ratio.shape, above) for above in (False, True)]
        touching = [case.relaxation.touch(case.lower, case.upper, ratio, above)[0] for above in sides]
        p = np.vstack([case.samples(12), *touching])
        with localcontext(DIGITS):
            for row, values in zip(p, self.exact_values(case, p), strict=True):
                for i, value in enumerate(values):
                    weight, tilt, bound, here = (Decimal(float(x[i])) for x in (a, g, found, row))
                    error = abs(weight) * Decimal(size_phi[i]) + abs(tilt) * Decimal(size_p[i])
                    allowed = bound - 32 * Decimal(case.roundoff) * error - Decimal(least)
                    assert weight * value - tilt * here >= allowed, (case.lower[i], case.upper[i], a[i], g[i], row[i])

    @law(100)
    @given(SEEDS, DTYPES)
    def test_the_support_is_attained_where_a_line_touches(self, seed: int, dtype: type) -> None:
        case = self.case(seed, dtype)
        slope = case.tilts()
        for above, sign in ((False, 1.0), (True, -1.0)):
            p, q = case.relaxation.touch(case.lower, case.upper, slope, np.full(slope.shape, above))
            case.check((p >= case.lower) & (p <= case.upper), p, slope)
            found = case.relaxation.support(case.lower, case.upper, np.full_like(slope, sign), dtype(sign) * slope)
            gap = sign * (q.astype(np.float64) - slope.astype(np.float64) * p) - found
            case.check(np.abs(gap) <= case.slack() * (1 + np.abs(slope)), p, q, slope, gap)

    @law(60)
    @given(SEEDS, DTYPES)
    def test_the_image_holds_all_values(self, seed: int, dtype: type) -> None:
        case = self.case(seed, dtype)
        low, high = case.relaxation.image(case.lower, case.upper)
        p = case.samples(9)
        with localcontext(DIGITS):
            for values in self.exact_values(case, p):
                for i, value in enumerate(values):
                    assert Decimal(float(low[i])) <= value + REFERENCE * abs(value), (case.lower[i], case.upper[i])
                    assert Decimal(float(high[i])) >= value - REFERENCE * abs(value), (case.lower[i], case.upper[i])
        values = case.wide.value(p.astype(np.float64))
        tiny = float(np.finfo(dtype).smallest_normal)
        case.check(low >= np.min(values, axis=0) - case.slack() - tiny, low)
        case.check(high <= np.max(values, axis=0) + case.slack() + tiny, high)

    @law(60)
    @given(SEEDS, DTYPES)
    def test_the_gain_bounds_all_quotients(self, seed: int, dtype: type) -> None:
        case = self.case(seed, dtype)
        gain, p = case.relaxation.gain(case.lower, case.upper), case.samples(9)
        order = case.rng.permutation(len(p))
        with localcontext(DIGITS):
            values = self.exact_values(case, p)
            for j, k in enumerate(order):
                for i, rate in enumerate(gain):
                    run = abs(Decimal(float(p[j, i])) - Decimal(float(p[k, i])))
                    rise = abs(values[j][i] - values[k][i]) - REFERENCE * (abs(values[j][i]) + abs(values[k][i]))
                    assert rise <= Decimal(float(rate)) * run

    @law(100)
    @given(SEEDS, DTYPES)
    def test_the_slopes_are_those_of_the_hull(self, seed: int, dtype: type) -> None:
        """Flatter and steeper lines touch at an end, and no line has less area than the default ones."""
        case = self.shallow_case(seed, dtype)
        found = case.relaxation.slopes(case.lower, case.upper)
        case.check((found.lower_min <= found.lower) & (found.lower <= found.lower_max))
        case.check((found.upper_min <= found.upper) & (found.upper <= found.upper_max))
        low, high = case.ends
        middle, less = 0.5 * (low + high), case.rng.uniform(0, 0.5, NEURONS)

        def height(slope: np.ndarray, sign: float, p: np.ndarray) -> np.ndarray:
            """The line of that slope touching from below (sign 1) or above (-1), times the sign, at p."""
            slope = slope.astype(np.float64)
            return case.wide.support(low, high, np.full(NEURONS, sign), sign * slope) + sign * slope * p

        for sign, default, most, least in (
            (1.0, found.lower, found.lower_max, found.lower_min),
            (-1.0, found.upper, found.upper_min, found.upper_max),
        ):
            values = [sign * case.wide.value(end) for end in (low, high)]
            case.check(np.abs(height(least - sign * less, sign, low) - values[0]) <= case.slack(), least)
            case.check(np.abs(height(most + sign * less, sign, high) - values[1]) <= case.slack(), most)
            best = height(default, sign, middle)
            for other in (least, most, default - less, default + less, default * (1 + dtype(1e-3))):
                case.check(height(other, sign, middle) <= best + case.slack(), default, other, best)

    @law(30)
    @given(SEEDS, DTYPES)
    def test_floor_and_ceiling_are_those_of_a_dense_sample(self, seed: int, dtype: type) -> None:
        """Between the sample's chords and supporting lines, which hold the true ones between them."""
        case = self.case(seed, dtype)
        low, high = case.ends
        p = np.sort(case.samples(40).astype(np.float64), axis=0)
        q, slack = case.wide.value(p), case.slack()
        slopes = case.wide.slopes(low, high)
        for pre in case.samples(9):
            floor, ceiling = (x.astype(np.float64) for x in case.relaxation.hull(case.lower, case.upper, pre))
            here, value = pre.astype(np.float64), case.wide.value(pre.astype(np.float64))
            case.check((floor <= value + slack) & (value <= ceiling + slack), pre, floor, ceiling)
            i, j = np.triu_indices(len(p), 1)
            run = p[j] - p[i]
            share = (here - p[i]) / np.where(run > 0, run, 1.0)
            chords = np.where((run > 0) & (share >= 0) & (share <= 1), q[i] + share * (q[j] - q[i]), value)
            case.check((floor <= np.min(chords, axis=0) + slack) & (ceiling >= np.max(chords, axis=0) - slack), pre)
            for part in np.linspace(0.0, 1.0, 9):
                below = slopes.lower_min + part * (slopes.lower_max - slopes.lower_min)
                above = slopes.upper_min + part * (slopes.upper_max - slopes.upper_min)
                line = case.wide.support(low, high, np.ones(NEURONS), below) + below * here
                case.check(floor >= line - slack, pre, floor, line, below)
                line = -case.wide.support(low, high, -np.ones(NEURONS), -above) + above * here
                case.check(ceiling <= line + slack, pre, ceiling, line, above)

    @law(100)
    @given(SEEDS, DTYPES)
    def test_the_projection_is_the_nearest_point_of_the_hull(self, seed: int, dtype: type) -> None:
        """It lies in the hull, and (z - P z)'(v - P z) <= 0 for all points v of the graph."""
        case = self.case(seed, dtype)
        z = case.points()
        found = case.relaxation.project(case.lower, case.upper, *z)
        case.check((found[0] >= case.lower) & (found[0] <= case.upper), *z)
        wide = tuple(part.astype(np.float64) for part in found)
        floor, ceiling = case.wide.hull(*case.ends, wide[0])
        case.check((wide[1] >= floor - case.slack()) & (wide[1] <= ceiling + case.slack()), *z, *wide)
        off = [part.astype(np.float64) - here for part, here in zip(z, wide, strict=True)]
        for p in case.samples(30).astype(np.float64):
            q = case.wide.value(p)
            product = off[0] * (p - wide[0]) + off[1] * (q - wide[1])
            scale = np.hypot(*off) + distance((p, q), wide) + np.hypot(*wide)
            case.check(product <= case.slack(*z) * scale, *z, *wide, p)

    @law(60)
    @given(SEEDS, DTYPES)
    def test_projections_stay_and_come_no_further_apart(self, seed: int, dtype: type) -> None:
        case = self.case(seed, dtype)
        some, other = case.points(), case.points()
        once, images = (case.relaxation.project(case.lower, case.upper, *z) for z in (some, other))
        again = case.relaxation.project(case.lower, case.upper, *once)
        case.check(distance(once, again) <= case.slack(), *some, *once, *again)
        case.check(distance(once, images) <= distance(some, other) + case.slack(*some, *other), *some, *other)

    @law(20)
    @given(SEEDS, DTYPES)
    def test_numpy_and_torch_agree(self, seed: int, dtype: type) -> None:
        rng = np.random.default_rng(seed)
        lower, upper = np.sort(2 * rng.normal(size=(2, 3, NEURONS)), axis=0).astype(dtype)
        pre, post = 2 * rng.normal(size=(2, 3, NEURONS)).astype(dtype)
        parameters = [part.astype(dtype) for part in self.parameters(rng)]
        results = []
        for put in (np.asarray, torch.asarray):
            some, (l, u, p, q) = self.kind(*map(put, parameters)), map(put, (lower, upper, pre, post))
            heights = some.hull(l, u, l + 0.25 * (u - l))
            slopes = vars(some.slopes(l, u)).values()
            arrays = [*some.image(l, u), *slopes, *some.touch(l, u, 0.5 * p, q > 0), some.support(l, u, q, p)]
            results.append([*arrays, *heights, *some.project(l, u, p, q), some.gain(l, u)])
        for array, tensor in zip(*results, strict=True):
            assert array.dtype == dtype and tensor.numpy().dtype == dtype
            assert np.allclose(array, tensor.numpy(), rtol=0, atol=1e-9 if dtype == np.float64 else 5e-3)


class TestPReLU(RelaxationLaws):
    kind = PReLU

    def parameters(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [np.where(rng.random(NEURONS) < 0.5, rng.choice([-1.0, 0.0, 1.0], NEURONS), rng.uniform(-3, 1, NEURONS))]

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return p if p >= 0 else parameters[0] * p


class TestClip(RelaxationLaws):
    kind = Clip

    def parameters(self, rng: np.random.Generator) -> list[np.ndarray]:
        low, high = np.sort([sized(rng, NEURONS), sized(rng, NEURONS)], axis=0)
        plain = rng.random(NEURONS) < 0.5
        # Either end may be missing.
        side = rng.random(NEURONS)
        low, high = np.where(side < 0.2, -np.inf, low), np.where(side > 0.8, np.inf, high)
        return [np.where(plain, 0.0, low), np.where(plain, 6.0, high)]

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return min(max(p, parameters[0]), parameters[1])


def one(*numbers: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([number]) for number in numbers)


@pytest.mark.parametrize(
    ("relaxation", "bounds", "expected"),
    [
        (PReLU(np.array([0.25])), (-1.0, 3.0), (0.25, 1.0, 0.8125, 0.8125, 1.0, 0.8125)),
        (PReLU(np.array([0.25])), (-3.0, 1.0), (0.25, 1.0, 0.4375, 0.4375, 0.25, 0.4375)),
        (PReLU(np.array([-1.0])), (-3.0, -1.0), (-1.0,) * 6),
        (Clip(*one(0.0, 6.0)), (-2.0, 8.0), (0.0, 0.75, 0.0, 0.75, 0.75, 0.75)),
        (Clip(*one(0.0, 6.0)), (-2.0, 1.0), (0.0, 1.0, 1 / 3, 1 / 3, 0.0, 1 / 3)),
        (Clip(*one(0.0, 6.0)), (1.0, 5.0), (1.0,) * 6),
        (Clip(*one(0.0, 6.0)), (7.0, 9.0), (0.0,) * 6),
    ],
)
def test_slopes_known_by_hand(relaxation, bounds, expected) -> None:
    found = relaxation.slopes(*one(*bounds))
    parts = (found.lower_min, found.lower_max, found.upper_min, found.upper_max, found.lower, found.upper)
    assert np.allclose(np.concatenate(parts), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize(("slope", "bounds"), [(-1.0, (-2.0, 1.0)), (0.5, (-1.0, 1.0))])
def test_the_image_is_exact_or_one_rounding_wider(slope: float, bounds: tuple[float, float]) -> None:
    low, high = PReLU(np.array([slope])).image(*one(*bounds))
    values = sorted([0.0, max(slope * bounds[0], bounds[0] * slope), bounds[1]])
    assert np.nextafter(values[0], -1) <= low[0] <= values[0]
    assert values[-1] <= high[0] <= np.nextafter(values[-1], 9)
