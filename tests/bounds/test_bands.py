"""Bands around functions of the inputs: exact points lie inside, and few inputs of wide networks are bounded better."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import quiet_overflow
from admm_verify.bounds.bands import Bands
from admm_verify.bounds.interval import Forward
from admm_verify.bounds.preactivation import derived_bounds, input_rows
from admm_verify.network.simplify import simplify
from admm_verify.run import Run
from tests.random_layers import layer_case
from tests.random_networks import KINDS, chain, random_case, random_graph
from tests.random_sets import SETS, drawn
from tests.reference.exact import ExactNetwork

CARRIED = 600.0
"""Numbers of a layer's bands: room for a few errors that are carried along."""


def banded(network: av.Network, inputs: av.Box, numbers: float = 0.0) -> Forward:
    """Forward bounds with bands, whatever they cost."""
    with quiet_overflow():
        return Forward(network, inputs, bands=Bands(network, inputs, numbers)).run()


def rows(network: av.Network, inputs) -> av.Box:
    return input_rows(network, inputs.mapped(lambda part: part.reshape(1, *part.shape)))


def check_exactly(network: av.Network, forward: Forward, points: np.ndarray, what: object) -> None:
    """Pre-activations at points, in rational numbers, lie within the ends that the bands give, and the bands hold."""
    exact = ExactNetwork.of(network)
    for x in points:
        values = exact.values(x)
        for source in network.sources:
            low, high = forward.lower[source][0], forward.upper[source][0]
            for value, least, most in zip(values[source], low, high, strict=True):
                assert least == -np.inf or Fraction(least) <= value, what
                assert most == np.inf or value <= Fraction(most), what


@pytest.mark.parametrize("kind", list(KINDS))
def test_exact_points_lie_inside_the_bands_of_boxes(kind: str) -> None:
    for seed in range(6):
        case = random_case(seed, kind)
        box = rows(case.network, case.box)
        rng = np.random.default_rng(seed)
        points = np.concatenate([box.sample(4, rng)[0], box.corners(64)[0][:4] if box.size <= 6 else box.lower])
        for numbers in (0.0, CARRIED):
            check_exactly(case.network, banded(case.network, box, numbers), points, (seed, kind, numbers))


@pytest.mark.parametrize("seed", range(12))
def test_exact_points_lie_inside_the_bands_of_graphs(seed: int) -> None:
    network = simplify(random_graph(seed))
    rng = np.random.default_rng(seed)
    centre, radius = rng.standard_normal(network.input_size), rng.uniform(0, 0.5, network.input_size)
    radius[rng.random(len(radius)) < 0.3] = 0.0
    radius[0] = 0.25
    box = av.Box((centre - radius)[None], (centre + radius)[None])
    for numbers in (0.0, CARRIED):
        check_exactly(network, banded(network, box, numbers), box.sample(4, rng)[0], seed)


@pytest.mark.parametrize("kind", list(SETS))
def test_exact_points_lie_inside_the_bands_of_sets(kind: str) -> None:
    for seed in (1, 4):
        case = random_case(seed, "plain", deepest=3)
        half = case.box.half
        inputs = rows(case.network, drawn(kind, seed, case.box.centre, half)[0])
        points = inputs.drawn_in(inputs.sample(6, np.random.default_rng(seed)))[0]
        points = points[~np.isnan(points).any(axis=1)]
        check_exactly(case.network, banded(case.network, inputs, CARRIED), points, (seed, kind))


@pytest.mark.parametrize("seed", range(16))
def test_bands_meet_the_intervals_of_points(seed: int) -> None:
    """Certified intervals of single points meet the bands of curves, too, without any slack."""
    case = layer_case(seed, smooth=True)
    box = rows(case.network, case.box)
    if not (box.lower < box.upper).any():
        pytest.skip("all inputs are constant")
    forward = banded(case.network, box, seed % 2 * 3e4)
    points = av.Box.point(box.sample(32, np.random.default_rng(seed))[0])
    with quiet_overflow():
        alone = Forward(case.network, points).run()
    for source in case.network.sources:
        assert (alone.upper[source] >= forward.lower[source]).all()
        assert (alone.lower[source] <= forward.upper[source]).all()


def wide_network(seed: int, layers: int = 4, width: int = 64) -> av.Network:
    rng = np.random.default_rng(seed)
    sizes = [3, *[width] * layers, 2]
    weights = [rng.standard_normal((m, n)) * np.sqrt(2 / n) for n, m in pairwise(sizes)]
    return chain(weights, [0.1 * rng.standard_normal(m) for m in sizes[1:]])


def test_few_inputs_of_wide_networks_are_bounded_better() -> None:
    network = wide_network(0)
    box = av.Box(np.full((1, 3), 0.2), np.full((1, 3), 0.3))
    interval, forward, crown = (
        av.preactivation_bounds(network, box, method) for method in ("interval", "forward", "crown")
    )
    plain = derived_bounds(network, box, "crown", Run.of(None), plain=True)
    # The first layer is exact in all of them.
    for k in range(1, 4):
        unstable = (crown.lower[k] < 0) & (crown.upper[k] > 0)
        one, two, three, four = (
            float((found.upper[k] - found.lower[k])[unstable].mean()) for found in (interval, forward, crown, plain)
        )
        assert two < 0.7 * one and three <= two and three <= four
    assert (forward.lower[3] >= interval.lower[3]).all() and (forward.upper[3] <= interval.upper[3]).all()


def test_errors_that_are_carried_along_cancel() -> None:
    network = wide_network(3)
    box = av.Box(np.full((2, 3), 0.1), np.array([[0.2], [0.4]]) * np.ones(3))
    plain, some, all = (banded(network, box, numbers) for numbers in (0.0, 64 * 40, 2**24))
    source = network.sources[-1]
    one, two, three = ((found.upper[source] - found.lower[source]).mean(axis=1) for found in (plain, some, all))
    assert (two < 0.95 * one).all() and (three < 0.8 * one).all()


def test_many_inputs_and_no_memory_leave_no_bands() -> None:
    network = wide_network(1)
    box = av.Box(np.zeros((1, 3)), np.ones((1, 3)))
    assert Bands.where_useful(network, box, 1e9) is not None
    assert Bands.where_useful(network, box, 1e3) is None
    assert Bands.where_useful(network, av.Box(np.zeros((1, 3)), np.zeros((1, 3))), 1e9) is None
    rng = np.random.default_rng(0)
    many = chain(
        [rng.standard_normal((200, 40)), rng.standard_normal((200, 200)), np.ones((1, 200))],
        [np.zeros(n) for n in (200, 200, 1)],
    )
    assert Bands.where_useful(many, av.Box(np.zeros((1, 40)), np.ones((1, 40))), 1e9) is None


def test_bands_of_tensors_are_those_of_arrays() -> None:
    torch = pytest.importorskip("torch")
    network = wide_network(2, layers=2)
    box = av.Box(np.full((2, 3), -0.1), np.full((2, 3), 0.1) * np.array([[1.0], [2.0]]))
    tensors = box.mapped(torch.asarray)
    found = banded(network.put(tensors.placement), tensors, 2**12)
    expected = banded(network, box, 2**12)
    for source in network.sources:
        np.testing.assert_allclose(found.lower[source].numpy(), expected.lower[source], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.upper[source].numpy(), expected.upper[source], rtol=1e-9, atol=1e-12)
