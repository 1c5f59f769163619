"""Verdicts on random graphs of all kinds of activations on both sides of the least value found, and their proofs."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.certificates.certificate import Certificate
from admm_verify.certificates.check import check
from admm_verify.certificates.digests import property_digest
from admm_verify.certificates.kinds import CHECKED_KINDS, checked_kind
from admm_verify.properties.property import Disjunct
from tests.complete.queries import NEURONS, at_most, box_of, confirmed, query_of
from tests.graph_values import fraction
from tests.random_graphs import KINDS, random_program
from tests.reference.graph_truth import Attained
from tests.seeds import seeds

GRAPHS = int(os.environ.get("ADMM_VERIFY_GRAPHS", "12"))
"""Of the slow run; 300 take an hour."""
SAMPLES = 20_000
MARGINS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6)
PARTS = 150
"""Subproblems of a search, which leave some queries next to the least value open."""


@dataclass(frozen=True, eq=False)
class Row:
    """A program's network, one objective row, and the least value found with the input that attains it."""

    label: str
    known: Attained
    network: av.Network
    least: Fraction
    x: np.ndarray

    @classmethod
    def of(cls, seed: int, samples: int) -> "Row":
        program = random_program(seed)
        known = Attained.of(program, samples, seed)
        least, x = known.least(0)
        return cls(program.label, known, program.network(), fraction(least), x)

    @property
    def unit(self) -> Fraction:
        return max(Fraction(1), abs(self.least))

    def asked(self, limit: Fraction) -> av.Query:
        """Whether the row comes down to a limit."""
        program = self.known.program
        atom = at_most(program.objective[0], float(program.offset[0]), limit)
        return query_of(self.network, [Disjunct(box_of(program.box.lower, program.box.upper), (atom,))])

    def reaches(self, x: np.ndarray, limit: Fraction) -> bool:
        """Whether the row is at most the limit at an input, but for what the network's float64 arithmetic loses."""
        return fraction(self.known.exact_row(x, 0)) <= limit + self.unit / 10**9


def check_verdicts(seed: int, samples: int, margins: tuple[float, ...]) -> Counter:
    """None is wrong; counts of what came out."""
    row, counts = Row.of(seed, samples), Counter()
    for k, margin in enumerate(margins):
        for sign in (1, -1):
            limit = row.least + sign * Fraction(margin) * row.unit
            query = row.asked(limit)
            search = NEURONS if (seed + k) % 2 else av.SearchSettings()
            settings = av.VerifySettings(
                max_subproblems=PARTS, search=search, certificate=sign < 0 and provable(row.network)
            )
            found = av.verify(query, settings=settings)
            label = f"{row.label}, {sign * margin:g}: {found.verdict.value}"
            counts[f"{sign * margin:g} {found.verdict.value}"] += 1
            if found.verdict is av.Verdict.SAT:
                assert confirmed(query, found), label
                assert row.reaches(np.reshape(found.counterexample, -1).astype(np.float64), limit), label
            elif found.verdict is av.Verdict.UNSAT:
                assert sign < 0, f"{label}, but {float(row.least)} is attained at {row.x.tolist()}"
                if found.certificate is not None:
                    check_proof(row, query, found.certificate, label)
                    counts["proofs"] += 1
    return counts


def provable(network: av.Network) -> bool:
    """Whether the checker knows all kinds of the network."""
    return all(node.kind in CHECKED_KINDS for node in network.functions)


def check_proof(row: Row, query: av.Query, proof: Certificate, label: str) -> None:
    """It proves what it is of, in float64 and exactly, and nothing that is false."""
    ways = (False,) if any(checked_kind(node).curved for node in row.network.functions) else (False, True)
    for exact in ways:
        report = check(proof, query.property, query.network, exact=exact)
        assert report.proved, f"{label}: {report.reason}"
    false = row.asked(row.least + row.unit / 10**12)
    turned = replace(proof, query=property_digest(false.property))
    for exact in ways:
        assert not check(turned, false.property, false.network, exact=exact).proved, f"{label}: proves what is false"


@pytest.mark.parametrize("first", seeds(1, 3))
def test_no_verdict_is_wrong_on_graphs(first: int) -> None:
    counts = Counter()
    for seed in range(first, len(KINDS), 9):
        counts += check_verdicts(seed, 2_000, (1e-1, 1e-4))
    assert counts["0.1 sat"] and counts["-0.1 unsat"], counts


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_verdict_is_wrong_on_many_graphs(part: int) -> None:
    counts = Counter()
    for seed in range(2000 + part, 2000 + GRAPHS, 4):
        counts += check_verdicts(seed, SAMPLES, MARGINS)
    assert counts["0.1 sat"] and counts["-0.1 unsat"] and counts["proofs"], counts
