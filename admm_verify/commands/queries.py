"""The options that name a query and its network, and the reading of both."""

import argparse
import gc
import os
from collections.abc import Sequence

import numpy as np

from admm_verify.arguments import Read
from admm_verify.commands.running import add_running, reading
from admm_verify.errors import InputError
from admm_verify.given import read_arrays
from admm_verify.properties.query import Query, read_query
from admm_verify.run import Run
from admm_verify.streams import tell


def add_query(parser: argparse.ArgumentParser) -> None:
    """What all commands on queries share."""
    parser.add_argument("query", type=Read, metavar="QUERY.vnnlib", help="VNN-LIB 1.0 or 2.0, also .gz")
    parser.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="[NAME=]FILE.onnx",
        required=True,
        help="the ONNX model, or a .nnet file",
    )
    add_part(parser)


def add_part(parser: argparse.ArgumentParser) -> None:
    """What all commands share that read an ONNX model."""
    parser.add_argument(
        "--output-name", metavar="NAME", help="which of the model's outputs, or of the values inside, is meant"
    )
    parser.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="NAME=FILE.npy",
        help="an input of the model that is constant, and its value; all inputs but one",
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


def add_images(parser: argparse.ArgumentParser) -> None:
    """What all commands share that take images with their labels."""
    parser.add_argument(
        "--images",
        type=Read,
        required=True,
        metavar="FILE",
        help=".npz with the arrays images and labels, or .npy with images",
    )
    parser.add_argument("--labels", type=Read, metavar="FILE.npy", help="one integer per image")


def fixed_inputs(given: Sequence[str]) -> dict[str, np.ndarray]:
    """The constant inputs that the option --fix names.

    Raises: InputError for what is no name and file, a name given twice, and files that cannot be read.
    """
    found: dict[str, np.ndarray] = {}
    for name, path in fixed_files(given):
        array = read_arrays(path, f"value of the input {name}", ())
        if not isinstance(array, np.ndarray):
            raise InputError(f"The value {path} of the input {name} holds several arrays; give a .npy file.")
        if name in found:
            raise InputError(f"--fix {name} was given twice. Give each input once.")
        found[name] = array
    return found


def fixed_files(given: Sequence[str]) -> list[tuple[str, str]]:
    """The names and the files in the option --fix.

    Raises: InputError for what is no name and file.
    """
    found = []
    for text in given:
        name, _, path = text.partition("=")
        if not name or not path:
            raise InputError(f"--fix {text} is no name of an input and file with its value. Give NAME=FILE.npy.")
        found.append((name, path))
    return found


def asked_query(options: argparse.Namespace, run: Run) -> Query:
    """The query that the options name.

    Raises: what `read_query` raises; InputError for a network that is given twice.
    """
    networks: dict[str, str] = {}
    for name, path in network_files(options.network):
        if name in networks and not name:
            raise InputError(
                f"--network {networks[name]} and --network {path} have no names. Of several networks say which is "
                "which, by the names that the query declares: --network NAME=FILE.onnx."
            )
        if name in networks:
            raise InputError(f"--network {name} was given twice. Give each network once.")
        networks[name] = path
    with reading(options):
        inputs = fixed_inputs(options.fix)
        query = read_query(options.query, networks, output=options.output_name, inputs=inputs, run=run)
    note = query.note()
    if note is not None:
        tell(f"{note}.\n")
    # It lives as long as the process: the collector of cycles need not look at its millions of numbers.
    gc.freeze()
    return query
