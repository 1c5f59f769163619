"""The command line: verify, bound, certify, check, supports, demo. Results on stdout, everything else on stderr."""

import argparse
import gc
import os
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO

from threadpoolctl import threadpool_limits

import admm_verify as av
from admm_verify.arguments import Parser, at_least_one, decimal
from admm_verify.bound_command import add_bound_options, bound_query
from admm_verify.certify_command import add_certify_options, certify_files
from admm_verify.check_command import add_check_options, check_file
from admm_verify.files import check_targets, every, reading_beside, reason
from admm_verify.interrupts import Interrupts
from admm_verify.network.from_onnx import OPSETS, SUPPORTED
from admm_verify.options import timeout_seconds
from admm_verify.reach_command import add_reach_options, reach_file
from admm_verify.report.text import write_json
from admm_verify.splitting.solve import METHODS
from admm_verify.streams import Results, complain, results_alone
from admm_verify.verify import METHODS as VERIFY_METHODS
from admm_verify.verify_command import add_verify_options, unread, verify_query

NAME = "admm_verify"

_WRITTEN = ("json", "plot", "time_plot", "animation", "output", "certificate", "checkpoint")
"""Options that name files to be written."""

_READ = ("query", "images", "labels", "objective", "system", "proof")
"""Options that name files to be read, beside networks."""

CAPABILITIES: dict[str, tuple[str, ...]] = {
    "onnx-opset-versions": tuple(str(version) for version in OPSETS),
    "onnx-element-types": ("float32", "float64", "real"),
    "onnx-operators": SUPPORTED,
    "vnnlib-versions": ("1.0", "2.0"),
    "hidden-node-theories": ("NH",),
    "multiple-input-output-theories": ("SIO",),
    "multiple-network-theories": ("SNET",),
    "multiple-node-comparison-theories": ("SNC",),
    "arithmetic-complexity-theories": ("BND", "COUT"),
    "optimised-disjunctive-reasoning": ("false",),
    "serialise-assignments": ("true",),
}
"""What `supports` answers, one value a line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 with an answer, 1 with an error message on stderr.

    Status 1 after an answer: a file, or stdout, could not be written; 128 and the number of a signal that ended it.
    """
    began = time.monotonic()
    with results_alone() as results, Interrupts() as interrupts:
        options = _parsed(arguments, results)
        # A command line's time counts from the start of its process, imports included.
        options.began = began - (_age() if arguments is None else 0.0)
        options.say, options.question = results.say, interrupts.question
        try:
            status = _run(options)
        except av.AdmmVerifyError as error:
            complain(str(error))
            status = 1
        except MemoryError:
            complain("Out of memory. Try a smaller network or fewer rows.")
            status = 1
        except KeyboardInterrupt:
            complain("interrupted.")
            return interrupts.status
        return status or _said(results)


def _parsed(arguments: Sequence[str] | None, results: Results) -> argparse.Namespace:
    """The options; help and versions, which argparse prints, are results too."""
    with redirect_stdout(StringIO()) as shown:
        try:
            return _parser().parse_args(arguments)
        except SystemExit as ended:
            if text := shown.getvalue():
                results.say(text.rstrip("\n"))
            raise SystemExit(ended.code or _said(results)) from None


def _run(options: argparse.Namespace) -> int:
    if options.command is None:
        options.say(_parser().format_help().rstrip())
        return 0
    options.written = [getattr(options, name) for name in _WRITTEN if getattr(options, name, None) is not None]
    read = [getattr(options, name) for name in _READ if getattr(options, name, None) is not None]
    check_targets(options.written, [*read, *(path for _, path in _networks(options))])
    with threadpool_limits(limits=getattr(options, "threads", None)):
        return options.run(options)


def _said(results: Results) -> int:
    """The exit status: whether everything could be printed. A reader of stdout who has gone wants no message."""
    if results.failure is None:
        return 0
    if not isinstance(results.failure, BrokenPipeError):
        why = reason(results.failure) if isinstance(results.failure, OSError) else str(results.failure)
        complain(f"The results cannot be printed on stdout: {why}.")
    return 1


