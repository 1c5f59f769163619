"""Agents given as layers and arrays: what torch computes, states of recurrent cells as inputs, clear refusals."""

import json
from typing import Any

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.errors import InputError, ModelError
from admm_verify.policies.policy import DiscreteActions, Policy
from admm_verify.policies.readers.npz_layers import layered_network
from tests.shared import SHARED, needs_shared

SAMPLE = (2, 7, 9)
CURVES = {"relu": torch.relu, "elu": torch.nn.functional.elu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
MARIO, PONG = "ppo_mario_1_1", "a3c_atari_pong"


def convolutional(
    rng: np.random.Generator, curve: str, hidden: int
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Two convolutions, a recurrent cell where hidden is not 0, and a matrix."""

    def drawn(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32)

    width = 4 * 2 * 3
    arrays = {
        "first.weight": drawn(3, 2, 3, 3),
        "first.bias": drawn(3),
        "second.weight": drawn(4, 3, 3, 2),
        "second.bias": drawn(4),
        "last.weight": drawn(5, hidden or width),
        "last.bias": drawn(5),
    }
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "weight": "first.weight", "bias": "first.bias", "stride": 2, "padding": 1},
        {"type": curve},
        {"type": "conv2d", "weight": "second.weight", "bias": "second.bias", "stride": [2, 2], "padding": [1, 1]},
        {"type": curve},
        {"type": "flatten"},
    ]
    if hidden:
        layers.append({"type": "grucell", "hidden": hidden})
        arrays |= {"cell.weight_ih": drawn(3 * hidden, width), "cell.weight_hh": drawn(3 * hidden, hidden)}
        arrays |= {"cell.bias_ih": drawn(3 * hidden), "cell.bias_hh": drawn(3 * hidden)}
    return [*layers, {"type": "linear", "weight": "last.weight", "bias": "last.bias"}], arrays


def by_torch(arrays: dict[str, np.ndarray], curve: str, frames: np.ndarray, states: np.ndarray) -> np.ndarray:
    """What torch's own layers compute in float64."""
    own = {name: torch.as_tensor(part).double() for name, part in arrays.items()}
    x = torch.as_tensor(frames)
    for name in ("first", "second"):
        x = CURVES[curve](torch.nn.functional.conv2d(x, own[f"{name}.weight"], own[f"{name}.bias"], 2, 1))
    x = x.flatten(1)
    if states.shape[1]:
        cell = torch.nn.GRUCell(x.shape[1], states.shape[1]).double()
        with torch.no_grad():
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(cell, name).copy_(own[f"cell.{name}"])
            x = cell(x, torch.as_tensor(states))
    return torch.nn.functional.linear(x, own["last.weight"], own["last.bias"]).detach().numpy()


@pytest.mark.parametrize("hidden", [0, 6])
@pytest.mark.parametrize("curve", sorted(CURVES))
def test_layers_compute_what_torch_does(curve: str, hidden: int) -> None:
    rng = np.random.default_rng([hidden, len(curve)])
    layers, arrays = convolutional(rng, curve, hidden)
    network, memory = layered_network(layers, arrays, SAMPLE, "agent")
    assert memory == hidden
    policy = Policy(network, DiscreteActions(5), memory=memory)
    frames, states = rng.standard_normal((20, *SAMPLE)), rng.uniform(-1, 1, (20, hidden))
    inputs = policy.joined(frames, states)
    wanted = by_torch(arrays, curve, frames, states)
    np.testing.assert_allclose(network(inputs), wanted, rtol=0, atol=1e-12)
    assert (policy(inputs.astype(np.float32)) == wanted.argmax(axis=1)).all()


def test_states_are_an_input_set_of_their_own() -> None:
    rng = np.random.default_rng(4)
    layers, arrays = convolutional(rng, "elu", 6)
    network, memory = layered_network(layers, arrays, SAMPLE, "agent")
    frame, state = rng.uniform(0, 1, SAMPLE).reshape(-1), rng.uniform(-0.5, 0.5, memory)
    rows = np.concatenate([np.eye(5), -np.eye(5)])
    frames = av.Box.around(frame, radius=0.05, within=(0, 1))

    def bounds(states: Any) -> np.ndarray:
        return np.asarray(
            av.solve(av.Problem(network, av.Product(frames, states), rows), "ascent", max_passes=20).lower
        )

    known, boxed, round_ = (
        bounds(states) for states in (av.Box(state, state), av.Box.around(state, 0.1), av.Ball(state, 0.1))
    )
    joined = np.concatenate([frame, state])
    exact = np.asarray(
        av.solve(
            av.Problem(
                network,
                av.Box.around(
                    joined,
                    np.r_[np.full(frame.size, 0.05), np.zeros(memory)],
                    (np.r_[np.zeros(frame.size), -np.ones(memory)], 1.0),
                ),
                rows,
            ),
            "ascent",
            max_passes=20,
        ).lower
    )
    np.testing.assert_allclose(known, exact, rtol=0, atol=1e-6)
    # The ball lies in the box, and the point in both.
    assert (known > round_).all() and (round_ > boxed).all()
    points = np.clip(frame + rng.uniform(-0.05, 0.05, (500, frame.size)), 0, 1)
    for offsets, lower in (
        (np.zeros((500, memory)), known),
        (0.1 * np.sign(rng.standard_normal((500, memory))), boxed),
        (0.1 * np.eye(memory)[rng.integers(0, memory, 500)], round_),
    ):
        values = network(np.concatenate([points, state + offsets], axis=1)) @ rows.T
        assert (values.min(axis=0) >= lower).all()


def test_states_are_joined_to_observations_and_radii_alike() -> None:
    layers, arrays = convolutional(np.random.default_rng(1), "relu", 3)
    network, memory = layered_network(layers, arrays, SAMPLE, "agent")
    policy = Policy(network, DiscreteActions(5), memory=memory)
    size = int(np.prod(SAMPLE))
    frames = np.arange(2.0 * size).reshape(2, *SAMPLE)
    for states in (0.25, np.full(3, 0.25), np.full((2, 3), 0.25)):
        joined = policy.joined(frames, states)
        np.testing.assert_array_equal(joined, np.concatenate([frames.reshape(2, -1), np.full((2, 3), 0.25)], axis=1))
    for bad, states in (
        (frames[:, :1], 0.0),
        (frames, np.zeros(4)),
        (frames, np.zeros((3, 3))),
        (frames[0, 0, 0], 0.0),
    ):
        with pytest.raises(InputError, match="have shape"):
            policy.joined(bad, states)
    assert "126 numbers with a state of 3" in repr(policy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layers, arrays: arrays.pop("second.weight"), "no array 'second.weight'"),
        (lambda layers, arrays: arrays.update({"second.bias": np.zeros(3, np.float32)}), "bias of shape"),
        (lambda layers, arrays: arrays.update({"last.bias": np.zeros(5, np.int64)}), "type int64"),
        (lambda layers, arrays: arrays.update({"last.weight": np.zeros((5, 7), np.float32)}), "do not fit 6 numbers"),
        (lambda layers, arrays: arrays.update({"last.bias": np.full(5, np.nan, np.float32)}), "NaN|finite"),
        (lambda layers, arrays: arrays.update({"old.bias_hh": arrays["cell.bias_hh"]}), "2 arrays of 18 rows"),
        (lambda layers, arrays: arrays.update({"cell.weight_hh": np.zeros((18, 5), np.float32)}), "5 columns"),
        (lambda layers, arrays: layers[0].update(stride=-1), "not positive"),
        (lambda layers, arrays: layers[0].update(padding="same"), "padding is 'same'"),
        (lambda layers, arrays: layers[0].pop("weight"), "no entry 'weight'"),
        (lambda layers, arrays: layers[1].update(type="maxout"), "cannot be read: layers are"),
        (lambda layers, arrays: layers[1].update(alpha=2.0), "alpha is 2.0"),
        (lambda layers, arrays: layers[1].pop("type"), "no entry 'type'"),
        (lambda layers, arrays: layers[5].update(hidden=True), "hidden is True"),
        (lambda layers, arrays: layers.insert(6, layers[5]), "2 recurrent cells"),
    ],
)
def test_what_does_not_fit_is_named(change: Any, message: str) -> None:
    layers, arrays = convolutional(np.random.default_rng(0), "elu", 6)
    change(layers, arrays)
    with pytest.raises(ModelError, match=message):
        layered_network(layers, arrays, SAMPLE, "agent")


@needs_shared
@pytest.mark.data
@pytest.mark.parametrize("name", [PONG, MARIO])
def test_shared_agents_compute_their_check_values(name: str) -> None:
    folder = SHARED / "data" / "rl" / name
    model = json.loads((folder / "model.json").read_text())
    with np.load(folder / model["states"]) as found:
        frames = found["states"]
    with np.load(folder / "policy.npz") as arrays:
        network, memory = layered_network(model["layers"], dict(arrays), tuple(model["input_shape"]), name)
    policy = Policy(network, DiscreteActions(network.output_size), memory=memory)
    assert memory == (256 if name == PONG else 0)
    inputs, check = policy.joined(frames), model["check"]
    np.testing.assert_allclose(network(inputs), check["outputs"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(network(inputs.astype(np.float32)), check["outputs"], rtol=0, atol=1e-5)
    assert policy(inputs).tolist() == check["argmax"]
