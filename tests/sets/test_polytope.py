"""Polytopes against exact twins: linear programs solved by enumeration of vertices in rational numbers."""

# Arrays are NumPy's here, whatever sets may take.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false, reportCallIssue=false

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.optimize import linprog, minimize

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.sets.polytopes import Polytopes
from tests.sets import laws, near_laws
from tests.sets.laws import Point, Subject

SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class ExactPolytope:
    """All rows, those of the box among them, and all vertices."""

    rows: tuple[tuple[Point, Fraction], ...]
    vertices: tuple[Point, ...]

    def holds(self, x):
        return all(laws.dot(row, x) <= limit for row, limit in self.rows)

    def minimum(self, coefficient):
        return min(laws.dot(coefficient, vertex) for vertex in self.vertices)


def crossing(rows):
    """The one point where n rows hold with equality, or None."""
    n = len(rows)
    left = [[*row, limit] for row, limit in rows]
    for k in range(n):
        pivot = next((i for i in range(k, n) if left[i][k]), None)
        if pivot is None:
            return None
        left[k], left[pivot] = left[pivot], left[k]
        left[k] = [value / left[k][k] for value in left[k]]
        for i in range(n):
            if i != k and left[i][k]:
                left[i] = [a - left[i][k] * b for a, b in zip(left[i], left[k], strict=True)]
    return [row[-1] for row in left]


def twin(lower, upper, normals, limits):
    n = len(lower)
    unit = [[Fraction(int(i == j)) for j in range(n)] for i in range(n)]
    rows = [(laws.exact(row), Fraction(limit)) for row, limit in zip(normals, limits, strict=True)]
    rows += [(unit[i], Fraction(float(upper[i]))) for i in range(n)]
    rows += [([-a for a in unit[i]], -Fraction(float(lower[i]))) for i in range(n)]
    vertices = [crossing(some) for some in combinations(rows, n)]
    found = ExactPolytope(tuple(rows), ())
    return ExactPolytope(tuple(rows), tuple(x for x in vertices if x is not None and found.holds(x)))


def subject(rng):
    """Boxes of all sizes cut with rows that leave a point inside, some of them twice, some with nothing to do."""
    sets, size, rows = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(0, 5))
    scale = 10.0 ** rng.integers(-30, 9, (sets, 1)) * 10.0 ** rng.integers(-1, 2, (sets, size))
    middle = rng.standard_normal((sets, size)) * scale
    half = scale * rng.uniform(0.1, 2.0, (sets, size))
    normals = rng.standard_normal((sets, rows, size)) / scale[:, None]
    if rows > 1 and rng.random() < 0.3:
        normals[:, 1] = normals[:, 0]
    inside = middle + rng.uniform(-0.7, 0.7, (sets, size)) * half
    room = rng.uniform(0.01, 1.0, (sets, rows)) * (1.0 + 5.0 * (rng.random((sets, rows)) < 0.2))
    limits = (normals @ inside[..., None])[..., 0] + room
    made = av.Polytope(normals, limits, av.Box(middle - half, middle + half))
    ends = middle - half, middle + half
    parts = zip(*ends, normals, limits, strict=True)
    return Subject(made.flattened(lambda part: part), tuple(twin(*part) for part in parts))


def aimed(rng):
    some = subject(rng)
    return some, rng.standard_normal(some.inputs.shape) / (some.inputs.width + some.inputs.width.mean(axis=-1)[:, None])


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_minima_ranges_and_batches(seed):
    some, coefficient = aimed(np.random.default_rng(seed))
    near_laws.check_bound(some, coefficient, 1e-11)
    laws.check_range(some)
    laws.check_batches(some.inputs, coefficient)
    lower, upper = some.inputs.range
    for k, one in enumerate(some.twins):
        # The range is as small as it gets.
        for i in range(some.inputs.size):
            axis = [Fraction(int(i == j)) for j in range(some.inputs.size)]
            room = 1e-9 * (some.inputs.width[k, i] + some.inputs.reach[k, i])
            assert float(one.minimum(axis)) - lower[k, i] <= room
            assert upper[k, i] + float(one.minimum([-a for a in axis])) <= room


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_points_are_inside_and_nearest(seed):
    rng = np.random.default_rng(seed)
    some, direction = aimed(rng)
    inputs = some.inputs
    far = inputs.centre + inputs.width * rng.standard_normal(inputs.shape) * 10.0 ** rng.integers(-1, 3)
    near_laws.check_nearest(inputs, some.twins, far, 1e-10)
    near_laws.check_membership(inputs, some.twins, rng)
    laws.check_steps(inputs, some.twins, direction)
    laws.check_inward(inputs, some.twins)


