"""Where the iterations run: device and precision chosen from what the caller asked for."""

from math import inf

from admm_verify.arrays import Placement
from admm_verify.errors import InputError, MissingPackageError, is_installed
from admm_verify.run import ALL_DEVICES, names_several

GPU_PASS = 2e9
"""Multiplications in one pass from which "auto" takes a GPU: some tenths of a second on a core, of which there are a
hundred or more, while a GPU takes seconds to get ready."""

GPU_READY = 5.0
"""Seconds that must be left from which "auto" takes a GPU: to look for one, torch is loaded, which nothing ends."""


def iteration_placements(
    home: Placement, device: str | None, precision: str | None, work: float = 0.0, left: float = inf
) -> tuple[Placement, ...]:
    """The placements that blocks of rows go round: one for each device of several, as in "cuda:0,cuda:1" or "cuda:all".

    work, left and what is raised: as of `iteration_placement`.
    """
    if not names_several(device):
        return (iteration_placement(home, device, precision, work, left),)
    return tuple(iteration_placement(home, name, precision, work, left) for name in _named(device or ""))


def _named(device: str) -> list[str]:
    """The names of several devices, each alone."""
    if device != ALL_DEVICES:
        return device.split(",")
    if not is_installed("torch"):
        raise MissingPackageError(f"The device {device!r} needs torch: pip install torch. Or leave the device out.")
    from admm_verify.backends.torch_device import gpu_count

    # Where there is none, the first one is missed in words.
    return [f"cuda:{index}" for index in range(max(1, gpu_count()))]


def iteration_placement(
    home: Placement, device: str | None, precision: str | None, work: float = 0.0, left: float = inf
) -> Placement:
    """The placement of the iterations: for no device where they are fastest without moving to another one.

    work: multiplications of one pass, and left: seconds, by which "auto" chooses.
    Raises: InputError for an unknown device, and for several; DeviceError where the device is missing.
    """
    if names_several(device):
        raise InputError(
            f"The device {device!r} names several, and this is computed on one: name one of them. Blocks of rows go "
            "round several in solve, certify, preactivation_bounds and output_bounds."
        )
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
