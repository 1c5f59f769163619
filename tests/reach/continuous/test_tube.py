"""Sets of whole trajectories: simulated ones stay inside, exact ones without any slack; the shared systems as data."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from admm_verify import Box, ContinuousSystem, Controller, Network, Plant, Progress, Run, read_task
from admm_verify.enclosures.flow import FlowSettings
from admm_verify.reach.checks import holds
from admm_verify.reach.continuous.simulation import integrate, trajectories
from admm_verify.reach.continuous.tube import ContinuousSettings, reach
from tests.enclosures.plants import (
    DOUBLE_INTEGRATOR,
    PENDULUM,
    UNICYCLE,
    corners_and_points,
    linear_network,
    relu_network,
    tanh_network,
)
from tests.shared import SHARED, needs_shared


def made(plant: Plant, network: Network, period: float | Fraction) -> ContinuousSystem:
    return ContinuousSystem(Controller.of(network), plant, period)


LOWER, UPPER = np.array([[1.0, 0.0], [1.1, 0.0]]), np.array([[1.1, 0.1], [1.2, 0.1]])


def halves(lower: np.ndarray, upper: np.ndarray, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A box cut into so many equal parts per side, [cells, n] each."""
    ends = [np.linspace(low, high, count + 1) for low, high, count in zip(lower, upper, counts, strict=True)]
    corners = list(product(*[range(count) for count in counts]))
    return tuple(
        np.array([[end[i + side] for end, i in zip(ends, corner, strict=True)] for corner in corners])
        for side in (0, 1)
    )


@pytest.mark.parametrize(
    ("plant", "network", "lower", "upper", "period"),
    [
        (PENDULUM, relu_network(1, 2, 10, 10, 1), LOWER, UPPER, 0.05),
        (PENDULUM, tanh_network(2, 2, 8, 1), LOWER, UPPER, 0.1),
        (UNICYCLE, tanh_network(3, 4, 8, 2), np.full((1, 4), -0.1), np.full((1, 4), 0.1), 0.2),
    ],
    ids=["relu pendulum", "tanh pendulum", "unicycle"],
)
def test_trajectories_stay_inside_at_all_times(plant, network, lower, upper, period):
    rng = np.random.default_rng(0)
    tube = reach(made(plant, network, period), Box.of(lower, upper), 12)
    assert (tube.valid_steps == 12).all()
    directions = np.concatenate([np.eye(plant.states), rng.standard_normal((4, plant.states))])
    for cell in range(len(lower)):
        x = corners_and_points(rng, lower[cell], upper[cell], 300)
        for step in range(12):
            most, during = tube.support(step, directions)[cell], tube.support_during(step, directions)[cell]
            # The simulation's own error.
            assert (x @ directions.T <= most + 1e-10).all()
            u = network(x)
            for _ in range(6):
                assert (x @ directions.T <= during + 1e-10).all()
                x = integrate(plant, x, u, period / 6, 10)
        box = tube.box(12)
        assert (x >= box.lower[cell] - 1e-10).all() and (x <= box.upper[cell] + 1e-10).all()
        assert (box.upper[cell] - box.lower[cell] < 2.0 * np.ptp(x, axis=0)).all()


def test_linear_feedback_is_followed_exactly():
    """x'' = u, u = -x - 2 v: every period is a rational map, whose trajectories have to be inside without slack."""
    network = linear_network(np.array([[-1.0, -2.0]]))
    tube = reach(
        made(DOUBLE_INTEGRATOR, network, Fraction(1, 10)), Box.of(np.array([[0.5, -0.25]]), np.array([[1.0, 0.25]])), 20
    )
    t = Fraction(1, 10)
    for start in product((Fraction(1, 2), Fraction(1)), (Fraction(-1, 4), Fraction(1, 4))):
        x, v = start
        for step in range(21):
            most = tube.support(step, np.array([[1.0, 0.0], [-1.0, 0.0], [0.5, 2.0], [-0.5, -2.0]]))[0]
            for bound, value in zip(most, (x, -x, x / 2 + 2 * v, -x / 2 - 2 * v), strict=True):
                assert value <= Fraction(float(bound))
            u = -x - 2 * v
            x, v = x + v * t + u * t * t / 2, v + u * t
    # No wrapping: the set is the exact image of the box.
    step = np.array([[1, 0.1], [0, 1]]) + np.array([[0.005], [0.1]]) @ np.array([[-1.0, -2.0]])
    radius = np.abs(np.linalg.matrix_power(step, 20)) @ np.array([0.25, 0.25])
    box = tube.box(20)
    np.testing.assert_allclose((box.upper - box.lower)[0], 2 * radius, rtol=1e-9)


