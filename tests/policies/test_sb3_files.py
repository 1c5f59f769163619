"""The shared files of stable-baselines3, against the training library itself."""

from pathlib import Path

import numpy as np
import pytest

import admm_verify as av
from tests.policies.sb3_oracle import policy_of_file, statistics_of_file
from tests.shared import SHARED, needs_shared

FOLDER = SHARED / "data" / "rl" / "sb3"
NAMES = (
    "a2c-CartPole-v1",
    "a2c-Pendulum-v1",
    "ars-CartPole-v1",
    "dqn-CartPole-v1",
    "ppo-Acrobot-v1",
    "ppo-BipedalWalker-v3",
    "ppo-CartPole-v1",
    "ppo-LunarLander-v2",
    "ppo-MountainCar-v0",
    "ppo-Pendulum-v1",
    "sac-Pendulum-v1",
    "trpo-CartPole-v1",
)


def file_of(name: str) -> Path:
    return FOLDER / name / f"{name.partition('-')[2]}.zip"


def drawn(policy: av.Policy, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """1000 observations in float32, and what VecNormalize makes of them."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1000, policy.network.input_size)) * 2
    normalised = path.with_name("vecnormalize.pkl")
    if not normalised.exists():
        return x.astype(np.float32), x.astype(np.float32)
    statistics = statistics_of_file(normalised)
    x = (x * np.sqrt(statistics.obs_rms.var) + statistics.obs_rms.mean).astype(np.float32)
    return x, statistics.normalize_obs(x)


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_actions_are_those_of_the_training_library(name):
    path = file_of(name)
    policy, theirs = av.read_policy(path), policy_of_file(path)
    x, seen = drawn(policy, path)
    assert (policy.scale is not None) == path.with_name("vecnormalize.pkl").exists()
    wanted, _ = theirs.predict(seen, deterministic=True)
    if policy.is_discrete:
        assert np.array_equal(policy(x), wanted)
    else:
        assert np.abs(policy(x) - wanted).max() <= 1e-6
        # The network that is bounded rounds in another order, by which theirs differs from itself between batches.
        ends = policy.actions
        assert np.abs(policy.network(x) - wanted).max() <= 2e-6 * np.max(ends.high - ends.low)


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize("name", [name for name in NAMES if (FOLDER / name / "vecnormalize.pkl").exists()])
def test_normalisation_is_folded_as_the_training_library_computes_it(name):
    path = file_of(name)
    whole, bare = av.read_policy(path), av.read_policy(path, normalisation=False)
    x, _ = drawn(whole, path)
    statistics = statistics_of_file(path.with_name("vecnormalize.pkl"))
    exact = np.clip(
        (x.astype(np.float64) - statistics.obs_rms.mean) / np.sqrt(statistics.obs_rms.var + statistics.epsilon),
        -statistics.clip_obs,
        statistics.clip_obs,
    )
    difference = whole.network(x.astype(np.float64)) - bare.network(exact)
    assert np.abs(difference).max() <= 1e-12 * np.abs(bare.network(exact)).max()
