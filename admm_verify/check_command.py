"""The command `check`: its options and what it prints."""

import argparse
import math
import sys

from admm_verify.arguments import decimal
from admm_verify.certificates.certificate import ARITHMETICS
from admm_verify.certificates.check import check
from admm_verify.certificates.files import Extent, read
from admm_verify.errors import CertificateError
from admm_verify.properties.query import Query
from admm_verify.report.text import write_json
from admm_verify.streams import complain, tell

_NAMED = ("query", "network")


def add_check_options(parser: argparse.ArgumentParser) -> None:
    """All options of `check`."""
    parser.add_argument("proof", metavar="CERTIFICATE.npz", help="what verify --certificate wrote")
    parser.add_argument("query", metavar="QUERY.vnnlib", help="VNN-LIB 1.0 or 2.0, also .gz")
    parser.add_argument(
        "--network", action="append", default=[], metavar="[NAME=]FILE.onnx", required=True, help="the ONNX model"
    )
    parser.add_argument("--arithmetic", choices=ARITHMETICS, help="default: what the query declares")
    parser.add_argument("--exact", action="store_true", help="in rational numbers: small networks without curves only")
    parser.add_argument(
        "--memory",
        type=decimal,
        metavar="GIB",
        help="limit on the working memory in GiB; default: half of what is free",
    )
    parser.add_argument("--json", metavar="FILE", help="write the complete result")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def check_file(options: argparse.Namespace, query: Query, memory: float | None) -> int:
    """Check a certificate of a query: proved or not-proved on stdout, the reason on stderr; 0 if proved, else 1.

    memory: as `check` takes it, in bytes.
    Raises: InputError for a memory limit that is not positive.
    """
    terminal = not options.quiet and sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        tell(f"\r{done} of {total} leaves\x1b[K")

    content: dict[str, object] = {
        "proved": False,
        "exact": options.exact,
        "query": query.name,
        "network": query.network.name,
    }
    try:
        certificate = read(options.proof, memory, Extent.of(query.property, query.network))
    except CertificateError as error:
        reason = str(error)
    else:
        told = show if terminal else None
        found = check(
            certificate, query.property, query.network, options.exact, memory, told, arithmetic=options.arithmetic
        )
        if terminal:
            tell("\n")
        reason = found.reason
        content |= {
            "proved": found.proved,
            "arithmetic": found.arithmetic,
            "query_digest": found.query,
            "network_digest": found.network,
            "leaves": found.leaves,
            "worst": found.worst if math.isfinite(found.worst) else None,
            "seconds": found.seconds,
        }
    if content["proved"]:
        numbers = ", in exact numbers" if options.exact else ""
        lines = [
            "proved",
            f"in {content['arithmetic']} arithmetic, with {content['leaves']} leaves{numbers}",
            *(
                f"{name} {content[name]}, SHA-256 of what was read {content[f'{name}_digest']}"
                for name in ("query", "network")
            ),
        ]
        options.say("\n".join(lines))
    else:
        options.say("not-proved")
        complain(reason)
    if options.json:
        write_json(options.json, content | {"reason": reason})
    return 0 if content["proved"] else 1
