"""What `admm-verify verify` said: its arguments, its output read back, one attempt at an instance."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from experiments.vnncomp.instances import Instance

DECIDED = ("sat", "unsat")
ANSWERS = (*DECIDED, "unknown", "timed-out")
ERROR, KILLED = "error", "killed"

_HEADER = re.compile(r"\S+ \S+ \[[\d,]*\]")
_NAME_LENGTH = 120


@dataclass(frozen=True)
class Spent:
    """What a run took. seconds: wall time of the whole process, or of the request to a persistent one; cpu_seconds: of
    all processors, with the children it waited for; peak_mb: MiB. The last two are None where unknown.
    """

    seconds: float
    cpu_seconds: float | None = None
    peak_mb: float | None = None


@dataclass(frozen=True, eq=False)
class Attempt:
    """One run; verdict: a word of ANSWERS, "error" with its reason, or "killed".

    witness: with sat, the values of the input exactly as printed.
    """

    verdict: str
    spent: Spent
    reason: str = ""
    witness: tuple[Fraction, ...] | None = None


@dataclass(frozen=True)
class Settings:
    """How instances are run; answers: folder for what `verify` prints; memory in GiB; grace: seconds between the
    timeout and the hard kill.
    """

    answers: Path
    memory: float | None = None
    grace: float = 10.0


@dataclass(frozen=True)
class AnswerFiles:
    """Where stdout and stderr of one instance go."""

    out: Path
    log: Path


def answer_files(instance: Instance, settings: Settings) -> AnswerFiles:
    """Files named after the instance, without the characters that file systems refuse."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", instance.id)[-_NAME_LENGTH:]
    # The digest keeps "a/b" and "a_b" apart.
    name = f"{readable}-{hashlib.sha256(instance.id.encode()).hexdigest()[:8]}"
    return AnswerFiles(settings.answers / f"{name}.txt", settings.answers / f"{name}.log")


def arguments(instance: Instance, settings: Settings) -> list[str]:
    """The command line after `admm-verify`."""
    given = ["verify", str(instance.query), "--timeout", repr(instance.timeout), "--quiet"]
    for name, file in instance.networks:
        given += ["--network", f"{name}={file}" if name else str(file)]
    if settings.memory is not None:
        given += ["--memory", repr(settings.memory)]
    return given


def read_attempt(files: AnswerFiles, status: int, spent: Spent) -> Attempt:
    """The attempt behind an exit status (-n: ended by signal n) and what was printed."""
    lines = files.out.read_text(encoding="utf-8", errors="replace").splitlines()
    if status != 0:
        said = files.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        default = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
        return Attempt(ERROR, spent, said[-1] if said else default)
    if not lines or lines[0] not in ANSWERS:
        return Attempt(ERROR, spent, f"the first line is no verdict: {lines[0] if lines else ''!r}")
    witness = _first_variable(lines[1:]) if lines[0] == "sat" else None
    return Attempt(lines[0], spent, witness=witness)


def _first_variable(lines: Sequence[str]) -> tuple[Fraction, ...] | None:
    """The values after the first header NAME TYPE [dims], which is the input's; None where they are no numbers."""
    values: list[Fraction] = []
    for number, line in enumerate(lines):
        if _HEADER.fullmatch(line):
            if number:
                break
            continue
        try:
            values.append(Fraction(line))
        except (ValueError, ZeroDivisionError):
            return None
    return tuple(values) or None
