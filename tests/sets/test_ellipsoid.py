"""Ellipsoids against exact rational twins."""

# Arrays are NumPy's here, whatever sets may take.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize

import admm_verify as av
from admm_verify.arrays import Placement
from tests.sets import laws, near_laws
from tests.sets.laws import Point, Subject

SEEDS = st.integers(0, 2**32 - 1)


def root(value: Fraction) -> Fraction:
    """The square root to 200 bits, rounded down."""
    bits = max(0, 400 + value.denominator.bit_length() - value.numerator.bit_length())
    return Fraction(isqrt((value.numerator << 2 * bits) // value.denominator), 1 << bits)


@dataclass(frozen=True)
class ExactEllipsoid:
    """{x : d'y <= 1 where matrix y = d}, d = x - center; and its support function."""

    center: Point
    matrix: tuple[Point, ...]

    def holds(self, x: Point) -> bool:
        d = [a - b for a, b in zip(x, self.center, strict=True)]
        y = solved([list(row) for row in self.matrix], d)
        return y is not None and laws.dot(d, y) <= 1

    def minimum(self, coefficient: Point) -> Fraction:
        image = [laws.dot(row, coefficient) for row in self.matrix]
        return laws.dot(coefficient, self.center) - root(laws.dot(coefficient, image))


def solved(rows: list[list[Fraction]], d: list[Fraction]) -> list[Fraction] | None:
    """Some y with rows y = d by elimination, None where there is none."""
    rows, n, used = [[*row, value] for row, value in zip(rows, d, strict=True)], len(d), []
    for column in range(n):
        pivot = next((i for i in range(len(used), n) if rows[i][column]), None)
        if pivot is None:
            continue
        k = len(used)
        rows[k], rows[pivot] = rows[pivot], rows[k]
        used.append(column)
        for i in range(n):
            if i != k and rows[i][column]:
                share = rows[i][column] / rows[k][column]
                rows[i] = [a - share * b for a, b in zip(rows[i], rows[k], strict=True)]
    if any(row[-1] for row in rows[len(used) :]):
        return None
    y = [Fraction(0)] * n
    for k, column in enumerate(used):
        y[column] = rows[k][-1] / rows[k][column]
    return y


def subject(rng):
    """Ellipsoids of all sizes, far from the origin or around it, with axes of different lengths."""
    sets, size = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    scale = 10.0 ** rng.integers(-30, 9, (sets, 1)) * 10.0 ** rng.integers(-2, 3, (sets, size))
    axes = rng.standard_normal((sets, size, size)) + 2.0 * np.eye(size)
    axes = scale[..., None] * axes
    center = rng.standard_normal((sets, size)) * scale * 10.0 ** rng.integers(-3, 4, (sets, 1))
    made = av.Ellipsoid(center, axes @ axes.swapaxes(-1, -2))
    pairs = zip(center, np.asarray(made.matrix), strict=True)
    twins = (ExactEllipsoid(laws.exact(c), tuple(map(laws.exact, q))) for c, q in pairs)
    return Subject(made, tuple(twins))


def conditioned(rng):
    """A subject, a functional, and how near the set is to come: what the condition leaves of 16 digits."""
    some = subject(rng)
    inputs = some.inputs
    assert isinstance(inputs, av.Ellipsoid)
    c = rng.standard_normal(inputs.shape) / inputs.deviation.mean()
    return some, c * 10.0 ** rng.integers(-2, 3, inputs.shape), 1e-14 + 10.0 * float(np.max(inputs.doubt))


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_minima_ranges_and_batches(seed):
    some, coefficient, accuracy = conditioned(np.random.default_rng(seed))
    assert accuracy < 1e-4
    near_laws.check_bound(some, coefficient, accuracy)
    laws.check_range(some)
    laws.check_batches(some.inputs, coefficient)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_points_are_inside_and_nearest(seed):
    rng = np.random.default_rng(seed)
    some, direction, accuracy = conditioned(rng)
    inputs = some.inputs
    far = inputs.centre + inputs.width * rng.standard_normal(inputs.shape) * 10.0 ** rng.integers(-1, 4)
    near_laws.check_nearest(inputs, some.twins, far, 4.0 * accuracy)
    near_laws.check_membership(inputs, some.twins, rng)
    end = inputs.stepped(inputs.centre, -1.0, direction)
    size = 1000.0 * accuracy * np.abs(direction * (np.abs(inputs.centre) + inputs.width)).sum(axis=-1)
    assert (np.abs((direction * (end - inputs.minimiser(direction))).sum(axis=-1)) <= size).all()
    np.testing.assert_array_equal(inputs.stepped(inputs.centre, 1.0, np.full_like(far, np.nan)), inputs.centre)
    laws.check_inward(inputs, some.twins, whole=False)


@pytest.mark.parametrize("seed", range(5))
def test_projections_are_those_of_a_solver(seed):
    rng = np.random.default_rng(seed)
    axes, center = rng.standard_normal((3, 3)), rng.standard_normal(3)
    one, far = av.Ellipsoid(center, axes @ axes.T), center + 10.0 * rng.standard_normal(3)
    inverse = np.linalg.inv(axes @ axes.T)
    ring = {"type": "ineq", "fun": lambda x: 1.0 - (x - center) @ inverse @ (x - center)}
    found = minimize(lambda x: ((x - far) ** 2).sum(), center, constraints=ring, method="SLSQP", tol=1e-14)
    np.testing.assert_allclose(one.project(far), found.x, rtol=1e-5, atol=1e-6)


def test_flat_ellipsoids_hold_their_plane_exactly():
    axes = np.array([[3.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    flat = av.Ellipsoid(np.array([1.0, 2.0, 5.0]), axes @ axes.T)
    np.testing.assert_array_equal(flat.matrix, axes @ axes.T)
    found = flat.contains(np.array([[4.0, 6.0, 5.0], [-2.0, -2.0, 5.0], [4.0, 6.0, 5.1], [4.1, 6.0, 5.0]]))
    assert list(found) == [True, True, False, False]
    value, _ = flat.minimum(np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [4.0, -3.0, 0.0]]))
    assert 5.0 - 1e-13 <= value[0] <= 5.0 and -4.0 - 1e-6 <= value[1] <= -4.0
    # Across a slanted plane, floats know its distance only to the root of their roundoff.
    assert -2.0 - 1e-5 <= value[2] <= -2.0
    point = av.Ellipsoid(np.array([0.1, 0.2]), np.zeros((2, 2)))
    np.testing.assert_array_equal(point.project(np.array([3.0, 3.0])), [0.1, 0.2])
    assert point.contains(np.array([0.1, 0.2])) and point.minimum(np.ones(2))[0] == 0.1 + 0.2


def test_shapes_that_rounding_made_indefinite_are_widened():
    # Ten columns in thirty rows: singular, and of eigenvalues on both sides of 0.
    axes = np.random.default_rng(3).standard_normal((45, 10))
    made = av.Ellipsoid(np.zeros(45), axes @ axes.T)
    assert np.all(np.asarray(made.matrix) - axes @ axes.T >= -1e-15)
    assert np.abs(np.asarray(made.matrix) - axes @ axes.T).max() < 1e-9
    assert made.minimum(axes[:, 0])[0] <= -np.linalg.norm(axes.T @ axes[:, 0]) * (1 - 1e-12)


@pytest.mark.parametrize(
    "center, shape, said",
    [
        (np.zeros(2), np.diag([1.0, -1.0]), "indefinite"),
        (np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), "least eigenvalue is about -1"),
        (np.zeros(2), np.array([[0.0, 1.0], [1.0, 1.0]]), "indefinite"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.4, 1.0]]), "not symmetric"),
        (np.zeros(3), np.eye(2), "no vectors of the 2 numbers"),
        (np.zeros(2), np.ones((2, 3)), "give .n, n."),
        (np.zeros(2), np.array([[np.nan, 0.0], [0.0, 1.0]]), "NaN or infinite"),
        (np.array([np.inf, 0.0]), np.eye(2), "NaN or infinite"),
        (np.zeros((2, 2)), np.stack([np.eye(2)] * 3), "give as many of both"),
        (np.zeros((2, 2)), np.stack([np.eye(2), -np.eye(2)]), "shape 1 is indefinite"),
    ],
)
def test_what_is_no_ellipsoid_is_refused(center, shape, said):
    with pytest.raises(av.InputError, match=said):
        av.Ellipsoid(center, shape)


