"""Laws of `simplify`: the same function in normal form, and bounds that hold for the network as it was given."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify import Box, Network, Problem, SolverSettings, preactivation_bounds, solve
from admm_verify.arrays import gamma
from admm_verify.network.compose import add, compose
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Input
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import simplify
from admm_verify.splitting.solve import METHODS
from tests.laws.laws import law
from tests.random_networks import Builder, random_graph, relaxed
from tests.reference.exact import ExactNetwork, exact

SEEDS = st.integers(0, 2**32 - 1)


def unit_box(network: Network) -> Box:
    return Box(-np.ones(network.input_size), np.ones(network.input_size))


IMAGE = (2, 3, 3)
SIZE = 18


def same_convolution(rng: np.random.Generator) -> ConvolutionMap:
    """A convolution from IMAGE to IMAGE."""
    return ConvolutionMap.of(rng.standard_normal((2, 2, 3, 3)), IMAGE, padding=(1, 1, 1, 1))


def channel_scaling(rng: np.random.Generator) -> DiagonalMap:
    return DiagonalMap(np.repeat(rng.standard_normal(2), 9))


def random_convolutional_graph(seed: int) -> Network:
    """Convolutions and their adjoints, scalings, selections, identities, sums and ReLUs, all of them on IMAGE."""
    rng = np.random.default_rng(seed)
    builder = Builder(SIZE)
    maps: list[LinearMap] = [
        SelectionMap.identity(SIZE),
        SelectionMap.from_gather(rng.integers(0, SIZE + 1, SIZE), SIZE),
    ]
    for _ in range(int(rng.integers(2, 12))):
        node = len(builder.nodes) - 1 if rng.random() < 0.6 else int(rng.integers(len(builder.nodes)))
        fresh = [same_convolution(rng), TransposedMap(same_convolution(rng)), channel_scaling(rng), *maps]
        kind = int(rng.integers(8))
        if kind < 5:
            builder.affine([(node, fresh[kind])], rng.standard_normal(SIZE))
        elif kind < 7:
            other, pair = int(rng.integers(len(builder.nodes))), rng.integers(0, 5, 2)
            builder.affine([(node, fresh[pair[0]]), (other, fresh[pair[1]])], rng.standard_normal(SIZE))
        else:
            builder.relu(node)
    return builder.network()


def convolutions(network: Network) -> list[LinearMap]:
    maps = [term.map for node in network.affine.values() for term in node.terms]
    return [part for part in maps if isinstance(part, ConvolutionMap | TransposedMap)]


def sources(network: Network, index: int) -> list[int]:
    node = network.nodes[index]
    if isinstance(node, Affine):
        return [term.source for term in node.terms]
    return [] if isinstance(node, Input) else [node.source]


@law(300)
@given(SEEDS)
def test_the_function_stays_the_same(seed: int) -> None:
    network = random_graph(seed) if seed % 3 else random_convolutional_graph(seed)
    x = np.random.default_rng(seed).uniform(-2, 2, (20, network.input_size))
    before, after = network(x), relaxed(simplify(network))(x)
    largest = max(float(np.abs(value).max()) for value in network.forward(x, lambda _, pre: np.maximum(pre, 0.0)))
    assert before.shape == after.shape
    assert np.allclose(after, before, rtol=1e-10, atol=1e-12 * largest)


@law(300)
@given(SEEDS)
def test_the_result_is_in_normal_form(seed: int) -> None:
    network = simplify(random_graph(seed) if seed % 3 else random_convolutional_graph(seed))
    nodes = network.nodes
    assert isinstance(nodes[0], Input) and isinstance(nodes[-1], Affine)
    for i, node in enumerate(nodes[1:], start=1):
        kinds = [type(nodes[source]) for source in sources(network, i)]
        assert all(source < i for source in sources(network, i)), "topological order"
        if isinstance(node, Affine):
            for source in (nodes[j] for j in set(sources(network, i))):
                assert not isinstance(source, Affine) or not mergeable(network, i, source)
            assert all(
                first is second or first.source != second.source or add(first.map, second.map) is None
                for first in node.terms
                for second in node.terms
            ), "parallel terms are added up"
            assert all(term.map.rows == node.size for term in node.terms)
            assert all(term.map.columns == nodes[term.source].size for term in node.terms)
            assert (node.bias_magnitude >= np.abs(node.bias)).all()
        else:
            assert isinstance(node, Activation) and kinds == [Affine] and nodes[node.source].size == node.size


def mergeable(network: Network, reader: int, source: Affine) -> bool:
    """Whether every reading term would merge with the source's maps, and no convolution is among them."""
    node = network.nodes[reader]
    assert isinstance(node, Affine)
    reading = [term.map for term in node.terms if network.nodes[term.source] is source]
    inner = [term.map for term in source.terms]
    if any(isinstance(part, ConvolutionMap | TransposedMap) for part in inner + reading):
        return False
    return all(compose(outer, part) is not None for outer in reading for part in inner)


