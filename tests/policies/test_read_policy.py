"""Policies of torch modules and state dicts, ONNX models, arrays, and what `read_policy` says of others."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from tests.policies import cleanrl_modules
from tests.policies.sb3_oracle import library
from tests.shared import SHARED, needs_shared

RL = SHARED / "data" / "rl"
DRAWS = np.random.default_rng(6).standard_normal((200, 4)).astype(np.float32)


MODULES = {
    "agent": (cleanrl_modules.Agent, "get_action_and_value"),
    "continuous": (cleanrl_modules.Continuous, "act"),
    "q": (cleanrl_modules.QNetwork, "forward"),
    "td3": (cleanrl_modules.Actor, "forward"),
    "sac": (cleanrl_modules.SoftActor, "act"),
}


def drawn_module(name):
    """A module of drawn parameters, and its function that acts."""
    kind, act = MODULES[name]
    module, generator = kind(), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module, getattr(module, act)


@pytest.mark.parametrize("name", ["agent", "continuous", "q", "td3", "sac"])
@pytest.mark.parametrize("form", ["module", "state dict", "pair of state dicts"])
def test_modules_and_their_state_dicts_are_read(name, form, tmp_path):
    module, act = drawn_module(name)
    if form == "module":
        meaning = {"q": "discrete"}.get(name)
        policy = av.read_policy(module, actions=meaning)
    else:
        state = module.state_dict()
        # As CleanRL saves an actor and its critic.
        torch.save(
            (state, {"fc1.weight": torch.zeros(1, 1)}) if "pair" in form else state, tmp_path / "x.cleanrl_model"
        )
        policy = av.read_policy(tmp_path / "x.cleanrl_model")
    with torch.no_grad():
        wanted = act(torch.from_numpy(DRAWS)).numpy()
    if name == "q":
        wanted = wanted.argmax(1)
    if policy.is_discrete:
        assert len(set(wanted.tolist())) > 1 and np.array_equal(policy(DRAWS), wanted)
    else:
        assert np.abs(policy(DRAWS) - wanted).max() <= 2e-6
    if name in ("td3", "sac"):
        assert policy.actions.low.tolist() == [-2.0, 0.5] and policy.actions.high.tolist() == [2.0, 1.5]
    elif not policy.is_discrete:
        assert np.isinf(policy.actions.low).all() and "no limits of its actions are known" in policy.notes[-1]


def test_limits_and_normalisation_are_folded_into_any_source():
    module, _ = drawn_module("continuous")
    scale = av.ObservationScale(np.full(4, 0.5), np.full(4, 2.0), 0.4)
    policy = av.read_policy(module, actions=(-0.1, 0.2), normalisation=scale)
    bare = av.read_policy(module, normalisation=False)
    seen = np.clip((DRAWS.astype(np.float64) - 0.5) / 2.0, -0.4, 0.4)
    wanted = np.clip(bare.network(seen), -0.1, 0.2)
    assert np.abs(policy.network(DRAWS.astype(np.float64)) - wanted).max() < 1e-12
    assert {-0.1, 0.2} <= set(policy(DRAWS).reshape(-1).tolist())
    assert policy.scale.clip == 0.4 and policy.actions.high.tolist() == [0.2, 0.2]
    with pytest.raises(av.InputError, match="of 3 means and 3 deviations, and the policy's observations have 4"):
        av.read_policy(module, normalisation=av.ObservationScale(np.zeros(3), np.ones(3), np.inf))
    with pytest.raises(av.InputError, match="3 actions have limits, and the policy gives 2"):
        av.read_policy(module, actions=(np.zeros(3), np.ones(3)))


def test_images_say_their_shape_and_tables_and_states_are_refused():
    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 6))
            self.actor = nn.Linear(6, 3)

    agent = Agent()
    with pytest.raises(av.InputError, match=r"takes images, whose shape and order of axes.*shape=\(4, 84, 84\)"):
        av.read_policy(agent)
    policy = av.read_policy(agent, shape=(2, 8, 8))
    x = np.random.default_rng(0).integers(0, 256, (20, 2, 8, 8)).astype(np.float32)
    with torch.no_grad():
        wanted = agent.actor(agent.network(torch.from_numpy(x) / 255.0)).argmax(1).numpy()
    assert policy.is_discrete and np.array_equal(policy(x), wanted)
    agent.lstm = nn.LSTM(6, 6)
    with pytest.raises(av.InputError, match="recurrent: its action depends on a state"):
        av.read_policy(agent, shape=(2, 8, 8))
    with pytest.raises(av.InputError, match=r"table \(Embedding\): they are whole numbers"):
        av.read_policy(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)), actions="discrete")


def test_state_dicts_of_other_names_are_refused(tmp_path):
    torch.save({"body.weight": torch.zeros(2, 3)}, tmp_path / "x.pt")
    with pytest.raises(av.ModelError, match=r"tensors such as 'body.weight'"):
        av.read_policy(tmp_path / "x.pt")
    torch.save({"network.0.weight": torch.zeros(2, 3, 3, 3)}, tmp_path / "x.pt")
    with pytest.raises(av.ModelError, match="strides and paddings of convolutions are in no file"):
        av.read_policy(tmp_path / "x.pt")
    torch.save(
        {"actor.0.weight": torch.ones(2, 3), "actor.0.bias": torch.ones(2), "gate": torch.ones(1)}, tmp_path / "x.pt"
    )
    with pytest.raises(av.ModelError, match="the tensor gate, which belongs to no policy"):
        av.read_policy(tmp_path / "x.pt")


def exported(path, heads):
    """An ONNX model of scores, what heads make of these, and a value beside them."""
    onnx = library("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(4)
    arrays = {"W": rng.standard_normal((4, 3)).astype(np.float32), "V": rng.standard_normal((4, 1)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "W"], ["scores"]), helper.make_node("MatMul", ["x", "V"], ["value"])]
    nodes += [helper.make_node(kind, ["scores"], [name], **more) for name, (kind, more) in heads.items()]
    types = {name: TensorProto.INT64 if name == "action" else TensorProto.FLOAT for name in ("scores", "value", *heads)}
    outputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path)
    return model, arrays["W"]


def test_onnx_models_of_several_outputs_are_read_without_their_heads(tmp_path):
    path = tmp_path / "policy.onnx"
    heads = {"odds": ("Softmax", {"axis": 1}), "action": ("ArgMax", {"axis": 1, "keepdims": 0}), "mean": ("Tanh", {})}
    model, weight = exported(path, heads)
    with pytest.raises(av.ModelError, match="has 5 outputs"):
        av.read_policy(path)
    wanted = (DRAWS @ weight).argmax(1)
    for output in ("odds", "action"):
        policy = av.read_policy(path, output=output)
        assert policy.is_discrete and np.array_equal(policy(DRAWS), wanted)
        assert "left out: what is compared are the scores before it" in policy.notes[0]
        assert policy.network.head is None
    with pytest.raises(av.InputError, match="scores of actions or actions themselves: say actions='discrete'"):
        av.read_policy(path, output="scores")
    assert np.array_equal(av.read_policy(model, output="scores", actions="discrete")(DRAWS), wanted)
    squashed = av.read_policy(path, output="mean")
    assert not squashed.is_discrete and np.abs(squashed(DRAWS) - np.tanh(DRAWS @ weight)).max() < 1e-6
    with pytest.raises(av.InputError, match="chooses one of several actions"):
        av.read_policy(path, output="odds", actions="continuous")
    with pytest.raises(av.InputError, match="chosen by its name, and 1 was given"):
        av.read_policy(path, output=1)
    with pytest.raises(av.InputError, match=r"takes observations of shape \(4,\), and \(5,\) was said"):
        av.read_policy(path, output="odds", shape=(5,))


def stored(folder, **told):
    rng = np.random.default_rng(2)
    arrays = {"W0": rng.standard_normal((6, 4)), "b0": rng.standard_normal(6), "W1": rng.standard_normal((2, 6))}
    arrays |= {"b1": rng.standard_normal(2), "activations": np.array(["relu", "linear"])}
    np.savez(folder / "policy.npz", **arrays)
    (folder / "model.json").write_text(json.dumps(told))
    return arrays


def test_arrays_are_read_with_their_description(tmp_path):
    scale = {"mean": [0.1] * 4, "std": [2.0] * 4, "clip": 0.3}
    arrays = stored(tmp_path, output="mean action", observation_normaliser=scale)
    seen = np.clip((DRAWS.astype(np.float64) - 0.1) / (2.0 + 1e-8), -0.3, 0.3)
    wanted = np.maximum(seen @ arrays["W0"].T + arrays["b0"], 0.0) @ arrays["W1"].T + arrays["b1"]
    for source in (tmp_path, tmp_path / "model.json", tmp_path / "policy.npz"):
        policy = av.read_policy(source, actions=([-1, -50], [1, 50]))
        assert np.abs(policy(DRAWS.astype(np.float64)) - np.clip(wanted, [-1, -50], [1, 50])).max() < 1e-12
    assert policy.scale.clip == 0.3
    stored(tmp_path, output="action logits")
    assert np.array_equal(av.read_policy(tmp_path).actions.count, 2)
    stored(tmp_path)
    with pytest.raises(av.InputError, match="Nothing tells whether the outputs"):
        av.read_policy(tmp_path)
    stored(tmp_path, kind="conv", output="action logits")
    with pytest.raises(av.InputError, match=r"takes images.*order of their axes"):
        av.read_policy(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(av.ModelError, match="no JSON"):
        av.read_policy(tmp_path)
    (tmp_path / "model.json").unlink()
    assert av.read_policy(tmp_path / "policy.npz", actions="discrete").actions.count == 2
    with pytest.raises(av.ModelError, match=r"model.json cannot be read"):
        av.read_policy(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps({"output": "action logits", "activations": ["tanh", "linear"]}))
    with pytest.raises(av.ModelError, match=r"\['tanh', 'linear'\] in its description and \['relu', 'linear'\] in it"):
        av.read_policy(tmp_path / "other.json")
    np.savez(tmp_path / "other.npz", W0=np.ones((2, 3)), b1=np.ones(2))
    with pytest.raises(av.ModelError, match=r"give W0, b0, W1, b1"):
        av.read_policy(tmp_path / "other.npz", actions="discrete")


def test_networks_are_policies_as_they_are(small_network):
    policy = av.read_policy(small_network, actions="discrete")
    assert policy.network is small_network and policy.actions.count == 3
    with pytest.raises(av.InputError, match="There are 4 actions, and small gives 3 scores"):
        av.read_policy(small_network, actions=av.DiscreteActions(4))
    single = network_from_layers([np.ones((1, 2))], [np.zeros(1)])
    assert av.read_policy(single, actions=(-1.0, 1.0))(np.array([[3.0, 3.0], [0.25, 0.25]])).tolist() == [[1.0], [0.5]]


@pytest.mark.parametrize("given", ["discret", (1, 2, 3), 5, {"low": 1}])
def test_other_words_for_actions_are_refused(given, small_network):
    with pytest.raises(av.InputError, match="say 'discrete' or 'continuous'"):
        av.read_policy(small_network, actions=given)
    with pytest.raises(av.InputError, match="each below its high one"):
        av.read_policy(small_network, actions=(1.0, 1.0))


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize("folder", sorted(RL.glob("*/model.json")), ids=lambda path: path.parent.name)
def test_shared_policies_give_their_check_values(folder):
    told = json.loads(folder.read_text())
    policy = av.read_policy(folder.parent, normalisation=False)
    check = told["check"]
    if "x" in check:
        x, wanted = np.array(check["x"]), np.array(check["y"])
    else:
        frames = np.load(folder.with_name("states.npz"))["states"].astype(np.float64)
        x, wanted = policy.joined(frames) if policy.memory else frames, np.array(check["outputs"])
    assert np.abs(policy.network(x) - wanted).max() <= 1e-6
    if policy.is_discrete:
        assert np.array_equal(policy(x), wanted.argmax(1))
    assert (av.read_policy(folder).scale is not None) == ("observation_normaliser" in told)
