"""The device of a run is where the work is done, at every door that takes one; else it is refused in words."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import unit_rows
from tests.gpu.events import What
from tests.gpu.pretend import pretend_gpu


@pytest.fixture
def gpu():
    with pretend_gpu(devices=2) as found:
        yield found


def controlled() -> av.Task:
    """Three steps of a network of two states."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in ((2, 12), (12, 12), (12, 2))]
    system = av.NetworkSystem(network_from_layers(weights, [0.1 * rng.standard_normal(len(w)) for w in weights]))
    return av.Task("made up", system, av.Box(np.zeros(2), np.ones(2)), 3)


@pytest.mark.parametrize("method", ["interval", "crown", "tightened"])
def test_bounds_of_boxes_of_the_host_are_computed_on_the_device(gpu, small_network, method: str) -> None:
    box = av.Box.around(np.zeros((3, 4)), 0.5)
    expected, there = av.preactivation_bounds(small_network, box, method), av.Run(device="cuda:1")
    # Kernels are tried on the first device before they are used.
    av.preactivation_bounds(small_network, box, method, run=there)
    gpu.events.clear()
    found = av.preactivation_bounds(small_network, box, method, run=there)
    kernels = [event for event in gpu.events if event.what is What.KERNEL and event.shape]
    assert len(kernels) > 20 and {event.device for event in kernels} == {1}
    for end, other in zip(found.lower + found.upper, expected.lower + expected.upper, strict=True):
        assert isinstance(end, np.ndarray) and np.allclose(end, other, atol=1e-9)
    problem = av.Problem(small_network, box, np.ones((3, 3)), preactivation=found)
    assert np.isfinite(av.solve(problem, max_passes=2).lower).all()


@pytest.mark.parametrize("method", ["crown", "tightened"])
def test_reachable_sets_are_computed_on_the_device(gpu, method: str) -> None:
    settings = av.ReachSettings(method=method, grid=2)
    expected = av.reach_sets(controlled(), settings=settings).sets
    gpu.events.clear()
    found = av.reach_sets(controlled(), settings=settings, run=av.Run(device="cuda")).sets
    assert gpu.events.kernels > 100
    # Iterations are in float32 there.
    assert np.allclose(found.upper, expected.upper, atol=1e-3)


def test_images_of_sets_are_computed_on_the_device(gpu, small_network) -> None:
    box, rows = av.Box(np.full(4, -0.5), np.full(4, 0.5)), np.eye(3)
    expected = av.set_image(small_network, box, rows).support
    gpu.events.clear()
    found = av.set_image(small_network, box, rows, run=av.Run(device="cuda")).support
    assert gpu.events.kernels > 20 and np.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("horizon", ["continuous", "long"])
def test_what_the_host_alone_computes_refuses_a_gpu(gpu, horizon: str) -> None:
    plant = av.Plant.read(["x2", "-sin(x1) - 0.2*x2 + u1"], 1)
    controller = av.Controller.of(network_from_layers([np.array([[-0.1, -0.1]])], [np.zeros(1)]))
    system = av.ContinuousSystem(controller, plant, Fraction(1, 10))
    if horizon == "long":
        system = av.NonlinearSystem(controller, plant)
    task = av.Task("pendulum", system, av.Box(np.zeros(2), np.full(2, 0.1)), 2)
    settings = av.ReachSettings(tolerance=0.5 if horizon == "long" else None)
    for device in ("cpu", "auto", None):
        assert av.reach_sets(task, settings=settings, run=av.Run(device=device)).sets.upper.shape
    with pytest.raises(av.InputError, match=r"'cuda:1' is of no use here.*Leave the device out"):
        av.reach_sets(task, settings=settings, run=av.Run(device="cuda:1"))


def test_rows_of_the_identity_are_made_on_the_device(gpu) -> None:
    place = Placement.of(gpu.tensor(np.zeros(1)))
    gpu.events.clear()
    found = unit_rows(np.array([3, 0, 3]), 1000, place)
    assert gpu.events.bytes(What.TO_DEVICE) <= 3 * 8 and gpu.events.host_reads == 0
    assert np.array_equal(found.cpu().numpy(), np.eye(1000)[[3, 0, 3]])


@pytest.mark.parametrize("method", ["ascent", "admm"])
def test_blocks_share_the_network_that_one_of_them_has_moved(gpu, small_network, method: str, monkeypatch) -> None:
    decomposed, real = [], np.linalg.svd

    def counted(matrix: np.ndarray, **how: bool) -> object:
        decomposed.append(matrix.shape)
        return real(matrix, **how)

    monkeypatch.setattr(np.linalg, "svd", counted)
    # Without elimination, whose matrices are each block's own.
    monkeypatch.setattr("admm_verify.splitting.solve.can_eliminate", lambda problem: False)
    rng = np.random.default_rng(0)
    rows, box = rng.standard_normal((9, 3)), av.Box(np.full(4, -0.5), np.full(4, 0.5))
    settings = av.SolverSettings(tolerance=0.0, max_passes=8, precision="float32")
    parts = [av.Problem(small_network, box, rows[first : first + 3]) for first in (0, 3, 6)]
    alone = [av.solve(part, method, device="cuda", settings=settings).lower for part in parts]
    decomposed.clear(), gpu.events.clear()
    narrow = replace(settings, device_block_numbers=3 * sum(node.size for node in small_network.nodes))
    found = av.solve(av.Problem(small_network, box, rows), method, device="cuda", settings=narrow).lower
    weights = [node.terms[0].map.weight.shape for node in small_network.affine.values()]
    uploads = [event.shape for event in gpu.events if event.what is What.TO_DEVICE]
    assert np.allclose(found, np.concatenate(alone), atol=1e-4)
    # In float64 and in float32; of three blocks.
    assert all(1 <= uploads.count(shape) <= 2 * weights.count(shape) for shape in set(weights) if method == "ascent")
    # The last layer is part of the objective.
    assert len(decomposed) == (len(weights) - 1 if method == "admm" else 0)