@law(150)
@given(SEEDS)
def test_convolutions_are_not_computed_twice(seed: int) -> None:
    original = random_convolutional_graph(seed)
    network = simplify(original)
    assert len(convolutions(network)) <= len(convolutions(original))


@law(150)
@given(SEEDS)
def test_no_node_is_dead_and_no_activation_twice(seed: int) -> None:
    network = simplify(random_graph(seed))
    used = {source for i in range(len(network.nodes)) for source in sources(network, i)}
    assert used | {0} == set(range(len(network.nodes) - 1)) | {0}
    activations = [network.nodes[i] for i in network.activations]
    assert len({(node.kind, node.source) for node in activations}) == len(activations)


@law(100)
@given(SEEDS)
def test_simplifying_twice_changes_nothing(seed: int) -> None:
    once = simplify(random_graph(seed) if seed % 2 else random_convolutional_graph(seed))
    twice = simplify(once)
    assert [type(node) for node in once.nodes] == [type(node) for node in twice.nodes]
    x = np.random.default_rng(seed).uniform(-2, 2, (5, once.input_size))
    assert np.array_equal(once(x), twice(x))


@law(60)
@given(SEEDS, st.sampled_from(METHODS))
def test_certified_bounds_hold_for_the_original(seed: int, method: str) -> None:
    original = random_graph(seed)
    network, box = simplify(original), unit_box(original)
    objective = np.random.default_rng(seed).standard_normal((2, original.output_size))
    found = solve(Problem(network, box, objective), method, settings=SolverSettings(tolerance=0.0, max_passes=20))
    assert np.isfinite(found.lower).all()
    exact_network, rng = ExactNetwork.of(original), np.random.default_rng([seed, 1])
    points = [*rng.uniform(-1, 1, (3, original.input_size)), *rng.choice([-1.0, 1.0], (3, original.input_size))]
    for x in [*points, *found.primal]:
        for bound, row in zip(found.lower, objective, strict=True):
            assert Fraction(bound) <= exact_network.objective(np.clip(x, box.lower, box.upper), row, 0.0)


@law(60)
@given(SEEDS, st.sampled_from(["interval", "crown"]))
def test_certified_bounds_of_affine_graphs_enclose_the_original(seed: int, method: str) -> None:
    """The point box: then bounds differ from the value by rounding alone, and every missed rounding shows."""
    original = random_graph(seed)
    x = np.random.default_rng(seed).uniform(-1, 1, original.input_size)
    network, box = simplify(original), Box(x, x)
    value = ExactNetwork.of(original).values(x)[-1]
    for sign in (1.0, -1.0):
        bounds = preactivation_bounds(network, box, method)
        found = solve(
            Problem(network, box, sign * np.eye(len(value)), 0.0, bounds), settings=SolverSettings(max_passes=0)
        )
        assert all(Fraction(bound) <= Fraction(sign) * exact for bound, exact in zip(found.lower, value, strict=True))


def test_twin_activations_are_shared_and_dead_nodes_dropped() -> None:
    builder = Builder(2)
    hidden = builder.dense(0, np.eye(2), np.zeros(2))
    first, second = builder.relu(hidden), builder.relu(hidden)
    builder.dense(first, np.ones((3, 2)), np.zeros(3))
    identity = SelectionMap.identity(2)
    builder.affine([(first, identity), (second, identity)], np.zeros(2))
    network = simplify(builder.network())
    assert [type(node) for node in network.nodes] == [Input, Affine, Activation, Affine]
    assert np.array_equal(relaxed(network)(np.array([1.0, -1.0])), [2.0, 0.0])


def test_a_network_that_ends_in_an_activation_gets_an_affine_output() -> None:
    builder = Builder(2)
    builder.relu(0)
    network = simplify(builder.network())
    assert [type(node) for node in network.nodes] == [Input, Affine, Activation, Affine]
    assert np.array_equal(relaxed(network)(np.array([3.0, -1.0])), [3.0, 0.0])


def test_activations_of_other_parameters_are_not_shared() -> None:
    builder = Builder(2)
    hidden = builder.dense(0, np.eye(2), np.zeros(2))
    for slope in (0.1, 0.2, 0.1):
        builder.nodes.append(Activation("prelu", hidden, 2, (np.full(2, slope),)))
    identity = SelectionMap.identity(2)
    builder.affine([(hidden + 1, identity), (hidden + 2, identity), (hidden + 3, identity)], np.zeros(2))
    network = simplify(builder.network())
    assert len(network.activations) == 2
    assert np.allclose(relaxed(network)(np.array([-1.0, 1.0])), [-0.4, 3.0])


