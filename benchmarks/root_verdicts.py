"""`verify` on every competition instance of the shared data set: verdicts against known truths, decided at the root.

    python -m benchmarks.root_verdicts [--timeout SECONDS] [--only TEXT] [--json FILE]

An instance that ends in an exception counts as an error and keeps its message.
"""

import argparse
import csv
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import admm_verify as av
from benchmarks.shares import RESULTS, environment, write_json
from problems.lp_instances import shared_folder

PREFIX = "vnncomp_"
DECIDED = ("sat", "unsat")
OUTCOMES = ("decided", "unknown", "wrong", "error")
ANSWERS = (*DECIDED, "timed-out")


@dataclass(frozen=True)
class Record:
    """What came of one instance; answer: a verdict, or "error" with the exception in `reason`."""

    id: str
    benchmark: str
    truth: str
    answer: str
    seconds: float
    overrun: float
    reason: str

    @property
    def outcome(self) -> str:
        """Decided, wrong, error, or unknown, which includes running out of time; an unknown truth is never wrong."""
        if self.answer not in DECIDED:
            return "error" if self.answer == "error" else "unknown"
        return "decided" if self.truth in (self.answer, "unknown") else "wrong"


def instances(folder: Path, only: str) -> list[dict[str, str]]:
    """The competition instances whose id contains a text."""
    with open(folder / "instances.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["category"].startswith(PREFIX) and only in row["id"]]
    if not rows:
        raise SystemExit(f"No instance has {only!r} in its id.")
    return rows


def run(row: dict[str, str], folder: Path, timeout: float) -> Record:
    """One instance within a timeout that reading its files counts into."""
    began, reason = time.monotonic(), ""
    try:
        query = av.read_query(folder / row["spec"], folder / row["model"])
        left = max(0.0, timeout - (time.monotonic() - began))
        answer = av.verify(query, timeout=left, settings=av.VerifySettings(max_subproblems=0)).verdict.value
    except Exception as error:  # one instance must not end the run
        answer, reason = "error", f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - began
    benchmark = row["category"].removeprefix(PREFIX)
    record = Record(row["id"], benchmark, row["truth"], answer, seconds, max(0.0, seconds - timeout), reason)
    print(f"{record.id:95} {record.truth:8}{answer:10}{seconds:8.2f} s  {reason[:80]}", flush=True)
    return record


def summarise(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """Counts of instances, outcomes and answers per benchmark and in all."""
    found = {}
    for name in [*dict.fromkeys(record.benchmark for record in records), "all"]:
        mine = [record for record in records if name in (record.benchmark, "all")]
        outcomes, answers = Counter(record.outcome for record in mine), Counter(record.answer for record in mine)
        counts = {outcome: outcomes[outcome] for outcome in OUTCOMES} | {answer: answers[answer] for answer in ANSWERS}
        found[name] = {"instances": len(mine)} | counts
    return found


def table(summary: dict[str, dict[str, int]]) -> str:
    """A line per benchmark."""
    lines = [f"{'benchmark':22}" + "".join(f"{name:>11}" for name in summary["all"])]
    lines += [f"{name:22}" + "".join(f"{count:11d}" for count in counts.values()) for name, counts in summary.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Verdicts of the competition instances against known truths.")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds per instance")
    parser.add_argument("--only", default="", help="instances whose id contains this text")
    parser.add_argument("--json", type=Path, default=RESULTS / "root_verdicts.json", help="where to write the results")
    options = parser.parse_args()
    folder = shared_folder() / "data"
    records = [run(row, folder, options.timeout) for row in instances(folder, options.only)]
    summary = summarise(records)
    report = {
        "environment": environment(),
        "timeout": options.timeout,
        "summary": summary,
        "wrong": [record.id for record in records if record.outcome == "wrong"],
        "seconds": sum(record.seconds for record in records),
        "instances": [asdict(record) | {"outcome": record.outcome} for record in records],
    }
    write_json(options.json, report)
    print(table(summary))
    print(f"largest overrun of the timeout: {max(record.overrun for record in records):.2f} s")


if __name__ == "__main__":
    main()
