"""Choices in ONNX models: by constant conditions, and by the sign of values where both sides meet."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from tests.network.onnx_models import model, node, runtime

X = np.array([[0.7, -0.3, 0.0, -0.0, 0.1, 1e-30]], np.float32)


def agrees(data: bytes) -> None:
    for x in (X, 100 * X[:, ::-1].copy()):
        assert np.array_equal(network_from_bytes(data, "choice")(x), runtime(data, x))


def branch(name: str, nodes: list, constants: dict | None = None) -> object:
    stored = [numpy_helper.from_array(value, key) for key, value in (constants or {}).items()]
    return helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info("out")], stored)


@pytest.mark.parametrize("kind", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_choices_whose_sides_meet_are_those_of_the_runtime(kind: str) -> None:
    tenth = np.float32([0.1])
    nodes = [node("Mul", ["x", "t"], ["a"]), node(kind, ["x", "z"], ["c"]), node("Where", ["c", "x", "a"], ["y"])]
    agrees(model(nodes, [1, 6], {"t": tenth, "z": np.float32([0.0])}, opset=16))
    nodes[1:] = [node(kind, ["z", "x"], ["b"]), node("Not", ["b"], ["c"]), node("Where", ["c", "a", "x"], ["y"])]
    agrees(model(nodes, [1, 6], {"t": tenth, "z": np.float32([0.0])}, opset=16))


def test_products_with_a_comparison_are_choices() -> None:
    nodes = [node("Less", ["z", "x"], ["c"]), node("Cast", ["c"], ["m"], to=1), node("Mul", ["m", "x"], ["y"])]
    agrees(model(nodes, [1, 6], {"z": np.float32([0.0])}, opset=16))


def test_sequences_are_read() -> None:
    nodes = [
        node("SplitToSequence", ["x", "k"], ["s"], axis=1),
        node("SequenceAt", ["s", "l"], ["a"]),
        node("SequenceAt", ["s", "f"], ["b"]),
        node("SequenceConstruct", ["a", "b", "z"], ["t"]),
        node("ConcatFromSequence", ["t"], ["j"], axis=1, new_axis=0),
        node("SplitToSequence", ["j"], ["u"], axis=1, keepdims=0),
        node("ConcatFromSequence", ["u"], ["y"], axis=-1, new_axis=1),
    ]
    places = {"k": np.array(2), "l": np.array(-1), "f": np.array(0), "z": np.float32([[0.5]])}
    agrees(model(nodes, [1, 6], places, opset=16))


@pytest.mark.parametrize(
    ("nodes", "places", "words"),
    [
        (
            [node("SplitToSequence", ["x", "k"], ["s"], axis=1), node("SequenceAt", ["s", "f"], ["y"])],
            (-1, 0),
            "-1 ent",
        ),
        ([node("SplitToSequence", ["x", "k"], ["s"], axis=1), node("SequenceAt", ["s", "f"], ["y"])], (2, 3), "part 3"),
        ([node("Einsum", ["x"], ["y"], equation="b... -> b")], (), "ellipsis"),
    ],
)
def test_what_runtimes_refuse_is_refused(nodes, places, words) -> None:
    constants = {name: np.array(value) for name, value in zip("kf", places, strict=False)}
    with pytest.raises(av.UnsupportedOperatorError, match=words):
        network_from_bytes(model(nodes, [1, 6], constants, opset=16), "refused")


def test_ones_on_a_diagonal_are_constants() -> None:
    nodes = [node("EyeLike", ["x"], ["e"], k=1), node("Mul", ["x", "e"], ["y"])]
    agrees(model(nodes, [1, 6], opset=16))


def test_choices_that_jump_are_products_with_steps() -> None:
    nodes = [node("Greater", ["x", "t"], ["c"]), node("Where", ["c", "x", "z"], ["y"])]
    data = model(nodes, [1, 6], {"t": np.float32([0.1]), "z": np.float32([0.0])}, opset=16)
    network, x = network_from_bytes(data, "jump"), np.float32([[-0.3, 0.0, 0.1, 0.10000001, 2.0, -7.0]])
    assert [part.kind for part in network.functions] == ["heaviside", "product"]
    assert np.array_equal(network(x), runtime(data, x))
    box = av.Box(np.full(6, -1.0), np.full(6, 2.0))
    lower = av.solve(av.Problem(network, box, np.concatenate([np.eye(6), -np.eye(6)]))).lower
    assert (lower[:6] <= 0).all() and (lower[6:] <= -2).all() and (lower >= -3.1).all()


def test_comparisons_that_are_moved_are_refused() -> None:
    nodes = [node("Greater", ["x", "t"], ["c"]), node("Unsqueeze", ["c", "a"], ["y"])]
    data = model(nodes, [1, 6], {"t": np.float32([0.1]), "a": np.array([0])}, opset=16)
    with pytest.raises(av.UnsupportedOperatorError, match=r"Operator Unsqueeze .* reads a comparison"):
        network_from_bytes(data, "step")


@pytest.mark.parametrize("taken", [True, False])
def test_the_branch_of_a_constant_condition_is_read(taken: bool) -> None:
    # Both branches have values of one name, and read values around them.
    first = branch("then", [node("Relu", ["a"], ["s"]), node("Mul", ["s", "k"], ["out"])], {"k": np.float32([2.0])})
    second = branch("else", [node("Neg", ["a"], ["s"]), node("Add", ["s", "x"], ["out"])])
    nodes = [
        node("Add", ["x", "x"], ["a"]),
        node("If", ["c"], ["b"], then_branch=first, else_branch=second),
        node("Sub", ["b", "x"], ["y"]),
    ]
    agrees(model(nodes, [1, 6], {"c": np.array(taken)}, opset=16))


def test_a_branch_that_the_input_chooses_is_refused() -> None:
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Greater", ["m", "z"], ["c"]),
        node("If", ["c"], ["y"], then_branch=branch("t", [node("Relu", ["x"], ["out"])]), else_branch=branch("e", [])),
    ]
    with pytest.raises(av.AdmmVerifyError, match="chooses by a value that depends on the input"):
        network_from_bytes(model(nodes, [1, 6], {"z": np.array(0.0, np.float32)}, opset=16), "branches")


def test_refusals_name_three_operators() -> None:
    data = model([node("GlobalLpPool", ["x"], ["y"])], [1, 2, 3])
    with pytest.raises(av.UnsupportedOperatorError) as caught:
        network_from_bytes(data, "pool")
    assert ": GlobalMaxPool, GlobalAveragePool, MaxPool. " in str(caught.value)
    assert len(str(caught.value)) < 260


def test_float64_is_read_alike() -> None:
    nodes = [node("Greater", ["x", "z"], ["c"]), node("Where", ["c", "x", "z"], ["y"])]
    data = model(nodes, [1, 2], {"z": np.array([0.0])}, element=TensorProto.DOUBLE, opset=16)
    x = np.array([[-0.7, 0.3]])
    assert np.array_equal(network_from_bytes(data, "double")(x), runtime(data, x))
