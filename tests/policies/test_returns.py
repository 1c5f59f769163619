"""`certified_return`: every noisy trajectory lies in the sets and earns what is certified, without any tolerance."""

from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.intervals import Interval
from admm_verify.network.layers import network_from_layers
from admm_verify.policies.returns.regrouping import _BoxGroup, _slabs, coordinates_for
from admm_verify.policies.returns.return_sets import SetLimits, reached_states, start_cells
from admm_verify.run import Ended
from tests.policies.known_policies import balancing, played, swinging, upright
from tests.shared import SHARED, needs_shared

SMALL = SetLimits(cells=24, groups=12, slabs=4, symbols=8, share=0.25)
CASES = {
    "cartpole": (av.cartpole(), balancing(), np.zeros(4), 0.0, 0.002, 50),
    "cartpole, hidden layer": (av.cartpole(), balancing(True), np.zeros(4), 0.002, 0.005, 30),
    "cartpole, falling": (av.cartpole(), balancing(), np.array([0.1, 1.0, -0.1, 0.3]), 0.002, 0.05, 40),
    "mountain car": (av.mountain_car(), swinging(), np.array([0.1, 0.05]), 0.01, 0.001, 40),
    "mountain car, wall": (av.mountain_car(), swinging(), np.array([-1.1, -0.05]), 0.01, 0.0002, 40),
    "pendulum": (av.pendulum(), upright(), np.array([0.1, 0.0]), 0.02, 0.01, 30),
    "pendulum, below": (av.pendulum(), upright(), np.array([3.1, 0.4]), 0.001, 0.002, 25),
}
CERTIFIED = {
    "cartpole": 50.0,
    "cartpole, hidden layer": 30.0,
    "cartpole, falling": 5.0,
    "mountain car": -13.0,
    "mountain car, wall": -40.0,
    "pendulum": -2.5,
    "pendulum, below": -300.0,
}
"""What is certified at least."""


def rows_for(size, coordinates, step):
    """Directions in which points have to be in the range of a set: axes, coordinates, and others."""
    others = np.random.default_rng(step).standard_normal((6, size))
    return np.concatenate([np.eye(size), coordinates.after(step).rows, others])


def inside(points, cells, rows):
    """Which points lie between all parallel planes around some of the cells, [points]."""
    states = points.shape[1]
    state = AffineForms(cells.centre[:, :states], cells.generators[:, :states], cells.radius[:, :states])
    low, high = state.image(rows).range
    found = np.zeros(len(points), dtype=bool)
    for i in range(len(low)):
        values = points @ rows.T
        # Products with rows are rounded, which the ranges know nothing of.
        slack = 16 * 2.0**-53 * (np.abs(points) @ np.abs(rows).T)
        slack[:, :states] = 0.0
        found |= ((values >= low[i] - slack) & (values <= high[i] + slack)).all(axis=1)
    return found


@pytest.mark.parametrize("name", CASES)
def test_noisy_trajectories_lie_in_the_sets_and_earn_what_is_certified(name):
    environment, policy, middle, width, radius, steps = CASES[name]
    start, reach = (middle - width, middle + width), np.full(environment.seen_numbers, radius)
    first = start_cells(start, environment, 1)
    with quiet_overflow():
        coordinates = coordinates_for(policy, environment, first, reach)
        walks = reached_states(policy, environment, first, reach, SMALL, coordinates)
        walk = [one for one, _ in zip(walks, range(steps + 1), strict=False) if not one.lost]
    points = np.random.default_rng(5).uniform(start[0], start[1], (600, len(middle)))
    states, going, _ = played(policy, environment, points, reach, len(walk) - 1, 6)
    for now, state, on in zip(walk, states, going, strict=False):
        turned = state[on].copy()
        for i in environment.angles:
            turned[:, i] = near(turned[:, i], now.cells)
        if len(turned):
            assert inside(turned, now.cells, rows_for(len(middle), coordinates, now.step)).all()
    assert len(walk) > 5


