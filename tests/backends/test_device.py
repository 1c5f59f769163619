"""What a GPU changes around the work: memory that runs out, how much is free, and how many digits products keep."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.backends.device import budget_at, full_precision
from admm_verify.backends.torch_device import torch_placement
from admm_verify.bounds import interval
from admm_verify.commands.reach import EXAMPLE
from admm_verify.network.graph import Affine

TORCH = torch_placement("cpu")
GPU = Placement(TORCH.xp, TORCH.dtype, torch.device("cuda", 1))
"""Where no array ever is in these tests."""


def lacking(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def solved(network: av.Network, box: av.Box) -> object:
    return av.solve(av.Problem(network, box, np.eye(3)))


def verified(network: av.Network, box: av.Box) -> object:
    return av.verify(av.query(network, box, "y0 <= -1"))


def nearest(network: av.Network, box: av.Box) -> object:
    return av.closest_counterexample(av.query(network, box, "y0 <= -1"), np.zeros(4))


DOORS: dict[str, Callable[[av.Network, av.Box], object]] = {
    "solve": solved,
    "preactivation_bounds": av.preactivation_bounds,
    "output_bounds": av.output_bounds,
    "verify": verified,
    "certify": lambda network, _: av.certify(network, np.zeros((1, 4)), [0], [0.1]),
    "closest_counterexample": nearest,
    "distance": lambda network, box: av.distance(network, box, av.Box(np.zeros(3), np.ones(3))),
    "set_image": lambda network, box: av.set_image(network, box, np.eye(3)),
    "reach_sets": lambda *_: av.reach_sets(av.read_task(EXAMPLE)),
}


@pytest.mark.parametrize("door", DOORS)
def test_memory_that_torch_cannot_have_is_a_memory_error_at_every_door(door: str, small_network, monkeypatch) -> None:
    box = av.Box(np.full(4, -0.5), np.full(4, 0.5))
    monkeypatch.setattr(Affine, "apply", lacking)
    monkeypatch.setattr(interval, "affine_interval", lacking)
    with pytest.raises(MemoryError):
        DOORS[door](small_network, box)


@pytest.mark.parametrize("method", ["interval", "crown", "tightened"])
@pytest.mark.parametrize("known", [False, True])
def test_bounds_of_boxes_that_do_not_fit_together_are_those_of_all(
    method: str, known: bool, small_network, monkeypatch
) -> None:
    box = av.Box.around(np.random.default_rng(0).standard_normal((7, 4)), 0.3)
    given = av.preactivation_bounds(small_network, box, "interval") if known else None
    whole = av.preactivation_bounds(small_network, box, method, known=given)
    real, sizes = interval.affine_interval, []

    def small_alone(network: Any, node: Any, lower: Any, upper: Any) -> Any:
        if len(lower[0]) > 2:
            lacking()
        sizes.append(len(lower[0]))
        return real(network, node, lower, upper)

    monkeypatch.setattr(interval, "affine_interval", small_alone)
    found = av.preactivation_bounds(small_network, box, method, known=given)
    assert max(sizes) <= 2
    for end, other in zip(found.lower + found.upper, whole.lower + whole.upper, strict=True):
        assert end.shape == other.shape and np.allclose(end, other, rtol=1e-12, atol=1e-12)
    assert found.implied == whole.implied
    solution = av.solve(av.Problem(small_network, box, np.ones((7, 3)), preactivation=found), max_passes=4)
    assert np.isfinite(solution.lower).all()


def test_budgets_are_of_the_memory_that_is_free_where_the_work_is(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: asked.append(device) or (10**9, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * 10**8)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 3 * 10**8)
    assert budget_at(GPU, av.Run()).bytes == (10**9 + 2 * 10**8) / 2
    assert asked == [GPU.device]
    assert budget_at(GPU, av.Run(memory=1e6)).bytes == 1e6
    assert budget_at(Placement.numpy(), av.Run()).bytes > 0 and asked == [GPU.device]


def products() -> list[str]:
    return [torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision]


def generic(precision: str) -> None:
    torch.backends.fp32_precision = precision


def cudnn(precision: str) -> None:
    torch.backends.cudnn.fp32_precision = precision


def convolutions(precision: str) -> None:
    torch.backends.cudnn.conv.fp32_precision = precision


def matrices(precision: str) -> None:
    torch.backends.cuda.matmul.fp32_precision = precision


def old_convolutions(precision: str) -> None:
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def old_matrices(precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


@pytest.fixture
def settings_kept() -> Iterator[None]:
    places = [torch.backends.cudnn.rnn, torch.backends.cudnn.conv, torch.backends.cuda.matmul]
    places += [torch.backends.cudnn, torch.backends]
    before = [place.fp32_precision for place in places]
    yield
    for place, was in zip(places, before, strict=True):
        place.fp32_precision = was


@pytest.mark.filterwarnings("ignore:.*TF32:UserWarning")
@pytest.mark.parametrize("precision", ["tf32", "ieee"])
@pytest.mark.parametrize("setting", [generic, cudnn, convolutions, matrices, old_convolutions, old_matrices])
def test_products_keep_all_digits_within_and_what_users_set_afterwards(
    setting: Callable[[str], None], precision: str, settings_kept: None
) -> None:
    setting(precision)
    before = products()
    with full_precision(GPU), full_precision(GPU):
        assert products() == ["ieee", "ieee"]
    assert products() == before
    # What was inherited follows what is set later.
    setting("ieee" if precision == "tf32" else "tf32")
    after = products()
    setting(precision)
    assert products() == before
    with full_precision(GPU):
        pass
    setting("ieee" if precision == "tf32" else "tf32")
    assert products() == after


def test_threads_share_the_setting(settings_kept: None) -> None:
    generic("tf32")
    before, both = products(), Barrier(2)

    def inside(_: int) -> list[str]:
        with full_precision(GPU):
            both.wait()
            seen = products()
            both.wait()
        return seen

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(inside, range(2))) == [["ieee", "ieee"]] * 2
    assert products() == before


def test_the_setting_is_left_alone_on_the_host(settings_kept: None) -> None:
    generic("tf32")
    with full_precision(TORCH), full_precision(Placement.numpy()):
        assert products() == ["tf32", "tf32"]


@pytest.mark.parametrize("value", ["1", "true"])
def test_emulated_float64_is_refused(value: str, monkeypatch) -> None:
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(av.DeviceError, match="CUBLAS_EMULATE_DOUBLE_PRECISION"), full_precision(GPU):
        pass
    with pytest.raises(av.DeviceError, match="Unset it"):
        torch_placement("cuda:1")
    with full_precision(TORCH):
        pass
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "0")
    with full_precision(GPU):
        pass
