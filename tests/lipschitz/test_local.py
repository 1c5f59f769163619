"""Constants over sets of inputs beside all Jacobians inside, pairs of points, and each other."""

from itertools import pairwise, product
from math import inf

import numpy as np
import pytest

import admm_verify as av
from admm_verify.lipschitz.local_rows import AskedRows, rows_of_whole
from admm_verify.lipschitz.norms import DUAL, length_of
from admm_verify.lipschitz.scaled import absolute_sum, direction_system, row_system, transposed
from admm_verify.lipschitz.slope_system import SlopeSystem
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation
from admm_verify.relaxations.registry import relaxation_of
from admm_verify.run import Run
from problems.rectifier_jacobians import jacobians, norm_of
from tests.lipschitz.test_constants import NORMS, dense_chain, random_network
from tests.random_networks import Builder, chain

FEW = av.LocalLipschitzSettings(points=8, rounds=4, most_subproblems=30)


def random_chain(rng, deepest=3):
    hidden = [int(rng.integers(3, 8)) for _ in range(int(rng.integers(1, deepest + 1)))]
    sizes = [int(rng.integers(2, 5)), *hidden, int(rng.integers(1, 4))]
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    return weights, [0.5 * rng.standard_normal(len(weight)) for weight in weights]


def is_exact(seed, deepest=3):
    rng = np.random.default_rng(seed)
    weights, biases = random_chain(rng, deepest)
    x, norm = rng.standard_normal(weights[0].shape[1]), NORMS[seed % 3]
    radius = rng.choice([0.3, 1.0])
    exact = max(norm_of(one, norm) for one in jacobians(weights, biases, x - radius, x + radius))
    settings = av.LocalLipschitzSettings(most_subproblems=2000, semidefinite=False, points=8, rounds=4)
    found = av.local_lipschitz(chain(weights, biases), av.Box(x - radius, x + radius), norm=norm, settings=settings)
    # The largest Jacobian itself is computed with some roundings.
    assert exact * (1 - 1e-12) <= found.upper <= exact * (1 + 1e-6) + 1e-12
    assert found.lower <= exact * (1 + 1e-12) and found.upper <= found.lower * (1 + 1e-6) + 1e-12


@pytest.mark.parametrize("seed", (0, 1, 2, 5))
def test_parts_leave_the_largest_jacobian(seed):
    is_exact(seed, deepest=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 28))
def test_parts_leave_the_largest_of_many_jacobians(seed):
    is_exact(seed)


def holds_between_points(seed, pairs):
    """Between points of a set no difference is larger, of the whole and of rows; far ones, and near ones."""
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    size, norm = network.input_size, NORMS[seed % 3]
    center, radius = rng.standard_normal(size), 10.0 ** rng.uniform(-2, 0.5)
    name = ("l1", "l2", "linf")[int(rng.integers(3))]
    ball = av.Ball(center, radius, norm=name, within=(center - 0.7 * radius, center + radius) if seed % 2 else None)
    rows, way = rng.standard_normal((2, network.output_size)), rng.standard_normal((1, size))
    asked = av.DirectedRows(rows, way)
    found = av.local_lipschitz(network, ball, norm=norm, rows=asked, settings=FEW)
    x = ball.sample(pairs, rng).reshape(-1, size)
    y = x + rng.random((len(x), 1)) ** 8 * (ball.sample(pairs, rng).reshape(-1, size) - x)
    values, others = network(x), network(y)
    room = 1e-13 * (1.0 + np.abs(values).max() + np.abs(x).max()) * size
    lengths = length_of(x - y, norm)
    change = values - others
    assert found.rows is not None and found.rows.along is not None
    assert found.upper < inf and (length_of(change, norm) <= found.upper * lengths + room).all()
    assert (np.abs(change @ rows.T) <= found.rows.upper * lengths[:, None] + room).all()
    assert 0.0 <= found.lower <= found.upper
    assert [bound.value for bound in found.bounds] == sorted((bound.value for bound in found.bounds), reverse=True)
    # Along the direction, as far as the segment stays inside.
    step = 1e-3 * radius / float(length_of(way, "l1")[0])
    z = x[ball.contains(x + step * way)]
    moved = np.abs((network(z + step * way) - network(z)) @ rows.T)
    assert (moved <= found.rows.along[:, 0] * step + room).all()


