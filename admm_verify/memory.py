"""Memory budgets: work on rows is cut into blocks that fit, and a failed allocation halves the block."""

import gc
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import numpy as np

from admm_verify.run import Flag, Run

Result = TypeVar("Result")

_DEFAULT_BYTES = 2 * 2**30
"""The budget where the system does not say how much memory is free."""

_NUMBER = 8
"""Bytes of a float64."""

_CACHE_NUMBERS = 2**21
"""Numbers in one array of a block: 16 MiB."""

_DEVICE_NUMBERS = 2**30
"""The same on a device, 8 GiB, where every launch costs the same however small the array."""

_STATE_ARRAYS = 24
"""Arrays of one number per neuron that a solver's state, its last state and a check point hold at once."""

_ARRAYS = 6
"""Arrays of the size of a block that one step of a sweep holds at once."""

_EXHAUSTED = re.compile(
    r"out of memory|not enough memory|\bto allocate\b|can(no|')t allocate|could not allocate|bad[_ ]alloc"
    r"|alloc(ation)?_failed|can't start new thread",
    re.IGNORECASE,
)
"""How libraries say that memory or threads ran out; other errors may speak of allocations, those of callers' too."""


@dataclass(frozen=True)
class Budget:
    """A limit on the working memory of one computation, in bytes, and the run that may end it.

    workers: blocks that run side by side, in a thread each; they share the memory. given_up: set once an exception
    ends the work, so that long blocks in other threads can end too. cached: whether blocks should stay near a cache,
    as on the host; on a device they have to fit, and the larger the better.
    """

    bytes: float
    run: Run = field(default_factory=Run)
    workers: int = 1
    given_up: Flag = field(default_factory=Flag)
    cached: bool = True

    @classmethod
    def of(cls, run: Run, workers: int = 1, free: Callable[[], float] | None = None) -> "Budget":
        """What a run may take, by default half of what is free: what `free` says in bytes, None for the host's."""
        limit = (free_bytes if free is None else free)() / 2 if run.memory is None else run.memory
        return cls(limit / workers, run, workers, cached=free is None)

    def near(self, numbers: float) -> float:
        """So many numbers of one array where they should stay near the cache, else as many as are ever wanted."""
        return numbers if self.cached else _DEVICE_NUMBERS

    def block(self, numbers: int) -> int:
        """How many rows of so many float64 numbers make a block: it fits, and it stays near the cache."""
        return int(min(self.near(_CACHE_NUMBERS), self.bytes / (_ARRAYS * _NUMBER)) // numbers)

    def climbing(self, limit: int, numbers: int) -> int:
        """How many rows of so many numbers climb at once, with at most `limit` numbers near the cache."""
        if self.cached:
            return min(limit // numbers, self.block(numbers))
        return self.rows(_DEVICE_NUMBERS, numbers)

    def rows(self, limit: float, numbers: int) -> int:
        """How many rows a solver takes at once: at most `limit` numbers in an array of so many numbers a row."""
        return int(min(limit, self.bytes / (_STATE_ARRAYS * _NUMBER)) // numbers)

    def blocks(self, count: int, step: int, work: Callable[[int, int], Result]) -> list[Result]:
        """work(first, last) on consecutive blocks of 0..count, as even as `step`, the most of one, allows; a block
        whose memory cannot be had is halved.

        Raises: Stopped once the run is over, which is asked before every block; MemoryError when a block of one still
        fails.
        """
        results: list[Result] = []
        first, workers = 0, max(1, min(self.workers, count))
        step = even_size(count, min(step, -(-count // workers)))
        while first < count:
            self.run.check()
            spans = [(start, min(start + step, count)) for start in range(first, count, step)[:workers]]
            try:
                results += self._side_by_side(spans, work)
            except (MemoryError, RuntimeError) as error:
                size = spans[0][1] - spans[0][0]
                if not is_allocation(error):
                    raise
                if workers == 1 and size == 1:
                    raise as_memory_error(error) from error
                # One block at a time needs less already; after that smaller ones do.
                step, workers = (size if workers > 1 else size // 2), 1
                self.given_up.set = False
            else:
                first = spans[-1][1]
        return results

    def _side_by_side(self, spans: list[tuple[int, int]], work: Callable[[int, int], Result]) -> list[Result]:
        """work on every span, in a thread each where there are several."""
        if len(spans) == 1:
            return [work(*spans[0])]
        with ThreadPoolExecutor(len(spans)) as pool:
            try:
                # A new thread has none of the caller's context, where NumPy keeps what it warns of.
                tasks = [pool.submit(copy_context().run, work, *span) for span in spans]
                done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
                for task in done:
                    task.result()
                return [task.result() for task in tasks]
            except BaseException:
                self.given_up.set = True
                raise


def even_size(count: int, step: int) -> int:
    """The size of as few blocks of at most `step` as cover `count`: a short last one would cost nearly a whole one."""
    return -(-count // max(1, -(-count // max(1, step))))


@contextmanager
def memory_errors() -> Iterator[None]:
    """Within, memory that cannot be had is a MemoryError, whichever library says so in its own words."""
    try:
        yield
    except RuntimeError as error:
        if not is_allocation(error):
            raise
        raise as_memory_error(error) from error


def once_more(work: Callable[[], Result]) -> Result:
    """work(), and again where an allocation failed: what others or the first attempt held may be free by then.

    Raises: what the second attempt raises.
    """
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not is_allocation(error):
            raise
    gc.collect()
    return work()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without the collector of cycles, which looks at millions of new objects again and again and finds none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@cache
def keep_freed_memory() -> None:
    """Let freed arrays be used again instead of going back to the system; once per process, harmless elsewhere.

    glibc maps arrays anew above a threshold that rises to the size of the largest one freed so far, at most 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD); until then every array pays for fresh pages, measured at a third of the time of a
    CROWN pass. An array just below that limit, never touched, costs nothing and sets the threshold.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)


def free_bytes() -> float:
    """Memory that could be allocated now, in bytes, as far as the system and the container's limit tell."""
    return min(_available(), _container_limit())


def _container_limit() -> float:
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            return float(file.read())
    except (OSError, ValueError):
        # There is no container, or its limit is the word "max".
        return float("inf")


def _available() -> float:
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) * 1024
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, AttributeError):
        return 2.0 * _DEFAULT_BYTES


def is_allocation(error: Exception) -> bool:
    """Whether memory or threads ran out; torch's own error types cannot be named without importing it."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or _EXHAUSTED.search(str(error)) is not None


def as_memory_error(error: Exception) -> MemoryError:
    """An error of memory that ran out as the one that callers know."""
    return error if isinstance(error, MemoryError) else MemoryError(str(error))
