"""A pretend GPU for tests: no GPU, no CUDA build of torch.

    from tests.gpu.pretend import pretend_gpu

    with pretend_gpu() as gpu:
        box = av.Box(gpu.tensor(lower), gpu.tensor(upper))     # as torch.tensor(lower, device="cuda"), which also works
        gpu.events.clear()
        solution = av.solve(av.Problem(network, box, gpu.tensor(rows)), "ascent")
        assert gpu.events.host_reads == 0
        print(gpu.events.table())                               # or pytest -s

Inside, torch finds `devices` GPUs ("cuda:0", "cuda:1", ...). Tensors there say `device == cuda:0`, compute on the host,
and behave as CUDA tensors do: `.numpy()`, `np.asarray` raise TypeError, operations on tensors of several devices raise
RuntimeError (host scalars are allowed, and index tensors of the host, which are counted as copies). CuPy is a pretend
one as well (`tests/gpu/pretend_cupy.py`), which compiles kernels for the host, so that the library's own code finds it,
launches on it and chooses streams; where there is no C++ compiler the test is skipped. Other threads that begin inside
are on the same GPUs.

What happens is in `gpu.events` (`tests/gpu/events.py`), each event with the lines of the library that asked:

    gpu.events.kernels            kernels that run (torch's, ours, and those in graphs)
    gpu.events.launches           what the host has to launch: kernels, and graphs as a whole
    gpu.events.host_reads         `.item()`, `bool(x)`, `nonzero`, masks as indices, SVD, and all copies to the host
    gpu.events.waits              reads, blocking copies in both directions, synchronize
    gpu.events.bytes(What.TO_HOST), gpu.events.bytes(What.TO_DEVICE), gpu.events.moved (bytes of kernels' arguments)
    gpu.events.by_line(What.KERNEL), gpu.events.by_name(What.KERNEL), gpu.events.table()
    for event in gpu.events: event.what, event.name, event.lines, event.shape, event.dtype, event.bytes, event.waits

    pretend_gpu(reads=False)      every host read raises HostRead, which is no Exception: nothing swallows it
    with gpu.no_reads(): ...      the same for a part

Memory: `gpu.memories[0]` (`tests/gpu/memory.py`) has live, peak, total, free, allocations and failures:

    gpu.memories[0].restart(fails_at=(5,))    the fifth allocation from here raises torch.OutOfMemoryError
    pretend_gpu(memory=2**20)                 what does not fit into a MiB raises it; torch.cuda.mem_get_info agrees

Also pretended: torch.cuda.Stream, Event, stream, current_stream, synchronize, device, memory_allocated, CUDAGraph and
torch.cuda.graph (`tests/gpu/captures.py`: what is captured does not run, replay computes it in the same memory, which
must be there still; reads, waits and pageable copies raise while capturing),
`pin_memory` (non_blocking copies from or to pinned memory do not wait).
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from admm_verify.backends import cuda as library_cuda
from tests.gpu.captures import Capture, again
from tests.gpu.events import Event, Events, What, calling_lines
from tests.gpu.memory import DeviceMemory
from tests.gpu.pretend_cupy import pretend_cupy
from tests.gpu.runtime import runtime_patches
from tests.gpu.tensors import PretendMode, PretendTensor, tensors_in

TOTAL = 2.0**37
"""Bytes of memory of a device, as an H200 has them, where a test says nothing."""


class HostRead(BaseException):
    """The host looked at numbers of the GPU where it must not."""


class PretendGpu:
    """The state of the pretend GPUs of one machine."""

    def __init__(self, devices: int, memory: float, reads: bool) -> None:
        self.events = Events()
        self.memories = [DeviceMemory(index, memory) for index in range(devices)]
        self.reads = reads
        self.here = threading.local()
        # Kept as long as the GPU: another tensor may have the address of one that is gone.
        self._pinned: dict[int, torch.Tensor] = {}

    @property
    def current(self) -> int:
        """The number of this thread's current device."""
        return getattr(self.here, "device", 0)

    @property
    def capturing(self) -> Capture | None:
        """What this thread captures at present."""
        return getattr(self.here, "capturing", None)

    def tensor(self, values: Any, device: str = "cuda", dtype: Any = None) -> torch.Tensor:
        """Values on a GPU, as a tensor of the same dtype; counted as a copy."""
        return torch.from_numpy(np.array(values)).to(device, dtype)

    def named(self, device: Any) -> torch.device:
        """A device with its number; that torch's own code calls meta is the current one.

        Raises: RuntimeError where there is no such device.
        """
        found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
        if found.type == "cpu":
            return found
        index = self.current if found.type == "meta" or found.index is None else found.index
        if index >= len(self.memories):
            raise RuntimeError("CUDA error: invalid device ordinal")
        return torch.device("cuda", index)

    def numbered(self, argument: Any) -> Any:
        """A device with its number where an argument is one, else what it is."""
        return self.named(argument) if isinstance(argument, str | torch.device) else argument

    @contextmanager
    def no_reads(self) -> Iterator[None]:
        """Every host read inside raises HostRead."""
        before, self.reads = self.reads, False
        try:
            yield
        finally:
            self.reads = before

    def note(
        self, what: What, name: str, index: int, x: torch.Tensor | None, *, waits: bool = False, kernels: int = 0
    ) -> None:
        """Add an event.

        Raises: HostRead where reads are forbidden; RuntimeError where a capture forbids waiting.
        """
        shape, dtype, size = _described(x)
        event = Event(what, name, calling_lines(), index, shape, dtype, size, waits=waits, kernels=kernels)
        if self.capturing is not None and waits:
            self.capturing.broken = str(event)
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing: {event}")
        self.events.add(event)
        if not self.reads and what in (What.READ, What.TO_HOST):
            raise HostRead(str(event))

    def launched(self, name: str, index: int, inputs: list[Any], result: torch.Tensor | None) -> None:
        """Add a launch of a kernel of torch's or ours."""
        shape, dtype, size = _described(result)
        moved = sum(_distinct(x) for x in (*inputs, *(() if result is None else (result,))))
        self._add(Event(What.KERNEL, name, calling_lines(), index, shape, dtype, size, moved, kernels=1))

    def _add(self, event: Event) -> None:
        """Add a launch, which does not run where it is captured."""
        if self.capturing is not None:
            self.capturing.kernels += 1
            event = replace(event, what=What.CAPTURED, kernels=0)
        self.events.add(event)

    def launched_own(self, name: str, index: int, words: list[int]) -> None:
        """Add a launch of a kernel of the library, by its arguments.

        Raises: RuntimeError where memory of another device is among them.
        """
        moved = sum(self.memories[index].bytes_at(word) for word in words)
        if any(memory.bytes_at(word) for memory in self.memories if memory.index != index for word in words):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        dtype = "float64" if name.endswith("_f64") else "float32"
        if self.capturing is not None:
            self.capturing.touches(words, writes=True)
        self._add(Event(What.KERNEL, name, calling_lines(), index, (), dtype, 0, moved, kernels=1))

    def allocate(self, index: int, x: torch.Tensor) -> None:
        """Count the memory of a new tensor.

        Raises: torch.OutOfMemoryError where there is none.
        """
        size = x.untyped_storage().nbytes()
        if size:
            self.memories[index].allocate(size)
            self.events.add(Event(What.ALLOCATION, "", calling_lines(), index, tuple(x.shape), _dtype(x), size))

    def compute(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What an operation returns on the host; captured, it is computed again in every replay."""
        capture = self.capturing
        if capture is None:
            return func(*args, **kwargs)
        capture.reads(tensors_in((args, kwargs)), func._schema.is_mutable)
        result = func(*args, **kwargs)
        before = list(tensors_in(result))
        capture.made(before)
        capture.program.append(lambda: again(func, args, kwargs, before, tensors_in))
        return result

    def pin(self, x: torch.Tensor) -> torch.Tensor:
        """A copy of a host tensor that is pinned."""
        pinned = x.clone()
        self._pinned[pinned.untyped_storage().data_ptr()] = pinned
        return pinned

    def is_pinned(self, x: torch.Tensor) -> bool:
        return x.untyped_storage().data_ptr() in self._pinned


@contextmanager
def pretend_gpu(*, devices: int = 1, memory: float = TOTAL, reads: bool = True) -> Iterator[PretendGpu]:
    """GPUs with so many bytes of memory each, as long as the context lasts.

    reads: False where no host read is allowed.
    """
    gpu = PretendGpu(devices, memory, reads)
    with ExitStack() as stack:
        for target, name, value in (*runtime_patches(gpu), *_torch_patches(gpu)):
            stack.enter_context(patch.object(target, name, value, create=True))
        for name, module in pretend_cupy(gpu).items():
            # All of the modules must not be put back: torch's can be imported once only.
            stack.callback(_put_back, name, sys.modules.get(name))
            sys.modules[name] = module
        # Neither kernels nor streams of a pretend CuPy outlive it, nor those of another one come in.
        for found in (library_cuda.cuda_verbs, library_cuda.cupy_stream):
            found.cache_clear()
            stack.callback(found.cache_clear)
        stack.enter_context(PretendMode(gpu))
        yield gpu


def _put_back(name: str, module: ModuleType | None) -> None:
    if module is None:
        del sys.modules[name]
    else:
        sys.modules[name] = module


def _torch_patches(gpu: PretendGpu) -> Iterator[tuple[Any, str, Any]]:
    """What makes tensors before any dispatch, pins memory, and starts threads, whose modes are their own."""
    for name in ("tensor", "as_tensor"):
        yield torch, name, _made_there(gpu, getattr(torch, name))
    # torch asks CUDA for the number of a device that has none.
    for target, name in ((torch.Tensor, "to"), (torch, "asarray")):
        yield target, name, _numbering(gpu, getattr(target, name))
    yield torch.Tensor, "cuda", lambda self, device=None, **kwargs: self.to(gpu.named(device or "cuda"), **kwargs)
    yield torch.Tensor, "pin_memory", lambda self, *_: gpu.pin(self)
    yield torch.Tensor, "is_pinned", lambda self, *_: gpu.is_pinned(self)
    run = threading.Thread.run

    def run_there(self: threading.Thread) -> None:
        with PretendMode(gpu):
            run(self)

    yield threading.Thread, "run", run_there


def _numbering(gpu: PretendGpu, make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def made(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if isinstance(self, bool | int | float):
            # torch.asarray makes these on the device itself, which is none.
            self = torch.tensor(self, dtype=kwargs.get("dtype"))
        if args and isinstance(args[0], PretendTensor):
            args = (args[0].place, args[0].dtype, *args[1:])
        named = {name: gpu.numbered(value) for name, value in kwargs.items()}
        return make(self, *map(gpu.numbered, args), **named)

    return made


def _made_there(gpu: PretendGpu, make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if isinstance(data, PretendTensor):
            return data.to(data.place if device is None else device, kwargs.get("dtype"))
        there = device is not None and torch.device(device).type == "cuda"
        result = make(data, *args, device=None if there else device, **kwargs)
        return result.to(gpu.named(device)) if there else result

    return made


def _described(x: torch.Tensor | None) -> tuple[tuple[int, ...], str, int]:
    return ((), "", 0) if x is None else (tuple(x.shape), _dtype(x), x.numel() * x.element_size())


def _dtype(x: torch.Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _distinct(x: torch.Tensor) -> int:
    """Bytes of the different elements of a tensor."""
    number = 1
    for size, stride in zip(x.size(), x.stride(), strict=True):
        number *= size if stride else 1
    return number * x.element_size()