def test_a_network_of_affine_nodes_folds_to_one() -> None:
    rng = np.random.default_rng(0)
    builder = Builder(3)
    scaled = builder.affine([(0, DiagonalMap(rng.standard_normal(3)))], rng.standard_normal(3))
    moved = builder.affine([(scaled, SelectionMap.from_gather(np.array([2, 0, 0]), 3))], rng.standard_normal(3))
    builder.dense(moved, rng.standard_normal((2, 3)), rng.standard_normal(2))
    network, x = simplify(builder.network()), rng.standard_normal((4, 3))
    assert [type(node) for node in network.nodes] == [Input, Affine]
    assert np.allclose(relaxed(network)(x), builder.network()(x))


def test_hidden_values_stay_within_the_peak() -> None:
    """Scalings do not merge with the selection between them, only with the matrix after all: three hidden values."""
    builder = Builder(2)
    scaled = builder.affine([(0, DiagonalMap(np.array([1e6, 1.0])))], np.array([1e3, 0.0]))
    moved = builder.affine([(scaled, SelectionMap.from_gather(np.array([0, 0, 1]), 2))], np.array([5e3, 0.0, 0.0]))
    again = builder.affine([(moved, DiagonalMap(np.array([1e3, 1.0, 1.0])))], np.zeros(3))
    builder.dense(again, np.array([[1e-9, -1e-9, 1.0]]), np.zeros(1))
    original = builder.network()
    node = simplify(original).nodes[-1]
    assert isinstance(node, Affine)
    for x in (np.ones(2), np.array([0.0, 1.0]), np.array([-3.0, 2.0])):
        hidden = max(float(np.abs(value).max()) for value in original.evaluate(x))
        assert hidden <= node.peak_gain * np.abs(x).max() + node.peak_shift <= 10 * hidden + 1e10


@pytest.mark.parametrize("size", [10, 1000])
def test_the_roundings_of_folded_constants_are_covered(size: int) -> None:
    builder = Builder(1)
    rng = np.random.default_rng(0)
    constant = builder.affine([], rng.standard_normal(size))
    weight = rng.standard_normal((1, size))
    last = builder.affine([(constant, DenseMap(weight)), (0, SelectionMap.identity(1))], np.zeros(1))
    original = builder.network()
    node = simplify(original).nodes[-1]
    assert isinstance(node, Affine) and isinstance(original.nodes[constant], Affine)
    truth = (exact(weight) @ exact(original.nodes[constant].bias))[0]
    assert abs(Fraction(node.bias[0]) - truth) <= Fraction(gamma(node.roundings) * node.bias_magnitude[0])
    assert (
        gamma(node.roundings) * node.bias_magnitude[0]
        >= gamma(size) * (np.abs(weight) @ np.abs(original.nodes[constant].bias))[0]
    )
    assert last == original.output


def test_a_batch_normalisation_merges_into_its_convolution() -> None:
    rng = np.random.default_rng(0)
    for part in (same_convolution(rng), TransposedMap(same_convolution(rng))):
        builder = Builder(SIZE)
        hidden = builder.affine([(0, part)], rng.standard_normal(SIZE))
        builder.relu(builder.affine([(hidden, channel_scaling(rng))], rng.standard_normal(SIZE)))
        network, x = simplify(builder.network()), rng.standard_normal((4, SIZE))
        assert [type(node) for node in network.nodes] == [Input, Affine, Activation, Affine]
        assert [type(merged) for merged in convolutions(network)] == [type(part)]
        assert np.allclose(relaxed(network)(x), builder.network()(x))


def test_a_residual_block_keeps_its_two_terms() -> None:
    rng = np.random.default_rng(0)
    builder, identity = Builder(SIZE), SelectionMap.identity(SIZE)
    first = builder.relu(builder.affine([(0, same_convolution(rng))], np.zeros(SIZE)))
    second = builder.affine([(first, same_convolution(rng))], np.zeros(SIZE))
    builder.relu(builder.affine([(second, identity), (first, identity)], np.zeros(SIZE)))
    node = simplify(builder.network()).nodes[3]
    assert isinstance(node, Affine)
    assert [term.source for term in node.terms] == [2, 2]
    assert {type(term.map) for term in node.terms} == {ConvolutionMap, SelectionMap}


