"""The command `transfer`: its options and its table."""

import argparse

import numpy as np

import admm_verify as av
from admm_verify.arguments import Read, Written, at_least_one, decimal, whole
from admm_verify.commands.queries import add_images
from admm_verify.commands.running import add_running, advise, reading, running, write_record
from admm_verify.files import every, replaced
from admm_verify.robustness.data_sets import read_images

HELP = "adversarial examples of least distortion, and how they transfer to other networks"


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `transfer`."""
    parser.add_argument(
        "models", type=Read, nargs="+", metavar="NETWORK.onnx", help="classifiers of the same images, .gz accepted"
    )
    add_images(parser)
    parser.add_argument(
        "--within",
        nargs=2,
        type=decimal,
        default=(0.0, 1.0),
        metavar=("LOW", "HIGH"),
        help="range of pixels; default 0 1",
    )
    parser.add_argument(
        "--classes", type=at_least_one, default=3, metavar="N", help="tried for each image, the most promising first"
    )
    parser.add_argument(
        "--common",
        type=decimal,
        default=0.1,
        metavar="D",
        help="distortion that examples are magnified to, root mean square over the pixels",
    )
    parser.add_argument("--seed", type=whole, default=0, help="of the noise that examples are compared with")
    parser.add_argument(
        "--points", type=Written, metavar="FILE.npz", help="write the examples: points [networks, images, ...]"
    )
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Attack every network, then try all of them; the table on stdout, how far it is on stderr."""
    # Other commands answer sooner without this room.
    from admm_verify.report.records.transfer import TransferRecord

    with reading(options):
        networks = [av.read_onnx(model) for model in options.models]
        images, labels = read_images(options.images, options.labels)
    attack = av.DistortionSettings(within=tuple(options.within), classes=options.classes)
    settings = av.TransferSettings(attack, options.common, options.seed)
    with running(options, options.question()) as how:
        found = av.transfer_table(networks, images, labels, settings=settings, run=how)
    record = TransferRecord.of(found)
    options.say(record.text)
    advise(options, [found.status])
    writers = []
    if options.json:
        writers.append(lambda: write_record(options, record, None))
    if options.points:
        writers.append(lambda: _write_points(options.points, found))
    every(writers)
    return 0


def _write_points(path: str, found: av.TransferTable) -> None:
    """Write the examples, NaN where there is none.

    Raises: OutputError when the file cannot be written.
    """
    with replaced(path, "file of points") as file:
        np.savez(file, points=np.stack([one.points for one in found.found]), labels=found.found[0].labels)
