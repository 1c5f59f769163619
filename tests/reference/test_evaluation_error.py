"""The float32 network as deployed: its distance from real numbers stays within the bound, in any order of summation."""

from collections.abc import Callable

import numpy as np
import pytest

from admm_verify import Box, Network, Problem, preactivation_bounds
from admm_verify.arrays import DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, Placement
from admm_verify.bounds.region import evaluation_error
from admm_verify.network.graph import Activation, Affine, Term
from admm_verify.network.maps import DenseMap, DiagonalMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import simplify
from admm_verify.splitting.problem import Rows
from tests.random_networks import Builder, chain, random_case, stacked_network
from tests.reference.exact import ExactNetwork, exact


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


@pytest.mark.parametrize("least", [0.0, 2.0**-126])
@pytest.mark.parametrize("kind", ["scaling", "dense", "sum"])
def test_the_evaluation_error_covers_small_numbers_that_merged_layers_make_large_again(kind: str, least: float) -> None:
    """What is lost below the smallest number comes back times 2^100 and more."""
    rng = np.random.default_rng(5)
    for seed in range(10):
        builder, last, zero = Builder(4), 0, np.zeros(4)
        for scale in (2.0**-130, 2.0**-15, 2.0**120, 2.0**20):
            weight = (scale * rng.uniform(0.5, 1.0, (4, 4))).astype(np.float32).astype(np.float64)
            if kind == "scaling":
                last = builder.affine([(last, DiagonalMap(weight[0]))], zero)
            elif kind == "dense":
                last = builder.dense(last, weight, zero)
            else:
                last = builder.affine([(last, DiagonalMap(weight[0])), (last, DiagonalMap(weight[1]))], zero)
        box = single_box(4, seed, 0.1)
        for x in single_points(box, 3, seed):
            check_evaluation(builder.network(), x, box, least)


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
