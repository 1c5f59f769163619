"""Noise from sets that are no boxes: trajectories stay inside without slack, and linear systems lose nothing."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Box, ReachSettings, Task
from admm_verify.reach.directions import octagon_directions
from tests.reach.initial_sets import SETS, inside
from tests.reach.systems import initial, linear, simulated
from tests.reach.test_initial_sets import linear_feedback

STEPS = 3


def noisy(kind: str, rng: np.random.Generator) -> av.LinearSystem:
    """Process noise from a set in the plane, and sensor noise from a small one."""
    system = linear(rng, noise=False)
    sensor = av.Ball(np.zeros(2), 0.05, norm="l1")
    controller = replace(system.controller, noise=sensor)
    return replace(system, controller=controller, e=0.3 * rng.standard_normal((3, 2)), noise=SETS[kind](rng, 2))


def drawn(rng: np.random.Generator, system: av.LinearSystem, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise of every step, half of it on the border."""
    found = []
    for part in (system.noise, system.controller.noise):
        assert part is not None
        points = rng.permutation(inside(rng, part, count * STEPS))
        found.append(points[: count * STEPS].reshape(count, STEPS, part.size))
    return found[0], found[1]


@pytest.mark.parametrize("first", ["box", "ellipsoid", "point"])
@pytest.mark.parametrize("kind", SETS)
def test_no_noise_drives_a_trajectory_out(kind: str, first: str) -> None:
    rng = np.random.default_rng(31)
    system = noisy(kind, rng)
    starts = {"box": initial(system), "ellipsoid": SETS["ellipsoid"](rng, 3), "point": Box.point(np.array([0.1, 0, 0]))}
    settings = ReachSettings(samples=100, cells=20, method="crown")
    task = Task("noisy", system, starts[first], STEPS)
    directions = octagon_directions(3)
    sets = av.reach_sets(task, directions, settings=settings).sets
    points = inside(rng, task.initial, 500)
    paths = np.concatenate([points[:, None], simulated(system, points, *drawn(rng, system, len(points)))], axis=1)
    assert (np.einsum("pts,ds->ptd", paths, directions) <= sets.upper).all()
    assert (sets.inner <= sets.upper).all()


def test_noise_of_an_ellipsoid_adds_up_exactly() -> None:
    rng = np.random.default_rng(32)
    plain, noise = linear_feedback(rng, 2), SETS["ellipsoid"](rng, 2)
    assert isinstance(noise, av.Ellipsoid)
    system = replace(plain, e=np.eye(2), noise=noise)
    first = Box(np.array([-0.1, 0.2]), np.array([0.1, 0.3]))
    directions = np.concatenate([np.eye(2), -np.eye(2), rng.standard_normal((4, 2))])
    sets = av.reach_sets(Task("linear", system, first, STEPS), directions).sets
    gain = np.asarray(system.controller.network(np.eye(2))).reshape(2, 1).T
    step, middle, half = system.a + system.b @ gain, np.array([0.0, 0.25]), np.array([0.1, 0.05])
    map, added = np.eye(2), np.zeros(len(directions))
    for upper in sets.upper:
        assert np.allclose(upper, directions @ middle + np.abs(directions @ map) @ half + added, rtol=1e-9, atol=1e-9)
        # Of d'x one step later, each step's noise has its own share.
        share = directions @ map
        added = added + np.sqrt(np.einsum("ds,st,dt->d", share, np.asarray(noise.matrix), share))
        middle, map = step @ middle + system.c + np.asarray(noise.center), step @ map


def test_a_violation_takes_noise_that_there_is() -> None:
    system = av.LinearSystem(
        av.Controller.of(linear_feedback(np.random.default_rng(0), 2).controller.network),
        np.zeros((2, 2)),
        np.zeros((2, 1)),
        np.zeros(2),
        np.eye(2),
        av.Ball(np.zeros(2), 1.0),
    )
    row = np.array([[1.0, 1.0]])
    outcomes = []
    for limit in (1.4142, 1.4143):
        requirement = av.Requirement(av.Kind.ALWAYS_IN, av.Polytope(row, (Fraction(limit),)), Fraction(1), Fraction(1))
        task = Task("noise alone", system, Box(-np.ones(2), np.ones(2)), 1, (requirement,))
        (found,) = av.reach_sets(task, settings=ReachSettings(samples=100)).judgements
        outcomes.append(found.outcome)
        if found.trajectory is not None:
            assert float(np.linalg.norm(found.trajectory[1])) <= 1.0 + 1e-12
    # The root of 2 is 1.41421..
    assert outcomes == [av.Answer.FALSIFIED, av.Answer.VERIFIED]
