"""The command `reach`: its options, its table and its files."""

import argparse
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from admm_verify.arguments import Read, Written, decimal, whole
from admm_verify.commands.running import add_running, advise, reading, running, write_record
from admm_verify.errors import InputError
from admm_verify.files import every, note_read
from admm_verify.options import Range, count
from admm_verify.reach.directions import TEMPLATES

if TYPE_CHECKING:
    from admm_verify.reach.front import ReachReport
    from admm_verify.reach.settings import ReachSettings
    from admm_verify.reach.systems import Task
    from admm_verify.report.records.reach import ReachRecord

HELP = "reachable sets of a network in feedback, verdicts and plots"

EXAMPLE = Path(__file__).parents[1] / "report" / "data" / "double_integrator.json"
"""The embedded system."""


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
        help="cut the initial set into K cells per side, or halve cells until no bound exceeds sampled states by more "
        "than this share of their width, as 0.05",
    )
    parser.add_argument(
        "--cells",
        type=whole,
        metavar="N",
        help="most cells of the initial set; default: 1024, in discrete time 20000",
    )
    parser.add_argument("--window", type=whole, metavar="K", help="steps in one graph; default: all")
    parser.add_argument(
        "--plot", type=Written, metavar="FILE.png", help="the sets in the plane of the first two states"
    )
    parser.add_argument("--time-plot", type=Written, metavar="FILE.png", help="every state over time")
    parser.add_argument("--animation", type=Written, metavar="FILE.gif", help="the sets moving")
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Bound, judge, and write what was asked for; the table on stdout, how far it is on stderr."""
    # Other commands answer sooner without these rooms.
    from admm_verify.reach.front import reach_sets
    from admm_verify.reach.spec import read_task
    from admm_verify.reach.systems import MOST_STEPS
    from admm_verify.report.picture_inputs import checked_path, require_matplotlib
    from admm_verify.report.pictures import FORMATS
    from admm_verify.report.records.reach import ReachRecord

    if options.plot or options.time_plot or options.animation:
        require_matplotlib()
    for path, formats, what in (
        (options.plot, FORMATS, "plot"),
        (options.time_plot, FORMATS, "plot"),
        (options.animation, (".gif",), "animation"),
    ):
        if path:
            checked_path(path, formats, what)
    with reading(options):
        if options.system is None:
            note_read(EXAMPLE)
        task = read_task(options.system or EXAMPLE)
    if options.steps is not None:
        task = replace(task, steps=count(options.steps, "The option --steps", Range(1, most=MOST_STEPS)), sampled=None)
    with running(options, options.question()) as how:
        report = reach_sets(task, _directions(options.directions), settings=_settings(options, task), run=how)
    record = ReachRecord.of(task, report)
    options.say(record.text)
    advise(options, [report.sets.ended, *(judgement.outcome for judgement in report.judgements)])
    every(_writers(options, task, report, record))
    return 0


def _settings(options: argparse.Namespace, task: "Task") -> "ReachSettings":
    from admm_verify.reach.settings import ReachSettings
    from admm_verify.reach.systems import ContinuousSystem

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
    cells = options.cells
    if cells is None:
        cells = 1024 if isinstance(task.system, ContinuousSystem) else 20_000
    return ReachSettings(method=options.method, grid=grid, tolerance=tolerance, cells=cells, window=options.window)


def _directions(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _writers(
    options: argparse.Namespace, task: "Task", report: "ReachReport", record: "ReachRecord"
) -> list[Callable[[], None]]:
    """All files that were asked for."""
    sets, judgements = report.sets, report.judgements
    writers: list[Callable[[], None]] = []
    if options.json:
        writers.append(lambda: write_record(options, record))
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
