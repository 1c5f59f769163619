"""`equivalence`: whether two networks can stand for each other over sets of inputs."""

import time
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.bounds.preactivation import input_rows
from admm_verify.complete.settings import VerifySettings
from admm_verify.differential.criteria import Criterion, EpsilonEquivalence, Top1Equivalence, Ways
from admm_verify.differential.difference import joined
from admm_verify.differential.settings import EquivalenceSettings
from admm_verify.differential.staged import CROWN, staged_bounds, tightened
from admm_verify.memory import memory_errors
from admm_verify.network.common_factors import summed_before_products
from admm_verify.network.graph import Network, check_classifier, check_network
from admm_verify.network.pair import PairedNetwork
from admm_verify.options import instance
from admm_verify.properties.infix import property_of
from admm_verify.properties.property import Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.query import Query
from admm_verify.run import Ended, Run
from admm_verify.sets.contract import WalkableSet
from admm_verify.text_tables import table
from admm_verify.verdict import Answer, Verdict
from admm_verify.verify import Outcome, verify

_SHOWN = 20
"""Sets that the text of a result shows."""

_ANSWERS = {
    Verdict.SAT: Answer.FALSIFIED,
    Verdict.UNSAT: Answer.VERIFIED,
    Verdict.UNKNOWN: Answer.UNKNOWN,
    Verdict.TIMED_OUT: Answer.TIMED_OUT,
}


