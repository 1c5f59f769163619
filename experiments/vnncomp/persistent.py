"""All instances in one worker process that imports once; a worker that dies costs one instance and is replaced."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.vnncomp.answer import ERROR, KILLED, Attempt, Settings, Spent, answer_files, arguments, read_attempt
from experiments.vnncomp.instances import Instance

_ROOT = Path(__file__).resolve().parents[2]
_START_LIMIT = 120.0
_LAST_WORDS = 2.0
"""Seconds for a worker that closed its pipe to end by itself, so that its exit status is its own."""

_CHUNK = 65536


class PersistentWorker:
    """Runs one instance after the other in a worker process, started at the first one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False

    def run(self, instance: Instance) -> Attempt | None:
        """The attempt, or None where `stop` came first; its seconds leave out the start of a worker."""
        attempt = None if self.stopped else self._attempt(instance)
        return None if self.stopped else attempt

    def stop(self) -> None:
        """End the worker; the thread that waits for it meets the end of its pipe."""
        self.stopped = True
        process = self.process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the worker and release its pipes."""
        self._end()

    def _attempt(self, instance: Instance) -> Attempt:
        process = self._started()
        if process is None:
            return Attempt(ERROR, Spent(0.0), "the worker process did not start")
        files = answer_files(instance, self.settings)
        request = {"arguments": arguments(instance, self.settings), "out": str(files.out), "log": str(files.log)}
        for file in (files.out, files.log):
            file.write_bytes(b"")
        began = time.monotonic()
        limit = instance.timeout + self.settings.grace
        try:
            _send(process, request)
            answer = _reply(process, began + limit)
        except (EOFError, BrokenPipeError):
            seconds = time.monotonic() - began
            return Attempt(ERROR, Spent(seconds), f"the worker process died: {_how(self._end(_LAST_WORDS))}")
        seconds = time.monotonic() - began
        if answer is None:
            self._end()
            return Attempt(KILLED, Spent(seconds), f"still running after {limit:g} s")
        spent = Spent(seconds, answer["cpu_seconds"], answer["peak_mb"])
        return read_attempt(files, int(answer["status"]), spent)

    def _started(self) -> subprocess.Popen[bytes] | None:
        if self.process is not None:
            return self.process
        command = [sys.executable, "-m", "experiments.vnncomp.worker"]
        pipe = subprocess.PIPE
        # A session of its own, so that Ctrl-C reaches the runner only, which then ends its worker.
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=_ROOT, bufsize=0, start_new_session=True)
        try:
            ready = _reply(self.process, time.monotonic() + _START_LIMIT)
        except EOFError:
            ready = None
        if ready is None:
            self._end()
        return self.process

    def _end(self, patience: float = 0.0) -> int:
        """End the worker, by force after some seconds; its exit status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        with process:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                # Not reaped yet, so the number is still the worker's; its group holds what it started.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return process.returncode


def _send(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")


def _reply(process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any] | None:
    """The next line of the worker, or None at the deadline.

    Raises: EOFError when the worker's end of the pipe closes.
    """
    assert process.stdout is not None
    data = b""
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(process.stdout.fileno(), _CHUNK)
        if not chunk:
            raise EOFError
        data += chunk
    return json.loads(data)


def _how(status: int) -> str:
    return f"signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"exit status {status}"
