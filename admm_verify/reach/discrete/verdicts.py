"""Requirements on systems in discrete time, decided by branch and bound on the rollout."""

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import assert_never

import numpy as np

from admm_verify.complete.decide import Decision
from admm_verify.complete.settings import VerifySettings
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.query import Query
from admm_verify.reach.discrete.cells import CellBounder
from admm_verify.reach.discrete.dynamics import SteppedSystem
from admm_verify.reach.discrete.first_states import excluded, first_state, matrix, met
from admm_verify.reach.discrete.graph import GraphBounds
from admm_verify.reach.discrete.rollout import Rollout, rollout
from admm_verify.reach.dynamics import Trajectories
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.probes import behind
from admm_verify.reach.requirements import Kind, Requirement
from admm_verify.reach.settings import ReachSettings
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import ExactCut
from admm_verify.sets.polytope import Polytope
from admm_verify.verdict import Answer

Found = tuple[Answer, np.ndarray | None, int]

_TIMES = 3
"""Steps after which branch and bound looks whether all trajectories are in a set to be reached at some time."""

_REASONS = {
    Answer.UNKNOWN: "Branch and bound ended without a proof, or a violation that can be certified.",
    Answer.TIMED_OUT: "The time was up, too, before branch and bound was done.",
}


class DiscreteJudge:
    """Decides requirements on one task by the graph of its whole horizon, one after the other."""

    def __init__(self, dynamics: SteppedSystem, bounds: GraphBounds, run: Run) -> None:
        self.dynamics, self.task, self.bounds, self.run = dynamics, dynamics.task, bounds, run

    @property
    def graph(self) -> Rollout:
        """The graph of the horizon, which takes a while to make."""
        return self.bounds.horizon

    @cached_property
    def plain(self) -> Rollout:
        """The same from states themselves."""
        return self.graph if self.dynamics.starts.first.is_plain else rollout(self.dynamics.system, self.task.steps)

    @cached_property
    def box(self) -> ExactBox:
        """A box around all that trajectories depend on; the very set where it is one."""
        starts = self.dynamics.starts
        return ExactBox.of(starts.box) if starts.exact is None else starts.exact

    @cached_property
    def cut(self) -> ExactCut | None:
        """What they are in that box, None where that is all of it."""
        starts = self.dynamics.starts
        return None if starts.exact is not None else ExactCut(within=starts.all.at(None))

    def judge(self, requirement: Requirement, known: Trajectories, run: Run) -> Judgement:
        """The verdict on one requirement within the horizon, as far as the time of a run lets find it.

        known: simulated trajectories.
        """
        began, steps, self.run = time.monotonic(), list(requirement.control_times(self.task.steps)), run
        if not self.bounds.fits(run):
            return Judgement(requirement, Answer.TIMED_OUT, 0.0, 0, reason=_REASONS[Answer.TIMED_OUT])
        match requirement.kind:
            case Kind.REACH_SOME_TIME:
                found = self._some_time(requirement, steps, known.paths)
            case Kind.NEVER_IN:
                found = self._decided([(t, _inside(requirement.set, t, self.graph)) for t in steps])
            case Kind.ALWAYS_IN | Kind.REACH_AT_END:
                found = self._decided([(t, [atom]) for t in steps for atom in _outside(requirement.set, t, self.graph)])
            case _:
                assert_never(requirement.kind)
        outcome, trajectory, parts = found
        if outcome is Answer.VERIFIED and behind(requirement, self.task.steps):
            outcome = Answer.UNKNOWN
        reason = _REASONS.get(outcome, "")
        return Judgement(requirement, outcome, time.monotonic() - began, parts, trajectory, reason=reason)

    def _some_time(self, requirement: Requirement, steps: list[int], paths: np.ndarray) -> Found:
        """Verified where all trajectories are inside at one time; trajectories of their own times stay unknown.

        The times at which all simulated ones are furthest inside come first, and those with one outside not at all.
        """
        parts, ends = 0, replace(requirement, kind=Kind.ALWAYS_IN)
        room = {t: float(replace(ends, first=t, last=t).room(paths).min()) for t in steps}
        for t in sorted((t for t in steps if room[t] >= 0), key=lambda t: -room[t])[:_TIMES]:
            found = self._decided([(t, [atom]) for atom in _outside(requirement.set, t, self.graph)])
            parts += found[2]
            if found[0] in (Answer.VERIFIED, Answer.TIMED_OUT):
                return found[0], None, parts
        return Answer.UNKNOWN, None, parts

    def _decided(self, ways: list[tuple[int, list[Atom]]]) -> Found:
        """Whether one of the ways to violate a requirement, conjunctions of atoms after some step, is possible."""
        first, starts = [atoms for t, atoms in ways if t == 0], self.dynamics.starts
        point = first_state(first, starts.first.whole, self.task.exact) if first else None
        if point is not None:
            rest = np.asarray(starts.centre[starts.first.numbers :])
            return Answer.FALSIFIED, self._trajectory(np.concatenate([point, rest])), 0
        disjuncts = tuple(Disjunct(self.box, tuple(atoms), self.cut) for t, atoms in ways if t > 0)
        unsure = bool(first) and not excluded(first, starts.first.whole, self.task.exact)
        if not disjuncts:
            return (Answer.UNKNOWN if unsure else Answer.VERIFIED), None, 0
        network = self.graph.network
        inputs, outputs = (
            Variable(name, "real", (size,)) for name, size in (("X", network.input_size), ("Y", network.output_size))
        )
        declared = NetworkDeclaration("f", (inputs,), (outputs,))
        query = Query("requirement", Property((2, 0), (declared,), disjuncts), network)
        try:
            decision = Decision(query, VerifySettings(arithmetic="real"), self.run)
        except Stopped:
            return Answer.TIMED_OUT, None, 0
        decision.decide()
        point = None if decision.witness is None else self._certain(decision.witness.exact, disjuncts)
        if point is not None:
            exact = np.array([float(value) for value in point])
            return Answer.FALSIFIED, self._trajectory(exact), decision.subproblems
        if decision.witness is not None or decision.open or unsure:
            late = self.run.ended() is Ended.TIMED_OUT
            return (Answer.TIMED_OUT if late else Answer.UNKNOWN), None, decision.subproblems
        return Answer.VERIFIED, None, decision.subproblems

    def _certain(self, witness: tuple[Fraction, ...], disjuncts: tuple[Disjunct, ...]) -> tuple[Fraction, ...] | None:
        """The inputs of the plain rollout near a point at which certified bounds show all atoms of some disjunct.

        None where they do not, as the witness was computed in floats, or where the first state is outside the set.
        """
        point = witness
        if self.dynamics.starts.exact is None or not self.dynamics.starts.first.is_plain:
            inside = self.dynamics.certain(np.array([[float(value) for value in witness]]))
            if not len(inside):
                return None
            point = tuple(Fraction(float(value)) for value in inside[0])
        box, settings = ExactBox.point(point).enclosure.at(None), ReachSettings(method="crown", iterations=0)
        for disjunct in disjuncts:
            rows, ones = matrix(disjunct.atoms, self.graph.network.output_size), np.ones(len(disjunct.atoms))
            # A set without limits holds every state.
            bound = ones
            if len(rows):
                bounder = CellBounder(self.plain.network, rows, settings, self.run.endless())
                bound = bounder.cells(box, 0.0 * ones, ones).bound[0]
            pairs = zip(disjunct.atoms, bound, strict=True)
            if all(np.isfinite(value) and met(atom, Fraction(float(value))) for atom, value in pairs):
                return point
        return None

    def _trajectory(self, inputs: np.ndarray) -> np.ndarray:
        first = inputs[: self.plain.states]
        return np.concatenate([first[None], self.plain.trajectories(inputs[None])[0]])


def _terms(row: np.ndarray, t: int, states: int) -> Iterator[tuple[int, Fraction]]:
    """A row on the state after step t: entries of the rollout's output, or of its input at step 0."""
    for i in np.flatnonzero(row):
        yield max(t - 1, 0) * states + int(i), Fraction(float(row[i]))


def _outside(region: Polytope, t: int, graph: Rollout) -> list[Atom]:
    """One atom for every row that the state after step t can violate."""
    return [
        Atom(tuple((i, -value) for i, value in _terms(row, t, graph.states)), limit, True)
        for row, limit in zip(region.normals, region.limits, strict=True)
    ]


def _inside(region: Polytope, t: int, graph: Rollout) -> list[Atom]:
    """The atoms that together say that the state after step t is in a set."""
    return [
        Atom(tuple(_terms(row, t, graph.states)), -limit, False)
        for row, limit in zip(region.normals, region.limits, strict=True)
    ]
