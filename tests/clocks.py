"""Clocks for tests that must not depend on how fast a machine is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from unittest.mock import patch


class Ticks:
    """A clock that goes on by one second whenever somebody looks at it; looks: how often that was."""

    def __init__(self) -> None:
        self.looks, self._lock = 0, Lock()

    def __call__(self) -> float:
        with self._lock:
            self.looks += 1
            return float(self.looks)


@contextmanager
def ticking() -> Iterator[Ticks]:
    """Meanwhile, time.monotonic() ticks; what waits for threads and processes keeps the real time."""
    with patch.object(time, "monotonic", Ticks()) as clock:
        yield clock