def near(angles, cells):
    """Angles with the whole turns that the sets have."""
    turns = np.round((angles[:, None] - cells.centre[None, :, 0]) / (2.0 * np.pi))
    return angles - 2.0 * np.pi * turns[:, 0]


@pytest.mark.parametrize("name", CASES)
def test_no_noise_earns_less(name):
    environment, policy, middle, width, radius, steps = CASES[name]
    start = (middle - width, middle + width)
    settings = av.ReturnSettings(cells=24, rounds=1, slabs=4, starts=4)
    found = av.certified_return(policy, environment, start, radius, steps, settings=settings)
    points = np.random.default_rng(7).uniform(start[0], start[1], (600, len(middle)))
    reach = np.full(environment.seen_numbers, radius)
    _, _, earned = played(policy, environment, points, reach, steps, 8)
    assert found.lower <= earned.min()
    assert found.lower >= CERTIFIED[name]


def test_without_noise_a_state_earns_what_it_earns():
    for start in ([0.1, 1.0, -0.1, 0.3], [0.0, 0.3, 0.05, 0.2]):
        state = np.array([start])
        _, _, earned = played(balancing(), av.cartpole(), state, np.zeros(4), 60, 0)
        found = av.certified_return(balancing(), "CartPole-v1", start, 0.0, 60)
        assert found.lower == earned[0]
        assert found.ended is Ended.COMPLETE
        assert found.survived == found.steps == earned[0]
        assert (found.cells == 1).all() or earned[0] < 60


def test_more_noise_and_more_starts_never_certify_more():
    given = av.cartpole(), np.array([0.0, 0.6, 0.02, 0.1])
    settings = av.ReturnSettings(cells=48, rounds=0, starts=16)
    lower = [
        av.certified_return(
            balancing(), given[0], (given[1] - width, given[1] + width), radius, 30, settings=settings
        ).lower
        for radius, width in ((0.0, 0.0), (0.01, 0.0), (0.1, 0.0), (0.1, 0.05), (1.0, 0.5))
    ]
    assert lower == sorted(lower, reverse=True)
    assert lower[-1] < lower[0]


def test_networks_can_be_the_dynamics():
    texts = av.KnownEnvironment("texts", ["x1 + 0.1 * x2", "0.9 * x2 + 0.2 * u1"], "-(x1**2)", least_reward=-100)
    matrix = np.array([[1.0, 0.1, 0.0], [0.0, 0.9, 0.2]])
    step = network_from_layers([matrix], [np.zeros(2)])
    networks = av.KnownEnvironment("network", step, "-(x1**2)", least_reward=-100)
    law = network_from_layers([np.array([[-1.0, -1.0]])], [np.zeros(1)])
    policy = av.Policy(law, av.ContinuousActions(np.array([-np.inf]), np.array([np.inf])))
    found = [av.certified_return(policy, one, [1.0, 0.0], 0.01, 30) for one in (texts, networks)]
    assert found[0].lower == pytest.approx(found[1].lower, rel=1e-9)
    np.testing.assert_allclose(found[0].hull, found[1].hull, rtol=1e-9, atol=1e-12)
    reach = np.full(2, 0.01)
    _, _, earned = played(policy, networks, np.tile([1.0, 0.0], (200, 1)), reach, 30, 3)
    assert found[1].lower <= earned.min()
    assert found[1].lower > 1.2 * earned.min()


def test_what_is_known_counts_when_the_time_is_up():
    found = av.certified_return(balancing(), "CartPole-v1", np.zeros(4), 0.001, run=av.Run(timeout=0.0))
    assert (found.lower, found.steps, found.horizon, found.ended) == (0.0, 0, 500, Ended.TIMED_OUT)
    asked = []
    run = av.Run(stop=lambda: len(asked) >= 12, tell=asked.append)
    found = av.certified_return(balancing(), "CartPole-v1", np.zeros(4), 0.001, run=run)
    assert (found.lower, found.steps, found.ended) == (12.0, 12, Ended.STOPPED)
    found = av.certified_return(upright(), "Pendulum-v1", [0.1, 0.0], 0.001, 10, run=av.Run(timeout=0.0))
    assert -16.2736046 * 10 <= found.lower <= -16.2736045 * 10


