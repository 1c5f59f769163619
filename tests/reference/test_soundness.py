"""Every claim of `solve` and of the pre-activation bounds against exact truths on small random networks, zero slack."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from admm_verify import Box, Problem, Solution, SolverSettings, preactivation_bounds, solve
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.network.simplify import simplify
from admm_verify.splitting.solve import METHODS
from tests.random_networks import KINDS, Case, chain, random_case
from tests.reference.exact import ExactNetwork, exact
from tests.reference.highs import highs_optimum
from tests.seeds import every

NETWORKS = 308
SAMPLES = 1000
EASY = 20
"""Unstable neurons up to which every MILP is solved in milliseconds."""
BUDGETS = (0, 2, 10, 60)
COMBINATIONS = [(m, p, b) for b in BUDGETS for m in METHODS for p in ("float32", "float64")]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about a case: values attained by the network, exactly, and the relaxation's optima.

    attained[r] are exact values of row r at inputs in the box: at the least samples, at the relaxation's minimiser
    and, for the first row of most cases, at the minimiser that HiGHS finds for the network itself.
    crown are the bounds of a budget of no passes.
    """

    case: Case
    problem: Problem
    attained: list[list[Fraction]]
    lp: np.ndarray
    scale: np.ndarray
    crown: np.ndarray


@lru_cache(maxsize=4)
def truth(seed: int, thorough: bool = False) -> Truth:
    """The truth about the case of a seed; thorough ones know the MILP's minimiser of hard cases too."""
    case = random_case(seed)
    bounds = preactivation_bounds(case.network, case.box)
    pairs = [(low[0], high[0]) for low, high in zip(bounds.lower, bounds.upper, strict=True)]
    unstable = sum(int(((low < 0) & (high > 0)).sum()) for low, high in pairs)
    box, network = (case.box.lower, case.box.upper), ExactNetwork.of(case.network)
    points = samples(case.box, SAMPLES, seed)
    values = case.network(points) @ case.objective.T + case.offset
    attained, optima = [], []
    for row, (objective, offset) in enumerate(zip(case.objective, case.offset, strict=True)):
        optima.append(highs_optimum(case.network, box, pairs, objective, offset))
        inputs = [*points[np.argsort(values[:, row])[:5]], optima[-1].x]
        if row == 0 and (thorough or unstable <= EASY):
            inputs.append(highs_optimum(case.network, box, pairs, objective, offset, integer=True).x)
        attained.append([network.objective(x, objective, offset) for x in inputs])
    problem = Problem(case.network, case.box, case.objective, case.offset, bounds)
    lp, scale = np.array([o.value for o in optima]), np.array([o.scale for o in optima])
    return Truth(case, problem, attained, lp, scale, solve(problem, settings=SolverSettings(max_passes=0)).lower)


def samples(box: Box, count: int, seed: int) -> np.ndarray:
    """Points of the box: inner ones, vertices, and points on faces."""
    rng = np.random.default_rng([seed, 1])
    share = rng.random((count, len(box.lower)))
    corner = np.rint(rng.random(share.shape))
    mixed = rng.random((count, 1)) < rng.random(share.shape)
    points = box.lower + np.where(mixed, share, corner) * (box.upper - box.lower)
    return np.clip(points, box.lower, box.upper)


def at_most(bound: float, values: list[Fraction]) -> bool:
    """bound <= every value, compared as rational numbers."""
    return bound == -np.inf or all(Fraction(bound) <= value for value in values)


