"""Rows of several boxes: each over its owner's, nothing said before the arithmetic is charged, nothing ever lost."""

import numpy as np
import torch

import admm_verify as av
from admm_verify import Run, preactivation_bounds
from admm_verify.arrays import Placement
from admm_verify.splitting.row_bounds import RowBounds
from tests.splitting.test_output_bounds import network_of

HOME = Placement.numpy()


def drawn(error: float, home: Placement = HOME) -> RowBounds:
    """Five rows over two boxes, with the same error of every output."""
    rng = np.random.default_rng(3)
    network, centres = network_of(1), rng.uniform(-1, 1, (2, 3))
    boxes = av.Box.around(centres, 0.4).put(home)
    objective = home.put(rng.standard_normal((5, network.output_size)))
    rows = RowBounds(network, boxes, objective, home.put(np.ones(5)), np.array([0, 1, 1, 0, 1]))
    rows.bounds = preactivation_bounds(network, boxes)
    rows.charge(home.put(np.full((2, network.output_size), error)))
    return rows


def test_rows_are_bounded_over_the_boxes_of_their_owners():
    rows, everything = drawn(0.0), np.arange(5)
    assert rows.problem(np.array([1, 2, 4])).inputs.count == 1 and rows.problem(everything).inputs.count == 5
    rows.solve(everything, "ascent", 20, Run())
    for row in range(5):
        alone = av.Problem(rows.network, rows.inputs.at([rows.owner[row]]), rows.objective[row], 1.0)
        assert np.isclose(rows.lower[row], av.solve(alone, "ascent", settings=av.SolverSettings(max_passes=20)).lower)
        x = rows.inputs.at([rows.owner[row]]).sample(200, np.random.default_rng(row))[0]
        assert rows.lower[row] <= (rows.network(x) @ rows.objective[row] + 1.0).min()


def test_rows_may_live_in_another_library():
    own, other = drawn(0.1), drawn(0.1, Placement.of(torch.zeros(0, dtype=torch.float64)))
    for some in (np.array([1, 2]), np.arange(5)):
        own.solve(some, "ascent", 10, Run())
        solution = other.solve(some, "ascent", 10, Run())
        assert isinstance(solution.lower, torch.Tensor)
    np.testing.assert_allclose(other.lower, own.lower, rtol=1e-9)


def test_bounds_only_grow_and_an_error_is_charged():
    rows = drawn(0.0)
    rows.solve(np.array([1, 3]), "ascent", 20, Run())
    before = rows.lower.copy()
    assert np.isneginf(before[[0, 2, 4]]).all() and np.isfinite(before[[1, 3]]).all()
    rows.solve(np.arange(5), "ascent", 0, Run())
    assert (rows.lower >= before).all()
    charged = drawn(0.5)
    charged.solve(np.arange(5), "ascent", 0, Run())
    assert (charged.lower <= rows.lower - 0.49 * np.abs(rows.objective).sum(axis=1)).all()


def test_where_the_arithmetic_may_overflow_nothing_is_said():
    rows = drawn(np.inf)
    rows.solve(np.arange(5), "ascent", 5, Run())
    assert np.isneginf(rows.lower).all()
