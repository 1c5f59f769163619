"""What a pretend GPU captures instead of running it, and what it watches over meanwhile.

Here everything is computed at once, also what is captured: afterwards memory that was there before is as it was, as if
nothing had run. A replay computes all of it again, in the memory where it was, which must be there still.
"""

import ctypes
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tests.gpu.pretend import PretendGpu


class Capture:
    """Launches of one thread, from `begin` of a graph to its end.

    broken: what was done that cannot be captured, None for nothing; kernels: how many were launched.
    """

    def __init__(self, gpu: "PretendGpu", index: int) -> None:
        self.gpu, self.index = gpu, index
        self.program: list[Callable[[], None]] = []
        self.kernels = 0
        self.broken: str | None = None
        self._made: set[int] = set()
        self._outside: set[int] = set()
        self._before: dict[int, bytes] = {}

    def reads(self, tensors: Iterable[torch.Tensor], writes: bool) -> None:
        """Note what an operation is about to read, and maybe to write, of tensors on the host behind those there."""
        self.touches((x.untyped_storage().data_ptr() for x in tensors), writes)

    def touches(self, addresses: Iterable[int], writes: bool) -> None:
        """The same of memory that begins at some addresses; others are numbers."""
        for address in addresses:
            size = self.gpu.memories[self.index].bytes_at(address)
            if not size or address in self._made:
                continue
            self._outside.add(address)
            if writes and address not in self._before:
                self._before[address] = ctypes.string_at(address, size)

    def made(self, tensors: Iterable[torch.Tensor]) -> None:
        """Note what an operation has returned: memory of the graph where it is new."""
        self._made |= {x.untyped_storage().data_ptr() for x in tensors} - self._outside

    def end(self) -> None:
        """Nothing has run. Raises: RuntimeError where something cannot be captured."""
        for address, content in self._before.items():
            ctypes.memmove(address, content, len(content))
        if self.broken is not None:
            raise RuntimeError(f"CUDA error: operation failed due to a previous error during capture: {self.broken}")

    def replay(self) -> None:
        """Compute everything again. Raises: RuntimeError where memory is gone that was read or written."""
        gone = [address for address in self._outside if not self.gpu.memories[self.index].bytes_at(address)]
        if gone:
            raise RuntimeError(f"CUDA error: an illegal memory access was encountered ({len(gone)} arrays are gone)")
        for step in self.program:
            step()


def again(func: Any, args: Any, kwargs: dict[str, Any], before: list[torch.Tensor], found: Callable) -> None:
    """Compute an operation of a graph again, into the memory that it had."""
    for old, new in zip(before, found(func(*args, **kwargs)), strict=True):
        if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
            old.copy_(new)
