"""The command `supports`: what this solver can do, in the words of the VNN-LIB solver interface."""

import argparse

from admm_verify.network.from_onnx import OPSETS, SUPPORTED
from admm_verify.report.schemas import schema_names, schema_text

HELP = "what this solver supports, one value a line"

CAPABILITIES: dict[str, tuple[str, ...]] = {
    "onnx-opset-versions": tuple(str(version) for version in OPSETS),
    "onnx-element-types": ("float32", "float64", "real"),
    "onnx-operators": SUPPORTED,
    "vnnlib-versions": ("1.0", "2.0"),
    "hidden-node-theories": ("NH", "H"),
    "multiple-input-output-theories": ("SIO", "MIO"),
    "multiple-network-theories": ("SNET", "MENET", "MINET", "MNET"),
    "multiple-node-comparison-theories": ("SNC", "MNC"),
    "arithmetic-complexity-theories": ("BND", "OUTC", "LIN", "POLY"),
    "optimised-disjunctive-reasoning": ("false",),
    "serialise-assignments": ("true",),
    "schemas": schema_names(),
}
"""What `supports` answers, one value a line."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """One option per capability."""
    which = parser.add_mutually_exclusive_group(required=True)
    for name in CAPABILITIES:
        which.add_argument(f"--{name}", action="store_const", const=name, dest="capability")
    which.add_argument(
        "--schema", choices=schema_names(), metavar="NAME", help="the JSON Schema of one of the formats --schemas lists"
    )


def run(options: argparse.Namespace) -> int:
    """Say all values of a capability, or a schema."""
    options.say(schema_text(options.schema) if options.schema else "\n".join(CAPABILITIES[options.capability]))
    return 0
