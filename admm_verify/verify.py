"""`verify`: from a query to a verdict, by certified bounds, branch and bound, and confirmed counterexamples."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.backends.placement import iteration_placement
from admm_verify.bounds.arithmetic import check_arithmetic
from admm_verify.certificates.certificate import Certificate
from admm_verify.complete.constants import Group, by_constants
from admm_verify.complete.decide import Decision
from admm_verify.complete.enumeration import Enumeration
from admm_verify.complete.free_inputs import by_free_inputs
from admm_verify.complete.rising import rising_disjuncts
from admm_verify.complete.settings import VerifySettings
from admm_verify.complete.side_by_side import with_closer_network
from admm_verify.memory import memory_errors
from admm_verify.network.common_factors import summed_before_products
from admm_verify.network.onnx_runtime import forget_models
from admm_verify.network.whole import WholeNetwork
from admm_verify.options import instance, member
from admm_verify.properties.query import Query
from admm_verify.properties.rows import AtomRows, atom_rows
from admm_verify.reprs import short_repr
from admm_verify.run import Ended, Run, Stopped
from admm_verify.verdict import Verdict


@dataclass(frozen=True, eq=False, repr=False)
class Outcome:
    """The answer to a query.

    counterexample and output: with SAT, the confirmed input and the network's output there, in the network's element
    type. rows_lower: certified lower bound of every output atom's value on its whole input set, in file order (an atom
    can hold only where its value is <= 0). undecided: number of disjuncts left. subproblems: parts of the disjuncts
    bounded by branch and bound; lower: the proven bound of the best atom on the worst part, at most 0 while one is
    left. exact_input: the counterexample's exact coordinates, which lie in the query's input set; counterexample is
    these, rounded to the network's element type. certificate: what proves UNSAT, where asked for. unwritten: why the
    checkpoint is not the latest state, or the certificate is missing; None otherwise. unconfirmed: why a counterexample
    that was found could not be confirmed, which ended the search; None otherwise.

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

    __repr__ = short_repr

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", member(self.verdict, "The verdict", Verdict))


@memory_errors()
def verify(
    query: Query,
    *,
    timeout: float | None = None,
    device: str | None = None,
    settings: VerifySettings | None = None,
    run: Run | None = None,
) -> Outcome:
    """UNSAT when certified bounds exclude every disjunct, SAT for a confirmed counterexample, else UNKNOWN.

    Bounds of the whole boxes come first, then attacks, then branch and bound: boxes with few sides are halved, else
    neurons are split at their kink, until nothing is left or the time is up. Everything found by then counts. Where
    bounds are estimated to cost more than a short attack, that comes before them, and longer ones take turns with them.

    A counterexample is rounded into the input set in the network's element type, replayed by onnxruntime in a process
    of its own (by our own forward pass in that type where it is not installed, or lacks one of the operators in that
    type), and that output is checked against the query in exact arithmetic. Where onnxruntime fails or crashes, the
    answer is UNKNOWN. SAT is thus about the network as computed, whatever the arithmetic; UNSAT about the arithmetic
    chosen. Where the set holds no number of that type, as a box that fixes an input at 0.1, the network runs at the
    nearest one, and the query must hold in real numbers at the exact point too.

    Of a network that ends in a softmax, an argmax or the like, comparisons are answered by its scores (`Query.note()`
    says so): UNSAT holds in real numbers, where a softmax keeps their order; SAT is replayed on the whole network.

    Raises: InputError for what is no query, settings or run, a query that declares an unknown arithmetic, a checkpoint
    of another query, and a certificate of what `check` cannot prove; MissingPackageError for "milp" without highspy;
    DeviceError; UnsupportedQueryError.
    """
    began = time.monotonic()
    instance(query, Query, "The query", ", such as av.read_query(path, network) or av.query(network, box, condition)")
    run = Run.of(run, timeout, device)
    iteration_placement(Placement.numpy(), run.device, None)
    chosen = VerifySettings() if settings is None else instance(settings, VerifySettings, "settings")
    arithmetic = query.property.arithmetic if chosen.arithmetic is None else chosen.arithmetic
    check_arithmetic(arithmetic)
    if isinstance(query.network, WholeNetwork):
        return _enumerated(query, replace(chosen, arithmetic=arithmetic), run, began)
    query = query.about_outputs(arithmetic)
    plain = chosen.certificate or chosen.checkpoint or chosen.max_subproblems == 0
    rising = rising_disjuncts(query, run) if arithmetic == "real" and not plain else []
    if not chosen.certificate:
        query = with_closer_network(query, run)
    if arithmetic == "real" and not chosen.certificate:
        # The checker takes the products as they are read, and rounding errors are those of what a runtime computes.
        query = replace(query, network=summed_before_products(query.network))
    if rising:
        return _but(query, rising, lambda part: _decided(part, chosen, run, began), run, began)
    groups = [] if chosen.certificate or chosen.checkpoint else _groups(query, run)
    if groups:
        return _grouped(query, groups, lambda part: _decided(part, chosen, run, began), run, began)
    if chosen.certificate:
        # The checker's formulas of every kind; few queries ask for a certificate.
        from admm_verify.certificates.joint import check_shown
        from admm_verify.certificates.kinds import check_kinds
        from admm_verify.certificates.regions import check_regions

        check_kinds(query.network)
        check_shown(query.network, arithmetic)
        check_regions(query.property)
    return _decided(query, chosen, run, began)


