"""What would be read as another policy than it is: each is read right, or refused with the reason."""

import json
import zipfile
from functools import partial
from typing import Any

import numpy as np
import pytest

import admm_verify as av
from admm_verify.policies.readers.unpickle import number_array, read_pickle
from tests.policies.sb3_oracle import library
from tests.policies.test_hostile_files import SPACES, saved, tensors, zipped
from tests.policies.test_sb3_kinds import BOX, CONTRIB, DISCRETE, LIMITS, SB3, agree, draws, model_of

torch = library("torch")
nn = torch.nn


class Traced(nn.Module):
    """Layers in front of an actor, in no order that a name tells."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class OfItsOwn(Traced):
    def forward(self, x):
        return 2.0 * torch.tanh(self.actor(x))


@pytest.mark.parametrize(
    "make",
    [
        partial(nn.LeakyReLU, 0.3),
        partial(nn.LeakyReLU, negative_slope=np.float64(0.3)),
        partial(nn.Softplus, 2.0, threshold=np.float32(1.5)),
        partial(nn.ELU, 0.5, inplace=True),
        partial(nn.Hardtanh, min_val=-0.1, max_val=float("inf")),
    ],
    ids=["position", "NumPy", "both", "inplace", "infinite"],
)
def test_numbers_of_activation_functions_are_those_they_were_made_with(make, tmp_path):
    model = model_of(SB3, "PPO", LIMITS, options={"activation_fn": make})
    model.save(tmp_path / "p.zip")
    agree(av.read_policy(tmp_path / "p.zip"), model, draws(BOX, 100))


@pytest.mark.parametrize(
    "text",
    [
        "functools.partial(<class 'torch.nn.modules.activation.GELU'>, approximate='tanh')",
        "functools.partial(<class 'torch.nn.modules.activation.GELU'>, 'tanh')",
        "functools.partial(<class 'torch.nn.modules.activation.LeakyReLU'>, negative_slope=True)",
        "functools.partial(<class 'torch.nn.modules.activation.LeakyReLU'>, negative_slope=tensor(0.3))",
        "functools.partial(<class 'torch.nn.modules.activation.LeakyReLU'>, 0.1, 0.2)",
        "<class 'mine.torch.nn.modules.activation.ReLU'>",
        "<class 'torch.nn.modules.activation.ReLU'> " + "x" * 500,
    ],
)
def test_activation_functions_that_a_text_does_not_tell_whole_are_refused(text, tmp_path):
    members = {"data": json.dumps({**SPACES, "policy_kwargs": {"activation_fn": text}}), "policy.pth": saved(tensors())}
    with pytest.raises(av.ModelError, match="activation function"):
        av.read_policy(zipped(tmp_path / "p.zip", members))


@pytest.mark.parametrize(
    ("package", "algorithm", "part"),
    [(SB3, "PPO", "policy"), (SB3, "TD3", "policy"), (SB3, "TD3", "policy.actor"), (CONTRIB, "ARS", "policy")],
)
def test_parts_of_models_that_leave_limits_to_the_model_are_refused(package, algorithm, part):
    module = model_of(package, algorithm, LIMITS)
    for name in part.split("."):
        module = getattr(module, name)
    with pytest.raises(av.InputError, match="Give the model itself"):
        av.read_policy(module)


def test_policies_that_choose_by_their_forward_are_read():
    model = model_of(SB3, "DQN", DISCRETE)
    agree(av.read_policy(model.policy), model, draws(BOX, 100))


def linear(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs))


@pytest.mark.parametrize(
    ("module", "more"),
    [
        (Traced(base=linear(4, 4), actor=nn.Linear(4, 2)), "base"),
        (Traced(base=linear(4, 4), actor_mean=nn.Linear(4, 2)), "base"),
        (Traced(actor_features=linear(4, 4), actor=nn.Linear(4, 2)), "actor_features"),
        (Traced(network=linear(4, 4), actor=nn.Linear(4, 2)), "network"),
        (Traced(actor_mean=linear(4, 2), action_scale=torch.ones(2), action_bias=torch.ones(2)), "action_scale"),
        (OfItsOwn(actor=linear(4, 2)), "a forward of its own"),
    ],
    ids=["trunk", "trunk of means", "features", "vectors divided as bytes", "scale", "forward"],
)
def test_modules_that_may_do_more_than_their_actor_are_refused(module, more):
    with pytest.raises(av.InputError, match=f"beside it {more}"):
        av.read_policy(module)


def test_actors_of_numbers_are_not_taken_for_scores(tmp_path):
    squashed = Traced(actor=nn.Sequential(linear(4, 2), nn.Tanh()), critic=linear(4, 1))
    noisy = Traced(actor=linear(4, 2), critic=linear(4, 1), log_std=nn.Parameter(torch.zeros(2)))
    assert not av.read_policy(squashed).is_discrete and not av.read_policy(noisy).is_discrete
    torch.save({**noisy.state_dict()}, tmp_path / "a.pt")
    assert not av.read_policy(tmp_path / "a.pt").is_discrete
    assert av.read_policy(Traced(actor=linear(4, 2), critic=linear(4, 1))).is_discrete


MU = {"fc1.weight": torch.ones(2, 3), "fc_mu.weight": torch.ones(2, 2)}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"critic.0.weight": torch.ones(2, 3)}, "only a critic's"),
        ({"fc1.weight": torch.ones(2, 3), "fc3.weight": torch.ones(2, 2), "fc_mu.weight": torch.ones(2, 2)}, "fc3"),
        ({**MU, "action_scale": -torch.ones(2), "action_bias": torch.zeros(2)}, "scales above 0"),
        ({**MU, "action_scale": torch.ones(3), "action_bias": torch.zeros(2)}, "of one number or 2"),
        ({**MU, "action_scale": torch.ones(2)}, "both are"),
    ],
)
def test_states_that_lack_what_they_need_are_refused(state, words, tmp_path):
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(av.ModelError, match=words):
        av.read_policy(tmp_path / "a.pt")


def test_negated_tensors_are_read(tmp_path):
    state = {"actor.0.weight": torch._neg_view(torch.ones(2, 3)), "actor.0.bias": torch.ones(2)}
    torch.save(state, tmp_path / "a.pt")
    assert np.array_equal(av.read_policy(tmp_path / "a.pt").network(np.ones((1, 3), np.float32)), [[-2.0, -2.0]])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(method, tmp_path):
    members = {"data": json.dumps(SPACES), "policy.pth": saved(tensors())}
    with pytest.raises(av.ModelError, match="another method than deflate"):
        av.read_policy(zipped(tmp_path / "p.zip", members, method))


def test_ends_the_wrong_way_round_are_refused(tmp_path):
    box = {**SPACES["observation_space"], "low": "[2. 2.]", "high": "[-2. 3.]"}
    members = {"data": json.dumps({**SPACES, "action_space": box}), "policy.pth": saved(tensors())}
    with pytest.raises(av.ModelError, match="low ends lie above high ones"):
        av.read_policy(zipped(tmp_path / "p.zip", members))


@pytest.mark.parametrize("name", ["mine_stable_baselines3.x.Y", "mine.X'>, <class 'stable_baselines3.a.B"])
def test_extractors_of_others_are_refused(name, tmp_path):
    told = {**SPACES, "policy_kwargs": {"features_extractor_class": f"<class '{name}'>"}}
    with pytest.raises(av.ModelError, match="is made by"):
        av.read_policy(zipped(tmp_path / "p.zip", {"data": json.dumps(told), "policy.pth": saved(tensors())}))


@pytest.mark.parametrize(
    "content",
    [
        b"NN\x86" + b"2\x86" * 60,
        b"NN\x86\x94" + b"".join(b"h%c\x86\x94" % k for k in range(60)),
        b"]]\x86",
    ],
)
def test_keys_that_take_forever_are_refused(content, tmp_path):
    path = tmp_path / "v.pkl"
    path.write_bytes(b"\x80\x04cgym\nA\n)\x81}" + content + b"Nsb.")
    with pytest.raises(av.ModelError, match="refused"):
        read_pickle(path, "The normalisation")
    path.write_bytes(b"\x80\x04cgym\nA\n)\x81" + content + b"Ns.")
    with pytest.raises(av.ModelError, match="refused"):
        read_pickle(path, "The normalisation")


def test_numbers_that_are_none_are_refused(tmp_path):
    with pytest.raises(av.ModelError, match="beyond"):
        number_array(10**400, "It")


def test_normalisations_that_are_switched_off_by_a_number_are_off(tmp_path):
    vectors = library("stable_baselines3.common.vec_env")
    from tests.policies.test_sb3_kinds import Idle

    wrapped = vectors.VecNormalize(vectors.DummyVecEnv([lambda: Idle(BOX, LIMITS)]))
    wrapped.obs_rms.update(np.random.default_rng(1).standard_normal((50, 3)) + 2.0)
    model = model_of(SB3, "PPO", LIMITS)
    model.save(tmp_path / "p.zip")
    for off in (np.False_, 0):
        wrapped.norm_obs = off
        wrapped.save(tmp_path / "vecnormalize.pkl")
        assert av.read_policy(tmp_path / "p.zip").scale is None
    wrapped.norm_obs, wrapped.epsilon = True, np.ones(2)
    wrapped.save(tmp_path / "vecnormalize.pkl")
    with pytest.raises(av.ModelError, match=r"epsilon of .* holds 2 numbers"):
        av.read_policy(tmp_path / "p.zip")


TEXT: Any = "5"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shape": "abc"}, "shape of an observation"),
        ({"shape": 3}, "shape of an observation"),
        ({"shape": (2.0,)}, "size of an observation"),
        ({"shape": (True, 2)}, "size of an observation"),
        ({"shape": (0,)}, "size of an observation"),
        ({"output": "x"}, "has one output"),
        ({"actions": av.DiscreteActions(True)}, "number of actions"),
        ({"normalisation": av.ObservationScale(TEXT, np.ones(2), 1.0)}, "mean of the normalisation"),
        ({"normalisation": av.ObservationScale(np.zeros(2) * 1j, np.ones(2), 1.0)}, "mean of the normalisation"),
        ({"normalisation": av.ObservationScale(np.zeros(2), np.ones(2), TEXT)}, "clip of the normalisation"),
    ],
)
def test_other_kinds_of_options_are_refused(given, words, tmp_path):
    path = zipped(tmp_path / "p.zip", {"data": json.dumps(SPACES), "policy.pth": saved(tensors())})
    with pytest.raises(av.InputError, match=words):
        av.read_policy(path, **given)


def test_limits_in_an_array_are_those_of_a_pair(tmp_path):
    path = zipped(tmp_path / "p.zip", {"data": json.dumps(SPACES), "policy.pth": saved(tensors())})
    limits: Any = np.array([[-1.0, -2.0], [1.0, 2.0]])
    found = av.read_policy(path, actions=limits).actions
    assert isinstance(found, av.ContinuousActions)
    assert np.array_equal(found.low, [-1.0, -2.0]) and np.array_equal(found.high, [1.0, 2.0])


@pytest.mark.parametrize("path", ["", "x" * 5000])
def test_names_of_no_file_are_refused(path):
    with pytest.raises(av.AdmmVerifyError):
        av.read_policy(path)


@pytest.mark.parametrize("old", [False, True])
def test_tensors_of_keys_that_take_forever_are_refused(old, tmp_path):
    bomb = b"\x80\x02}NN\x86q\x00" + b"".join(b"h%c\x86q%c" % (k, k + 1) for k in range(60)) + b"Ns."
    inner = zipped(tmp_path / "i.zip", {"archive/data.pkl": bomb, "archive/version": "3"}).read_bytes()
    members = {"data": json.dumps(SPACES), "policy.pth": bomb if old else inner}
    with pytest.raises(av.ModelError, match="uses tuples again"):
        av.read_policy(zipped(tmp_path / "p.zip", members))


GRU = {"kind": "conv", "input_shape": [3], "output": "logits"}


@pytest.mark.parametrize(
    ("told", "weight"),
    [
        ({}, np.array(1.0)),
        ({}, np.full((2, 3), np.longdouble("1e4000"))),
        ({"observation_normaliser": {"mean": [10**400, 0, 0], "std": [1, 1, 1]}}, np.ones((2, 3))),
        ({**GRU, "layers": [3]}, np.ones((2, 3))),
        ({**GRU, "layers": [{"type": "grucell", "hidden": "x"}]}, np.ones((2, 3))),
        ({**GRU, "layers": [{"type": "grucell", "hidden": 10**9}]}, np.ones((2, 3))),
    ],
    ids=["no axes", "beyond float64", "long number", "no layer", "no number", "no such array"],
)
def test_descriptions_and_arrays_that_fit_nothing_are_refused(told, weight, tmp_path):
    np.savez(tmp_path / "policy.npz", W0=weight, b0=np.ones(2))
    (tmp_path / "model.json").write_text(json.dumps({"activations": ["linear"], "output": "Q values", **told}))
    with pytest.raises(av.ModelError):
        av.read_policy(tmp_path)
