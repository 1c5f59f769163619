"""The options that commands share which certify images."""

import argparse

from admm_verify.arguments import Written, decimal, whole
from admm_verify.bounds.arithmetic import ARITHMETICS
from admm_verify.robustness.settings import BOUNDS, CertifySettings
from admm_verify.sets.norm_names import NORMS
from admm_verify.splitting.solve import METHODS


def add_certifying(parser: argparse.ArgumentParser) -> None:
    """The balls around images, and how they are certified."""
    parser.add_argument(
        "--norm", choices=NORMS, default="linf", help="of the balls; linf: the largest change of a pixel; default linf"
    )
    parser.add_argument(
        "--mean", nargs="+", type=decimal, metavar="M", help="of the normalisation (image - mean) / std; per channel"
    )
    parser.add_argument("--std", nargs="+", type=decimal, metavar="S", help="with --mean")
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument(
        "--within",
        nargs=2,
        type=decimal,
        default=(0.0, 1.0),
        metavar=("LOW", "HIGH"),
        help="range of pixels; default 0 1",
    )
    cut.add_argument("--unbounded", action="store_true", help="pixels have no range")
    parser.add_argument("--bounds", choices=BOUNDS, default="tightened", help="of pre-activations")
    parser.add_argument("--arithmetic", choices=ARITHMETICS, default="real")
    parser.add_argument("--method", choices=METHODS, default="ascent")
    parser.add_argument("--max-passes", type=whole, metavar="N", help="budget per row; 0 is the CROWN bound alone")
    parser.add_argument(
        "--output", type=Written, metavar="FILE.jsonl", help="a line per finished instance; run again to go on"
    )
    parser.add_argument(
        "--search", type=decimal, metavar="SECONDS", help="branch and bound for each image that bounds leave unknown"
    )


def certify_settings(options: argparse.Namespace) -> CertifySettings:
    """What these options say."""
    return CertifySettings(
        within=None if options.unbounded else tuple(options.within),
        bounds=options.bounds,
        arithmetic=options.arithmetic,
        method=options.method,
        max_passes=options.max_passes,
        output=options.output,
        search=options.search,
        mean=options.mean,
        std=options.std,
        norm=options.norm,
    )


def radius(text: str) -> float | list[float]:
    """A radius, or one for each channel.

    Raises: ArgumentTypeError for other text.
    """
    numbers = [decimal(part) for part in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers
