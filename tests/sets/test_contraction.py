"""Cutting boxes: no point at which all the planes allow the atoms to hold is ever lost, in rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st

from admm_verify import Box
from admm_verify.arrays import quiet_overflow
from admm_verify.sets.contraction import contract

WIDE = [0.0, -0.0, 1.0, -1.0, 0.1, 3e-310, -5e-324, 5e-324, 2.2250738585072014e-308, 1e-200, -1e-160, 1e160, 1e300]
TAME = st.floats(-4, 4, allow_subnormal=False)
NUMBER = st.one_of(TAME, st.sampled_from(WIDE), st.floats(allow_nan=False, allow_infinity=False))
BOUND = st.one_of(NUMBER, st.sampled_from([-np.inf, np.inf, np.nan]))


@st.composite
def parts(draw: st.DrawFn, number: st.SearchStrategy, bound: st.SearchStrategy) -> tuple:
    """One box, atoms' coefficients and bounds, and points of the box."""
    inputs, atoms = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    ends = np.sort([[draw(number) for _ in range(inputs)] for _ in range(2)], axis=0)
    coefficient = np.array([[draw(number) for _ in range(inputs)] for _ in range(atoms)])
    bounds = np.array([draw(bound) for _ in range(atoms)])
    shares = [[draw(st.sampled_from([0, 1, 2, 7, 8])) for _ in range(inputs)] for _ in range(6)]
    return ends[0], ends[1], coefficient, bounds, np.array(shares) / 8


def least(a: list[Fraction], lower: list[Fraction], upper: list[Fraction]) -> Fraction:
    return sum((x * (low if x > 0 else high) for x, low, high in zip(a, lower, upper, strict=True)), Fraction(0))


def allowed(point: list[Fraction], planes: list[tuple[list[Fraction], Fraction]]) -> bool:
    """Whether a'x + e <= 0 for all planes, exactly."""
    return all(sum((x * y for x, y in zip(a, point, strict=True)), e) <= 0 for a, e in planes)


def boundary(point: list[Fraction], planes: list, ends: tuple[list[Fraction], list[Fraction]]) -> list[list[Fraction]]:
    """The point moved along each side onto each plane, where that stays in the box: the hardest points to keep."""
    found = [point]
    for a, e in planes:
        for i, slope in enumerate(a):
            if slope:
                rest = sum((x * y for k, (x, y) in enumerate(zip(a, point, strict=True)) if k != i), e)
                moved = [*point[:i], -rest / slope, *point[i + 1 :]]
                if ends[0][i] <= moved[i] <= ends[1][i]:
                    found.append(moved)
    return found


def check(lower: np.ndarray, upper: np.ndarray, coefficient: np.ndarray, bound: np.ndarray, shares: np.ndarray) -> None:
    low, high, excluded = cut(lower[None], upper[None], coefficient[None], bound[None])
    assert low.shape == high.shape == (1, len(lower)) and excluded.shape == (1,)
    assert not (np.isnan(low) | np.isnan(high)).any() and (low <= high).all()
    assert (low >= lower).all() and (high <= upper).all()
    ends = [Fraction(x) for x in lower], [Fraction(x) for x in upper]
    planes = []
    for a, value in zip(coefficient, bound, strict=True):
        if np.isfinite(value):
            exact = [Fraction(x) for x in a]
            planes.append((exact, Fraction(value) - least(exact, *ends)))
        elif value == np.inf:
            return
    left = [Fraction(x) for x in low[0]], [Fraction(x) for x in high[0]]
    for share in shares:
        start = [x + Fraction(s) * (y - x) for x, y, s in zip(*ends, share, strict=True)]
        for point in boundary(start, planes, ends):
            if allowed(point, planes):
                inside = all(x <= p <= y for x, p, y in zip(left[0], point, left[1], strict=True))
                assert inside and not excluded[0], (lower, upper, coefficient, bound, point)


@given(parts(TAME, TAME))
def test_no_point_is_lost(part: tuple) -> None:
    check(*part)


