"""Windows of pooled images: what is seen through slices, and bounds on crops that are those of whole planes."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds import preactivation
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.bounds.receptive import receptive_field
from admm_verify.bounds.windows import Plane, Slide, slide_of
from admm_verify.network.builder import Builder, Tensor
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
