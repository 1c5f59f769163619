"""Softmaxes of scores of which a mask leaves some out, read from torch and ONNX: values, bounds and refusals."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import nn

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from tests.network.onnx_models import assert_agrees, model, node, weights

N = 4
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Exporting:UserWarning")

INFINITY = float("inf")
CAUSAL = torch.triu(torch.full((N, N), -INFINITY), 1)
RADIUS = 0.3


class Attending(nn.Module):
    """One head whose softmax is `weigh` of the module and its scores."""

    def __init__(self, weigh) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
        self.weigh = weigh
        self.register_buffer("mask", CAUSAL.clone())
        self.register_buffer("keep", torch.tril(torch.ones(N, N)))

    def forward(self, x):
        query, key, value = (part(x) for part in self.parts)
        return (self.weigh(self, query @ key.transpose(-1, -2)) @ value).flatten(1)


WAYS = {
    "added": lambda m, s: F.softmax(s + m.mask, -1),
    "added and scaled": lambda m, s: F.softmax((s + m.mask) / 1.7, -1),
    "made": lambda m, s: F.softmax(s + torch.triu(torch.full((N, N), -INFINITY), 1), -1),
    "masked_fill": lambda m, s: F.softmax(s.masked_fill(m.keep == 0, -INFINITY), -1),
    "where": lambda m, s: F.softmax(torch.where(m.keep > 0, s, -INFINITY), -1),
    "moved": lambda m, s: F.softmax((s + m.mask).transpose(1, 2).reshape(1, 1, N, N), 2).squeeze(1).transpose(1, 2),
    "after other numbers": lambda m, s: F.softmax(s.masked_fill(m.keep == 0, -INFINITY) + m.keep, -1),
    "large numbers": lambda m, s: F.softmax(s - 1e9 * (1 - m.keep), -1),
    "the largest numbers": lambda m, s: F.softmax(s.masked_fill(m.keep == 0, torch.finfo(torch.float32).min), -1),
    "some large numbers": lambda m, s: F.softmax(s - 50.0 * m.keep.roll(1, 0), -1),
}


def check_bounds(network, values) -> None:
    """Bounds of every output in both precisions hold what 300 points give, and are finite."""
    rng = np.random.default_rng(0)
    size = network.output_size
    box = av.Box(np.full(network.input_shape, -RADIUS), np.full(network.input_shape, RADIUS))
    points = rng.uniform(-RADIUS, RADIUS, (300, *network.input_shape))
    y = values(points)
    for precision in ("float64", "float32"):
        problem = av.Problem(network, box, np.concatenate([np.eye(size), -np.eye(size)]))
        settings = av.SolverSettings(precision=precision)
        found = av.solve(problem, method="ascent", max_passes=2, settings=settings)
        low, high = found.lower[:size], -found.lower[size:]
        assert ((low <= y) & (y <= high)).all()
        assert (high - low < 3 * np.ptp(y, axis=0) + 1e-6).all()


def rows(module, points):
    with torch.no_grad():
        return torch.cat([module(row[None]) for row in torch.from_numpy(points)]).numpy()


@pytest.mark.parametrize("way", WAYS)
def test_masks_in_torch_and_in_its_export(way):
    module = Attending(WAYS[way]).double().eval()
    x = torch.randn(1, N, 3, dtype=torch.float64)
    network = av.trace(module, x)
    points = np.random.default_rng(1).standard_normal((5, N, 3))
    assert np.abs(network(points) - rows(module, points)).max() < 1e-12
    check_bounds(network, lambda points: rows(module, points))
    data = io.BytesIO()
    torch.onnx.export(module, (x,), data, dynamo=False, opset_version=17)
    exported = network_from_bytes(data.getvalue(), "exported.onnx")
    assert np.abs(exported(points) - rows(module, points)).max() < 1e-12
    check_bounds(exported, lambda points: rows(module, points))


@pytest.mark.parametrize("opset", [11, 13])
def test_masks_in_onnx(opset):
    mask = np.zeros((3, 4), np.float32)
    mask[0, 1:] = mask[1, 2] = mask[2, 0] = -np.inf
    constants = {"w": weights(4, 4), "m": mask}
    for kind in ("Softmax", "IsNaN"):
        nodes = [
            node("MatMul", ["x", "w"], ["s"]),
            node("Add", ["m", "s"], ["a"]),
            node("Softmax", ["a"], ["p"], axis=-1),
            node("IsNaN", ["p"], ["n"]),
            node("Where", ["n", "z", "p"], ["q"]),
            node("Add", ["q" if kind == "IsNaN" else "p", "x"], ["y"]),
        ]
        assert_agrees(model(nodes, (3, 4), constants | {"z": np.float32(0)}, opset), (3, 4))


REFUSED = {
    "a softmax is read": lambda m, s: torch.exp(s + m.mask),
    "and nothing else": lambda m, s: F.log_softmax(s + m.mask, -1),
    "nothing of some lines": lambda m, s: F.softmax(s + m.mask + m.mask.roll(1, 1), -1),
    "something else than minus infinity": lambda m, s: F.softmax((s + m.mask) * -1, -1),
    "something else than minus infinity of minus": lambda m, s: F.softmax(
        torch.cat([s, torch.full((1, N, N), -INFINITY) / s], -1), -1
    ),
    "not known beforehand": lambda m, s: F.softmax(torch.where(s > 0, s, -INFINITY), -1),
    "values of minus infinity": lambda m, s: s + m.mask,
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_masks_leave_undefined_is_refused(words):
    module = Attending(lambda m, s: s)
    module.forward = lambda x: REFUSED[words](module, module.parts[0](x) @ x.transpose(1, 2))
    with pytest.raises(av.AdmmVerifyError, match=words):
        av.trace(module.eval(), torch.randn(1, N, 3))


def test_parameters_are_no_masks():
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight[0, 0] = -INFINITY
    with pytest.raises(av.ModelError, match="infinite"):
        av.trace(module, torch.randn(1, 2))


@pytest.mark.parametrize("kind", ["Exp", "LogSoftmax", "Relu", "MatMul"])
def test_onnx_operators_that_read_masked_scores_are_refused(kind):
    mask = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    inputs = ["a", "m"] if kind == "MatMul" else ["a"]
    nodes = [node("Add", ["x", "m"], ["a"]), node(kind, inputs, ["y"])]
    with pytest.raises(av.UnsupportedOperatorError, match="minus infinity"):
        network_from_bytes(model(nodes, (4, 4), {"m": mask}, element=TensorProto.FLOAT), "masked.onnx")


def test_onnx_quotients_whose_sign_depends_on_the_input_make_no_mask():
    """-infinity / x is plus infinity where x is negative."""
    nodes = [node("Div", ["m", "x"], ["d"]), node("Concat", ["x", "d"], ["a"], axis=1), node("Softmax", ["a"], ["y"])]
    data = model(nodes, (4, 4), {"m": np.float32(-np.inf)}, 13, element=TensorProto.FLOAT)
    with pytest.raises(av.UnsupportedOperatorError, match="minus infinity"):
        network_from_bytes(data, "masked.onnx")
