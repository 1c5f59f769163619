"""Products on a GPU keep all their digits at every door, whatever users have set, and emulated ones are refused."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.network import torch_convolution
from admm_verify.network.convolution import ConvolutionMap
from tests.gpu.pretend import pretend_gpu


@pytest.fixture
def gpu():
    with pretend_gpu() as found:
        yield found


@pytest.fixture
def tf32() -> Iterator[None]:
    places: list[Any] = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "tf32"
    yield
    assert [place.fp32_precision for place in places] == ["tf32", "tf32"]
    for place, was in zip(places, before, strict=True):
        place.fp32_precision = was


@pytest.fixture(scope="module")
def network() -> av.Network:
    """A small network of convolutions, read without any GPU."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(m, n, 3, padding=1) for m, n in pairwise((1, 2, 2))]
    head = torch.nn.Linear(32, 3)
    module = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), torch.nn.Flatten(), head)
    return av.trace(module, torch.zeros(1, 1, 4, 4))


def box() -> av.Box:
    """A box on the device."""
    return av.Box(torch.full((1, 4, 4), -2.0).to("cuda"), torch.full((1, 4, 4), 2.0).to("cuda"))


DOORS: dict[str, Callable[[av.Network, av.Box], object]] = {
    "solve": lambda network, box: av.solve(av.Problem(network, box, torch.eye(3).to("cuda")), max_passes=6),
    "bounds": lambda network, box: av.preactivation_bounds(network, box, "tightened"),
    "certify": lambda network, _: av.certify(
        network, np.full((1, 1, 4, 4), 0.5), [0], [0.05], run=av.Run(device="cuda")
    ),
}


@pytest.mark.parametrize("door", ["solve", "certify"])
def test_convolutions_are_not_rounded_to_tf32(network: av.Network, gpu, tf32: None, door: str, monkeypatch) -> None:
    seen: set[tuple[bool, str, str]] = set()
    backends: Any = torch.backends

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def work(map: ConvolutionMap, x: Any, kernel: Any) -> Any:
            seen.add((x.is_cuda, backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision))
            return real(map, x, kernel)

        return work

    for name in ("correlate", "spread"):
        monkeypatch.setattr(torch_convolution, name, watched(getattr(torch_convolution, name)))
    # Elimination writes so few neurons out as matrices.
    monkeypatch.setattr("admm_verify.splitting.solve.can_eliminate", lambda problem: False)
    DOORS[door](network, box())
    assert seen == {(True, "ieee", "ieee")}


@pytest.mark.parametrize("door", DOORS)
def test_emulated_float64_is_refused_at_every_door(network: av.Network, gpu, door: str, monkeypatch) -> None:
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "1")
    with pytest.raises(av.DeviceError, match="emulate float64"):
        DOORS[door](network, box())
