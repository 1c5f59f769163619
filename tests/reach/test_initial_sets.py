"""Reachable sets from sets that are no boxes: trajectories stay inside without slack, and little is lost."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.linalg import expm

import admm_verify as av
from admm_verify import Box, ReachSettings, Task
from admm_verify.network.layers import network_from_layers
from admm_verify.reach.directions import octagon_directions
from admm_verify.reach.starts import starts_of
from admm_verify.sets.contraction import apart
from tests.reach.initial_sets import SETS, ellipsoid, inside
from tests.reach.systems import KINDS, drawn, linear, simulated
from tests.seeds import seeds

STEPS, NONE = 3, Box.point(np.zeros(0))
SETTINGS = {
    "crown": ReachSettings(method="crown", iterations=0, samples=100),
    "tightened": ReachSettings(samples=100),
    "grid": ReachSettings(method="crown", grid=3, samples=100),
    "window": ReachSettings(method="crown", window=1, samples=100),
    "halved": ReachSettings(tolerance=0.1, cells=30, samples=100),
}


def linear_feedback(rng: np.random.Generator, states: int) -> av.LinearSystem:
    """x+ = a x + b k x + c, without any activation."""
    gain = rng.standard_normal((1, states))
    controller = av.Controller.of(network_from_layers([gain], [np.zeros(1)]))
    a, b = 0.5 * rng.standard_normal((states, states)), rng.standard_normal((states, 1))
    return av.LinearSystem(controller, a, b, rng.standard_normal(states))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("seed", seeds(1, 9))
def test_no_trajectory_leaves_the_sets(kind: str, name: str, seed: int) -> None:
    which = ("autonomous", "clipped", "noisy")[(seed + list(SETS).index(kind) + list(SETTINGS).index(name)) % 3]
    rng = np.random.default_rng([seed, 11])
    system = KINDS[which](rng)
    first = SETS[kind](rng, system.states)
    directions = octagon_directions(system.states)
    sets = av.reach_sets(Task("made", system, first, STEPS), directions, settings=SETTINGS[name]).sets
    points = inside(rng, first, 300)
    noise = (system.noise, system.controller.noise) if isinstance(system, av.LinearSystem) else (None, None)
    later = simulated(system, points, *(drawn(rng, part, len(points), STEPS) for part in noise))
    paths = np.concatenate([points[:, None], later], axis=1)
    values = np.einsum("pts,ds->ptd", paths, directions)
    assert (values <= sets.upper).all() and (sets.inner <= sets.upper).all()
    # Cells may be cut along axes of the set; points at their border may be rounded out of them.
    own = starts_of(first, None, NONE).first
    if own.matrix is not None and own.numbers > own.size:
        # More numbers than states: many stand for one state.
        return
    z = points if own.matrix is None else np.linalg.solve(own.matrix, (points - own.shift).T).T
    low, high = (ends[:, None, : own.numbers] for ends in (sets.cells_lower, sets.cells_upper))
    assert ((low - 1e-12 <= z) & (z <= high + 1e-12)).all(axis=-1).any(axis=0).all()
    home = np.atleast_2d(((low + 1e-9 <= z) & (z <= high - 1e-9)).all(axis=-1))
    if sets.cells_lower.shape[1] == own.numbers:
        for k, bound in enumerate(sets.cells_bound):
            assert (values[home[k]] <= bound).all()


@pytest.mark.parametrize("seed", seeds(3, 20))
def test_linear_images_of_ellipsoids_are_exact(seed: int) -> None:
    rng = np.random.default_rng([seed, 12])
    system, states = linear_feedback(rng, 3), 3
    first = ellipsoid(rng, states)
    directions = np.concatenate([np.eye(states), -np.eye(states), rng.standard_normal((5, states))])
    sets = av.reach_sets(Task("linear", system, first, 4), directions).sets
    gain = np.asarray(system.controller.network(np.eye(states))).reshape(states, 1).T
    map, shift = np.eye(states), np.zeros(states)
    for upper in sets.upper:
        middle = directions @ (map @ np.asarray(first.center) + shift)
        image = directions @ map
        support = middle + np.sqrt(np.einsum("ds,st,dt->d", image, np.asarray(first.matrix), image))
        assert np.allclose(upper, support, rtol=1e-9, atol=1e-9)
        step = system.a + system.b @ gain
        map, shift = step @ map, step @ shift + system.c
    # In exact numbers, the first images are no smaller than the ellipsoid: (upper - d'c)^2 >= d' shape d.
    for direction, bound in zip(directions, sets.upper[0], strict=True):
        d, c = ([Fraction(float(x)) for x in part] for part in (direction, np.asarray(first.center)))
        shape = [[Fraction(float(x)) for x in row] for row in np.asarray(first.matrix)]
        above = Fraction(float(bound)) - sum(x * y for x, y in zip(d, c, strict=True))
        form = sum(d[i] * shape[i][j] * d[j] for i in range(states) for j in range(states))
        assert above >= 0 and above**2 >= form


def test_linear_images_in_continuous_time_are_exact() -> None:
    rng = np.random.default_rng(13)
    gain, a, b = np.array([[-0.5, -1.0]]), np.array([[0.0, 1.0], [-1.0, -0.3]]), np.array([[0.0], [1.0]])
    plant = av.Plant.read(["x2", "-x1 - 0.3*x2 + u1"], 1)
    system = av.ContinuousSystem(av.Controller.of(network_from_layers([gain], [np.zeros(1)])), plant, Fraction(1, 10))
    first = ellipsoid(rng, 2)
    directions = np.concatenate([np.eye(2), -np.eye(2), rng.standard_normal((5, 2))])
    sets = av.reach_sets(Task("linear", system, first, 10), directions).sets
    both = expm(0.1 * np.block([[a, b], [np.zeros((1, 3))]]))
    step, map = both[:2, :2] + both[:2, 2:] @ gain, np.eye(2)
    for upper in sets.upper:
        image = directions @ map
        support = image @ np.asarray(first.center) + np.sqrt(
            np.einsum("ds,st,dt->d", image, np.asarray(first.matrix), image)
        )
        assert (upper >= support - 1e-12).all() and np.allclose(upper, support, rtol=1e-6, atol=1e-7)
        map = step @ map


@pytest.mark.parametrize("kind", SETS)
def test_a_set_is_tighter_than_its_box(kind: str) -> None:
    rng = np.random.default_rng(14)
    system = linear(rng, noise=False)
    first = SETS[kind](rng, 3)
    task = Task("made", system, first, STEPS)
    own, hull = (
        av.reach_sets(one, "octagon", settings=SETTINGS["tightened"]).sets
        for one in (task, replace(task, initial=Box(*first.range)))
    )
    assert (own.upper[0] <= hull.upper[0] + 1e-14).all() and (own.upper < hull.upper).any(axis=1).all()
    # Relaxations of less are no tighter in every direction, but on the whole.
    width = np.ptp(np.einsum("pts,ds->ptd", hull.samples, hull.directions), axis=0)
    assert (own.upper <= hull.upper + 0.02 * width).all()
    assert all(own.volume(t) < 0.98 * hull.volume(t) for t in range(1, STEPS + 1))


@pytest.mark.parametrize("kind", SETS)
def test_cells_that_are_left_out_hold_nothing(kind: str) -> None:
    rng = np.random.default_rng(15)
    first = SETS[kind](rng, 2)
    starts = starts_of(first, None, NONE)
    every = starts.box.grid(20)
    gone = apart(starts.all.at(None), every)
    points = inside(rng, starts.all, 5000)
    low, high = (end[gone][:, None] for end in every.range)
    assert not ((low <= points) & (points <= high)).all(axis=-1).any()
    assert starts.grid(20).count == every.count - np.count_nonzero(gone)


def test_an_ellipsoid_leaves_out_the_corners_of_its_box() -> None:
    disc = av.Ellipsoid(np.zeros(2), np.eye(2))
    kept = starts_of(disc, None, NONE).grid(20)
    nearest = np.asarray(kept.project(np.zeros(2)))
    assert (np.linalg.norm(nearest, axis=1) <= 1.0 + 1e-6).all()
    assert 0.7 * 400 < kept.count < 0.9 * 400


def task_of(kind: str, seed: int) -> tuple[Task, np.ndarray]:
    """Two states under feedback from a set, and simulated trajectories from it."""
    rng = np.random.default_rng([seed, 16])
    system = KINDS["autonomous"](rng)
    task = Task("made", system, SETS[kind](rng, 2), STEPS)
    starts = starts_of(task.initial, None, NONE)
    # Corners of what cells are cut from are extreme, too.
    points = np.concatenate([inside(rng, task.initial, 500), starts.first.states(starts.scattered(500, rng))])
    return task, av.simulate(task.system, points, STEPS)


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.05), (2, -0.05), *(pytest.param(*at, marks=pytest.mark.slow) for at in ((0, -0.05), (2, 0.05)))],
)
def test_verdicts_on_limits_beside_what_is_simulated(kind: str, step: int, share: float) -> None:
    task, paths = task_of(kind, 3)
    row = np.array([[1.0, 0.5]])
    values = paths[:, step] @ row[0]
    limit, time = Fraction(float(values.max() + share * np.ptp(values))), Fraction(step)
    always = av.Requirement(av.Kind.ALWAYS_IN, av.Polytope(row, (limit,)), time, time)
    never = av.Requirement(av.Kind.NEVER_IN, av.Polytope(-row, (-limit,)), time, time)
    report = av.reach_sets(replace(task, requirements=(always, never)), settings=ReachSettings(samples=200))
    wanted = av.Answer.VERIFIED if share > 0 else av.Answer.FALSIFIED
    assert [one.outcome for one in report.judgements] == [wanted, wanted]
    for judgement in report.judgements:
        if judgement.trajectory is not None:
            # The state that is shown lies in the set, exactly, and breaks the limit.
            assert bool(task.initial.contains(judgement.trajectory[0]))
            assert judgement.trajectory[step] @ row[0] > float(limit)


def test_sets_that_nothing_can_start_from() -> None:
    system = KINDS["autonomous"](np.random.default_rng(0))
    half = np.array([[1.0, 1.0]])
    with pytest.raises(av.InputError, match="is empty"):
        Task("empty", system, av.Polytope(np.concatenate([half, -half]), (1.0, -2.0), Box(-np.ones(2), np.ones(2))), 2)
    with pytest.raises(av.InputError, match="bound"):
        Task("without bounds", system, av.Polytope(half, (1.0,)), 2)
    with pytest.raises(av.InputError, match="indefinite"):
        Task("indefinite", system, av.Ellipsoid(np.zeros(2), np.diag([1.0, -1.0])), 2)
    with pytest.raises(av.InputError, match=r"initial set has shape \(3,\); give one set of vectors of 2 numbers"):
        Task("wrong size", system, av.Ball(np.zeros(3), 1.0), 2)
    with pytest.raises(av.InputError, match=r"initial set has shape \(4, 2\); give one set"):
        Task("several", system, av.Ball(np.zeros((4, 2)), 1.0), 2)
    with pytest.raises(av.InputError, match="no point within its box"):
        Task("empty ball", system, av.Ball(np.zeros(2), 1.0, within=(np.full(2, 0.9), np.full(2, 2.0))), 2)
    with pytest.raises(av.InputError, match=r"av.Ellipsoid"):
        Task("no set", system, np.zeros(2), 2)  # pyright: ignore[reportArgumentType]
    noisy = linear(np.random.default_rng(0))
    with pytest.raises(av.InputError, match="process noise has shape"):
        replace(noisy, noise=av.Ball(np.zeros(3), 1.0))
