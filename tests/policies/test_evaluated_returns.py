"""Certified returns beside those that attacks find: never above, and only where the dynamics are known for certain."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.commands.policy import example
from admm_verify.policies.play.environments import EnvironmentSource
from admm_verify.policies.shipped_returns import is_shipped
from tests.policies.worlds import UPRIGHT, Corridor, chooser, steering

gymnasium = pytest.importorskip("gymnasium")

SWINGING = steering([[-0.3, -0.8, -0.1]], -2, 2)
CASES = [
    ("CartPole-v1", example()[0], 15, [0.0, 0.002, 0.3]),
    ("CartPole-v1", chooser([[0, 0, -1.0, -1.0], [0, 0, 1.0, 1.0]]), 25, [0.1, 0.01]),
    ("Pendulum-v1", SWINGING, 6, [0.05, 0.01]),
    ("MountainCar-v0", chooser([[0, -10.0], [0, 0], [0, 10.0]]), 8, [0.001]),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_no_attack_finds_less_than_what_is_certified(case):
    name, policy, steps, radii = CASES[case]
    settings = av.EvaluateSettings(
        episodes=3, steps=steps, states=5, certified_episodes=2, return_seconds=None, descent=4, ahead=4
    )
    found = av.evaluate_policy(policy, name, radii, settings=settings)
    known = ~np.isnan(found.certified)
    assert known[:, :2].any() and not known[:, 2].any()
    assert (found.certified[known] <= found.worst_found[known]).all()
    # What holds at a radius holds at smaller ones.
    order = np.argsort(radii)
    means = found.certified_return[order]
    assert (np.diff(means[~np.isnan(means)]) <= 0).all()
    assert " (2 of 3)" in repr(found).splitlines()[3]
    assert found.certified_return[0] == found.certified[0, :2].mean()


def test_a_certificate_of_the_whole_return():
    settings = av.EvaluateSettings(episodes=1, steps=25, states=5, attacks=("least",))
    found = av.evaluate_policy(example()[0], "CartPole-v1", [0.002], settings=settings)
    assert found.certified_return.tolist() == [25.0] and found.clean_return == 25.0


def test_noise_of_other_norms_lies_in_boxes():
    noise = av.PolicySettings(norm="l2")
    settings = av.EvaluateSettings(episodes=1, steps=10, states=5, attacks=("least",), certifying=noise)
    found = av.evaluate_policy(example()[0], "CartPole-v1", [0.002], settings=settings)
    assert found.norm == "l2" and found.certified_return.tolist() == [10.0]


@pytest.mark.parametrize(
    "given",
    [
        lambda: gymnasium.make("CartPole-v1"),
        lambda: gymnasium.make("CartPole-v1", sutton_barto_reward=True),
        gymnasium.make("CartPole-v1"),
        Corridor(),
    ],
    ids=range(4),
)
def test_what_may_be_another_environment_has_no_certified_return(given):
    policy = UPRIGHT if isinstance(given, Corridor) else example()[0]
    assert not is_shipped(EnvironmentSource.of(given, policy))
    settings = av.EvaluateSettings(episodes=1, steps=5, states=2, attacks=())
    found = av.evaluate_policy(policy, given, [0.1], settings=settings)
    assert np.isnan(found.certified_return).all() and "No return is certified" in found.notes[-1]
    assert repr(found).splitlines()[3].split()[-1] == "none"


def test_environments_that_were_registered_anew_are_others(monkeypatch):
    assert is_shipped(EnvironmentSource.of("CartPole-v1", example()[0]))
    for name, value in (("kwargs", {"sutton_barto_reward": True}), ("max_episode_steps", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(gymnasium.registry["CartPole-v1"], name, value)
            assert not is_shipped(EnvironmentSource.of("CartPole-v1", example()[0]))


def test_no_returns_where_none_are_asked_for():
    settings = av.EvaluateSettings(episodes=1, steps=5, states=2, attacks=(), certified_episodes=0)
    found = av.evaluate_policy(example()[0], "CartPole-v1", [0.1], settings=settings)
    assert np.isnan(found.certified).all() and found.notes == ()
