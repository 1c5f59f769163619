"""A file of finished instances, one JSON line each, so that a killed run goes on where it was."""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from admm_verify.errors import InputError, OutputError
from admm_verify.files import locked, reason, write_all
from admm_verify.robustness.instances import Instances
from admm_verify.schemas import json_text
from admm_verify.sets.norm_names import NormName
from admm_verify.verdict import Answer

_KIND = "admm_verify certify"

Format = Literal["admm_verify certify 4"]
"""The version counts changes of what lines say."""

FORMAT: Format = "admm_verify certify 4"

_NO_RECORD = "no record of finished instances"

_BEFORE = {"norm": "linf"}
"""What headers meant before they said it."""

_ANSWERS = {answer.value: answer for answer in Answer if answer is not Answer.TIMED_OUT}


@dataclass(frozen=True)
class JournalHeader:
    """The first line: what makes two runs the same task.

    network, images: SHA-256 of what they are made of, whatever file they come from. radii: the largest amount of each;
    where channels have their own, these are part of the images' digest, as is within where it says "per pixel". norm:
    a header without one is of "linf".
    """

    format: Format
    network: str
    images: str
    norm: NormName
    radii: list[float]
    within: list[float] | Literal["per pixel"] | None
    arithmetic: str
    bounds: str
    method: str
    max_passes: int | None


@dataclass(frozen=True)
class JournalLine:
    """Every other line: an instance and its answer.

    lower: its certified margin, "-inf" for none. seconds: that it took. searched: those that branch and bound was given
    in vain; 0.0 without. prediction, counterexample: of what is falsified the class and the input, flat, else null.
    """

    image: int
    radius: float
    label: int
    status: Literal["verified", "falsified", "unknown"]
    lower: float
    seconds: float
    searched: float
    prediction: int | None
    counterexample: list[float] | None


@dataclass(frozen=True)
class Finished:
    """One instance: image number, radius, what was found, its certified margin (-inf for none), and how long that took.

    Shapes: counterexample [inputs] in the network's element type.
    """

    image: int
    radius: float
    answer: Answer
    lower: float
    searched: float = 0.0
    seconds: float = field(default=0.0, compare=False)
    prediction: int | None = None
    counterexample: np.ndarray | None = None


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
        self._header = f"{json_text(task)}\n".encode()
        try:
            with locked(self._file) as handle:
                with os.fdopen(handle, "rb", closefd=False) as file:
                    content = file.read()
                complete = content[: content.rfind(b"\n") + 1]
                if not complete and not self._header.startswith(content):
                    raise InputError(f"{self.path} is {_NO_RECORD}. Give another file.")
                lines = complete.decode("utf-8", errors="replace").split("\n")[:-1]
                if lines:
                    self._check_header(lines[0], task)
                    self._header = complete[: complete.index(b"\n") + 1]
                self.found = [self._finished(number, line) for number, line in enumerate(lines[1:], start=2)]
                if complete != content or not content:
                    self._add(handle, len(complete), b"")
        except OSError as error:
            raise InputError(f"The file {self.path} cannot be read and written: {reason(error)}.") from error

    def append(self, finished: Iterable[Finished]) -> None:
        """Write the lines of some instances: all of them, or none.

        Raises: OutputError where they cannot be written.
        """
        lines = "".join(f"{json_text(self._line(one))}\n" for one in finished).encode()
        try:
            with locked(self._file) as handle:
                found = os.read(handle, len(self._header))
                if found not in (b"", self._header):
                    # Lines of one task must never count for another one.
                    raise OutputError(f"{self.path} was replaced meanwhile and holds another task. Give another file.")
                self._add(handle, os.lseek(handle, 0, os.SEEK_END), lines)
        except OSError as error:
            raise OutputError(f"The file {self.path} cannot be written: {reason(error)}.") from error

    def _line(self, one: Finished) -> JournalLine:
        return JournalLine(
            one.image,
            one.radius,
            int(self._instances.labels[one.image]),
            one.answer.value,
            one.lower,
            float(f"{one.seconds:.3g}"),
            one.searched,
            one.prediction,
            None if one.counterexample is None else one.counterexample.reshape(-1).tolist(),
        )

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
        found = _BEFORE | _object(line)
        kind = str(found.get("format"))
        if kind != FORMAT:
            other = f"a record of another version, {kind}; this one reads {FORMAT}" if kind.startswith(_KIND) else ""
            raise InputError(f"{self.path} is {other or _NO_RECORD}. Give another file.")
        # Numbers come back from JSON as they went in, tuples as lists.
        wanted = _BEFORE | json.loads(json_text(task))
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
        image: Any = content.get("image")
        radius: Any = content.get("radius")
        searched: Any = content.get("searched")
        margin: Any = -math.inf if content.get("lower") == "-inf" else content.get("lower")
        answer = _ANSWERS.get(str(content.get("status")))
        # JSON's true is no number, and a bool is an int to Python.
        if (
            type(image) is not int
            or not 0 <= image < len(given.images)
            or type(radius) is not float
            or radius not in given.radii.tolist()
            or content.get("label") != given.labels[image]
            or answer is None
            or not _is_number(searched, least=0.0)
            or not (margin == -math.inf or _is_number(margin))
            or (margin < 0 if answer is Answer.VERIFIED else margin > 0)
        ):
            raise self._damaged(number, line)
        if answer is not Answer.FALSIFIED:
            return Finished(image, radius, answer, margin, searched)
        point = self._point(content.get("counterexample"))
        if point is None or not given.near.holds(image, radius, point):
            raise self._damaged(number, line)
        return Finished(image, radius, answer, margin, searched, counterexample=point)

    def _point(self, given: Any) -> np.ndarray | None:
        """An input in the element type that its numbers say exactly."""
        images = self._instances.images
        if type(given) is not list or len(given) != images.shape[1] or set(map(type, given)) != {float}:
            return None
        exact = np.array(given)
        with np.errstate(over="ignore"):
            point = exact.astype(images.dtype)
        return point if np.array_equal(point.astype(np.float64), exact) else None

    def _damaged(self, number: int, line: str) -> InputError:
        return InputError(f"Line {number} of {self.path} is damaged: {_short(line)}. Delete the line or the file.")


def _is_number(value: Any, least: float = -math.inf) -> bool:
    return type(value) is float and math.isfinite(value) and value >= least


def _object(line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
