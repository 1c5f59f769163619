"""Signals on the command line: the first Ctrl-C, SIGTERM or SIGHUP asks to stop, a second Ctrl-C interrupts at once."""

import os
import signal

# Little is imported here: this comes before everything else.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def leave(number: int, frame: "FrameType | None") -> None:
    """End the process with one line, wherever nothing is lost by that, as during imports."""
    try:
        os.write(2, b"admm-verify: interrupted.\n")
    finally:
        os._exit(128 + number)


def handle_all(handler: "Callable[[int, FrameType | None], None]") -> "dict[int, Any]":
    """Let a function handle the signals that ask a process to end; returns the handlers so far.

    Signals that are ignored stay so (nohup); Ctrl-C is heard even so, as shells make their background jobs ignore it.
    Threads other than the first one may not handle any.
    """
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    heard = [n for n in numbers if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]
    try:
        return {number: signal.signal(number, handler) for number in heard}
    except ValueError:
        return {}


class Interrupts:
    """What signals do within a `with` block: raise KeyboardInterrupt, or first turn the answer to a question.

    status: of the exit after a KeyboardInterrupt, 128 and the number of the signal.
    """

    def __init__(self) -> None:
        self.status = 128 + signal.SIGINT
        self._polled = self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        self._before = handle_all(self._received)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def question(self) -> "Callable[[], bool]":
        """A question that the first signal turns true, for commands that end with what they know by then."""
        self._polled = True
        return lambda: self._asked

    def _received(self, number: int, frame: "FrameType | None") -> None:
        again, self._asked = self._asked, True
        # Supervisors repeat themselves, as to a process and then to its group; only people mean it.
        if (again and number != signal.SIGINT) or (self._polled and not again):
            return
        self.status = 128 + number
        signal.signal(signal.SIGINT, leave)
        raise KeyboardInterrupt
