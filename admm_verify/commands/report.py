"""The command `report`: its options and files."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from admm_verify.arguments import Read, Written, at_least_one, decimal, whole
from admm_verify.commands.certifying import add_certifying, certify_settings, radius
from admm_verify.commands.queries import add_part, fixed_inputs
from admm_verify.commands.running import add_running, advise, made_by, reading, running, write_record
from admm_verify.errors import StoppedError
from admm_verify.files import every, require_written
from admm_verify.network.from_onnx import read_onnx
from admm_verify.robustness.data_sets import read_images
from admm_verify.run import Stopped

if TYPE_CHECKING:
    from admm_verify.robustness_report.settings import ReportSettings

HELP = "one network's report: accuracy clean, attacked, certified over radii, smallest perturbations, steepness"

_STEEPNESS, _RIVALS, _EXAMPLES = 20.0, 3, 8


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `report`."""
    parser.add_argument(
        "model", type=Read, metavar="NETWORK.onnx", help="a classifier, one output per class, also .nnet"
    )
    parser.add_argument(
        "images", type=Read, metavar="DATA", help=".npz with the arrays images and labels, or .npy with images"
    )
    parser.add_argument("--labels", type=Read, metavar="FILE.npy", help="one integer per image")
    parser.add_argument(
        "--eps",
        required=True,
        nargs="+",
        type=radius,
        metavar="R",
        help="radii of the balls around images; R,R,R: one for each channel",
    )
    parser.add_argument(
        "--html", type=Written, metavar="FILE.html", help="the report as one page that needs nothing else"
    )
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="names of the classes, in order")
    parser.add_argument(
        "--lipschitz",
        type=decimal,
        default=_STEEPNESS,
        metavar="SECONDS",
        help=f"for Lipschitz constants, 0 for none; default {_STEEPNESS:g}",
    )
    parser.add_argument(
        "--rivals",
        type=at_least_one,
        default=_RIVALS,
        metavar="N",
        help=f"other classes that attacks aim at for each image; default {_RIVALS}",
    )
    parser.add_argument(
        "--examples",
        type=whole,
        default=_EXAMPLES,
        metavar="N",
        help=f"of the smallest perturbations found; default {_EXAMPLES}",
    )
    parser.add_argument("--seed", type=whole, default=0, help="of the attacks' random starts; default 0")
    add_part(parser)
    add_certifying(parser)
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    """Attack and certify what the files hold; the table on stdout, how far it is on stderr."""
    # Other commands answer sooner without this room.
    from admm_verify.report.page.page import report_page
    from admm_verify.report.records.robustness_report import ReportRecord
    from admm_verify.robustness_report.front import robustness_report

    settings = _settings(options)
    with running(options, options.question()) as how:
        try:
            with how.watching(), reading(options):
                network = read_onnx(options.model, output=options.output_name, inputs=fixed_inputs(options.fix))
            images, labels = read_images(options.images, options.labels)
        except Stopped:
            raise StoppedError(f"{options.model} was not read to its end: the time was up. Allow more.") from None
        found = robustness_report(network, images, labels, eps=options.eps, settings=settings, run=how)
    options.say(repr(found))
    advise(options, [found.status])
    writers: list[Callable[[], object]] = []
    if options.json:
        writers.append(lambda: write_record(options, ReportRecord.of(found), options.arithmetic))
    if options.html:
        writers.append(lambda: report_page(options.html, found, made_by(options, options.arithmetic)))
    every([*writers, lambda: require_written(found.certification.unwritten)])
    return 0


def _settings(options: argparse.Namespace) -> "ReportSettings":
    from admm_verify.robustness_report.settings import ReportSettings

    return ReportSettings(
        certifying=certify_settings(options),
        rivals=options.rivals,
        seed=options.seed,
        steepness=options.lipschitz or None,
        examples=options.examples,
        classes=options.classes,
    )
