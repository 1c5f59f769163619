"""What a network computes is what it was read with, operator by operator, whatever it is relaxed by."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import nn

import admm_verify as av
from admm_verify import Network
from admm_verify.bounds.arithmetic import output_error
from admm_verify.network.builder import Builder
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.splice import splice
from tests.network.onnx_models import model, node, runtime
from tests.network.test_torch_layers import Every, Function

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")

SIZES = [0.5, -1e6, 1e20, -3e38, 1e-40, 0.0]
"""Constants: ordinary ones, ones beside which x vanishes, subnormal ones."""

POINTS = np.array([0.9, -0.9, 0.1, -3.0, 0.0, 1e-30, -7.0, 1e6, -1e6, 2.5e7, 1e-42, -20.5, 88.0, 3e20, -3e20, 1e30])
"""Sixteen numbers of all sizes."""


def against_torch(functions, x: torch.Tensor):
    """Our forward pass and torch's for each of the functions, sample by sample as it was read."""
    module = Every(functions).to(x.dtype).eval()
    network = av.trace(module, x)
    with torch.no_grad():
        expected = [torch.cat([part(row[None]).flatten(1) for row in x]).numpy() for part in module.parts]
    found = network(x)
    assert found.dtype == x.dtype
    ends = np.cumsum([part.shape[1] for part in expected])
    return zip(np.split(found.numpy(), ends[:-1], axis=1), expected, strict=True)


def images(dtype: torch.dtype) -> torch.Tensor:
    """Two samples of all sizes, [2, 2, 2, 4]."""
    both = np.stack([POINTS, -np.roll(POINTS, 5)])
    return torch.as_tensor(both.reshape(2, 2, 2, 4)).to(dtype)


EXACT = {
    "clamp min": lambda c: lambda x: torch.clamp(x, min=c),
    "clamp max": lambda c: lambda x: torch.clamp(x, max=c),
    "clamp": lambda c: lambda x: torch.clamp(x, min=-abs(c) - 1e-3, max=abs(c)),
    "clamp crossed": lambda c: lambda x: torch.clamp(x, min=abs(c) + 1.0, max=c),
    "maximum": lambda c: lambda x: torch.maximum(x, torch.tensor(c, dtype=x.dtype)),
    "minimum": lambda c: lambda x: torch.minimum(x, torch.tensor([c] * 4, dtype=x.dtype)),
    "maximum of tensors": lambda c: lambda x: torch.maximum(x, x[..., [3, 2, 1, 0]] + c),
    "minimum of tensors": lambda c: lambda x: torch.minimum(x[:, :1] + c, x),
    "max pool": lambda c: lambda x: F.max_pool2d(x + c, (2, 3), 1, (1, 1)),
    "max pool ceil": lambda c: lambda x: F.max_pool2d(x + c, 2, 2, ceil_mode=True),
    "adaptive max pool": lambda c: lambda x: F.adaptive_max_pool2d(x + c, (1, 2)),
    "amax": lambda c: lambda x: (x + c).amax((2, 3)),
    "amin": lambda c: lambda x: (x + c).amin(1),
    "relu": lambda c: lambda x: torch.relu(x + c),
    "abs": lambda c: lambda x: torch.abs(x - c),
    "division": lambda c: lambda x: x / (c if c else 7.0),
    "product": lambda c: lambda x: x * c + c,
    "leaky relu": lambda c: lambda x: F.leaky_relu(x, c),
    "prelu": lambda c: lambda x: F.prelu(x, torch.tensor([c, 3.0], dtype=x.dtype)),
    "mean of two": lambda c: lambda x: (x + c).mean(1),
}


TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def sizes(dtype: torch.dtype) -> list[float]:
    """The constants, the largest of them near the largest number of the type."""
    return [c * 1e260 if dtype is torch.float64 and abs(c) > 1e30 else c for c in SIZES]


@TYPES
def test_exact_operators_are_computed_as_torch_computes_them(dtype: torch.dtype) -> None:
    labels = [(name, c) for c in sizes(dtype) for name in EXACT]
    pairs = against_torch([EXACT[name](c) for name, c in labels], images(dtype))
    for label, (found, expected) in zip(labels, pairs, strict=True):
        assert np.array_equal(found, expected, equal_nan=True), label


def normalised(c: float) -> nn.Module:
    layer = nn.BatchNorm2d(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.5, -0.3]))
        layer.bias.copy_(torch.tensor([min(abs(c), 1e20), 0.25]))
        layer.running_mean.copy_(torch.tensor([min(abs(c), 1e20), -2.0]))
        layer.running_var.copy_(torch.tensor([1.0 + min(abs(c), 1e20) / 1e6, 0.7]))
    return layer


