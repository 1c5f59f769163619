"""How many threads the linear algebra library may use: sized to the work, so that small products never spin."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

LARGE_PASS = 1e9
"""Multiplications in one pass from which more than one thread pays.

Below it a product takes well under a second, and threads that wait for one another beside any other busy process cost
more than they save: measured 10 to 80 times more.
"""


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """Run the body on one BLAS thread unless a pass is large; what is set outside stays an upper limit."""
    if multiplications >= LARGE_PASS:
        yield
        return
    with _controller().limit(limits=1):
        yield


@cache
def _controller() -> ThreadpoolController:
    # Finding the loaded libraries takes milliseconds, setting their limits microseconds.
    return ThreadpoolController()
