"""Certified norms of linear maps beside dense singular values and exact rational numbers."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest

import admm_verify as av
from admm_verify.lipschitz.norms import length_of, norm_above, norm_below
from admm_verify.network.blocks import BlockMap
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.gain import gain
from admm_verify.network.maps import DenseMap, DiagonalMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.symbols import convolution_gain
from admm_verify.relaxations.registry import RELAXATIONS
from tests.random_networks import chain
from tests.seeds import every

NORMS = ("l1", "l2", "linf")


def convolution(rng, most=14):
    """Any stride, padding, dilation and groups."""
    groups = int(rng.integers(1, 4))
    channels, outputs = (groups * int(count) for count in rng.integers(1, 4, 2))
    kernel = rng.integers(1, 4, 2)
    stride, dilation = (tuple(map(int, rng.integers(1, 3, 2))) for _ in range(2))
    padding = tuple(map(int, rng.integers(0, 4, 4)))
    image = (channels, *map(int, rng.integers(6, most, 2)))
    weight = rng.standard_normal((outputs, channels // groups, *kernel)) * 10.0 ** rng.integers(-8, 9)
    return ConvolutionMap.of(weight, image, stride, padding, dilation, groups)


def maps(rng):
    dense = DenseMap(rng.standard_normal(rng.integers(1, 9, 2)))
    gather = rng.integers(0, 7, 9)
    return [
        dense,
        TransposedMap(convolution(rng)),
        convolution(rng),
        DiagonalMap(rng.standard_normal(5)),
        SelectionMap.from_gather(gather, 6),
        BlockMap(rng.standard_normal((3, 4)), 2, 3),
        DenseMap(np.zeros((3, 4))),
        TransposedMap(SelectionMap.from_gather(gather, 6)),
    ]


@pytest.mark.parametrize("seed", every(3, range(100)))
def test_convolutions_are_bounded_beside_dense_singular_values(seed):
    part = convolution(np.random.default_rng(seed))
    exact = np.linalg.norm(part.dense().weight, 2)
    # The singular value itself is rounded.
    assert exact * (1 - 1e-12) <= gain(part) <= 1.01 * exact
    assert exact * (1 - 1e-12) <= convolution_gain(part)


@pytest.mark.parametrize(("side", "kernel"), [(5, 3), (16, 3), (9, 5)])
def test_frequencies_know_the_border(side, kernel):
    """Ones: the norm is the product of those of two banded matrices."""
    part = ConvolutionMap.of(np.ones((1, 1, kernel, kernel)), (1, side, side), padding=(kernel // 2,) * 4)
    banded = sum(np.eye(side, k=k) for k in range(-(kernel // 2), kernel // 2 + 1))
    exact = np.linalg.norm(banded, 2) ** 2
    around = float(kernel**2)
    found = convolution_gain(part)
    assert exact * (1 - 1e-12) <= found < around
    if kernel == 3:
        assert found <= exact * (1 + 1e-5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("source", NORMS)
@pytest.mark.parametrize("target", NORMS)
def test_norms_lie_between_what_is_attained_and_what_is_certified(seed, source, target):
    rng = np.random.default_rng(seed)
    for part in maps(rng):
        upper, lower = norm_above(part, source, target), norm_below(part, source, target)
        matrix = part.dense().weight
        x = np.concatenate([rng.standard_normal((40, part.columns)), np.sign(rng.standard_normal((40, part.columns)))])
        x = np.concatenate([x, np.eye(part.columns)])
        seen = np.max(length_of(x @ matrix.T, target) / length_of(x, source))
        assert seen <= upper * (1 + 1e-12) and lower <= upper
        if source == "l1" or target == "linf":
            assert lower >= upper * (1 - 1e-9) or isinstance(part, ConvolutionMap | TransposedMap | BlockMap)


def test_sums_are_never_below_the_exact_ones():
    rng = np.random.default_rng(0)
    for _ in range(50):
        weight = rng.standard_normal((3, 7)) * 10.0 ** rng.integers(-12, 13, (3, 7))
        exact = [[abs(Fraction(float(value))) for value in row] for row in weight]
        assert Fraction(norm_above(DenseMap(weight), "linf", "linf")) >= max(map(sum, exact))
        assert Fraction(norm_above(DenseMap(weight), "l1", "l1")) >= max(map(sum, zip(*exact, strict=True)))
        squares = max(sum(value**2 for value in row) for row in exact)
        assert Fraction(norm_above(DenseMap(weight), "l2", "linf")) ** 2 >= squares


def test_merged_maps_are_charged_for_their_roundings():
    """A product of matrices that cancels: what it is off by is not zero."""
    magnitude = np.full((2, 2), 1e6)
    part = DenseMap(np.zeros((2, 2)), magnitude, roundings=4)
    for norm in NORMS:
        assert norm_above(part, norm, norm) >= 2e6 * 4 * 2.0**-53


def test_layers_of_a_network_are_listed_with_their_product():
    rng = np.random.default_rng(0)
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3, padding=1),
        torch.nn.BatchNorm2d(3),
        torch.nn.MaxPool2d(2),
        torch.nn.LeakyReLU(0.1),
        torch.nn.Flatten(),
        torch.nn.Linear(27, 4),
    ).double()
    module[1].running_var.copy_(torch.tensor(rng.uniform(0.5, 2, 3)))
    network = av.trace(module.eval(), torch.zeros(1, 2, 6, 6, dtype=torch.float64))
    for norm in NORMS:
        found = av.layer_norms(network, norm=norm)
        kinds = [layer.kind for layer in found.layers]
        # A pooling of windows that do not overlap stretches nothing.
        assert [layer.upper for layer in found.layers if layer.kind == "maximum"] == [1.0], kinds
        assert found.product == pytest.approx(prod(layer.upper for layer in found.layers), rel=1e-9)
        assert "maximum" in repr(found)
        x, y = rng.standard_normal((2, 500, 72))
        slopes = length_of(np.asarray(network(x)) - np.asarray(network(y)), norm) / length_of(x - y, norm)
        assert np.max(slopes) <= found.product


@pytest.mark.parametrize("kind", sorted(RELAXATIONS))
def test_slopes_stay_within_their_limits(kind):
    record = RELAXATIONS[kind]
    count = {"prelu": 1, "elu": 1, "clip": 2, "power": 1, "heaviside": 1}.get(kind, 0)
    parameters = [np.array(-0.5), np.array(2.0)][:count] if kind in ("clip", "prelu") else [np.array(0.5)] * count
    relaxation = record(*parameters)
    least, most = relaxation.slope_limits()
    if relaxation.operands > 1 or not np.isfinite(np.asarray(most)):
        assert most == np.inf
        return
    far = np.array([1e3, 1e6, 1e9])
    x = np.concatenate([np.linspace(-12, 12, 4001), far, -far, np.nextafter([3.0, -3.0], 0.0)])
    slope = np.asarray(relaxation.gradient(x))
    assert (slope >= least - 1e-12).all() and (slope <= most + 1e-12).all()
    assert slope.max() >= most - 1e-4 and slope.min() <= np.asarray(least) + 1e-3


def test_layers_that_take_too_long_are_said_to():
    network = chain([np.eye(2)], [np.zeros(2)])
    with pytest.raises(av.StoppedError, match="time was up"):
        av.layer_norms(network, run=av.Run(deadline=0.0))


def test_unknown_norms_and_heads_are_refused():
    network = av.trace(pytest.importorskip("torch").nn.Linear(2, 2), pytest.importorskip("torch").zeros(1, 2))
    with pytest.raises(av.InputError, match="norm"):
        av.layer_norms(network, norm="l3")
    with pytest.raises(av.InputError):
        av.lipschitz_constant("network")
