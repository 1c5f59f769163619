"""What `torch.cuda` offers, on pretend GPUs: devices, streams, events, memory and graphs."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from tests.gpu.captures import Capture
from tests.gpu.events import What

if TYPE_CHECKING:
    from tests.gpu.pretend import PretendGpu


def runtime_patches(gpu: "PretendGpu") -> Iterator[tuple[Any, str, Any]]:
    """What to put in the place of what in `torch.cuda`."""
    functions = {
        **_devices(gpu),
        **_memory(gpu),
        **_streams(gpu),
        **_graphs(gpu),
    }
    for name, function in functions.items():
        yield torch.cuda, name, function


def _devices(gpu: "PretendGpu") -> dict[str, Any]:
    @contextmanager
    def device(wanted: Any) -> Iterator[None]:
        before = gpu.current
        gpu.here.device = gpu.named(wanted).index
        try:
            yield
        finally:
            gpu.here.device = before

    def set_device(wanted: Any) -> None:
        gpu.here.device = gpu.named(wanted).index

    def properties(wanted: Any = None) -> SimpleNamespace:
        total = int(gpu.memories[_index(gpu, wanted)].total)
        return SimpleNamespace(
            name="pretend GPU",
            total_memory=total,
            multi_processor_count=132,
            major=9,
            minor=0,
            L2_cache_size=50 * 2**20,
        )

    return {
        "_lazy_init": lambda: None,
        "init": lambda: None,
        "is_initialized": lambda: True,
        "is_available": lambda: True,
        "device_count": lambda: len(gpu.memories),
        "current_device": lambda: gpu.current,
        "set_device": set_device,
        "device": device,
        "get_device_properties": properties,
        "get_device_name": lambda wanted=None: properties(wanted).name,
        "get_device_capability": lambda wanted=None: (9, 0),
    }


def _memory(gpu: "PretendGpu") -> dict[str, Any]:
    def of(wanted: Any) -> Any:
        return gpu.memories[_index(gpu, wanted)]

    def restart_peak(wanted: Any = None) -> None:
        of(wanted).peak = of(wanted).live

    return {
        "mem_get_info": lambda wanted=None: (int(of(wanted).free), int(of(wanted).total)),
        "memory_allocated": lambda wanted=None: of(wanted).live,
        "memory_reserved": lambda wanted=None: of(wanted).live,
        "max_memory_allocated": lambda wanted=None: of(wanted).peak,
        "reset_peak_memory_stats": restart_peak,
        "empty_cache": lambda: None,
    }


class PretendStream:
    """A queue of a device; everything has happened already here."""

    def __init__(self, gpu: "PretendGpu", index: int, handle: int) -> None:
        self._gpu, self.device, self.cuda_stream = gpu, torch.device("cuda", index), handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.cuda_stream

    def synchronize(self) -> None:
        self._gpu.note(What.SYNC, "Stream.synchronize", self.device.index, None, waits=True)

    def wait_stream(self, other: Any) -> None: ...
    def wait_event(self, event: Any) -> None: ...
    def query(self) -> bool:
        return True

    def record_event(self, event: Any = None) -> Any:
        return event or PretendEvent(self._gpu)


class PretendEvent:
    """A mark in a queue."""

    def __init__(self, gpu: "PretendGpu") -> None:
        self._gpu = gpu

    def record(self, stream: Any = None) -> None: ...
    def wait(self, stream: Any = None) -> None: ...
    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        self._gpu.note(What.SYNC, "Event.synchronize", self._gpu.current, None, waits=True)

    def elapsed_time(self, end: Any) -> float:
        return 0.0


def _streams(gpu: "PretendGpu") -> dict[str, Any]:
    handles = count(1)
    defaults = [PretendStream(gpu, index, 0) for index in range(len(gpu.memories))]

    def current_stream(wanted: Any = None) -> PretendStream:
        index = _index(gpu, wanted)
        return getattr(gpu.here, "streams", {}).get(index, defaults[index])

    @contextmanager
    def stream(wanted: PretendStream | None) -> Iterator[None]:
        before = getattr(gpu.here, "streams", {})
        if wanted is not None:
            gpu.here.streams = before | {wanted.device.index: wanted}
        try:
            yield
        finally:
            gpu.here.streams = before

    return {
        "Stream": lambda device=None, **_: PretendStream(gpu, _index(gpu, device), next(handles)),
        "Event": lambda **_: PretendEvent(gpu),
        "current_stream": current_stream,
        "default_stream": lambda wanted=None: defaults[_index(gpu, wanted)],
        "stream": stream,
        "synchronize": lambda wanted=None: gpu.note(What.SYNC, "synchronize", _index(gpu, wanted), None, waits=True),
    }


def _graphs(gpu: "PretendGpu") -> dict[str, Any]:
    class Graph:
        """What was captured, to be computed again in the memory where it was."""

        def __init__(self, **_: Any) -> None:
            self._captured: Capture | None = None

        def capture_begin(self, *_: Any, **__: Any) -> None:
            if gpu.capturing is not None:
                raise RuntimeError("CUDA error: a stream is capturing already")
            gpu.here.capturing = Capture(gpu, gpu.current)

        def capture_end(self) -> None:
            self._captured, gpu.here.capturing = gpu.capturing, None
            assert self._captured is not None
            self._captured.end()

        def replay(self) -> None:
            if self._captured is None or not self._captured.program:
                raise RuntimeError("Nothing was captured in this graph.")
            gpu.note(What.GRAPH, "graph", self._captured.index, None, kernels=self._captured.kernels)
            self._captured.replay()

        def reset(self) -> None:
            self._captured = None

        def pool(self) -> tuple[int, int]:
            return 0, 0

    @contextmanager
    def graph(
        captured: Graph, pool: Any = None, stream: Any = None, capture_error_mode: str = "global"
    ) -> Iterator[None]:
        assert capture_error_mode in ("global", "thread_local", "relaxed")
        if stream is not None and stream.device.index != gpu.current:
            raise RuntimeError("CUDA error: invalid resource handle: the stream is of another device")
        gpu.note(What.SYNC, "graph", gpu.current, None, waits=True)
        captured.capture_begin()
        try:
            yield
        finally:
            captured.capture_end()

    return {
        "CUDAGraph": Graph,
        "graph": graph,
        "graph_pool_handle": lambda: (0, 0),
        "is_current_stream_capturing": lambda: gpu.capturing is not None,
    }


def _index(gpu: "PretendGpu", wanted: Any) -> int:
    return gpu.current if wanted is None else gpu.named(wanted).index