def turn(seed: int, number: int) -> int:
    """0, 1, 2 or 3 for a network and a combination, so that each combination meets a quarter of each kind's by each."""
    return (seed + seed // len(KINDS) + number + number // 4) % 4


def in_default_suite(seed: int, number: int) -> bool:
    """A quarter of the combinations for every network; each meets a quarter of the networks of each kind."""
    return turn(seed, number) == 0


def run(problem: Problem, method: str, precision: str, budget: int) -> Solution:
    # Overflow in an iteration costs progress, not soundness; `test_overflow_is_silent` looks at the warnings.
    with np.errstate(over="ignore", invalid="ignore"):
        return solve(problem, method, settings=SolverSettings(max_passes=budget, precision=precision))


def check(known: Truth, method: str, precision: str, budget: int) -> None:
    label = f"{known.case.kind}, {method}, {precision}, {budget} passes"
    found = run(known.problem, method, precision, budget)
    slack = 1e-7 * known.scale
    for array in (found.lower, found.relaxation_upper, found.primal, *found.multipliers):
        assert not np.isnan(array).any(), f"{label}: NaN"
    for bound, values in zip(found.lower, known.attained, strict=True):
        assert at_most(bound, values), f"{label}: lower {bound} over a value that the network attains"
    assert (found.lower <= known.lp + slack).all(), f"{label}: lower {found.lower} over the LP optimum {known.lp}"
    assert (found.lower >= known.crown).all(), f"{label}: lower {found.lower} under the CROWN bound {known.crown}"
    assert (found.relaxation_upper >= known.lp - slack).all(), (
        f"{label}: upper {found.relaxation_upper} under the LP optimum {known.lp}"
    )
    assert (found.relaxation_upper >= found.lower).all(), (
        f"{label}: upper {found.relaxation_upper} under lower {found.lower}"
    )
    assert np.isfinite(found.relaxation_upper).all(), f"{label}: CROWN's bounds leave every forward point feasible"
    outside = np.abs(known.problem.inputs.project(found.primal) - found.primal).max()
    assert outside <= 0, f"{label}: primal outside the box by {outside}"


@pytest.mark.parametrize("seed", every(2, range(NETWORKS)))
def test_bounds_of_solve_hold(seed: int) -> None:
    for number, combination in enumerate(COMBINATIONS):
        if in_default_suite(seed, number):
            check(truth(seed), *combination)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(NETWORKS))
def test_bounds_of_solve_hold_in_other_combinations(seed: int) -> None:
    for number, combination in enumerate(COMBINATIONS):
        if turn(seed, number) in (1, 2):
            check(truth(seed, thorough=True), *combination)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(NETWORKS, 2 * NETWORKS))
def test_bounds_of_solve_hold_after_many_passes(seed: int) -> None:
    """Two of the eight methods and precisions for each network, which are solved for their minima once."""
    for turn in (seed, seed + 3):
        check(truth(seed, thorough=True), METHODS[turn % len(METHODS)], "float32" if turn % 8 < 4 else "float64", 400)


def test_combinations_are_shared_out_evenly() -> None:
    for number in range(len(COMBINATIONS)):
        chosen = [seed % len(KINDS) for seed in range(NETWORKS) if in_default_suite(seed, number)]
        assert np.bincount(chosen).min() >= NETWORKS // len(KINDS) // 4


@pytest.mark.parametrize("method", ["interval", "crown", "tightened"])
@pytest.mark.parametrize("kind", KINDS)
def test_preactivations_stay_in_their_bounds(kind: str, method: str) -> None:
    for seed in range(20):
        case = random_case(seed, kind)
        bounds = preactivation_bounds(case.network, case.box, method)
        points = samples(case.box, 200, seed)
        values = case.network.forward(points, lambda _, pre: np.maximum(pre, 0.0))
        sources = [case.network.nodes[i].source for i in case.network.activations]
        for source, low, high in zip(sources, bounds.lower, bounds.upper, strict=True):
            assert ((values[source] >= low) & (values[source] <= high)).all(), (kind, seed)
        network = ExactNetwork.of(case.network)
        for x in points[:3]:
            for pre, low, high in zip(network.preactivations(x), bounds.lower, bounds.upper, strict=True):
                assert (exact(low[0]) <= pre).all() and (pre <= exact(high[0])).all(), (kind, seed)


