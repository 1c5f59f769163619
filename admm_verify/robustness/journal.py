"""A file of finished instances, one JSON line each, so that a killed run goes on where it was."""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admm_verify.errors import InputError, OutputError
from admm_verify.files import locked, reason, write_all
from admm_verify.robustness.instances import Instances
from admm_verify.verdict import Answer

FORMAT = "admm_verify certify 3"


@dataclass(frozen=True)
class Finished:
    """One instance: image number, radius, what was found, and its certified margin (-inf for none)."""

    image: int
    radius: float
    answer: Answer
    lower: float


class Journal:
    """The file of one task: a header line that names the task, then a line per finished instance.

    Several processes may write to one: each holds its lock while it reads or adds lines, so none are lost. A last line
    without its end, as a killed run leaves it, counts for nothing and is removed.
    Raises: InputError where the file cannot be read or written, holds another task, or is damaged.
    """

    def __init__(self, path: str | Path, task: dict[str, Any], instances: Instances) -> None:
        self.path = Path(path)
        # What a link points to; another process may have another idea of the folder.
        self._file = Path(os.path.realpath(path))
        self._instances = instances
        self._header = f"{json.dumps(task)}\n".encode()
        try:
            with locked(self._file) as handle:
                with os.fdopen(handle, "rb", closefd=False) as file:
                    content = file.read()
                complete = content[: content.rfind(b"\n") + 1]
                if not complete and not self._header.startswith(content):
                    raise InputError(f"{self.path} is no record of finished instances. Give another file.")
                lines = complete.decode("utf-8", errors="replace").split("\n")[:-1]
                if lines:
                    self._check_header(lines[0], task)
                    self._header = complete[: complete.index(b"\n") + 1]
                self.found = [self._finished(number, line) for number, line in enumerate(lines[1:], start=2)]
                if complete != content or not content:
                    self._add(handle, len(complete), b"")
        except OSError as error:
            raise InputError(f"The file {self.path} cannot be read and written: {reason(error)}.") from error

    def append(self, finished: Iterable[Finished], seconds: float) -> None:
        """Write the lines of some instances, which took so long each: all of them, or none.

        Raises: OutputError where they cannot be written.
        """
        lines = [
            json.dumps(
                {
                    "image": one.image,
                    "radius": one.radius,
                    "label": int(self._instances.labels[one.image]),
                    "status": one.answer.value,
                    "lower": one.lower if math.isfinite(one.lower) else None,
                    "seconds": float(f"{seconds:.3g}"),
                }
            )
            for one in finished
        ]
        try:
            with locked(self._file) as handle:
                found = os.read(handle, len(self._header))
                if found not in (b"", self._header):
                    # Lines of one task must never count for another one.
                    raise OutputError(f"{self.path} was replaced meanwhile and holds another task. Give another file.")
                self._add(handle, os.lseek(handle, 0, os.SEEK_END), "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            raise OutputError(f"The file {self.path} cannot be written: {reason(error)}.") from error

    def _add(self, handle: int, end: int, lines: bytes) -> None:
        """Write at the end of a locked file, which stays as it is where that fails; new files get their header."""
        try:
            os.ftruncate(handle, end)
            os.lseek(handle, end, os.SEEK_SET)
            write_all(handle, lines if end else self._header + lines)
        except OSError:
            os.ftruncate(handle, end)
            if not end:
                self._file.unlink(missing_ok=True)
            raise

    def _check_header(self, line: str, task: dict[str, Any]) -> None:
        found = _object(line)
        if found.get("format") != FORMAT:
            raise InputError(f"{self.path} is no record of finished instances. Give another file.")
        # Numbers come back from JSON as they went in, tuples as lists.
        wanted = json.loads(json.dumps(task))
        different = [
            f"{key} is {_short(found.get(key))} there and {_short(wanted.get(key))} here"
            for key in dict.fromkeys([*wanted, *found])
            if found.get(key) != wanted.get(key)
        ]
        if different:
            raise InputError(
                f"{self.path} holds results of another task: {'; '.join(different)}. Give another file, or delete it."
            )

    def _finished(self, number: int, line: str) -> Finished:
        given, content = self._instances, _object(line)
        image, radius, lower = (content.get(key) for key in ("image", "radius", "lower"))
        margin = -math.inf if lower is None else lower
        answers = {answer.value: answer for answer in Answer if answer is not Answer.TIMED_OUT}
        answer = answers.get(str(content.get("status")))
        # JSON's true is no number, and a bool is an int to Python.
        if (
            type(image) is not int
            or not 0 <= image < len(given.images)
            or type(radius) is not float
            or radius not in given.radii.tolist()
            or content.get("label") != given.labels[image]
            or answer is None
            or type(margin) is not float
            or not (lower is None or math.isfinite(margin))
            or (answer is Answer.VERIFIED) != (margin > 0)
        ):
            raise InputError(f"Line {number} of {self.path} is damaged: {_short(line)}. Delete the line or the file.")
        return Finished(image, radius, answer, margin)


def _object(line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
