"""The memory of a pretend GPU: what is alive, how much there was at most, and which allocation fails."""

import threading
import weakref

import torch

MESSAGE = (
    "CUDA out of memory. Tried to allocate {} bytes. GPU {} has a total capacity of {} bytes, of which {} are free."
)


class DeviceMemory:
    """Bytes of storages that tensors of one device hold.

    total: what the device has; fails_at: numbers of allocations, from 1, counted since `restart`, that fail.
    """

    def __init__(self, index: int, total: float) -> None:
        self.index, self.total = index, total
        self.live = self.peak = self.allocations = self.failures = 0
        self.fails_at: frozenset[int] = frozenset()
        self._holders: dict[int, list[int]] = {}
        self._lock = threading.RLock()

    def restart(self, fails_at: tuple[int, ...] = ()) -> None:
        """Count allocations from here on, of which some are to fail."""
        with self._lock:
            self.allocations = self.failures = 0
            self.fails_at, self.peak = frozenset(fails_at), self.live

    @property
    def free(self) -> float:
        """Bytes that are left."""
        return self.total - self.live

    def bytes_at(self, address: int) -> int:
        """Bytes of the storage that begins at an address; 0 where none does."""
        return self._holders.get(address, (0, 0))[1]

    def allocate(self, size: int) -> None:
        """Count an allocation.

        Raises: torch.OutOfMemoryError where it is one that fails, or there is no room.
        """
        with self._lock:
            self.allocations += 1
            if self.allocations in self.fails_at or self.live + size > self.total:
                self.failures += 1
                raise torch.OutOfMemoryError(MESSAGE.format(size, self.index, self.total, self.free))

    def hold(self, tensor: torch.Tensor, storage: torch.UntypedStorage) -> None:
        """Keep count of a storage as long as the tensor, or another one of it, is alive."""
        address, size = storage.data_ptr(), storage.nbytes()
        if size == 0:
            return
        with self._lock:
            held = self._holders.setdefault(address, [0, size])
            held[0] += 1
            if held[0] == 1:
                self.live += size
                self.peak = max(self.peak, self.live)
        weakref.finalize(tensor, self._let_go, address).atexit = False

    def _let_go(self, address: int) -> None:
        with self._lock:
            held = self._holders[address]
            held[0] -= 1
            if held[0] == 0:
                self.live -= held[1]
                del self._holders[address]
