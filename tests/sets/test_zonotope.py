"""Zonotopes against exact twins, whose facets are normal to all generators but one less than there are inputs."""

# Arrays are NumPy's here, whatever sets may take.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false, reportCallIssue=false

import time
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.optimize import lsq_linear

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.sets.exact_feasibility import solvable
from tests.sets import laws, near_laws
from tests.sets.laws import Point, Subject

SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class ExactZonotopeSides:
    """The zonotope between pairs of parallel facets, where it has an inside."""

    center: Point
    columns: tuple[Point, ...]

    def holds(self, x):
        d = [a - b for a, b in zip(x, self.center, strict=True)]
        return all(abs(laws.dot(a, d)) <= self.most(a) for a in self.normals())

    def most(self, a):
        return sum((abs(laws.dot(a, column)) for column in self.columns), Fraction(0))

    def normals(self):
        n = len(self.center)
        for some in combinations(self.columns, n - 1):
            a = cross(some, n)
            if any(a):
                yield a

    def minimum(self, coefficient):
        return laws.dot(coefficient, self.center) - self.most(coefficient)


def cross(vectors, n):
    """A vector normal to n - 1 others, n <= 3."""
    match n:
        case 1:
            return [Fraction(1)]
        case 2:
            return [-vectors[0][1], vectors[0][0]]
        case _:
            (a, b, c), (d, e, f) = vectors
            return [b * f - c * e, c * d - a * f, a * e - b * d]


def subject(rng):
    """Zonotopes with an inside, of all sizes, far from the origin or around it, some generators twice or zero."""
    sets, size = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    symbols = size + int(rng.integers(0, 4))
    scale = 10.0 ** rng.integers(-30, 9, (sets, 1)) * 10.0 ** rng.integers(-1, 2, (sets, size))
    columns = rng.standard_normal((sets, size, symbols)) * scale[..., None]
    columns[..., :size] += 2.0 * scale[..., None] * np.eye(size)
    if symbols > size:
        columns[..., -1] = columns[..., 0] * rng.integers(0, 2)
    center = rng.standard_normal((sets, size)) * scale * 10.0 ** rng.integers(-2, 3, (sets, 1))
    parts = zip(center, columns, strict=True)
    twins = (ExactZonotopeSides(laws.exact(c), tuple(laws.exact(one) for one in g.T)) for c, g in parts)
    return Subject(av.Zonotope(center, columns), tuple(twins))


def aimed(rng):
    some = subject(rng)
    return some, rng.standard_normal(some.inputs.shape) / some.inputs.width


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_minima_ranges_and_batches(seed):
    some, coefficient = aimed(np.random.default_rng(seed))
    near_laws.check_bound(some, coefficient, 1e-10)
    laws.check_range(some)
    laws.check_batches(some.inputs, coefficient)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_points_are_inside_and_nearest(seed):
    rng = np.random.default_rng(seed)
    some, direction = aimed(rng)
    inputs = some.inputs
    far = inputs.centre + inputs.width * rng.standard_normal(inputs.shape) * 10.0 ** rng.integers(-1, 3)
    # Points are drawn in by what the inverse may mislead.
    near_laws.check_nearest(
        inputs, some.twins, far, 1e-9 + 8.0 * float(inputs.doubt.max()), 8.0 * float(inputs.doubt.max())
    )
    near_laws.check_membership(inputs, some.twins, rng)
    end = inputs.stepped(inputs.centre, -1.0, direction)
    room = 1e-9 * np.abs(direction * (np.abs(end) + inputs.width)).sum(axis=-1)
    assert (np.abs((direction * (end - inputs.minimiser(direction))).sum(axis=-1)) <= room).all()
    np.testing.assert_array_equal(inputs.stepped(inputs.centre, 1.0, np.full_like(far, np.nan)), inputs.centre)
    laws.check_inward(inputs, some.twins, whole=False)
    corners = inputs.corners(2**10)
    best = (direction[:, None] * corners).sum(axis=-1).min(axis=-1)
    assert (np.abs(best - (direction * inputs.minimiser(direction)).sum(axis=-1)) <= room).all()
    assert inputs.corners(1) is None and inputs.spread().contains(corners).all()


