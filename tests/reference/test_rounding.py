"""Rounding terms against exact rational arithmetic: reported bounds are bounds, whatever float64 or float32 did."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from admm_verify import Box, Network, Problem, SolverSettings, preactivation_bounds, solve
from admm_verify.arrays import Placement
from admm_verify.bounds import functionals
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.network.graph import Activation, Affine
from admm_verify.network.maps import DiagonalMap
from admm_verify.network.simplify import simplify
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.solve import METHODS
from admm_verify.splitting.sweeps import objectives
from tests.random_networks import Builder, chain, random_case, random_weight, stacked_network
from tests.reference.exact import ExactNetwork, exact

Choose = Callable[[int, np.ndarray], np.ndarray]


def exact_dual(
    original: Network,
    box: Box,
    bounds: PreactivationBounds,
    objective: np.ndarray,
    offset: float,
    choose: Choose,
    row: int = 0,
) -> Fraction:
    """D(g) in fractions, by the transposed graph; choose(k, a) gives the multipliers of activation k."""
    network = ExactNetwork.of(original)
    coefficients: dict[int, np.ndarray] = {original.output: exact(objective)}
    value, k = Fraction(offset), len(original.activations)
    for i in range(original.output, 0, -1):
        node = original.nodes[i]
        k -= isinstance(node, Activation)
        if i not in coefficients:
            continue
        a = coefficients[i]
        if isinstance(node, Affine):
            value += a @ network.biases[i]
            parts = [(t.source, a @ matrix) for t, matrix in zip(node.terms, network.matrices[i], strict=True)]
        else:
            assert isinstance(node, Activation)
            g = choose(k, a)
            value += support(bounds.lower[k][row], bounds.upper[k][row], a, g)
            parts = [(node.source, g)]
        for source, part in parts:
            coefficients[source] = coefficients[source] + part if source in coefficients else part
    return value + np.minimum(coefficients[0] * exact(box.lower), coefficients[0] * exact(box.upper)).sum()


def support(lower: np.ndarray, upper: np.ndarray, a: np.ndarray, g: np.ndarray) -> Fraction:
    """Sum over neurons of the least a q - g p at a vertex (p, q) of the triangle."""
    ends = [a * np.maximum(end, Fraction(0)) - g * end for end in (exact(lower), exact(upper))]
    least = np.minimum(*ends)
    return np.where((lower < 0) & (upper > 0), np.minimum(least, Fraction(0)), least).sum()


def multipliers_of(bounds: PreactivationBounds, seed: int, spread: float) -> list[np.ndarray]:
    """Random multipliers over several orders of magnitude, with zeros."""
    rng = np.random.default_rng([seed, 3])
    shapes = [low.shape for low in bounds.lower]
    return [
        rng.standard_normal(shape) * 10.0 ** rng.uniform(-spread, spread, shape) * (rng.random(shape) < 0.8)
        for shape in shapes
    ]


def certify(network: Network, box: Box, bounds: PreactivationBounds, objective, offset, multipliers) -> float:
    rows = Rows.of(Problem(network, box, objective, offset, bounds), Placement.numpy())
    bound, _ = functionals.certify(rows.region(), objectives(rows), lambda k, _: multipliers[k])
    return float(bound[0])


@pytest.mark.parametrize("spread", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("method", ["interval", "crown"])
def test_certified_bounds_are_below_the_exact_dual_value(method: str, spread: float) -> None:
    for seed in range(28):
        case = random_case(seed, widest=6)
        bounds = preactivation_bounds(case.network, case.box, method)
        multipliers = multipliers_of(bounds, seed, spread)
        for objective, offset in zip(case.objective, case.offset, strict=True):
            bound = certify(case.network, case.box, bounds, objective, offset, multipliers)
            truth = exact_dual(
                case.network, case.box, bounds, objective, offset, lambda k, _, g=multipliers: exact(g[k][0])
            )
            assert Fraction(bound) <= truth, (seed, case.kind)
            assert np.isfinite(bound), (seed, case.kind)


@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_certified_bounds_of_merged_chains_are_below_the_exact_dual_value(spread: float) -> None:
    for seed in range(60):
        original = stacked_network(seed)
        rng = np.random.default_rng(seed)
        centre = rng.uniform(-1, 1, original.input_size)
        box = Box(centre - 0.1, centre + 0.1) if seed % 3 else Box(centre, centre)
        network = simplify(original)
        bounds = preactivation_bounds(network, box)
        multipliers = multipliers_of(bounds, seed, spread)
        objective = rng.standard_normal(2)
        bound = certify(network, box, bounds, objective, 0.5, multipliers)
        truth = exact_dual(original, box, bounds, objective, 0.5, lambda k, _, g=multipliers: exact(g[k][0]))
        assert Fraction(bound) <= truth, seed


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("middle", ["dense", "diagonal"])
def test_bounds_cover_merged_chains_that_cancel(middle: str, part: str) -> None:
    """W2 W1 is of order one while |W2||W1| is of order 1e20: the rounding of the product is all that matters."""
    size, missed = 6, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        large, small = 1e10 * rng.standard_normal((size, 2)), rng.standard_normal((size, 2))
        scale = 1e10 * rng.standard_normal(size)
        outer = scale if middle == "dense" else np.sign(scale)
        builder = Builder(2)
        weight, shift = (large, small[:, 0]) if part == "weight" else (small, large[:, 0])
        weights, shifts = np.concatenate([weight, weight + small]), np.concatenate([shift, shift + small[:, 1]])
        hidden = builder.dense(0, weights, shifts)
        if middle == "diagonal":
            hidden = builder.affine([(hidden, DiagonalMap(np.concatenate([scale, scale])))], np.zeros(2 * size))
        builder.relu(builder.dense(hidden, np.concatenate([outer, -outer])[None, :], np.zeros(1)))
        original, x = builder.network(), rng.uniform(-1, 1, 2)
        network, box = simplify(original), Box(x, x)
        pre = ExactNetwork.of(original).preactivations(x)[0][0]
        for method in ("interval", "crown"):
            bounds = preactivation_bounds(network, box, method)
            assert Fraction(bounds.lower[0][0, 0]) <= pre <= Fraction(bounds.upper[0][0, 0]), seed
        missed += Fraction(network.nodes[1].apply([x])[0]) != pre
        post = np.maximum(pre, Fraction(0))
        for sign in (1.0, -1.0):
            found = solve(Problem(network, box, [[sign]], 0.0, bounds), settings=SolverSettings(max_passes=0))
            assert Fraction(found.lower[0]) <= Fraction(sign) * post, seed
    assert missed >= 15, "float64 gets the merged product wrong here"


def test_the_rounding_term_is_small() -> None:
    """A bound of -inf would pass every test above."""
    for seed in range(40):
        case = random_case(seed, "plain")
        bounds = preactivation_bounds(case.network, case.box)
        multipliers = multipliers_of(bounds, seed, 0.5)
        objective, offset = case.objective[0], case.offset[0]
        bound = certify(case.network, case.box, bounds, objective, offset, multipliers)
        truth = exact_dual(
            case.network, case.box, bounds, objective, offset, lambda k, _, g=multipliers: exact(g[k][0])
        )
        assert float(truth) - bound <= 1e-10 * max(1.0, abs(float(truth))) * 10 ** len(multipliers), seed


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-30, 1e30, 1e150, 1e290])
def test_multipliers_of_any_size_give_bounds(scale: float) -> None:
    for seed in range(20):
        case = random_case(seed, "plain", widest=5)
        bounds = preactivation_bounds(case.network, case.box)
        multipliers = [scale * g for g in multipliers_of(bounds, seed, 1.0)]
        with np.errstate(over="ignore", invalid="ignore"):
            bound = certify(case.network, case.box, bounds, case.objective[0], case.offset[0], multipliers)
        truth = exact_dual(
            case.network,
            case.box,
            bounds,
            case.objective[0],
            case.offset[0],
            lambda k, _, g=multipliers: exact(g[k][0]),
        )
        assert bound == -np.inf or Fraction(bound) <= truth, seed
        assert not np.isnan(bound)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_multipliers_give_no_bound(bad: float) -> None:
    case = random_case(0, "plain")
    bounds = preactivation_bounds(case.network, case.box)
    for k in range(len(bounds.lower)):
        multipliers = multipliers_of(bounds, 0, 1.0)
        multipliers[k][0, 0] = bad
        with np.errstate(invalid="ignore"):
            bound = certify(case.network, case.box, bounds, case.objective[0], case.offset[0], multipliers)
        assert bound == -np.inf


def stable_case(seed: int) -> tuple[Network, Box]:
    """A network whose neurons are all stable, so that its relaxation is exact."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, 4)
    weights = [random_weight(rng, m, n) for n, m in pairwise(sizes)]
    biases = [rng.choice([-100.0, 100.0], size) for size in sizes[1:-1]] + [rng.standard_normal(sizes[-1])]
    centre = rng.uniform(-1, 1, sizes[0])
    return simplify(chain(weights, biases)), Box(centre - 0.5, centre + 0.5)


