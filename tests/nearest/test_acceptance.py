"""Distances of a closed loop's reachable set, and of inputs that change a classifier's decision, beside exact ones."""

import numpy as np
import pytest

import admm_verify as av
from problems import feedback
from problems.nearest import least_change, least_distance, spiral_classifier, state_after
from tests.shared import needs_shared

NEAR = 1e-3


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize("steps", [1, 3])
def test_the_double_integrator_stays_away_from_a_point_and_a_half_plane(steps):
    task = feedback.double_integrator()
    network, (low, high) = state_after(task.system, steps), map(np.ravel, task.initial.range)
    box = low, high
    states = network(np.random.default_rng(0).uniform(*box, (1000, 2)))
    point, normal = states.max(axis=0) + np.array([0.5, 0.3]), np.array([0.6, 0.8])
    limit = float((states @ normal).max()) + 0.2
    unsafe = av.Polytope(-normal[None], [-limit])
    # The half-plane has exact numbers, and its distance is that of their unit.
    found = av.distance(network, av.Box(*box), av.Box(point, point)), av.distance(network, av.Box(*box), unsafe)
    truth = (
        least_distance(network, box, np.eye(2), point),
        least_distance(network, box, normal[None] / np.linalg.norm(normal), np.array([limit])),
    )
    for one, exact in zip(found, truth, strict=True):
        assert one.status is av.Ended.CONVERGED
        assert one.lower <= exact + 1e-9
        assert abs(one.lower - exact) <= NEAR
        assert abs(one.upper - exact) <= NEAR


def test_the_closest_input_that_changes_a_classifiers_decision():
    network, box = spiral_classifier(), (-1.2 * np.ones(2), 1.2 * np.ones(2))
    for point in (np.array([0.1, -0.5]), np.array([-0.4, 0.3])):
        own = int(network(point).argmax())
        condition = " or ".join(f"y{k} >= y{own}" for k in range(3) if k != own)
        found = av.closest_counterexample(av.query(network, av.Box(*box), condition), point)
        exact = least_change(network, box, point)
        assert found.status is av.Ended.CONVERGED
        assert found.lower <= exact + 1e-9
        assert abs(found.lower - exact) <= NEAR
        assert abs(found.upper - exact) <= NEAR
