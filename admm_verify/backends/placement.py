"""Where the iterations run: device and precision chosen from what the caller asked for."""

from math import inf

from admm_verify.arrays import Placement
from admm_verify.errors import MissingPackageError, is_installed

GPU_PASS = 2e9
"""Multiplications in one pass from which "auto" takes a GPU: some tenths of a second on a core, of which there are a
hundred or more, while a GPU takes seconds to get ready."""

GPU_READY = 5.0
"""Seconds that must be left from which "auto" takes a GPU: to look for one, torch is loaded, which nothing ends."""


def iteration_placement(
    home: Placement, device: str | None, precision: str | None, work: float = 0.0, left: float = inf
) -> Placement:
    """The placement of the iterations: for no device where they are fastest without moving to another one.

    work: multiplications of one pass, and left: seconds, by which "auto" chooses.
    Raises: InputError for an unknown device; DeviceError where the device is missing.
    """
    if device == "auto":
        device = "cuda" if work >= GPU_PASS and left >= GPU_READY and _has_gpu() else None
    if device is None or (device == "cpu" and home.is_numpy):
        place = home.fastest
    else:
        # Imported here: small queries on NumPy never load torch.
        if not is_installed("torch"):
            raise MissingPackageError(f"The device {device!r} needs torch: pip install torch. Or leave the device out.")
        from admm_verify.backends.torch_device import torch_placement

        place = torch_placement(device)
    wanted = precision or ("float32" if place.on_gpu else "float64")
    return place.single if wanted == "float32" else place.double


def _has_gpu() -> bool:
    """Whether torch is here and finds a GPU."""
    if not is_installed("torch"):
        return False
    from admm_verify.backends.torch_device import finds_gpu

    return finds_gpu()
