"""Disjuncts: which atoms belong to a disjunct, and when bounds exclude it."""

from fractions import Fraction

import numpy as np
import pytest

from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.property import Disjunct
from admm_verify.properties.rows import atom_rows
from tests.complete.queries import atom_of, box_of, by_inputs, by_neurons, query_of

NETWORK = network_from_layers([np.eye(2), np.eye(2)], [np.zeros(2), np.zeros(2)])
ONE, OTHER = box_of([-1, -1], [1, 1]), box_of([0, 0], [2, 2])
FIRST, SECOND, THIRD = atom_of([1, 0], 1), atom_of([0, 1], -2, strict=True), atom_of([1, -1], Fraction(1, 3))
QUERY = query_of(
    NETWORK,
    [Disjunct(ONE, (FIRST, SECOND, THIRD)), Disjunct(ONE, ()), Disjunct(OTHER, (SECOND,)), Disjunct(ONE, (FIRST,))],
)


def disjuncts(disjuncts: list[int]) -> Disjuncts:
    rows = atom_rows(QUERY.property)
    return Disjuncts.of(rows, rows.offset, np.arange(len(rows.offset)) != 1, disjuncts)


def test_rows_are_those_of_the_disjuncts_and_the_last_is_repeated() -> None:
    found = disjuncts([0, 2, 3])
    assert len(found) == 3 and found.atoms == 3
    assert found.number.tolist() == [0, 2, 3]
    assert found.row.tolist() == [[0, 1, 2], [3, 3, 3], [0, 0, 0]]
    lower, upper = found.inputs.range
    assert lower.tolist() == [[-1, -1], [0, 0], [-1, -1]] and upper.tolist() == [[1, 1], [2, 2], [1, 1]]
    assert found.objective[1].tolist() == [[0, 1]] * 3
    assert found.strict.tolist() == [[False, True, False], [True] * 3, [False] * 3]
    assert found.sound.tolist() == [[True, False, True], [True] * 3, [True] * 3]


def test_a_subset_counts_its_own_atoms() -> None:
    found = disjuncts([3])
    assert found.atoms == 1 and found.number.tolist() == [3] and found.offset.shape == (1, 1)


def test_bounds_exclude_above_zero_and_at_zero_where_strict() -> None:
    found = disjuncts([0, 2])
    lower = np.array([[0.0, -1.0, -1.0], [0.0, -1.0, -1.0], [-0.0, 5e-324, -5e-324]])
    excluded = found.excluded(np.array([0, 1, 0]), lower)
    assert excluded.tolist() == [[False, False, False], [True, False, False], [False, True, False]]


def test_nothing_is_excluded_without_a_sound_bound() -> None:
    found = disjuncts([0])
    lower = found.certified(np.array([0, 0]), np.array([[1.0, 1.0, -1.0], [np.nan, -np.inf, 2.0]]))
    assert lower[0].tolist() == [1.0, -np.inf, -1.0]
    assert found.excluded(np.array([0, 0]), lower).tolist() == [[True, False, False], [False, False, True]]


UNREACHABLE = box_of([1e39] * 2, [1e39] * 2)
"""A point beyond float32, at which the network cannot be run."""


@pytest.mark.parametrize("decide", [by_inputs, by_neurons])
@pytest.mark.parametrize("limit", [50.0, 0.5])
def test_a_disjunct_without_atoms_is_left_alone_by_bounds_and_search(decide, limit: float) -> None:
    """y_0 = relu(x_0) >= 0 excludes the other disjunct; nothing says anything about the first."""
    found = decide(query_of(NETWORK, [Disjunct(UNREACHABLE, ()), Disjunct(ONE, (atom_of([1, 0], limit),))]))
    assert found.verdict.value == "unknown" and found.undecided == 1


@pytest.mark.parametrize("inputs", [2, 25])
def test_a_network_without_activations_is_answered(inputs: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((1, inputs))
    network = network_from_layers([np.concatenate([weight, -weight])], [np.array([0.0, 1.0])])
    box = box_of(-np.ones(inputs), np.ones(inputs))
    # y_0 <= 0 and y_1 = 1 - y_0 <= 0 exclude each other; y_0 <= 0 and y_1 <= 3 do not.
    apart = query_of(network, [Disjunct(box, (atom_of([1, 0], 0), atom_of([0, 1], 0)))])
    assert by_inputs(apart).verdict.value == by_neurons(apart).verdict.value == "unsat"
    together = query_of(network, [Disjunct(box, (atom_of([1, 0], 0), atom_of([0, 1], -3)))])
    assert by_inputs(together).verdict.value == "sat"