def test_networks_take_ellipsoids(small_network):
    rng = np.random.default_rng(0)
    axes = 0.3 * rng.standard_normal((2, 4, 4))
    inputs = av.Ellipsoid(rng.standard_normal((2, 4)), axes @ axes.swapaxes(-1, -2))
    found = av.output_bounds(small_network, inputs)
    y = small_network(inputs.sample(2000, rng).reshape(-1, 4)).reshape(2, 2000, 3)
    assert (found.lower[:, None] <= y).all() and (y <= found.upper[:, None]).all()
    looser = av.output_bounds(small_network, av.Box(*inputs.range))
    assert (found.upper - found.lower).sum() < 0.9 * (looser.upper - looser.lower).sum()
    bounds = av.preactivation_bounds(small_network, inputs)
    smaller = inputs.at(slice(0, 1)).within(inputs.range[0][:1] + 0.1, inputs.range[1][:1])
    av.preactivation_bounds(
        small_network, smaller, known=av.preactivation_bounds(small_network, inputs.at(slice(0, 1)))
    )
    with pytest.raises(av.InputError, match="does not hold this one"):
        wider = av.Ellipsoid(inputs.center, 1.1 * np.asarray(inputs.matrix))
        av.preactivation_bounds(small_network, wider, known=bounds)


