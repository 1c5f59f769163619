"""Certified Lipschitz constants beside pairs of points, and multipliers beside their proofs."""

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from scipy.linalg import block_diag

import admm_verify as av
from admm_verify.lipschitz.interior_point import best_multipliers
from admm_verify.lipschitz.jacobians import jacobian_sizes
from admm_verify.lipschitz.multipliers import closed_forms, proved_constant
from admm_verify.lipschitz.norms import length_of
from admm_verify.lipschitz.segments import segments_of
from admm_verify.lipschitz.slope_system import Multipliers, SlopeSystem, slope_system
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Network
from admm_verify.network.maps import DenseMap
from admm_verify.network.selection import SelectionMap
from tests.random_networks import Builder, chain
from tests.shared import SHARED, needs_shared

NORMS = ("l1", "l2", "linf")
SMOOTH = ("tanh", "sigmoid", "softplus", "atan", "erf", "sin", "gelu", "silu", "mish", "hardswish", "softsign")


def dense_chain(rng, sizes):
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    return chain(weights, [rng.standard_normal(len(weight)) for weight in weights])


def activated(builder, source, rng):
    kind = rng.choice(["relu", "prelu", *SMOOTH])
    size = builder.size(source)
    parameters = (rng.uniform(-1, 1, size),) if kind == "prelu" else ()
    builder.nodes.append(Activation(str(kind), source, size, parameters))
    return len(builder.nodes) - 1


def random_network(rng) -> Network:
    """Dense, convolutional or residual layers with activations of any kind of bounded slope."""
    kind = rng.choice(["dense", "convolution", "residual"])
    if kind == "convolution":
        builder = Builder(2 * 5 * 5)
        part = ConvolutionMap.of(rng.standard_normal((3, 2, 3, 3)), (2, 5, 5), (2, 2), (1, 1, 1, 1))
        last = activated(builder, builder.affine([(0, part)], rng.standard_normal(part.rows)), rng)
    else:
        builder = Builder(int(rng.integers(1, 7)))
        last = 0
    for _ in range(int(rng.integers(1, 4))):
        size, inner = builder.size(last), int(rng.integers(1, 9))
        hidden = activated(builder, builder.dense(last, rng.standard_normal((inner, size)), np.zeros(inner)), rng)
        if kind == "residual":
            weight = DenseMap(rng.standard_normal((size, inner)))
            last = builder.affine([(last, SelectionMap.identity(size)), (hidden, weight)], np.zeros(size))
        else:
            last = hidden
    outputs = int(rng.integers(1, 4))
    builder.dense(last, rng.standard_normal((outputs, builder.size(last))), np.zeros(outputs))
    return builder.network()


def steepest_seen(network, norm, rng, pairs):
    """The steepest slope between points near and far."""
    x = rng.standard_normal((pairs, network.input_size)) * 10.0 ** rng.uniform(-2, 2, (pairs, 1))
    y = x + rng.standard_normal(x.shape) * 10.0 ** rng.uniform(-4, 1, (pairs, 1))
    change = network(x) - network(y)
    size = np.max(np.abs(network(x)), axis=1) + np.max(np.abs(x), axis=1) + 10.0
    # Less than what rounding makes of the difference.
    return np.max((length_of(change, norm) - 1e-12 * size) / length_of(x - y, norm))


def violated(seed, pairs):
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    settings = av.LipschitzSettings(points=16, rounds=8)
    found = {norm: av.lipschitz_constant(network, norm=norm, settings=settings) for norm in NORMS}
    for norm, constant in found.items():
        values = [bound.value for bound in constant.bounds]
        assert constant.upper == min(values) < inf and values == sorted(values, reverse=True)
        assert steepest_seen(network, norm, rng, pairs) <= min(values)
        assert 0 <= constant.lower <= constant.upper


