"""Models of every algorithm, made and saved by the training library, against its own deterministic predict."""

import io
import pickle
import zipfile

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import admm_verify as av
from tests.policies.sb3_oracle import library

BOX = spaces.Box(-np.ones(3, np.float32), np.ones(3, np.float32))
LIMITS = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 5.0], np.float32))
DISCRETE = spaces.Discrete(3)
BYTES = spaces.Box(0, 255, (36, 40, 3), np.uint8)


class Idle(gymnasium.Env):
    """An environment of two spaces, in which nothing happens."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}


def model_of(package, algorithm, actions, observations=BOX, policy="MlpPolicy", options=None, sde=False):
    """An untrained model whose parameters are all drawn, so that none is zero or one by default."""
    torch = library("torch")
    off = algorithm in ("DQN", "QRDQN", "SAC", "TQC", "TD3", "DDPG", "CrossQ")
    more = {"buffer_size": 10} if off else {"seed": 1}
    more |= {"use_sde": True} if sde else {}
    make = getattr(library(package), algorithm)
    model = make(policy, Idle(observations, actions), policy_kwargs=options or {}, device="cpu", **more)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in model.policy.state_dict().items():
            if value.is_floating_point():
                spread = 0.2 / value.shape[1] ** 0.5 if value.ndim == 4 else 1.0 / max(1, value.shape[-1]) ** 0.5
                drawn = torch.randn(value.shape, generator=generator) * (spread if "weight" in name else 0.3)
                value.copy_(drawn.abs() + 0.5 if "var" in name else drawn)
    return model


SB3, CONTRIB = "stable_baselines3", "sb3_contrib"

CASES = {
    "ppo discrete": (SB3, "PPO", DISCRETE, {}),
    "ppo limits": (SB3, "PPO", LIMITS, {}),
    "ppo sde": (SB3, "PPO", LIMITS, {"sde": True}),
    "ppo sde squashed": (SB3, "PPO", LIMITS, {"sde": True, "options": {"squash_output": True}}),
    "ppo own layers": (SB3, "PPO", DISCRETE, {"options": {"net_arch": {"pi": [8, 7, 6], "vf": [5]}}}),
    "ppo no hidden layers": (SB3, "PPO", DISCRETE, {"options": {"net_arch": []}}),
    "a2c": (SB3, "A2C", LIMITS, {}),
    "dqn": (SB3, "DQN", DISCRETE, {}),
    "dqn own layers": (SB3, "DQN", DISCRETE, {"options": {"net_arch": [9]}}),
    "sac": (SB3, "SAC", LIMITS, {"options": {"net_arch": [16, 16]}}),
    "sac sde": (SB3, "SAC", LIMITS, {"options": {"net_arch": [16]}, "sde": True}),
    "sac sde narrow": (SB3, "SAC", LIMITS, {"options": {"net_arch": [16], "clip_mean": 0.5}, "sde": True}),
    "sac sde unclipped": (SB3, "SAC", LIMITS, {"options": {"net_arch": [16], "clip_mean": 0.0}, "sde": True}),
    "sac no hidden layers": (SB3, "SAC", LIMITS, {"options": {"net_arch": {"pi": [], "qf": [8]}}}),
    "sac three critics": (SB3, "SAC", LIMITS, {"options": {"net_arch": {"pi": [8], "qf": [4]}, "n_critics": 3}}),
    "td3": (SB3, "TD3", LIMITS, {"options": {"net_arch": [12, 11]}}),
    "ddpg": (SB3, "DDPG", LIMITS, {"options": {"net_arch": [12]}}),
    "td3 no hidden layers": (SB3, "TD3", LIMITS, {"options": {"net_arch": {"pi": [], "qf": [8]}}}),
    "trpo": (CONTRIB, "TRPO", DISCRETE, {}),
    "maskable ppo": (CONTRIB, "MaskablePPO", DISCRETE, {}),
    "ars": (CONTRIB, "ARS", DISCRETE, {}),
    "ars limits": (CONTRIB, "ARS", LIMITS, {}),
    "ars clipped": (CONTRIB, "ARS", LIMITS, {"options": {"squash_output": False}}),
    "ars linear": (CONTRIB, "ARS", LIMITS, {"policy": "LinearPolicy"}),
    "ars linear with bias": (CONTRIB, "ARS", DISCRETE, {"policy": "LinearPolicy", "options": {"with_bias": True}}),
    "ars linear squashed": (CONTRIB, "ARS", LIMITS, {"policy": "LinearPolicy", "options": {"squash_output": True}}),
    "qrdqn": (CONTRIB, "QRDQN", DISCRETE, {"options": {"n_quantiles": 7}}),
    "tqc": (CONTRIB, "TQC", LIMITS, {"options": {"net_arch": [16], "n_critics": 3}}),
    "tqc sde": (CONTRIB, "TQC", LIMITS, {"options": {"net_arch": [16]}, "sde": True}),
    "crossq": (CONTRIB, "CrossQ", LIMITS, {"options": {"net_arch": {"pi": [8, 8], "qf": [8]}}}),
    "crossq epsilon": (CONTRIB, "CrossQ", LIMITS, {"options": {"net_arch": [8], "batch_norm_eps": 0.3}}),
    "crossq without": (CONTRIB, "CrossQ", LIMITS, {"options": {"net_arch": [8], "batch_norm": False}}),
    "table of numbers": (SB3, "PPO", DISCRETE, {"observations": spaces.Box(-1, 1, (2, 3), np.float32)}),
    "bits": (SB3, "PPO", DISCRETE, {"observations": spaces.MultiBinary(9)}),
    "one number": (SB3, "PPO", DISCRETE, {"observations": spaces.Box(-1, 1, (1,), np.float32)}),
    "many limits": (SB3, "PPO", spaces.Box(np.linspace(-1, -0.1, 30).astype(np.float32), np.float32(0.3), (30,)), {}),
    "memory of an Atari": (SB3, "PPO", DISCRETE, {"observations": spaces.Box(0, 255, (128,), np.uint8)}),
    "flat image": (SB3, "PPO", DISCRETE, {"observations": BYTES}),
}


def draws(space, count):
    rng = np.random.default_rng(8)
    if isinstance(space, spaces.MultiBinary):
        return rng.integers(0, 2, (count, *space.shape)).astype(np.int8)
    if space.dtype == np.uint8:
        return rng.integers(0, 256, (count, *space.shape), dtype=np.uint8)
    return (rng.standard_normal((count, *space.shape)) * 2).astype(np.float32)


@pytest.fixture
def saved(tmp_path):
    def save(model):
        model.save(tmp_path / "policy.zip")
        return tmp_path / "policy.zip"

    return save


def agree(policy, model, x):
    """Check that a policy does what a model predicts, and that its network does up to the roundings of float32."""
    wanted, _ = model.predict(x, deterministic=True)
    if policy.is_discrete:
        assert len(set(wanted.tolist())) > 1
        assert np.array_equal(policy(x), wanted)
        assert np.mean(policy.network(x.astype(np.float64)).argmax(1) == wanted) >= 0.99
    else:
        assert wanted.std() > 0.01
        assert np.abs(policy(x) - wanted).max() <= 1e-6
        assert np.abs(policy.network(x.astype(np.float64)) - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("name", sorted(CASES))
def test_actions_are_those_of_the_training_library(name, saved):
    package, algorithm, actions, more = CASES[name]
    model = model_of(package, algorithm, actions, **more)
    policy = av.read_policy(saved(model))
    agree(policy, model, draws(model.observation_space, 300))
    if not policy.is_discrete:
        assert np.array_equal(policy.actions.low.astype(np.float32), actions.low)
        assert np.array_equal(policy.actions.high.astype(np.float32), actions.high)


CURVES = (
    "ReLU",
    "Tanh",
    "ELU",
    "LeakyReLU",
    "SELU",
    "CELU",
    "SiLU",
    "GELU",
    "Softplus",
    "Sigmoid",
    "Mish",
    "ReLU6",
    "PReLU",
)


@pytest.mark.parametrize("curve", CURVES)
def test_activation_functions_are_those_that_the_file_names(curve, saved):
    torch = library("torch")
    model = model_of(SB3, "PPO", LIMITS, options={"activation_fn": getattr(torch.nn, curve)})
    policy = av.read_policy(saved(model))
    agree(policy, model, draws(BOX, 300))
    assert not any("activation function" in note for note in policy.notes)


def test_activation_functions_with_numbers_of_their_own_are_read_or_refused(saved):
    from functools import partial

    torch = library("torch")
    steep = model_of(SB3, "DQN", DISCRETE, options={"activation_fn": partial(torch.nn.LeakyReLU, negative_slope=0.3)})
    agree(av.read_policy(saved(steep)), steep, draws(BOX, 300))
    hidden = model_of(SB3, "DQN", DISCRETE, options={"activation_fn": lambda: torch.nn.LeakyReLU(0.3)})
    with pytest.raises(av.ModelError, match="activation function no more than"):
        av.read_policy(saved(hidden))


def test_layers_that_older_versions_shared_are_read(tmp_path):
    torch = library("torch")
    model = model_of(SB3, "PPO", LIMITS, options={"net_arch": {"pi": [7, 6], "vf": [5]}})
    path = tmp_path / "policy.zip"
    model.save(path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    state = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
    # Before version 1.8 actor and critic could have their first layers in common.
    for part in ("weight", "bias"):
        state[f"mlp_extractor.shared_net.0.{part}"] = state.pop(f"mlp_extractor.policy_net.0.{part}")
        state[f"mlp_extractor.policy_net.0.{part}"] = state.pop(f"mlp_extractor.policy_net.2.{part}")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**members, "policy.pth": buffer.getvalue()}.items():
            file.writestr(name, content)
    agree(av.read_policy(path), model, draws(BOX, 100))


def test_models_in_memory_are_read_as_their_files():
    model = model_of(SB3, "PPO", LIMITS)
    policy = av.read_policy(model)
    agree(policy, model, draws(BOX, 100))
    # Blocks of work are sent to other processes.
    agree(pickle.loads(pickle.dumps(policy)), model, draws(BOX, 100))


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_images_are_read_in_the_order_of_their_channels(algorithm, saved):
    model = model_of(SB3, algorithm, DISCRETE, BYTES, "CnnPolicy", {"features_extractor_kwargs": {"features_dim": 16}})
    path = saved(model)
    x = np.random.default_rng(2).integers(0, 256, (40, 3, 36, 40), dtype=np.uint8)
    wanted, _ = model.predict(x, deterministic=True)
    first = av.read_policy(path)
    # The training library turns images and saves the space of the turned ones.
    assert first.network.input_shape == (3, 36, 40)
    assert np.array_equal(first(x), wanted)
    last = av.read_policy(path, shape=(36, 40, 3))
    assert np.array_equal(last(np.moveaxis(x, 1, -1)), wanted)
    with pytest.raises(av.InputError, match=r"images of 3 channels.*which axis"):
        av.read_policy(path, shape=(36, 40, 36))


@pytest.mark.parametrize("order", ["float64 statistics", "far from zero", "narrow"])
def test_normalisations_are_folded(order, tmp_path):
    vectors = library("stable_baselines3.common.vec_env")
    model = model_of(SB3, "SAC", LIMITS, options={"net_arch": [16]})
    rng = np.random.default_rng(1)
    wrapped = vectors.VecNormalize(vectors.DummyVecEnv([lambda: Idle(BOX, LIMITS)]), clip_obs=1.5, epsilon=1e-7)
    middle = {"far from zero": 1e4}.get(order, 0.0)
    spread = {"narrow": 1e-3}.get(order, 2.0)
    wrapped.obs_rms.update(rng.standard_normal((500, 3)) * spread + middle)
    wrapped.save(tmp_path / "vecnormalize.pkl")
    model.save(tmp_path / "policy.zip")
    x = (rng.standard_normal((500, 3)) * 2 * spread + middle).astype(np.float32)
    seen = wrapped.normalize_obs(x)
    assert np.any(np.abs(seen) == 1.5)
    wanted, _ = model.predict(seen, deterministic=True)
    beside = av.read_policy(tmp_path / "policy.zip")
    assert np.abs(beside(x) - wanted).max() <= 1e-6
    assert np.abs(beside.network(x.astype(np.float64)) - wanted).max() <= 1e-5
    assert np.array_equal(beside.scale.std, np.sqrt(wrapped.obs_rms.var + 1e-7)) and beside.scale.clip == 1.5
    without = av.read_policy(tmp_path / "policy.zip", normalisation=False)
    assert without.scale is None and np.abs(without(seen) - wanted).max() <= 1e-6
    given = av.read_policy(tmp_path / "policy.zip", normalisation=beside.scale)
    assert np.array_equal(given(x), beside(x))
    wrapped.norm_obs = False
    wrapped.save(tmp_path / "vecnormalize.pkl")
    off = av.read_policy(tmp_path / "policy.zip")
    assert off.scale is None and "not at all" in off.notes[0]


@pytest.mark.parametrize(
    ("actions", "observations", "words"),
    [
        (spaces.MultiDiscrete([2, 3]), BOX, "space MultiDiscrete"),
        (spaces.MultiBinary(3), BOX, "space MultiBinary"),
        (DISCRETE, spaces.Discrete(7), "single whole numbers"),
        (DISCRETE, spaces.MultiDiscrete([2, 3]), "several whole numbers"),
    ],
)
def test_other_spaces_are_refused(actions, observations, words, saved):
    model = model_of(SB3, "PPO", actions, observations)
    with pytest.raises(av.InputError, match=words):
        av.read_policy(saved(model))


def test_dictionaries_and_recurrent_policies_are_refused(saved):
    both = model_of(SB3, "PPO", DISCRETE, spaces.Dict({"a": BOX, "b": BOX}), "MultiInputPolicy")
    with pytest.raises(av.InputError, match="dictionaries of several arrays"):
        av.read_policy(saved(both))
    recurrent = model_of(CONTRIB, "RecurrentPPO", DISCRETE, BOX, "MlpLstmPolicy")
    with pytest.raises(av.InputError, match="recurrent: its action depends on a state"):
        av.read_policy(saved(recurrent))


def test_classes_of_others_are_refused(saved):
    torch = library("torch")
    layers = library("stable_baselines3.common.torch_layers")

    class Doubled(layers.FlattenExtractor):
        def forward(self, observations):
            return 2 * super().forward(observations)

    model = model_of(SB3, "PPO", DISCRETE, options={"features_extractor_class": Doubled})
    with pytest.raises(av.ModelError, match="Doubled"):
        av.read_policy(saved(model))
    policies = library("stable_baselines3.common.policies")

    class Bent(policies.ActorCriticPolicy):
        def _build_mlp_extractor(self):
            super()._build_mlp_extractor()
            self.mlp_extractor.policy_net[1] = torch.nn.ReLU()

    with pytest.raises(av.ModelError, match="a class of"):
        av.read_policy(saved(model_of(SB3, "PPO", DISCRETE, policy=Bent)))


def test_policies_of_one_training_share_its_normalisation(tmp_path):
    vectors = library("stable_baselines3.common.vec_env")
    wrapped = vectors.VecNormalize(vectors.DummyVecEnv([lambda: Idle(BOX, LIMITS)]))
    wrapped.obs_rms.update(np.random.default_rng(1).standard_normal((50, 3)) + 2.0)
    model = model_of(SB3, "PPO", LIMITS)
    names = ("Env-v1.zip", "best_model.zip")
    for name in names:
        model.save(tmp_path / name)
        assert any("no vecnormalize.pkl lies beside it" in note for note in av.read_policy(tmp_path / name).notes)
    for folder in ("Env-v1", "other"):
        (tmp_path / folder).mkdir()
        wrapped.save(tmp_path / folder / "vecnormalize.pkl")
        # One folder is everybody's; of two, only that of a policy's own name is its.
        found = [av.read_policy(tmp_path / name).scale is not None for name in names]
        assert found == [True, folder == "Env-v1"]
