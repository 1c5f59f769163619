"""The command `lipschitz`: its options and its table."""

import argparse
from typing import TYPE_CHECKING

import numpy as np

import admm_verify as av
from admm_verify.arguments import Read, decimal
from admm_verify.commands.running import add_running, advise, reading, running, write_record
from admm_verify.given import read_arrays
from admm_verify.run import Run
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.norm_names import NORMS

if TYPE_CHECKING:
    from admm_verify.network.graph import Network

HELP = "how steep a network is: norms of its layers and Lipschitz constants, anywhere or over a set of inputs"

_ENDS = ("lower", "upper")
"""Of the arrays in a file of a box."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `lipschitz`."""
    parser.add_argument("model", type=Read, metavar="NETWORK.onnx", help="the network, .gz accepted")
    parser.add_argument("--norm", choices=tuple(NORMS), default="l2", help="of differences of inputs, and of layers")
    parser.add_argument(
        "--output-norm", choices=tuple(NORMS), help="of differences of outputs; that of inputs unless given"
    )
    parser.add_argument(
        "--layers-only", action="store_true", help="the norms of the layers alone, with the product that they make"
    )
    parser.add_argument(
        "--no-search", action="store_true", help="constants in closed form alone, no search for better multipliers"
    )
    parser.add_argument(
        "--tolerance", type=decimal, default=1e-3, help="relative, of the search for the best multipliers"
    )
    where = parser.add_argument_group("over a set of inputs, instead of everywhere")
    sets = where.add_mutually_exclusive_group()
    sets.add_argument(
        "--inputs", type=Read, metavar="FILE.npz", help="a box: the arrays lower and upper, numbers of one input each"
    )
    sets.add_argument("--center", type=Read, metavar="FILE.npy", help="one input, the middle of a ball")
    where.add_argument("--eps", type=decimal, metavar="E", help="radius of the ball, in the norm --norm")
    where.add_argument(
        "--within", type=decimal, nargs=2, metavar=("LOW", "HIGH"), help="what entries of the ball's inputs lie between"
    )
    where.add_argument("--each-output", action="store_true", help="a constant of every output by itself, too")
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Measure the layers, then bound the whole; the tables on stdout, how far it is on stderr."""
    # Other commands answer sooner without this room.
    from admm_verify.report.records.lipschitz import LipschitzRecord

    with reading(options):
        network: Network = av.read_onnx(options.model)
    inputs = _set(options)
    with running(options, options.question()) as how:
        layers, found = av.layer_norms(network, norm=options.norm, run=how), None
        if inputs is not None:
            found = _over(options, network, inputs, how)
            record = LipschitzRecord.over(network, layers, found)
        else:
            settings = av.LipschitzSettings(semidefinite=not options.no_search, tolerance=options.tolerance)
            if not options.layers_only:
                found = av.lipschitz_constant(
                    network, norm=options.norm, output_norm=options.output_norm, settings=settings, run=how
                )
            record = LipschitzRecord.of(network, layers, found)
    options.say(record.text)
    if found is not None:
        advise(options, [found.status])
    if options.json:
        write_record(options, record)
    return 0


def _over(options: argparse.Namespace, network: "Network", inputs: WalkableSet, how: Run) -> av.LocalLipschitz:
    settings = av.LocalLipschitzSettings(semidefinite=not options.no_search, tolerance=options.tolerance)
    rows = np.eye(network.output_size) if options.each_output else None
    return av.local_lipschitz(network, inputs, norm=options.norm, rows=rows, settings=settings, run=how)


def _set(options: argparse.Namespace) -> WalkableSet | None:
    """The set of inputs, None where none was given."""
    if options.inputs and (options.eps is not None or options.within):
        raise av.InputError("The options --eps and --within are of a ball; give --center instead of --inputs.")
    if (options.inputs or options.center) and options.output_norm not in (None, options.norm):
        raise av.InputError("Over a set of inputs both differences are measured in --norm; leave --output-norm out.")
    if options.inputs is not None:
        found = read_arrays(options.inputs, "file of a box", _ENDS)
        if isinstance(found, np.ndarray) or set(found) != set(_ENDS):
            raise av.InputError(
                f"{options.inputs} does not hold the arrays lower and upper; save both by numpy.savez(file, lower=..., "
                "upper=...)."
            )
        return av.Box(found["lower"], found["upper"])
    given = [name for name in ("eps", "within") if getattr(options, name) is not None]
    if options.center is None:
        if given or options.each_output:
            raise av.InputError(
                "The options --eps, --within and --each-output are of a set; give --center or --inputs."
            )
        return None
    if options.eps is None:
        raise av.InputError("The option --center asks for the radius of the ball around it; give --eps.")
    center = read_arrays(options.center, "centre", ())
    if not isinstance(center, np.ndarray):
        raise av.InputError(f"{options.center} holds several arrays; save one by numpy.save(file, array).")
    return av.Ball(center, options.eps, norm=options.norm, within=options.within and tuple(options.within))