def _age() -> float:
    """Seconds since this process began, 0 where the system does not tell."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:
            ticks = float(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        # Clocks of some containers have another origin; nobody's imports take a minute.
        return age if 0.0 <= age < 60.0 else 0.0
    except (OSError, ValueError, AttributeError):
        return 0.0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="admm-verify", description="Certified worst-case bounds of neural networks by operator splitting."
    )
    parser.add_argument("--name", action="version", version=NAME, help="print the solver's name and exit")
    parser.add_argument("--version", action="version", version=av.__version__, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    verify = commands.add_parser("verify", help="decide a VNN-LIB query: sat, unsat, unknown or timed-out")
    _add_query(verify, VERIFY_METHODS)
    add_verify_options(verify)
    verify.set_defaults(run=_verify)
    bound = commands.add_parser("bound", help="certified lower bounds, feasible values and gaps, row by row")
    _add_query(bound, METHODS)
    add_bound_options(bound)
    bound.set_defaults(run=_bound)
    certify = commands.add_parser("certify", help="robustness of a classifier: many images and radii at once")
    add_certify_options(certify)
    _add_running(certify)
    certify.set_defaults(run=_certify)
    reach = commands.add_parser("reach", help="reachable sets of a network in feedback, verdicts and plots")
    add_reach_options(reach)
    _add_running(reach)
    reach.set_defaults(run=_reach)
    check = commands.add_parser("check", help="prove again, without any search, what a certificate says")
    add_check_options(check)
    check.set_defaults(run=_check)
    supports = commands.add_parser("supports", help="what this solver supports, one value a line")
    which = supports.add_mutually_exclusive_group(required=True)
    for name in CAPABILITIES:
        which.add_argument(f"--{name}", action="store_const", const=name, dest="capability")
    supports.set_defaults(run=_supports)
    demo = commands.add_parser("demo", help="bounds and verdicts on an embedded digit classifier, with a plot")
    demo.add_argument("--plot", default="admm-verify-demo.png", metavar="FILE.png", help="where the plot goes")
    demo.add_argument("--json", metavar="FILE", help="write the complete result")
    demo.set_defaults(run=_demo)
    return parser


def _add_query(parser: argparse.ArgumentParser, methods: Sequence[str]) -> None:
    parser.add_argument("query", metavar="QUERY.vnnlib", help="VNN-LIB 1.0 or 2.0, also .gz")
    parser.add_argument(
        "--network", action="append", default=[], metavar="[NAME=]FILE.onnx", required=True, help="the ONNX model"
    )
    parser.add_argument("--method", choices=methods, default="auto")
    _add_running(parser)


def _add_running(parser: argparse.ArgumentParser) -> None:
    """What all commands that compute share."""
    parser.add_argument("--timeout", type=decimal, metavar="SECONDS", help="stop with what is known by then")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="auto: the CPU, for small queries")
    parser.add_argument(
        "--threads",
        type=at_least_one,
        metavar="N",
        help="most threads: for large products, and for blocks of rows side by side",
    )
    parser.add_argument(
        "--memory",
        type=decimal,
        metavar="GIB",
        help="limit on the working memory in GiB; default: half of what is free",
    )
    parser.add_argument("--json", metavar="FILE", help="write the complete result")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _networks(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The networks' names, empty where none is given, and their files."""
    given = getattr(options, "network", [])
    found = []
    for text in [given] if isinstance(given, str) else given:
        name, separator, path = text.partition("=")
        named, whole = bool(separator) and name.isidentifier(), os.path.exists(text)
        if named and whole and os.path.exists(path):
            raise av.InputError(
                f"--network {text} may mean the file {text} or the network {name} in {path}, and both files exist. "
                f"Give ./{text} or {name}=./{path}."
            )
        found.append((name, path) if named and not whole else ("", text))
    return found


def _query(options: argparse.Namespace, stop: Callable[[], bool] | None = None) -> av.Query:
    networks: dict[str, str] = {}
    for name, path in _networks(options):
        if name in networks:
            raise av.InputError(f"--network {name or path} was given twice. Give each network once.")
        networks[name] = path
    limit = timeout_seconds(getattr(options, "timeout", None))
    # What imports take on the way to the reader counts, too.
    deadline = None if limit is None else options.began + limit

    def over() -> bool:
        return (stop is not None and stop()) or (deadline is not None and time.monotonic() >= deadline)

    with reading_beside(options.written):
        query = av.read_query(options.query, networks, stop=over, memory=_memory(options))
    # It lives as long as the process: the collector of cycles need not look at its millions of numbers.
    gc.freeze()
    return query


def _memory(options: argparse.Namespace) -> float | None:
    return None if options.memory is None else options.memory * 2.0**30


def _device(options: argparse.Namespace) -> str | None:
    return None if options.device in ("auto", "cpu") else options.device


def _verify(options: argparse.Namespace) -> int:
    stop = options.question()
    try:
        query = _query(options, stop)
    except av.StoppedError as error:
        unread(options, av.Verdict.UNKNOWN if stop() else av.Verdict.TIMED_OUT, str(error))
    else:
        verify_query(options, query, _device(options), _memory(options), stop)
    return 0


def _bound(options: argparse.Namespace) -> int:
    stop = options.question()
    bound_query(options, _query(options, stop), _device(options), _memory(options), stop)
    return 0


def _reach(options: argparse.Namespace) -> int:
    reach_file(options, _memory(options), options.question())
    return 0


def _certify(options: argparse.Namespace) -> int:
    certify_files(options, _device(options), _memory(options), options.question())
    return 0


def _check(options: argparse.Namespace) -> int:
    return check_file(options, _query(options), _memory(options))


def _supports(options: argparse.Namespace) -> int:
    options.say("\n".join(CAPABILITIES[options.capability]))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from admm_verify.report.demo import draw_demo, run_demo

    content = run_demo(options.say)
    draw = [lambda: draw_demo(options.plot, content, options.say)]
    every([*draw, lambda: write_json(options.json, content)] if options.json else draw)
    return 0
