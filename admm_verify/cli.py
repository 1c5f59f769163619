"""The command line: verify, bound, certify, check, supports, demo. Results on stdout, everything else on stderr."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from threadpoolctl import threadpool_limits

import admm_verify as av
from admm_verify.bound_command import add_bound_options, bound_query
from admm_verify.bounds.arithmetic import ARITHMETICS
from admm_verify.certificates.files import write as write_certificate
from admm_verify.certify_command import add_certify_options, certify_files
from admm_verify.check_command import add_check_options, check_file
from admm_verify.network.from_onnx import OPSETS, SUPPORTED, tensor_bytes
from admm_verify.reach_command import add_reach_options, reach_file
from admm_verify.report.text import assignment, exact_text, write_json
from admm_verify.splitting.solve import METHODS
from admm_verify.verify import METHODS as VERIFY_METHODS

NAME = "admm_verify"

_WRITTEN = ("json", "plot", "time_plot", "animation", "output", "certificate", "checkpoint")
"""Options that name files to be written."""

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
    """Run one command; returns the exit status: 0 with an answer, 1 with an error message on stderr."""
    began = time.monotonic()
    options = _parser().parse_args(arguments)
    # A command line's time counts from the start of its process, imports included.
    options.began = began - (_age() if arguments is None else 0.0)
    if options.command is None:
        _parser().print_help()
        return 0
    try:
        for target in (getattr(options, name, None) for name in _WRITTEN):
            _check_target(target)
        with threadpool_limits(limits=getattr(options, "threads", None)):
            return options.run(options)
    except av.AdmmVerifyError as error:
        print(f"admm-verify: {error}", file=sys.stderr)
    except MemoryError:
        print("admm-verify: Out of memory. Try a smaller network or fewer rows.", file=sys.stderr)
    except KeyboardInterrupt:
        print("admm-verify: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of stdout has gone; closing it here keeps Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
    parser = argparse.ArgumentParser(
        prog="admm-verify", description="Certified worst-case bounds of neural networks by operator splitting."
    )
    parser.add_argument("--name", action="version", version=NAME, help="print the solver's name and exit")
    parser.add_argument("--version", action="version", version=av.__version__, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    verify = commands.add_parser("verify", help="decide a VNN-LIB query: sat, unsat, unknown or timed-out")
    _add_query(verify, VERIFY_METHODS)
    verify.add_argument("--serialise-assignments", metavar="DIR", help="write a counterexample as TensorProto files")
    verify.add_argument("--arithmetic", choices=ARITHMETICS, help="default: what the query declares")
    verify.add_argument(
        "--max-subproblems", type=int, metavar="N", help="end branch and bound after N; 0: bounds and attacks alone"
    )
    verify.add_argument("--certificate", metavar="FILE", help="after unsat, write a proof that `check` can verify")
    verify.add_argument("--checkpoint", metavar="FILE", help="keep the search in this file, and go on from it")
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
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="stop with what is known by then")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="auto: the CPU, for small queries")
    parser.add_argument(
        "--threads",
        type=_positive,
        metavar="N",
        help="most threads: for large products, and for blocks of rows side by side",
    )
    parser.add_argument(
        "--memory", type=float, metavar="GIB", help="limit on the working memory in GiB; default: half of what is free"
    )
    parser.add_argument("--json", metavar="FILE", help="write the complete result")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _check_target(path: str | None) -> None:
    """Refuse an output file that cannot be written before any work is done for it."""
    if path is not None and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        raise av.InputError(f"The file {path} cannot be written: it is a folder, or its folder is missing.")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _query(options: argparse.Namespace) -> av.Query:
    networks: dict[str, str] = {}
    for given in options.network:
        name, separator, path = given.partition("=")
        named = bool(separator) and name.isidentifier() and not Path(given).exists()
        key = name if named else ""
        if key in networks:
            raise av.InputError(f"--network {key or given} was given twice. Give each network once.")
        networks[key] = path if named else given
    return av.read_query(options.query, networks)


def _stop_on_interrupt() -> Callable[[], bool]:
    """A question that turns true at the first Ctrl-C; the second one interrupts at once."""
    asked = [False]

    def remember(number: int, frame: object) -> None:
        asked[0] = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, remember)
    return lambda: asked[0]


def _memory(options: argparse.Namespace) -> float | None:
    return None if options.memory is None else options.memory * 2.0**30


def _device(options: argparse.Namespace) -> str | None:
    return None if options.device in ("auto", "cpu") else options.device


def _verify(options: argparse.Namespace) -> int:
    stop = _stop_on_interrupt()
    query = _query(options)
    left = options.timeout
    if left is not None and left >= 0:
        left = max(0.0, left - (time.monotonic() - options.began))
    show = None if options.quiet or not sys.stderr.isatty() else lambda text: print(text, file=sys.stderr)
    outcome = av.verify(
        query,
        left,
        options.method,
        _device(options),
        options.arithmetic,
        show,
        stop,
        _memory(options),
        options.max_subproblems,
        options.certificate is not None,
        options.checkpoint,
    )
    if outcome.certificate is not None:
        write_certificate(outcome.certificate, options.certificate)
    lines = [outcome.verdict.value]
    if options.serialise_assignments:
        _serialise(options.serialise_assignments, query, outcome)
    else:
        lines += _assignments(query, outcome)
    print("\n".join(lines), flush=True)
    if options.json:
        content = {
            "verdict": outcome.verdict.value,
            "counterexample": None if outcome.counterexample is None else outcome.counterexample.reshape(-1).tolist(),
            "exact_input": None
            if outcome.exact_input is None
            else [exact_text(value) for value in outcome.exact_input],
            "output": None if outcome.output is None else outcome.output.reshape(-1).tolist(),
            "rows": [{"lower": float(low)} for low in outcome.rows_lower],
            "undecided_disjuncts": outcome.undecided,
            "subproblems": outcome.subproblems,
            "lower": outcome.lower,
            "seconds": outcome.seconds,
            "network": query.network.name,
            "query": query.name,
        }
        write_json(options.json, content)
    return 0


def _assignments(query: av.Query, outcome: av.Outcome) -> list[str]:
    """The counterexample and its output as text, both exactly."""
    if outcome.exact_input is None or outcome.output is None:
        return []
    declared = query.property.networks[0]
    output = [Fraction(float(value)) for value in outcome.output.reshape(-1)]
    return [assignment(declared.inputs[0], outcome.exact_input), assignment(declared.outputs[0], output)]


def _serialise(folder: str, query: av.Query, outcome: av.Outcome) -> None:
    """Write tensors in the network's element type: where the exact input is none of it, the one that was run."""
    if outcome.counterexample is None or outcome.output is None:
        return
    declared = query.property.networks[0]
    pairs = ((declared.inputs[0], outcome.counterexample), (declared.outputs[0], outcome.output))
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for variable, value in pairs:
            data = tensor_bytes(value.reshape(variable.shape), variable.name)
            (Path(folder) / f"{variable.name}.pb").write_bytes(data)
    except OSError as error:
        raise av.InputError(f"The assignment cannot be written to {folder}: {error.strerror}.") from error


def _bound(options: argparse.Namespace) -> int:
    stop = _stop_on_interrupt()
    bound_query(options, _query(options), _device(options), _memory(options), stop)
    return 0


def _reach(options: argparse.Namespace) -> int:
    reach_file(options, _memory(options), _stop_on_interrupt())
    return 0


def _certify(options: argparse.Namespace) -> int:
    certify_files(options, _device(options), _memory(options), _stop_on_interrupt())
    return 0


def _check(options: argparse.Namespace) -> int:
    return check_file(options, _query(options), _memory(options))


def _supports(options: argparse.Namespace) -> int:
    print("\n".join(CAPABILITIES[options.capability]))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from admm_verify.report.demo import run_demo

    content = run_demo(options.plot)
    if options.json:
        write_json(options.json, content)
    return 0
