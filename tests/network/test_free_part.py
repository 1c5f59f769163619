"""The part of a network that depends on some inputs computes the same, with constants for all else."""

import numpy as np
import pytest

from admm_verify.network.blocks import BlockMap
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.free_part import free_part
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap, DiagonalMap, TransposedMap
from admm_verify.network.simplify import simplify
from admm_verify.network.submatrix import columns_read, cut, submatrix
from tests.random_graphs import random_program
from tests.random_networks import random_graph, random_selection

RNG = np.random.default_rng(5)


def draws(network: Network, low: np.ndarray, high: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Some inputs that have the same fixed entries."""
    x = np.tile(low + RNG.random(network.input_size) * (high - low), (6, 1))
    x[:, free] = low[free] + RNG.random((6, len(free))) * (high - low)[free]
    return x


def check_part(network: Network, low: np.ndarray, high: np.ndarray, free: np.ndarray) -> None:
    part = free_part(network, free)
    assert part is not None
    x = draws(network, low, high, free)
    constants = part.constants([np.asarray(value) for value in network.evaluate(x[:1])])
    whole = np.concatenate([x[:, free], np.tile(constants, (len(x), 1))], axis=1)
    wanted = network.evaluate(x)[-1]
    np.testing.assert_allclose(part.network.evaluate(whole)[-1], wanted, rtol=1e-9, atol=1e-9 * (1 + abs(wanted).max()))
    sizes = part.magnitudes([np.abs(np.asarray(value)) for value in network.evaluate(x[:1])])
    assert (np.concatenate([np.zeros(0), *(np.ravel(one) for one in sizes)]) * (1 + 1e-12) >= abs(constants[0])).all()


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed):
    program = random_program(seed)
    network = program.network()
    low, high = (np.ravel(end) for end in program.box.range)
    count = network.input_size
    for free in (RNG.permutation(count)[: 1 + count // 3], np.arange(1), np.arange(count)):
        check_part(network, low, high, np.sort(free))


@pytest.mark.parametrize("seed", range(20))
def test_graphs_of_other_maps(seed):
    network = simplify(random_graph(seed))
    count = network.input_size
    check_part(network, -np.ones(count), np.ones(count), np.sort(RNG.permutation(count)[: 1 + count // 3]))


def test_what_repeats_one_matrix_is_cut_to_one_place():
    builder = Builder((5, 3))
    x = builder.input
    for size in (4, 4):
        weight = RNG.standard_normal((size, x.size // 5))
        x = builder.activation("relu", Tensor(builder.affine(x, BlockMap(weight, 5)), (5, size)))
    network = builder.finish(Tensor(builder.affine(x, DenseMap(RNG.standard_normal((2, x.size)))), (2,)), "rows")
    part = free_part(network, np.array([4]))
    assert part is not None and [node.size for node in part.network.functions] == [4, 4]
    assert part.network.weight_count <= network.weight_count / 2.5
    assert free_part(network, np.array([4]), network.weight_count / 2.5) is not None
    assert free_part(network, np.array([4]), network.weight_count / 20) is None
    check_part(network, -np.ones(15), np.ones(15), np.array([4]))


@pytest.mark.parametrize(
    "map",
    [
        DenseMap(RNG.standard_normal((6, 8)), 9.0 + RNG.random((6, 8))),
        DiagonalMap(RNG.standard_normal(7), 9.0 + RNG.random(7)),
        DiagonalMap(RNG.standard_normal(7)),
        BlockMap(RNG.standard_normal((2, 3)), 4, 2),
        BlockMap(RNG.standard_normal((3, 2)), 2, 3, 9.0 + RNG.random((3, 2))),
        random_selection(RNG, 9, 6),
        TransposedMap(random_selection(RNG, 9, 6)),
        TransposedMap(BlockMap(RNG.standard_normal((2, 3)), 4, 1)),
    ],
    ids=["dense", "diagonal", "plain", "blocks", "magnitudes", "selection", "sums", "adjoint"],
)
def test_parts_of_maps_are_those_of_their_matrices(map):
    dense = map.dense()
    sizes = abs(dense.weight) if dense.magnitude is None else dense.magnitude
    for _ in range(20):
        rows = np.flatnonzero(RNG.random(map.rows) < 0.5)
        columns = np.flatnonzero(RNG.random(map.columns) < 0.5)
        found = submatrix(map, rows, columns)
        assert found is not None
        np.testing.assert_array_equal(found[0], dense.weight[np.ix_(rows, columns)])
        np.testing.assert_array_equal(found[1], sizes[np.ix_(rows, columns)])
        kept = cut(map, rows, columns)
        assert kept is not None and (kept.rows, kept.columns) == (len(rows), len(columns))
        made = kept.dense()
        np.testing.assert_array_equal(made.weight, found[0])
        np.testing.assert_array_equal(abs(made.weight) if made.magnitude is None else made.magnitude, found[1])
        np.testing.assert_array_equal(columns_read(map, rows), (sizes[rows] > 0).any(axis=0))


def test_places_of_one_matrix_share_it():
    map = BlockMap(RNG.standard_normal((2, 3)), 4)
    kept = cut(map, np.array([2, 3, 6, 7]), np.array([3, 4, 5, 9, 10, 11]))
    assert isinstance(kept, BlockMap) and kept.weight is map.weight and kept.outer == 2
    np.testing.assert_array_equal(kept.dense().weight, np.kron(np.eye(2), map.weight))
    assert cut(map, np.arange(8), np.arange(12)) is map


def test_what_takes_too_much_memory_is_left_whole(monkeypatch):
    monkeypatch.setattr("admm_verify.network.submatrix.MOST_ENTRIES", 3)
    assert free_part(simplify(random_graph(0)), np.array([0])) is None
