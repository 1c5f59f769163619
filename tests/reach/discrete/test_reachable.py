"""Reachable sets in discrete time hold every trajectory, with zero slack, and come close to them."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Box, Ended, ReachSets, ReachSettings, Run, Task
from admm_verify.reach.directions import box_directions, even_directions, octagon_directions, principal_directions
from admm_verify.reach.discrete.reachable import DiscreteReach
from admm_verify.reach.discrete.rollout import rollout
from tests.reach.systems import KINDS, initial, trajectories
from tests.seeds import seeds

STEPS = 4
SETTINGS = {
    "crown": ReachSettings(method="crown", iterations=0, samples=200),
    "tightened": ReachSettings(samples=200),
    "grid": ReachSettings(method="crown", grid=2, samples=200),
    "window 1": ReachSettings(method="crown", iterations=0, window=1, samples=200),
    "window 2": ReachSettings(window=2, grid=2, samples=200),
    "halved": ReachSettings(tolerance=0.05, cells=60, samples=200),
}


def sets(system, settings: ReachSettings, directions: np.ndarray, run: Run | None = None) -> ReachSets:
    task = Task("made", system, initial(system), STEPS)
    return DiscreteReach(task, directions, settings, Run.of(run)).reached()[0]


def in_cell(system, rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Trajectories from a cell, which may hold a part of the noise only."""
    if len(low) == system.states:
        return trajectories(system, rng, Box(low, high), 200, STEPS)
    return rollout(system, STEPS).trajectories(rng.uniform(low, high, (200, len(low))))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", seeds(1, 3))
def test_no_trajectory_leaves_the_sets(kind: str, seed: int, name: str) -> None:
    rng = np.random.default_rng([seed, 7])
    system = KINDS[kind](rng)
    directions = np.concatenate([octagon_directions(system.states), rng.standard_normal((4, system.states))])
    found = sets(system, SETTINGS[name], directions)
    states = trajectories(system, rng, initial(system), 2000, STEPS)
    reached = np.einsum("pts,ds->ptd", states, directions).max(axis=0)
    assert (reached <= found.upper[1:]).all()
    assert (found.inner <= found.upper).all()
    for low, high, bound in zip(found.cells_lower, found.cells_upper, found.cells_bound, strict=True):
        own = in_cell(system, rng, low, high)
        assert (np.einsum("pts,ds->ptd", own, directions).max(axis=0) <= bound[1:]).all()


@pytest.mark.parametrize("kind", ["autonomous", "clipped"])
@pytest.mark.parametrize("seed", range(3))
def test_halving_reaches_the_tolerance(kind: str, seed: int) -> None:
    system = KINDS[kind](np.random.default_rng([seed, 8]))
    directions = box_directions(system.states)
    # Left open, the steps of tightening are as many as pay, which are more where nothing is halved.
    whole = sets(system, ReachSettings(tighten=av.TightenSettings(), samples=200), directions)
    halved = sets(system, ReachSettings(tolerance=0.02, samples=2000), directions)
    assert halved.ended is Ended.COMPLETE and halved.gap <= 0.02 * (1 + 1e-9)
    assert (halved.upper <= whole.upper + 1e-12).all()


def test_cells_cover_the_box() -> None:
    box = Box(np.array([-1.0, 0.3, 2.0]), np.array([0.1, 0.7, 2.0]))
    low, high = box.grid(3).range
    assert low.shape == (9, 3)
    points = np.random.default_rng(0).uniform(box.lower, box.upper, (1000, 3))
    inside = (points[:, None] >= low) & (points[:, None] <= high)
    assert inside.all(axis=2).any(axis=1).all()
    assert (low.min(axis=0) == box.lower).all() and (high.max(axis=0) == box.upper).all()


def test_support_of_boxes_is_rounded_upward() -> None:
    rng = np.random.default_rng(1)
    low = rng.standard_normal((50, 3))
    high = low + rng.random((50, 3))
    directions = np.concatenate([box_directions(3), rng.standard_normal((20, 3))])
    bound = Box.of(low, high).support(directions)
    corners = np.where(rng.random((200, 50, 3)) < 0.5, low, high)
    assert (np.einsum("kcs,ds->kcd", corners, directions).max(axis=0) <= bound).all()
    np.testing.assert_array_equal(bound[:, :3], high)


def test_directions() -> None:
    assert box_directions(2).tolist() == [[1, 0], [0, 1], [-1, 0], [0, -1]]
    assert len(octagon_directions(3)) == 18 and len(np.unique(octagon_directions(3), axis=0)) == 18
    assert len(even_directions(2, 12)) == 16
    points = np.random.default_rng(0).standard_normal((100, 2)) * [5.0, 0.1]
    assert np.abs(principal_directions(points)[4, 0]) > 0.99
    with pytest.raises(av.InputError, match="at least 2 states"):
        even_directions(1, 4)


def test_sets_know_their_boxes() -> None:
    system = KINDS["autonomous"](np.random.default_rng(0))
    found = sets(system, SETTINGS["crown"], octagon_directions(2))
    low, high = found.box(2)
    assert found.volume(2) == pytest.approx(np.prod(high - low)) and found.valid_steps == STEPS
    assert (found.cell_boxes(2)[0] == low).all()
    some = sets(system, SETTINGS["crown"], np.array([[1.0, 0.0]]))
    with pytest.raises(av.InputError, match="do not hold those of a box"):
        some.box(1)


def test_a_limit_on_cells_is_kept() -> None:
    system = KINDS["noisy"](np.random.default_rng(3))
    found = sets(system, ReachSettings(tolerance=1e-6, cells=10, batch=4, samples=100), box_directions(3))
    assert found.ended is Ended.CELL_LIMIT and len(found.cells_lower) == 10


@pytest.mark.parametrize("asks", [0, 5, 90])
def test_a_stopped_run_keeps_what_it_has(asks: int) -> None:
    system = KINDS["noisy"](np.random.default_rng(4))
    asked = iter(range(10**6))
    settings = ReachSettings(tolerance=1e-6, samples=100)
    found = sets(system, settings, box_directions(3), Run(stop=lambda: next(asked) > asks))
    assert found.ended is Ended.STOPPED and np.isfinite(found.upper).all()
    states = trajectories(system, np.random.default_rng(0), initial(system), 1000, STEPS)
    assert (states.max(axis=0) <= found.upper[1:, :3]).all()


def test_settings_say_what_is_wrong() -> None:
    for wrong in (
        {"grid": 0},
        {"cells": 0},
        {"samples": 0},
        {"window": 0},
        {"tolerance": 0.0},
        {"tolerance": float("nan")},
        {"window": 2, "tolerance": 0.1},
    ):
        with pytest.raises(av.InputError, match=r"give|leave out"):
            ReachSettings(**wrong)
