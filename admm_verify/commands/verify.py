"""The command `verify`: the verdict first, then the files that were asked for."""

import argparse
import os
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.arguments import Written, whole
from admm_verify.bounds.arithmetic import ARITHMETICS
from admm_verify.commands.queries import add_solved_query, asked_query
from admm_verify.commands.running import advise, running, write_record
from admm_verify.complete.settings import METHODS
from admm_verify.files import every, reason, replaced, require_written
from admm_verify.network.onnx_checks import tensor_bytes
from admm_verify.report.records.verify import VerifyRecord
from admm_verify.report.text import assignment
from admm_verify.streams import complain

HELP = "decide a VNN-LIB query: sat, unsat, unknown or timed-out"


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `verify`."""
    add_solved_query(parser, METHODS)
    parser.add_argument("--serialise-assignments", metavar="DIR", help="write a counterexample as TensorProto files")
    parser.add_argument("--arithmetic", choices=ARITHMETICS, help="default: what the query declares")
    parser.add_argument(
        "--max-subproblems", type=whole, metavar="N", help="end branch and bound after N; 0: bounds and attacks alone"
    )
    parser.add_argument(
        "--certificate", type=Written, metavar="FILE", help="after unsat, write a proof that `check` can verify"
    )
    parser.add_argument(
        "--checkpoint", type=Written, metavar="FILE", help="keep the search in this file, and go on from it"
    )


def run(options: argparse.Namespace) -> int:
    """Decide a query: the verdict and a counterexample on stdout, how far it is on stderr.

    Raises: OutputError, after the verdict, when files cannot be written.
    """
    stop = options.question()
    with running(options, stop) as how:
        try:
            query = asked_query(options, how)
        except av.StoppedError as error:
            _unread(options, av.Verdict.UNKNOWN if stop() else av.Verdict.TIMED_OUT, str(error))
            return 0
        outcome = _decided(options, query, how)
    _answer(options, query, outcome)
    return 0


def _decided(options: argparse.Namespace, query: av.Query, how: av.Run) -> av.Outcome:
    folder = options.serialise_assignments
    if folder is not None and os.path.exists(folder) and not os.path.isdir(folder):
        raise av.InputError(f"The assignment cannot be written to {folder}: it is no folder. Give another one.")
    settings = av.VerifySettings(
        method=options.method,
        arithmetic=options.arithmetic,
        max_subproblems=options.max_subproblems,
        certificate=options.certificate is not None,
        checkpoint=options.checkpoint,
    )
    return av.verify(query, settings=settings, run=how)


def _answer(options: argparse.Namespace, query: av.Query, outcome: av.Outcome) -> None:
    options.say(outcome.verdict.value)
    if query.property.impossible:
        complain(f"{query.name}: {query.property.impossible}.")
    if outcome.unconfirmed is not None:
        complain(outcome.unconfirmed)
    advise(options, [outcome.verdict])
    every(_writers(options, query, outcome))


def _unread(options: argparse.Namespace, verdict: av.Verdict, why: str) -> None:
    """Say the verdict on a query that was not read to its end."""
    record = VerifyRecord(verdict.value, verdict, time.monotonic() - options.began, Path(options.query).name)
    options.say(record.text)
    complain(why)
    advise(options, [verdict])
    if options.json:
        write_record(options, record, options.arithmetic)


def _writers(options: argparse.Namespace, query: av.Query, outcome: av.Outcome) -> list[Callable[[], object]]:
    """What is left to do once the verdict is said."""
    writers: list[Callable[[], object]] = [lambda: _assign(options, query, outcome)]
    certificate = outcome.certificate
    if certificate is not None:
        from admm_verify.certificates.files import write as write_certificate

        writers.append(lambda: write_certificate(certificate, options.certificate))
    if options.json:
        record, arithmetic = VerifyRecord.of(query, outcome), options.arithmetic or query.property.arithmetic
        writers.append(lambda: write_record(options, record, arithmetic))
    return [*writers, lambda: require_written(outcome.unwritten)]


def _assign(options: argparse.Namespace, query: av.Query, outcome: av.Outcome) -> None:
    """The counterexample and its output: exactly as text, or as tensors; as text too where these cannot be written."""
    if outcome.exact_input is None or outcome.output is None:
        return
    failure = _serialise(options.serialise_assignments, query, outcome) if options.serialise_assignments else None
    if failure is not None or not options.serialise_assignments:
        output = [Fraction(float(value)) for value in outcome.output.reshape(-1)]
        for variable, values in query.property.parted(outcome.exact_input, output):
            options.say(assignment(variable, values))
    require_written(failure)


def _serialise(folder: str, query: av.Query, outcome: av.Outcome) -> str | None:
    """Write tensors in the network's element type: where the exact input is none of it, the one that was run.

    Returns why they could not be written, if so.
    """
    assert outcome.counterexample is not None and outcome.output is not None, "there is one to write"
    flat = outcome.counterexample.reshape(-1), outcome.output.reshape(-1)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for variable, values in query.property.parted(*flat):
            kind = variable.element_type if variable.whole else None
            array = np.asarray(values, dtype=kind).reshape(variable.shape)
            with replaced(Path(folder) / f"{variable.name}.pb", "assignment") as file:
                file.write(tensor_bytes(array, variable.name))
    except av.OutputError as error:
        return str(error)
    except OSError as error:
        return f"The assignment cannot be written to {folder}: {reason(error)}."
    return None
