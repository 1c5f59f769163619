"""The command `diff`: two networks side by side."""

import argparse

import numpy as np

import admm_verify as av
from admm_verify.arguments import Read, decimal, whole
from admm_verify.commands.running import add_running, advise, reading, running, write_record
from admm_verify.given import read_arrays
from admm_verify.memory import Budget
from admm_verify.options import file_path
from admm_verify.properties.rows import atom_rows
from admm_verify.properties.sources import reading as queried
from admm_verify.properties.vnnlib import declared_in, read_text
from admm_verify.report.records.diff import DiffRecord
from admm_verify.run import Advised, Run, Stopped
from admm_verify.sets.contract import WalkableSet

HELP = "two networks: how far their outputs are apart, or whether they are equivalent"

_ENDS = ("lower", "upper")
"""Of the arrays in a file of boxes."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `diff`."""
    parser.add_argument("first", type=Read, metavar="FIRST.onnx", help="the network f, also .nnet")
    parser.add_argument("second", type=Read, metavar="SECOND.onnx", help="the network f' beside it")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--inputs",
        type=Read,
        metavar="FILE.npz",
        help="boxes: the arrays lower and upper, of one input or of many, one after the other",
    )
    where.add_argument(
        "--query",
        type=Read,
        metavar="QUERY.vnnlib",
        help="the input sets of a query about one of them, or both, with ends rounded outward to float64; also .gz",
    )
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--eps", nargs="+", type=decimal, metavar="E", help="is |f' - f| <= E? one number, or one for each output"
    )
    asked.add_argument("--top1", action="store_true", help="do both name the same class?")
    asked.add_argument(
        "--confidence", type=decimal, metavar="D", help="do they wherever f has a probability of D or more?"
    )
    parser.add_argument(
        "--outputs", nargs="+", type=whole, metavar="J", help="numbers of the outputs that are compared; default: all"
    )
    parser.add_argument(
        "--largest", action="store_true", help="without a criterion: bound max |f' - f| alone, not every output's ends"
    )
    parser.add_argument(
        "--tolerance",
        type=decimal,
        metavar="T",
        help="without a criterion: relative gap at which a bound is near enough; default: 0.01",
    )
    parser.add_argument(
        "--max-subproblems", type=whole, metavar="N", help="end branch and bound after N; 0: bounds and attacks alone"
    )
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Compare two networks; the table on stdout, how far it is on stderr."""
    criterion = _criterion(options)
    with running(options, options.question()) as how:
        first, second, inputs = _given(options, how)
        found = _compared(options, (first, second), inputs, criterion, how)
    record = DiffRecord.of(first.name, second.name, found)
    options.say(record.text)
    told: list[Advised] = list(found.status.flat if isinstance(found, av.Difference) else found.answer)
    advise(options, told)
    if options.json:
        write_record(options, record)
    return 0


def _criterion(options: argparse.Namespace) -> av.EpsilonEquivalence | av.Top1Equivalence | None:
    """What was asked.

    Raises: InputError for options that say nothing about it.
    """
    classes = options.top1 or options.confidence is not None
    if options.outputs is not None and classes:
        raise av.InputError("--outputs chooses outputs that are compared; classes are compared by all of them.")
    criterion = classes or options.eps is not None
    for name, given in (("--largest", options.largest), ("--tolerance", options.tolerance is not None)):
        if criterion and given:
            raise av.InputError(f"{name} is about bounds of the difference; leave it out where a criterion is given.")
    if options.eps is not None:
        return av.EpsilonEquivalence(options.eps if len(options.eps) > 1 else options.eps[0], options.outputs)
    if options.confidence is not None:
        return av.Top1Equivalence(options.confidence)
    return av.Top1Equivalence() if options.top1 else None


def _compared(
    options: argparse.Namespace,
    networks: tuple[av.Network, av.Network],
    inputs: WalkableSet,
    criterion: av.EpsilonEquivalence | av.Top1Equivalence | None,
    how: Run,
) -> av.Difference | av.Equivalence:
    most = options.max_subproblems
    if criterion is not None:
        return av.equivalence(
            *networks, inputs, criterion, settings=av.EquivalenceSettings(max_subproblems=most), run=how
        )
    near = av.DifferenceSettings.relative if options.tolerance is None else options.tolerance
    settings = av.DifferenceSettings(
        outputs=options.outputs, largest=options.largest, relative=near, max_subproblems=most
    )
    return av.difference(*networks, inputs, settings=settings, run=how)


def _given(options: argparse.Namespace, how: Run) -> tuple[av.Network, av.Network, WalkableSet]:
    """The networks and input sets that the options name.

    Raises: StoppedError once the time is up.
    """
    try:
        with how.watching(), reading(options):
            first, second = av.read_onnx(options.first), av.read_onnx(options.second)
            return first, second, _sets(options, (first, second), how)
    except Stopped:
        raise av.StoppedError(
            f"{options.first} and {options.second} were not read: the time was up. Allow more."
        ) from None


def _sets(options: argparse.Namespace, networks: tuple[av.Network, av.Network], how: Run) -> WalkableSet:
    """The input sets; those of a query as the smallest boxes of float64 numbers around them."""
    if options.query is not None:
        return _queried(options.query, networks, how)
    found = read_arrays(options.inputs, "file of boxes", _ENDS)
    if isinstance(found, np.ndarray) or set(found) != set(_ENDS):
        raise av.InputError(
            f"{options.inputs} does not hold the arrays lower and upper; save both by numpy.savez(file, lower=..., "
            "upper=...)."
        )
    return av.Box(found["lower"], found["upper"])


def _queried(path: str, networks: tuple[av.Network, av.Network], how: Run) -> WalkableSet:
    """The input sets of a query about one network, or of one about two that are given one and the same input."""
    with queried(path, how):
        names = [one.name for one in declared_in(read_text(file_path(path, "The query"), Budget.of(how)))]
    both = len(names) > 1
    query = av.read_query(path, dict(zip(names, networks, strict=False)) if both else networks[0], run=how)
    asked = query.about_outputs("real")
    if not asked.property.disjuncts:
        raise av.QueryError(f"{query.name} has no input set: its constraints exclude each other.")
    if both and not _at_one_input(asked.network):
        raise av.QueryError(
            f"{query.name} gives its networks other inputs than one and the same: diff compares them at equal ones. "
            "Ask verify, which decides such queries."
        )
    return atom_rows(asked.property).inputs


def _at_one_input(joint: av.Network) -> bool:
    """Whether a network of two hands both its own input."""
    given = joint.inputs if isinstance(joint, av.PairedNetwork) else None
    if given is None:
        return False
    parts = (given.first, given.first_shift), (given.second, given.second_shift)
    return all(np.array_equal(map.dense().weight, np.eye(given.size)) and not np.any(shift) for map, shift in parts)
