"""Joint relaxations of layers: gains, balls and supports against exact numbers, and bounds against samples."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import admm_verify as av
from admm_verify.arrays import to_numpy
from admm_verify.bounds.joint import JointLayer, joint_layers
from admm_verify.bounds.region import build_region
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.gain import gain
from admm_verify.network.graph import Activation
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap, DiagonalMap
from admm_verify.sets.contract import WalkableSet
from tests.sets.laws import exact

TINY = Fraction(1, 10**300)
JOINT = av.SolverSettings(max_passes=20, joint=av.JointSettings(iterations=30))
PLAIN = av.SolverSettings(max_passes=20)


def dense_net(rng: np.random.Generator, sizes: tuple[int, ...]) -> av.Network:
    weights = [rng.standard_normal((b, a)) / np.sqrt(a) for a, b in pairwise(sizes)]
    return network_from_layers(weights, [0.3 * rng.standard_normal(len(w)) for w in weights], "dense")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_gains_are_just_above_the_largest_singular_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (int(count) for count in rng.integers(1, 12, 2))
    weight = rng.standard_normal((rows, columns)) * 10.0 ** rng.integers(-100, 100)
    slopes = rng.random(columns) * (rng.random(columns) < 0.7)
    for factor, found in ((np.ones(columns), gain(DenseMap(weight))), (slopes, gain(DenseMap(weight), slopes))):
        largest = np.linalg.svd(weight * factor, compute_uv=False)[0]
        assert largest * (1.0 - 1e-13) <= found <= largest * 1.0001
    diagonal = gain(DiagonalMap(weight[0]))
    assert np.abs(weight[0]).max() <= diagonal <= np.abs(weight[0]).max() * 1.0001


def test_gains_of_convolutions_are_those_of_their_matrices() -> None:
    rng = np.random.default_rng(0)
    part = ConvolutionMap(rng.standard_normal((4, 2, 3, 3)), (2, 8, 8), (4, 4, 4), (2, 2), (1, 1, 1, 1))
    largest = np.linalg.svd(to_numpy(part.dense().weight), compute_uv=False)[0]
    assert largest <= gain(part) <= largest * 1.0001
    sums = gain(ConvolutionMap(rng.standard_normal((4, 2, 3, 3)), (2, 80, 80), (4, 80, 80), (1, 1), (1, 1, 1, 1)))
    assert np.isfinite(sums) and sums > 0
    assert gain(DenseMap(np.zeros((2, 3)))) == 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_supports_are_below_the_exact_sum_of_least_terms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    scale = 10.0 ** rng.integers(-6, 7)
    center = rng.standard_normal((1, n)) * scale
    ends = np.sort(center + rng.standard_normal((2, 1, n)) * scale, axis=0)
    radius = np.full((1, 1), scale * rng.uniform(0.1, 3.0))
    layer = JointLayer(center, radius, ends[0], ends[1])
    a, g = (rng.standard_normal((3, n)) * 10.0 ** rng.integers(-3, 4) * (rng.random((3, n)) < 0.8) for _ in range(2))
    for weight in (np.zeros((3, 1)), layer.first_weight(a, g), layer.weighed(a, g, layer.first_weight(a, g))):
        found, magnitude = (to_numpy(part) for part in layer.support(a, g, weight))
        for k in range(3):
            w, total = Fraction(float(weight[k, 0])), Fraction(0)
            for c, low, high, x, y in zip(*map(exact, (center[0], ends[0, 0], ends[1, 0], a[k], g[k])), strict=True):
                points = [low, high, min(max(Fraction(0), low), high)]
                if w:
                    points += [
                        min(max(c - (x - y) / w, low, Fraction(0)), max(high, low)),
                        min(max(c + y / w, low), high),
                    ]
                total += min(x * max(p, Fraction(0)) - y * p + w / 2 * (p - c) ** 2 for p in points)
            total -= w / 2 * Fraction(float(radius[0, 0])) ** 2
            assert 0 <= total - Fraction(float(found[k])) <= Fraction(1, 10**12) * Fraction(float(magnitude[k])) + TINY


def sets_around(rng: np.random.Generator, size: int, rows: int) -> dict[str, WalkableSet]:
    x = rng.random((rows, size))
    # Some centers are outside.
    low = x + np.where(rng.random((rows, size)) < 0.4, 0.1, -0.3)
    return {
        "l2": av.Ball(x, 0.4),
        "l2 cut": av.Ball(x, 0.4).flattened(lambda part: part).within(low, x + 0.3),
        "l1": av.Ball(x, 0.8, "l1"),
        "box": av.Box.around(x, 0.1),
    }


@pytest.mark.parametrize("kind", ["l2", "l2 cut", "l1", "box"])
@pytest.mark.parametrize("whole", [False, True])
def test_inputs_of_all_layers_lie_in_their_balls(kind: str, whole: bool) -> None:
    rng = np.random.default_rng(1)
    network = dense_net(rng, (6, 12, 10, 8, 2))
    inputs = sets_around(rng, 6, 3)[kind].flattened(lambda part: part)
    bounds = av.preactivation_bounds(network, inputs)
    region = build_region(network, inputs, bounds.lower, bounds.upper)
    layers = joint_layers(region, network.gains if whole else None)
    assert layers is not None
    for k, (layer, x) in enumerate(zip(layers, [to_numpy(inputs.sample(500, rng))] * 3, strict=True)):
        values = [network.forward(some, lambda _, pre: np.maximum(pre, 0.0)) for some in x]
        for row, some in enumerate(values):
            away = to_numpy(some[network.sources[k]]) - to_numpy(layer.center)[row]
            assert (np.linalg.norm(away, axis=1) <= to_numpy(layer.radius)[row, 0] * (1.0 + 1e-12)).all()


@pytest.mark.parametrize("kind", ["l2", "l2 cut", "l1", "box"])
@pytest.mark.parametrize("rows", [1, 3])
def test_joint_bounds_are_below_samples_and_no_looser(kind: str, rows: int) -> None:
    rng = np.random.default_rng(rows)
    gained = 0.0
    for _ in range(3):
        network = dense_net(rng, (6, 14, 12, 3))
        inputs = sets_around(rng, 6, rows)[kind]
        objective = rng.standard_normal((3, 3))
        problem = av.Problem(network, inputs, objective)
        plain, joint = (av.solve(problem, "ascent", settings=chosen) for chosen in (PLAIN, JOINT))
        assert (joint.lower >= plain.lower).all()
        assert (joint.relaxation_upper >= joint.lower).all()
        points = to_numpy(inputs.flattened(lambda part: part).sample(3000, rng))
        values = np.stack([network(some) for some in points])
        least = np.einsum("rpo,ro->rp", np.broadcast_to(values, (3, *values.shape[1:])), objective).min(axis=1)
        assert (to_numpy(joint.lower) <= least).all()
        gained += float(np.sum(joint.lower - plain.lower))
    if kind == "l2":
        assert gained > 0.0


def test_float32_and_whole_maps_hold_too() -> None:
    rng = np.random.default_rng(4)
    network = dense_net(rng, (20, 40, 40, 2))
    ball = av.Ball(rng.random((1, 20)), 0.5)
    problem = av.Problem(network, ball, np.array([[1.0, -1.0]]))
    plain = av.solve(problem, "ascent", settings=PLAIN)
    values = network(to_numpy(ball.flattened(lambda part: part).sample(5000, rng))[0])
    for chosen in (
        av.SolverSettings(max_passes=20, precision="float32", joint=av.JointSettings(iterations=30)),
        av.SolverSettings(max_passes=20, joint=av.JointSettings(iterations=30, local=False)),
        av.SolverSettings(max_passes=20, joint=av.JointSettings(iterations=30, neurons=0)),
    ):
        found = av.solve(problem, "ascent", settings=chosen)
        assert plain.lower[0] < found.lower[0] <= (values[:, 0] - values[:, 1]).min()


def test_other_activations_stay_as_they_are() -> None:
    network = dense_net(np.random.default_rng(5), (4, 8, 2))
    nodes = (replace(node, kind="sigmoid") if isinstance(node, Activation) else node for node in network.nodes)
    problem = av.Problem(replace(network, nodes=tuple(nodes)), av.Ball(np.zeros((1, 4)), 1.0), np.eye(2))
    plain, joint = (av.solve(problem, "ascent", settings=chosen).lower for chosen in (PLAIN, JOINT))
    np.testing.assert_array_equal(plain, joint)


def test_neurons_in_blocks_are_bounded_as_all_at_once() -> None:
    rng = np.random.default_rng(6)
    network = dense_net(rng, (6, 16, 16, 16, 2))
    problem = av.Problem(network, av.Ball(rng.random((1, 6)), 0.5), np.array([[1.0, -1.0]]))
    joint = av.JointSettings(iterations=20)
    found = [
        av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=20, joint=joint, block_numbers=numbers)).lower
        for numbers in (2**21, 150)
    ]
    # Adam makes steps of what rounding leaves of gradients.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    assert found[1] > av.solve(problem, "ascent", settings=PLAIN).lower
