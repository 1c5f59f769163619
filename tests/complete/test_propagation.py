"""What signs and atoms say together: every point of a part keeps its place, and clauses decide one another."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from admm_verify import Box, Network, Query, Verdict, preactivation_bounds
from admm_verify.arrays import Placement
from admm_verify.bounds.region import Region, spread_region
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.leaf_programs import Leaf, LeafPrograms
from admm_verify.complete.propagation import Narrowed, Propagation
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.properties.property import Disjunct
from admm_verify.rationals import directed_float
from tests.complete.networks import box_for, flat_box, network_of
from tests.complete.queries import atom_of, box_of, by_neurons, confirmed, query_of
from tests.reference.pieces import ExactPieces

Clauses = list[list[int]]


def part_of(
    network: Network, box: Box, objective: np.ndarray, offset: np.ndarray, splits: list[np.ndarray], sound: bool = True
) -> tuple[Propagation, Narrowed]:
    """One box with atoms objective f + offset <= 0 and the neurons' signs, -1, 0 or 1, narrowed."""
    ends = [np.reshape(end, (1, -1)) for end in box.range]
    inputs = Box(*ends)
    bounds = preactivation_bounds(network, inputs, method="interval")
    region = spread_region(network.put(Placement.numpy()), inputs, bounds.lower, bounds.upper)
    atoms = len(offset)
    disjuncts = Disjuncts(
        inputs, objective[None], offset[None], np.zeros((1, atoms), bool), np.full((1, atoms), sound),
        np.arange(atoms)[None], np.zeros(1, dtype=np.int64), np.array([atoms]),
    )  # fmt: skip
    propagation = Propagation(region, np.zeros(1, dtype=np.int64), disjuncts, 12)
    lower = [np.where(sign > 0, np.maximum(low, 0.0), low) for sign, low in zip(splits, bounds.lower, strict=True)]
    upper = [np.where(sign < 0, np.minimum(high, 0.0), high) for sign, high in zip(splits, bounds.upper, strict=True)]
    return propagation, propagation(np.zeros(1, dtype=np.int64), inputs, lower, upper)


def inside(values: list[Fraction], low: np.ndarray, high: np.ndarray) -> bool:
    return all(a <= v <= b for a, v, b in zip(low.tolist(), values, high.tolist(), strict=True))


def drawn(seed: int) -> tuple[Network, Box, np.ndarray, list[list[Fraction]]]:
    """A network, a box, a point of it, often in a corner, and the exact values of all nodes there."""
    rng = np.random.default_rng([seed, 71])
    network = network_of(("dense", "residual", "conv")[seed % 3], rng, ("relu",))
    box = flat_box(box_for(network, rng))
    lower, upper = (np.asarray(end) for end in box.range)
    x = np.clip(lower + rng.choice([0.0, 1.0, rng.random()], len(lower)) * (upper - lower), lower, upper)
    return network, box, x, ExactPieces(network).values(x)


def test_no_point_of_a_part_is_lost() -> None:
    """The point's own signs are fixed, and the atoms only just hold there: zero slack."""
    cut = 0
    for seed in range(120):
        rng = np.random.default_rng([seed, 72])
        network, box, x, values = drawn(seed)
        objective = rng.standard_normal((3, 2)) * 10.0 ** rng.integers(-6, 6)
        sums = [sum((Fraction(c) * y for c, y in zip(row, values[-1], strict=True)), Fraction(0)) for row in objective]
        offset = np.array([directed_float(-total, np.float64, up=False) for total in sums])
        pre = [values[source] for source in network.sources]
        signs = [np.array([(1 if v > 0 else -1) * (rng.random() < 0.5) for v in layer]) for layer in pre]
        _, found = part_of(network, box, objective, offset, signs)
        assert not found.empty.any()
        ends = Box.unpacked(found.packed).range
        assert inside([Fraction(v) for v in x], ends[0][0], ends[1][0])
        for layer, low, high in zip(pre, found.lower, found.upper, strict=True):
            assert inside(layer, low[0], high[0])
        cut += bool((np.asarray(box.range[1]) - np.asarray(box.range[0]) > 1.05 * (ends[1] - ends[0])[0]).any())
    assert cut > 30


def test_atoms_that_hold_nowhere_leave_an_empty_part_and_unsound_ones_say_nothing() -> None:
    for seed in range(20):
        network, box, _, _ = drawn(seed)
        none = [np.zeros(network.nodes[i].size) for i in network.activations]
        objective, offset = np.array([[1.0, 0.0]]), np.array([1e9])
        assert part_of(network, box, objective, offset, none)[1].empty.all()
        found = part_of(network, box, objective, offset, none, sound=False)[1]
        assert not found.empty.any()
        assert np.array_equal(Box.unpacked(found.packed).range[0][0], box.range[0])


def clauses_network(clauses: Clauses, variables: int) -> Network:
    """y_0 = 1 - sum over clauses of max(0, 1 - true literals), y_1 = sum of min(x, 1 - x), for x in [0, 1]."""
    count = len(clauses)
    weight, bias = np.zeros((count + 2 * variables, variables)), np.zeros(count + 2 * variables)
    for row, clause in enumerate(clauses):
        bias[row] = 1.0 - sum(literal < 0 for literal in clause)
        for literal in clause:
            weight[row, abs(literal) - 1] -= np.sign(literal)
    weight[count : count + variables] = np.eye(variables)
    weight[count + variables :], bias[count + variables :] = 2 * np.eye(variables), -1.0
    last = np.zeros((2, count + 2 * variables))
    last[0, :count], last[1, count : count + variables], last[1, count + variables :] = -1.0, 1.0, -1.0
    builder = Builder((1, variables), "float64")
    hidden = builder.activation("relu", Tensor(builder.affine(builder.input, DenseMap(weight), bias), (1, len(bias))))
    return builder.finish(Tensor(builder.affine(hidden, DenseMap(last), np.array([1.0, 0.0])), (1, 2)), "clauses")