@pytest.mark.parametrize("seed", range(12))
def test_no_two_points_are_steeper(seed):
    violated(seed, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_no_two_of_many_points_are_steeper(seed):
    violated(1000 + seed, 20_000)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_multipliers_are_optimal(seed):
    """Duality: the matrices X of the method say how much better any multipliers could be; here, beside many."""
    rng = np.random.default_rng(seed)
    system = slope_system(dense_chain(rng, [6, 8, 8, 3]), 0, 5)
    assert system is not None
    start = next(closed_forms(system))
    points = list(best_multipliers(system, Multipliers(1.3 * start.constant, 1.3 * start.weights), 1e-6))
    best = min(proved_constant(system, point) for point in points)
    for _ in range(300):
        moved = points[-1].weights * np.exp(0.1 * rng.standard_normal(system.neurons))
        assert proved_constant(system, Multipliers(best * (1 - 1e-5), moved)) >= best * (1 - 1e-4)
    assert best <= min(found.constant for found in closed_forms(system))


def test_layered_multipliers_are_those_of_the_recursion():
    """ECLipsE-Fast as published: M = 2 t I - t^2 W M^-1 W' from layer to layer."""
    rng = np.random.default_rng(0)
    network = dense_chain(rng, [5, 7, 6, 2])
    weights = [node.terms[0].map.weight for node in network.affine.values()]
    before = np.eye(5)
    for weight in weights[:-1]:
        square = weight @ np.linalg.inv(before) @ weight.T
        t = 1.0 / np.linalg.eigvalsh(square)[-1]
        before = 2.0 * t * np.eye(len(weight)) - t**2 * square
    expected = np.sqrt(np.linalg.eigvalsh(weights[-1] @ np.linalg.inv(before) @ weights[-1].T)[-1])
    system = slope_system(network, 0, network.output)
    assert system is not None
    found = next(closed_forms(system))
    assert found.constant == pytest.approx(expected, rel=1e-9)
    assert expected <= proved_constant(system, found) <= expected * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_false_is_proved(seed):
    """One neuron of weight 1 and two of them side by side: constants below the true ones have no multipliers."""
    rng = np.random.default_rng(seed)
    inner = block_diag(np.hstack([np.eye(2), np.zeros((2, 2))]))
    outer = np.hstack([np.zeros((2, 2)), np.eye(2)])
    system = SlopeSystem(2, inner, outer, (2,), 0.0, 0.0)
    for weights in (np.ones(2), np.exp(rng.standard_normal(2)), np.array([np.nan, 1.0]), np.array([-1.0, 1.0])):
        for share in (0.5, 0.99, 1.0 - 1e-9):
            constant = proved_constant(system, Multipliers(share, weights))
            assert constant >= 1.0


def test_steepness_without_bound_is_infinite():
    builder = Builder(2)
    builder.nodes.append(Activation("square", builder.dense(0, np.eye(2), np.zeros(2)), 2))
    builder.dense(2, np.ones((1, 2)), np.zeros(1))
    found = av.lipschitz_constant(builder.network())
    assert found.upper == inf and found.bounds == () and found.lower > 0


@pytest.mark.parametrize("shift", (0.0, 1e8, 1e12, 1e16))
@pytest.mark.parametrize("norm", NORMS)
def test_large_biases_make_nothing_steeper(norm, shift):
    """Values of 1e12 differ by multiples of 1e-4: as computed, next to each other by more than the layer's norm."""
    network = chain([np.array([[1.0, 2.0], [3.0, -4.0]])], [np.array([shift, -shift])])
    found = av.lipschitz_constant(network, norm=norm)
    assert (0.98 * found.upper if shift < 1e13 else 0.0) <= found.lower <= found.upper


def test_constant_networks_and_ended_runs():
    network = chain([np.zeros((3, 2)), np.zeros((1, 3))], [np.ones(3), np.ones(1)])
    found = av.lipschitz_constant(network)
    assert found.upper <= 1e-12 and found.lower == 0
    big = dense_chain(np.random.default_rng(0), [40, 60, 60, 5])
    ended = av.lipschitz_constant(big, timeout=0.0)
    assert ended.status is av.Ended.TIMED_OUT and steepest_seen(big, "l2", np.random.default_rng(1), 500) <= ended.upper


def test_residual_networks_are_cut_where_all_paths_pass(monkeypatch):
    """Parts of at most so many neurons, whose product is a constant too."""
    monkeypatch.setattr("admm_verify.lipschitz.segments.MOST_NEURONS", 20)
    rng = np.random.default_rng(0)
    builder, last = Builder(4), 0
    for _ in range(4):
        size = builder.size(last)
        hidden = builder.relu(builder.dense(last, rng.standard_normal((6, size)), np.zeros(6)))
        weight = DenseMap(rng.standard_normal((size, 6)))
        last = builder.relu(builder.affine([(last, SelectionMap.identity(size)), (hidden, weight)], np.zeros(size)))
    network = builder.network()
    parts = segments_of(network)
    assert len(parts) == 2 and all(part.system is not None and part.system.neurons == 20 for part in parts)
    found = av.lipschitz_constant(network)
    assert steepest_seen(network, "l2", rng, 5000) <= found.upper < found.bounds[0].value


def test_jacobians_hold_all_slopes():
    rng = np.random.default_rng(0)
    network = dense_chain(rng, [3, 5, 5, 2])
    weights = [node.terms[0].map.weight for node in network.affine.values()]
    sizes = jacobian_sizes(network)
    assert sizes is not None
    for _ in range(200):
        slopes = [np.diag(rng.random(5)) for _ in range(2)]
        jacobian = weights[2] @ slopes[1] @ weights[1] @ slopes[0] @ weights[0]
        assert (np.abs(jacobian) <= sizes).all()


@pytest.mark.slow
@pytest.mark.data
@needs_shared
def test_mnist_layers_have_their_known_norms():
    with np.load(SHARED / "data" / "classifiers" / "mnist_fc_deepsplit" / "weights.npz") as stored:
        weights = [stored[f"{k}.weight"].astype(np.float64) for k in (1, 3, 5, 7, 9)]
        biases = [stored[f"{k}.bias"].astype(np.float64) for k in (1, 3, 5, 7, 9)]
    network = chain(weights, biases)
    found = av.layer_norms(network)
    exact = [np.linalg.norm(weight, 2) for weight in weights]
    uppers = [layer.upper for layer in found.layers if layer.kind == "Dense"]
    assert all(a * (1 - 1e-12) <= b <= a * 1.001 for a, b in zip(exact, uppers, strict=True))
    np.testing.assert_allclose(uppers, [9.353, 10.264, 6.237, 3.140, 1.792], atol=5e-4)
    assert found.product == pytest.approx(3369.8, abs=0.1)
    fast = av.lipschitz_constant(network, settings=av.LipschitzSettings(semidefinite=False, rounds=1))
    found = {bound.method: bound.value for bound in fast.bounds}
    assert found["multipliers per layer"] == pytest.approx(1638.5, abs=0.1)
    assert fast.upper == found["multipliers in closed form"] < 1410
