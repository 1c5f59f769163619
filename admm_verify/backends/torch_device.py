"""Torch as the array library of the iterations, on a device given by name."""

import array_api_compat
import torch

from admm_verify.arrays import Placement
from admm_verify.errors import DeviceError, InputError


def torch_placement(device: str) -> Placement:
    """The float64 placement of torch on "cpu" or "cuda" (also "cuda:1" and so on).

    Raises: InputError for another name; DeviceError when torch finds no such GPU.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise InputError(f"The device {device!r} is unknown; choose 'cpu', 'cuda' or 'cuda:N'.")
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"The device {device!r} was asked for, but torch {torch.__version__} finds "
            f"{torch.cuda.device_count()} CUDA devices. Use device='cpu', or install a CUDA build of torch."
        )
    return Placement.of(array_api_compat.array_namespace(torch.zeros(0)).zeros(0, dtype=torch.float64, device=wanted))


def finds_gpu() -> bool:
    """Whether torch finds a CUDA device."""
    return torch.cuda.is_available()
