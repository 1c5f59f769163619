"""How many threads the linear algebra library may use: sized to the work, so that small products never spin."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

WORKER_PASS = 1e7
"""Multiplications in one pass of a block from which a thread of its own pays: some 0.3 ms."""

LARGE_PASS = 1e9
"""Multiplications in one pass from which more than one thread pays.

Below it a product takes well under a second, and threads that wait for one another beside any other busy process cost
more than they save: measured 10 to 80 times more.
"""


@contextmanager
def threads_for(multiplications: float, workers: int = 1) -> Iterator[None]:
    """Run the body on one BLAS thread unless a pass is large and blocks do not run side by side already.

    What is set outside stays an upper limit.
    """
    if multiplications >= LARGE_PASS and workers == 1:
        yield
        return
    with _controller().limit(limits=1):
        yield


def workers_for(multiplications: float) -> int:
    """How many blocks of rows may run side by side, in a thread each with one BLAS thread; they never wait for one
    another.

    multiplications: of one pass of all rows. At most as many as BLAS would use, so that its environment variables and
    `threadpoolctl` set the limit.
    """
    if multiplications < 2 * WORKER_PASS:
        return 1
    pools = [pool["num_threads"] for pool in _controller().info() if pool["user_api"] == "blas"]
    return min([os.cpu_count() or 1, int(multiplications / WORKER_PASS), *pools])


@cache
def _controller() -> ThreadpoolController:
    # Finding the loaded libraries takes milliseconds, setting their limits microseconds.
    return ThreadpoolController()
