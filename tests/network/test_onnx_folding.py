"""Operators on constants: the numbers of onnxruntime to the last bit, values of the graph, or a refusal."""

from fractions import Fraction

import numpy as np
import pytest
from onnx import TensorProto, helper

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from tests.network.onnx_models import model, node, runtime

POINT = np.zeros((1, 1), dtype=np.float32)


def constant_of(nodes, constants, opset=13, element=TensorProto.FLOAT):
    """The model y = x + c, with c computed by nodes on constants, flat."""
    kind = [node("Cast", ["c"], ["real"], to=element), node("Add", ["x", "real"], ["y"])]
    return model([*nodes, *kind], [1, 1], constants, opset, element=element)


@pytest.mark.parametrize(
    ("kind", "attributes", "inputs"),
    [
        ("RandomUniform", {"shape": [1, 1]}, []),
        ("RandomNormal", {"shape": [1, 1]}, []),
        ("RandomNormalLike", {}, ["x"]),
        ("RandomUniformLike", {}, ["c"]),
        ("Multinomial", {}, ["c"]),
        ("Bernoulli", {}, ["x"]),
        ("Bernoulli", {"seed": 1.0}, ["c"]),
    ],
)
def test_random_operators_are_refused(kind, attributes, inputs) -> None:
    nodes = [node(kind, inputs, ["r"], **attributes), node("Add", ["x", "r"], ["y"])]
    data = model(nodes, [1, 1], {"c": np.ones((1, 1), np.float32)}, 15)
    with pytest.raises(av.UnsupportedOperatorError, match=f"{kind}.*random"):
        network_from_bytes(data, "random")


def test_dropout_of_a_constant_in_training_mode_is_refused() -> None:
    nodes = [node("Dropout", ["c", "half", "on"], ["r"]), node("Add", ["x", "r"], ["y"])]
    constants = {"c": np.ones((1, 1), np.float32), "half": np.float32(0.5), "on": np.array(True)}
    with pytest.raises(av.UnsupportedOperatorError, match=r"Dropout.*training mode"):
        network_from_bytes(model(nodes, [1, 1], constants), "dropout")


def test_random_operators_in_subgraphs_and_functions_are_refused() -> None:
    value = helper.make_empty_tensor_value_info("r")
    drawn = helper.make_graph([node("RandomUniform", [], ["r"], shape=[1, 1])], "drawn", [], [value])
    branch = [node("If", ["on"], ["r"], then_branch=drawn, else_branch=drawn), node("Add", ["x", "r"], ["y"])]
    with pytest.raises(av.UnsupportedOperatorError, match=r"RandomUniform.*random"):
        network_from_bytes(model(branch, [1, 1], {"on": np.array(True)}), "branch")
    called = [node("Noise", ["c"], ["r"], domain="mine"), node("Add", ["x", "r"], ["y"])]
    with pytest.raises(av.UnsupportedOperatorError, match="Noise"):
        network_from_bytes(model(called, [1, 1], {"c": POINT}), "function")


def test_constants_through_curves_carry_their_rounding() -> None:
    """The bound of y = x + sigmoid(c) holds for the curve in real numbers, not only for one runtime's digits."""
    data = constant_of([node("Sigmoid", ["a"], ["c"])], {"a": np.float32([[0.3]])})
    network = network_from_bytes(data, "curve")
    point = av.Box(np.zeros(1), np.zeros(1))
    bounds = [
        float(av.solve(av.Problem(network, point, np.array([[s]])), settings=av.SolverSettings(max_passes=0)).lower[0])
        for s in (1.0, -1.0)
    ]
    exact = 1.0 / (1.0 + np.exp(-np.float64(np.float32(0.3))))
    assert bounds[0] <= exact - 1e-16 < exact + 1e-16 <= -bounds[1] <= exact + 1e-9
    assert abs(exact - float(runtime(data, POINT)[0, 0])) < 1e-6


def test_sums_of_constants_hold_in_real_numbers() -> None:
    a = np.float32([[1.0, 2.0**-25, 2.0**-25]])
    data = constant_of([node("MatMul", ["a", "o"], ["c"])], {"a": a, "o": np.ones((3, 1), np.float32)})
    network = network_from_bytes(data, "sum")
    point = av.Box(np.zeros(1), np.zeros(1))
    upper = -float(
        av.solve(av.Problem(network, point, np.array([[-1.0]])), settings=av.SolverSettings(max_passes=0)).lower[0]
    )
    assert Fraction(upper) >= 1 + Fraction(2) ** -24


def test_a_softmax_of_constants_is_refused() -> None:
    data = constant_of([node("Softmax", ["a"], ["c"])], {"a": np.ones((1, 2), np.float32)}, 11)
    with pytest.raises(av.UnsupportedOperatorError, match=r"Softmax.*store its result as a constant"):
        network_from_bytes(data, "curve")


@pytest.mark.parametrize("kind", ["Exp", "LpNormalization"])
def test_other_curves_of_constants_carry_their_rounding(kind) -> None:
    data = constant_of([node(kind, ["a"], ["c"])], {"a": np.float32([[0.7, 0.2]])}, 11)
    network, point = network_from_bytes(data, "curve"), av.Box(np.zeros(1), np.zeros(1))
    ranges, theirs = av.output_bounds(network, point), runtime(data, POINT)
    assert (ranges.lower < ranges.upper).all()
    np.testing.assert_allclose(np.asarray(network(np.zeros((1, 1)))), theirs, rtol=1e-6)
    np.testing.assert_allclose(np.stack([ranges.lower, ranges.upper])[:, None], np.stack([theirs] * 2), rtol=1e-6)


def test_factors_whose_digits_depend_on_the_runtime_carry_their_rounding() -> None:
    nodes = [node("MatMul", ["a", "a"], ["f"]), node("Mul", ["x", "f"], ["y"])]
    network = network_from_bytes(model(nodes, [1, 1], {"a": np.float32([[0.1]])}), "factor")
    assert not network.functions
    ranges, square = av.output_bounds(network, av.Box(np.ones(1), np.ones(1))), float(np.float32(0.1)) ** 2
    assert ranges.lower[0] < square < ranges.upper[0] < square + 1e-12


@pytest.mark.parametrize("opset", [9, 13])
def test_statistics_of_a_batch_are_refused(opset) -> None:
    outputs = ["y", "m", "v", "sm", "sv"]
    parts = {name: np.ones(2, np.float32) for name in ("scale", "shift", "mean", "variance")}
    data = model([node("BatchNormalization", ["x", *parts], outputs)], [1, 2, 3], parts, opset)
    with pytest.raises(av.UnsupportedOperatorError, match="training mode"):
        network_from_bytes(data, "statistics")