@pytest.mark.parametrize("seed", range(6))
def test_programs_are_solved_as_by_others(seed):
    """Larger ones, with rows twice, opposite ones, and rows that have nothing to do."""
    rng = np.random.default_rng(seed)
    n, m = 12, 9
    normals = rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.7)
    limits = normals @ rng.uniform(-0.5, 0.5, n) + 0.1 * rng.random(m)
    normals[1], limits[1] = normals[0], limits[0]
    normals[2], limits[2] = -normals[3], -limits[3]
    normals[4], limits[4] = 0.5 * normals[5] + 0.25 * normals[6], 0.5 * limits[5] + 0.25 * limits[6]
    one = av.Polytope(normals, limits, av.Box(-np.ones(n), np.ones(n)))
    for c in rng.standard_normal((4, n)):
        found = linprog(
            c, normals, limits, bounds=(-1, 1), method="highs", options={"primal_feasibility_tolerance": 1e-10}
        )
        value, _ = one.minimum(c)
        assert -1e-9 <= found.fun - value <= 1e-9
        assert abs(c @ one.minimiser(c) - found.fun) <= 1e-9
        p, best = one.project(3.0 * c), nearest_by_slsqp(one, 3.0 * c, normals, limits)
        assert ((p - 3.0 * c) ** 2).sum() <= best * (1 + 1e-7)
        assert (normals @ p - limits).max() <= 1e-9 and np.abs(p).max() <= 1.0


def nearest_by_slsqp(one, y, normals, limits):
    found = minimize(
        lambda x: ((x - y) ** 2).sum(),
        np.clip(one.centre, -1, 1),
        jac=lambda x: 2 * (x - y),
        bounds=[(-1, 1)] * len(y),
        constraints={"type": "ineq", "fun": lambda x: limits - normals @ x, "jac": lambda x: -normals},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return found.fun


def test_equalities_are_kept_up_to_rounding():
    simplex = av.Polytope([[1, 1, 1], [-1, -1, -1]], [1, -1], av.Box(np.zeros(3), np.ones(3)))
    assert simplex.contains(np.array([0.5, 0.25, 0.25])) and not simplex.contains(np.array([0.5, 0.25, 0.250001]))
    assert abs(simplex.centre.sum() - 1) < 1e-12
    value, _ = simplex.minimum(np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]]))
    assert (value <= [1.0, -1.0]).all() and (value >= np.array([1.0, -1.0]) - 1e-12).all()
    x = simplex.project(np.array([[2.0, 0.0, 0.0], [0.3, 0.3, 0.3], [-5.0, 0.5, 0.7]]))
    np.testing.assert_allclose(x, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0.4, 0.6]], atol=1e-12)
    assert np.abs(simplex.sample(20, np.random.default_rng(0)).sum(axis=-1) - 1).max() < 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", ["diagonal", "simplex"])
