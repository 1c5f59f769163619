"""The command `demo`: its options and its files."""

import argparse

from admm_verify.arguments import Written
from admm_verify.commands.running import add_json, write_record
from admm_verify.files import every

HELP = "bounds and verdicts on an embedded digit classifier, with a plot"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the results go."""
    parser.add_argument(
        "--plot", type=Written, default="admm-verify-demo.png", metavar="FILE.png", help="where the plot goes"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Say the table, then write the files."""
    # Other commands answer sooner without it.
    from admm_verify.report.demo import draw_demo, run_demo

    record = run_demo()
    options.say(record.text)
    draw = [lambda: draw_demo(options.plot, record.convergence, options.say)]
    every([*draw, lambda: write_record(options, record)] if options.json else draw)
    return 0
