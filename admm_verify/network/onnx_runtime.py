"""Replaying an input with onnxruntime, where it is installed: the network as others deploy it.

onnxruntime runs in a process of its own, because some models make it crash or hang, or print on stdout. The process
serves one caller at a time, is kept for the next one, and ends with this process.
"""

import atexit
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from signal import Signals

import numpy as np

from admm_verify.errors import ReplayError, is_installed
from admm_verify.network.onnx_process import ERROR, FORGET, HEADER, MISSING, MODEL, NOT_IMPLEMENTED
from admm_verify.run import Run

_PROGRAM = Path(__file__).with_name("onnx_process.py")

_POLL = 0.05
"""Seconds between two questions whether to stop."""

_GRACE = 0.5
"""Seconds that an answer may still take once the time is up."""


def runtime_output(model: bytes, x: np.ndarray, run: Run | None = None) -> np.ndarray | None:
    """The flat output of an ONNX model at a flat input of its element type, as onnxruntime computes it.

    None where onnxruntime is not installed or lacks one of the model's operators in its type.

    Raises: ReplayError when onnxruntime cannot run the model, crashes, or has no answer once the run is over.
    """
    if not is_installed("onnxruntime"):
        return None
    try:
        kind, data = _asked(model, x, run)
    except _EndedError:
        # What is kept may have been ended from outside; a model that makes onnxruntime crash does so again.
        try:
            kind, data = _asked(model, x, run)
        except _EndedError as error:
            raise ReplayError(f"onnxruntime crashes on the model: its process {error}. {_UNCONFIRMED}") from None
    if kind in (MISSING, NOT_IMPLEMENTED):
        return None
    if kind == ERROR:
        reason = " ".join(data.decode(errors="replace").split())
        raise ReplayError(f"onnxruntime cannot run the model: {reason}. {_UNCONFIRMED}")
    return np.frombuffer(data, dtype=kind.decode())


_UNCONFIRMED = "A counterexample was found, but it cannot be confirmed."


def start_runtime() -> None:
    """Begin to load onnxruntime, where it is installed, so that the first replay need not wait for it."""
    if _idle or not is_installed("onnxruntime"):
        return
    try:
        _keep(_Process())
    except ReplayError:
        # The first replay will say so.
        return


def forget_models() -> None:
    """Free the memory of models that were run; the process stays for the next ones."""
    process = _taken()
    if process is not None:
        process.forget()
        _keep(process)


class _EndedError(Exception):
    """The process ended before it answered."""


class _Process:
    """A process that runs models, and the connection to it."""

    def __init__(self) -> None:
        self._model: bytes | None = None
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_POLL)
        # It finds the packages that this process finds, and hears of Ctrl-C only through this process.
        paths = os.pathsep.join(path for path in sys.path if path)
        with theirs:
            number = theirs.fileno()
            arguments = [sys.executable, "-P", "-W", "ignore", str(_PROGRAM), str(number), str(os.getpid())]
            try:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(number,),
                    process_group=0,
                    env={**os.environ, "PYTHONPATH": paths},
                )
            except OSError as error:
                self._socket.close()
                raise ReplayError(f"A process for onnxruntime cannot be started: {error}. {_UNCONFIRMED}") from error

    def ask(self, model: bytes, x: np.ndarray, run: Run | None) -> tuple[bytes, bytes]:
        """Kind and bytes of the answer."""
        patience = _Patience(run)
        try:
            if self._model is not model:
                self._send(MODEL, model, patience)
                self._model = model
            self._send(x.dtype.char.encode(), x.tobytes(), patience)
            kind, size = HEADER.unpack(self._receive(HEADER.size, patience))
            return kind, self._receive(size, patience)
        except (EOFError, ConnectionError):
            raise _EndedError(self._end()) from None

    def forget(self) -> None:
        """Let the process forget its model."""
        if self._model is None:
            return
        self._model = None
        try:
            self._socket.sendall(HEADER.pack(FORGET, 0))
        except OSError:
            # It has ended, which the next one to ask will notice.
            return

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def abandon(self) -> None:
        """Leave the process to its owner, from which this process was forked."""
        self._socket.close()
        self._process.returncode = 0

    def _end(self) -> str:
        """How the process ended."""
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        finally:
            self.close()
        return f"was ended by {Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _send(self, kind: bytes, data: bytes, patience: "_Patience") -> None:
        for part in (HEADER.pack(kind, len(data)), data):
            left = memoryview(part)
            while left:
                try:
                    left = left[self._socket.send(left) :]
                except TimeoutError:
                    patience.check()

    def _receive(self, size: int, patience: "_Patience") -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                part = self._socket.recv(min(size - len(data), 2**20))
            except TimeoutError:
                patience.check()
                continue
            if not part:
                raise EOFError
            data += part
        return bytes(data)


class _Patience:
    """Waiting until the run is over, and a moment longer."""

    def __init__(self, run: Run | None) -> None:
        self._run, self._end = run, np.inf

    def check(self) -> None:
        """Raise ReplayError once the time is up."""
        if self._end == np.inf and self._run is not None and self._run.over():
            self._end = time.monotonic() + _GRACE
        if time.monotonic() >= self._end:
            raise ReplayError(f"onnxruntime had not run the model when it was time to stop. {_UNCONFIRMED}")


_idle: list[_Process] = []
"""Processes that nobody uses: at most one is kept."""


def _asked(model: bytes, x: np.ndarray, run: Run | None) -> tuple[bytes, bytes]:
    process = _taken() or _Process()
    try:
        answer = process.ask(model, x, run)
    except BaseException:
        # It may be in the middle of anything.
        process.close()
        raise
    _keep(process)
    return answer


def _keep(process: _Process) -> None:
    _idle.append(process)
    _close_idle(beyond=1)


def _taken() -> _Process | None:
    """An idle process, None where there is none or another thread was faster."""
    try:
        return _idle.pop()
    except IndexError:
        return None


def _close_idle(beyond: int = 0) -> None:
    while len(_idle) > beyond:
        process = _taken()
        if process is not None:
            process.close()


def _abandon_all() -> None:
    while _idle:
        _idle.pop().abandon()


atexit.register(_close_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