CLOSE = {
    "elu": lambda c: lambda x: F.elu(x, min(1e6, abs(c) + 0.1)),
    "celu": lambda c: lambda x: F.celu(x, min(1e6, abs(c) + 0.1)),
    "selu": lambda c: F.selu,
    "softplus": lambda c: lambda x: F.softplus(x, min(1e6, abs(c) + 0.1), 20.0),
    "log sigmoid": lambda c: F.logsigmoid,
    "sigmoid": lambda c: lambda x: torch.sigmoid(x + c),
    "tanh": lambda c: lambda x: torch.tanh(x - c),
    "hard sigmoid": lambda c: lambda x: F.hardsigmoid(x + c),
    "hard tanh": lambda c: lambda x: F.hardtanh(x, -abs(c) - 1e-3, abs(c)),
    "relu6": lambda c: lambda x: F.relu6(x - c),
    "average pool": lambda c: lambda x: F.avg_pool2d(x, (2, 3), 1, 1),
    "batch norm": normalised,
}


@TYPES
def test_other_operators_are_computed_within_few_roundings(dtype: torch.dtype) -> None:
    labels = [(name, c) for c in sizes(dtype) for name in CLOSE]
    pairs = against_torch([CLOSE[name](c) for name, c in labels], images(dtype))
    for (name, c), (found, expected) in zip(labels, pairs, strict=True):
        known = np.isfinite(expected)
        assert np.array_equal(np.isfinite(found), known), (name, c)
        # Sums may be taken in another order, and may cancel.
        size = np.where(known, np.abs(expected), 0.0)
        size = size.max() + min(abs(c), 1e20) if name in ("average pool", "batch norm") else size
        slack = 8 * torch.finfo(dtype).eps * size + torch.finfo(dtype).smallest_normal
        assert (np.abs(np.where(known, found - expected, 0.0)) <= slack).all(), (name, c)


ONNX = {
    "Max": lambda c: ([node("Max", ["x", "c"], ["y"])], {"c": np.float32(c)}),
    "Max of three": lambda c: (
        [node("Neg", ["x"], ["n"]), node("Max", ["x", "c", "n"], ["y"])],
        {"c": np.full((1, 1, 4), c, np.float32)},
    ),
    "Min": lambda c: ([node("Min", ["c", "x"], ["y"])], {"c": np.full(4, c, np.float32)}),
    "Clip low": lambda c: ([node("Clip", ["x", "c"], ["y"])], {"c": np.float32(c)}),
    "Clip high": lambda c: ([node("Clip", ["x", "", "c"], ["y"])], {"c": np.float32(c)}),
    "Clip": lambda c: (
        [node("Clip", ["x", "a", "b"], ["y"])],
        {"a": np.float32(-abs(c) - 1e-3), "b": np.float32(abs(c))},
    ),
    "Div": lambda c: ([node("Div", ["x", "c"], ["y"])], {"c": np.float32(c or 7.0)}),
    "MaxPool": lambda c: (
        [node("Add", ["x", "c"], ["s"]), node("MaxPool", ["s"], ["y"], kernel_shape=[2, 3], pads=[1, 1, 0, 1])],
        {"c": np.float32(c)},
    ),
    "GlobalMaxPool": lambda c: (
        [node("Mul", ["x", "c"], ["s"]), node("GlobalMaxPool", ["s"], ["y"])],
        {"c": np.float32(c)},
    ),
    "ReduceMin": lambda c: (
        [node("Sub", ["x", "c"], ["s"]), node("ReduceMin", ["s"], ["y"], axes=[2])],
        {"c": np.float32(c)},
    ),
    "LeakyRelu": lambda c: ([node("LeakyRelu", ["x"], ["y"], alpha=float(np.float32(c)))], {}),
    "PRelu": lambda c: ([node("PRelu", ["x", "c"], ["y"])], {"c": np.full((2, 1, 1), c, np.float32)}),
}


@pytest.mark.parametrize("name", ONNX)
def test_exact_operators_are_computed_as_onnxruntime_computes_them(name: str) -> None:
    x = images(torch.float32).numpy()[:1]
    for c in SIZES:
        nodes, constants = ONNX[name](c)
        data = model(nodes, [1, 2, 2, 4], constants)
        network = network_from_bytes(data, name)
        assert np.array_equal(network(x), runtime(data, x)), c


def lowered(c: float = -1e20) -> Network:
    return av.trace(
        Function(lambda x: torch.clamp(x, max=500.0) * 2 + torch.maximum(x, x[:, [2, 1, 0]] + c)), torch.zeros(1, 3)
    )


X = np.array([[0.9, -0.3, 1e-3]], dtype=np.float32)


def test_the_graph_as_read_stays_behind_every_use() -> None:
    network = lowered()
    expected = 2 * X + X
    assert np.array_equal(network(X), expected)
    for same in (pickle.loads(pickle.dumps(network)), network.put(av.arrays.Placement.numpy(np.float32))):
        assert np.array_equal(same(X), expected)
    assert np.array_equal(network(X[0]), expected[0]) and np.array_equal(network(np.tile(X, (5, 1)))[3], expected[0])
    builder = Builder((3,))
    twice = splice(builder, network, splice(builder, network, builder.input))
    assert np.array_equal(builder.finish(twice, "twice")(X), 2 * expected + expected)


