"""Windows of pooled images: what is seen through slices, and bounds on crops that are those of whole planes."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds import preactivation, receptive, seen
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.bounds.receptive import receptive_field
from admm_verify.bounds.windows import Plane, Slide, slide_of
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Network
from admm_verify.network.maps import DiagonalMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.spatial import Window, convolution, max_pool
from tests.reference.attack import box_points

SOURCE = (2, 5, 6)
LABELS = np.arange(60).reshape(SOURCE)


@pytest.mark.parametrize(
    ("index", "plane", "slide"),
    [
        (LABELS, SOURCE, Slide(SOURCE)),
        (LABELS[:, ::2], (2, 3, 6), Slide(SOURCE, (2, 1))),
        (LABELS[:, 1::2, 2:], (2, 2, 4), Slide(SOURCE, (2, 1), (1, 2))),
        (LABELS[:, :, 1::3], (2, 5, 2), Slide(SOURCE, (1, 3), (0, 1))),
        (LABELS[:, 2:3, 4:5], (2, 1, 1), Slide(SOURCE, (1, 1), (2, 4))),
        (LABELS[:, ::-1], SOURCE, None),
        (LABELS[:1], (1, 5, 6), None),
        (LABELS[::-1], SOURCE, None),
        (LABELS.transpose(0, 2, 1), (2, 6, 5), None),
        (LABELS[:, [0, 1, 3]], (2, 3, 6), None),
        (LABELS[:, [0, 0]], (2, 2, 6), None),
        (np.where(LABELS % 30 < 6, 60, LABELS), SOURCE, None),
    ],
)
def test_a_selection_is_a_slice_only_where_it_is_one(index: np.ndarray, plane: Plane, slide: Slide | None) -> None:
    assert slide_of(SelectionMap.from_gather(index.reshape(-1), 60), plane, SOURCE) == slide


def test_a_scaling_is_local_where_it_scales_whole_channels() -> None:
    assert slide_of(DiagonalMap(np.repeat([2.0, -1.0], 30)), SOURCE, SOURCE) == Slide(SOURCE)
    assert slide_of(DiagonalMap(np.arange(60.0)), SOURCE, SOURCE) is None


def lenet(side: int, width: int, stride: int, padding: int, first: str) -> Network:
    """conv, activation, pool, padded conv, activation, pool, conv."""
    builder, rng = Builder((1, 1, side, side), "float64"), np.random.default_rng(side + width)

    def conv(x: Tensor, outputs: int) -> Tensor:
        weight = rng.standard_normal((outputs, x.shape[1], 3, 3))
        one = (1, 1)
        return convolution(builder, x, weight, rng.standard_normal(outputs), Window((3, 3), one, one, one, one))

    def pool(x: Tensor) -> Tensor:
        before = (padding, padding)
        return max_pool(builder, x, Window((width, width), (stride, stride), before, before, (1, 1)))

    x = pool(builder.activation(first, conv(builder.input, 2)))
    x = pool(builder.activation("relu", conv(x, 3)))
    return builder.finish(conv(builder.activation("relu", conv(x, 2)), 1), "lenet")


def whole_planes(network: Network, box: av.Box, method: str) -> PreactivationBounds:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preactivation, "receptive_field", lambda network, target: None)
        return av.preactivation_bounds(network, box, method)


@pytest.mark.parametrize(
    ("side", "width", "stride", "first"), [(7, 2, 2, "relu"), (7, 3, 2, "relu"), (6, 2, 1, "relu"), (7, 2, 2, "tanh")]
)
def test_pooled_images_have_crops_as_tight_as_whole_planes(side: int, width: int, stride: int, first: str) -> None:
    """Padding behind a pool of odd length sees an entry of the image that no window sees."""
    network = lenet(side, width, stride, 0, first)
    assert all(receptive_field(network, source) is not None for source in network.sources)
    centre = np.random.default_rng(0).uniform(-1, 1, (side, side))
    box = av.Box(centre - 0.05, centre + 0.05)
    for method, close in (("crown", 1e-9), ("tightened", 0.05)):
        found, planes = av.preactivation_bounds(network, box, method), whole_planes(network, box, method)
        values = network.evaluate(box_points(av.Box(box.lower.reshape(-1), box.upper.reshape(-1)), 500, 0))
        for k, source in enumerate(network.sources):
            open = (found.lower[k] < 0) & (found.upper[k] > 0)
            scale = close * np.abs(planes.upper[k] - planes.lower[k]).max()
            assert np.abs(found.lower[k] - planes.lower[k])[open].max(initial=0.0) <= scale
            assert np.abs(found.upper[k] - planes.upper[k])[open].max(initial=0.0) <= scale
            assert (found.lower[k] <= values[source]).all() and (values[source] <= found.upper[k]).all()


def test_padded_pools_are_bounded_on_whole_planes() -> None:
    network = lenet(8, 3, 2, 1, "relu")
    assert receptive_field(network, network.sources[-1]) is None


def residual(kind: str, stride: int, dilation: int) -> Network:
    """A stem, a block around which the image is passed on, and convolutions in two groups with a stride."""
    builder, rng = Builder((1, 2, 9, 8), "float64"), np.random.default_rng(stride + dilation)

    def conv(x: Tensor, size: int, steps: int, spread: int, groups: int = 1) -> Tensor:
        weight, pad = rng.integers(-3, 4, (4, x.shape[1] // groups, size, size)) / 8.0, size // 2 * spread
        window = Window((size, size), (steps, steps), (pad, pad), (pad, pad), (spread, spread))
        return convolution(builder, x, weight, rng.integers(-3, 4, 4) / 8.0, window, groups)

    x = conv(builder.input, 3, 1, 1)
    inner = conv(builder.activation(kind, conv(x, 3, 1, dilation)), 3, 1, 1)
    x = conv(builder.activation("relu", builder.add(inner, conv(x, 1, 1, 1))), 3, stride, 1, 2)
    return builder.finish(conv(builder.activation("relu", x), 3, 1, 1), "residual")


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (2, 2)])
def test_convolutions_between_crops_are_their_matrices(stride: int, dilation: int) -> None:
    """The matrix of a convolution over the part that it sees of a crop, times the selection of that part."""
    network = residual("relu", stride, dilation)
    field = receptive_field(network, network.output)
    assert field is not None
    compared = parts = 0
    for i in field.windows.keys() & network.affine.keys():
        for term in network.affine[i].terms:
            if isinstance(term.map, ConvolutionMap):
                window, source = field.windows[i], field.windows[term.source]
                part = window.below(receptive._known_slide(term.map, window, source))
                moved = receptive._moved_convolution(term.map, window, part).dense().weight
                whole = moved @ receptive._cut_out(part, source).dense().weight
                np.testing.assert_array_equal(whole, receptive._cropped_map(term.map, window, source).dense().weight)
                compared, parts = compared + 1, parts + (part != source)
    assert compared == 6 and parts > 0


@pytest.mark.parametrize("kind", ["relu", "tanh"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 2)])
def test_crops_of_convolutions_are_as_tight_as_whole_planes(
    stride: int, dilation: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind tanh, masks that differ from crop to crop hold what lies outside the image at zero."""
    network = residual(kind, stride, dilation)
    centre = np.random.default_rng(0).uniform(-1, 1, (2, 9, 8))
    box = av.Box(centre - 0.05, centre + 0.05)
    planes = whole_planes(network, box, "crown")
    monkeypatch.setattr(receptive, "_SPARSE", 0.0)
    monkeypatch.setattr(seen, "_LEAST", 1)
    values = network.evaluate(box_points(av.Box(box.lower.reshape(-1), box.upper.reshape(-1)), 500, 0))
    for alone in (0.0, np.inf):
        monkeypatch.setattr(receptive, "_ALONE", alone)
        monkeypatch.setattr(receptive, "_SLIDING", 1e-9)
        found = av.preactivation_bounds(network, box, "crown")
        for k, source in enumerate(network.sources):
            for ours, theirs in ((found.lower[k], planes.lower[k]), (found.upper[k], planes.upper[k])):
                np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
            assert (found.lower[k] <= values[source]).all() and (values[source] <= found.upper[k]).all()
