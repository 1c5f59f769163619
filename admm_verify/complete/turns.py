"""Turns of attacks between two blocks of bounds."""

import time
from collections.abc import Callable
from threading import Lock

_FIRST, _LATER = 3.0, 4.0
"""Seconds of bounds before the first turn, and how many times longer it takes to each one after."""

_SHARE = 2.0
"""How many times as long as an attack takes there are bounds before it."""


class Turns:
    """A question for the runs of long bounds, whether to stop: now and then it attacks before it answers.

    attack: whether that settled the query. No turn comes before `begin`. Threads that ask while one of them attacks
    are told to go on.
    """

    def __init__(self, attack: Callable[[], bool]) -> None:
        self._attack, self._lock = attack, Lock()
        self._since, self._wait, self._settled = 0.0, float("inf"), False

    def begin(self, seconds: float) -> None:
        """Let turns come, of which the first will take about so long."""
        self._since, self._wait = time.monotonic(), max(_FIRST, _SHARE * seconds)

    def __call__(self) -> bool:
        if not self._settled and time.monotonic() - self._since >= self._wait and self._lock.acquire(blocking=False):
            try:
                self._turn()
            finally:
                self._lock.release()
        return self._settled

    def _turn(self) -> None:
        began = time.monotonic()
        # A thread that was slow to ask finds that another one has just attacked.
        if began - self._since < self._wait:
            return
        self._settled = self._attack()
        self._since = time.monotonic()
        self._wait = max(_LATER * self._wait, _SHARE * (self._since - began))