def test_numbers_that_are_not_merged_are_shared() -> None:
    network = av.trace(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), torch.zeros(1, 4))
    assert network.as_read is not None and network.as_read.as_read is None

    def weights(graph: Network) -> list[np.ndarray]:
        affine = list(graph.affine.values())
        return [term.map.weight for node in affine for term in node.terms if hasattr(term.map, "weight")]

    pairs = zip(weights(network), weights(network.as_read), strict=True)
    assert all(np.shares_memory(merged, read) for merged, read in pairs)


def test_a_clip_without_effect_is_no_counterexample() -> None:
    network = av.trace(Function(lambda x: torch.clamp(x, min=-1e20)), torch.zeros(1, 1))
    bounds = av.solve(av.Problem(network, av.Box(np.array([0.5]), np.array([1.0])), np.ones((1, 1))))
    assert 0.499 <= float(bounds.lower[0]) <= 0.5


def test_ends_that_differ_in_kind_are_read() -> None:
    ends = {"a": np.array([-np.inf, 0.0, -1.0, -1e30], np.float32), "b": np.array([1.0, np.inf, 2.0, 1e30], np.float32)}
    network = av.trace(
        Function(lambda x: torch.clamp(x, torch.as_tensor(ends["a"]), torch.as_tensor(ends["b"]))), torch.zeros(1, 4)
    )
    x = np.array([[3.0, -3.0, -3.0, 5.0], [-9.0, 9.0, 9.0, 1e31]], np.float32)
    assert np.array_equal(network(x), np.clip(x, ends["a"], ends["b"]))
    pre = av.preactivation_bounds(network, av.Box(-np.ones(4), np.ones(4)))
    assert np.isfinite(pre.lower[0]).all()


def test_a_negative_variance_is_refused() -> None:
    constants = {name: np.full(2, value, np.float32) for name, value in (("g", 1), ("b", 0), ("m", 0), ("v", -5e-6))}
    data = model([node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"])], [1, 2, 2, 2], constants)
    with pytest.raises(av.UnsupportedOperatorError, match="variance is negative"):
        network_from_bytes(data, "variance")


def test_double_models_are_computed_in_double() -> None:
    data = model([node("Max", ["x", "c"], ["y"])], [1, 2], {"c": np.float64(-1e300)}, element=TensorProto.DOUBLE)
    x = np.array([[0.1, -1e200]])
    assert np.array_equal(network_from_bytes(data, "double")(x), x)


def every_kind() -> list:
    """Functions whose rewriting, constants or sums round, and some whose do not."""
    named = [CLOSE[name](c) for name in CLOSE for c in (0.3, -7.1)]
    return [
        *named,
        lambda x: torch.clamp(x, 0.1, 0.7),
        lambda x: torch.clamp(x, min=0.1),
        lambda x: torch.clamp(x, max=-1e6 / 3),
        lambda x: torch.clamp(x, min=1e9 / 3),
        lambda x: torch.clamp(x, torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.7)),
        lambda x: F.hardtanh(x, -0.3, 0.1),
        lambda x: F.leaky_relu(x, 0.3),
        lambda x: F.leaky_relu(x, 3.3),
        lambda x: (x * 0.1 + 0.3) / 0.7,
        lambda x: x / 1e-3 - 0.1 * x,
        lambda x: x.mean(1) + 0.1,
        lambda x: torch.maximum(x / 3, x.mean((2, 3), True)),
        lambda x: F.max_pool2d(x * 0.7, 2, 1) - 0.1,
    ]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e7])
def test_bounds_in_float32_hold_what_torch_computes(scale: float) -> None:
    torch.manual_seed(0)
    module = Every(every_kind()).eval()
    network = av.trace(module, torch.zeros(1, 2, 2, 4))
    rows = np.concatenate([np.eye(network.output_size), -np.eye(network.output_size)])
    for x in scale * torch.randn(2, 1, 2, 2, 4):
        with torch.no_grad():
            expected = rows @ module(x).numpy()[0].astype(np.float64)
        centre = x.reshape(1, -1).numpy().astype(np.float64)
        for radius in (0.0, 0.1 * scale):
            box = av.Box(centre - radius, centre + radius)
            pre = av.preactivation_bounds(network, box, "interval")
            error = np.asarray(output_error(network, box, pre, "float32"))[0]
            problem = av.Problem(network, box, rows, preactivation=pre)
            found = av.solve(problem, settings=av.SolverSettings(max_passes=0))
            assert (np.asarray(found.lower) - np.tile(error, 2) <= expected).all()


def test_single_numbers_are_read_in_the_type_of_the_network() -> None:
    """In float32 torch clamps at the nearest number to 0.1, which is larger."""
    network = av.trace(Function(lambda x: torch.clamp(x, -1.0, 0.1)), torch.zeros(1, 1))
    (clip,) = network.functions
    assert float(clip.parameters[1][0]) == float(np.float32(0.1)) > 0.1