def test_a_thin_ellipsoid_covers_nothing_that_is_longer():
    thin = np.diag([1.0, 1e-28])
    inputs = av.Ellipsoid(np.ones(2), thin)
    for factor in (1.01, 1.1, 1.5):
        longer = av.Ellipsoid(np.ones(2), factor * thin)
        assert longer.range[1][0] > inputs.range[1][0] and not inputs.covers(longer)
    assert inputs.covers(inputs)


@pytest.mark.parametrize("factor", [0.5, 1.0 - 1e-6, 1.0 + 2.0**-50, 1.25])
def test_an_ellipsoid_covers_smaller_ones_alone(factor):
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]])
    inputs, other = (av.Ellipsoid(np.ones(2), scale * matrix) for scale in (1.0, factor))
    assert inputs.covers(other) == (factor < 1.0)
    assert not inputs.covers(av.Ellipsoid(np.array([1.0, 1.0 + 2.0**-50]), matrix))
    assert inputs.covers(av.Ellipsoid(np.array([1.2, 0.9]), 0.25 * np.eye(2)))


def test_torch_gives_what_numpy_does():
    rng = np.random.default_rng(5)
    axes, x = rng.standard_normal((2, 3, 3)), 5.0 * rng.standard_normal((2, 3))
    here = av.Ellipsoid(np.zeros((2, 3)), axes @ axes.swapaxes(-1, -2))
    there = here.put(Placement.of(torch.zeros(0, dtype=torch.float64)))
    np.testing.assert_allclose(there.project(torch.asarray(x)), here.project(x), rtol=1e-9)
    np.testing.assert_allclose(there.minimum(torch.asarray(x))[0], here.minimum(x)[0], rtol=1e-12)
    assert list(there.contains(torch.asarray(x))) == list(here.contains(x))


@pytest.mark.parametrize("least", [5e-324, 1.5e-323, 1e-310])
def test_the_smallest_shapes_are_no_points(least: float) -> None:
    inputs = av.Ellipsoid(np.zeros(2), np.diag([least, 1.0]))
    # sqrt(least) is 2**-537 or more.
    assert inputs.range[1][0] >= 2.0**-537 and inputs.minimum(np.array([1.0, 0.0]))[0] <= -(2.0**-537)
    assert inputs.contains(np.array([[2.0**-537, 0.0]])).all()