@dataclass(frozen=True, eq=False)
class Disagreement:
    """An input at which two networks are not equivalent, and what each of them computes there, in its element type.

    exact: the coordinates that lie in the set, exactly; input is these, rounded to the element type, which is the same
    wherever the set holds numbers of that type.
    Shapes: input [*input_shape]; first, second [*output_shape].
    """

    input: np.ndarray
    first: np.ndarray
    second: np.ndarray
    exact: tuple[Fraction, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Equivalence:
    """Whether two networks are equivalent over each of some sets, in the sense of the criterion.

    answer: VERIFIED by certified bounds, FALSIFIED by a disagreement, else UNKNOWN or TIMED_OUT. disagreements: of the
    sets that are falsified, else None. subproblems: parts of each set that branch and bound took. notes: where the
    networks are not compared layer by layer, and what is left out of them, and why.
    Shapes: answer, subproblems [sets].
    """

    criterion: Criterion
    answer: np.ndarray
    disagreements: tuple[Disagreement | None, ...]
    subproblems: np.ndarray
    notes: tuple[str, ...]
    seconds: float

    def count(self, answer: Answer) -> int:
        """Sets of an answer."""
        return int(np.sum(self.answer == answer))

    def __repr__(self) -> str:
        """A line per set."""
        rows = [[str(s), one.value, str(self.subproblems[s])] for s, one in enumerate(self.answer)]
        counts = ", ".join(f"{self.count(one)} {one.value}" for one in Answer if self.count(one))
        lines = [
            f"Equivalence, {self.criterion.words}: {counts}; {self.seconds:.2f} s",
            table(["set", "answer", "parts"], rows[:_SHOWN]),
            *([f"... {len(rows) - _SHOWN} more sets"] if len(rows) > _SHOWN else []),
            *self.notes,
        ]
        return "\n".join(lines)


@memory_errors()
def equivalence(
    first: Network,
    second: Network,
    inputs: WalkableSet,
    criterion: Criterion,
    *,
    settings: EquivalenceSettings | None = None,
    run: Run | None = None,
) -> Equivalence:
    """Whether f and f' are equivalent over every one of some sets of inputs, in the sense of a criterion.

    `EpsilonEquivalence(0.05)`: no output differs by more; `Top1Equivalence()`: both name the same class;
    `Top1Equivalence(confidence=0.9)`: they do wherever the first is so confident. Verified: bounds of the two networks
    and of their difference exclude every input that says otherwise, in real arithmetic. Falsified: at an input of the
    set, exactly, both networks as they compute in their element type say otherwise. Many sets get bounds together; what
    these leave open is decided by branch and bound and attacks set by set, which share the time that is left.

    A softmax or the like at the end of a classifier is left out where classes are compared.
    Shapes: inputs of numbers [*input_shape], or a batch of sets.
    Raises: InputError for what is no network, set, criterion, settings or run, for networks of unequal inputs or
    outputs, for sets and criteria that do not fit; ModelError for weights that are not finite; DeviceError where the
    device is missing.
    Reference: Paulsen et al., ASE 2020, arXiv 2009.09943 (NeuroDiff); Teuber et al., arXiv 2410.20207.
    """
    began, run = time.monotonic(), Run.of(run)
    chosen = EquivalenceSettings() if settings is None else instance(settings, EquivalenceSettings, "settings")
    advice = ", such as av.EpsilonEquivalence(0.05) or av.Top1Equivalence()"
    instance(criterion, (EpsilonEquivalence, Top1Equivalence), "The criterion", advice)
    notes = []
    if isinstance(criterion, Top1Equivalence):
        pair = check_classifier(first), check_classifier(second)
        notes = [one.head.note(one.name) for one in pair if one.head is not None]
        first, second = (one.scores for one in pair)
    first, second = check_network(first), check_network(second)
    if first.element_type != second.element_type:
        notes.append(
            f"{first.name} computes in {first.element_type} and {second.name} in {second.element_type}: what is "
            "verified holds in real numbers, and a disagreement is what both compute in float32"
        )
    joint = joined(first, second)
    sets = input_rows(first, inputs).put(Placement.numpy())
    search = _SetSearch(joint, sets, criterion.ways(first.output_size), chosen, run)
    with quiet_overflow():
        search.decide()
    seconds = time.monotonic() - began
    disagreements = tuple(None if one is None else _shaped(one, first) for one in search.disagreements)
    found = criterion, search.answer, disagreements, search.subproblems, (*notes, *joint.notes)
    return Equivalence(*found, seconds)


class _SetSearch:
    """What is known of some sets: bounds of all of them first, then a search of each that is open."""

    def __init__(
        self, joint: PairedNetwork, sets: WalkableSet, ways: Ways, settings: EquivalenceSettings, run: Run
    ) -> None:
        self.joint, self.sets, self.ways, self.settings, self.run = joint, sets, ways, settings, run
        self.answer = np.full(sets.count, Answer.TIMED_OUT, dtype=object)
        self.disagreements: list[Disagreement | None] = [None] * sets.count
        self.subproblems = np.zeros(sets.count, dtype=np.int64)
        self._atoms = ways.atoms(apart=False), ways.atoms(apart=True)

    def decide(self) -> None:
        """Decide every set, as far as possible."""
        count, ways = self.sets.count, np.ones((self.sets.count, len(self.ways.of)), dtype=bool)
        if self.joint.same:
            # One function is equivalent to itself in every sense, whatever bounds say of its roundings.
            self.answer[:] = Answer.VERIFIED
            return
        if count > 1:
            network, rows = summed_before_products(self.joint), self.ways.objective
            objective = np.broadcast_to(rows, (count, *rows.shape))
            efforts = [CROWN, tightened(self.settings.passes)]
            given = (objective, self.ways.offset), efforts, self._open_rows, self.run
            ways = self._open_ways(staged_bounds(network, self.sets, *given))
            self.answer[~ways.any(axis=1)] = Answer.VERIFIED
        left = np.flatnonzero(ways.any(axis=1))
        for place, number in enumerate(left):
            if self.run.over():
                break
            self.run.say(f"set {number}: {place} of {len(left)} searched", place, len(left))
            self._search(int(number), ways[number], self.run.within(1.0 / (len(left) - place)).silent())

    def _open_ways(self, lower: np.ndarray) -> np.ndarray:
        """Which ways bounds leave open, [sets, rows] -> [sets, ways]: those none of whose rows is excluded."""
        excluded = (lower > 0) | (self.ways.strict & (lower >= 0))
        return np.stack([~excluded[:, list(way)].any(axis=1) for way in self.ways.of], axis=1)

    def _open_rows(self, lower: np.ndarray) -> np.ndarray:
        """The rows of open ways."""
        open, found = self._open_ways(lower), np.zeros(lower.shape, dtype=bool)
        for number, way in enumerate(self.ways.of):
            found[:, list(way)] |= open[:, [number]]
        return found

    def _search(self, number: int, ways: np.ndarray, run: Run) -> None:
        """Decide one set by branch and bound."""
        settings = VerifySettings(max_subproblems=self.settings.max_subproblems, search=self.settings.search)
        outcome = verify(self._query(number, ways), settings=settings, run=run)
        # A search that was stopped is unknown to `verify`, as is one that has done all it may.
        stopped = outcome.verdict is Verdict.UNKNOWN and self.run.ended() is Ended.STOPPED
        self.answer[number] = Answer.TIMED_OUT if stopped else _ANSWERS[outcome.verdict]
        self.subproblems[number] = outcome.subproblems
        if outcome.verdict is Verdict.SAT:
            self.disagreements[number] = _disagreement(outcome)

    def _query(self, number: int, ways: np.ndarray) -> Query:
        """Whether some input of a set lies in one of some ways, asked of y, y' and y' - y, as y and y' decide it."""
        joint = self.joint
        regions = [(one.box, one.cut) for one in property_of(joint, self.sets.at([number]), "y0 <= 0").disjuncts]
        sides = (Variable("X", "real", joint.input_shape),), (Variable("Y", "real", joint.output_shape),)

        def query(own: list, asked: Query | None = None) -> Query:
            disjuncts = tuple(
                Disjunct(box, tuple(own[row] for row in self.ways.of[way]), cut)
                for box, cut in regions
                for way in np.flatnonzero(ways)
            )
            told = Property((2, 0), (NetworkDeclaration("", *sides),), disjuncts)
            return Query(f"set {number}", told, joint, asked=asked)

        bounded, apart = self._atoms
        return query(bounded, query(apart))


def _disagreement(outcome: Outcome) -> Disagreement:
    assert outcome.counterexample is not None and outcome.output is not None and outcome.exact_input is not None
    first, second, _ = np.split(outcome.output.reshape(-1), 3)
    return Disagreement(outcome.counterexample, first, second, outcome.exact_input)


def _shaped(one: Disagreement, network: Network) -> Disagreement:
    first, second = (part.reshape(network.output_shape) for part in (one.first, one.second))
    return Disagreement(one.input.reshape(network.input_shape), first, second, one.exact)
