"""Networks of curves and products with too many inputs to halve: the ranges of their operands are halved instead."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.attacks.gradient import value_and_gradient
from admm_verify.complete.fixed_signs import FixedSigns
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap
from admm_verify.relaxations.bilinear import Bilinear

INPUTS = 30


def network(seed: int, kind: str, products: bool) -> Network:
    builder, rng = Builder((INPUTS,)), np.random.default_rng(seed)

    def affine(x: Tensor, size: int) -> Tensor:
        weight = rng.standard_normal((size, x.size)) / np.sqrt(x.size)
        return Tensor(builder.affine(x, DenseMap(weight), 0.3 * rng.standard_normal(size)), (size,))

    x = builder.activation(kind, affine(builder.input, 5))
    if products:
        x = builder.product(x, affine(builder.input, 5))
    return builder.finish(affine(builder.activation(kind, affine(x, 5)), 1), kind)


def attained(network: Network, radius: float) -> float:
    """The least value that descent finds."""
    x = np.random.default_rng(0).uniform(-radius, radius, (64, INPUTS))
    least = np.inf
    for i in range(60):
        value, gradient = value_and_gradient(network, x, np.ones((64, 1)))
        least = min(least, float(value.min()))
        x = np.clip(x - 0.4 * radius * 0.93**i * np.sign(gradient), -radius, radius)
    return least


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("kind", "products"), [("tanh", False), ("tanh", True), ("relu", True), ("sigmoid", True)])
def test_halved_ranges_decide_and_never_exclude_what_is_attained(kind, products, seed):
    net, box = network(seed, kind, products), av.Box(-0.25 * np.ones(INPUTS), 0.25 * np.ones(INPUTS))
    least = attained(net, 0.25)
    tightened = av.preactivation_bounds(net, box, method="tightened")
    root = float(av.solve(av.Problem(net, box, np.ones((1, 1)), preactivation=tightened)).lower[0])
    assert root <= least
    outcome = av.verify(av.query(net, box, f"y0 <= {least - 0.25 * (least - root)}"), timeout=60)
    assert outcome.verdict is av.Verdict.UNSAT
    settings = av.VerifySettings(max_subproblems=300)
    assert av.verify(av.query(net, box, f"y0 <= {least + 1e-9}"), settings=settings).verdict is not av.Verdict.UNSAT


def test_paths_halve_what_their_earlier_codes_have_left():
    signs = FixedSigns([2], Placement.numpy(), [Bilinear()])
    lower, upper = [np.zeros((3, 2))], [np.array([[8.0, 4.0]] * 3)]
    paths = np.array([[1, -1, 2], [-1, 0, 0], [2, -2, -2]], dtype=np.int32)
    signs.clip(paths, lower, upper)
    np.testing.assert_array_equal(lower[0], [[4.0, 2.0], [0.0, 0.0], [0.0, 2.0]])
    np.testing.assert_array_equal(upper[0], [[6.0, 4.0], [4.0, 4.0], [8.0, 2.5]])
    beta = np.array([[[0.5, 0.0, -1.0]], [[2.0, 0.0, 0.0]], [[0.0, 7.0, 7.0]]], dtype=np.float32)
    ranges = signs.ranges(paths, beta, lower, upper)
    assert ranges[0] is not None and signs.splits(paths, beta) == (None,)
    np.testing.assert_array_equal(ranges[0].tau[:, 0], [[0.5, -1.0], [2.0, 0.0], [0.0, 0.0]])
    again = signs.betas(paths, (None,), (ranges[0].tau,), 1)
    np.testing.assert_array_equal(again[:, 0], [[0.5, 0.5, -1.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
