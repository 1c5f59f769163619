"""The options of all commands that compute, and what they say about how to run."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from admm_verify.arguments import Written, at_least_one, decimal
from admm_verify.run import Advised
from admm_verify.streams import tell


def add_running(parser: argparse.ArgumentParser) -> None:
    """What all commands share that bound or search."""
    parser.add_argument("--timeout", type=decimal, metavar="SECONDS", help="stop with what is known by then")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="auto: the CPU, for small queries")
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


def memory_of(options: argparse.Namespace) -> float | None:
    """The memory limit in bytes, None for none."""
    return None if options.memory is None else options.memory * 2.0**30


def device_of(options: argparse.Namespace) -> str | None:
    """The device, None for the CPU."""
    return None if options.device in ("auto", "cpu") else options.device


def advise(options: argparse.Namespace, found: Iterable[Advised]) -> None:
    """Say on stderr what can be done about what was found, where somebody looks."""
    if _watched(options):
        for advice in dict.fromkeys(one.advice for one in found if one.advice):
            tell(f"{advice}\n")


@contextmanager
def progress_line(options: argparse.Namespace) -> Iterator[Callable[[str], None]]:
    """Meanwhile, a line on stderr that shows the last text it was told, where somebody looks."""
    watched = _watched(options)
    yield (lambda text: tell(f"\r{text}\x1b[K")) if watched else (lambda text: None)
    if watched:
        tell("\n")


def _watched(options: argparse.Namespace) -> bool:
    return not options.quiet and sys.stderr.isatty()
