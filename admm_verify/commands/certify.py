"""The command `certify`: its options and files."""

import argparse
from collections.abc import Callable

import numpy as np

from admm_verify.arguments import Written
from admm_verify.commands.certifying import add_certifying, certify_settings, radius
from admm_verify.commands.queries import add_images, add_part, fixed_inputs
from admm_verify.commands.running import add_running, advise, reading, running, write_record
from admm_verify.errors import StoppedError
from admm_verify.files import every, require_written
from admm_verify.network.from_onnx import read_onnx
from admm_verify.network.graph import Network
from admm_verify.report.records.certify import CertifyRecord
from admm_verify.robustness.certification import Certification
from admm_verify.robustness.certify import certify
from admm_verify.robustness.data_sets import read_images
from admm_verify.run import Stopped
from admm_verify.streams import complain
from admm_verify.verdict import Answer

HELP = "robustness of a classifier: many images and radii at once"


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `certify`."""
    parser.add_argument(
        "--network", required=True, metavar="FILE.onnx", help="a classifier, one output per class, also .nnet"
    )
    add_part(parser)
    add_images(parser)
    parser.add_argument(
        "--radii",
        required=True,
        nargs="+",
        type=radius,
        metavar="R",
        help="of the balls around images; R,R,R: one for each channel",
    )
    parser.add_argument("--plot", type=Written, metavar="FILE.png", help="falsified images and their counterexamples")
    add_certifying(parser)
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Certify what the files hold; the table on stdout, how far it is on stderr."""
    if options.plot:
        from admm_verify.report.picture_inputs import checked_path, require_matplotlib
        from admm_verify.report.pictures import FORMATS

        require_matplotlib()
        checked_path(options.plot, FORMATS, "plot")
    settings = certify_settings(options)
    with running(options, options.question()) as how, how.watching():
        network, images, labels = _given(options)
        found = certify(network, images, labels, options.radii, settings=settings, run=how)
    options.say(repr(found))
    advise(options, found.status.flat)
    writers: list[Callable[[], object]] = []
    if options.json:
        # Its counterexamples take many times the memory of their arrays.
        writers.append(lambda: write_record(options, CertifyRecord.of(network.name, found), options.arithmetic))
    if options.plot:
        writers.append(lambda: _draw(options.plot, found))
    every([*writers, lambda: require_written(found.unwritten)])
    return 0


def _draw(path: str, found: Certification) -> None:
    from admm_verify.report.counterexample_plots import counterexample_plot

    if found.count(Answer.FALSIFIED).any():
        counterexample_plot(path, found)
    else:
        complain(f"No image is falsified, so that there is nothing to draw in {path}.")


def _given(options: argparse.Namespace) -> tuple[Network, np.ndarray, np.ndarray]:
    """The network, images and labels that the options name.

    Raises: StoppedError once the time is up.
    """
    try:
        with reading(options):
            network = read_onnx(options.network, output=options.output_name, inputs=fixed_inputs(options.fix))
        return network, *read_images(options.images, options.labels)
    except Stopped:
        raise StoppedError(f"{options.network} was not read to its end: the time was up. Allow more.") from None