def test_points_are_drawn_into_flat_sets(rows, seed):
    """x = y in a square, and shares of 1: no ball lies in them, floats do."""
    if rows == "diagonal":
        inputs = av.Polytope([[1, -1], [-1, 1], [1, 0], [-1, 0]], [0, 0, 1, 1])
    else:
        inputs = av.Polytope([[1, 1, 1], [-1, -1, -1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], [1, -1, 0, 0, 0])
    x = np.random.default_rng(seed).normal(size=(40, inputs.size))
    found = np.asarray(inputs.drawn_in(x))
    assert np.isfinite(found).all() and np.asarray(inputs.contains(found)).all()
    exact = [[Fraction(value) for value in point] for point in found.tolist()]
    assert all(p[0] == p[1] if rows == "diagonal" else sum(p) == 1 and min(p) >= 0 for p in exact)
    np.testing.assert_allclose(found, np.asarray(inputs.project(x)), rtol=0, atol=2e-3)


def test_no_point_is_drawn_into_a_set_without_floats():
    """3 x = 1."""
    inputs = av.Polytope([[3.0], [-3.0]], [1.0, -1.0], av.Box(np.zeros(1), np.ones(1)))
    assert np.isnan(np.asarray(inputs.drawn_in(np.array([[0.2], [1.0 / 3.0]])))).all()


def test_rows_alone_have_a_hull():
    triangle = av.Polytope([[1, 1], [-1, 0], [0, -1]], [1, 0, 0])
    np.testing.assert_allclose(triangle.range, [[0, 0], [1, 1]], atol=1e-12)
    assert (triangle.range[0] <= 0).all() and (triangle.range[1] >= 1).all()
    wide = av.Polytope([[1, 0], [-1, 0], [0, 1], [0, -1]], [1e-30, 1e-30, 1e8, 1e8])
    np.testing.assert_allclose(wide.range, [[-1e-30, -1e8], [1e-30, 1e8]], rtol=1e-9)
    tenth = av.Polytope([[1], [-1]], [Fraction(1, 10), 0])
    # A tenth is no float: what is above it is outside, and bounds hold up to it.
    assert not tenth.contains(np.array([0.1])) and tenth.contains(np.array([np.nextafter(0.1, 0)]))
    assert -tenth.minimum(np.array([-1.0]))[0] >= Fraction(1, 10)
    many = av.Polytope(np.tile([[1.0, 1], [-1, 0], [0, -1]], (2, 1, 1)), [[1, 0, 0], [2, 1, Fraction(1, 3)]])
    assert many.shape == (2, 2)
    np.testing.assert_allclose(many.range[1], [[1, 1], [2 + 1 / 3, 3]], atol=1e-9)


@pytest.mark.parametrize(
    "normals, limits, box, said",
    [
        ([[1, 1]], [1], None, "unbounded: its 1 rows"),
        ([[1, 0], [-1, 0], [0, 1]], [1, 1, 1], None, r"finite bound of x\[1\]"),
        (np.zeros((0, 2)), [], None, "unbounded"),
        ([[1, 1], [-1, -1]], [-1, -1], None, "is empty"),
        ([[1, 0], [-1, 0], [0, 1], [0, -1]], [1, -1.5, 1, 1], None, "is empty"),
        ([[1, 1]], [-1], ([0, 0], [1, 1]), r"is empty: no point of its box \[0, 1\]\^2 keeps the rows 0"),
        ([[1, 1]], [1], ([0, 0, 0], [1, 1, 1]), "no vectors of the 2 numbers"),
        ([[[1, 1]], [[1, 0]]], [[1], [-1]], ([0, 0], [1, 1]), "polytope 1 is empty"),
        ([[[1, 1]], [[1, 0]]], [[1]], ([0, 0], [1, 1]), "for 2 sets"),
        ([[[1, 1]], [[1, 0]]], [[1], [1, 2]], ([0, 0], [1, 1]), "for 1 rows"),
    ],
)
def test_what_is_no_bounded_polytope_is_refused(small_network, normals, limits, box, said):
    with pytest.raises(av.InputError, match=said):
        ends = None if box is None else av.Box(*map(np.array, box))
        _ = av.Polytope(normals, limits, ends).range


def test_a_box_of_another_kind_is_refused():
    with pytest.raises(av.InputError, match="box of a polytope"):
        av.Polytope([[1.0]], [1], box=([0.0], [1.0]))


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_parts_in_boxes_are_bounded_even_where_empty(seed):
    rng = np.random.default_rng(seed)
    some, c = aimed(rng)
    inputs = some.inputs
    points = inputs.sample(100, rng)
    middle = points[:, 0] if seed % 2 else inputs.centre + 2.0 * inputs.width * rng.standard_normal(inputs.shape)
    half = inputs.width * rng.uniform(0.01, 0.5, inputs.shape)
    part = inputs.within(middle - half, middle + half)
    value, _ = part.minimum(c)
    inside = part.spread().contains(points)
    np.testing.assert_array_equal(inside, part.enclosing.spread().contains(points))
    for k in range(inputs.count):
        assert all((c[k] * x).sum() >= value[k] - 1e-12 * np.abs(c[k] * x).sum() for x in points[k][inside[k]])
    if inside.any(axis=-1).all():
        assert inputs.covers(part)
    lower, upper = part.range
    for x in (part.project(points[:, 0]), part.minimiser(c), part.centre, part.sample(2, rng)[:, 0]):
        assert ((lower <= x) & (x <= upper)).all()


def test_networks_take_polytopes(small_network):
    rng = np.random.default_rng(0)
    box = av.Box(-np.ones(4), np.ones(4))
    inputs = av.Polytope(np.concatenate([np.ones((1, 4)), rng.standard_normal((2, 4))]), [0, 0.5, 0.5], box)
    found = av.output_bounds(small_network, inputs)
    y = small_network(inputs.sample(2000, rng))
    assert (found.lower <= y).all() and (y <= found.upper).all()
    looser = av.output_bounds(small_network, box)
    assert (found.upper - found.lower).sum() < 0.9 * (looser.upper - looser.lower).sum()
    av.preactivation_bounds(small_network, inputs, known=av.preactivation_bounds(small_network, box))
    with pytest.raises(av.InputError, match="does not hold this one"):
        av.preactivation_bounds(small_network, box, known=av.preactivation_bounds(small_network, inputs))


def test_torch_gives_what_numpy_does():
    rng = np.random.default_rng(5)
    some, c = aimed(rng)
    here = some.inputs
    there = here.put(Placement.of(torch.zeros(0, dtype=torch.float64)))
    assert isinstance(there, Polytopes)
    x = here.centre + 3.0 * here.width * rng.standard_normal(here.shape)
    np.testing.assert_allclose(there.project(torch.asarray(x)), here.project(x), rtol=1e-9)
    np.testing.assert_allclose(there.minimum(torch.asarray(c))[0], here.minimum(c)[0], rtol=1e-9)
    assert list(there.contains(torch.asarray(x))) == list(here.contains(x))
    single = there.inward(Placement.of(torch.zeros(0, dtype=torch.float32)))
    assert single.project(torch.asarray(x, dtype=torch.float32)).dtype == torch.float32
    assert single.minimum(torch.asarray(c, dtype=torch.float32))[0].dtype == torch.float32
    tensors = av.Polytope(torch.ones((1, 2)), [1], av.Box(torch.zeros(2), torch.ones(2)))
    x = tensors.sample(3, np.random.default_rng(0))
    assert tensors.contains(x).all() and tensors.minimum(-torch.ones(2, dtype=torch.float64))[0] <= -1
