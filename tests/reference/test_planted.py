"""Problems whose relaxation has a known optimum: how near every method comes, and what must not change the answer."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from admm_verify import (
    Box,
    Ended,
    InputError,
    ModelError,
    Network,
    Problem,
    Run,
    Solution,
    SolverSettings,
    preactivation_bounds,
    solve,
)
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.network.graph import Affine, Term
from admm_verify.network.maps import DenseMap, DiagonalMap
from admm_verify.network.simplify import simplify
from admm_verify.splitting.solve import METHODS
from tests.random_networks import Case, chain, random_case
from tests.reference.highs import Optimum, highs_optimum

PASSES = {"auto": 600, "ascent": 150, "admm": 1000, "primal_dual": 1000}
NETWORKS = 16


def pairs_of(bounds: PreactivationBounds, row: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(low[row], high[row]) for low, high in zip(bounds.lower, bounds.upper, strict=True)]


def problem_of(case: Case) -> Problem:
    return Problem(case.network, case.box, case.objective, case.offset)


def one_neuron(weight: float, bias: float, out: float) -> Network:
    return chain([np.array([[weight]]), np.array([[out]])], [np.array([bias]), np.zeros(1)])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("network", "lower", "upper", "optimum"),
    [
        # relu(x) on [-1, 1] lies between 0 and the chord (x + 1) / 2, which is 1 at 1.
        (one_neuron(1.0, 0.0, 1.0), [-1.0], [1.0], 0.0),
        (one_neuron(1.0, 0.0, -1.0), [-1.0], [1.0], -1.0),
        # Stable neurons: the relaxation is exact.
        (one_neuron(2.0, 3.0, 1.0), [-1.0], [1.0], 1.0),
        (one_neuron(2.0, -3.0, 5.0), [-1.0], [1.0], 0.0),
        # |x| / 2: both neurons at the foot of their triangles.
        (chain([np.array([[1.0], [-1.0]]), np.array([[0.5, 0.5]])], [np.zeros(2), np.zeros(1)]), [-1.0], [1.0], 0.0),
        # -|x| on [-1, 3]: chords 3 (x + 1) / 4 and (3 - x) / 4 add up to (2 x + 6) / 4, largest at 3.
        (chain([np.array([[1.0], [-1.0]]), np.array([[-1.0, -1.0]])], [np.zeros(2), np.zeros(1)]), [-1.0], [3.0], -3.0),
        # relu(x + y) - relu(x - y) at (1, -1): 0 minus the chord (x - y + 2) / 2.
        (
            chain([np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[1.0, -1.0]])], [np.zeros(2), np.zeros(1)]),
            [-1.0, -1.0],
            [1.0, 1.0],
            -2.0,
        ),
    ],
)
def test_hand_computed_optima_are_reached(method, network, lower, upper, optimum) -> None:
    problem = Problem(simplify(network), Box(lower, upper), [[1.0]])
    found = solve(problem, method, settings=SolverSettings(tolerance=1e-6))
    assert found.lower[0] <= optimum <= found.relaxation_upper[0]
    assert found.lower[0] >= optimum - 1e-3


@lru_cache(maxsize=NETWORKS)
def planted(seed: int) -> tuple[Problem, list[Optimum]]:
    """A problem and the LP optimum of each of its rows."""
    case = random_case(seed, ("plain", "residual")[seed % 2])
    problem = problem_of(case)
    pairs, box = pairs_of(problem.preactivation), (case.box.lower, case.box.upper)
    rows = zip(case.objective, case.offset, strict=True)
    return problem, [highs_optimum(case.network, box, pairs, objective, offset) for objective, offset in rows]


@pytest.mark.parametrize("method", METHODS)
def test_the_lp_optimum_is_nearly_reached(method: str) -> None:
    """On average 99 % of the way from the CROWN bound to the LP optimum, and never beyond it."""
    shares = []
    for seed in range(NETWORKS):
        problem, optima = planted(seed)
        crown = solve(problem, method, settings=SolverSettings(max_passes=0))
        found = solve(problem, method, settings=SolverSettings(tolerance=0.0, max_passes=PASSES[method]))
        for row, optimum in enumerate(optima):
            slack = 1e-7 * optimum.scale
            assert found.lower[row] <= optimum.value + slack
            assert found.relaxation_upper[row] >= optimum.value - slack
            distance = optimum.value - crown.lower[row]
            if distance > 10 * slack:
                shares.append((float((found.lower[row] - crown.lower[row]) / distance), seed, row))
    assert len(shares) >= NETWORKS
    assert np.mean([share for share, _, _ in shares]) >= 0.99, sorted(shares)[:5]
    assert min(shares)[0] >= 0.5, sorted(shares)[:5]


def torch_copy(problem: Problem) -> Problem:
    put = torch.tensor
    bounds = problem.preactivation
    return Problem(
        problem.network,
        problem.inputs.mapped(put),
        put(problem.objective),
        put(problem.offset),
        PreactivationBounds(tuple(map(put, bounds.lower)), tuple(map(put, bounds.upper))),
    )


def same(first: np.ndarray, second: np.ndarray, tolerance: float) -> bool:
    return bool((np.abs(first - second) <= tolerance * np.maximum(1.0, np.abs(first))).all())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(10))
def test_torch_and_numpy_agree(seed: int, method: str) -> None:
    problem = problem_of(random_case(seed, "residual" if seed % 2 else "plain"))
    here = solve(problem, method, settings=SolverSettings(max_passes=100))
    there = solve(torch_copy(problem), method, settings=SolverSettings(max_passes=100))
    assert there.lower.dtype == there.relaxation_upper.dtype == torch.float64
    assert same(here.lower, there.lower.numpy(), 1e-10)
    assert same(here.relaxation_upper, there.relaxation_upper.numpy(), 1e-10)


@pytest.mark.parametrize("seed", range(10))
def test_torch_and_numpy_agree_on_preactivation_bounds(seed: int) -> None:
    case = random_case(seed)
    moved = Box(torch.tensor(case.box.lower), torch.tensor(case.box.upper))
    for method in ("interval", "crown"):
        here, there = (preactivation_bounds(case.network, box, method) for box in (case.box, moved))
        for first, second in zip(here.lower + here.upper, there.lower + there.upper, strict=True):
            assert same(first, second.numpy(), 1e-12)


def batch(seed: int, rows: int) -> tuple[Problem, list[Problem]]:
    """One network with a box, objective and bounds per row, together and one by one."""
    rng = np.random.default_rng([seed, 2])
    case = random_case(seed, "plain", widest=8)
    centre = rng.uniform(-1, 1, (rows, case.network.input_size))
    # Radii over four orders of magnitude: rows that are solved at once beside rows that need all passes.
    radius = 10.0 ** rng.uniform(-4, 0, (rows, 1))
    objective, offset = rng.standard_normal((rows, case.network.output_size)), rng.standard_normal(rows)
    together = Problem(case.network, Box(centre - radius, centre + radius), objective, offset)
    single = [Problem(case.network, together.inputs.at(r), objective[r], offset[r]) for r in range(rows)]
    return together, single


def join(solutions: list[Solution]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([s.lower for s in solutions]), np.concatenate([s.relaxation_upper for s in solutions])


@pytest.mark.parametrize("method", ["auto", "primal_dual", "ascent"])
@pytest.mark.parametrize("seed", range(6))
def test_rows_do_not_see_each_other(seed: int, method: str) -> None:
    together, single = batch(seed, rows=6)
    found = solve(together, method, settings=SolverSettings(tolerance=0.0, max_passes=80))
    lower, upper = join(
        [solve(problem, method, settings=SolverSettings(tolerance=0.0, max_passes=80)) for problem in single]
    )
    assert same(lower, found.lower, 1e-9)
    assert same(upper, found.relaxation_upper, 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_admm_reach_the_same_optimum_together(seed: int) -> None:
    """The rows share the layers' penalties, so their iterates differ and only their limits agree."""
    together, single = batch(seed, rows=6)
    found = solve(together, "admm", settings=SolverSettings(tolerance=1e-5, max_passes=2000))
    lower, upper = join(
        [solve(problem, "admm", settings=SolverSettings(tolerance=1e-5, max_passes=2000)) for problem in single]
    )
    assert (found.lower <= upper).all() and (lower <= found.relaxation_upper).all()
    assert same(lower, found.lower, 1e-3)


