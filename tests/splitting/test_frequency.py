"""Projections on the graphs of convolutions, against PyTorch's convolution and dense least squares."""

import math

import numpy as np
import pytest
import torch

from admm_verify.arrays import Placement, to_numpy
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.splitting.frequency import FrequencyGraph

ROWS = 3
SEEDS = range(200)


def convolution(weight, image, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    return ConvolutionMap.of(weight, (weight.shape[1] * groups, *image), stride, padding, dilation, groups)


def random_convolution(rng):
    """Kernels up to 4 x 4 and images up to 9 x 9, every choice independent of the others."""
    while True:
        groups, inputs, outputs = (int(n) for n in rng.integers(1, (4, 3, 4)))
        kernel, stride, dilation, image = (
            tuple(int(n) for n in rng.integers(low, high, size=2)) for low, high in ((1, 5), (1, 4), (1, 3), (3, 10))
        )
        padding = tuple(int(n) for n in rng.integers(0, 4, size=4))
        spare = [image[a] + padding[a] + padding[a + 2] - dilation[a] * (kernel[a] - 1) for a in (0, 1)]
        weight = rng.standard_normal((outputs * groups, inputs, *kernel))
        if min(spare) > 0:
            return convolution(weight, image, stride, padding, dilation, groups)


def case(seed):
    rng = np.random.default_rng(seed)
    made, ratio = random_convolution(rng), float(10.0 ** rng.uniform(-2, 2))
    graph = FrequencyGraph.of(made, ratio, Placement.numpy())
    return made, ratio, graph, drawn(rng, graph)


def drawn(rng, graph):
    """A point x, y of a graph's space."""
    return tuple(rng.standard_normal((ROWS, size)) for size in (graph.embed.rows, graph.valid.columns))


def projected(graph, x, y):
    moved, image = graph.project(x, y)
    return moved, image


def true_outputs(made, images):
    """PyTorch's convolution of flat images."""
    top, left, bottom, right = made.padding
    padded = torch.nn.functional.pad(torch.asarray(images).reshape(-1, *made.input_shape), (left, right, top, bottom))
    outputs = torch.nn.functional.conv2d(
        padded, torch.asarray(made.weight), stride=made.stride, dilation=made.dilation, groups=made.groups
    )
    return outputs.reshape(len(images), -1).numpy()


def assert_near(found, wanted, tolerance):
    assert np.max(np.abs(found - wanted), initial=0.0) <= tolerance * (1.0 + np.max(np.abs(wanted), initial=0.0))


def assert_convolves(made, graph, tolerance=1e-12):
    images = np.random.default_rng(1).standard_normal((ROWS, math.prod(made.input_shape)))
    assert_near(graph.valid.apply(graph.apply(graph.embed.apply(images))), true_outputs(made, images), tolerance)


def assert_projects(graph, ratio, point, tolerance=1e-9):
    """The projection solves the dense problem, and its move is orthogonal to the graph: x - x+ = ratio K'(y+ - y)."""
    matrix = graph.apply(np.eye(graph.embed.rows)).T
    x, y = point
    normal = np.eye(graph.embed.rows) + ratio * matrix.T @ matrix
    wanted = np.linalg.solve(normal, (x + ratio * y @ matrix).T).T
    found = projected(graph, x, y)
    assert_near(found[0], wanted, tolerance)
    assert_near(found[1], wanted @ matrix.T, tolerance)
    move = x - found[0] + ratio * (y - found[1]) @ matrix
    assert_near(move, np.zeros_like(move), tolerance * (1.0 + ratio * np.abs(y).max() * np.abs(matrix).sum(0).max()))


@pytest.mark.parametrize("seed", SEEDS)
def test_valid_outputs_are_the_convolution(seed):
    made, _, graph, _ = case(seed)
    assert_convolves(made, graph)


@pytest.mark.parametrize("seed", SEEDS)
def test_projection_is_the_dense_solution_and_optimal(seed):
    _, ratio, graph, point = case(seed)
    assert_projects(graph, ratio, point)


@pytest.mark.parametrize("seed", SEEDS)
def test_projection_stays_where_it_is_on_the_graph(seed):
    _, _, graph, point = case(seed)
    once = projected(graph, *point)
    assert_near(once[1], graph.apply(once[0]), 1e-12)
    for again, before in zip(projected(graph, *once), once, strict=True):
        assert_near(again, before, 1e-11)


@pytest.mark.parametrize("seed", SEEDS)
def test_single_precision_and_torch_agree_with_the_reference(seed):
    made, ratio, graph, point = case(seed)
    wanted = projected(graph, *point)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        placement = Placement.of(torch.zeros(0, dtype=dtype))
        other = FrequencyGraph.of(made, ratio, placement)
        for found, reference in zip(projected(other, *map(placement.put, point)), wanted, strict=True):
            assert found.dtype == dtype
            assert_near(to_numpy(found), reference, tolerance)
    single = Placement.numpy(np.float32)
    found = projected(FrequencyGraph.of(made, ratio, single), *map(single.put, point))
    for array, reference in zip(found, wanted, strict=True):
        assert array.dtype == np.float32
        assert_near(array, reference, 1e-4)


def test_images_lie_once_on_the_grid():
    for seed in SEEDS:
        made, _, graph, _ = case(seed)
        image = np.arange(1.0, 1.0 + math.prod(made.input_shape))[None, :]
        assert np.array_equal(graph.embed.transpose(graph.embed.apply(image)), image)
        assert graph.valid.rows == math.prod(made.output_shape)


@pytest.mark.parametrize(
    ("kernel", "image", "settings"),
    [
        pytest.param((2, 3, 1, 3), (1, 8), {"padding": (0, 1, 0, 1)}, id="1-D"),
        pytest.param((4, 2, 1, 4), (1, 9), {"stride": (1, 2), "dilation": (1, 2)}, id="strided 1-D"),
        pytest.param((4, 2, 1, 1), (6, 6), {"stride": (2, 2)}, id="shortcut of a residual block"),
        pytest.param((6, 1, 3, 3), (5, 5), {"padding": (1, 1, 1, 1), "groups": 6}, id="depthwise"),
        pytest.param((3, 2, 5, 4), (5, 4), {}, id="kernel of the image's size"),
        pytest.param((2, 2, 2, 2), (7, 6), {"stride": (3, 4)}, id="stride beyond the kernel"),
        pytest.param((2, 2, 3, 3), (4, 4), {"stride": (2, 2), "dilation": (2, 2), "padding": (2, 2, 2, 2)}, id="sieve"),
    ],
)
def test_particular_shapes(kernel, image, settings):
    rng = np.random.default_rng(3)
    made = convolution(rng.standard_normal(kernel), image, **settings)
    graph = FrequencyGraph.of(made, 0.7, Placement.numpy())
    assert_convolves(made, graph)
    assert_projects(graph, 0.7, drawn(rng, graph))


def test_grids_are_small():
    def cells(size, kernel, stride, pad):
        made = convolution(np.ones((1, 1, kernel, kernel)), (size, size), (stride, stride), (pad,) * 4)
        graph = FrequencyGraph.of(made, 1.0, Placement.numpy())
        return graph.embed.rows, graph.valid.columns

    assert cells(32, 3, 1, 1) == (33**2, 33**2)  # both margins share their cells
    assert cells(32, 1, 2, 0) == (32**2, 16**2)
    assert cells(32, 4, 2, 1) == (36**2, 18**2)  # 17 has no fast transform
    assert cells(8, 3, 1, 1) == (81, 81)


@pytest.mark.parametrize(("ratio", "tolerance"), [(1e-20, 1e-12), (1e6, 1e-7), (1e20, 1e-3)])
def test_extreme_weights_keep_one_side(ratio, tolerance):
    rng = np.random.default_rng(4)
    kernel = np.repeat(rng.standard_normal((1, 2, 3, 3)), 2, axis=0)  # equal outputs, so K K' is singular
    graph = FrequencyGraph.of(convolution(kernel, (6, 6)), ratio, Placement.numpy())
    x, y = drawn(rng, graph)
    if ratio < 1.0:
        assert_near(projected(graph, x, y)[0], x, tolerance)
    else:
        mean = np.tile(y.reshape(ROWS, 2, -1).mean(axis=1), 2)
        assert_near(projected(graph, x, y)[1], mean, tolerance)


def test_overflow_leaves_a_finite_projection():
    rng = np.random.default_rng(5)
    single = Placement.numpy(np.float32)
    graph = FrequencyGraph.of(convolution(np.full((2, 2, 3, 3), 1e200), (5, 5)), 1.0, single)
    x, y = drawn(rng, graph)
    assert all(np.all(np.isfinite(part)) for part in projected(graph, single.put(x), single.put(y)))