def test_dynamics_that_are_not_defined_everywhere_end_the_walk():
    pole = av.KnownEnvironment("pole", ["x1 - 0.2 + 0.0 * u1 / x1"], "max(1 + x1, 0)", least_reward=0.0)
    law = network_from_layers([np.array([[0.0]])], [np.zeros(1)])
    policy = av.Policy(law, av.ContinuousActions(np.array([-1.0]), np.array([1.0])))
    found = av.certified_return(policy, pole, ([0.55], [0.65]), 0.01, 10)
    assert found.steps < 4
    assert found.ended is Ended.TOO_LOOSE
    assert 1.55 <= found.lower <= 1.55 + 1.35 + 1.15


@needs_shared
@pytest.mark.data
def test_a_trained_policy_survives():
    policy = av.read_policy(SHARED / "data/rl/ppo_cartpole/policy.npz")
    settings = av.ReturnSettings(cells=64, rounds=0)
    found = av.certified_return(policy, "CartPole-v1", np.zeros(4), 0.001, 60, settings=settings)
    assert found.lower == 60.0
    _, _, earned = played(policy, av.cartpole(), np.zeros((40, 4)), np.full(4, 0.001), 60, 9)
    assert earned.min() == 60.0


def test_what_does_not_fit_is_refused_in_words():
    policy = balancing()
    for arguments, words in (
        ((policy, "CartPole-v2", np.zeros(4), 0.1), "CartPole-v2"),
        ((policy, "Pendulum-v1", np.zeros(2), 0.1), "shows 3"),
        ((upright(), "CartPole-v1", np.zeros(4), 0.1), "shows 4"),
        ((policy, "CartPole-v1", np.zeros(3), 0.1), "one state of 4 numbers"),
        ((policy, "CartPole-v1", (np.ones(4), np.zeros(4)), 0.1), "pair"),
        ((policy, "CartPole-v1", np.full(4, np.nan), 0.1), "NaN"),
        ((policy, "CartPole-v1", np.zeros(4), -0.1), "negative"),
        ((policy, "CartPole-v1", np.zeros(4), 0.1, 0), "number of steps"),
        ((policy.network, "CartPole-v1", np.zeros(4), 0.1), "read_policy"),
    ):
        with pytest.raises(av.InputError, match=words):
            av.certified_return(*arguments)
    endless = av.KnownEnvironment("endless", ["x1 + u1"], "1", actions=[[0.0], [1.0]])
    two, one = (
        av.Policy(network_from_layers([np.ones((count, 1))], [np.zeros(count)]), av.DiscreteActions(count))
        for count in (2, 3)
    )
    with pytest.raises(av.InputError, match="no limit of steps"):
        av.certified_return(two, endless, [0.0], 0.1)
    with pytest.raises(av.InputError, match="3 outputs, and endless takes 2"):
        av.certified_return(one, endless, [0.0], 0.1, 5)


@pytest.mark.parametrize("actions", [False, True])
def test_boxes_of_starts_are_certified(actions):
    environment, policy, middle, width = (
        (av.cartpole(), balancing(), np.zeros(4), 0.02) if actions else (av.pendulum(), upright(), np.zeros(2), 0.2)
    )
    start, reach = (middle - width, middle + width), np.full(environment.seen_numbers, 0.001)
    settings = av.ReturnSettings(cells=100, rounds=0)
    found = av.certified_return(policy, environment, start, 0.001, 12, settings=settings)
    points = np.random.default_rng(1).choice([-1.0, 1.0, 0.5], (500, len(middle))) * width + middle
    _, _, earned = played(policy, environment, points, reach, 12, 2)
    assert found.lower <= earned.min()
    assert found.lower >= (12.0 if actions else 2.0 * earned.min())
    assert found.cells[1:].max() <= 200