def test_few_symbols_are_enough():
    network = relu_network(1, 2, 10, 10, 1)
    rough = ContinuousSettings(flow=FlowSettings(symbols=6))
    fine, coarse = (
        reach(made(PENDULUM, network, Fraction(1, 20)), Box.of(LOWER, UPPER), 15, settings)
        for settings in (None, rough)
    )
    widths = [tube.box(15).upper - tube.box(15).lower for tube in (fine, coarse)]
    assert (widths[0] <= widths[1] * 1.01).all() and (widths[1] <= 3 * widths[0]).all()
    assert coarse.periods[-1].substeps[0].start.symbols <= 7


def test_smaller_cells_have_smaller_sets():
    network = relu_network(1, 2, 10, 10, 1, gain=2.0)
    widths = []
    for count in (1, 4):
        lower, upper = halves(np.array([1.0, 0.0]), np.array([1.2, 0.2]), (count, count))
        box = reach(made(PENDULUM, network, Fraction(1, 20)), Box.of(lower, upper), 10).box(10)
        widths.append(box.upper.max(axis=0) - box.lower.min(axis=0))
    assert (widths[1] < widths[0]).all()


def test_sets_that_become_too_loose_end_and_say_where():
    """x' = x^2 + u beyond its end for one cell, at rest for the other."""
    plant = Plant.read(["x1**2 + 0*u1"], 1)
    network = linear_network(np.zeros((1, 1)))
    tube = reach(made(plant, network, Fraction(1, 10)), Box.of(np.array([[0.9], [-0.1]]), np.array([[1.0], [0.0]])), 30)
    assert 5 <= tube.valid_steps[0] <= 10 and tube.valid_steps[1] == 30
    last = int(tube.valid_steps[0])
    up = np.array([[1.0]])
    assert np.isfinite(tube.support(last, up)).all()
    assert tube.support(last + 1, up)[0] == np.inf and np.isfinite(tube.support(last + 1, up)[1])
    assert tube.support_during(last, up)[0] == np.inf
    assert (tube.box(31).upper == np.inf).all() and (tube.support_during(30, up) == np.inf).all()
    alone = reach(made(plant, network, Fraction(1, 10)), Box.of(np.array([[0.9]]), np.array([[1.0]])), 30)
    assert len(alone.periods) == alone.valid_steps[0] == last


def test_wide_sets_are_given_up():
    plant, network = Plant.read(["5*x1 + 0*u1"], 1), linear_network(np.zeros((1, 1)))
    tube = reach(
        made(plant, network, Fraction(1, 10)),
        Box.of(np.array([[-1.0]]), np.array([[1.0]])),
        40,
        ContinuousSettings(widest=20.0),
    )
    assert tube.valid_steps[0] == 5


def test_stop_and_progress():
    seen: list[Progress] = []
    network = linear_network(np.array([[-1.0, -1.0]]))
    run = Run(stop=lambda: len(seen) == 3, tell=seen.append)
    tube = reach(made(DOUBLE_INTEGRATOR, network, Fraction(1, 10)), Box.of(LOWER, UPPER), 10, run=run)
    assert [(one.done, one.total) for one in seen] == [(1, 10), (2, 10), (3, 10)] and (tube.valid_steps == 3).all()
    assert [period.cells.tolist() for period in tube.periods] == [[0, 1]] * 3


def test_simulations_match_an_exact_solution():
    network = linear_network(np.array([[-1.0, -2.0]]))
    system = made(DOUBLE_INTEGRATOR, network, Fraction(1, 2))
    states = trajectories(system, np.array([[1.0, 0.0]]), 1)
    np.testing.assert_allclose(states[0], [[1.0, 0.0], [1.0 - 0.125, -0.5]], rtol=1e-14)


# Sides are cut where cells that are not give sets too loose for the properties; the file's samples have nine digits.
SYSTEMS = {
    "acc": (1, 1, 1, 1, 1, 1),
    "double_pendulum_less_robust": (3, 3, 3, 3),
    "nav_set": (1, 1, 1, 1),
    "single_pendulum": (1, 1),
    "tora_relu": (1, 1, 1, 1),
    "unicycle": (1, 1, 1, 1),
}


@needs_shared
@pytest.mark.data
@pytest.mark.parametrize("name", SYSTEMS)
def test_shared_systems_hold_their_samples_and_properties(name):
    task = read_task(SHARED / "data" / "reach" / name / "spec.json")
    assert isinstance(task.system, ContinuousSystem) and task.sampled is not None
    lower, upper = halves(np.asarray(task.initial.lower), np.asarray(task.initial.upper), SYSTEMS[name])
    tube = reach(task.system, Box.of(lower, upper), task.steps)
    assert (tube.valid_steps == task.steps).all()
    for step, (low, high) in enumerate(zip(*task.sampled, strict=True)):
        box = tube.box(step)
        assert (box.lower.min(axis=0) <= low + 6e-9 * np.abs(low)).all()
        assert (box.upper.max(axis=0) >= high - 6e-9 * np.abs(high)).all()
    assert task.requirements and all(holds(requirement, tube, task.steps).all() for requirement in task.requirements)
