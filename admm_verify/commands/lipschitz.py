"""The command `lipschitz`: its options and its table."""

import argparse
from typing import TYPE_CHECKING

import admm_verify as av
from admm_verify.arguments import Read, decimal
from admm_verify.commands.running import add_running, advise, reading, running, write_record
from admm_verify.sets.norm_names import NORMS

if TYPE_CHECKING:
    from admm_verify.network.graph import Network

HELP = "how steep a network is: norms of its layers and Lipschitz constants"


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
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Measure the layers, then bound the whole; the tables on stdout, how far it is on stderr."""
    # Other commands answer sooner without this room.
    from admm_verify.report.records.lipschitz import LipschitzRecord

    with reading(options):
        network: Network = av.read_onnx(options.model)
    settings = av.LipschitzSettings(semidefinite=not options.no_search, tolerance=options.tolerance)
    with running(options, options.question()) as how:
        layers = av.layer_norms(network, norm=options.norm, run=how)
        found = None
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