@given(parts(NUMBER, BOUND))
@example(([0.0, 0.0], [1.0, 1.0], [[1e-310, 1e-310]], [-3e-311], [[0.25, 0.05]]))
@example(([0.0], [1.0], [[5e-324]], [-5e-324], [[1.0]]))
@example(([-1e300], [1e300], [[1e300]], [-1.0], [[0.0]]))
def test_no_point_is_lost_at_any_scale(part: tuple) -> None:
    check(*(np.array(array, dtype=np.float64) for array in part))


@settings(max_examples=400)
@given(st.integers(0, 2**32 - 1), st.floats(-323, -300))
def test_no_point_is_lost_where_products_are_denormal(seed: int, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    inputs, atoms = rng.integers(1, 5), rng.integers(1, 3)
    ends = np.sort(rng.uniform(-1, 1, (2, inputs)), axis=0)
    size = 10.0**exponent
    coefficient, bound = rng.uniform(-1, 1, (atoms, inputs)) * size, -rng.uniform(0, 1, atoms) * size
    check(ends[0], ends[1], coefficient, bound, rng.integers(0, 9, (6, inputs)) / 8)


def cut(
    lower: np.ndarray, upper: np.ndarray, coefficient: np.ndarray, bound: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with quiet_overflow():
        box, excluded = contract(Box.of(lower, upper), coefficient, bound, 2)
        return *box.range, excluded


def test_rows_without_a_bound_cut_nothing() -> None:
    lower, upper = np.zeros((1, 2)), np.ones((1, 2))
    for bound in (-np.inf, np.nan):
        low, high, excluded = cut(lower, upper, np.ones((1, 1, 2)), np.array([[bound]]))
        assert (low == lower).all() and (high == upper).all() and not excluded[0]


def test_a_coefficient_that_is_no_number_cuts_nothing() -> None:
    for value in (np.nan, np.inf, -np.inf):
        planes = np.array([[[value, 1.0]]]), np.array([[-0.5]])
        low, high, excluded = cut(np.zeros((1, 2)), np.ones((1, 2)), *planes)
        assert (low == 0).all() and (high == 1).all() and not excluded[0]


def test_planes_cut_where_they_say() -> None:
    # x + y <= 0.5 on the unit square, then x >= 0.25: what is left is [0.25, 0.5] x [0, 0.25].
    coefficient = np.array([[[1.0, 1.0], [-1.0, 0.0]]])
    low, high, excluded = cut(np.zeros((1, 2)), np.ones((1, 2)), coefficient, np.array([[-0.5, -0.75]]))
    np.testing.assert_allclose(low, [[0.25, 0.0]], atol=1e-12)
    np.testing.assert_allclose(high, [[0.5, 0.25]], atol=1e-12)
    assert not excluded[0]


def test_planes_that_leave_nothing_exclude() -> None:
    # x + y <= 0.5 and x + y >= 1.5.
    coefficient = np.array([[[1.0, 1.0], [-1.0, -1.0]]])
    _, _, excluded = cut(np.zeros((1, 2)), np.ones((1, 2)), coefficient, np.array([[-0.5, -0.5]]))
    assert excluded[0]


@pytest.mark.parametrize("bound", [1e-300, 1e-12, 1.0])
def test_parts_do_not_see_each_other(bound: float) -> None:
    rng = np.random.default_rng(0)
    lower, upper = -rng.random((5, 3)), rng.random((5, 3))
    coefficient, bounds = rng.standard_normal((5, 2, 3)), -rng.random((5, 2))
    bounds[2, 1] = bound
    together = cut(lower, upper, coefficient, bounds)
    for k in range(5):
        part = slice(k, k + 1)
        alone = cut(lower[part], upper[part], coefficient[part], bounds[part])
        for whole, single in zip(together, alone, strict=True):
            assert np.array_equal(whole[part], single)


@given(parts(TAME, TAME))
def test_a_positive_bound_excludes_on_its_own(part: tuple) -> None:
    lower, upper, coefficient, bound, _ = part
    assume((bound > 1e-3).any())
    _, _, excluded = cut(lower[None], upper[None], coefficient[None], bound[None])
    assert excluded[0]
