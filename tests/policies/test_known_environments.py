"""Environments written out step as gymnasium's do, and sets of their steps hold all that they do."""

from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest

import admm_verify as av
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.arithmetic import FLOATS, Arithmetic
from admm_verify.enclosures.expressions import Reader, evaluate
from admm_verify.enclosures.intervals import Interval
from admm_verify.enclosures.rounded import ROUNDED, Rounded
from admm_verify.network.layers import network_from_layers
from admm_verify.policies.returns.network_forms import network_forms
from admm_verify.policies.returns.noisy_steps import restricted
from admm_verify.policies.returns.regrouping import Coordinates, regrouped
from admm_verify.policies.returns.shipped import SHIPPED
from tests.policies.known_policies import curved

EXACT = {"CartPole-v1": 1e-15, "Pendulum-v1": 3e-8, "MountainCar-v0": 1e-15}
"""What gymnasium's next states may differ by; its Pendulum multiplies the torque in float32."""


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("pushed", ["random", "along", "left"])
def test_steps_are_those_of_gymnasium(name, pushed):
    gymnasium = pytest.importorskip("gymnasium")
    environment, theirs, rng = SHIPPED[name](), gymnasium.make(name).unwrapped, np.random.default_rng(1)
    walls = 0
    for episode in range(6):
        theirs.reset(seed=episode)
        for _ in range(150):
            before = np.array(theirs.state, dtype=np.float64)
            if environment.actions is None:
                given = rng.uniform(-3, 3, 1).astype(np.float32)
                control = given[None].astype(np.float64)
            else:
                last = len(environment.actions) - 1
                choices = {"random": int(rng.integers(last + 1)), "along": last if before[1] > 0 else 0, "left": 0}
                given = choices[pushed]
                control = environment.actions[[given]]
            seen, reward, over, _, _ = theirs.step(given)
            state = environment.simulated(before[None], control)
            np.testing.assert_allclose(state[0], np.array(theirs.state), rtol=0, atol=EXACT[name])
            np.testing.assert_allclose(environment.seen(state)[0], seen, rtol=2e-7, atol=2e-7)
            assert environment.earned(before[None], control)[0] == pytest.approx(reward, abs=1e-6)
            assert environment.goes_on(state)[0] == (not over)
            assert reward >= environment.least_reward
            walls += name == "MountainCar-v0" and theirs.state[0] == -1.2
            if over:
                break
    assert (walls > 0) == (name == "MountainCar-v0" and pushed == "along")


TEXTS = [
    "(x1 + x2 * x3) / (x3**2 + 1) - 1/3",
    "max(x1 * x2, -x3) + min(x1, abs(x2 - x3)) * 0.1",
    "x1**3 - x2 * x2 + x3",
]


def test_float64_stays_within_the_errors_of_rounding():
    known = {"abs": abs, "min": min, "max": max}
    functions = {one: known.get(one.value, abs) for one in ROUNDED.functions}
    exact = Arithmetic(Fraction, Fraction(0), lambda x: x * x, functions)
    rng = np.random.default_rng(0)
    reader = Reader(["x1", "x2", "x3"])
    expressions = [reader.read(text) for text in TEXTS]
    largest = 0.0
    for _ in range(60):
        middle, width = rng.standard_normal(3) * 10.0 ** rng.integers(-3, 4, 3), 10.0 ** rng.integers(-9, 1)
        box = {
            f"x{i + 1}": Rounded.exact(Interval.point(middle[i]) + Interval(-width * np.ones(()), width * np.ones(())))
            for i in range(3)
        }
        bounds = evaluate(expressions, box, ROUNDED)
        for point in middle + rng.uniform(-width, width, (20, 3)):
            floats = evaluate(expressions, {f"x{i + 1}": np.float64(point[i]) for i in range(3)}, FLOATS)
            truths = evaluate(expressions, {f"x{i + 1}": Fraction(point[i]) for i in range(3)}, exact)
            for found, truth, bound in zip(floats, truths, bounds, strict=True):
                assert abs(Fraction(float(found)) - truth) <= Fraction(float(bound.error))
                assert bound.interval.lower <= float(found) <= bound.interval.upper
                largest = max(largest, abs(float(Fraction(float(found)) - truth)) / float(bound.error))
    assert largest > 0.01


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bent", [False, True])
def test_forms_of_networks_hold_their_values_symbol_by_symbol(seed, bent):
    rng = np.random.default_rng(seed)
    sizes = (3, 12, 2) if bent else (3, 9, 9, 2)
    weights = [rng.standard_normal((m, n)) for n, m in pairwise(sizes)]
    biases = [rng.standard_normal(m) for m in sizes[1:]]
    network = curved(weights, biases) if bent else network_from_layers(weights, biases)
    widths = 10.0 ** rng.integers(-6, 1, (5, 1, 1))
    inputs = AffineForms(
        rng.standard_normal((5, 3)), widths * rng.standard_normal((5, 3, 4)), 0.1 * widths[:, 0] * np.ones(3)
    )
    found = network_forms(network, inputs)
    for _ in range(300):
        z, e = rng.choice([-1.0, 1.0, rng.uniform(-1, 1)], 4), rng.uniform(-1, 1, (5, 3))
        values = network(inputs.centre + inputs.generators @ z + inputs.radius * e)
        assert (np.abs(values - (found.centre + found.generators @ z)) <= found.radius).all()
    assert found.radius.max() < 100 * widths.max()


