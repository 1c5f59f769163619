"""Standard streams: file descriptor 1 is kept from foreign code, so that stdout carries results alone."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TextIO

_OUT, _ERR = 1, 2


class _Guard:
    """Points file descriptor 1 at stderr as long as anybody holds it; the first one diverts, the last one restores.

    real: a private duplicate of the stdout of the process meanwhile, None where it is closed.
    """

    def __init__(self) -> None:
        self.lock, self.holders = Lock(), 0
        self.real: int | None = None

    def hold(self) -> None:
        with self.lock:
            if not self.holders:
                self.real = _diverted()
            self.holders += 1

    def release(self) -> None:
        with self.lock:
            self.holders -= 1
            if not self.holders and self.real is not None:
                _flush_foreign()
                os.dup2(self.real, _OUT)
                os.close(self.real)
                self.real = None


_GUARD = _Guard()


def divert() -> None:
    """From here to the end of the process, what anybody prints on file descriptor 1 goes to stderr."""
    _GUARD.hold()


@contextmanager
def diverted() -> Iterator[None]:
    """Meanwhile, what anybody prints on file descriptor 1 goes to stderr, for all threads; for short foreign calls.

    Redirecting Python's `sys.stdout` would not do: extensions print through C, whose buffer is emptied on both sides.
    """
    _GUARD.hold()
    try:
        yield
    finally:
        _GUARD.release()


def real_stdout() -> int | None:
    """The file descriptor of the stdout of the process, wherever it is just now; None where it is closed."""
    with _GUARD.lock:
        if _GUARD.holders:
            return _GUARD.real
    return _OUT if _is_open(_OUT) else None


def open_missing() -> None:
    """Open the null device for closed standard streams, so that no file gets their numbers and with them what is said.

    Where `sys.stderr` is missing, Python's print would fall back on stdout.
    """
    for number in (0, _OUT, _ERR):
        if not _is_open(number):
            # The lowest free number is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")


class Results:
    """Where the command line's results go.

    failure: why something could not be printed, after which nothing is printed any more.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.failure: Exception | None = None

    def say(self, text: str) -> None:
        """Print a text and an end of line, and leave nothing in a buffer."""
        if self.failure is not None:
            return
        try:
            if self._stream is None:
                raise OSError("it is closed")
            self._stream.write(f"{text}\n")
            self._stream.flush()
        # Streams closed by somebody else raise ValueError.
        except (OSError, ValueError) as error:
            self.failure = error


@contextmanager
def results_alone() -> Iterator[Results]:
    """The stdout of the process for results, while it is stderr to everybody else.

    What replaces `sys.stdout`, as in tests and notebooks, is taken as it is.
    """
    given = sys.stdout
    open_missing()
    with diverted():
        real = real_stdout() if _number(given) == _OUT else None
        # Text that the encoding of stdout lacks is written in escapes rather than not at all.
        own = None if real is None else open(os.dup(real), "w", encoding=given.encoding, errors="backslashreplace")
        sys.stdout = sys.stderr
        try:
            yield Results(given if own is None else own)
        finally:
            sys.stdout = given
            if own is not None:
                with suppress(OSError):
                    own.close()


def tell(text: str) -> None:
    """Write on stderr, where that still takes it: a closed terminal or a full disk are no reason to fail."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def complain(text: str) -> None:
    """One paragraph on stderr about what went wrong."""
    tell(f"admm-verify: {text}\n")


def _diverted() -> int | None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    if not _is_open(_OUT):
        return None
    _flush_foreign()
    real = os.dup(_OUT)
    target = os.dup(_ERR) if _is_open(_ERR) else os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, _OUT)
    os.close(target)
    return real


def _flush_foreign() -> None:
    """Empty the buffer of C's stdout; only that one, as flushing all would wait for a thread that reads stdin."""
    if os.name != "posix":
        return
    library = ctypes.CDLL(None)
    # glibc and musl, then macOS.
    for name in ("stdout", "__stdoutp"):
        with suppress(ValueError):
            library.fflush(ctypes.c_void_p.in_dll(library, name))
            return


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _number(stream: TextIO | None) -> int | None:
    # Streams of notebooks and tests have no file descriptor.
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
