"""How many threads the linear algebra library may use: sized to the work, so that small products never spin."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

WORKER_PASS = 1e7
"""Multiplications in one pass of a block from which a thread of its own pays: some 0.3 ms."""

LARGE_PASS = 1e9
"""Multiplications in one pass from which more than one thread pays.

Below it a product takes well under a second, and threads that wait for one another beside any other busy process cost
more than they save: measured 10 to 80 times more.
"""


@contextmanager
def threads_for(multiplications: float, workers: int = 1, most: int | None = None) -> Iterator[None]:
    """Run the body on one BLAS thread unless a pass is large and blocks do not run side by side already.

    most: threads of a large pass, None for as many as are set outside, which stays an upper limit.
    """
    threads = most if multiplications >= LARGE_PASS and workers == 1 else 1
    if threads is None:
        yield
        return
    _limit.enter(threads)
    try:
        yield
    finally:
        _limit.leave(threads)


class _Limit:
    """As few BLAS threads as anybody inside wants: the limit is the process's, so threads that overlap share one."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside: list[int] = []
        self.limiter: Any = None
        self.threads = 1

    def enter(self, threads: int) -> None:
        with self.lock:
            if not self.inside:
                self.threads = _blas_threads()
                self.limiter = _controller().limit(limits=min(threads, self.threads))
            elif threads < min(self.inside):
                _controller().limit(limits=threads)
            self.inside.append(threads)

    def leave(self, threads: int) -> None:
        with self.lock:
            self.inside.remove(threads)
            if not self.inside:
                self.limiter.restore_original_limits()
            elif threads < min(self.inside):
                _controller().limit(limits=min(*self.inside, self.threads))

    def outside(self) -> int:
        """What BLAS may use where nobody is inside."""
        with self.lock:
            return self.threads if self.inside else _blas_threads()


_limit = _Limit()


def workers_for(multiplications: float, most: int | None = None) -> int:
    """How many blocks of rows may run side by side, in a thread each with one BLAS thread; they never wait for one
    another.

    multiplications: of one pass of all rows. At most `most`, and as many as BLAS would use, so that its environment
    variables and `threadpoolctl` set the limit.
    """
    if multiplications < 2 * WORKER_PASS:
        return 1
    cores = os.cpu_count() or 1
    return min(cores if most is None else most, cores, int(multiplications / WORKER_PASS), _limit.outside())


def _blas_threads() -> int:
    pools = [pool["num_threads"] for pool in _controller().info() if pool["user_api"] == "blas"]
    return min(pools, default=1)


@cache
def _controller() -> ThreadpoolController:
    # Finding the loaded libraries takes milliseconds, setting their limits microseconds.
    return ThreadpoolController()