def _decided(query: Query, settings: VerifySettings, run: Run, began: float) -> Outcome:
    """The answer to a query: first about disjuncts that fix most inputs, then about all that these leave open."""
    count = len(query.property.disjuncts)
    if not count:
        return Outcome(Verdict.UNSAT, None, None, np.zeros(0), 0, time.monotonic() - began)
    try:
        with run.watching():
            found = by_free_inputs(query, settings, run)
    except Stopped:
        return _nothing_known(count, run, began)
    finally:
        forget_models()
    if found is None or not (found.excluded or found.witness):
        return _as_a_whole(query, settings, run, began)
    if found.witness is not None:
        x, exact, output = found.witness.x, found.witness.exact, found.witness.output
        lower, spent = _known_lower(found.rows, found.excluded), time.monotonic() - began
        open_disjuncts = count - len(set(found.excluded))
        return Outcome(Verdict.SAT, x, output, lower, open_disjuncts, spent, found.bounded, -np.inf, exact)
    outcome = _but(query, found.excluded, lambda part: _as_a_whole(part, settings, run, began), run, began)
    return replace(outcome, subproblems=outcome.subproblems + found.bounded)


def _as_a_whole(query: Query, settings: VerifySettings, run: Run, began: float) -> Outcome:
    try:
        with run.watching():
            decision = Decision(query, settings, run)
            decision.decide()
    except Stopped:
        # Not even the rows were made.
        return _nothing_known(len(query.property.disjuncts), run, began)
    finally:
        forget_models()
    return _outcome(decision, began)


def _nothing_known(count: int, run: Run, began: float) -> Outcome:
    """The answer to a query of some disjuncts of which there was no time to look at any."""
    return Outcome(_unfinished(run), None, None, np.zeros(0), count, time.monotonic() - began, lower=-np.inf)


def _enumerated(query: Query, settings: VerifySettings, run: Run, began: float) -> Outcome:
    """The answer about a network that reads whole numbers, cell by cell."""
    found = Enumeration(query, settings, run)
    try:
        with run.watching(), suppress(Stopped):
            found.decide()
    finally:
        forget_models()
    verdict = Verdict.SAT if found.witness is not None else Verdict.UNSAT if not found.open else _unfinished(run)
    witness, known = found.witness, np.where(np.isposinf(found.least), -np.inf, found.least)
    return Outcome(
        verdict,
        None if witness is None else witness.x,
        None if witness is None else witness.output,
        known,
        found.open,
        time.monotonic() - began,
        found.cells,
        float("inf") if not found.open else float(known.min(initial=0.0)),
        None if witness is None else witness.exact,
        unconfirmed=found.failure if verdict in (Verdict.UNKNOWN, Verdict.TIMED_OUT) else None,
    )