@pytest.mark.parametrize("seed", (1, 2, 3, 5))
def test_no_points_are_farther_apart(seed):
    holds_between_points(seed, 500)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 114))
def test_no_points_of_many_are_farther_apart(seed):
    holds_between_points(seed, 20_000)


@pytest.mark.parametrize(
    "kind", ["relu", "prelu", "clip", "elu", "tanh", "softplus", "gelu", "hardswish", "sin", "square"]
)
def test_slopes_hold_differences(kind):
    rng = np.random.default_rng(0)
    count = 300
    parameters = {
        "prelu": (rng.uniform(-1, 1, count),),
        "clip": (rng.uniform(-2, 0, count), rng.uniform(0.1, 2, count)),
        "elu": (rng.uniform(0.1, 1, count),),
    }
    node = Activation(kind, 0, count, parameters.get(kind, ()))
    center, width = 3.0 * rng.standard_normal(count), 10.0 ** rng.uniform(-3, 1, count)
    center[:50], center[50:60] = 0.0, width[50:60]
    low, high = center - width, center + width
    least, most = relaxation_of(node).slopes_over(low, high)
    x = low + (high - low) * np.sort(rng.random((40, count)), axis=0)
    rise, run = np.diff(node(x), axis=0), np.diff(x, axis=0)
    room = 1e-14 * (1.0 + np.abs(node(x)).max(axis=0) + np.abs(x).max(axis=0))
    assert (least * run - room <= rise).all() and (rise <= most * run + room).all()
    # They are those that occur, next to it.
    slopes = relaxation_of(node).gradient(low + (high - low) * np.linspace(0, 1, 2001)[:, None])
    assert (most - least <= slopes.max(axis=0) - slopes.min(axis=0) + 0.02 * (1 + np.abs(most))).mean() > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_rows_and_columns_are_those_of_slopes(seed):
    """Multipliers and scales beside all Jacobians of neurons with slopes 0 or 1."""
    rng = np.random.default_rng(seed)
    inputs, neurons, outputs = 6, 5, 3
    inner = np.concatenate(
        [rng.standard_normal((neurons, inputs)), np.tril(rng.standard_normal((neurons, neurons)), -1)], axis=1
    )
    outer = rng.standard_normal((outputs, inputs + neurons))
    system = SlopeSystem(inputs, inner, outer, tuple(range(1, neurons + 1)), 0.0, 0.0)
    found = []
    for signs in product((0.0, 1.0), repeat=neurons):
        on = np.diag(signs)
        solved = np.linalg.solve(np.eye(neurons) - on @ inner[:, inputs:], on @ inner[:, :inputs])
        found.append(outer[:, :inputs] + outer[:, inputs:] @ solved)
    every = np.abs(np.array(found))
    start, row, column = every.mean(axis=0), every.sum(axis=2).max(axis=0), every.sum(axis=1).max(axis=0)
    bounds = list(absolute_sum(row_system(system, np.eye(outputs)[0]), start[0], Run()))
    assert min(bounds) < bounds[0] and row[0] * (1 - 1e-12) <= min(bounds) <= 1.6 * row[0]
    turned = row_system(transposed(system), np.eye(inputs)[1])
    bounds = list(absolute_sum(turned, start[:, 1], Run()))
    assert column[1] * (1 - 1e-12) <= min(bounds) <= 1.6 * column[1]
    way = rng.standard_normal(inputs)
    along = direction_system(system, way)
    np.testing.assert_allclose(along.inner[:, 0], inner[:, :inputs] @ way)


