"""Arrays at the doors on a GPU: of other devices, with gradients, of CuPy, in any layout."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.network.graph import Network
from tests.gpu.pretend import pretend_gpu

LOW, HIGH = np.full((2, 4), -0.5), np.full((2, 4), 0.5)


@pytest.fixture
def gpu():
    with pretend_gpu(devices=2) as found:
        yield found


@pytest.mark.parametrize("other", ["cpu", "cuda:1", None])
def test_ends_on_two_devices_are_refused_in_words(gpu, other: str | None) -> None:
    upper = HIGH if other is None else gpu.tensor(HIGH, other)
    with pytest.raises(av.InputError, match=r"on cuda:0 and an upper end of .* of one library on one device"):
        av.Box(gpu.tensor(LOW), upper)


@pytest.mark.parametrize("home", ["cuda:0", None])
@pytest.mark.parametrize("device", [None, "cuda:1", "cpu"])
@pytest.mark.parametrize("other", ["cpu", "cuda:0", "cuda:1", None])
def test_everything_else_follows_the_box(
    gpu, small_network: Network, home: str | None, device: str | None, other: str | None
) -> None:
    def at(array: np.ndarray, where: str | None) -> Any:
        return array if where is None else gpu.tensor(array, where)

    box, host = av.Box(at(LOW, home), at(HIGH, home)), av.Box(LOW, HIGH)
    rows, offset = np.eye(3)[:2], np.array([0.5, -0.5])
    expected = av.solve(av.Problem(small_network, host, rows, offset), "ascent", max_passes=10)
    known = av.preactivation_bounds(small_network, host)
    bounds = av.PreactivationBounds(*(tuple(at(end, other) for end in ends) for ends in (known.lower, known.upper)))
    limit = av.Constraint.inputs(at(np.ones((1, 4)), other), at(np.array([4.0]), other))
    start = [at(layer, other) for layer in expected.multipliers]
    for given in ({}, {"preactivation": bounds}, {"constraints": (limit,)}, {"start": start}):
        problem = av.Problem(small_network, box, at(rows, other), at(offset, other), **given)
        settings = av.SolverSettings(precision="float64")
        found = av.solve(problem, "ascent", max_passes=10, device=device, settings=settings)
        assert type(found.lower) is type(box.lower)
        assert home is None or str(found.lower.device) == home
        lower = found.lower if home is None else found.lower.cpu().numpy()
        # Constraints and starts change where the ascent gets to.
        assert np.allclose(lower, expected.lower, atol=1e-9 if len(given) == 0 or "preactivation" in given else 0.5)


def test_cupys_arrays_are_refused_with_what_to_do(gpu, small_network: Network) -> None:
    array = sys.modules["cupy"].ndarray()
    for use in (
        lambda: av.Box(array, array),
        lambda: av.Box.around(np.zeros(4), array),
        lambda: av.Ball(array, 0.1),
        lambda: av.Problem(small_network, av.Box(LOW, HIGH), array),
        lambda: av.Box([array], [array]),
    ):
        with pytest.raises(av.InputError, match=r"CuPy array.*torch\.from_dlpack"):
            use()


SETS: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "box": av.Box,
    "box of": lambda lower, upper: av.Box.of(lower.double(), upper.double()),
    "around": av.Box.around,
    "ball": lambda lower, upper: av.Ball(lower, upper[0, 0], "l2"),
    "zonotope": lambda lower, upper: av.Zonotope(lower, torch.diag(upper[0])),
}


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nothing_keeps_a_graph_of_gradients(gpu, small_network: Network, kind: str, device: str) -> None:
    def live(array: np.ndarray) -> torch.Tensor:
        return gpu.tensor(array, device).requires_grad_()

    inputs, run = SETS[kind](live(LOW), live(HIGH)), av.Run(device=device)
    bounds = av.preactivation_bounds(small_network, inputs, run=run)
    known = av.PreactivationBounds(
        tuple(end.clone().requires_grad_() for end in bounds.lower),
        tuple(end.clone().requires_grad_() for end in bounds.upper),
    )
    start = [torch.zeros_like(end).requires_grad_() for end in bounds.lower]
    problem = av.Problem(small_network, inputs, live(np.eye(3)[:2]), live(np.ones(2)), known, start=start)
    tensors = [*bounds.lower, *bounds.upper, *problem.inputs.numbers, problem.objective, problem.offset]
    for method in ("ascent", "primal_dual", "admm"):
        found = av.solve(problem, method, max_passes=6, run=run)
        tensors += [found.lower, found.primal, *found.multipliers]
    assert len(tensors) >= 20 and not any(tensor.requires_grad for tensor in tensors)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0)[::-1],
        np.arange(6.0).reshape(2, 3)[:, ::-1],
        np.arange(6.0).astype(">f8"),
        np.arange(6)[::-1],
        np.arange(6.0)[::2],
        np.array(3.0),
        np.zeros((0, 3))[::-1],
        np.broadcast_to(np.arange(3.0), (2, 3)),
    ],
)
def test_arrays_of_any_layout_are_moved(gpu, array: np.ndarray, device: str) -> None:
    place = Placement.of(gpu.tensor(np.zeros(1), device))
    for found in (place.put(array), place.put_indices(array), place.put_flags(array > 1)):
        assert found.device.type == device and tuple(found.shape) == array.shape
    assert np.array_equal(place.put(array).cpu().numpy(), array)
    assert np.array_equal(place.put_indices(array).cpu().numpy(), array)
    assert np.array_equal(place.put_flags(array > 1).cpu().numpy(), array > 1)


def test_images_in_any_layout(gpu, small_network: Network) -> None:
    images = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    labels = small_network(images).argmax(axis=1)
    expected = av.certify(small_network, images, labels, [0.01, 0.1])
    for turned in (images[:, ::-1].copy()[:, ::-1], np.asfortranarray(images), gpu.tensor(images)):
        found = av.certify(small_network, turned, labels, [0.01, 0.1], run=av.Run(device="cuda"))
        assert np.array_equal(found.status, expected.status)
