"""Single states and small sets, also at rest: their sets last as long as those of the larger sets around them."""

from dataclasses import replace

import numpy as np
import pytest

from admm_verify import Box, ContinuousSystem, Controller, ReachSettings, Task, reach_sets
from admm_verify.reach.continuous.simulation import trajectories
from admm_verify.reach.continuous.tube import reach
from problems import feedback, flight
from tests.enclosures.plants import relu_network
from tests.shared import needs_shared

BODIES = {"rigid body": flight.rigid_body, "quadrotor": flight.quadrotor}


def shrunk(task: Task, share: float) -> Box:
    """The initial box around its middle, [1, n]."""
    lower, upper = (np.asarray(end)[None] for end in task.initial.range)
    middle = 0.5 * (lower + upper)
    return Box.of(middle + share * (lower - middle), middle + share * (upper - middle))


def check(task: Task, box: Box, steps: int) -> np.ndarray:
    """Sets to the end that hold simulated trajectories; the width of the last one."""
    assert isinstance(task.system, ContinuousSystem)
    tube, (lower, upper) = reach(task.system, box, steps), box.range
    assert tube.valid_steps[0] == steps
    points = np.random.default_rng(0).uniform(lower, upper, (50, task.system.states))
    paths = trajectories(task.system, points, steps, substeps=40)
    for step in (1, steps):
        ends = tube.box(step)
        # The simulation's own error.
        assert (ends.lower[0] <= paths[:, step] + 1e-9).all() and (ends.upper[0] >= paths[:, step] - 1e-9).all()
    return (ends.upper - ends.lower)[0]


@pytest.mark.parametrize("plant", [flight.RIGID_BODY, flight.QUADROTOR], ids=["rigid body", "quadrotor"])
def test_bodies_at_rest_have_sets(plant):
    """Whose positions or rates of turn start at exactly 0."""
    network = relu_network(0, 12, 4, plant.inputs, gain=0.1)
    system = ContinuousSystem(Controller.of(network), plant, flight.PERIOD)
    ends = np.array([[0.1], [1e-9], [0.0]]) * np.repeat([0.0, 1.0, 1.0, 0.0], 3)
    tube = reach(system, Box.of(-ends, ends), 1)
    assert (tube.valid_steps == 1).all()
    box = tube.box(1)
    first, second, third = box.upper - box.lower
    assert (third <= second + 1e-14).all() and (second <= first).all() and third.max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_single_states_of_bodies_last(name):
    task = BODIES[name]()
    check(task, shrunk(task, 0.0), task.steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "verdicts"),
    [("rigid body", ["verified", "verified"]), ("quadrotor", ["verified", "verified", "falsified"])],
)
def test_bodies_are_decided(name, verdicts):
    report = reach_sets(BODIES[name](), settings=ReachSettings(cells=4))
    assert [judgement.outcome.value for judgement in report.judgements] == verdicts


@needs_shared
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", feedback.SHARED)
def test_single_states_of_shared_systems_last(name):
    task = feedback.shared_task(name)
    if isinstance(task.system, ContinuousSystem):
        check(task, shrunk(task, 0.0), min(task.steps, 100))
    else:
        box = shrunk(task, 0.0).at(0)
        sets = reach_sets(replace(task, initial=box, exact=None)).sets
        assert sets.valid_steps == task.steps
