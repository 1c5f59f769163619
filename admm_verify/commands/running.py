"""The options of all commands that compute, and what they say about how to run."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import admm_verify
from admm_verify.arguments import Written, at_least_one, decimal
from admm_verify.files import reading_beside
from admm_verify.options import timeout_seconds
from admm_verify.report.records.provenance import Provenance, digested, installed_versions
from admm_verify.report.records.record import Record
from admm_verify.run import Advised, Run
from admm_verify.streams import tell


def add_running(parser: argparse.ArgumentParser) -> None:
    """What all commands share that bound or search."""
    parser.add_argument("--timeout", type=decimal, metavar="SECONDS", help="stop with what is known by then")
    parser.add_argument(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda",
        help="auto: a GPU if the work is large; cuda:1 for another; bound and certify take several, cuda:0,cuda:1",
    )
    parser.add_argument(
        "--threads",
        type=at_least_one,
        metavar="N",
        help="most threads: for large products, and for blocks of rows side by side",
    )
    add_memory(parser)


def add_memory(parser: argparse.ArgumentParser) -> None:
    """What all commands share that compute."""
    parser.add_argument(
        "--memory",
        type=decimal,
        metavar="GIB",
        help="limit on the working memory in GiB; default: half of what is free",
    )
    add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def add_json(parser: argparse.ArgumentParser) -> None:
    """What all commands share that find something."""
    parser.add_argument("--json", type=Written, metavar="FILE", help="write the complete result")


@contextmanager
def reading(options: argparse.Namespace) -> Iterator[None]:
    """Read what the options name: files that these name in turn are no targets, and JSON and pages name all of them.

    Raises: InputError.
    """
    # What is written while a long run goes on is not what was read.
    told = options.json or options.html
    if told:
        options.files += digested(options.read)
    with reading_beside(options.written) as beside:
        yield
    if told:
        options.files += digested(beside)


def write_record(options: argparse.Namespace, record: Record, arithmetic: str | None = "real") -> None:
    """Write the JSON that --json asks for, with how the command came to it; arithmetic: None where it is not known yet.

    Raises: OutputError when the file cannot be written.
    """
    replace(record, provenance=made_by(options, arithmetic)).write(options.json)


def made_by(options: argparse.Namespace, arithmetic: str | None) -> Provenance:
    """How a command came to its result; the files are those that `reading` has noted."""
    versions = installed_versions(admm_verify.__version__)
    return Provenance(arithmetic, options.command_line, options.given, options.files, versions)


def advise(options: argparse.Namespace, found: Iterable[Advised]) -> None:
    """Say on stderr what can be done about what was found, where somebody looks."""
    if _watched(options):
        for advice in dict.fromkeys(one.advice for one in found if one.advice):
            tell(f"{advice}\n")


@contextmanager
def running(options: argparse.Namespace, stop: Callable[[], bool] | None = None) -> Iterator[Run]:
    """How to run by the options, from when the command began; meanwhile a line on stderr shows the last text that was
    told, where somebody looks.
    """
    limit = timeout_seconds(options.timeout)
    watched = _watched(options)
    yield Run(
        stop=stop,
        tell=(lambda progress: tell(f"\r{progress.text}\x1b[K")) if watched else None,
        memory=None if options.memory is None else options.memory * 2.0**30,
        device=None if options.device == "cpu" else options.device,
        # What imports take on the way here counts, too.
        deadline=None if limit is None else options.began + limit,
    )
    if watched:
        tell("\n")


def _watched(options: argparse.Namespace) -> bool:
    return not options.quiet and sys.stderr.isatty()