def choosing(size, actions=2):
    """A policy of linear scores."""
    weight = np.random.default_rng(0).standard_normal((actions, size))
    return av.Policy(network_from_layers([weight], [np.zeros(actions)]), av.DiscreteActions(actions))


BROKEN = {
    "blows up": (["x1**4 + u1", "x2 * x1 + u1"], [3.0, 0.0]),
    "not defined": (["sqrt(x1) - u1", "x2 / x1 + u1"], [-1.0, 0.0]),
    "huge starts": (["x1 + u1", "x2 - u1"], (np.full(2, -1e308), np.full(2, 1e308))),
}


@pytest.mark.parametrize("name", BROKEN)
def test_dynamics_that_leave_the_numbers_are_certified_as_far_as_they_are_known(name):
    texts, start = BROKEN[name]
    environment = av.KnownEnvironment(name, texts, "x1 * 0 - 2", actions=[[-0.1], [0.1]], least_reward=-3.0)
    found = av.certified_return(choosing(2), environment, start, 0.1, 20)
    assert found.lower == pytest.approx(-2.0 * found.steps - 3.0 * (20 - found.steps), rel=1e-6)
    assert found.ended is Ended.TOO_LOOSE and found.steps < 20


def test_a_least_reward_that_does_not_hold_is_refused():
    with pytest.raises(av.InputError, match="finite"):
        av.KnownEnvironment("endless", ["x1"], "x1", least_reward=np.inf)
    with pytest.raises(av.InputError, match="one earns -1"):
        av.KnownEnvironment("wrong", ["x1"], "-1", least_reward=2)
    falling = av.KnownEnvironment("falling", ["x1 - 1"], "x1 + 0 * u1", actions=[[0.0], [1.0]], least_reward=-3.0)
    assert av.certified_return(choosing(1), falling, [0.0], 0.1, 4).lower == pytest.approx(-6.0)
    with pytest.raises(av.InputError, match="one earns -4"):
        av.certified_return(choosing(1), falling, [0.0], 0.1, 5)


def test_a_constant_reward_is_its_own_least_and_sums_are_exact():
    still = av.KnownEnvironment("still", ["x1"], "0.1", actions=[[0.0], [1.0]])
    found = av.certified_return(choosing(1), still, [0.0], 0.1, 10**6, run=av.Run(timeout=0.0))
    assert found.steps < 10**6
    assert np.nextafter(1e5, 0.0) <= found.lower <= 1e5
    # What is earned nearly cancels what is left, whose product float64 rounds.
    least, earned = -19.184626873669725, 57.553880621009164
    down = av.KnownEnvironment("down", ["0 * x1"], "x1", actions=[[0.0], [1.0]], least_reward=least)
    found = av.certified_return(choosing(1), down, [earned], 0.1, 4, run=av.Run(stop=Second()))
    assert found.steps == 1
    assert Fraction(found.lower) <= Fraction(earned) + 3 * Fraction(least)


class Second:
    """Yes from the second question on."""

    def __init__(self):
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.asked > 1


def test_neighbouring_numbers_and_infinite_boxes_are_not_halved():
    one, next = 1.0, np.nextafter(1.0, 2.0)
    for low, high in ((one, next), (next, np.nextafter(next, 2.0)), (-np.inf, np.inf), (1e308, np.inf)):
        with quiet_overflow():
            group = _BoxGroup(np.array([[low]] * 2), np.array([[high]] * 2), np.arange(2), np.ones(1))
        assert not group.widest > 0
    huge = Interval(np.array([[9.2233720368547e18]]), np.array([[9.3e18]]))
    low, high, origin, labels = _slabs(huge, 1.0, 2**60)
    assert (low[0, 0], high[-1, 0], len(origin), len(labels)) == (huge.lower[0, 0], huge.upper[0, 0], 1, 1)