def _groups(query: Query, run: Run) -> list[Group]:
    """The query in parts in which inputs are constants; none once the run is over, which ends the rest as well."""
    try:
        return by_constants(query, run)
    except Stopped:
        return []


def _but(query: Query, excluded: Iterable[int], decide: Callable[[Query], Outcome], run: Run, began: float) -> Outcome:
    """The answer to a query some disjuncts of which are known to hold nowhere, from that to the others."""
    known = set(excluded)
    left = [i for i in range(len(query.property.disjuncts)) if i not in known]
    outcome = _grouped(query, [_some(query, left)] if left else [], decide, run, began)
    lower = _known_lower(atom_rows(query.property), known)
    return replace(outcome, rows_lower=np.maximum(lower, outcome.rows_lower))


def _known_lower(rows: AtomRows, excluded: Iterable[int]) -> np.ndarray:
    """Lower bounds of the rows where only some disjuncts are known to hold nowhere."""
    lower = np.full(len(rows.box), -np.inf)
    # Where its only atom excludes a disjunct, this is positive.
    lower[[rows.disjuncts[i][0] for i in excluded if len(rows.disjuncts[i]) == 1]] = 0.0
    return lower


def _some(query: Query, numbers: list[int]) -> Group:
    """The query about some of its disjuncts."""
    own = tuple(query.property.disjuncts[i] for i in numbers)
    return Group(replace(query, property=replace(query.property, disjuncts=own)), numbers)


def _grouped(query: Query, groups: list[Group], decide: Callable[[Query], Outcome], run: Run, began: float) -> Outcome:
    """The answer to a query from those to its parts, one after the other."""
    rows = atom_rows(query.property)
    lower, open_disjuncts, subproblems, least = np.full(len(rows.box), -np.inf), 0, 0, float("inf")
    unconfirmed = None
    for group in groups:
        found = decide(group.query)
        places = atom_rows(group.query.property).disjuncts
        for number, own in zip(group.numbers, places, strict=True):
            if len(found.rows_lower):
                lower[list(rows.disjuncts[number])] = found.rows_lower[list(own)]
        open_disjuncts, subproblems = open_disjuncts + found.undecided, subproblems + found.subproblems
        least, unconfirmed = min(least, found.lower), unconfirmed or found.unconfirmed
        if found.verdict is Verdict.SAT:
            return replace(found, rows_lower=lower, undecided=open_disjuncts, subproblems=subproblems, lower=least)
    verdict = _unfinished(run) if open_disjuncts else Verdict.UNSAT
    seconds = time.monotonic() - began
    return Outcome(verdict, None, None, lower, open_disjuncts, seconds, subproblems, least, unconfirmed=unconfirmed)


def _unfinished(run: Run) -> Verdict:
    return Verdict.TIMED_OUT if run.ended() is Ended.TIMED_OUT else Verdict.UNKNOWN


def _outcome(decision: Decision, began: float) -> Outcome:
    open_disjuncts, found = decision.open, decision.witness
    if found is not None:
        verdict = Verdict.SAT
    elif not open_disjuncts:
        verdict = Verdict.UNSAT
    else:
        verdict = _unfinished(decision.run)
    return Outcome(
        verdict,
        None if found is None else found.x,
        None if found is None else found.output,
        decision.root.known.lower,
        open_disjuncts,
        time.monotonic() - began,
        decision.subproblems,
        decision.lower,
        None if found is None else found.exact,
        decision.certificate(),
        decision.unwritten,
        decision.counterexamples.failure if verdict in (Verdict.UNKNOWN, Verdict.TIMED_OUT) else None,
    )
