"""What work on a GPU needs around it: products that keep all digits, and to know how much memory is free there."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial

from admm_verify.arrays import Placement
from admm_verify.memory import Budget
from admm_verify.run import Run


def budget_at(place: Placement, run: Run, workers: int = 1) -> Budget:
    """What a run may take where arrays of a placement live, by default half of what is free there."""
    if not place.on_gpu:
        return Budget.of(run, workers)
    from admm_verify.backends.torch_device import free_bytes_of

    return Budget.of(run, workers, partial(free_bytes_of, place.device))


def full_precision(place: Placement) -> AbstractContextManager[object]:
    """A context in which products on a placement's device keep all digits of their type; costs nothing on the host.

    Raises: DeviceError where float64 is emulated.
    """
    if not place.on_gpu:
        return nullcontext()
    from admm_verify.backends.torch_device import full_precision_products

    return full_precision_products()


def current_device(place: Placement) -> AbstractContextManager[object]:
    """A context in which a placement's device is the current one of this thread; costs nothing on the host."""
    if not place.on_gpu:
        return nullcontext()
    from admm_verify.backends.torch_device import current_gpu

    return current_gpu(place.device)
