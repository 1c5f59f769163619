"""Sets from step to step hold every trajectory, with zero slack, and cells of them decide what requirements ask."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Answer, Box, Kind, Polytope, ReachSettings, Requirement, Run
from admm_verify.network.layers import network_from_layers
from admm_verify.reach.checks import holds, violates
from admm_verify.reach.directions import octagon_directions
from admm_verify.reach.discrete.dynamics import SteppedSystem
from admm_verify.reach.discrete.rollout import rollout
from admm_verify.reach.discrete.sides import opened
from admm_verify.reach.discrete.steps import step_of
from admm_verify.reach.discrete.tube import step_sets
from admm_verify.reach.refinement import CellRefinement
from admm_verify.reach.starts import scattered
from problems import train_avoidance
from tests.reach.systems import KINDS, initial
from tests.seeds import seeds

STEPS = 5
ENDLESS = np.full(3, np.inf)


def cells_of(system) -> Box:
    """The initial box and all noise in four cells."""
    inputs = rollout(system, STEPS).inputs(initial(system).at(None))
    return inputs.halved(np.array([0])).halved(np.array([inputs.size - 1] * 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", seeds(2, 10))
def test_no_trajectory_leaves_the_sets_of_its_cell(kind: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 21])
    system = KINDS[kind](rng)
    graph, cells = rollout(system, STEPS), cells_of(system)
    found = step_sets(step_of(system), cells, STEPS, ENDLESS[: system.states], Run())
    directions = np.concatenate([octagon_directions(system.states), rng.standard_normal((4, system.states))])
    for k in range(cells.count):
        points = cells.at(slice(k, k + 1)).scattered(2000, rng)
        paths = np.concatenate([points[:, None, : system.states], graph.trajectories(points)], axis=1)
        for t in range(STEPS + 1):
            assert (np.max(paths[:, t] @ directions.T, axis=0) <= found.support(t, directions)[k]).all()


def test_points_stay_points() -> None:
    system = KINDS["clipped"](np.random.default_rng(3))
    point = np.asarray(initial(system).upper)[None]
    found = step_sets(step_of(system), Box.point(point), 60, ENDLESS, Run())
    unit = np.eye(3)
    assert max((found.support(t, unit) + found.support(t, -unit)).max() for t in range(61)) < 1e-9


def test_wide_cells_have_no_sets_any_more() -> None:
    system = KINDS["plain"](np.random.default_rng(4))
    start = initial(system).at(None)
    low, high = start.range
    some = Box.of(*(np.concatenate(pair) for pair in ((low, high), (high, high))))
    found = step_sets(step_of(system), some, STEPS, np.full(3, 0.1), Run())
    bound = found.support(STEPS, np.eye(3))
    assert np.isinf(bound[0]).all() and np.isfinite(bound[1]).all()


def test_a_stopped_run_has_the_first_sets_only() -> None:
    system = KINDS["noisy"](np.random.default_rng(4))
    found = step_sets(step_of(system), cells_of(system), STEPS, ENDLESS, Run(stop=lambda: True))
    assert np.isfinite(found.support(0, np.eye(3))).all() and np.isinf(found.support(1, np.eye(3))).all()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("seed", seeds(4, 20))
def test_no_trajectory_contradicts_what_cells_say(kind: Kind, seed: int) -> None:
    rng = np.random.default_rng([seed, 22])
    system = KINDS["plain"](rng)
    first = initial(system).grid(3)
    graph = rollout(system, STEPS)
    middle = graph.trajectories(np.asarray(first.centre))[13, STEPS - 1]
    half = rng.uniform(0.02, 0.4, 3)
    goal = Polytope.box([Fraction(float(x)) for x in middle - half], [Fraction(float(x)) for x in middle + half])
    requirement = Requirement(kind, goal, Fraction(0 if kind is Kind.REACH_AT_END else 3), Fraction(STEPS))
    sets = step_sets(step_of(system), first, STEPS, ENDLESS, Run())
    good, bad = holds(requirement, sets, STEPS), violates(requirement, sets, STEPS)
    assert not (good & bad).any()
    for k in range(first.count):
        points = first.at(slice(k, k + 1)).scattered(300, rng)
        room = requirement.room(np.concatenate([points[:, None], graph.trajectories(points)], axis=1))
        assert not good[k] or (room >= 0).all()
        assert not bad[k] or (room <= 0).all()


def test_a_robot_steers_round_the_obstacle() -> None:
    task = av.read_task(train_avoidance.TARGET / "avoid_robot.json")
    task = replace(task, steps=24, requirements=(replace(task.requirements[0], last=24),))
    (verdict,) = av.reach_sets(task, settings=ReachSettings(samples=1000)).judgements
    assert verdict.outcome is Answer.VERIFIED and verdict.parts > 1


@pytest.mark.slow
@pytest.mark.parametrize("vehicle", ["avoid_robot", "avoid_flyer"])
def test_vehicles_steer_round_the_obstacle(vehicle: str) -> None:
    task = av.read_task(train_avoidance.TARGET / f"{vehicle}.json")
    report = av.reach_sets(task, timeout=60, settings=ReachSettings(samples=1000))
    assert [one.outcome for one in report.judgements] == [Answer.VERIFIED, Answer.VERIFIED]
    low, high = report.sets.sampled_box
    paths = av.simulate(task.system, scattered(task.initial, 2000, np.random.default_rng(0)), task.steps)
    for t in range(task.steps + 1):
        ends = report.sets.box(t)
        assert (ends[0] <= paths[:, t].min(axis=0)).all() and (paths[:, t].max(axis=0) <= ends[1]).all()
        assert (ends[1] - ends[0] <= 4.0 * (high[t] - low[t])).all()


def test_the_side_that_opens_neurons_is_halved() -> None:
    # max(x0 - 2, 0) and max(x1, 0): only the second is open near 0, though the first moves more.
    network = network_from_layers([np.diag([9.0, 1.0]), np.eye(2)], [np.array([-20.0, 0.0]), np.zeros(2)])
    middle, half = np.zeros((1, 2)), np.diag([1.0, 0.5])
    score = opened(network, middle, np.stack([middle - half, middle + half])[None])
    np.testing.assert_allclose(score, [[0.0, 1.0]])
    # A side that does as much to the open neuron gets as much.
    shared = network_from_layers([np.array([[2.0, 4.0]]), np.eye(1)], [np.zeros(1), np.zeros(1)])
    np.testing.assert_allclose(opened(shared, middle, np.stack([middle - half, middle + half])[None]), [[0.5, 0.5]])


def test_the_open_share_of_the_box_goes_to_nothing() -> None:
    task = av.read_task(train_avoidance.TARGET / "avoid_robot.json")
    task = replace(task, steps=24, requirements=(replace(task.requirements[0], last=24),))
    system, settings = SteppedSystem(task), ReachSettings(samples=200)
    cells = CellRefinement(task, system, octagon_directions(4), settings, Run())
    cells.start(system.starts.box.at(None), Run())
    shares = [cells.open_share]
    for count in (4, 16, 64):
        cells.refine(count, Run())
        shares.append(cells.open_share)
    assert shares[0] == 1.0 and shares[-1] == 0.0 and shares == sorted(shares, reverse=True)
