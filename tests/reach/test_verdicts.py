"""Verdicts on requirements: right ones only, and found where they can be."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Answer, Kind, Polytope, Requirement, Task, read_task
from tests.clocks import ticking
from tests.reach.systems import KINDS, initial, trajectories
from tests.reach.tasks import INTEGRATOR, PENDULUM, write
from tests.seeds import seeds

STEPS = 4


def task_of(kind: str, seed: int) -> Task:
    system = KINDS[kind](np.random.default_rng([seed, 3]))
    return Task("made", system, initial(system), STEPS)


def exact(value: float) -> Fraction:
    return Fraction(float(value))


def boxes(low, high) -> Polytope:
    return Polytope.box([exact(value) for value in low], [exact(value) for value in high])


def judged(task: Task, *requirements: Requirement) -> list[Answer]:
    report = av.reach_sets(
        replace(task, requirements=tuple(requirements)), settings=av.ReachSettings(samples=200, cells=256)
    )
    for judgement in report.judgements:
        if judgement.outcome is Answer.FALSIFIED:
            assert judgement.trajectory is not None
            first = judgement.trajectory[0]
            assert (first >= task.initial.lower).all() and (first <= task.initial.upper).all()
            # In continuous time the trajectory is a simulated one, whose error is far below these margins.
            assert judgement.requirement.room(judgement.trajectory[None])[0] <= 1e-9
        else:
            assert judgement.trajectory is None
    return [judgement.outcome for judgement in report.judgements]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", seeds(1, 3))
def test_verdicts_agree_with_trajectories(kind: str, seed: int) -> None:
    task, rng = task_of(kind, seed), np.random.default_rng(seed)
    states = trajectories(task.system, rng, task.initial, 20_000, STEPS)
    everything = np.concatenate([states.reshape(-1, task.system.states), [task.initial.lower, task.initial.upper]])
    low, high = everything.min(axis=0), everything.max(axis=0)
    width = high - low
    last_low, last_high = states[:, -1].min(axis=0), states[:, -1].max(axis=0)
    room = 0.5 * (last_high - last_low)
    zero, end = Fraction(0), Fraction(STEPS)
    far = boxes(high + 10 * width, high + 11 * width)
    middle = states[:, 2].mean(axis=0)
    found = judged(
        task,
        Requirement(Kind.ALWAYS_IN, boxes(low - width, high + width), zero, end),
        Requirement(Kind.ALWAYS_IN, boxes(low + 0.1 * width, high + width), zero, end),
        Requirement(Kind.NEVER_IN, far, zero, end),
        Requirement(Kind.NEVER_IN, boxes(low - width, high + width), zero, end),
        Requirement(Kind.NEVER_IN, boxes(middle - width / 50, middle + width / 50), zero, end),
        Requirement(Kind.REACH_AT_END, boxes(last_low - room, last_high + room), zero, end),
        Requirement(Kind.REACH_AT_END, boxes(last_low + 0.2 * room, last_high + room), zero, end),
        Requirement(Kind.REACH_SOME_TIME, boxes(last_low - room, last_high + room), zero, end),
        Requirement(Kind.REACH_SOME_TIME, far, zero, end),
    )
    true, false = Answer.VERIFIED, Answer.FALSIFIED
    assert found[:4] == [true, false, true, false]
    assert found[4] is not true or not _hit(states, middle, width / 50)
    assert found[5:8] == [true, false, true] and found[8] is not true


def _hit(states: np.ndarray, middle: np.ndarray, radius: np.ndarray) -> bool:
    return bool((np.abs(states - middle) <= radius).all(axis=-1).any())


def test_requirements_on_the_first_state() -> None:
    task = task_of("clipped", 0)
    low, high = np.asarray(task.initial.lower), np.asarray(task.initial.upper)
    middle, zero = (low + high) / 2, Fraction(0)
    inside = boxes(middle - 0.01, middle + 0.01)
    assert judged(task, Requirement(Kind.NEVER_IN, inside, zero, zero)) == [Answer.FALSIFIED]
    assert judged(task, Requirement(Kind.NEVER_IN, boxes(high + 0.1, high + 0.2), zero, zero)) == [Answer.VERIFIED]
    assert judged(task, Requirement(Kind.ALWAYS_IN, boxes(low, high), zero, zero)) == [Answer.VERIFIED]
    assert judged(task, Requirement(Kind.ALWAYS_IN, boxes(low, middle), zero, zero)) == [Answer.FALSIFIED]


@pytest.mark.parametrize(
    ("requirement", "outcome"),
    [
        ({"kind": "always_in", "box": {"lower": [-2, -2], "upper": [2, 2]}}, Answer.VERIFIED),
        ({"kind": "always_in", "box": {"lower": [0.33, -2], "upper": [2, 2]}}, Answer.FALSIFIED),
        ({"kind": "always_le", "expr": "x1 + x2 - 3"}, Answer.VERIFIED),
        ({"kind": "always_le", "expr": "x1 - 0.35"}, Answer.FALSIFIED),
        ({"kind": "never_in", "box": {"lower": [1, None], "upper": [2, None]}}, Answer.VERIFIED),
        ({"kind": "never_in", "box": {"lower": [0.2, -1], "upper": [0.5, 1]}}, Answer.FALSIFIED),
        ({"kind": "reach_at_end", "box": {"lower": [-2, -2], "upper": [2, 2]}}, Answer.VERIFIED),
        ({"kind": "reach_at_end", "box": {"lower": [1, -2], "upper": [2, 2]}}, Answer.FALSIFIED),
        ({"kind": "reach_some_time", "box": {"lower": [0.2, -1], "upper": [0.5, 1]}}, Answer.VERIFIED),
        ({"kind": "reach_some_time", "box": {"lower": [3, 3], "upper": [4, 4]}}, Answer.FALSIFIED),
    ],
)
def test_continuous_time(tmp_path, requirement, outcome) -> None:
    task = read_task(write(tmp_path, PENDULUM | {"property": [requirement]}))
    assert judged(task, *task.requirements) == [outcome]


def test_cells_are_halved_until_a_requirement_is_decided(tmp_path) -> None:
    """Between what one cell shows and what trajectories do."""
    task = read_task(write(tmp_path, PENDULUM))
    wide = replace(task, initial=av.Box(np.array([-1.0, -1.0]), np.array([1.0, 1.0])), requirements=())
    sets = av.reach_sets(wide, settings=av.ReachSettings(samples=2000)).sets
    t = wide.steps
    assert sets.upper[t, 0] > sets.inner[t, 0]
    between = exact(0.5 * sets.upper[t, 0] + 0.5 * sets.inner[t, 0])
    limit = Polytope(np.array([[1.0, 0.0]]), (between,))
    requirement = Requirement(Kind.REACH_AT_END, limit, Fraction(0), Fraction(t))
    report = av.reach_sets(replace(wide, requirements=(requirement,)), settings=av.ReachSettings(samples=2000, batch=8))
    assert report.judgements[0].outcome is Answer.VERIFIED and len(report.sets.cells_lower) > 1


def test_time_runs_out_in_time(tmp_path) -> None:
    for data in (PENDULUM, INTEGRATOR):
        task = replace(read_task(write(tmp_path, data)), requirements=())
        with ticking() as clock:
            report = av.reach_sets(task, settings=av.ReachSettings(tolerance=1e-9, samples=500), timeout=60)
        assert report.sets.ended.value == "timed-out" and 60 < clock.looks <= 80
    stopped = av.reach_sets(task, run=av.Run(stop=lambda: True))
    assert stopped.sets.ended.value == "stopped"


def test_options_that_do_not_fit(tmp_path) -> None:
    task = read_task(write(tmp_path, PENDULUM))
    for directions in ("hexagon", np.zeros((2, 3)), np.full((1, 2), np.nan), np.zeros((0, 2)), 0):
        with pytest.raises(av.InputError, match=r"give|choose"):
            av.reach_sets(task, directions)
    with pytest.raises(av.InputError, match="discrete time"):
        av.reach_sets(task, settings=av.ReachSettings(window=2))
    with pytest.raises(av.InputError, match=r"timeout is -1\.0"):
        av.reach_sets(task, timeout=-1.0)


@pytest.mark.parametrize("directions", ["box", "octagon", "principal", 7])
def test_directions_of_continuous_systems(tmp_path, directions) -> None:
    task = read_task(write(tmp_path, PENDULUM))
    sets = av.reach_sets(task, directions, settings=av.ReachSettings(samples=500)).sets
    states = av.simulate(
        task.system, np.random.default_rng(5).uniform(task.initial.lower, task.initial.upper, (500, 2)), 10
    )
    assert (states @ sets.directions.T <= sets.upper + 1e-9).all()
    assert sets.during is not None and (sets.during >= np.maximum(sets.upper[:-1], sets.upper[1:]) - 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_without_limits_holds_every_state(kind):
    task = task_of(kind, 0)
    everything = Polytope(np.zeros((0, task.system.states)), ())
    for first in (0, 1, STEPS):
        outcomes = judged(
            task, *(Requirement(one, everything, 0 if one is Kind.REACH_AT_END else first, STEPS) for one in Kind)
        )
        expected = [Answer.FALSIFIED if one is Kind.NEVER_IN else Answer.VERIFIED for one in Kind]
        assert outcomes == expected


def test_a_start_at_decimals_breaks_a_requirement(tmp_path):
    # No float equals 0.3 or -0.1, the ends of the initial box.
    start = {"kind": "never_in", "box": {"lower": [-0.5, None], "upper": [0.6, None]}, "t_to": 0}
    for data in (INTEGRATOR, PENDULUM):
        task = read_task(write(tmp_path, data | {"property": [start]}))
        assert av.reach_sets(task).judgements[0].outcome is Answer.FALSIFIED


@pytest.mark.parametrize("rate", ["0/(x1 - x1)", "0*(1/x2)", "0*sqrt(-1 - x1**2)", "x1*(0/x2) + 0*u1"])
def test_nothing_is_said_where_a_plant_is_not_defined(tmp_path, rate):
    dynamics = {"kind": "continuous", "equations": [rate, "0*u1"]}
    wide = {"kind": "always_in", "box": {"lower": [-9, -9], "upper": [9, 9]}}
    path = write(tmp_path, PENDULUM | {"dynamics": dynamics, "property": [wide], "horizon_steps": 2})
    report = av.reach_sets(read_task(path), settings=av.ReachSettings(samples=20, cells=4))
    assert report.judgements[0].outcome is Answer.UNKNOWN and report.sets.valid_steps == 0
