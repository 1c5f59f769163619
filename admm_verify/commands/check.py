"""The command `check`: its options and what it prints."""

import argparse

from admm_verify.arguments import Read
from admm_verify.certificates.certificate import ARITHMETICS
from admm_verify.certificates.check import check
from admm_verify.certificates.files import Extent, read
from admm_verify.commands.queries import add_query, asked_query
from admm_verify.commands.running import add_memory, running, write_record
from admm_verify.errors import CertificateError
from admm_verify.properties.query import Query
from admm_verify.report.records.check import CheckRecord
from admm_verify.run import Run
from admm_verify.streams import complain

HELP = "prove again, without any search, what a certificate says"


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `check`."""
    parser.add_argument("proof", type=Read, metavar="CERTIFICATE.npz", help="what verify --certificate wrote")
    add_query(parser)
    parser.add_argument("--arithmetic", choices=ARITHMETICS, help="default: what the query declares")
    parser.add_argument("--exact", action="store_true", help="in rational numbers: small networks without curves only")
    add_memory(parser)


def run(options: argparse.Namespace) -> int:
    """Check a certificate of a query: proved or not-proved on stdout, the reason on stderr; 0 if proved, else 1."""
    with running(options) as how:
        return check_file(options, asked_query(options, how).about_outputs(options.arithmetic), how)


def check_file(options: argparse.Namespace, query: Query, how: Run) -> int:
    """`run` for a query that has been read."""
    try:
        certificate = read(options.proof, how, Extent.of(query.property, query.network))
    except CertificateError as error:
        record = CheckRecord.of(query, options.exact, str(error))
    else:
        arithmetic, exact = options.arithmetic, options.exact
        found = check(certificate, query.property, query.network, arithmetic=arithmetic, exact=exact, run=how)
        record = CheckRecord.of(query, options.exact, found)
    options.say(record.text)
    if not record.proved:
        complain(record.reason)
    if options.json:
        write_record(options, record, options.arithmetic or query.property.arithmetic)
    return 0 if record.proved else 1
