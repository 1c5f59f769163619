"""Laws of convolutions: the suite of all maps, torch's convolution as the truth, and what merges with them."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from admm_verify import ModelError
from admm_verify.arrays import Placement
from admm_verify.network.compose import add, compose
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import DenseMap, DiagonalMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from tests.laws.laws import law
from tests.laws.test_maps import SEEDS, Known, MapLaws, close, numbers
from tests.reference.exact import exact

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolution(draw) -> ConvolutionMap:
    """Small images, kernels up to 4 x 4, and every other choice independent of the rest."""
    groups, depth, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride, dilation = draw(PAIRS), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    spans = [d * (size - 1) + 1 for size, d in zip(kernel, dilation, strict=True)]
    least = [max(1, spans[i] - padding[i] - padding[i + 2]) for i in (0, 1)]
    image = [low + draw(st.integers(0, 3)) for low in least]
    weight = numbers(np.random.default_rng(draw(SEEDS)), outputs * groups, depth, *kernel)
    return ConvolutionMap.of(weight, (depth * groups, image[0], image[1]), stride, padding, dilation, groups)


@st.composite
def scaled(draw) -> Known:
    """A convolution between a scaling of its input channels and one of its output channels, merged."""
    part = draw(convolution())
    rng, known = np.random.default_rng(draw(SEEDS)), Known.plain(part)
    factors = [
        np.repeat(numbers(rng, shape[0]), shape[1] * shape[2]) for shape in (part.output_shape, part.input_shape)
    ]
    above = compose(DiagonalMap(factors[0]), part)
    assert above is not None
    merged = compose(above, DiagonalMap(factors[1]))
    assert isinstance(merged, ConvolutionMap)
    matrix = exact(factors[0])[:, None] * known.matrix * exact(factors[1])
    return Known(merged, matrix, np.abs(matrix))


class TestConvolutionMap(MapLaws):
    examples = convolution().map(Known.plain)


class TestTransposedConvolution(MapLaws):
    examples = convolution().map(Known.plain).map(Known.transposed)


class TestScaledConvolution(MapLaws):
    examples = scaled()


def torch_convolution(part: ConvolutionMap, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    top, left, bottom, right = part.padding
    images = torch.nn.functional.pad(torch.asarray(x).reshape(-1, *part.input_shape), (left, right, top, bottom))
    result = torch.nn.functional.conv2d(images, torch.asarray(kernel), None, part.stride, 0, part.dilation, part.groups)
    assert result.shape[1:] == part.output_shape
    return result.reshape(*x.shape[:-1], -1).numpy()


def test_arrays_of_another_width_are_refused() -> None:
    """Native code would read behind their end."""
    map = ConvolutionMap.of(np.ones((2, 1, 3, 3)), (1, 5, 5))
    for width in (1, map.columns - 1, map.columns + 1, 2 * map.columns):
        with pytest.raises(ValueError):
            map.apply(np.ones((3, width)))
        with pytest.raises(ValueError):
            map.transpose(np.ones((3, width)))


@law(300)
@given(convolution(), SEEDS)
def test_it_is_the_convolution_of_torch(part: ConvolutionMap, seed: int) -> None:
    x = numbers(np.random.default_rng(seed), 2, 3, part.columns)
    scale = torch_convolution(part, np.abs(x), np.abs(part.weight))
    assert close(part.apply(x), torch_convolution(part, x, part.weight), scale)
    assert close(part.absolute_apply(x), torch_convolution(part, x, np.abs(part.weight)), scale)


@law(30)
@given(convolution())
def test_its_multiplications_are_those_of_all_windows(part: ConvolutionMap) -> None:
    outputs, depth, height, width = part.weight.shape
    assert part.rows == outputs * part.output_shape[1] * part.output_shape[2]
    assert part.multiplications == part.rows * depth * height * width


@pytest.mark.parametrize("groups", [1, 4])
def test_batches_of_many_blocks_are_put_together(groups: int) -> None:
    rng = np.random.default_rng(0)
    part = ConvolutionMap.of(
        rng.standard_normal((8, 4 // groups, 3, 3)), (4, 8, 8), (1, 1), (1, 1, 1, 1), (1, 1), groups
    )
    x, y = rng.standard_normal((2, 500, part.columns)), rng.standard_normal((2, 500, part.rows))
    weight = part.dense().weight
    assert np.allclose(part.apply(x), x @ weight.T, rtol=0, atol=1e-12)
    assert np.allclose(part.transpose(y), y @ weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("weight", "channels", "options", "words"),
    [
        ((2, 3, 3), 3, {}, "not .outputs"),
        ((2, 3, 3, 3), 4, {}, "does not fit 4 channels"),
        ((3, 2, 3, 3), 4, {"groups": 2}, "groups must divide"),
        ((2, 3, 3, 3), 3, {"stride": (0, 1)}, "must be positive"),
        ((2, 3, 3, 3), 3, {"padding": (0, -1, 0, 0)}, "not negative"),
        ((2, 3, 5, 3), 3, {}, "more than the padded image"),
        ((2, 3, 3, 3), 3, {"dilation": (1, 2)}, "more than the padded image"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(weight, channels, options, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        ConvolutionMap.of(np.ones(weight), (channels, 4, 4), **options)


def test_only_scalings_of_whole_channels_merge() -> None:
    part = ConvolutionMap.of(np.ones((2, 1, 2, 2)), (1, 3, 3))
    uneven = np.arange(1.0, 9.0)
    assert compose(DiagonalMap(uneven), part) is None
    assert compose(part, DiagonalMap(np.arange(9.0))) is None
    merged = compose(DiagonalMap(np.ones(8), uneven), part)
    assert isinstance(merged, ConvolutionMap) and merged.magnitude is not None
    assert np.array_equal(merged.magnitude[:, 0, 0, 0], [4.0, 8.0]), "the largest magnitude of each channel"
    assert compose(DenseMap(np.ones((1, 8))), part) is None
    assert compose(part, DenseMap(np.ones((9, 1)))) is None
    assert compose(SelectionMap.from_gather(np.arange(8)[::-1], 8), part) is None
    assert compose(ConvolutionMap.of(np.ones((1, 2, 1, 1)), (2, 2, 2)), part) is None
    assert add(part, part) is None and add(part, DenseMap(np.ones((8, 9)))) is None


@law(40)
@given(convolution(), SEEDS, st.booleans())
def test_transposed_convolutions_merge_with_scalings_of_whole_channels(
    part: ConvolutionMap, seed: int, above: bool
) -> None:
    shape = part.input_shape if above else part.output_shape
    scale = np.repeat(numbers(np.random.default_rng(seed), shape[0]), shape[1] * shape[2])
    adjoint, scaling = TransposedMap(part), DiagonalMap(scale)
    merged = compose(scaling, adjoint) if above else compose(adjoint, scaling)
    assert isinstance(merged, TransposedMap) and isinstance(merged.inner, ConvolutionMap)
    weight = part.dense().weight.T
    expected = scale[:, None] * weight if above else weight * scale
    assert close(merged.dense().weight, expected, np.abs(expected))
    assert merged.roundings > part.roundings


# torch 2.9 warns whoever asks for its setting by this name.
@pytest.mark.filterwarnings("ignore:Please use the new API settings")
def test_the_settings_of_torch_stay_as_they_are() -> None:
    before = torch.backends.cudnn.allow_tf32
    part = ConvolutionMap.of(np.ones((1, 1, 2, 2)), (1, 3, 3)).put(Placement.of(torch.zeros(1)))
    part.transpose(part.apply(torch.ones(9)))
    assert torch.backends.cudnn.allow_tf32 == before
