"""ONNX operators that move, repeat or sum entries, against onnxruntime."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from tests.network.onnx_models import assert_agrees, model, node, weights

INT = np.int64
IMAGE = (1, 3, 4, 5)
ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CASES = {
    "gather": ([node("Gather", ["x", "i"], ["y"], axis=2)], IMAGE, {"i": INT([[3, 0], [0, -1]])}, 13),
    "gather scalar": ([node("Gather", ["x", "i"], ["y"], axis=-1)], IMAGE, {"i": INT(2)}, 11),
    "expand": ([node("Expand", ["x", "s"], ["y"])], (1, 3, 1), {"s": INT([2, 1, 4])}, 13),
    "tile": ([node("Tile", ["x", "r"], ["y"])], (1, 2, 3), {"r": INT([1, 3, 2])}, 13),
    "reduce sum": ([node("ReduceSum", ["x", "a"], ["y"])], IMAGE, {"a": INT([-1, 1])}, 13),
    "reduce sum attribute": ([node("ReduceSum", ["x"], ["y"], axes=[2], keepdims=0)], IMAGE, {}, 11),
    "reduce sum noop": ([node("ReduceSum", ["x"], ["y"], noop_with_empty_axes=1)], IMAGE, {}, 13),
    "reduce mean": ([node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)], IMAGE, {}, 13),
    "reduce mean input": ([node("ReduceMean", ["x", "a"], ["y"])], IMAGE, {"a": INT([1])}, 18),
    "reduce max": ([node("ReduceMax", ["x"], ["y"], axes=[-1], keepdims=0)], IMAGE, {}, 13),
    "reduce min": ([node("ReduceMin", ["x", "a"], ["y"])], (1, 2, 3), {"a": INT([1, 2])}, 18),
    "reduce all": ([node("ReduceMax", ["x"], ["y"], keepdims=0)], (1, 7), {}, 11),
    "pad attributes": ([node("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 1, 0, 3])], IMAGE, {}, 10),
    "pad value": (
        [node("Pad", ["x", "p", "c"], ["y"])],
        IMAGE,
        {"p": INT([0, 0, 1, 0, 0, 0, 2, 1]), "c": weights()},
        13,
    ),
    "pad crop": ([node("Pad", ["x", "p"], ["y"])], IMAGE, {"p": INT([0, 0, -1, 1, 0, 0, 1, -2])}, 13),
    "pad axes": ([node("Pad", ["x", "p", "", "a"], ["y"])], IMAGE, {"p": INT([1, 2]), "a": INT([-1])}, 18),
    "pad reflect": ([node("Pad", ["x", "p"], ["y"], mode="reflect")], IMAGE, {"p": INT([0, 0, 2, 1, 0, 0, 0, 3])}, 13),
    "pad edge": ([node("Pad", ["x", "p"], ["y"], mode="edge")], IMAGE, {"p": INT([0, 1, 2, 1, 0, 0, 0, 3])}, 13),
    "upsample": ([node("Upsample", ["x", "s"], ["y"])], IMAGE, {"s": np.float32([1, 1, 2, 3])}, 9),
    "upsample attribute": ([node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 2.0])], IMAGE, {}, 8),
    "resize 10": ([node("Resize", ["x", "s"], ["y"])], IMAGE, {"s": np.float32([1, 1, 2, 2])}, 10),
    "resize asymmetric": (
        [node("Resize", ["x", "", "s"], ["y"], **ASYMMETRIC)],
        IMAGE,
        {"s": np.float32([1, 1, 3, 2])},
        13,
    ),
    "resize half pixel sizes": ([node("Resize", ["x", "", "", "s"], ["y"])], IMAGE, {"s": INT([1, 3, 8, 15])}, 13),
    "resize axes": ([node("Resize", ["x", "", "s"], ["y"], axes=[2, 3])], IMAGE, {"s": np.float32([2, 3])}, 18),
    "resize old empty scales": (
        [node("Resize", ["x", "r", "e", "s"], ["y"], coordinate_transformation_mode="pytorch_half_pixel")],
        IMAGE,
        {"r": np.float32([]), "e": np.float32([]), "s": INT([1, 3, 8, 10])},
        11,
    ),
    "size": (
        [
            node("Size", ["x"], ["n"]),
            node("Cast", ["n"], ["f"], to=1),
            node("Div", ["x", "f"], ["y"]),
        ],
        (1, 6),
        {},
        13,
    ),
    "shape chain": (
        [
            node("Shape", ["x"], ["s"]),
            node("Slice", ["s", "zero", "two"], ["head"]),
            node("Concat", ["head", "rest"], ["t"], axis=0),
            node("Reshape", ["x", "t"], ["r"]),
            node("Shape", ["r"], ["u"]),
            node("ConstantOfShape", ["u"], ["z"]),
            node("Sub", ["z", "r"], ["y"]),
        ],
        IMAGE,
        {"zero": INT([0]), "two": INT([2]), "rest": INT([-1])},
        13,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_movement_agrees_with_onnxruntime(name):
    nodes, shape, constants, opset = CASES[name]
    assert_agrees(model(nodes, shape, constants, opset), shape)


REFUSED = {
    "gather by x": ([node("Gather", ["c", "x"], ["y"])], {"c": weights(4)}, ["Gather", "indices of type float32"]),
    "resize cubic": (
        [node("Resize", ["x", "", "s"], ["y"], mode="cubic")],
        {"s": np.float32([1, 1, 2, 2])},
        ["nearest"],
    ),
    "resize to the same shape": (
        [node("Resize", ["x", "", "s"], ["y"], mode="linear")],
        {"s": np.float32([1, 1, 1.1, 1.1])},
        ["Resize", "keeps the shape"],
    ),
    "resize fraction": (
        [node("Resize", ["x", "", "s"], ["y"], **ASYMMETRIC)],
        {"s": np.float32([1, 1, 1.5, 2])},
        ["Resize", "1.5"],
    ),
    "resize corners": (
        [node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="align_corners")],
        {"s": np.float32([1, 1, 2, 2])},
        ["Resize", "asymmetric"],
    ),
    "pad mode": ([node("Pad", ["x", "p"], ["y"], mode="mirror")], {"p": INT([0] * 8)}, ["Pad", "mirror"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_movement_is_named(name):
    nodes, constants, words = REFUSED[name]
    with pytest.raises(av.UnsupportedOperatorError) as caught:
        network_from_bytes(model(nodes, IMAGE, constants), "f.onnx")
    assert all(word in str(caught.value) for word in words)
