"""Signs, roundings and comparisons: as runtimes compute them, and bounded on both sides of their jumps."""

import numpy as np
import pytest
import torch
from torch import nn

import admm_verify as av
from admm_verify.bounds.arithmetic import output_error, tolerant
from admm_verify.certificates.check import check
from admm_verify.complete.settings import VerifySettings
from admm_verify.network.from_onnx import network_from_bytes
from tests.network.onnx_models import model, node
from tests.network.test_torch_forms import Function

JUMPS = np.array([[0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -1.5, 1e-45, -1e-45, 0.1, 1e9, -3.0]], np.float32)
CASES = {
    "sign": [node("Sign", ["x"], ["y"])],
    "floor": [node("Floor", ["x"], ["y"])],
    "ceil": [node("Ceil", ["x"], ["y"])],
    "round": [node("Round", ["x"], ["y"])],
    "signs of signs": [node("Sign", ["x"], ["s"]), node("Add", ["s", "t"], ["a"]), node("Sign", ["a"], ["y"])],
    "greater": [node("Greater", ["x", "t"], ["c"]), node("Cast", ["c"], ["y"], to=1)],
    "at most": [node("LessOrEqual", ["x", "t"], ["c"]), node("Cast", ["c"], ["m"], to=1), node("Neg", ["m"], ["y"])],
    "chosen": [node("GreaterOrEqual", ["x", "t"], ["c"]), node("Where", ["c", "u", "t"], ["y"])],
    "both": [
        node("Greater", ["x", "t"], ["b"]),
        node("Less", ["x", "u"], ["c"]),
        node("And", ["b", "c"], ["d"]),
        node("Cast", ["d"], ["m"], to=1),
        node("Mul", ["m", "u"], ["y"]),
    ],
    "one of two": [
        node("Greater", ["x", "u"], ["b"]),
        node("Less", ["x", "t"], ["c"]),
        node("Or", ["b", "c"], ["d"]),
        node("Not", ["d"], ["e"]),
        node("Cast", ["e"], ["y"], to=1),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_agrees_on_both_sides_of_jumps_and_at_them(name):
    runtime = pytest.importorskip("onnxruntime")
    data = model(CASES[name], [1, 12], {"t": np.float32([0.1]), "u": np.float32([2.0])}, opset=16)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(network_from_bytes(data, name)(JUMPS), session.run(None, {"x": JUMPS})[0])


@pytest.mark.parametrize(
    "function",
    [
        torch.sign,
        torch.floor,
        torch.ceil,
        torch.round,
        lambda x: torch.heaviside(x, torch.tensor(0.5)),
        lambda x: (x >= 0.1).float() - x,
        lambda x: torch.where(x < 0.1, 2.0, -1.0),
        lambda x: ((x > 0) & ~(x > 2)).float(),
        lambda x: torch.sign(torch.sign(x) + 0.1),
    ],
)
def test_torch_agrees(function):
    x = torch.from_numpy(JUMPS)
    np.testing.assert_array_equal(av.trace(Function(function), x)(JUMPS), function(x).numpy())


def test_the_sign_of_a_shifted_sign_is_one_step():
    data = model(CASES["signs of signs"], [1, 12], {"t": np.float32([0.1])}, opset=16)
    network = network_from_bytes(data, "signs")
    assert [part.kind for part in network.functions] == ["heaviside"]


def binarised(seed: int) -> av.Network:
    """Two hidden layers of signs over whole numbers, whose arguments are often 0 or next to it."""
    torch.manual_seed(seed)

    class Signs(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(5, 2)
            for layer in (self.first, self.second):
                layer.weight.data = torch.sign(layer.weight.data) * 0.3
                layer.bias.data = 0.1 * torch.round(3 * layer.bias.data)

        def forward(self, x):
            hidden = torch.sign(self.first(x))
            return self.third(torch.sign(self.second(hidden)) + torch.round(hidden.sum(1, keepdim=True) / 3))

    return av.trace(Signs(), torch.zeros(1, 3))


@pytest.mark.parametrize("seed", range(6))
def test_bounds_hold_for_the_network_as_computed(seed):
    """Values in float32, on a grid full of jumps, in bounds less the error that is charged; the tolerance is needed."""
    network, rng = binarised(seed), np.random.default_rng(seed)
    box = av.Box.around(0.1 * rng.integers(-5, 6, 3), radius=0.4)
    x = np.float32(0.5 * (box.lower + box.upper) + 0.1 * rng.integers(-4, 5, (4000, 3)))
    x = x[((x >= box.lower) & (x <= box.upper)).all(axis=1)]
    inputs = av.Box(box.lower[None], box.upper[None])
    wide = tolerant(network, inputs, "float32")
    assert all(part.parameters[-1].max() > 0 for part in wide.functions)
    objective = np.concatenate([np.eye(2), -np.eye(2)])
    bounds = av.preactivation_bounds(wide, inputs)
    lower = av.solve(av.Problem(wide, box, objective, preactivation=bounds)).lower
    error = output_error(wide, inputs, bounds, "float32")[0]
    values = network(x).astype(np.float64) @ objective.T
    assert (values >= lower - np.abs(objective) @ error).all()
    assert error.max() < 1e-5
    # Without a tolerance whatever is near a jump is charged for, all of it.
    plain = av.preactivation_bounds(network, inputs)
    assert output_error(network, inputs, plain, "float32").max() > 0.01


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
@pytest.mark.parametrize("seed", range(3))
def test_verdicts_are_those_of_a_grid(seed, arithmetic):
    """Below the least value of a network of few steps nothing is found, at it something is."""
    network, rng = binarised(seed), np.random.default_rng(seed)
    box = av.Box.around(0.1 * rng.integers(-5, 6, 3), radius=0.2)
    axes = [np.linspace(low, high, 17) for low, high in zip(box.lower, box.upper, strict=True)]
    values = network(np.float32(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)))[:, 0]
    settings = VerifySettings(arithmetic=arithmetic)
    found = av.verify(av.query(network, box, f"y0 <= {values.min() + 1e-3:.6f}"), timeout=20, settings=settings)
    assert found.verdict is av.Verdict.SAT
    below = float(av.solve(av.Problem(network, box, np.array([[1.0, 0.0]]))).lower[0]) - 1e-3
    found = av.verify(av.query(network, box, f"y0 <= {below:.6f}"), timeout=20, settings=settings)
    assert found.verdict is av.Verdict.UNSAT


def test_certificates_are_of_real_numbers_or_of_steps_out_of_reach():
    network = binarised(0)
    box = av.Box(np.full(3, -0.3), np.full(3, 0.35))
    below = float(av.solve(av.Problem(network, box, np.array([[1.0, 0.0]]))).lower[0]) - 1e-3
    query = av.query(network, box, f"y0 <= {below:.6f}")
    found = av.verify(query, timeout=20, settings=VerifySettings(certificate=True, arithmetic="real"))
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    assert check(found.certificate, query.property, network).proved
