"""Rounding terms against exact rational arithmetic: reported bounds are bounds, whatever float64 or float32 did."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from admm_verify.arrays import DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, Placement
from admm_verify.bounds.preactivation import PreactivationBounds, preactivation_bounds
from admm_verify.bounds.region import evaluation_error
from admm_verify.network.graph import Activation, Affine, Network, Term
from admm_verify.network.maps import DenseMap, DiagonalMap, SelectionMap
from admm_verify.network.simplify import simplify
from admm_verify.sets import Box
from admm_verify.splitting.dual import certified_bound
from admm_verify.splitting.problem import Problem, Rows
from admm_verify.splitting.solve import METHODS, solve
from tests.random_networks import Builder, chain, random_case, random_selection, random_weight
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
    return float(certified_bound(rows, rows.region(), multipliers)[0])


def stacked_network(seed: int) -> Network:
    """Layers of several affine nodes each, not yet merged: dense, scaling, selection with a bias, residual."""
    rng = np.random.default_rng(seed)
    builder = Builder(int(rng.integers(1, 6)))
    last = 0
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.integers(1, 7))
        dense = builder.dense(last, random_weight(rng, size, builder.size(last)), rng.standard_normal(size))
        scaled = builder.affine([(dense, DiagonalMap(rng.standard_normal(size)))], rng.standard_normal(size))
        moved = builder.affine([(scaled, random_selection(rng, size, size))], rng.standard_normal(size))
        skip = SelectionMap.identity(size)
        residual = builder.affine([(moved, DenseMap(random_weight(rng, size, size))), (dense, skip)], np.zeros(size))
        last = builder.relu(residual)
    builder.dense(last, random_weight(rng, 2, builder.size(last)), rng.standard_normal(2))
    return builder.network()


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
            found = solve(Problem(network, box, [[sign]], 0.0, bounds), max_passes=0)
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
        found = solve(Problem(network, box, objective, 1.0, bounds), method, tolerance=0.0, max_passes=20)
        assert Fraction(found.lower[0]) <= truth <= Fraction(found.upper[0]), seed
        assert found.gap[0] <= 1e-9 * max(1.0, abs(float(truth)))


def sequential(terms: np.ndarray) -> np.ndarray:
    return np.cumsum(terms, axis=-1, dtype=terms.dtype)[..., -1]


SUMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sequential": sequential,
    "backward": lambda terms: sequential(terms[..., ::-1]),
    "pairwise": lambda terms: np.sum(terms, axis=-1, dtype=terms.dtype),
    "sorted": lambda terms: sequential(np.sort(terms, axis=-1)),
    "largest first": lambda terms: sequential(np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=-1), axis=-1)),
}


def evaluate(network: Network, x: np.ndarray, order: Callable[[np.ndarray], np.ndarray], least: float) -> np.ndarray:
    """The network in the dtype of x, every dot product summed in the given order.

    Results below `least` in magnitude are flushed to zero, as fast arithmetic may do.
    """

    def flush(array: np.ndarray) -> np.ndarray:
        return np.where(np.abs(array) < least, array.dtype.type(0), array)

    def product(term: Term, value: np.ndarray) -> np.ndarray:
        if isinstance(term.map, SelectionMap):
            return term.map.apply(value)
        if isinstance(term.map, DiagonalMap):
            return flush(term.map.scale.astype(x.dtype) * value)
        return flush(order(flush(term.map.dense().weight.astype(x.dtype) * value)))

    values = [x]
    for node in network.nodes[1:]:
        if isinstance(node, Activation):
            values.append(np.maximum(values[node.source], x.dtype.type(0)))
        elif isinstance(node, Affine):
            total = product(node.terms[0], values[node.terms[0].source])
            for term in node.terms[1:]:
                total = flush(total + product(term, values[term.source]))
            values.append(flush(total + node.bias.astype(x.dtype)))
    assert all(value.dtype == x.dtype for value in values)
    return values[-1]


def rounded_to_single(network: Network, scale: float = 1.0) -> Network:
    """The network with weights and biases that float32 holds exactly."""

    def single(array: np.ndarray) -> np.ndarray:
        return (scale * array).astype(np.float32).astype(np.float64)

    nodes = list(network.nodes)
    for i, node in enumerate(nodes):
        if isinstance(node, Affine):
            bias = single(node.bias)
            nodes[i] = Affine(tuple(_single_term(term, single) for term in node.terms), bias, np.abs(bias))
    return Network(tuple(nodes), network.input_shape, network.output_shape)


def _single_term(term: Term, single: Callable[[np.ndarray], np.ndarray]) -> Term:
    if isinstance(term.map, DiagonalMap):
        return Term(term.source, DiagonalMap(single(term.map.scale)))
    return term if isinstance(term.map, SelectionMap) else Term(term.source, DenseMap(single(term.map.weight)))


def error_bound(original: Network, box: Box, roundoff: float) -> np.ndarray:
    """The reported bound on the evaluation error, from the network in normal form."""
    network = simplify(original)
    bounds = preactivation_bounds(network, box)
    problem = Problem(network, box, np.eye(network.output_size), 0.0, bounds)
    return evaluation_error(Rows.of(problem, Placement.numpy()).region(), roundoff)[0]


def check_evaluation(original: Network, x: np.ndarray, box: Box, least: float = 0.0) -> None:
    """x is float32 or float64; the exact value at x and the one computed in x's dtype differ within the bound."""
    roundoff = SINGLE_ROUNDOFF if x.dtype == np.float32 else DOUBLE_ROUNDOFF
    bound = exact(error_bound(original, box, roundoff))
    value = ExactNetwork.of(original).values(x.astype(np.float64))[-1]
    for name, order in SUMS.items():
        error = np.abs(exact(evaluate(original, x, order, least).astype(np.float64)) - value)
        assert (error <= bound).all(), f"{name}: {error.astype(float)} over {bound.astype(float)}"


