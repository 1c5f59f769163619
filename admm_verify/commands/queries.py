"""The options that name a query and its network, and the reading of both."""

import argparse
import gc
import os
from collections.abc import Sequence

from admm_verify.arguments import Read
from admm_verify.commands.running import add_running, reading
from admm_verify.errors import InputError
from admm_verify.properties.query import Query, read_query
from admm_verify.run import Run


def add_query(parser: argparse.ArgumentParser) -> None:
    """What all commands on queries share."""
    parser.add_argument("query", type=Read, metavar="QUERY.vnnlib", help="VNN-LIB 1.0 or 2.0, also .gz")
    parser.add_argument(
        "--network", action="append", default=[], metavar="[NAME=]FILE.onnx", required=True, help="the ONNX model"
    )


def add_solved_query(parser: argparse.ArgumentParser, methods: Sequence[str]) -> None:
    """What commands share that solve queries by one of several methods."""
    add_query(parser)
    parser.add_argument("--method", choices=methods, default="auto")
    add_running(parser)


def network_files(given: str | Sequence[str]) -> list[tuple[str, str]]:
    """The networks' names, empty where none is given, and their files.

    Raises: InputError where a text may mean either of two files.
    """
    found = []
    for text in [given] if isinstance(given, str) else given:
        name, separator, path = text.partition("=")
        named, whole = bool(separator) and name.isidentifier(), os.path.exists(text)
        if named and whole and os.path.exists(path):
            raise InputError(
                f"--network {text} may mean the file {text} or the network {name} in {path}, and both files exist. "
                f"Give ./{text} or {name}=./{path}."
            )
        found.append((name, path) if named and not whole else ("", text))
    return found


def asked_query(options: argparse.Namespace, run: Run) -> Query:
    """The query that the options name.

    Raises: what `read_query` raises; InputError for a network that is given twice.
    """
    networks: dict[str, str] = {}
    for name, path in network_files(options.network):
        if name in networks:
            raise InputError(f"--network {name or path} was given twice. Give each network once.")
        networks[name] = path
    with reading(options):
        query = read_query(options.query, networks, run=run)
    # It lives as long as the process: the collector of cycles need not look at its millions of numbers.
    gc.freeze()
    return query