def test_preactivation_bounds_do_not_depend_on_the_batch() -> None:
    together, single = batch(0, rows=6)
    for row, problem in enumerate(single):
        for array, alone in zip(together.preactivation.lower, problem.preactivation.lower, strict=True):
            assert same(alone[0], array[row], 1e-12)
        for array, alone in zip(together.preactivation.upper, problem.preactivation.upper, strict=True):
            assert same(alone[0], array[row], 1e-12)


@pytest.mark.parametrize("method", ["auto", "primal_dual"])
@pytest.mark.parametrize("seed", range(4))
def test_dropping_finished_rows_changes_nothing(seed: int, method: str) -> None:
    """Frequent check points and a tolerance that rows meet one after the other."""
    together, single = batch((0, 1, 2, 4)[seed], rows=12)
    often = SolverSettings(tolerance=1e-2, max_passes=300, check_interval=5)
    found = solve(together, method, settings=often)
    lower, upper = join([solve(p, method, settings=often) for p in single])
    assert len(set(found.passes.tolist())) > 1, "rows finish at different times"
    # A row may go on for a few check points with those that share its block, which can only improve it.
    assert (found.lower >= lower - 1e-9 * np.maximum(1.0, np.abs(lower))).all()
    assert (found.relaxation_upper <= upper + 1e-9 * np.maximum(1.0, np.abs(upper))).all()
    finished = np.array([status is Ended.CONVERGED for status in found.status])
    assert (found.gap[finished] <= 1e-2 * np.maximum(1.0, np.abs(found.lower[finished]))).all()