def test_over_a_box_far_from_kinks_the_jacobian_is_known():
    rng = np.random.default_rng(0)
    network = dense_chain(rng, [4, 6, 6, 3])
    x = rng.standard_normal(4)
    for norm in NORMS:
        found = av.local_lipschitz(network, av.Box.around(x, 1e-6), norm=norm)
        assert found.open_neurons == 0 and found.lower <= found.upper <= found.lower * (1 + 1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_where_no_neuron_is_active_nothing_changes(norm):
    rng, builder = np.random.default_rng(0), Builder(2 * 4 * 4)
    first = ConvolutionMap.of(rng.standard_normal((3, 2, 3, 3)), (2, 4, 4), padding=(1, 1, 1, 1))
    second = ConvolutionMap.of(rng.standard_normal((1, 3, 3, 3)), first.output_shape)
    last = builder.relu(builder.affine([(0, first)], np.full(first.rows, -100.0)))
    last = builder.relu(builder.affine([(last, second)], np.full(second.rows, 1.0)))
    builder.dense(last, np.ones((2, second.rows)), np.zeros(2))
    found = av.local_lipschitz(builder.network(), av.Box(-np.ones(32), np.ones(32)), norm=norm, rows=np.eye(2))
    assert found.lower == 0.0 and 0.0 <= found.upper <= 1e-12
    assert found.rows is not None and (found.rows.upper <= 1e-12).all()


def test_smooth_networks_are_halved_to_a_gap():
    builder = Builder(2)
    rng = np.random.default_rng(1)
    inner = builder.dense(0, rng.standard_normal((4, 2)), rng.standard_normal(4))
    builder.nodes.append(Activation("tanh", inner, 4))
    builder.dense(2, rng.standard_normal((2, 4)), np.zeros(2))
    box, settings = av.Box(-np.ones(2), np.ones(2)), av.LocalLipschitzSettings(gap=1e-3, most_subproblems=500)
    found = av.local_lipschitz(builder.network(), box, settings=settings)
    assert found.upper <= found.lower * 1.001 and found.subproblems > 1


def test_products_and_poolings_have_constants_over_sets():
    builder = Builder(2)
    builder.nodes.append(Activation("product", builder.dense(0, np.eye(2), np.zeros(2)), 1))
    builder.dense(2, np.ones((1, 1)), np.zeros(1))
    # x y has the gradient (y, x), in l1 of at most 3 + 2 over this box.
    found = av.local_lipschitz(builder.network(), av.Box(np.array([1.0, 2.0]), np.array([2.0, 3.0])), norm="linf")
    assert 5.0 <= found.upper <= 5.0 + 1e-9 and 3.0 < found.lower <= 5.0


def test_inputs_that_keep_still_and_flat_sets():
    network = chain([np.array([[3.0, 100.0]]), np.ones((1, 1))], [np.array([1.0]), np.zeros(1)])
    box = av.Box(np.array([0.0, 0.5]), np.array([1.0, 0.5]))
    found = av.local_lipschitz(network, box)
    assert 3.0 * (1 - 1e-9) <= found.lower <= 3.0 <= found.upper <= 3.0 + 1e-9
    ways = np.array([[1.0, 1.0], [-1.0, -1.0]])
    flat = av.Polytope(ways, [1.0, -1.0], av.Box(np.zeros(2), np.ones(2)))
    # In the set x + y = 1 differences are less than the Jacobian allows, which is thus no lower bound.
    found = av.local_lipschitz(network, flat, settings=FEW)
    assert found.lower == 0.0 and found.point is None and found.upper >= 97.0 / np.sqrt(2.0)


def test_runs_that_are_over_and_what_is_refused():
    network = dense_chain(np.random.default_rng(0), [4, 30, 30, 3])
    box = av.Box(-np.ones(4), np.ones(4))
    ended = av.local_lipschitz(network, box, run=av.Run(timeout=0.0))
    assert ended.status is av.Ended.TIMED_OUT and ended.upper >= ended.lower
    assert ended.rows is None
    asked = av.DirectedRows(np.diag([1.0, 0.0, 2.0]), np.eye(2, 4))
    stopped = av.local_lipschitz(network, box, rows=asked, run=av.Run(stop=lambda: True))
    assert stopped.rows is not None and stopped.rows.along is not None
    assert stopped.rows.upper[1] == 0.0 and (stopped.rows.along[1] == 0.0).all()
    assert stopped.status is av.Ended.STOPPED
    for rows in (np.ones((2, 4)), np.array([[np.nan, 0.0, 0.0]])):
        with pytest.raises(av.InputError, match="rows"):
            av.local_lipschitz(network, box, rows=rows)
    with pytest.raises(av.InputError, match="2 sets"):
        av.local_lipschitz(network, av.Box(-np.ones((2, 4)), np.ones((2, 4))))
    with pytest.raises(av.InputError, match="not convex"):
        av.local_lipschitz(network, av.Sparse(np.zeros(4), 2, within=(0, 1)))


def test_rows_of_runs_that_are_over_are_those_of_the_whole():
    asked = AskedRows(np.array([[3.0, -1.0], [0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]]))
    for norm, size, way in (("l1", 3.0, 7.0), ("l2", np.sqrt(10.0), 5.0), ("linf", 4.0, 4.0)):
        found = rows_of_whole(asked, norm, 2.0)
        np.testing.assert_allclose(found.upper, [2.0 * size, 0.0], rtol=1e-13)
        np.testing.assert_allclose(found.along, [[2.0 * size * way, 0.0], [0.0, 0.0]], rtol=1e-13)
        assert found.upper[0] >= 2.0 * size and found.along[0, 0] >= 2.0 * size * way
        unknown = rows_of_whole(asked, norm, np.inf)
        assert unknown.upper.tolist() == [np.inf, 0.0] and unknown.along.tolist() == [[np.inf, 0.0], [0.0, 0.0]]


def test_rows_are_bounded_in_the_dual_norm():
    network = dense_chain(np.random.default_rng(3), [3, 5, 2])
    box = av.Box(-np.ones(3), np.ones(3))
    for norm in NORMS:
        found = av.local_lipschitz(network, box, norm=norm, rows=np.eye(2))
        assert found.rows is not None
        for k, row in enumerate(found.rows.upper):
            exact = max(
                float(length_of(one[k], DUAL[norm]))
                for one in jacobians(
                    [n.terms[0].map.weight for n in network.affine.values()],
                    [n.bias for n in network.affine.values()],
                    -np.ones(3),
                    np.ones(3),
                )
            )
            assert exact * (1 - 1e-12) <= row


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dead", (0, 1))
def test_layers_without_a_slope_leave_nothing(norm, dead):
    rng = np.random.default_rng(0)
    biases = [np.full(size, -1e4 if k == dead else 0.5) for k, size in enumerate((5, 4, 2))]
    network = chain([rng.standard_normal((m, n)) for n, m in ((3, 5), (5, 4), (4, 2))], biases)
    found = av.local_lipschitz(network, av.Box(-np.ones(3), np.ones(3)), norm=norm, rows=np.eye(2), settings=FEW)
    assert found.upper == found.lower == 0.0 and found.rows is not None and not found.rows.upper.any()


def test_rows_are_no_steeper_than_the_parts_of_a_set():
    """In linf the whole is as steep as its steepest output."""
    network = dense_chain(np.random.default_rng(3), [2, 6, 2])
    found = av.local_lipschitz(network, av.Box(-np.ones(2), np.ones(2)), norm="linf", rows=np.eye(2))
    assert found.bounds[-1].method == "parts of the set"
    assert found.rows is not None and found.rows.upper.max() <= found.upper * (1 + 1e-12)
