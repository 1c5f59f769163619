"""Rows that share a box and its bounds: held once, and solved as if each had its own."""

import pickle

import numpy as np
import pytest

from admm_verify import Ball, Box, PreactivationBounds, Problem, SolverSettings, preactivation_bounds, solve
from admm_verify.arrays import Placement
from admm_verify.backends import choice
from admm_verify.bounds import cuts
from admm_verify.bounds.sharing import Sharing
from admm_verify.splitting import problem as problems
from admm_verify.splitting.problem import Rows
from tests.random_networks import random_case

COUNTS = (3, 1, 4)
"""Rows of each of three boxes."""


@pytest.fixture(autouse=True)
def kernels_for_the_smallest_arrays(monkeypatch) -> None:
    monkeypatch.setattr(choice, "LEAST", 0)


def problem(seed: int) -> Problem:
    """Rows over three boxes, those of one box with the same numbers."""
    network, rng = random_case(seed, "plain").network, np.random.default_rng(seed)
    centre = rng.uniform(-1.0, 1.0, (len(COUNTS), network.input_size))
    boxes = Box(centre - 0.4, centre + 0.4)
    bounds = preactivation_bounds(network, boxes)
    each = np.repeat(np.arange(len(COUNTS)), COUNTS)
    lower, upper = (tuple(end[each] for end in ends) for ends in (bounds.lower, bounds.upper))
    known = PreactivationBounds(lower, upper)
    objective = rng.standard_normal((len(each), network.output_size))
    return Problem(network, Box(boxes.lower[each], boxes.upper[each]), objective, preactivation=known)


@pytest.mark.parametrize("method", ["ascent", "primal_dual", "admm", "auto"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_rows_that_share_are_solved_like_rows_that_do_not(monkeypatch, method: str, precision: str) -> None:
    settings = SolverSettings(max_passes=80, precision=precision, tolerance=1e-9)
    near = 1e-9 if precision == "float64" else 1e-3
    for seed in range(4):
        some = problem(seed)
        assert Rows.of(some, Placement.numpy()).held.inputs.count == len(COUNTS)
        found = solve(some, method, settings=settings)
        with monkeypatch.context() as patch:
            patch.setattr(problems.Sharing, "of", lambda arrays, rows: None)
            alone = problem(seed)
            assert Rows.of(alone, Placement.numpy()).held.owner is None
            expected = solve(alone, method, settings=settings)
        assert np.allclose(found.lower, expected.lower, rtol=near, atol=near)
        assert np.allclose(found.relaxation_upper, expected.relaxation_upper, rtol=near, atol=near)


def test_own_bounds_are_compared_with_crowns_once_a_set_and_a_problem(monkeypatch) -> None:
    some, asked = problem(0), []

    def counted(network, inputs):
        asked.append(inputs.count)
        return preactivation_bounds(network, inputs)

    monkeypatch.setattr(cuts, "preactivation_bounds", counted)
    settings = SolverSettings(max_passes=4, block_numbers=4 * sum(node.size for node in some.network.nodes))
    first, second = (solve(some, "ascent", settings=settings) for _ in range(2))
    # Two blocks of four rows, one with two boxes and one with a single one, which no longer have to be looked for.
    assert asked == [2, 1]
    assert np.array_equal(first.lower, second.lower)
    assert np.array_equal(pickle.loads(pickle.dumps(some)).block(0, 4).offset, some.block(0, 4).offset)


def test_rows_are_taken_with_their_sets() -> None:
    rows, picked = Rows.of(problem(0), Placement.numpy()), np.array([6, 0, 3])
    part = rows.take(picked)
    for mine, theirs in ((part.lower, rows.lower), (part.upper, rows.upper)):
        assert all(np.array_equal(one, other[picked]) for one, other in zip(mine, theirs, strict=True))
    assert np.array_equal(part.inputs.reach, rows.inputs.reach[picked])
    assert np.array_equal(part.order, [2, 0, 1])
    region, spread = part.region(), rows.region().per_row
    assert np.array_equal(region.per_row.underflow, spread.underflow[picked])


def test_only_neighbours_that_are_the_same_in_all_share() -> None:
    same, other = np.zeros((6, 2)), np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [0.0]])
    found = Sharing.of([same, other, np.ones((1, 3))], 6)
    assert found is not None
    assert found.first.tolist() == [0, 3, 5] and found.owner.tolist() == [0, 0, 0, 1, 1, 2]
    assert Sharing.of([np.arange(6.0)[:, None], same], 6) is None
    assert Sharing.of([np.full((6, 1), np.nan)], 6) is None, "numbers that are none equal nothing"
    assert Sharing.of([np.ones((1, 3))], 6) is None and Sharing.of([same[:1]], 1) is None
    assert Sharing.of([np.arange(6.0)[:, None] // 1.5], 6) is None, "too few are alike"


def test_balls_are_not_shared() -> None:
    some = problem(0)
    centre = some.inputs.centre
    balls = Problem(some.network, Ball(centre, np.full(len(centre), 0.4)), some.objective)
    assert balls.sharing is None
