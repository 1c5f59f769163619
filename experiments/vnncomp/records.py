"""What came of an instance, as rows of results.csv and summed up per category."""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import admm_verify as av
from experiments.vnncomp.answer import DECIDED, ERROR, KILLED, Attempt
from experiments.vnncomp.instances import Instance
from experiments.vnncomp.replay import CONFIRMED, FAILED, REFUTED

OUTCOMES = ("decided", "unknown", "wrong", "error")


@dataclass(frozen=True)
class Record:
    """One row. seconds: wall time; cpu_seconds: of all processors; overrun: what of the wall lies beyond the timeout;
    peak_mb: in MiB; None where unknown; replay: "confirmed", "refuted", "failed", or "" without a counterexample;
    reason: why it is no plain answer.
    """

    id: str
    category: str
    truth: str
    verdict: str
    seconds: float
    cpu_seconds: float | None
    overrun: float
    peak_mb: float | None
    replay: str
    outcome: str
    timeout: float
    reason: str

    @property
    def charged(self) -> float:
        """The wall time, or the whole timeout where nothing correct was decided."""
        return self.seconds if self.outcome == "decided" else self.timeout


COLUMNS = tuple(field.name for field in fields(Record))


def judged(instance: Instance, attempt: Attempt, replayed: str, reason: str) -> Record:
    """The record of an attempt whose counterexample, if there is one, was replayed."""
    outcome, why = _outcome(instance.truth, attempt, replayed, reason)
    spent = attempt.spent
    return Record(
        id=instance.id,
        category=instance.category,
        truth=instance.truth,
        verdict=attempt.verdict,
        seconds=round(spent.seconds, 4),
        cpu_seconds=None if spent.cpu_seconds is None else round(spent.cpu_seconds, 3),
        overrun=round(max(0.0, spent.seconds - instance.timeout), 4),
        peak_mb=None if spent.peak_mb is None else round(spent.peak_mb, 1),
        replay=replayed,
        outcome=outcome,
        timeout=instance.timeout,
        reason=" ".join(why.split()),
    )


def _outcome(truth: str, attempt: Attempt, replayed: str, reason: str) -> tuple[str, str]:
    """A refuted counterexample is wrong whatever the truth; a killed run is an error, since it ignored its timeout."""
    verdict = attempt.verdict
    if verdict in (ERROR, KILLED):
        return "error", attempt.reason
    if verdict not in DECIDED:
        return "unknown", ""
    if replayed == REFUTED:
        return "wrong", reason
    if truth in DECIDED and truth != verdict:
        return "wrong", f"the truth is {truth}" + (f"; counterexample {replayed}" if replayed else "")
    return ("error", reason) if replayed == FAILED else ("decided", "")


class ResultsFile:
    """results.csv, to which every record goes as soon as it is there."""

    def __init__(self, path: Path, kept: Sequence[Record]) -> None:
        self.path = path
        # Written anew and put in place at once: a run killed here must not lose what an earlier one found.
        fresh = path.with_suffix(".csv.new")
        with open(fresh, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *map(_cells, kept)])
        os.replace(fresh, path)

    def append(self, record: Record) -> None:
        """Add one row."""
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(_cells(record))


def read_results(path: Path) -> list[Record]:
    """The records of an earlier run, none where there is no file; a last row cut short by a kill is left out.

    Raises: InputError for a file of another format.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise av.InputError(
            f"{path} cannot be read: {error}. Choose another folder, or start without --resume."
        ) from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise av.InputError(
            f"{path} is no results file of this version. Choose another folder, or start without --resume."
        )
    records = []
    for number, row in enumerate(rows[1:], 2):
        try:
            records.append(_record(row))
        except ValueError as error:
            if number == len(rows):
                break
            raise av.InputError(f"{path}, row {number}: {error}. Start without --resume.") from error
    return records


def _cells(record: Record) -> list[str]:
    return ["" if value is None else str(value) for value in asdict(record).values()]


def _record(row: Sequence[str]) -> Record:
    cells = dict(zip(COLUMNS, row, strict=True))
    if cells["outcome"] not in OUTCOMES:
        raise ValueError(f"the outcome {cells['outcome']!r} is unknown")
    return Record(
        id=cells["id"],
        category=cells["category"],
        truth=cells["truth"],
        verdict=cells["verdict"],
        seconds=float(cells["seconds"]),
        cpu_seconds=float(cells["cpu_seconds"]) if cells["cpu_seconds"] else None,
        overrun=float(cells["overrun"]),
        peak_mb=float(cells["peak_mb"]) if cells["peak_mb"] else None,
        replay=cells["replay"],
        outcome=cells["outcome"],
        timeout=float(cells["timeout"]),
        reason=cells["reason"],
    )


@dataclass(frozen=True)
class Summary:
    """A category in numbers; counts of OUTCOMES, of answers and of replayed counterexamples that are confirmed.

    seconds: walls, where undecided counts as the timeout; cpu_seconds: as spent, nothing where it is unknown.
    """

    instances: int
    decided: int
    sat: int
    unsat: int
    unknown: int
    wrong: int
    error: int
    replayed: int
    seconds: float
    cpu_seconds: float
    largest_overrun: float
    largest_peak_mb: float


def summarised(records: Sequence[Record]) -> dict[str, Summary]:
    """Category by category, and in all."""
    found = {}
    for name in dict.fromkeys(record.category for record in records):
        found[name] = _summary([record for record in records if record.category == name])
    return found | {"all": _summary(records)}


def _summary(records: Sequence[Record]) -> Summary:
    outcomes = Counter(record.outcome for record in records)
    right = Counter(record.verdict for record in records if record.outcome == "decided")
    return Summary(
        instances=len(records),
        decided=outcomes["decided"],
        sat=right["sat"],
        unsat=right["unsat"],
        unknown=outcomes["unknown"],
        wrong=outcomes["wrong"],
        error=outcomes["error"],
        replayed=sum(record.replay == CONFIRMED for record in records),
        seconds=round(sum(record.charged for record in records), 3),
        cpu_seconds=round(sum(record.cpu_seconds or 0.0 for record in records), 3),
        largest_overrun=max((record.overrun for record in records), default=0.0),
        largest_peak_mb=max((record.peak_mb or 0.0 for record in records), default=0.0),
    )