def single_points(box: Box, count: int, seed: int) -> list[np.ndarray]:
    """Points of float32 numbers inside a box whose ends float32 holds."""
    rng = np.random.default_rng(seed)
    lower, upper = box.lower.astype(np.float32), box.upper.astype(np.float32)
    inner = [lower + rng.random(len(lower), dtype=np.float32) * (upper - lower) for _ in range(count)]
    return [lower, upper, *(np.clip(point, lower, upper) for point in inner)]


def single_box(size: int, seed: int, radius: float) -> Box:
    centre = np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)
    lower, upper = (centre - np.float32(radius)), (centre + np.float32(radius))
    return Box(lower.astype(np.float64), upper.astype(np.float64))


@pytest.mark.parametrize("radius", [0.0, 0.1, 1.0])
def test_the_float32_evaluation_error_is_covered(radius: float) -> None:
    for seed in range(15):
        network = rounded_to_single(random_case(seed, ("plain", "residual")[seed % 2]).network)
        box = single_box(network.input_size, seed, radius)
        for x in single_points(box, 3, seed):
            check_evaluation(network, x, box)


@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_the_float32_evaluation_error_of_unmerged_chains_is_covered(radius: float) -> None:
    """The deployed network rounds after every node; the bound comes from the merged one."""
    for seed in range(40):
        network = rounded_to_single(stacked_network(seed))
        box = single_box(network.input_size, seed, radius)
        for x in single_points(box, 1, seed):
            check_evaluation(network, x, box)


@pytest.mark.parametrize("scale", [1e-12, 1e-20, 1e-30])
def test_the_evaluation_error_covers_numbers_flushed_to_zero(scale: float) -> None:
    for seed in range(10):
        network = rounded_to_single(random_case(seed, "plain").network, scale)
        box = single_box(network.input_size, seed, 0.5)
        for x in single_points(box, 1, seed):
            check_evaluation(network, x, box, least=2.0**-126)


def test_the_float64_evaluation_error_is_covered() -> None:
    for seed in range(20):
        case = random_case(seed, ("plain", "residual", "huge")[seed % 3])
        for x in (case.box.lower, case.box.upper, case.box.lower / 2 + case.box.upper / 2):
            check_evaluation(case.network, x, case.box)


@pytest.mark.parametrize("levels", [3, 30, 300])
@pytest.mark.parametrize("kind", ["shift", "residual", "scaling"])
def test_the_evaluation_error_covers_long_affine_chains(kind: str, levels: int) -> None:
    """Half a unit in the last place lost at every one of many nodes that merge into one."""
    builder = Builder(2)
    step = np.full(1, 2.0**-24)
    last = builder.affine([(0, SelectionMap.from_gather(np.array([0]), 2))], np.zeros(1))
    other = builder.affine([(0, SelectionMap.from_gather(np.array([1]), 2))], np.zeros(1))
    for _ in range(levels):
        identity = SelectionMap.identity(1)
        if kind == "shift":
            last = builder.affine([(last, identity)], step)
        elif kind == "residual":
            last = builder.affine([(last, identity), (other, DiagonalMap(step))], np.zeros(1))
        else:
            last = builder.affine([(last, DiagonalMap(np.full(1, 1.0 + 2.0**-23)))], np.zeros(1))
    builder.relu(last)
    x = np.ones(2, dtype=np.float32)
    check_evaluation(builder.network(), x, Box(np.ones(2), np.ones(2)))


@pytest.mark.parametrize("columns", [10, 100, 1000])
def test_the_evaluation_error_covers_the_worst_order_of_summation(columns: int) -> None:
    """1 + s + s + ... with s half a unit in the last place of 1: summed from the left, float32 loses all of them."""
    weight = np.full((1, columns), 2.0**-24)
    weight[0, 0] = 1.0
    check_evaluation(chain([weight], [np.zeros(1)]), np.ones(columns, dtype=np.float32), Box(*np.ones((2, columns))))


@pytest.mark.parametrize("paths", [2, 16, 64])
def test_the_evaluation_error_covers_sums_of_narrow_paths(paths: int) -> None:
    """Slices of the input through products of their own, added up one by one."""
    width = 4
    builder = Builder(paths * width)
    weight = np.full((1, width), 2.0**-24)
    total = builder.affine([(0, SelectionMap.from_gather(np.array([0]), paths * width))], np.zeros(1))
    for k in range(paths):
        window = SelectionMap.from_gather(np.arange(k * width, (k + 1) * width), paths * width)
        part = builder.dense(builder.affine([(0, window)], np.zeros(width)), weight, np.zeros(1))
        identity = SelectionMap.identity(1)
        total = builder.affine([(total, identity), (part, identity)], np.zeros(1))
    x = np.ones(paths * width, dtype=np.float32)
    check_evaluation(builder.network(), x, Box(x, x))
