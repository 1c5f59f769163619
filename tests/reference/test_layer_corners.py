"""Corners where bounds of networks with layers of several kinds went wrong: shapes, padding, overflow, underflow."""

from fractions import Fraction

import numpy as np
import pytest

from admm_verify import Box, Network, Problem, SolverSettings, preactivation_bounds, solve
from admm_verify.bounds import preactivation
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation
from admm_verify.network.maps import DenseMap
from admm_verify.network.spatial import Window, convolution
from tests.random_networks import Builder as GraphBuilder
from tests.reference.attack import box_points
from tests.reference.pieces import ExactPieces

Shape = tuple[int, ...]


def padded(builder: Builder, x: Tensor, channels: int, seed: int) -> Tensor:
    """A convolution with kernels of 3 that keeps the spatial shape."""
    one = (1,) * (len(x.shape) - 2)
    window = Window(tuple(3 * k for k in one), one, one, one, one)
    weight = np.random.default_rng(seed).standard_normal((channels, x.shape[1], *window.size))
    return convolution(builder, x, weight, np.full(channels, 0.1), window)


def two_convolutions(shape: Shape, between: Shape, kind: str, *parameters: float) -> tuple[Network, Box]:
    """conv, activation, the same numbers in another shape, conv, relu."""
    builder = Builder((1, *shape))
    x = builder.activation(kind, padded(builder, builder.input, between[0], 0), *parameters)
    x = builder.activation("relu", padded(builder, builder.reshape(x, (1, *between)), 3, 1))
    network = builder.finish(x, "two convolutions")
    return network, Box(np.full(network.input_shape, -1.0), np.full(network.input_shape, 1.0))


def whole_planes(network: Network, box: Box) -> PreactivationBounds:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preactivation, "receptive_field", lambda network, target: None)
        return preactivation_bounds(network, box)


@pytest.mark.parametrize(
    ("shape", "between"),
    [
        ((2, 2, 8), (2, 4, 4)),
        ((2, 4, 4), (2, 16)),
        ((2, 16), (2, 4, 4)),
        ((2, 3, 4), (2, 4, 3)),
        ((2, 4, 4), (2, 1, 16)),
    ],
)
def test_a_convolution_that_reads_an_image_in_another_shape_has_bounds_that_hold(shape: Shape, between: Shape) -> None:
    """A window of the one shape is no window of the other: Flatten(2) between Conv2d and Conv1d, for example."""
    network, box = two_convolutions(shape, between, "relu")
    bounds = preactivation_bounds(network, box)
    size = network.input_size
    values = network.evaluate(box_points(Box(np.full(size, -1.0), np.full(size, 1.0)), 5000, 0))
    for index, low, high in zip(network.activations, bounds.lower, bounds.upper, strict=True):
        node = network.nodes[index]
        assert isinstance(node, Activation)
        pre = values[node.source]
        assert (low <= pre).all() and (pre <= high).all()


@pytest.mark.parametrize(("kind", "parameters"), [("elu", (0.7,)), ("prelu", (-0.3,)), ("relu", ()), ("tanh", ())])
def test_padding_leaves_crops_as_tight_as_whole_planes(kind: str, parameters: tuple[float, ...]) -> None:
    """An activation's parameters have to be usable outside the image too; an alpha of 0 there made no bound at all."""
    network, box = two_convolutions((1, 6, 6), (2, 6, 6), kind, *parameters)
    crops, planes = preactivation_bounds(network, box), whole_planes(network, box)
    assert np.allclose(crops.lower[1], planes.lower[1], rtol=1e-9) and np.allclose(crops.upper[1], planes.upper[1])


