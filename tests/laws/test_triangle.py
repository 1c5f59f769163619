"""Laws of the triangle relaxation of ReLU: projection, support function and bounding lines."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify.relaxations.lines import KinkLines
from admm_verify.relaxations.triangle import Triangle, project, support
from tests.laws.laws import law

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float32, np.float64])
NEURONS = 64
LARGEST, LEAST = 7, -30
ROUNDINGS = 16


@dataclass(frozen=True, eq=False)
class Neurons:
    """Bounds of neurons in one dtype, with a unit to measure their rounding errors in."""

    lower: np.ndarray
    upper: np.ndarray

    def vertices(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The vertices in float64; a stable neuron repeats its lower end in place of the corner."""
        low, high = self.lower.astype(np.float64), self.upper.astype(np.float64)
        corner = np.where((low < 0) & (high > 0), 0.0, low)
        return [(p, np.maximum(p, 0.0)) for p in (low, corner, high)]

    def slack(self, *points: np.ndarray) -> np.ndarray:
        """A few roundings of the largest number that takes part."""
        size = np.maximum(np.abs(self.lower), np.abs(self.upper)).astype(np.float64)
        for point in points:
            size = np.maximum(size, np.abs(point.astype(np.float64)))
        return ROUNDINGS * np.finfo(self.lower.dtype).eps * size


@st.composite
def neurons(draw) -> Neurons:
    """Neurons of every type: unstable, stable on either side, with an end at zero, with equal ends."""
    rng, dtype = np.random.default_rng(draw(SEEDS)), draw(DTYPES)
    ends = np.sort([sized(rng, NEURONS), sized(rng, NEURONS)], axis=0)
    lower, upper = ends[0], ends[1]
    sort = rng.integers(0, 6, NEURONS)
    lower, upper = np.where(sort <= 1, -np.abs(lower), lower), np.where(sort <= 1, np.abs(upper), upper)
    lower = np.where((sort == 2) & (upper > 0), 0.0, lower)
    upper = np.where((sort == 3) & (lower < 0), 0.0, upper)
    upper = np.where(sort == 4, lower, upper)
    return Neurons(lower.astype(dtype), upper.astype(dtype))


