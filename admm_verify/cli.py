"""The command line: results on stdout, everything else on stderr; the commands are in `commands/`, a file each."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO

from threadpoolctl import threadpool_limits

import admm_verify as av
from admm_verify.arguments import Parser, Read, Written
from admm_verify.commands.queries import fixed_files, network_files
from admm_verify.files import check_targets, reason
from admm_verify.interrupts import Interrupts
from admm_verify.streams import Results, complain, results_alone

NAME, PROGRAM = "admm_verify", "admm-verify"

_STATUS = """Exit status: 0 with an answer, whatever it is; 1 after an error, where a file could not be written, and
where check proves nothing; 2 for a command line that is refused; 128 and the number of a signal that ended the work
before there was an answer, as 130 for Ctrl-C."""

COMMANDS = (
    "verify",
    "bound",
    "certify",
    "diff",
    "policy",
    "reach",
    "lipschitz",
    "report",
    "transfer",
    "check",
    "supports",
    "demo",
)
"""Files of `commands/`; importing all of them takes longer than many a query."""


class Options(argparse.Namespace):
    """A command's options, and what all commands may ask for though not all of them take it."""

    timeout: float | None = None
    threads: int | None = None
    device: str = "auto"
    network: Sequence[str] = ()
    fix: Sequence[str] = ()
    json: str | None = None
    html: str | None = None


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


def load(arguments: Sequence[str]) -> None:
    """Import what a command line needs."""
    for name in _named(arguments):
        import_module(f"admm_verify.commands.{name}")


def _named(arguments: Sequence[str]) -> tuple[str, ...]:
    """The command of a command line, else all of them."""
    first = next((argument for argument in arguments if not argument.startswith("-")), None)
    return (first,) if first in COMMANDS else COMMANDS


def _parsed(arguments: Sequence[str] | None, results: Results) -> Options:
    """The options; help and versions, which argparse prints, are results too."""
    with redirect_stdout(StringIO()) as shown:
        try:
            asked = sys.argv[1:] if arguments is None else arguments
            options = _parser(asked).parse_args(arguments, Options())
        except SystemExit as ended:
            if text := shown.getvalue():
                results.say(text.rstrip("\n"))
            raise SystemExit(ended.code or _said(results)) from None
    options.given = {name: value for name, value in vars(options).items() if name not in ("command", "run")}
    options.command_line = [PROGRAM, *(sys.argv[1:] if arguments is None else arguments)]
    return options


def _run(options: Options) -> int:
    if options.command is None:
        options.say(_parser(()).format_help().rstrip())
        return 0
    named = list(vars(options).values())
    options.written = [path for path in named if isinstance(path, Written)]
    networks = [path for _, path in (*network_files(options.network), *fixed_files(options.fix))]
    listed = [path for one in named for path in (one if isinstance(one, list) else [one])]
    options.read = [path for path in listed if isinstance(path, Read)] + networks
    options.files = []
    check_targets(options.written, options.read)
    with threadpool_limits(limits=options.threads):
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


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a command line: of the one command that it names, else of all."""
    about = "Certified worst-case bounds of neural networks by operator splitting."
    parser = Parser(prog=PROGRAM, description=about, epilog=_STATUS)
    parser.add_argument("--name", action="version", version=NAME, help="print the solver's name and exit")
    parser.add_argument("--version", action="version", version=av.__version__, help="print the version and exit")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    named = _named(arguments)
    for name in COMMANDS:
        if name not in named:
            parsers.add_parser(name)
            continue
        command = import_module(f"admm_verify.commands.{name}")
        added = parsers.add_parser(name, help=command.HELP, description=command.HELP, epilog=_STATUS)
        command.add_options(added)
        added.set_defaults(run=command.run)
    return parser
