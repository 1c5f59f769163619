"""Every instance in a process of its own, as the competition and users run the tool."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from experiments.vnncomp.answer import ERROR, KILLED, Attempt, Settings, Spent, answer_files, arguments, read_attempt
from experiments.vnncomp.instances import Instance

_TIMED = Path(__file__).with_name("timed.py")
_POLL = 0.1


class FreshProcesses:
    """Runs `python -m admm_verify verify` for one instance at a time; several threads may use one object.

    tree: a checkout whose admm_verify is run in place of the one that this interpreter finds.
    """

    def __init__(self, settings: Settings, tree: Path | None = None) -> None:
        self.settings = settings
        self.tree = tree
        self.environment = None if tree is None else os.environ | {"PYTHONPATH": str(tree)}
        self.stopped = threading.Event()

    def run(self, instance: Instance) -> Attempt | None:
        """The attempt, or None where `stop` came first."""
        files = answer_files(instance, self.settings)
        limit = instance.timeout + self.settings.grace
        # Neither -S nor -I for the command itself: it must find what this interpreter finds.
        start = [sys.executable, "-I", "-S", str(_TIMED), repr(limit), str(files.out), str(files.log)]
        command = [*start, sys.executable, "-m", "admm_verify", *arguments(instance, self.settings)]
        if self.stopped.is_set():
            return None
        # A session of its own, so that Ctrl-C reaches the runner only, which then ends its children in order.
        # The folder too is the tree's: -m looks there before PYTHONPATH.
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=self.environment,
            cwd=self.tree,
        ) as process:
            said = None
            while said is None:
                try:
                    said, _ = process.communicate(timeout=_POLL)
                except subprocess.TimeoutExpired:
                    if self.stopped.is_set():
                        process.terminate()
        if self.stopped.is_set():
            return None
        return self._attempt(instance, said, process.returncode)

    def stop(self) -> None:
        """End what is running; their attempts become None."""
        self.stopped.set()

    def close(self) -> None:
        """Nothing is left: each process ends with its instance."""

    def _attempt(self, instance: Instance, said: str, status: int) -> Attempt:
        if status != 0 or not said:
            return Attempt(ERROR, Spent(0.0), f"the timing process ended with status {status}")
        found = json.loads(said)
        spent = Spent(found["seconds"], found["cpu_seconds"], found["peak_mb"])
        if found["killed"]:
            limit = instance.timeout + self.settings.grace
            return Attempt(KILLED, spent, f"still running after {limit:g} s")
        files = answer_files(instance, self.settings)
        return read_attempt(files, found["status"], spent)