def test_a_convolution_of_a_sum_is_computed_once() -> None:
    rng = np.random.default_rng(0)
    builder, identity = Builder(SIZE), SelectionMap.identity(SIZE)
    first = builder.relu(0)
    total = builder.affine([(0, identity), (first, identity)], np.ones(SIZE))
    builder.affine([(total, same_convolution(rng))], np.zeros(SIZE))
    assert len(convolutions(simplify(builder.network()))) == 1


@pytest.mark.parametrize("through", ["identity", "chain of identities", "matrix"])
def test_a_source_of_two_readers_merges_unless_it_is_a_convolution(through: str) -> None:
    rng = np.random.default_rng(0)
    part = DenseMap(rng.standard_normal((SIZE, SIZE))) if through == "matrix" else same_convolution(rng)
    builder, identity = Builder(SIZE), SelectionMap.identity(SIZE)
    hidden = builder.affine([(0, part)], np.zeros(SIZE))
    if through == "chain of identities":
        hidden = builder.affine([(hidden, identity)], np.zeros(SIZE))
    active = builder.relu(hidden)
    builder.affine([(active, identity), (hidden, identity)], np.zeros(SIZE))
    last = simplify(builder.network()).nodes[-1]
    assert isinstance(last, Affine)
    assert {term.source for term in last.terms} == ({0, 2} if through == "matrix" else {1, 2})


@pytest.mark.parametrize("levels", [3, 30, 300, 3000])
def test_bounds_cover_the_roundings_of_merged_biases(levels: int) -> None:
    """x + 1 + s + s + ... with s half a unit in the last place of 1: float64 loses every one of them."""
    builder = Builder(1)
    last = 0
    for shift in [1.0] + [2.0**-54] * levels:
        last = builder.affine([(last, SelectionMap.identity(1))], np.array([shift]))
    builder.relu(last)
    original = builder.network()
    network, box = simplify(original), Box(np.zeros(1), np.zeros(1))
    bounds = preactivation_bounds(network, box, "interval")
    pre = ExactNetwork.of(original).preactivations(np.zeros(1))[0][0]
    assert Fraction(bounds.lower[0][0, 0]) <= pre <= Fraction(bounds.upper[0][0, 0])
    found = solve(Problem(network, box, -np.ones((1, 1))), settings=SolverSettings(max_passes=0))
    assert Fraction(found.lower[0]) <= -pre


@pytest.mark.parametrize("levels", [3, 30, 300])
def test_bounds_cover_the_roundings_of_merged_scalings(levels: int) -> None:
    builder = Builder(1)
    last = 0
    for _ in range(levels):
        last = builder.affine([(last, DiagonalMap(np.array([1.0 + 2.0**-52])))], np.zeros(1))
    last = builder.affine([(last, DenseMap(np.ones((1, 1))))], np.zeros(1))
    builder.relu(last)
    original, box = builder.network(), Box(np.ones(1), np.ones(1))
    bounds = preactivation_bounds(simplify(original), box, "interval")
    pre = ExactNetwork.of(original).preactivations(np.ones(1))[0][0]
    assert Fraction(bounds.lower[0][0, 0]) <= pre <= Fraction(bounds.upper[0][0, 0])


@pytest.mark.parametrize("exponents", [(-600, -600, 1000), (-540, -540, 80), (-1000, -70, 500, 500)])
@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("diagonal", [False, True])
def test_bounds_cover_what_merging_loses_to_underflow(diagonal: bool, part: str, exponents: tuple[int, ...]) -> None:
    """2**-600 * 2**-600 * 2**1000 is 2**-200, but float64 merges the first two factors to zero."""
    builder = Builder(1)
    x = np.ones(1) if part == "weight" else np.zeros(1)
    last = 0
    for k, exponent in enumerate(exponents):
        scale = np.array([2.0**exponent])
        shift = scale if part == "bias" and k == 0 else np.zeros(1)
        last = builder.affine([(last, DiagonalMap(scale) if diagonal else DenseMap(scale[:, None]))], shift)
    builder.relu(last)
    original, box = builder.network(), Box(x, x)
    pre = ExactNetwork.of(original).preactivations(x)[0][0]
    network = simplify(original)
    for method in ("interval", "crown"):
        bounds = preactivation_bounds(network, box, method)
        low, high = bounds.lower[0][0, 0], bounds.upper[0][0, 0]
        enclosed = Fraction(low) <= pre <= Fraction(high)
        assert enclosed, f"{method}: {float(pre)} outside [{low}, {high}]"
        bound = solve(Problem(network, box, [[-1.0]], 0.0, bounds), settings=SolverSettings(max_passes=0)).lower[0]
        valid = bound == -np.inf or Fraction(bound) <= -pre
        assert valid, f"{method}: lower {bound} over {-float(pre)}"