@pytest.mark.parametrize("shape", [(2, 6), (4, 4), (5, 3), (12, 30), (30, 6)])
def test_projections_are_those_of_a_solver(shape):
    rng = np.random.default_rng(sum(shape))
    columns = rng.standard_normal((3, *shape))
    one = av.Zonotope(np.zeros((3, shape[0])), columns)
    far = 10.0 * rng.standard_normal((3, shape[0]))
    for x, y, g in zip(one.project(far), far, columns, strict=True):
        best = g @ lsq_linear(g, y, (-1, 1), "bvls", tol=1e-14).x
        assert ((x - y) ** 2).sum() <= ((best - y) ** 2).sum() * (1 + 1e-9)
        assert np.abs(x - best).max() <= 1e-7


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_equations_are_solved_in_the_cube_exactly(seed):
    """Whole numbers make points on borders of all kinds; enumeration of vertices of the cube of z tells."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 3)), int(rng.integers(1, 5))
    columns = [[Fraction(int(value)) for value in column] for column in rng.integers(-2, 3, (m, n))]
    target = [Fraction(int(value), 2) for value in rng.integers(-6, 7, n)]
    corners = [[laws.dot(signs, [c[i] for c in columns]) for i in range(n)] for signs in product((-1, 1), repeat=m)]
    ways = [[1, 0], [0, 1], *([-c[-1], c[0]] for c in columns)] if n == 2 else [[1]]
    inside = all(
        min(laws.dot(way, x) for x in corners) <= laws.dot(way, target) <= max(laws.dot(way, x) for x in corners)
        for way in ways
    )
    spine = next((c for c in columns if any(c)), [Fraction(0)] * n)
    if n == 2 and all(spine[0] * c[1] == spine[1] * c[0] for c in columns):
        # Along one line, or at one point.
        inside = inside and target[0] * spine[1] == target[1] * spine[0]
        inside = inside and (any(spine) or not any(target))
        if any(spine):
            most = sum((abs(laws.dot(c, spine)) for c in columns), Fraction(0))
            inside = inside and abs(laws.dot(target, spine)) <= most
    assert solvable(columns, target, [bool(up) for up in rng.integers(0, 2, m)]) == inside


def test_flat_zonotopes_are_told_exactly():
    flat = av.Zonotope(np.zeros(3), np.array([[1.0, 1.0], [1.0, -1.0], [2.0, 0.0]]))
    points = np.array([[2.0, 0.0, 2.0], [0.0, 2.0, 2.0], [1.0, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, 1.0, 2.0]])
    assert list(flat.contains(points)) == [True, True, True, False, False]
    np.testing.assert_allclose(flat.project(np.array([5.0, 0.0, 5.0])), [2.0, 0.0, 2.0], atol=1e-12)
    point = av.Zonotope(np.array([0.1, 0.2]), np.zeros((2, 0)))
    assert point.contains(np.array([0.1, 0.2])) and not point.contains(np.array([0.1, 0.3]))
    np.testing.assert_array_equal(point.project(np.array([1.0, 1.0])), [0.1, 0.2])


def test_crops_keep_what_inputs_have_in_common():
    rng = np.random.default_rng(2)
    one = av.Zonotope(rng.standard_normal((2, 4)), rng.standard_normal((2, 4, 3)))
    c = rng.standard_normal((2, 4)) * [1, 0, 1, 0]
    for sets in (one, av.Zonotope(one.centre, np.tile(one.generators, 30))):
        seen = sets.seen(lambda part: np.concatenate([part[:, [2, 0]], 0.0 * part[:, :1]], axis=-1))
        value = seen.minimum(np.stack([c[:, 2], c[:, 0], c[:, 2]], axis=-1))[0]
        assert (value <= sets.minimum(c)[0] + 1e-12).all()
    seen = one.seen(lambda part: np.concatenate([part[:, [2, 0]], 0.0 * part[:, :1]], axis=-1))
    value = seen.minimum(np.stack([c[:, 2], c[:, 0], c[:, 2]], axis=-1))[0]
    np.testing.assert_allclose(value, one.minimum(c)[0], rtol=1e-12)


@pytest.mark.parametrize(
    "center, generators, said",
    [
        (np.zeros(3), np.eye(2), "no vectors of the 2 numbers"),
        (np.zeros(2), np.ones(2), "give .n, symbols."),
        (np.zeros(2), np.array([[np.inf, 0.0], [0.0, 1.0]]), "NaN or infinite"),
        (np.array([np.nan, 0.0]), np.eye(2), "NaN or infinite"),
        (np.zeros((2, 2)), np.ones((3, 2, 4)), "give as many"),
    ],
)
def test_what_is_no_zonotope_is_refused(center, generators, said):
    with pytest.raises(av.InputError, match=said):
        av.Zonotope(center, generators)


def test_networks_take_zonotopes(small_network):
    rng = np.random.default_rng(0)
    inputs = av.Zonotope(rng.standard_normal(4), 0.3 * rng.standard_normal((4, 6)))
    found = av.output_bounds(small_network, inputs)
    y = small_network(inputs.sample(2000, rng))
    assert (found.lower <= y).all() and (y <= found.upper).all()
    looser = av.output_bounds(small_network, av.Box(*inputs.range))
    assert (found.upper - found.lower).sum() < 0.9 * (looser.upper - looser.lower).sum()
    part = inputs.within(inputs.range[0] + 0.3, inputs.range[1])
    av.preactivation_bounds(small_network, part, known=av.preactivation_bounds(small_network, inputs))
    with pytest.raises(av.InputError, match="does not hold this one"):
        wider = av.Zonotope(inputs.centre, 1.1 * inputs.generators)
        av.preactivation_bounds(small_network, wider, known=av.preactivation_bounds(small_network, inputs))


def test_torch_gives_what_numpy_does():
    rng = np.random.default_rng(5)
    some, c = aimed(rng)
    here = some.inputs
    there = here.put(Placement.of(torch.zeros(0, dtype=torch.float64)))
    x = here.centre + 3.0 * here.width * rng.standard_normal(here.shape)
    np.testing.assert_allclose(there.project(torch.asarray(x)), here.project(x), rtol=1e-9)
    np.testing.assert_allclose(there.minimum(torch.asarray(c))[0], here.minimum(c)[0], rtol=1e-9)
    assert list(there.contains(torch.asarray(x))) == list(here.contains(x))
    single = there.inward(Placement.of(torch.zeros(0, dtype=torch.float32)))
    assert single.project(torch.asarray(x, dtype=torch.float32)).dtype == torch.float32


def test_a_thin_zonotope_covers_nothing_that_is_longer():
    inputs = av.Zonotope(np.ones(2), np.diag([1.0, 1e-14]))
    for factor in (1.01, 1.1, 1.2):
        longer = av.Zonotope(np.ones(2), np.diag([factor, 1e-14]))
        assert longer.range[1][0] > inputs.range[1][0] and not inputs.covers(longer)
    assert inputs.covers(inputs)


@pytest.mark.parametrize("factor", [-0.5, 0.5, 1.0 - 1e-6, 1.0 + 2.0**-50, 1.25])
def test_a_zonotope_covers_smaller_ones_alone(factor):
    columns = np.array([[1.0, 0.5, 0.25], [0.0, 1.0, -0.5]])
    inputs, other = (av.Zonotope(np.ones(2), scale * columns) for scale in (1.0, factor))
    assert inputs.covers(other) == (factor < 1.0)
    assert not inputs.covers(av.Zonotope(np.array([1.0, 1.0 + 2.0**-50]), columns))
    assert inputs.covers(av.Zonotope(np.array([1.2, 0.9]), 0.5 * columns))


def test_points_beside_large_flat_zonotopes_are_told_at_once():
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((60, 40))
    inputs = av.Zonotope(np.zeros(60), columns)
    # Images of points of the cube, but for their rounding.
    beside, began = rng.uniform(-0.9, 0.9, (3, 40)) @ columns.T, time.process_time()
    assert not inputs.contains(beside).any()
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("symbols", [1, 2, 3, 5])
def test_points_of_flat_zonotopes_are_told_exactly(symbols):
    rng = np.random.default_rng(symbols)
    columns = rng.integers(1, 9, (3, symbols)) * rng.choice([-0.125, 0.125], (3, symbols))
    columns[2] = columns[0] + columns[1]
    inputs = av.Zonotope(np.array([0.5, 0.0, 0.5]), columns)
    z = rng.integers(-8, 9, (20, symbols)) / 8.0
    on = z @ columns.T + [0.5, 0.0, 0.5]
    assert inputs.contains(on).all()
    assert not inputs.contains(on + 2.0**-45 * np.eye(3)[2]).any()
    longest = columns[np.abs(columns).sum(axis=1).argmax()]
    outside = (1.0 + 2.0**-40) * np.sign(longest) @ columns.T + [0.5, 0.0, 0.5]
    assert not inputs.contains(outside[None]).any()


def test_minimisers_need_no_program_to_be_their_own_nearest_points() -> None:
    rng, size = np.random.default_rng(0), 60
    inputs = av.Zonotope(rng.random(size), rng.standard_normal((size, size)))
    found = inputs.minimiser(rng.standard_normal((20, size)))
    near = inputs.project(found)
    assert np.abs(near - found).max() <= 1e-9 * np.abs(found).max()
    # Of hundreds of inputs it takes seconds for every point.
    assert "_program" not in vars(inputs)
