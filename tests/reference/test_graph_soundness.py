"""Every method on random graphs of all kinds of activations: no bound over what is attained, zero slack."""

import os

import numpy as np
import pytest

import admm_verify as av
from admm_verify.relaxations.registry import RELAXATIONS
from admm_verify.splitting.solve import METHODS
from tests.graph_values import EXACT, TORCH
from tests.random_graphs import KINDS, Program, random_program
from tests.reference.graph_truth import Attained
from tests.seeds import seeds

GRAPHS = int(os.environ.get("ADMM_VERIFY_GRAPHS", "40"))
"""Of the slow run; 300 take some minutes."""
SAMPLES = 20_000
FEW, QUICK = 2_000, 2
"""Samples of the default suite, and of how many kinds one is first in a graph there."""

PRECISIONS = ("float32", "float64")
BUDGETS = (0, 5, 60)


def test_every_kind_has_its_twins() -> None:
    assert set(KINDS) <= set(EXACT) and set(KINDS) <= {*TORCH, "elu"}
    # Differences are of two networks, which tests/random_pairs.py makes.
    assert {kind for kind in RELAXATIONS if not kind.endswith("_difference")} <= {*KINDS, "product"}


def solved(problem: av.Problem, method: str, precision: str, budget: int) -> av.Solution | None:
    """None where the layered splitting has no projection onto the graph of some map."""
    # Overflow in an iteration costs progress, not soundness.
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            return av.solve(problem, method, settings=av.SolverSettings(max_passes=budget, precision=precision))
        except av.InputError:
            assert method == "admm"
            return None


def check_solution(program: Program, known: Attained, found: av.Solution, label: str) -> None:
    for array in (found.lower, found.relaxation_upper, found.primal, *found.multipliers):
        assert not np.isnan(np.asarray(array)).any(), f"{label}: NaN"
    lower, upper = np.asarray(found.lower), np.asarray(found.relaxation_upper)
    assert (lower <= upper).all(), f"{label}: {lower} over {upper}"
    assert (np.asarray(found.gap) >= 0).all(), f"{label}: gap {found.gap}"
    inside = np.asarray(found.primal).reshape(len(lower), -1)
    assert (program.box.lower <= inside).all() and (inside <= program.box.upper).all(), f"{label}: primal point"
    for row, bound in enumerate(lower):
        wrong = known.under(row, float(bound))
        assert not wrong, f"{label}: {wrong}"
        # The bound is one at the primal point, and at all others.
        assert known.exact_row(inside[row], row) >= float(bound), f"{label}: row {row} at its primal point"


def check_program(seed: int, samples: int) -> None:
    program = random_program(seed)
    network, known = program.network(), Attained.of(program, samples, seed)
    twins = known.twins(network)
    given = {
        method: av.preactivation_bounds(network, program.box, method) for method in ("interval", "crown", "tightened")
    }
    for method, bounds in given.items():
        for k, (low, high) in enumerate(zip(bounds.lower, bounds.upper, strict=True)):
            assert (low <= high).all() and not (np.isnan(low) | np.isnan(high)).any(), program.label
            if k in twins:
                wrong = known.outside(twins[k], low[0], high[0])
                assert not wrong, f"{program.label}, {method}: {wrong}"
    for name in ("crown", "tightened"):
        problem = av.Problem(network, program.box, program.objective, program.offset, given[name])
        for k, method in enumerate(METHODS):
            turn = seed + k + (name == "crown")
            combination = method, PRECISIONS[turn % 2], BUDGETS[turn % 3]
            found = solved(problem, *combination)
            if found is not None:
                check_solution(program, known, found, f"{program.label}, {name}, {combination}")
    ranges = av.output_bounds(network, program.box, settings=av.SolverSettings(max_passes=20))
    ends = (np.reshape(end, -1) for end in (ranges.lower, ranges.upper))
    wrong = known.outside(len(program.steps) - 1, *ends)
    assert not wrong, f"{program.label}: {wrong}"


@pytest.mark.parametrize("first", seeds(1, QUICK))
def test_no_bound_is_over_what_graphs_attain(first: int) -> None:
    for seed in range(first, len(KINDS), 2 * QUICK):
        check_program(seed, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_bound_is_over_what_many_graphs_attain(part: int) -> None:
    for seed in range(1000 + part, 1000 + GRAPHS, 4):
        check_program(seed, SAMPLES)
