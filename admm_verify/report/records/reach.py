"""What `reach` tells."""

from dataclasses import dataclass

import numpy as np

from admm_verify.reach.front import ReachReport
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.sets import ReachSets
from admm_verify.reach.systems import Task
from admm_verify.report.records.record import Record
from admm_verify.run import Ended
from admm_verify.text_tables import table
from admm_verify.verdict import Answer

_ROWS = 24
"""Steps in the table, spread over longer horizons."""

States = list[list[float]]
"""Of every step, [steps + 1, ..]."""


@dataclass(frozen=True)
class CellsEntry:
    """The parts of the initial set, and the bounds over each."""

    lower: list[list[float]]
    upper: list[list[float]]
    bound: list[States]


@dataclass(frozen=True)
class RequirementEntry:
    """A requirement: what was found out about it, why no more, and a trajectory that violates it."""

    text: str
    verdict: Answer
    reason: str
    seconds: float
    parts: int
    remarks: list[str]
    trajectory: States | None

    @classmethod
    def of(cls, found: Judgement) -> "RequirementEntry":
        """The entry of a judgement."""
        path = None if found.trajectory is None else found.trajectory.tolist()
        about, words = found.requirement.text, (found.outcome, found.reason)
        return cls(about, *words, found.seconds, found.parts, list(found.remarks), path)


@dataclass(frozen=True)
class ReachRecord(Record):
    """Bounds of d'x for every step and direction d, what simulations attain, and verdicts.

    during: bounds over whole control periods, for systems in continuous time.
    """

    SCHEMA = "admm_verify/reach"

    system: str
    steps: int
    period: float
    directions: list[list[float]]
    upper: States
    attained: States
    during: States | None
    cells: CellsEntry
    ended: Ended
    seconds: float
    remarks: list[str]
    requirements: list[RequirementEntry]

    @classmethod
    def of(cls, task: Task, report: ReachReport) -> "ReachRecord":
        """The record of a task's sets and verdicts."""
        sets = report.sets
        return cls(
            _text(task, report),
            task.name,
            sets.steps,
            sets.period,
            sets.directions.tolist(),
            sets.upper.tolist(),
            sets.inner.tolist(),
            None if sets.during is None else sets.during.tolist(),
            CellsEntry(sets.cells_lower.tolist(), sets.cells_upper.tolist(), sets.cells_bound.tolist()),
            sets.ended,
            sets.seconds,
            list(task.remarks),
            [RequirementEntry.of(judgement) for judgement in report.judgements],
        )


def _text(task: Task, report: ReachReport) -> str:
    sets = report.sets
    lines = [
        f"{task.name}: {sets.steps} steps, {len(sets.cells_lower)} cells, {sets.ended.value}, {sets.seconds:.2f} s",
        table(["time", *task.names, "width / sampled"], _boxes(sets)),
    ]
    if sets.valid_steps < sets.steps:
        stopped = sets.ended in (Ended.TIMED_OUT, Ended.STOPPED)
        what = f"There are no bounds after step {sets.valid_steps}: {sets.ended.value}."
        what = what if stopped else f"The sets are too loose after step {sets.valid_steps}."
        # Where there are verdicts, these may say it.
        told = any(sets.ending == judgement.reason for judgement in report.judgements)
        lines.append(what if told or not sets.ending else f"{what} {sets.ending}")
    for judgement in report.judgements:
        lines.append(judgement.text)
        if judgement.reason:
            lines.append(f"  {judgement.reason}")
        if judgement.trajectory is not None:
            first = ", ".join(f"{value:.9g}" for value in judgement.trajectory[0])
            lines.append(f"  violated from ({first})")
    # Where there are verdicts, these say it.
    return "\n".join([*lines, *([] if report.judgements else task.remarks)])


def _boxes(sets: ReachSets) -> list[list[str]]:
    """The box after some steps, and how wide it is beside the simulated states."""
    shown = np.unique(np.linspace(0, sets.steps, min(sets.steps + 1, _ROWS)).round().astype(int))
    low, high = sets.sampled_box
    rows = []
    for t in shown:
        outer = sets.box(int(t))
        cells = [f"[{a:.5g}, {b:.5g}]" for a, b in zip(*outer, strict=True)]
        with np.errstate(divide="ignore", invalid="ignore"):
            width, inner = outer[1] - outer[0], high[t] - low[t]
            ratio = np.where(inner > 0, width / inner, 1.0).max()
        rows.append([f"{t * sets.period:.6g}", *cells, f"{ratio:.3g}"])
    return rows
