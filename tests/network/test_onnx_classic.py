"""Operators of the domain ai.onnx.ml: what runtimes compute, and refusals where these refuse or compute otherwise."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from tests.network.onnx_models import runtime

LINES = {"coefficients": [1.0, 2.0, 3.0, -1.0, 0.0, 1.0], "intercepts": [0.5, -0.5]}
CLASSES = {**LINES, "classlabels_ints": [0, 1]}


def model(kind, shape=(1, 3), element=TensorProto.FLOAT, inputs=("x",), output="y", **attributes):
    outputs = ["label", "y"] if kind == "LinearClassifier" else ["y"]
    nodes = [helper.make_node(kind, inputs, outputs, domain="ai.onnx.ml", **attributes)]
    value = helper.make_tensor_value_info("x", element, shape)
    stored = [numpy_helper.from_array(np.array([-1, 0]), "places"), numpy_helper.from_array(np.array([2, 0]), "order")]
    graph = helper.make_graph(nodes, "net", [value], [helper.make_empty_tensor_value_info(output)], stored)
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Scaler", {"offset": [0.5], "scale": [2.0]}),
        ("Scaler", {"offset": [0.5, 0.25, 0.0], "scale": [2.0, 1.0, 3.0], "shape": (3,)}),
        ("ArrayFeatureExtractor", {"inputs": ("x", "order"), "shape": (1, 2, 3)}),
        ("FeatureVectorizer", {"inputs": ("x", "x"), "inputdimensions": [3, 3]}),
        ("LinearRegressor", {"targets": 2, **LINES}),
        ("LinearClassifier", CLASSES),
        ("Normalizer", {"norm": "L2"}),
    ],
)
def test_what_is_read_is_what_runtimes_compute(kind, given):
    proto = model(kind, **given)
    net, x = av.read_onnx(proto), np.float32([[0.5, -1.5, 2.0]])
    x = np.resize(x, given.get("shape", (1, 3)))
    theirs = runtime(proto.SerializeToString(), x)
    assert np.allclose(net(x).reshape(-1), theirs.reshape(-1), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("Scaler", {"offset": [0.0, 0.0, 0.0], "scale": [2.0]}, "3 offsets and 1 factors"),
        ("Scaler", {"offset": [0.0, 0.0], "scale": [2.0, 1.0], "shape": (1, 3, 2)}, "no list of samples"),
        ("Normalizer", {"norm": "L1", "shape": (1, 2, 3)}, "no list of samples"),
        ("ArrayFeatureExtractor", {"inputs": ("x", "places")}, "negative"),
        ("FeatureVectorizer", {"inputs": ("x", "x"), "inputdimensions": [3, 1]}, "inputdimensions"),
        ("FeatureVectorizer", {"inputs": ("x", "x"), "inputdimensions": [3, 3], "shape": (1, 2, 3)}, "inputdimensions"),
        ("FeatureVectorizer", {"inputs": ("x", "x")}, "inputdimensions"),
        ("LinearClassifier", {"coefficients": LINES["coefficients"], "classlabels_ints": [0, 1]}, "no intercepts"),
        ("LinearClassifier", {"coefficients": [1.0] * 3, "intercepts": [0.0], "classlabels_ints": [0]}, "single class"),
    ],
)
def test_uses_that_runtimes_refuse_or_read_otherwise_are_refused(kind, given, said):
    with pytest.raises(av.UnsupportedOperatorError, match=said):
        av.read_onnx(model(kind, **given))


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Scaler", {"offset": [0.5], "scale": [2.0]}),
        ("FeatureVectorizer", {"inputs": ("x", "x"), "inputdimensions": [3, 3]}),
        ("LinearRegressor", {"targets": 2, **LINES}),
        ("LinearClassifier", CLASSES),
        ("Normalizer", {"norm": "L1"}),
    ],
)
def test_float64_that_becomes_float32_is_refused(kind, given):
    with pytest.raises(av.UnsupportedOperatorError, match="casts float64 to float32"):
        av.read_onnx(model(kind, element=TensorProto.DOUBLE, **given))