def test_forms_of_what_is_not_finite_know_nothing():
    network = network_from_layers([np.ones((2, 2))], [np.zeros(2)])
    centre = np.array([[1.0, 2.0], [np.inf, 0.0], [np.nan, 0.0]])
    found = network_forms(network, AffineForms(centre, np.zeros((3, 2, 1)), np.zeros((3, 2))))
    assert np.isfinite(found.range[0][0]).all()
    assert (found.range[0][1:] == -np.inf).all()
    assert (found.range[1][1:] == np.inf).all()


@pytest.mark.parametrize("seed", range(5))
def test_cut_cells_keep_all_points_that_may_meet_the_rows(seed):
    rng = np.random.default_rng(seed)
    cells = AffineForms(rng.standard_normal((6, 3)), rng.standard_normal((6, 3, 4)), np.zeros((6, 3)))
    rows = AffineForms(rng.standard_normal((6, 2)), rng.standard_normal((6, 2, 5)), 0.1 * rng.random((6, 2)))
    found = restricted(cells, rows)
    z = rng.uniform(-1, 1, (4000, 5))
    meets = (rows.centre[:, :, None] + rows.generators @ z.T + rows.radius[:, :, None] >= 0).all(axis=1)
    points = cells.centre[:, :, None] + cells.generators @ z[:, :4].T
    low, high = (end[:, :, None] for end in found.range)
    kept = ((points >= low - 1e-12) & (points <= high + 1e-12)).all(axis=1)
    assert kept[meets].all()
    assert not kept.all()


@pytest.mark.parametrize("slab", [np.inf, 0.7])
def test_regrouped_cells_hold_all_that_the_cells_held(slab):
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((3, 3))
    coordinates = Coordinates(rows, np.linalg.inv(rows), np.ones(3), slab, ((1, 0.3),)).after(5)
    earned = rng.standard_normal((40, 1))
    cells = AffineForms(
        np.concatenate([2.0 * rng.standard_normal((40, 3)), earned], axis=1),
        np.concatenate([0.1 * rng.standard_normal((40, 3, 5)), np.zeros((40, 1, 5))], axis=1),
        np.zeros((40, 4)),
    )
    found = regrouped(cells, coordinates, 10, 2)
    assert len(found.centre) <= 10
    low, high = (
        AffineForms(found.centre[:, :3], found.generators[:, :3], found.radius[:, :3]).image(coordinates.rows).range
    )
    for z in rng.choice([-1.0, 1.0, 0.3], (200, 5)):
        values = (cells.centre[:, :3] + cells.generators[:, :3] @ z) @ coordinates.rows.T
        holds = ((values[:, None] >= low - 1e-12) & (values[:, None] <= high + 1e-12)).all(axis=-1)
        least = found.range[0][:, 3]
        assert (holds & (least <= earned)).any(axis=1).all()


def test_environments_that_cannot_be_are_refused_in_words():
    for fields, words in (
        ({"dynamics": ["x1 + y"]}, "'y'"),
        ({"dynamics": []}, "number of states"),
        ({"reward": "x2"}, "'x2'"),
        ({"actions": [[1.0, 2.0]]}, "table of actions"),
        ({"angles": [1]}, "angle"),
        ({"jump": ("x1", ["x1", "x1"])}, "jump"),
        ({"limit": 0}, "limit"),
    ):
        with pytest.raises(av.InputError, match=words):
            av.KnownEnvironment(**{"name": "own", "dynamics": ["x1 + u1"], "reward": "x1", **fields})


def test_regrouping_loses_no_single_points():
    points = np.repeat(np.array([-1.0, 0.0, 1.0, 0.0]), 3)[:, None] * np.array([1.0, 1.0, 0.0])
    cells = AffineForms(points, np.zeros((12, 3, 1)), np.zeros((12, 3)))
    for slab in (np.inf, 0.5):
        found = regrouped(cells, Coordinates(np.eye(2), np.eye(2), np.ones(2), slab), 5, 1)
        low, high = (end[None, :, :2] for end in found.range)
        inside = (low <= points[:, None, :2]) & (points[:, None, :2] <= high)
        assert inside.all(axis=-1).any(axis=1).all()
        assert len(found.centre) >= 3


@pytest.mark.parametrize("start", [1e6, 1e3, 100.0])
def test_sets_hold_angles_that_float64_computes_many_turns_away(start):
    environment = av.KnownEnvironment(
        "turning", ["x1 + 0.01 + 0 * u1"], "cos(x1)", observation=["cos(x1)"], angles=[0], least_reward=-1.0
    )
    law = network_from_layers([np.zeros((1, 1))], [np.zeros(1)])
    policy = av.Policy(law, av.ContinuousActions(np.array([-np.inf]), np.array([np.inf])))
    found = av.certified_return(policy, environment, [start], 0.0, 60)
    state, earned = np.array([[start]]), Fraction(0)
    with mpmath.workprec(200):
        for low, high in zip(*(end[1:, 0] for end in found.hull), strict=True):
            earned += Fraction(float(environment.earned(state, np.zeros((1, 1)))[0]))
            state = environment.simulated(state, np.zeros((1, 1)))
            turns = mpmath.nint((mpmath.mpf(state[0, 0]) - (low + high) / 2) / (2 * mpmath.pi))
            assert low <= mpmath.mpf(state[0, 0]) - 2 * mpmath.pi * turns <= high
    assert Fraction(found.lower) <= earned <= Fraction(found.lower) + Fraction(1e-5)