def test_crown_bounds_are_never_looser_than_interval_bounds() -> None:
    """Up to rounding: the intervals of "crown" start from tighter layers below, which rounds differently."""
    for seed in range(NETWORKS // 4):
        case = random_case(seed)
        interval, crown = (preactivation_bounds(case.network, case.box, method) for method in ("interval", "crown"))
        for low, high, tight_low, tight_high in zip(*interval_ends(interval), *interval_ends(crown), strict=True):
            slack = 1e-13 * np.maximum(np.abs(low), np.abs(high))
            assert (tight_low >= low - slack).all() and (tight_high <= high + slack).all(), seed


def interval_ends(bounds: PreactivationBounds) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    return bounds.lower, bounds.upper


def extreme_case(exponent: int, seed: int) -> tuple[Problem, ExactNetwork]:
    """Weights and biases on the scale 2**exponent, with the interval bounds of a three-layer network."""
    rng = np.random.default_rng(seed)
    sizes = [3, 5, 4, 2]
    weights = [np.ldexp(rng.standard_normal((m, n)), exponent) for n, m in pairwise(sizes)]
    biases = [np.ldexp(rng.standard_normal(m), exponent) * (k == 2) for k, m in enumerate(sizes[1:])]
    network = simplify(chain(weights, biases))
    box = Box(np.full(3, -1.0), np.full(3, 1.0))
    with np.errstate(over="ignore", invalid="ignore"):
        bounds = preactivation_bounds(network, box, "interval")
        problem = Problem(network, box, np.eye(2), np.zeros(2), bounds)
    return problem, ExactNetwork.of(network)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exponent", [-1060, -600, -400, -340, -100, 100, 330, 345, 600, 1000])
def test_bounds_hold_where_float64_underflows_or_overflows(exponent: int, method: str) -> None:
    for seed in range(5):
        problem, network = extreme_case(exponent, seed)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = solve(problem, method, settings=SolverSettings(max_passes=20))
        assert not (np.isnan(found.lower) | np.isnan(found.relaxation_upper)).any()
        assert (found.lower < np.inf).all()
        for x in samples(problem.inputs.at(0), 10, seed):
            value = network.values(x)[-1]
            assert all(at_most(bound, [v]) for bound, v in zip(found.lower, value, strict=True)), seed


@pytest.mark.parametrize("exponent", [-1060, -600, -400, -340, -100, 100, 330, 345, 600, 1000])
def test_preactivations_stay_inside_where_float64_underflows_or_overflows(exponent: int) -> None:
    for seed in range(5):
        problem, network = extreme_case(exponent, seed)
        for x in samples(problem.inputs.at(0), 10, seed):
            bounds = problem.preactivation
            for pre, low, high in zip(network.preactivations(x), bounds.lower, bounds.upper, strict=True):
                assert not (np.isnan(low) | np.isnan(high)).any()
                assert all(at_most(bound, [value]) for bound, value in zip(low[0], pre, strict=True)), seed
                assert all(at_most(-bound, [-value]) for bound, value in zip(high[0], pre, strict=True)), seed


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exponent", [12, 40, -40])
def test_overflow_is_silent(exponent: int, method: str, precision: str) -> None:
    """Numbers too large for the iteration's precision end in a bound, not in a warning (an error in this suite)."""
    problem, _ = extreme_case(exponent, seed=0)
    crown = solve(problem, method, settings=SolverSettings(max_passes=0, precision=precision))
    found = solve(problem, method, settings=SolverSettings(max_passes=30, precision=precision))
    assert (found.lower >= crown.lower).all() and np.isfinite(crown.lower).all()


@pytest.mark.parametrize("method", METHODS)
def test_given_bounds_that_exclude_a_part_of_the_box_leave_valid_answers(method: str) -> None:
    """Split neurons: l and u cut at zero by hand; then lower bounds the part of the box where the splits hold."""
    for seed in range(20):
        case = random_case(seed, "plain")
        bounds = preactivation_bounds(case.network, case.box)
        # A neuron that is inactive in the whole box has no part left.
        first = np.where(bounds.upper[0] >= 0, np.maximum(bounds.lower[0], 0.0), bounds.lower[0])
        split = PreactivationBounds((first, *bounds.lower[1:]), bounds.upper)
        problem = Problem(case.network, case.box, case.objective, case.offset, split)
        found = run(problem, method, "float64", 60)
        points = samples(case.box, SAMPLES, seed)
        first = case.network.forward(points, lambda _, pre: np.maximum(pre, 0.0))[1]
        kept = points[((first >= 0) | (bounds.upper[0] < 0)).all(axis=1)][:5]
        network = ExactNetwork.of(case.network)
        for x in kept:
            for bound, objective, offset in zip(found.lower, case.objective, case.offset, strict=True):
                assert at_most(bound, [network.objective(x, objective, offset)]), seed
        assert not np.isnan(found.relaxation_upper).any()