def sized(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of both signs whose magnitudes spread evenly over 1e-30 to 1e8, or all sit at one of them."""
    exponents = rng.uniform(LEAST, LARGEST, shape if rng.random() < 0.5 else ())
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(1.0, 10.0, shape) * 10.0**exponents


@st.composite
def situations(draw) -> tuple[Neurons, np.ndarray, np.ndarray]:
    """Neurons and points: anywhere, near the neuron's own scale, inside the triangle or on its edges."""
    some, rng = draw(neurons()), np.random.default_rng(draw(SEEDS))
    return some, *points(some, rng)


def points(some: Neurons, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    scale = np.maximum(np.abs(some.lower), np.abs(some.upper)).astype(np.float64)
    own = rng.integers(0, 3, NEURONS)
    shares = rng.dirichlet([0.5, 0.5, 0.5], NEURONS)
    inner = [mixture(shares, part) for part in zip(*some.vertices(), strict=True)]
    near = [2 * scale * rng.uniform(-1, 1, NEURONS) for _ in range(2)]
    pre, post = (
        np.where(own == 0, sized(rng, NEURONS), np.where(own == 1, n, i)).astype(some.lower.dtype)
        for n, i in zip(near, inner, strict=True)
    )
    return pre, post


def mixture(shares: np.ndarray, parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """The convex combination of the vertices' coordinates with shares [neurons, 3]."""
    return np.sum(shares.T * np.stack(parts), axis=0)


def distance(some: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The Euclidean distance in float64, without underflow or overflow."""
    return np.hypot(*(a.astype(np.float64) - b.astype(np.float64) for a, b in zip(some, other, strict=True)))


def assert_everywhere(condition: np.ndarray, some: Neurons, *points: np.ndarray) -> None:
    """Fail with the numbers of the first neuron where a condition does not hold."""
    for i in np.flatnonzero(~condition):
        numbers = [float(array[i]) for array in points]
        raise AssertionError(f"{some.lower.dtype} neuron [{some.lower[i]!r}, {some.upper[i]!r}], points {numbers}")


def boundary(some: Neurons, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on all edges, [count, neurons] per edge."""
    corners = some.vertices()
    share = np.linspace(0.0, 1.0, count)[:, None]
    edges = [
        [start + share * (end - start) for start, end in zip(corners[i], corners[j], strict=True)]
        for i, j in ((0, 1), (1, 2), (0, 2))
    ]
    pre, post = (np.concatenate(part) for part in zip(*edges, strict=True))
    return pre, post


def inside(some: Neurons, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Whether points lie in the relaxation, exactly up to one rounding of the chord in float64."""
    low, high = some.lower.astype(np.float64), some.upper.astype(np.float64)
    unstable = (low < 0) & (high > 0)
    width = np.where(unstable, high - low, 1.0)
    p, q = pre.astype(np.float64), post.astype(np.float64)
    below = q * width <= high * (p - low)
    return unstable & (q >= 0) & (q >= p) & below


@law(150)
@given(situations())
def test_the_projection_lies_in_the_relaxation(situation) -> None:
    some, pre, post = situation
    p, q = project(some.lower, some.upper, pre, post)
    low, high = some.lower.astype(np.float64), some.upper.astype(np.float64)
    slack, wide_p, wide_q = some.slack(), p.astype(np.float64), q.astype(np.float64)
    assert p.dtype == q.dtype == some.lower.dtype
    assert_everywhere((p >= some.lower) & (p <= some.upper), some, pre, post)
    assert_everywhere(wide_q >= np.maximum(wide_p, 0.0) - slack, some, pre, post)
    unstable = (low < 0) & (high > 0)
    chord = np.where(unstable, high / np.where(unstable, high - low, 1.0) * (wide_p - low), np.maximum(wide_p, 0.0))
    assert_everywhere(wide_q <= chord + slack, some, pre, post)


@law(150)
@given(situations())
def test_no_point_of_the_boundary_is_nearer(situation) -> None:
    some, pre, post = situation
    reached = distance(project(some.lower, some.upper, pre, post), (pre, post))
    least = np.min(distance(boundary(some, 100), (pre, post)), axis=0)
    least = np.where(inside(some, pre, post), 0.0, least)
    assert_everywhere(reached <= least + some.slack(pre, post), some, pre, post)


@law(150)
@given(situations())
def test_the_variational_inequality_holds(situation) -> None:
    """(z - P z)'(v - P z) <= 0 for all vertices v, which says that P z is the nearest point of the convex hull."""
    some, pre, post = situation
    p, q = project(some.lower, some.upper, pre, post)
    here, off = distance((p, q), (0 * p, 0 * q)), distance((pre, post), (p, q))
    for vertex in some.vertices():
        products = [
            (z.astype(np.float64) - a.astype(np.float64)) * (v - a.astype(np.float64))
            for z, a, v in zip((pre, post), (p, q), vertex, strict=True)
        ]
        scale = off + distance(vertex, (p, q)) + here
        assert_everywhere(sum(products) <= some.slack(pre, post) * scale, some, pre, post)


@law(100)
@given(situations())
def test_projecting_twice_changes_nothing(situation) -> None:
    some, pre, post = situation
    once = project(some.lower, some.upper, pre, post)
    again = project(some.lower, some.upper, *once)
    assert_everywhere(distance(once, again) <= some.slack(), some, pre, post)


@law(100)
@given(situations(), SEEDS)
def test_the_projection_brings_points_no_further_apart(situation, seed: int) -> None:
    some, pre, post = situation
    other = points(some, np.random.default_rng(seed))
    images = [project(some.lower, some.upper, *z) for z in ((pre, post), other)]
    apart = distance((pre, post), other)
    assert_everywhere(distance(*images) <= apart + some.slack(pre, post, *other), some, pre, post, *other)


@law(100)
@given(neurons(), SEEDS)
def test_points_of_the_relaxation_stay_where_they_are(some: Neurons, seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet([0.5, 0.5, 0.5], NEURONS)
    pre, post = (mixture(shares, part).astype(some.lower.dtype) for part in zip(*some.vertices(), strict=True))
    moved = distance(project(some.lower, some.upper, pre, post), (pre, post))
    assert_everywhere(moved <= some.slack(), some, pre, post)


@law(100)
@given(neurons(), SEEDS)
def test_the_support_is_the_least_value_at_a_vertex(some: Neurons, seed: int) -> None:
    rng = np.random.default_rng(seed)
    post_weight, pre_weight = (rng.standard_normal(NEURONS).astype(some.lower.dtype) for _ in range(2))
    wide, wide_pre = post_weight.astype(np.float64), pre_weight.astype(np.float64)
    values = [wide * q - wide_pre * p for p, q in some.vertices()]
    found = support(some.lower, some.upper, post_weight, pre_weight)
    scale = some.slack() * (np.abs(wide) + np.abs(wide_pre))
    assert_everywhere(np.abs(found - np.min(values, axis=0)) <= scale, some, post_weight, pre_weight)


def bounding_lines(some: Neurons) -> KinkLines:
    return KinkLines.of(Triangle().slopes(some.lower, some.upper), some.lower, some.upper)


@law(100)
@given(neurons())
def test_the_lines_sandwich_relu(some: Neurons) -> None:
    found, slack = bounding_lines(some), some.slack()
    low, high = some.lower.astype(np.float64), some.upper.astype(np.float64)
    for share in np.linspace(0.0, 1.0, 21):
        p = low + share * (high - low)
        relu = np.maximum(p, 0.0)
        assert_everywhere(found.upper_slope * p + found.upper_intercept >= relu - slack, some, p)
        for slope in (found.minimum, found.maximum, found.start):
            assert_everywhere(slope * p <= relu + slack, some, p)


@law(100)
@given(neurons())
def test_the_lines_are_tight(some: Neurons) -> None:
    """The chord meets ReLU at both ends; the lower slopes are [0, 1] on unstable neurons, ReLU's own elsewhere."""
    found, slack = bounding_lines(some), some.slack()
    for end in (some.lower.astype(np.float64), some.upper.astype(np.float64)):
        chord = found.upper_slope * end + found.upper_intercept
        assert_everywhere(np.abs(chord - np.maximum(end, 0.0)) <= slack, some, end)
    unstable = (some.lower < 0) & (some.upper > 0)
    own = np.where(some.lower >= 0, 1.0, 0.0)
    assert np.array_equal(found.minimum, np.where(unstable, 0.0, own))
    assert np.array_equal(found.maximum, np.where(unstable, 1.0, own))
    assert ((found.start >= found.minimum) & (found.start <= found.maximum)).all()


@law(100)
@given(situations())
def test_the_hull_holds_its_vertices_and_its_projections(situation) -> None:
    some, pre, post = situation
    triangle = Triangle()
    for p, q in [*some.vertices(), project(some.lower, some.upper, pre, post)]:
        inside = np.clip(p.astype(some.lower.dtype), some.lower, some.upper)
        floor, ceiling = triangle.hull(some.lower, some.upper, inside)
        assert_everywhere((floor - some.slack() <= q) & (q <= ceiling + some.slack()), some, p)


@pytest.mark.parametrize(
    ("bounds", "point", "nearest"),
    [
        ((-1.0, 1.0), (-1.0, 1.0), (-0.6, 0.2)),
        ((-1.0, 1.0), (0.0, -1.0), (0.0, 0.0)),
        ((-1.0, 1.0), (2.0, 1.0), (1.0, 1.0)),
        ((-1.0, 1.0), (1.0, 0.0), (0.5, 0.5)),
        ((-1.0, 1.0), (-0.5, 0.1), (-0.5, 0.1)),
        ((1.0, 3.0), (2.0, 0.0), (1.0, 1.0)),
        ((-3.0, -1.0), (0.0, 5.0), (-1.0, 0.0)),
        ((0.0, 0.0), (4.0, -7.0), (0.0, 0.0)),
    ],
)
def test_projections_known_by_hand(bounds, point, nearest) -> None:
    found = project(*(np.array([number]) for number in (*bounds, *point)))
    assert np.allclose([found[0][0], found[1][0]], nearest, rtol=0, atol=1e-15)