@pytest.mark.parametrize("method", ["crown", "tightened"])
@pytest.mark.parametrize(("kind", "channels"), [("tanh", 1), ("tanh", 2), ("prelu", 1), ("prelu", 2)])
def test_twin_activations_read_through_other_kernels_have_bounds_that_hold(
    kind: str, channels: int, method: str
) -> None:
    """One value, two activations, kernels of 1 and 3: both crops must be those of the wider one."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shape = (channels, 6, 6)
        size, wide = channels * 36, (1, 1, 1, 1)

        def conv(kernel: int, padding: tuple[int, int, int, int], shape=shape, rng=rng) -> ConvolutionMap:
            return ConvolutionMap.of(rng.standard_normal((shape[0], shape[0], kernel, kernel)), shape, padding=padding)

        builder = GraphBuilder(size)
        first = builder.affine([(0, conv(3, wide))], np.zeros(size))
        builder.nodes.append(Activation("relu", first, size))
        builder.nodes.append(Activation(kind, first, size, (np.full(size, 0.3),) if kind == "prelu" else ()))
        total = builder.affine([(2, conv(1, (0, 0, 0, 0))), (3, conv(3, wide))], np.full(size, 0.1))
        builder.affine([(builder.relu(total), conv(1, (0, 0, 0, 0)))], np.zeros(size))
        network, centre = builder.network(), rng.uniform(-1, 1, size)
        box = Box(centre - 0.3, centre + 0.3)
        bounds = preactivation_bounds(network, box, method)
        values = network.evaluate(box_points(box, 2000, seed))
        for index, low, high in zip(network.activations, bounds.lower, bounds.upper, strict=True):
            node = network.nodes[index]
            assert isinstance(node, Activation)
            assert (low <= values[node.source]).all() and (values[node.source] <= high).all(), seed


@pytest.mark.parametrize("method", ["crown", "tightened"])
def test_chords_that_underflow_are_rounded_outward(method: str) -> None:
    """Whatever large weight multiplies a subnormal intercept."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        low, high = -(10.0 ** rng.uniform(-322, -316)), 10.0 ** rng.uniform(-316, -312)
        weight = 10.0 ** rng.uniform(200, 300)
        builder = GraphBuilder(1)
        hidden = builder.relu(builder.dense(0, np.ones((1, 1)), np.zeros(1)))
        shift = 0.3 * weight * high
        builder.dense(
            builder.relu(builder.dense(hidden, np.array([[-weight]]), np.array([shift]))), np.ones((1, 1)), np.zeros(1)
        )
        with np.errstate(all="ignore"):
            bounds = preactivation_bounds(builder.network(), Box(np.array([low]), np.array([high])), method)
        assert at_most(bounds.lower[1][0, 0], Fraction(shift) - Fraction(weight) * Fraction(high))


@pytest.mark.parametrize("kind", ["relu", "prelu"])
def test_chords_longer_than_the_largest_number_leave_valid_bounds(kind: str) -> None:
    """u - l overflows, so that the chord's slope u / (u - l) would be 0 and the line above would cut the function."""
    builder = GraphBuilder(1)
    wide = builder.dense(0, np.array([[1e308]]), np.zeros(1))
    builder.nodes.append(Activation(kind, wide, 1, () if kind == "relu" else (np.array([0.5]),)))
    builder.nodes.append(Activation("clip", wide, 1, (np.array([-1.0]), np.array([1.0]))))
    total = builder.affine([(2, DenseMap(-np.ones((1, 1)))), (3, DenseMap(np.ones((1, 1))))], np.zeros(1))
    builder.dense(builder.relu(total), np.ones((1, 1)), np.zeros(1))
    network = builder.network()
    bounds, truth = preactivation_bounds(network, Box(-np.ones(1), np.ones(1))), ExactPieces(network)
    for x in (-1.0, 0.0, 1.0):
        value = truth.values(np.array([x]))[total][0]
        assert at_most(bounds.lower[2][0, 0], value) and at_most(-bounds.upper[2][0, 0], -value)


def at_most(bound: float, value: Fraction) -> bool:
    return bound == -np.inf or Fraction(float(bound)) <= value


@pytest.mark.parametrize("slope", [1.3e-162, 2e-162, -1.3e-162])
@pytest.mark.parametrize("method", ["ascent", "primal_dual", "admm"])
def test_slopes_whose_products_underflow_leave_valid_bounds(method: str, slope: float) -> None:
    """slope x rounds to 0 or to the smallest number, and the next weight makes a visible number of what was lost."""
    builder = GraphBuilder(1)
    small = builder.dense(0, np.array([[1e-162]]), np.zeros(1))
    builder.nodes.append(Activation("prelu", small, 1, (np.array([slope]),)))
    builder.dense(2, np.array([[1e300]]), np.zeros(1))
    network = builder.network()
    found = solve(
        Problem(network, Box(-np.ones(1), -np.full(1, 0.5)), np.array([[1.0], [-1.0]])),
        method,
        settings=SolverSettings(max_passes=4),
    )
    for x in (-1.0, -0.5):
        value = ExactPieces(network).values(np.array([x]))[-1][0]
        assert at_most(found.lower[0], value) and at_most(found.lower[1], -value)


def test_feasible_values_of_numbers_that_underflow_are_no_lower_than_lower_bounds() -> None:
    """What a product of 1e-309 loses is visible behind a weight of 1e306."""
    builder = GraphBuilder(1)
    first = builder.dense(0, np.array([[-2.01749344171912e-309], [3.57196203267662e-309]]), np.zeros(2))
    builder.dense(builder.relu(first), np.array([[-4.9286098350086325e306, 1.0944989568857143e306]]), np.zeros(1))
    problem = Problem(builder.network(), Box(np.array([-1e-8]), np.zeros(1)), np.array([[1.0], [-1.0]]))
    found = solve(problem, "ascent", settings=SolverSettings(max_passes=6))
    assert (found.relaxation_upper >= found.lower).all()
