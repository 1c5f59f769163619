"""Corners where a reader could build another function than the one deployed: each was wrong once."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from onnx import TensorProto

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from tests.network.onnx_models import model, node, runtime

DOUBLE = TensorProto.DOUBLE


def lower(network: av.Network, low: list[float], high: list[float], objective: list[float]) -> float:
    """The certified bound of one row over a box."""
    box = av.Box(np.array(low), np.array(high))
    return float(
        av.solve(av.Problem(network, box, np.array([objective])), settings=av.SolverSettings(max_passes=0)).lower[0]
    )


def test_a_cast_that_rounds_is_refused() -> None:
    data = model(
        [node("Cast", ["x"], ["a"], to=1), node("Relu", ["a"], ["b"]), node("Cast", ["b"], ["y"], to=11)],
        [1, 2],
        element=DOUBLE,
    )
    with pytest.raises(av.UnsupportedOperatorError, match="casts float64 to float32"):
        network_from_bytes(data, "cast")

    class Narrow(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.to(torch.float32).relu().to(torch.float64)

    with pytest.raises(av.UnsupportedOperatorError, match="casts float64 to float32"):
        av.trace(Narrow(), torch.zeros(1, 2, dtype=torch.float64))


def test_the_default_epsilon_is_the_runtime_s() -> None:
    constants = {"s": np.ones(2), "b": np.zeros(2), "m": np.zeros(2), "v": np.zeros(2)}
    data = model([node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])], [1, 2], constants, element=DOUBLE)
    x = np.array([[-0.7, 1.3]])
    assert np.allclose(network_from_bytes(data, "norm")(x), runtime(data, x), rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [("LeakyRelu", {"alpha": 0.01}), ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}), ("Elu", {"alpha": 1.0})],
)
def test_defaults_of_attributes_are_float32_numbers(kind: str, defaults: dict[str, float]) -> None:
    """What a writer would store for the default is read as the default is."""
    silent = model([node(kind, ["x"], ["y"])], [1, 2], element=DOUBLE)
    stated = model([node(kind, ["x"], ["y"], **defaults)], [1, 2], element=DOUBLE)
    x = np.array([[-0.7, 0.3]])
    assert np.array_equal(network_from_bytes(silent, kind)(x), network_from_bytes(stated, kind)(x))


@pytest.mark.parametrize(("beta", "x"), [(1.0, 20.001), (1e-6, 2.1e7), (1.0, 19.999)])
def test_bounds_hold_for_softplus_with_its_threshold(beta: float, x: float) -> None:
    module = torch.nn.Softplus(beta=beta).double()
    network = av.trace(module, torch.zeros(1, 1, dtype=torch.float64))
    value = float(module(torch.tensor([[x]], dtype=torch.float64)))
    assert lower(network, [x], [x], [1.0]) <= value
    assert -lower(network, [x], [x], [-1.0]) >= value
    assert abs(lower(network, [x], [x], [1.0]) - value) <= 1e-3 / beta * 1e-3


def test_places_of_maxima_are_refused_where_they_are_read() -> None:
    class Places(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _, places = x.max(1)
            return torch.clamp(x, max=places)

    with pytest.raises(av.UnsupportedOperatorError, match="the result of an argmax"):
        av.trace(Places(), torch.zeros(1, 3))


def test_constants_are_combined_in_more_than_float32() -> None:
    third, c = np.float32(0.3), np.float32(1.7)
    weight = np.zeros((1, 1), dtype=np.float32)
    data = model([node("Gemm", ["x", "w", "c"], ["y"], beta=float(third))], [1, 1], {"w": weight, "c": c})
    exact = Fraction(float(third)) * Fraction(float(c))
    network = network_from_bytes(data, "gemm")
    assert Fraction(lower(network, [0.0], [0.0], [1.0])) <= exact <= -Fraction(lower(network, [0.0], [0.0], [-1.0]))
    tiny = np.float32(2.0**-25)
    data = model([node("Sum", ["x", "a", "b"], ["y"])], [1, 1], {"a": np.float32(1.0), "b": tiny})
    network = network_from_bytes(data, "sum")
    assert Fraction(lower(network, [0.0], [0.0], [-1.0])) <= -(1 + Fraction(float(tiny)))


def test_sums_of_constants_hide_nothing() -> None:
    constants = {"a": np.float32(1e20), "b": np.float32(1.0), "c": np.float32(-1e20)}
    data = model([node("Sum", ["a", "b", "x", "c"], ["y"])], [1, 1], constants)
    # In real numbers y = x + 1 up to what float32 makes of 1e20; added up in float64 the constants would give 0.
    assert lower(network_from_bytes(data, "sum"), [0.0], [0.0], [-1.0]) <= -1.0


@pytest.mark.parametrize("kind", ["Sum", "Max", "Min"])
def test_scalar_constants_are_read(kind: str) -> None:
    data = model([node(kind, ["x", "a", "b"], ["y"])], [1, 2], {"a": np.float32(0.5), "b": np.float32(0.25)})
    x = np.array([[-1.0, 2.0]], dtype=np.float32)
    assert np.allclose(network_from_bytes(data, kind)(x), runtime(data, x))


def test_reductions_to_integers_are_refused() -> None:
    class Whole(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(1, dtype=torch.int64).float()

    with pytest.raises(av.UnsupportedOperatorError, match="int64"):
        av.trace(Whole(), torch.zeros(1, 3))


def test_large_ends_of_a_clip_count_in_float64() -> None:
    data = model([node("Clip", ["x", "", "high"], ["y"])], [1, 1], {"high": np.float64(1e39)}, element=DOUBLE)
    x = np.array([[1e41]])
    assert np.allclose(network_from_bytes(data, "clip")(x), runtime(data, x), rtol=1e-12)


def test_trace_leaves_the_module_as_it_was() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.ReLU())
    module.train()
    module[1].eval()
    av.trace(module, torch.zeros(1, 2))
    assert [part.training for part in module] == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_types_are_refused_in_words(dtype: torch.dtype) -> None:
    with pytest.raises(av.ModelError, match="float32"):
        av.trace(torch.nn.Linear(2, 2).to(dtype), torch.zeros(1, 2))
    with pytest.raises(av.ModelError, match="float32"):
        av.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2, dtype=dtype))


def test_repeated_sums_of_selections_do_not_multiply() -> None:
    orders = [torch.randperm(16, generator=torch.Generator().manual_seed(seed)) for seed in range(24)]

    class Sums(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for step in range(12):
                x = x[:, orders[step]] + x[:, orders[step + 12]]
            return x

    network = av.trace(Sums(), torch.zeros(1, 16))
    assert max(len(affine.terms) for affine in network.nodes if hasattr(affine, "terms")) <= 8
    x = np.random.default_rng(0).standard_normal((1, 16))
    assert np.allclose(network(x), Sums()(torch.as_tensor(x)).numpy())


def test_softplus_in_recurrent_layers_is_that_of_the_runtime():
    """It is 0 at -20 in float32, which a softplus with all digits is not, and overflows where that does not."""
    one = np.ones((1, 1, 1), np.float32)
    nodes = [node("RNN", ["x", "w", "r"], ["", "y"], hidden_size=1, activations=["Softplus"])]
    data = model(nodes, (1, 1, 1), {"w": one, "r": 0 * one}, 14, element=TensorProto.FLOAT)
    network = network_from_bytes(data, "recurrent.onnx")
    for x in (-20 * one, -3 * one, 2 * one, 80 * one):
        expected = runtime(data, x)
        assert np.allclose(network(x.reshape(network.input_shape)).reshape(-1), expected.reshape(-1), rtol=1e-6, atol=0)
    with np.errstate(over="ignore"):
        assert np.isinf(network((100 * one).reshape(network.input_shape))).all()
    assert np.isinf(runtime(data, 100 * one)).all()
