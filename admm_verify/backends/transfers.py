"""Results on their way from a GPU to the host: copies that are queued together and waited for once."""

from collections.abc import Sequence

from admm_verify.arrays import Array, Placement


def brought(arrays: Sequence[Array], home: Placement) -> list[Array]:
    """Arrays of one place moved to another; from a GPU to NumPy through pinned memory, with a single wait."""
    if not (home.is_numpy and arrays and Placement.of(arrays[0]).on_gpu):
        return [home.put(array) for array in arrays]
    from admm_verify.backends.torch_device import on_host

    return [home.put(array) for array in on_host(arrays)]