def clauses_query(clauses: Clauses, variables: int) -> Query:
    """Whether y_0 >= 1 and y_1 <= 0: whether the clauses hold together."""
    atoms = (atom_of([-1.0, 0.0], 1.0), atom_of([0.0, 1.0], 0.0))
    box = box_of([0.0] * variables, [1.0] * variables)
    return query_of(clauses_network(clauses, variables), [Disjunct(box, atoms)])


def satisfiable(clauses: Clauses, variables: int) -> bool:
    points = product([False, True], repeat=variables)
    return any(all(any(point[abs(v) - 1] == (v > 0) for v in clause) for clause in clauses) for point in points)


def leaves(variables: int, count: int, rng: np.random.Generator) -> Clauses:
    """The clauses that forbid every leaf of a random decision tree: no point is left."""
    paths: Clauses = [[]]
    while len(paths) < count:
        path = paths.pop(int(rng.integers(len(paths))))
        own = int(rng.choice([v for v in range(1, variables + 1) if v not in path and -v not in path]))
        paths += [[*path, own], [*path, -own]]
    return [[-literal for literal in path] for path in paths]


def test_one_clause_decides_the_next() -> None:
    """x_1, and each variable implies the next; the last ones contradict one another."""
    size = 12
    chain = [[1]] + [[-v, v + 1] for v in range(1, size)]
    network = clauses_network(chain, size)
    none = [np.zeros(network.nodes[i].size) for i in network.activations]
    objective, offset = np.array([[-1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0])
    box = Box(np.zeros(size), np.ones(size))
    found = part_of(network, box, objective, offset, none)[1]
    assert not found.empty.any() and (found.packed[0, :size] > 1 - 1e-9).all()
    network = clauses_network([*chain, [-size]], size)
    none = [np.zeros(network.nodes[i].size) for i in network.activations]
    assert part_of(network, box, objective, offset, none)[1].empty.all()


def test_the_variable_of_all_clauses_comes_first() -> None:
    clauses = [[1, 2, 3], [1, -2, 4], [-1, 3, 5], [-1, -3, -4], [1, 4, -5]]
    network = clauses_network(clauses, 5)
    none = [np.zeros(network.nodes[i].size) for i in network.activations]
    objective, offset = np.array([[-1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0])
    propagation, found = part_of(network, Box(np.zeros(5), np.ones(5)), objective, offset, none)
    # The kink of 2 x_1 - 1 comes after the clauses and the variables.
    (score,) = propagation.scores(np.zeros(1, dtype=np.int64), found)
    assert int(score[0].argmax()) == len(clauses) + 5
    # Nothing is to be split where a neuron's sign is known.
    assert (score[0][(found.lower[0] >= 0)[0] | (found.upper[0] <= 0)[0]] == 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_clauses_are_decided_as_by_trying_all_points(seed: int) -> None:
    rng = np.random.default_rng([seed, 73])
    for count in (18, 26, 32):
        clauses = [[int(v) for v in (rng.permutation(6)[:3] + 1) * rng.choice([-1, 1], 3)] for _ in range(count)]
        query = clauses_query(clauses, 6)
        outcome = by_neurons(query)
        assert outcome.verdict is (Verdict.SAT if satisfiable(clauses, 6) else Verdict.UNSAT)
        assert outcome.verdict is Verdict.UNSAT or confirmed(query, outcome)


def test_a_tree_of_clauses_takes_about_as_many_parts_as_it_has_leaves() -> None:
    rng = np.random.default_rng(74)
    for variables, count in ((24, 30), (30, 40)):
        outcome = by_neurons(clauses_query(leaves(variables, count, rng), variables), most=4 * count)
        assert outcome.verdict is Verdict.UNSAT


def test_programs_that_exclude_nothing_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a wide layer over many inputs are excluded by splits, and hardly ever by their programs."""
    solve = LeafPrograms.solve
    results: list[Leaf | None] = []

    def counted(programs: LeafPrograms, disjunct: int, region: Region, path: np.ndarray) -> Leaf | None:
        results.append(solve(programs, disjunct, region, path))
        return results[-1]

    monkeypatch.setattr(LeafPrograms, "solve", counted)
    rng = np.random.default_rng(75)
    builder = Builder((1, 24), "float64")
    first = builder.affine(builder.input, DenseMap(rng.standard_normal((60, 24)) / 5), np.zeros(60))
    hidden = builder.activation("relu", Tensor(first, (1, 60)))
    last = builder.affine(hidden, DenseMap(rng.standard_normal((1, 60)) / 5), np.zeros(1))
    network = builder.finish(Tensor(last, (1, 1)), "wide")
    box = box_of([-0.3] * 24, [0.3] * 24)
    outcome = by_neurons(query_of(network, [Disjunct(box, (atom_of([1.0], 1.0),))]), most=600)
    assert outcome.subproblems > 300
    excluded = sum(leaf is not None and leaf.excluded for leaf in results)
    assert len(results) <= 16 + 4 * excluded + outcome.subproblems / 64
