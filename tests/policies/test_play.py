"""Returns with and without attacks: points inside the balls, numbers that are known, and what time leaves."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.policies.evaluate_settings import ATTACKS
from admm_verify.policies.play.attacks import disturbance
from admm_verify.policies.play.disturbance import Bias, Moment
from admm_verify.policies.play.environments import EnvironmentSource
from admm_verify.policies.play.episodes import Episodes, Lane, Playing, Visited
from admm_verify.policies.play.perturbations import Perturbations
from tests.policies.test_certify_policy import certify_policy, policy as random_policy
from tests.policies.worlds import UPRIGHT, Corridor, Slider, Trap, chooser, steering

gymnasium = pytest.importorskip("gymnasium")

EXACT = {
    "linf": lambda shares: max(abs(share) for share in shares) <= 1,
    "l2": lambda shares: sum(share * share for share in shares) <= 1,
    "l1": lambda shares: sum(abs(share) for share in shares) <= 1,
}


class Still:
    """Never moves; three numbers are observed."""

    def __init__(self, observation):
        self.observation = observation

    def reset(self, seed=None):
        return self.observation, {}

    def step(self, action):
        return self.observation, 0.0, False, False, {}


@pytest.mark.parametrize("norm", list(EXACT))
@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("within", [None, (-0.7, 0.7)])
def test_attacks_stay_in_the_ball_and_the_range_exactly(name, norm, within):
    rng = np.random.default_rng(3)
    given = random_policy(1)
    observations = rng.uniform(-0.69, 0.69, (6, 3)).astype(np.float32)
    reach = np.array([[0.3, 0.1, 0.2], [1e-3, 0.7, 0.1]])
    low, high = within or (-np.inf, np.inf)
    balls = Perturbations(norm, reach, np.full(3, low), np.full(3, high))
    source = EnvironmentSource.of(Still(observations[0]), given)
    attack = disturbance(name, 3, av.EvaluateSettings())
    rows, variants = np.array([0, 1] * 3), rng.integers(0, attack.variants, 6)
    near = balls.near(observations, rows)
    environments = [Still(one) for one in observations]
    points = near.inside(attack(Moment(given, near, variants, rng, source, environments)))
    assert points.dtype == np.float32 and (points != observations).any()
    for point, observation, row in zip(points, observations, rows, strict=True):
        pairs = zip(point.tolist(), observation.tolist(), reach[row].tolist(), strict=True)
        shares = [(Fraction(p) - Fraction(x)) / Fraction(r) for p, x, r in pairs]
        assert EXACT[norm](shares)
        assert all(low <= p <= high for p in point.tolist())


def test_constant_errors_try_all_corners_or_pairs_of_them():
    few, many = Bias(3, 16, 0), Bias(40, 16, 0)
    assert len(np.unique(few.signs, axis=0)) == few.variants == 8
    assert many.variants == 16 and (many.signs[:8] == -many.signs[8:]).all()
    assert (np.abs(many.signs) == 1).all() and not (Bias(40, 16, 1).signs == many.signs).all()


@pytest.mark.parametrize("name", ["mad", "least", "other"])
def test_descents_find_what_certificates_leave_open_and_nothing_else(name):
    given = random_policy(2)
    near = np.random.default_rng(0).uniform(-0.6, 0.6, (60, 3)).astype(np.float32)
    radius = 0.1
    status = certify_policy(given, near, [radius]).status[:, 0]
    balls = Perturbations("linf", np.full((1, 3), radius), np.full(3, -np.inf), np.full(3, np.inf))
    around = balls.near(near, np.zeros(60, dtype=int))
    source = EnvironmentSource.of(Still(near[0]), given)
    attack = disturbance(name, 3, av.EvaluateSettings(descent=20))
    rng = np.random.default_rng(1)
    points = around.inside(attack(Moment(given, around, np.zeros(60, dtype=int), rng, source, [])))
    changed = given(points) != given(near)
    assert not changed[status == av.Answer.VERIFIED].any()
    assert changed[status == av.Answer.FALSIFIED].mean() >= {"mad": 0.3, "least": 0.3, "other": 0.9}[name]


@pytest.mark.parametrize(("name", "scores"), [("CartPole-v1", [[0.1, 0.2, -1, -0.9], [0, 0, 1, 1]])])
def test_returns_are_those_of_a_loop_of_our_own(name, scores):
    given = chooser(scores)
    settings = av.EvaluateSettings(episodes=4, attacks=(), seed=7, certified_episodes=0)
    found = av.evaluate_policy(given, name, [0.0], settings=settings)
    for e in range(4):
        environment = gymnasium.make(name)
        seen, _ = environment.reset(seed=7 + e)
        total, steps, over, cut = 0.0, 0, False, False
        while not (over or cut):
            seen, reward, over, cut, _ = environment.step(int(given(seen[None])[0]))
            total, steps = total + reward, steps + 1
        assert found.clean.returns[e] == total and found.clean.steps[e] == steps and found.clean.limited[e] == cut
        environment.close()


def test_pendulum_alike_under_every_attack_at_radius_zero():
    given = steering([[-8.0, -3.0, -1.0]], -2, 2)
    settings = av.EvaluateSettings(episodes=2, steps=30, ahead=3, descent=2, certified_episodes=0)
    found = av.evaluate_policy(given, "Pendulum-v1", [0.2, 0.0], settings=settings)
    assert found.attacks == ATTACKS and found.clean.limited.all() and (found.clean.steps == 30).all()
    assert (found.attacked.returns[:, 1] == found.clean.returns).all()
    assert (found.worst_found[0] < found.clean.returns).all()
    assert found.attacked_return[0] < found.attacked_return[1] == found.clean_return
    assert found.certified_ratio is None and "largest deviation: found, certified" in repr(found).splitlines()[1]
    # The slope of the policy times the noise, and limits 4 apart.
    low, high = found.certification.mad
    assert (low <= high).all() and 2.39 <= high[0] <= 2.4 * 1.06 and high[1] < 1e-6


def test_an_attack_ends_what_noise_does_not():
    # From |x| < 0.35 the policy turns back; seeing x off by up to 0.5 it may go on.
    found = av.evaluate_policy(UPRIGHT, Corridor(40), [0.9, 0.02, 0.4], settings=av.EvaluateSettings(episodes=6))
    assert (found.clean.returns == 40).all() and found.clean.limited.all()
    # However far off the eye is by 0.02 and 0.4, the walls are farther.
    assert (found.attacked.returns[:, 1] == 40).all() and (found.worst_found[1:] == 40).all()
    assert (found.worst_found[0] < 8).all()
    assert found.attacked_return.tolist() == [found.worst_found[0].mean(), 40, 40]
    least = found.attacks.index("least")
    assert not found.attacked.limited[least, 0].any()
    assert (found.attacked.steps[least, 0] == found.attacked.returns[least, 0]).all()
    assert 0 < found.certified_ratio[1] < 1 and found.certified_ratio[0] == 0.0


def test_greedy_play_looks_ahead():
    given = chooser([[0.01], [0.0]])
    settings = av.EvaluateSettings(episodes=1, attacks=("greedy",), ahead=8)
    found = av.evaluate_policy(given, Trap(), [2.0], settings=settings)
    assert found.clean_return == pytest.approx(12 * 0.9)
    # Into the trap at once, and then as little as there is.
    assert found.attacked_return[0] == pytest.approx(1.0 + 2 * 0.9, abs=1e-9)
    near = av.evaluate_policy(given, Trap(), [2.0], settings=replace(settings, ahead=1))
    assert near.attacked_return[0] == near.clean_return
    blind = chooser([[0.0], [0.0]], [0.001, 0.0])
    alone = av.evaluate_policy(blind, Trap(), [2.0], settings=settings)
    # Where no observation changes the action, there is nothing to choose.
    assert alone.attacked_return[0] == alone.clean_return


def test_greedy_play_of_continuous_actions():
    given = steering([[-0.5]], -0.6, 0.6)
    settings = av.EvaluateSettings(episodes=1, attacks=("random", "greedy"), ahead=2)
    found = av.evaluate_policy(given, Slider(), [0.3], settings=settings)
    # x settles at 0.3, where the eye is off by as much.
    assert found.attack_returns[1, 0] < found.attack_returns[0, 0] < found.clean_return
    assert found.attack_returns[1, 0] == pytest.approx(-sum((0.3 + 0.7 * 0.5**k) ** 2 for k in range(1, 11)), rel=1e-3)


def test_side_by_side_or_one_after_the_other(monkeypatch):
    settings = av.EvaluateSettings(episodes=5, attacks=("bias", "least"))
    together = av.evaluate_policy(UPRIGHT, Corridor(), [0.5], settings=settings)
    monkeypatch.setattr("admm_verify.policies.play.environments._TOGETHER", 1)
    alone = av.evaluate_policy(UPRIGHT, Corridor(), [0.5], settings=settings)
    assert (together.clean.returns == alone.clean.returns).all()
    assert (together.attacked.returns[0] == alone.attacked.returns[0]).all()


def test_what_is_finished_stays_when_somebody_says_stop():
    class Counting(Corridor):
        taken = 0

        def step(self, action):
            Counting.taken += 1
            return super().step(action)

    run = av.Run(stop=lambda: Counting.taken >= 300)
    settings = av.EvaluateSettings(episodes=40, attacks=("random",))
    found = av.evaluate_policy(UPRIGHT, Counting(), [0.1], settings=settings, run=run)
    assert found.ended is av.Ended.STOPPED and not found.clean.finished.any() and Counting.taken < 340
    assert found.certified_ratio is not None and np.isnan(found.attacked_return).all()
    assert "0 of 40 episodes" in repr(found) and "none" in repr(found)
    Counting.taken = -400
    found = av.evaluate_policy(UPRIGHT, Counting(), [0.1], settings=settings, run=run)
    assert found.clean.finished.sum() == 32 and found.clean_return == 20
    assert np.isnan(found.attacked_return[0]) and "32 of 40 episodes" in repr(found)
    Counting.taken = -1200
    found = av.evaluate_policy(UPRIGHT, Counting(), [0.1], settings=settings, run=run)
    assert found.clean.finished.all() and found.attacked.finished.sum() == 32
    assert found.attacked_return[0] == 20 and "20 (32 of 40)" in repr(found).splitlines()[3]


def test_a_share_of_the_time_that_was_too_short_is_told(monkeypatch):
    # Attacks have a part of the time, and the whole of it is not over where nothing comes behind them.
    monkeypatch.setattr("admm_verify.policies.evaluate._EvaluationRun._attacked", lambda self, name, run: nothing)
    nothing = Episodes(np.full((1, 3), np.nan), np.zeros((1, 3), dtype=int), np.zeros((1, 3), dtype=bool))
    settings = av.EvaluateSettings(episodes=3, attacks=("random",))
    found = av.evaluate_policy(UPRIGHT, Corridor(), [0.1], settings=settings, run=av.Run(timeout=100))
    assert found.ended is av.Ended.TIMED_OUT and np.isnan(found.attacked_return).all()


def test_no_time_at_all():
    found = av.evaluate_policy(UPRIGHT, Corridor(), [0.1], run=av.Run(timeout=0))
    assert found.ended is av.Ended.TIMED_OUT and not found.clean.finished.any() and found.certified_ratio is None
    assert "none" in repr(found)


def test_every_observation_has_the_same_chance_of_being_kept():
    counts = np.zeros(40)
    for seed in range(300):
        visited = Visited(10, seed)
        for k in range(8):
            visited.add(np.arange(5.0 * k, 5.0 * k + 5.0)[:, None])
        kept = visited.observations[:, 0].astype(int)
        assert len(set(kept)) == 10 and visited.met == 40
        counts[kept] += 1
    # Each is kept 75 times of 300, give or take 4.5 standard deviations of 7.5.
    assert np.abs(counts - 75).max() < 34
    few = Visited(10, 0)
    few.add(np.zeros((3, 2)))
    assert few.observations.shape == (3, 2)


def test_radii_of_features_that_are_nowhere_larger_count_for_larger_ones():
    settings = av.EvaluateSettings(episodes=2, attacks=("least",))
    given = steering([[-0.5, 0.0]], -2, 2)

    class Two(Slider):
        def reset(self, seed=None):
            return np.array([super().reset()[0][0], 0.0], dtype=np.float32), {}

        def step(self, action):
            seen, *more = super().step(action)
            return np.array([seen[0], 0.0], dtype=np.float32), *more

    found = av.evaluate_policy(given, Two(), [[0.3, 0.0], [0.0, 0.4], [0.3, 0.5]], settings=settings)
    # The second feature moves nothing.
    assert (found.worst_found[0] < found.clean.returns).all()
    assert (found.worst_found[1] == found.clean.returns).all()
    assert (found.worst_found[2] <= found.worst_found[0]).all()


def test_observations_outside_the_range_are_refused():
    settings = av.EvaluateSettings(certifying=av.PolicySettings(within=(-0.5, 0.5)))
    with pytest.raises(av.InputError, match="outside the range"):
        av.evaluate_policy(UPRIGHT, Corridor(), [0.1], settings=settings)


def test_normalised_units_are_standard_deviations():
    scale = av.ObservationScale(np.zeros(2), np.array([0.5, 0.25]), np.inf)
    given = av.Policy(UPRIGHT.network, UPRIGHT.actions, scale)
    settings = av.EvaluateSettings(episodes=2, certifying=av.PolicySettings(units="normalised"))
    found = av.evaluate_policy(given, Corridor(), [0.2], settings=settings)
    assert found.certification.reach.tolist() == [[0.1, 0.05]] and "standard deviations" in repr(found)
    raw = av.EvaluateSettings(episodes=2)
    twin = av.evaluate_policy(given, Corridor(), [[0.1, 0.05]], settings=raw)
    assert (twin.attacked.returns == found.attacked.returns).all()


def test_lanes_of_one_play_know_their_radius():
    source = EnvironmentSource.of(Corridor(), UPRIGHT)
    reach = np.array([[0.0, 0.0], [1.5, 3.0]])
    playing = Playing(UPRIGHT, source, Perturbations("linf", reach, np.full(2, -np.inf), np.full(2, np.inf)), 20, 0)
    attack = disturbance("least", 2, av.EvaluateSettings())
    found = playing.play([Lane(0, 0), Lane(0, 1), Lane(0, 0)], attack, av.Run())
    assert found.returns[0] == found.returns[2] == 20 > found.returns[1]
