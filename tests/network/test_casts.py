"""Casts of values to bool and of whole numbers to the output: computed as runtimes do, and decided."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import admm_verify as av
from admm_verify.commands.supports import CAPABILITIES
from tests.network.onnx_models import node, runtime

BOOL, FLOAT, INT64 = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.INT64


def _model(nodes: list, output: int, size: int = 2) -> object:
    graph = helper.make_graph(
        nodes,
        "casts",
        [helper.make_tensor_value_info("x", FLOAT, [size])],
        [helper.make_tensor_value_info("y", output, [size])],
        [helper.make_tensor("one", INT64, [1], [1])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


TRUTH = [node("Cast", ["x"], ["b"], to=BOOL), node("Cast", ["b"], ["y"], to=FLOAT)]
WHOLE = [node("Cast", ["x"], ["i"], to=INT64), node("Add", ["i", "one"], ["y"])]


def _query(model: object, tmp_path, conditions: list[str], kind: str) -> av.Query:
    text = f"(vnnlib-version <2.0>)(declare-network f (declare-input X float32 [2]) (declare-output Y {kind} [2]))"
    (tmp_path / "q.vnnlib").write_text(text + "".join(f"(assert {one})" for one in conditions))
    return av.read_query(tmp_path / "q.vnnlib", model)


@pytest.mark.parametrize("nodes", [TRUTH, WHOLE])
def test_values_are_those_of_the_runtime(nodes: list) -> None:
    model = _model(nodes, FLOAT if nodes is TRUTH else INT64)
    network = av.read_onnx(model)
    for x in np.float32([[0.0, -0.0], [1e-30, -2.5], [0.99, 1.0], [-0.5, 3.7]]):
        np.testing.assert_array_equal(network(x), runtime(model.SerializeToString(), x))


@pytest.mark.parametrize(
    ("bounds", "condition", "verdict"),
    [
        ("(<= X[0] 0)", "(> Y[0] 0.5)", "unsat"),
        ("(<= X[0] 0)", "(< Y[0] 0.5)", "sat"),
        ("(<= X[0] 0.25)", "(> Y[0] 0.5)", "sat"),
        ("(<= X[0] 0.25)", "(< Y[1] 0.5)", "unsat"),
    ],
)
def test_truth_is_decided(tmp_path, bounds: str, condition: str, verdict: str) -> None:
    sides = ["(>= X[0] 0)", bounds, "(>= X[1] 1)", "(<= X[1] 2)", condition]
    outcome = av.verify(_query(_model(TRUTH, FLOAT), tmp_path, sides, "float32"), timeout=20)
    assert outcome.verdict.value == verdict


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [
        ("(>= Y[0] 5)", "unsat"),
        ("(and (>= Y[0] 4) (<= Y[1] -1))", "sat"),
        ("(== (* 2 Y[0]) 7)", "unsat"),
        ("(>= (* Y[0] Y[1]) 0.5)", "sat"),
    ],
)
def test_whole_numbers_are_outputs(tmp_path, condition: str, verdict: str) -> None:
    sides = ["(>= X[0] 1.5)", "(<= X[0] 3.75)", "(>= X[1] -2.25)", "(<= X[1] 1)", condition]
    query = _query(_model(WHOLE, INT64), tmp_path, sides, "int64")
    if "Y[0] Y[1]" in condition:
        with pytest.raises(av.UnsupportedQueryError, match="reads whole numbers"):
            av.verify(query, timeout=20)
        return
    outcome = av.verify(query, timeout=20)
    assert outcome.verdict.value == verdict
    if verdict == "sat":
        np.testing.assert_array_equal(outcome.output, np.trunc(outcome.counterexample) + 1)


def test_operators_that_make_constants_are_listed() -> None:
    nodes = [node("ConstantOfShape", ["two"], ["zeros"]), node("Range", ["z", "t", "o"], ["r"])]
    nodes += [node("Cast", ["r"], ["f"], to=FLOAT), node("Add", ["x", "zeros"], ["s"]), node("Add", ["s", "f"], ["y"])]
    model = _model(nodes, FLOAT)
    for name, value in (("two", [2]), ("z", 0), ("t", 2), ("o", 1)):
        shape = [len(value)] if isinstance(value, list) else []
        model.graph.initializer.append(helper.make_tensor(name, INT64, shape, np.ravel(value)))
    np.testing.assert_array_equal(av.read_onnx(model)(np.float32([3, 4])), [3, 5])
    assert {"ConstantOfShape", "Range"} <= set(CAPABILITIES["onnx-operators"])
