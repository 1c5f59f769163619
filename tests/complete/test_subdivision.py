"""Verdicts on random graphs beside interval arithmetic that halves the box until it tells."""

import os
from collections import Counter

import pytest

import admm_verify as av
from tests.complete.test_graph_verdicts import PARTS, Row
from tests.graph_values import mp
from tests.random_graphs import KINDS
from tests.reference.subdivision import IntervalValues, attains

GRAPHS = int(os.environ.get("ADMM_VERIFY_GRAPHS", "12"))
"""Of the slow run; 300 take some minutes."""


def check_beside_intervals(seed: int, boxes: int, margins: tuple[float, ...]) -> Counter:
    """No verdict contradicts what intervals tell; counts of what both said."""
    row, counts = Row.of(seed, 500), Counter()
    program = row.known.program
    for margin in margins:
        limit = row.least + type(row.least)(margin) * row.unit
        told = attains(program, 0, mp.mpf(limit.numerator) / limit.denominator, boxes)
        found = av.verify(row.asked(limit), settings=av.VerifySettings(max_subproblems=PARTS)).verdict
        counts[f"{found.value}, intervals: {told}"] += 1
        label = f"{row.label}, {margin:g}: {found.value}, but intervals say {told}"
        assert not (found is av.Verdict.UNSAT and told is True), label
        assert not (found is av.Verdict.SAT and told is False), label
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_intervals_hold_what_programs_compute(seed):
    """The judge itself: intervals over parts hold exact values there, and shrink to them."""
    known = Row.of(seed, 200).known
    program = known.program
    for x in known.points[:4]:
        around = IntervalValues(program, x, x).row(0)
        value = known.exact_row(x, 0)
        low, high = (mp.make_mpf(end) for end in around._mpi_)
        assert low <= value <= high
        steps = any(step.operation in ("ceil", "floor", "heaviside", "round", "sign") for step in program.steps)
        assert steps or high - low < mp.mpf(10) ** -30 * (1 + abs(value))
        whole = IntervalValues(program, program.box.lower, program.box.upper).row(0)
        low, high = (mp.make_mpf(end) for end in whole._mpi_)
        assert low <= value <= high


@pytest.mark.parametrize("first", range(3))
def test_no_verdict_contradicts_intervals(first):
    counts = Counter()
    for seed in range(first, len(KINDS), 9):
        counts += check_beside_intervals(seed, 100, (0.3, -0.3))
    assert counts["sat, intervals: True"] > 2 and counts["unsat, intervals: False"] > 1, counts


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_verdict_contradicts_many_boxes(part):
    counts = Counter()
    for seed in range(3000 + part, 3000 + GRAPHS, 4):
        counts += check_beside_intervals(seed, 1500, (0.1, -0.3, -0.1, -0.03))
    assert counts["sat, intervals: True"] and counts["unsat, intervals: False"], counts
