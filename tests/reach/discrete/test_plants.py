"""Plants from text in discrete time: no trajectory leaves their sets; what is not defined or does not fit is said."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Answer, Box, Controller, NonlinearSystem, Plant, Run
from admm_verify.reach.directions import octagon_directions
from admm_verify.reach.discrete.rollout import noise_set
from admm_verify.reach.discrete.steps import step_of
from admm_verify.reach.discrete.tube import step_sets
from problems import train_plants
from tests.reach.systems import dense, drawn
from tests.seeds import seeds

STEPS = 6


@dataclass(frozen=True, eq=False)
class Example:
    """A plant of two states, one input and maybe noise, and the same in NumPy."""

    texts: tuple[str, str]
    step: object
    noises: int = 0


EXAMPLES = {
    "pendulum": Example(
        ("x1 + 0.1*x2", "x2 + 0.1*(sin(x1) - 0.2*x2 + u1)"),
        lambda x, y, u: (x + 0.1 * y, y + 0.1 * (np.sin(x) - 0.2 * y + u)),
    ),
    "bilinear": Example(
        ("x1 + 0.2*x2*u1", "0.9*x2 - 0.1*x1*x2"), lambda x, y, u: (x + 0.2 * y * u, 0.9 * y - 0.1 * x * y)
    ),
    "kinked": Example(
        ("min(x1 + 0.1*u1, 0.2)", "max(abs(x2) - 0.1, x1, -0.5)"),
        lambda x, y, u: (np.minimum(x + 0.1 * u, 0.2), np.maximum(np.maximum(np.abs(y) - 0.1, x), -0.5)),
    ),
    "divided": Example(
        ("x1/(1 + x2**2) + 0.1*u1", "tan(0.5*x2) - (2 + x1)**-3 + 0.25*exp(-x1)*sqrt(2 + x2)"),
        lambda x, y, u: (
            x / (1 + y**2) + 0.1 * u,
            np.tan(0.5 * y) - (2 + x) ** -3.0 + 0.25 * np.exp(-x) * np.sqrt(2 + y),
        ),
    ),
    "noisy": Example(
        ("x1 + 0.1*x2 + w1*x1", "0.9*x2 + 0.1*cos(u1) + w2"),
        lambda x, y, u, v, w: (x + 0.1 * y + v * x, 0.9 * y + 0.1 * np.cos(u) + w),
        2,
    ),
}


def system_of(example: Example, rng: np.random.Generator) -> NonlinearSystem:
    """The plant with a random controller, which sees both states; with noise where the plant has some."""
    noise = Box(np.full(2, -0.02), np.full(2, 0.01)) if example.noises else None
    limits = np.array([-0.4]), np.array([0.5])
    controller = Controller(dense(rng, 2, 6, 1), np.eye(2), np.zeros(2), np.ones(1), np.zeros(1), limits, noise)
    return NonlinearSystem(controller, Plant.read(example.texts, 1, noises=example.noises), noise)


def simulated(example: Example, system: NonlinearSystem, x: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """States at all steps, [points, steps + 1, 2]; noise [2, points, steps, 2], of the process and of the sensors."""
    own, states = system.controller, [x]
    for t in range(noise.shape[2]):
        process, sensor = noise[:, :, t]
        u = np.clip(own.network(states[-1] + sensor).reshape(-1), -0.4, 0.5)
        states.append(np.stack(example.step(*states[-1].T, u, *(process.T if example.noises else ())), axis=-1))
    return np.stack(states, axis=1)


def paths_of(example: Example, system: NonlinearSystem, box: Box, rng: np.random.Generator, count: int) -> np.ndarray:
    none = np.zeros((count, STEPS, 2))
    noise = [none if system.noise is None else drawn(rng, system.noise, count, STEPS) for _ in range(2)]
    return simulated(example, system, drawn(rng, box, count, 1)[:, 0], np.array(noise))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("seed", seeds(2, 10))
def test_no_trajectory_leaves_the_sets_of_its_cell(name: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 31])
    example = EXAMPLES[name]
    system = system_of(example, rng)
    cells = Box(np.array([-0.3, 0.1]), np.array([0.1, 0.4])).grid(2)
    noise = Box.of(*noise_set(system, STEPS).range)
    found = step_sets(step_of(system), cells.times(noise), STEPS, np.full(2, np.inf), Run())
    directions = np.concatenate([octagon_directions(2), rng.standard_normal((4, 2))])
    for k in range(cells.count):
        paths = paths_of(example, system, Box(*(end[k] for end in cells.range)), rng, 2000)
        for t in range(STEPS + 1):
            most = np.max(paths[:, t] @ directions.T, axis=0)
            assert (most <= found.support(t, directions)[k]).all()
            width = np.ptp(paths[:, t], axis=0).sum() + 0.1
            assert (found.support(t, directions)[k] <= most + width * np.abs(directions).sum(axis=1)).all()


@pytest.mark.parametrize("name", ["pendulum", "noisy"])
def test_simulation_and_halved_cells(name: str) -> None:
    rng = np.random.default_rng(5)
    example = EXAMPLES[name]
    system, box = system_of(example, rng), Box(np.array([-0.3, 0.1]), np.array([0.1, 0.4]))
    if name == "pendulum":
        start = box.scattered(50, rng)
        own = simulated(example, system, start, np.zeros((2, 50, STEPS, 2)))
        np.testing.assert_allclose(av.simulate(system, start, STEPS), own, rtol=1e-12, atol=1e-14)
    task = av.Task(name, system, box, STEPS)
    found = av.reach_sets(task, "octagon", settings=av.ReachSettings(tolerance=0.05, cells=64)).sets
    paths = paths_of(example, system, box, rng, 5000)
    for t in range(STEPS + 1):
        assert (np.max(paths[:, t] @ found.directions.T, axis=0) <= found.upper[t]).all()
    assert found.during is None and (name == "noisy" or found.gap <= 0.05)


@pytest.mark.parametrize("problem", train_plants.PROBLEMS, ids=lambda problem: problem.__name__)
def test_trained_plants_keep_close_sets_and_their_requirements(problem) -> None:
    task = av.read_task(train_plants.TARGET / f"{problem().name}.json")
    found = av.reach_sets(task, timeout=60, settings=av.ReachSettings(tolerance=0.2, samples=2000))
    assert all(judgement.outcome is Answer.VERIFIED for judgement in found.judgements)
    rng = np.random.default_rng(7)
    paths = av.simulate(task.system, task.initial.scattered(20_000, rng), task.steps)
    for t in range(task.steps + 1):
        low, high = found.sets.box(t)
        assert (low <= paths[:, t].min(axis=0)).all() and (paths[:, t].max(axis=0) <= high).all()
    assert ((high - low) <= 1.2 * np.ptp(paths[:, -1], axis=0)).all()


def test_verdicts_without_a_controller() -> None:
    """x+ = x^2 from [0, 0.5]: at most 0.25 after a step, and at step 2 somewhere above 0.05."""
    system = NonlinearSystem(None, Plant.read(["x1**2"], 0))

    def asked(most: Fraction, first: int) -> av.Requirement:
        return av.Requirement(av.Kind.ALWAYS_IN, av.Polytope(np.ones((1, 1)), (most,)), Fraction(first), Fraction(3))

    wanted = tuple(asked(*pair) for pair in ((Fraction(1, 4), 1), (Fraction(5, 100), 2), (Fraction(7, 100), 2)))
    task = av.Task("square", system, Box(np.zeros(1), np.full(1, 0.5)), 3, wanted)
    held, broken, close = av.reach_sets(task).judgements
    # The largest value is the limit itself, which no bound that is rounded outward can meet.
    assert held.outcome is Answer.UNKNOWN and close.outcome is Answer.VERIFIED
    assert broken.outcome is Answer.FALSIFIED and broken.trajectory[2, 0] > 0.05


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("1/(x1 - 0.1)", "x2"), "equation 1 divides by 0 for first states near (0.09997"),
        (("x1 - 0.5", "x2 + 1/(x1 + 0.6)"), "equation 2 divides by 0 on the way from step 2 to the next"),
        (("tanh(x1/0.1 - 1 + 1/(x1 - 0.05))", "x2"), "equation 1 divides by 0"),
        (("x1", "sqrt(x2 - 0.25)"), "square root of a negative number"),
        (("50*x1**3", "x2"), "not finite, or the plant not defined, after step"),
    ],
)
def test_plants_that_are_not_defined_everywhere_are_not_verified(texts, words) -> None:
    system = NonlinearSystem(None, Plant.read(texts, 0))
    wide = av.Requirement(
        av.Kind.ALWAYS_IN, av.Polytope(np.eye(2)[:1], (Fraction(10) ** 300,)), Fraction(0), Fraction(9)
    )
    task = av.Task("faulty", system, Box(np.zeros(2), np.array([1.0, 0.5])), 9, (wide,))
    (found,) = av.reach_sets(task, timeout=10, settings=av.ReachSettings(cells=50)).judgements
    assert found.outcome is Answer.UNKNOWN and words in found.reason


def test_what_does_not_fit_is_named() -> None:
    controller, box = Controller.of(dense(np.random.default_rng(0), 2, 1)), Box(np.zeros(1), np.ones(1))
    plant, noisy = Plant.read(["x1", "u1"], 1), Plant.read(["x1 + w1", "u1"], 1, noises=1)
    for given, words in (
        ((None, plant), "1 inputs, and there is no controller"),
        ((controller, Plant.read(["x1", "x2", "u1"], 1)), "reads 2 states and gives 1 inputs; the plant has 3 and 1"),
        ((controller, noisy), "reads 1 numbers of noise, and no set"),
        ((controller, plant, box), "reads 0 numbers of noise, and a set"),
        ((controller, noisy, Box(np.zeros(2), np.ones(2))), "process noise has shape"),
    ):
        with pytest.raises(av.InputError, match=words):
            NonlinearSystem(*given)
    for texts, words in ((["abs(x1)", "u1"], "equation 1 holds abs"), (["x1 + w1", "u1"], "Process noise")):
        with pytest.raises(av.InputError, match=words):
            av.ContinuousSystem(controller, Plant.read(texts, 1, noises=int("w1" in texts[0])), Fraction(1))
    for text, words in (
        ("x3 + u1", "holds x3; there are 2 equations"),
        ("u1 + u2*x1", "holds u2; there are 1 inputs, which are outputs of a controller"),
        ("u1 - w1", "holds w1; there are 0 numbers of process noise"),
    ):
        with pytest.raises(av.InputError, match=words):
            Plant.read(["x1", text], 1)
    task = av.Task("plant", NonlinearSystem(controller, plant), Box(np.zeros(2), np.ones(2)), 2)
    with pytest.raises(av.InputError, match="A window of steps"):
        av.reach_sets(task, settings=av.ReachSettings(window=1))