@pytest.mark.parametrize("method", METHODS)
def test_lower_and_upper_enclose_an_optimum_known_exactly(method: str) -> None:
    """Where every neuron is stable the optimum is D(g) with g = a on active neurons: no slack on either side."""
    for seed in range(40):
        network, box = stable_case(seed)
        bounds = preactivation_bounds(network, box)
        assert not any(((low < 0) & (high > 0)).any() for low, high in zip(bounds.lower, bounds.upper, strict=True))
        objective = np.random.default_rng(seed).standard_normal(network.output_size)
        active = [low[0] >= 0 for low in bounds.lower]
        truth = exact_dual(
            network, box, bounds, objective, 1.0, lambda k, a, on=active: np.where(on[k], a, Fraction(0))
        )
        found = solve(
            Problem(network, box, objective, 1.0, bounds), method, settings=SolverSettings(tolerance=0.0, max_passes=20)
        )
        assert Fraction(found.lower[0]) <= truth <= Fraction(found.relaxation_upper[0]), seed
        assert found.gap[0] <= 1e-9 * max(1.0, abs(float(truth)))


@pytest.mark.parametrize("method", METHODS)
def test_the_exact_dual_value_of_a_solution_lies_between_its_bounds(method: str) -> None:
    """lower <= D(multipliers) <= the relaxation's optimum <= upper, in fractions."""
    tight = 0
    for seed in range(42):
        case = random_case(seed, widest=6, deepest=2)
        problem = Problem(case.network, case.box, case.objective, case.offset)
        found = solve(problem, method, settings=SolverSettings(tolerance=0.0, max_passes=150))
        for row, (objective, offset) in enumerate(zip(case.objective, case.offset, strict=True)):
            given = [exact(g[row]) for g in found.multipliers]
            truth = exact_dual(
                case.network, case.box, problem.preactivation, objective, offset, lambda k, _, g=given: g[k]
            )
            assert Fraction(found.lower[row]) <= truth <= Fraction(found.relaxation_upper[row]), (seed, row)
            tight += found.gap[row] <= 1e-11 * max(1.0, abs(found.lower[row]))
    assert tight >= 20, "many gaps close up to rounding, so that the rounding of the upper value matters"
