"""The command `reach`: its options, its table and its files."""

import argparse
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from admm_verify.arguments import Read, Written, decimal, seconds_left, whole
from admm_verify.commands.running import add_running, memory_of, progress_line
from admm_verify.errors import InputError, MissingPackageError, is_installed
from admm_verify.files import every, reading_beside
from admm_verify.options import Range, count
from admm_verify.reach.directions import TEMPLATES
from admm_verify.report.text import write_json
from admm_verify.tables import table

if TYPE_CHECKING:
    from admm_verify.reach.front import ReachReport
    from admm_verify.reach.settings import ReachSettings
    from admm_verify.reach.systems import Task

HELP = "reachable sets of a network in feedback, verdicts and plots"

EXAMPLE = Path(__file__).parents[1] / "report" / "data" / "double_integrator.json"
"""The embedded system."""

_ROWS = 24
"""Steps in the table, spread over longer horizons."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `reach`."""
    parser.add_argument(
        "system",
        nargs="?",
        type=Read,
        metavar="SYSTEM.json",
        help="the system; without it, an embedded double integrator",
    )
    parser.add_argument("--steps", type=whole, metavar="N", help="horizon; default: the file's")
    parser.add_argument(
        "--method", choices=("crown", "tightened"), default="tightened", help="of pre-activation bounds"
    )
    parser.add_argument(
        "--directions", default="box", metavar="|".join((*TEMPLATES, "N")), help="in which sets are bounded"
    )
    parser.add_argument(
        "--partition",
        default="none",
        metavar="none|uniform:K|greedy:SHARE",
        help="cut the initial box into K cells per side, or halve cells until no bound exceeds sampled states by more "
        "than this share of their width, as 0.05",
    )
    parser.add_argument("--cells", type=whole, default=1024, metavar="N", help="most cells of the initial box")
    parser.add_argument("--window", type=whole, metavar="K", help="steps in one graph; default: all")
    parser.add_argument(
        "--plot", type=Written, metavar="FILE.png", help="the sets in the plane of the first two states"
    )
    parser.add_argument("--time-plot", type=Written, metavar="FILE.png", help="every state over time")
    parser.add_argument("--animation", type=Written, metavar="FILE.gif", help="the sets moving")
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Bound, judge, and write what was asked for; the table on stdout, progress on stderr."""
    stop = options.question()
    # Other commands answer sooner without these rooms.
    from admm_verify.reach.front import reach_sets
    from admm_verify.reach.spec import read_task
    from admm_verify.reach.systems import MOST_STEPS
    from admm_verify.report.picture_inputs import checked_path
    from admm_verify.report.pictures import FORMATS

    if (options.plot or options.time_plot or options.animation) and not is_installed("matplotlib"):
        raise MissingPackageError('Pictures need matplotlib: pip install "admm-verify[plot]".')
    for path, formats, what in (
        (options.plot, FORMATS, "plot"),
        (options.time_plot, FORMATS, "plot"),
        (options.animation, (".gif",), "animation"),
    ):
        if path:
            checked_path(path, formats, what)
    with reading_beside(options.written):
        task = read_task(options.system or EXAMPLE)
    if options.steps is not None:
        task = replace(task, steps=count(options.steps, "The option --steps", Range(1, most=MOST_STEPS)), sampled=None)
    settings, left = _settings(options, memory_of(options)), seconds_left(options)
    with progress_line(options) as show:
        report = reach_sets(task, _directions(options.directions), settings, left, show, stop)
    options.say(_text(task, report))
    every(_writers(options, task, report))
    return 0


def _settings(options: argparse.Namespace, memory: float | None) -> "ReachSettings":
    from admm_verify.reach.settings import ReachSettings

    way, _, number = options.partition.partition(":")
    grid, tolerance = 1, None
    try:
        if way == "uniform":
            grid = whole(number)
        elif way == "greedy":
            tolerance = decimal(number or "0.05")
        elif options.partition != "none":
            raise ArgumentTypeError
    except ArgumentTypeError:
        raise InputError(
            f"--partition is {options.partition!r}; give none, uniform:K with a count or greedy:SHARE with a number."
        ) from None
    return ReachSettings(
        method=options.method, grid=grid, tolerance=tolerance, cells=options.cells, window=options.window, memory=memory
    )


def _directions(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _text(task: "Task", report: "ReachReport") -> str:
    from admm_verify.run import Ended

    sets = report.sets
    lines = [
        f"{task.name}: {sets.steps} steps, {len(sets.cells_lower)} cells, {sets.ended.value}, {sets.seconds:.2f} s"
    ]
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
    lines.append(table(["time", *task.names, "width / sampled"], rows))
    if sets.valid_steps < sets.steps:
        stopped = sets.ended in (Ended.TIMED_OUT, Ended.STOPPED)
        what = f"There are no bounds after step {sets.valid_steps}: {sets.ended.value}."
        lines.append(what if stopped else f"The sets are too loose after step {sets.valid_steps}.")
    for judgement in report.judgements:
        lines.append(judgement.text)
        if judgement.trajectory is not None:
            first = ", ".join(f"{value:.9g}" for value in judgement.trajectory[0])
            lines.append(f"  violated from ({first})")
    # Where there are verdicts, these say it.
    lines += [] if report.judgements else task.remarks
    return "\n".join(lines)


def content(task: "Task", report: "ReachReport") -> dict[str, Any]:
    """The complete result."""
    sets = report.sets
    return {
        "system": task.name,
        "steps": sets.steps,
        "period": sets.period,
        "directions": sets.directions.tolist(),
        "upper": sets.upper.tolist(),
        "attained": sets.inner.tolist(),
        "during": None if sets.during is None else sets.during.tolist(),
        "cells": {
            "lower": sets.cells_lower.tolist(),
            "upper": sets.cells_upper.tolist(),
            "bound": sets.cells_bound.tolist(),
        },
        "ended": sets.ended.value,
        "seconds": sets.seconds,
        "remarks": list(task.remarks),
        "requirements": [
            {
                "text": judgement.requirement.text,
                "verdict": judgement.outcome.value,
                "seconds": judgement.seconds,
                "parts": judgement.parts,
                "remarks": list(judgement.remarks),
                "trajectory": None if judgement.trajectory is None else judgement.trajectory.tolist(),
            }
            for judgement in report.judgements
        ],
    }


def _writers(options: argparse.Namespace, task: "Task", report: "ReachReport") -> list[Callable[[], None]]:
    """All files that were asked for."""
    sets, judgements = report.sets, report.judgements
    writers: list[Callable[[], None]] = []
    if options.json:
        writers.append(lambda: write_json(options.json, content(task, report)))
    if options.plot or options.time_plot:
        from admm_verify.report.reach_plots import time_plot, tube_plot

        if options.plot:
            writers.append(lambda: tube_plot(options.plot, task, sets, judgements))
        if options.time_plot:
            writers.append(lambda: time_plot(options.time_plot, task, sets, judgements))
    if options.animation:
        from admm_verify.report.reach_animation import animation

        writers.append(lambda: animation(options.animation, task, sets))
    return writers
