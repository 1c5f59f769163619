"""What a pretend GPU was asked for, with the lines of the library that asked."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import admm_verify

_PACKAGE = str(Path(admm_verify.__file__).parent) + "/"
_DEPTH = 4


class What(Enum):
    """Kinds of events."""

    KERNEL = "kernel"
    """A launch, of torch's or of ours."""
    READ = "host read"
    """The host waits for a number that it looks at: `.item()`, `bool(x)`, a size that values decide."""
    TO_HOST = "copy to the host"
    TO_DEVICE = "copy to the device"
    BETWEEN = "copy between devices"
    SYNC = "wait"
    """The host waits for the device and gets nothing: `synchronize`."""
    ALLOCATION = "allocation"
    CAPTURED = "captured launch"
    """A launch that becomes a part of a graph, and does not run."""
    GRAPH = "graph"
    """A whole captured graph is launched, whose kernels are not launched one by one."""


@dataclass(frozen=True)
class Event:
    """One thing that was asked for.

    lines: innermost first, "splitting/loop.py:60"; shape, dtype and bytes: of the first result, or of what was copied;
    moved: bytes that a kernel reads and writes at least; waits: whether the host waited for it; kernels: how many run.
    """

    what: What
    name: str
    lines: tuple[str, ...]
    device: int
    shape: tuple[int, ...] = ()
    dtype: str = ""
    bytes: int = 0
    moved: int = 0
    waits: bool = False
    kernels: int = 0

    @property
    def line(self) -> str:
        """The line of the library that asked; "" where a test did."""
        return self.lines[0] if self.lines else ""

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"{self.what.value} {self.name} {self.dtype}[{shape}] at {' < '.join(self.lines)}"


class Events:
    """A list of events that several threads may add to."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._lock = threading.Lock()
        self._events = list(events)

    def add(self, event: Event) -> None:
        with self._lock:
            self._events.append(event)

    def clear(self) -> None:
        """Forget what was until now."""
        with self._lock:
            self._events.clear()

    def __iter__(self):
        return iter(list(self._events))

    def where(self, test: Callable[[Event], bool]) -> "Events":
        """The events of which something holds."""
        return Events(filter(test, self))

    def count(self, *kinds: What) -> int:
        """How many there are of some kinds."""
        return sum(event.what in kinds for event in self)

    @property
    def launches(self) -> int:
        """What costs the host time: kernels, and graphs as a whole."""
        return self.count(What.KERNEL, What.GRAPH)

    @property
    def kernels(self) -> int:
        """Kernels that run, those of graphs one by one."""
        return sum(event.kernels for event in self)

    @property
    def host_reads(self) -> int:
        """How often the host got to see numbers: reads, and copies to it."""
        return self.count(What.READ, What.TO_HOST)

    @property
    def waits(self) -> int:
        """How often the host stood still: reads, copies that are not asynchronous, and synchronisation."""
        return sum(event.waits for event in self)

    def bytes(self, *kinds: What) -> int:
        """Bytes copied or allocated in events of some kinds."""
        return sum(event.bytes for event in self if event.what in kinds)

    @property
    def moved(self) -> int:
        """Bytes that all kernels read and write at least."""
        return sum(event.moved for event in self)

    def by_line(self, *kinds: What, depth: int = 1) -> Counter[str]:
        """How many events of some kinds each line asked for, with what called it down to a depth."""
        return Counter(" < ".join(event.lines[:depth]) for event in self if event.what in kinds)

    def by_name(self, *kinds: What) -> Counter[str]:
        """How many events of some kinds there are of each name."""
        return Counter(event.name for event in self if event.what in kinds)

    def table(self, top: int = 25) -> str:
        """All of it for people: sums, then lines by how often they asked."""
        wide = sum(event.what is What.KERNEL and event.dtype == "float64" for event in self)
        copies = [
            f"{self.count(what)} {name} ({self.bytes(what) / 1e6:.2f} MB)"
            for what, name in ((What.TO_HOST, "copies to the host"), (What.TO_DEVICE, "to the device"))
        ]
        rows = [
            f"{self.count(What.KERNEL)} kernels ({wide} float64, {self.moved / 1e6:.1f} MB), {self.count(What.GRAPH)} "
            f"graphs, {self.count(What.READ)} reads, {', '.join(copies)}, {self.count(What.ALLOCATION)} allocations, "
            f"{self.waits} waits"
        ]
        for what in (What.READ, What.TO_HOST, What.TO_DEVICE, What.BETWEEN, What.SYNC, What.KERNEL):
            for line, count in self.by_line(what, depth=3).most_common(top):
                rows.append(f"  {count:6d} {what.value:18s} {line}")
        return "\n".join(rows)


def calling_lines() -> tuple[str, ...]:
    """The lines of the library on the stack, innermost first."""
    frame, found = sys._getframe(1), []
    while frame is not None and len(found) < _DEPTH:
        name = frame.f_code.co_filename
        if name.startswith(_PACKAGE):
            found.append(f"{name[len(_PACKAGE) :]}:{frame.f_lineno}")
        frame = frame.f_back
    return tuple(found)
