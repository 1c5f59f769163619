"""Nodes that only move entries or change signs lose nothing to rounding; others are charged for it."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.arithmetic import output_error
from admm_verify.bounds.region import only_moves
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network


def _finished(build) -> Network:
    builder = Builder((3,))
    return builder.finish(build(builder, builder.input), "moves")


def _moved(builder: Builder, x: Tensor) -> Tensor:
    return builder.activation("relu", builder.scale(builder.select(x, np.array([2, 0, 0, 3])), np.array(-1.0)))


def test_moved_entries_have_exact_bounds() -> None:
    network = _finished(_moved)
    low, high = np.array([0.1, -0.3, 0.0]), np.array([0.7, 0.9, 0.0])
    bounds = av.preactivation_bounds(network, av.Box(low, high), "interval")
    np.testing.assert_array_equal(bounds.lower[0][0], [0.0, -0.7, -0.7, 0.0])
    np.testing.assert_array_equal(bounds.upper[0][0], [0.0, -0.1, -0.1, 0.0])


@pytest.mark.parametrize(
    "build",
    [
        lambda builder, x: builder.add(builder.add(x, np.full(3, 5.0)), np.full(3, -5.0)),
        lambda builder, x: builder.scale(builder.scale(x, np.array(3.0)), np.array(1 / 3)),
        lambda builder, x: builder.scale(x, np.array(-1.0), roundings=2),
        lambda builder, x: builder.add(x, builder.select(x, np.array([1, 2, 0]))),
    ],
)
def test_what_computes_is_charged(build) -> None:
    network = _finished(lambda builder, x: builder.activation("relu", build(builder, x)))
    node = network.nodes[network.sources[0]]
    assert not only_moves(node)
    box = av.Box(np.full(3, 0.1), np.full(3, 0.2))
    bounds = av.preactivation_bounds(network, box, "interval")
    ends = [network.evaluate(np.full((1, 3), end))[network.sources[0]] for end in (0.1, 0.2)]
    assert (bounds.lower[0] < np.minimum(*ends)).all() and (bounds.upper[0] > np.maximum(*ends)).all()


def test_zeros_stay_zeros_in_float32() -> None:
    network = _finished(_moved)
    zero = av.Box(np.zeros((1, 3)), np.zeros((1, 3)))
    tiny = av.Box(np.zeros((1, 3)), np.full((1, 3), 1e-40))
    errors = [output_error(network, box, av.preactivation_bounds(network, box), "float32") for box in (zero, tiny)]
    assert not errors[0].any() and (errors[1][0, :3] >= 1e-40).all()
