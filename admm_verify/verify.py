"""`verify`: from a query to a verdict, by certified bounds, branch and bound, and confirmed counterexamples."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.bounds.arithmetic import check_arithmetic
from admm_verify.certificates.certificate import Certificate
from admm_verify.certificates.kinds import check_kinds
from admm_verify.complete.decide import EXACT, Decision, Options
from admm_verify.errors import InputError
from admm_verify.files import check_targets
from admm_verify.network.onnx_runtime import forget_models
from admm_verify.options import (
    callbacks,
    choice,
    file_path,
    flag,
    instance,
    member,
    memory_bytes,
    pass_limit,
    timeout_seconds,
)
from admm_verify.properties.query import Query
from admm_verify.run import Ended, Stopped
from admm_verify.splitting.loop import Clock
from admm_verify.splitting.placement import iteration_placement
from admm_verify.splitting.solve import METHODS as BOUND_METHODS
from admm_verify.verdict import Verdict

METHODS = (*BOUND_METHODS, EXACT)


@dataclass(frozen=True, eq=False)
class Outcome:
    """The answer to a query.

    counterexample and output: with SAT, the confirmed input and the network's output there, in the network's element
    type. rows_lower: certified lower bound of every output atom's value on its whole box, in file order (an atom can
    hold only where its value is <= 0). undecided: number of disjuncts left. subproblems: parts of the disjuncts bounded
    by branch and bound; lower: the proven bound of the best atom on the worst part, at most 0 while one is left.
    exact_input: the counterexample's exact coordinates, which lie in the query's box; counterexample is these rounded
    to the network's element type. certificate: what proves UNSAT, where asked for. unwritten: why the checkpoint is not
    the latest state, or the certificate is missing; None otherwise. unconfirmed: why a counterexample that was found
    could not be confirmed, which ended the search; None otherwise.

    Shapes: counterexample [*input_shape]; output [*output_shape]; rows_lower [rows].
    """

    verdict: Verdict
    counterexample: np.ndarray | None
    output: np.ndarray | None
    rows_lower: np.ndarray
    undecided: int
    seconds: float
    subproblems: int = 0
    lower: float = float("inf")
    exact_input: tuple[Fraction, ...] | None = None
    certificate: Certificate | None = None
    unwritten: str | None = None
    unconfirmed: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", member(self.verdict, "The verdict", Verdict))


def verify(
    query: Query,
    timeout: float | None = None,
    method: str = "auto",
    device: str | None = None,
    arithmetic: str | None = None,
    progress: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
    memory: float | None = None,
    max_subproblems: int | None = None,
    certificate: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Outcome:
    """UNSAT when certified bounds exclude every disjunct, SAT for a confirmed counterexample, else UNKNOWN.

    Bounds of the whole boxes come first, then attacks, then branch and bound: boxes with few sides are halved, else
    neurons are split at their kink, until nothing is left or the time is up. Everything found by then counts.

    A counterexample is rounded into the box in the network's element type, replayed by onnxruntime in a process of its
    own (by our own forward pass in that type where it is not installed, or lacks one of the operators in that type),
    and that output is checked against the query in exact arithmetic. Where onnxruntime fails or crashes, the answer is
    UNKNOWN. SAT is thus about the network as computed, whatever the arithmetic; UNSAT about the arithmetic chosen.
    Where the box holds no number of that type, as when it fixes an input at 0.1, the network runs at the nearest one,
    and the query must hold in real numbers at the exact point too.

    method: "auto" or another one of `solve` for the bounds at the root; "milp", for small networks of ReLU, leaky ReLU
    and PReLU, asks HiGHS (package highspy) for the exact minimum of every open disjunct, tries its point, and then
    splits neurons with linear programs, which ends in finitely many parts. HiGHS's word alone is never an answer.
    arithmetic: "real" bounds the network in real numbers; "float32" and "float64" add the rounding error of evaluating
    it in that type. None takes what the query declares. memory: limit on the working
    memory in bytes, by default half of what is free. max_subproblems: ends branch and bound; 0 leaves it out.
    certificate: record what proves UNSAT, for `certificates.check`; takes somewhat longer. checkpoint: a file that
    keeps the state of branch and bound from time to time and at the end, so that the same call goes on where a killed
    one was; it is deleted once the query is decided.

    Raises: InputError for an unknown option, or a checkpoint of another query or where no file can be;
    MissingPackageError for "milp" without highspy; UnsupportedQueryError.
    """
    began = time.monotonic()
    _check_kinds(query, method, device, progress, stop)
    chosen = query.property.arithmetic if arithmetic is None else arithmetic
    check_arithmetic(chosen)
    timeout, memory = timeout_seconds(timeout), memory_bytes(memory)
    most = pass_limit(max_subproblems, "max_subproblems")
    path = _checkpoint_path(checkpoint, certificate=flag(certificate, "certificate"))
    if certificate:
        check_kinds(query.network)
    clock = Clock(None if timeout is None else began + timeout, stop)
    return _decided(query, Options(method, device, chosen, memory, most, path, certificate), clock, progress, began)


def _decided(
    query: Query, options: Options, clock: Clock, progress: Callable[[str], None] | None, began: float
) -> Outcome:
    if not query.property.disjuncts:
        return Outcome(Verdict.UNSAT, None, None, np.zeros(0), 0, time.monotonic() - began)
    try:
        decision = Decision(query, options, clock, progress)
        decision.run()
    except Stopped:
        # Not even the rows were made.
        verdict, count = _unfinished(clock.interruption()), len(query.property.disjuncts)
        return Outcome(verdict, None, None, np.zeros(0), count, time.monotonic() - began, lower=-np.inf)
    finally:
        forget_models()
    return _outcome(decision, began)


def _checkpoint_path(checkpoint: object, certificate: bool) -> Path | None:
    if checkpoint is None:
        return None
    path = file_path(checkpoint, "The checkpoint", ", or None")
    if certificate:
        raise InputError("A certificate of a search that was interrupted is not supported; leave the checkpoint out.")
    check_targets([os.fspath(path)], [])
    return path


def _unfinished(interruption: Ended | None) -> Verdict:
    return Verdict.TIMED_OUT if interruption is Ended.TIMED_OUT else Verdict.UNKNOWN


def _check_kinds(
    query: Query,
    method: str,
    device: str | None,
    progress: Callable[[str], None] | None,
    stop: Callable[[], bool] | None,
) -> None:
    instance(query, Query, "The query")
    choice(method, "The method", METHODS)
    iteration_placement(Placement.numpy(), device, None)
    callbacks(("progress", progress), ("stop", stop))


def _outcome(decision: Decision, began: float) -> Outcome:
    open_disjuncts, found = decision.open, decision.witness
    if found is not None:
        verdict = Verdict.SAT
    elif not open_disjuncts:
        verdict = Verdict.UNSAT
    else:
        verdict = _unfinished(decision.interruption)
    return Outcome(
        verdict,
        None if found is None else found.x,
        None if found is None else found.output,
        decision.root.lower,
        open_disjuncts,
        time.monotonic() - began,
        decision.subproblems,
        decision.lower,
        None if found is None else found.exact,
        decision.certificate(),
        decision.unwritten,
        decision.counterexamples.failure if verdict in (Verdict.UNKNOWN, Verdict.TIMED_OUT) else None,
    )
