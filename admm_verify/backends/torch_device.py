"""Torch as the array library of the iterations, on a device given by name, and what it does to numbers there."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any

import array_api_compat
import numpy as np
import torch

from admm_verify.arrays import Placement
from admm_verify.errors import DeviceError, InputError

_EMULATION = "CUBLAS_EMULATE_DOUBLE_PRECISION"
"""Set to 1, it lets cuBLAS put products of float64 together from products of integers."""

_FULL = "ieee"
"""Torch's name for products of float32 that keep all 24 bits."""

_PINNED_BYTES = 2**28
"""Bytes of results up to which they come through pinned memory, which the system cannot move and is slow to give."""

_INHERITED = "none"
"""Torch's name for what is as it is set further up."""


def torch_placement(device: str) -> Placement:
    """The float64 placement of torch on "cpu" or "cuda" (also "cuda:1" and so on).

    Raises: InputError for another name; DeviceError when torch finds no such GPU, and where it emulates float64.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise InputError(f"The device {device!r} is unknown; choose 'cpu', 'cuda' or 'cuda:N'.")
    if wanted.type == "cuda":
        count = torch.cuda.device_count()
        # Torch keeps a byte of the number: its "cuda:256" is the first GPU.
        if int(device.partition(":")[2] or 0) >= count:
            there = ", ".join(repr(f"cuda:{index}") for index in range(count))
            advice = f"Use one of {there}" if count else "Use device='cpu', or install a CUDA build of torch"
            raise DeviceError(
                f"The device {device!r} was asked for, but torch {torch.__version__} finds {count} CUDA devices. "
                f"{advice}."
            )
        _check_double()
    return Placement.of(array_api_compat.array_namespace(torch.zeros(0)).zeros(0, dtype=torch.float64, device=wanted))


def finds_gpu() -> bool:
    """Whether torch finds a CUDA device."""
    return torch.cuda.is_available()


def gpu_count() -> int:
    """How many CUDA devices torch finds."""
    return torch.cuda.device_count()


def current_gpu(device: torch.device) -> AbstractContextManager[object]:
    """A context in which a GPU is the current one of this thread."""
    return torch.cuda.device(device)


def captured(device: torch.device, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """What some work launches on a GPU, as a graph, instead of running it.

    Raises: what the work raises, or CUDA where it does what cannot be captured.
    """
    graph = torch.cuda.CUDAGraph()
    # Torch's own stream for captures is of whichever device asked first; other threads have devices of their own.
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            work()
    return graph


def on_host(tensors: Sequence[Any]) -> list[np.ndarray]:
    """Tensors of one GPU as NumPy arrays, which hold pinned memory as long as these are few bytes together."""
    if sum(tensor.nbytes for tensor in tensors) > _PINNED_BYTES:
        return [tensor.detach().cpu().numpy() for tensor in tensors]
    found = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    for there, tensor in zip(found, tensors, strict=True):
        there.copy_(tensor.detach(), non_blocking=True)
    if tensors:
        torch.cuda.current_stream(tensors[0].device).synchronize()
    return [tensor.numpy() for tensor in found]


def free_bytes_of(device: torch.device) -> float:
    """Bytes that could be allocated on a GPU now: what the driver has, and what torch holds for arrays to come."""
    free, _ = torch.cuda.mem_get_info(device)
    return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


@contextmanager
def full_precision_products() -> Iterator[None]:
    """Within, torch rounds no factor of float32 to TF32; its settings, old or new, are as before afterwards.

    They are the process's: threads that overlap share them, and the last one to leave sets them back.
    Raises: DeviceError where float64 is emulated.
    """
    _check_double()
    _products.enter()
    try:
        yield
    finally:
        _products.leave()


def _check_double() -> None:
    """Refuse float64 of which cuBLAS says itself that it rounds otherwise than dot products do."""
    if os.environ.get(_EMULATION, "0").strip() not in ("", "0"):
        raise DeviceError(
            f"The environment variable {_EMULATION} is {os.environ[_EMULATION]!r}: cuBLAS may then emulate float64, "
            "whose rounding errors no bound here covers. Unset it, or use device='cpu'."
        )


class _Products:
    """Torch's settings for products of float32 on GPUs, kept while anybody is inside."""

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0
        self.kept: list[tuple[Any, str]] = []

    def enter(self) -> None:
        with self.lock:
            if not self.inside:
                # Torch's older names for the same settings cannot be read where somebody has used these.
                backends: Any = torch.backends
                places = backends.cudnn.conv, backends.cuda.matmul
                self.kept = [(place, place.fp32_precision) for place in places]
                for place, _ in self.kept:
                    place.fp32_precision = _FULL
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                for place, was in self.kept:
                    # What was inherited follows later changes again.
                    place.fp32_precision = _INHERITED
                    if place.fp32_precision != was:
                        place.fp32_precision = was


_products = _Products()
