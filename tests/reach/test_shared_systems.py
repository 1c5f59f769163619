"""Real systems: sets hold what simulations reached, and verdicts are those that are known."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Answer
from problems import feedback
from tests.shared import needs_shared

pytestmark = [pytest.mark.data, needs_shared]

VERDICTS = {
    "acc": ["verified"],
    "double_pendulum_less_robust": ["verified"],
    "double_pendulum_more_robust": ["falsified"],
    "ground_robot_buggy": ["falsified"],
    "nav_point": ["verified", "verified"],
    "nav_set": ["verified", "verified"],
    "single_pendulum": ["verified"],
    "tora_relu": ["verified"],
    "unicycle": ["verified"],
    "double_integrator_nfl": [],
    "quadrotor_nfl": [],
    "quadrotor_reachlipbnb": [],
}


LONG = {"double_pendulum_less_robust", "double_pendulum_more_robust", "ground_robot_buggy", "nav_point"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in VERDICTS]
)
def test_what_is_known_of_a_system(name: str) -> None:
    task = feedback.shared_task(name)
    report = av.reach_sets(task, settings=av.ReachSettings(samples=1000, cells=64))
    assert [judgement.outcome.value for judgement in report.judgements] == VERDICTS[name]
    assert task.sampled is not None
    for t in range(1, report.sets.valid_steps + 1):
        low, high = report.sets.box(t)
        # The stored numbers have nine digits.
        digits = 5e-9 * np.maximum(np.abs(task.sampled[0][t]), np.abs(task.sampled[1][t]))
        assert (low <= task.sampled[0][t] + digits).all() and (high >= task.sampled[1][t] - digits).all()
    for judgement in report.judgements:
        if judgement.outcome is Answer.FALSIFIED:
            assert judgement.trajectory is not None
            again = av.simulate(task.system, judgement.trajectory[:1], task.steps, substeps=40)
            assert judgement.requirement.room(again)[0] < 0


@pytest.mark.parametrize(
    ("settings", "area"),
    [
        (av.ReachSettings(), 0.00070),
        (av.ReachSettings(tolerance=0.02), 0.00058),
        (av.ReachSettings(method="crown", iterations=0, window=1), feedback.PER_STEP_AREA),
    ],
    ids=["whole", "halved", "boxed"],
)
def test_areas_of_the_double_integrator(settings, area) -> None:
    task = feedback.double_integrator()
    sets = av.reach_sets(task, settings=settings).sets
    exact = av.reach_sets(task, settings=av.ReachSettings(tolerance=0.001)).sets
    # What trajectories attain is a lower limit of any area.
    low, high = exact.sampled_box
    assert float(np.prod(high[6] - low[6])) <= sets.volume(6) <= area


def test_the_largest_voltage_of_fitzhugh_nagumo() -> None:
    task = feedback.fitzhugh_nagumo(100)
    sets = av.reach_sets(task, settings=av.ReachSettings(method="crown", tolerance=0.005)).sets
    assert feedback.FITZHUGH_TRUE[100] - 1e-3 <= sets.inner[5, 0] <= sets.upper[5, 0] <= 2.30