@pytest.mark.parametrize("method", METHODS)
def test_blocks_of_rows_change_nothing(method: str) -> None:
    together, _ = batch(1, rows=6)
    settings = SolverSettings(tolerance=0.0, max_passes=40)
    whole = solve(together, method, settings=settings)
    widest = sum(node.size for node in together.network.nodes)
    parts = solve(together, method, settings=replace(settings, block_numbers=6 * widest))
    one = solve(together, method, settings=replace(settings, block_numbers=2 * widest))
    assert same(whole.lower, parts.lower, 1e-9) and same(whole.relaxation_upper, parts.relaxation_upper, 1e-9)
    assert one.lower.shape == whole.lower.shape and one.primal.shape == whole.primal.shape
    if method != "admm":
        assert same(whole.lower, one.lower, 1e-9) and same(whole.relaxation_upper, one.relaxation_upper, 1e-9)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
def test_multipliers_carry_the_bound_to_a_warm_start(method: str, precision: str) -> None:
    for seed in range(8):
        problem = problem_of(random_case(seed))
        with np.errstate(over="ignore"):
            earlier = solve(problem, method, settings=SolverSettings(max_passes=60, precision=precision))
        again = solve(replace(problem, start=earlier.multipliers), settings=SolverSettings(max_passes=0))
        assert (again.lower >= earlier.lower - 1e-12 * np.abs(earlier.lower)).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_warm_start_is_never_worse_after_more_passes(method: str) -> None:
    for seed in range(4):
        problem = problem_of(random_case(seed, "plain"))
        earlier = solve(problem, "ascent", settings=SolverSettings(max_passes=60))
        again = solve(replace(problem, start=earlier.multipliers), method, settings=SolverSettings(max_passes=20))
        assert (again.lower >= earlier.lower - 1e-12 * np.abs(earlier.lower)).all()


def hard_problem() -> Problem:
    """A row that no method closes at once."""
    return problem_of(random_case(0, "plain"))


@pytest.mark.parametrize("method", METHODS)
def test_no_time_gives_the_crown_bound(method: str) -> None:
    crown = solve(hard_problem(), method, settings=SolverSettings(tolerance=0.0, max_passes=0))
    found = solve(hard_problem(), method, timeout=0, settings=SolverSettings(tolerance=0.0))
    assert set(found.status) == {Ended.TIMED_OUT}
    assert (found.passes == 0).all() and np.array_equal(found.lower, crown.lower)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_the_caller_can_stop(method: str, iterations: int) -> None:
    asked = iter(range(1000))
    crown = solve(hard_problem(), method, settings=SolverSettings(max_passes=0))
    found = solve(
        hard_problem(), method, settings=SolverSettings(tolerance=0.0), run=Run(stop=lambda: next(asked) >= iterations)
    )
    assert set(found.status) == {Ended.STOPPED}
    assert (found.passes == 2 * iterations).all()
    assert (found.lower >= crown.lower).all() and (found.relaxation_upper >= found.lower).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_of_passes_is_kept(method: str) -> None:
    found = solve(hard_problem(), method, settings=SolverSettings(tolerance=0.0, max_passes=30))
    assert (found.passes == 30).all() and set(found.status) == {Ended.PASS_LIMIT}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_numbers_in_the_problem_are_refused(bad: float) -> None:
    case = random_case(0, "plain")
    objective = case.objective.copy()
    objective[0, 0] = bad
    with pytest.raises(InputError, match="objective"):
        Problem(case.network, case.box, objective, case.offset)
    with pytest.raises(InputError, match="offset"):
        Problem(case.network, case.box, case.objective, bad)
    lower = case.box.lower.copy()
    lower[0] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        Box(lower, case.box.upper)


def with_affine(network: Network, index: int, **changes) -> Network:
    nodes = list(network.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return replace(network, nodes=tuple(nodes))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["weight", "bias", "scale"])
def test_bad_numbers_in_the_network_are_refused(part: str, bad: float) -> None:
    network = chain([np.eye(2), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])
    first = network.nodes[1]
    assert isinstance(first, Affine)
    numbers = np.array([1.0, bad])
    changes = {
        "weight": {"terms": (Term(0, DenseMap(np.stack([numbers, numbers]))),)},
        "bias": {"bias": numbers, "bias_magnitude": np.abs(numbers)},
        "scale": {"terms": (Term(0, DiagonalMap(numbers)),)},
    }
    broken = with_affine(network, 1, **changes[part])
    with pytest.raises(ModelError, match="NaN or infinite"), np.errstate(invalid="ignore"):
        Problem(broken, Box(-np.ones(2), np.ones(2)), [[1.0]])


@pytest.mark.parametrize(
    "options",
    [
        {"method": "simplex"},
        {"timeout": -1.0},
        {"timeout": np.nan},
        {"device": "abacus"},
    ],
)
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(InputError):
        solve(hard_problem(), **options)


def test_a_start_of_other_rows_is_refused() -> None:
    problem, _ = planted(0)
    with pytest.raises(InputError, match="start"):
        replace(problem, start=[np.zeros((problem.rows + 1, 1))])
