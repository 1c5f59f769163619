"""Models as people export them are read and compute what onnxruntime computes, or one paragraph says what to do."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

import admm_verify as av
from admm_verify.network.onnx_files import read_model
from admm_verify.network.onnx_part import part_of
from tests.network import exported_models as made
from tests.network.exported_models import node

PROBABILITIES, LABEL = {"output": "output_probability"}, {"output": "output_label"}

READ = {
    **{f"TorchScript, opset {opset}": (lambda opset=opset: made.torch_perceptron(opset), {}) for opset in (9, 13, 20)},
    "TorchScript, dynamic batch": (lambda: made.torch_perceptron(dynamic=True), {}),
    "TorchScript, frozen batch": (lambda: made.torch_perceptron(batch=3), {}),
    "TorchScript, view of the batch": (made.torch_view, {}),
    "TorchScript, residual block and softmax": (made.torch_residual, {}),
    "TorchScript, two heads": (made.torch_heads, {"output": "logits"}),
    "TorchScript, two inputs": (made.torch_conditioned, {"inputs": {"scale": np.full((1, 4), 0.5)}}),
    "TorchScript, labels": (made.torch_labels, {}),
    **{f"dynamo, opset {opset}": (lambda opset=opset: made.dynamo(opset), {}) for opset in (18, 22, 23, 26)},
    "dynamo, functions": (lambda: made.dynamo(functions=True), {}),
    "tf2onnx": (made.tensorflow, {}),
    "tf2onnx, before the softmax": (made.tensorflow, {"output": "logits"}),
    "tf2onnx, packed shape": (lambda: made.tensorflow(packed=True), {}),
    "keras, pooled": (made.keras_pooled, {}),
    "MLPClassifier": (made.sklearn_perceptron, PROBABILITIES),
    "MLPClassifier, arrays": (lambda: made.sklearn_perceptron(maps=False), PROBABILITIES),
    "MLPClassifier, label": (made.sklearn_perceptron, LABEL),
    "MLPClassifier of two": (lambda: made.sklearn_perceptron(2), PROBABILITIES),
    "MLPClassifier of two, label": (lambda: made.sklearn_perceptron(2), LABEL),
    "LogisticRegression": (made.sklearn_regression, PROBABILITIES),
    "LogisticRegression, label": (made.sklearn_regression, LABEL),
    "LogisticRegression, words": (lambda: made.sklearn_regression(words=True), PROBABILITIES),
    "LogisticRegression of two": (lambda: made.sklearn_regression(2, "LOGISTIC"), PROBABILITIES),
    "LogisticRegression of two, label": (lambda: made.sklearn_regression(2, "LOGISTIC"), LABEL),
    "LinearRegression": (made.sklearn_linear, {}),
    "StandardScaler in float64": (made.sklearn_double, {}),
}

TOLD = {
    "heads": (made.torch_heads, {}, ['output="logits"', "sorted"]),
    "inputs": (made.torch_conditioned, {}, ['inputs={"scale": array}']),
    "pipeline": (made.sklearn_perceptron, {}, ['output="output_probability"', "output_label (INT64 [N])"]),
    "words": (lambda: made.sklearn_regression(words=True), LABEL, ["labels that are text"]),
    "opset": (lambda: made.dynamo(6), {}, ["opset 6", "7 to 26", "version_converter"]),
    "bytes": (lambda: made.ended([node("Relu", "l", "y")], TensorProto.UINT8), {}, ["UINT8", "extract_model"]),
    "half": (lambda: made.ended([node("Relu", "l", "y")], TensorProto.FLOAT16), {}, ["FLOAT16", "float32"]),
    "threshold": (
        lambda: made.ended([node("Sigmoid", "l", "p"), node("Greater", "p half", "y")]),
        {},
        ["true or false", "--output-name"],
    ),
    "quantised as it runs": (
        lambda: made.ended([node("DynamicQuantizeLinear", "l", "q step zero"), node("MatMulInteger", "q q", "y")]),
        {},
        ["DynamicQuantizeLinear", "in the QDQ format", "before its quantisation"],
    ),
    "whole numbers": (
        lambda: made.ended(
            [node("QuantizeLinear", "l half z", "q"), node("QLinearMatMul", "q half z q half z half z", "y")]
        ),
        {},
        ["QLinearMatMul", "in the QDQ format"],
    ),
    "forest": (
        lambda: made.ended([node("SVMRegressor", "l", "y")]),
        {},
        ["ai.onnx.ml.SVMRegressor", "no neural networks"],
    ),
    "optimizer": (
        lambda: made.ended([onnx.helper.make_node("FusedGemm", ["l"], ["y"], domain="com.microsoft")]),
        {},
        ["onnxruntime's own"],
    ),
    "sizes": (
        lambda: made.built([node("Relu", "x", "y")], {"x": ["N", 3, "h", "w"]}, ["y"], {}),
        {},
        ["Axis 2", "(h)"],
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READ)
def test_what_is_exported_is_read_as_onnxruntime_runs_it(name, tmp_path):
    make, chosen = READ[name]
    # Weights in a file of their own, as exporters write them by default.
    onnx.save(make(), tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0, location="net.onnx.data")
    net = av.read_onnx(tmp_path / "net.onnx", **chosen)
    part = part_of(read_model(tmp_path / "net.onnx"), chosen.get("output"), chosen.get("inputs"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(part.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if "ValidateOpsetForDomain" in str(error):
            pytest.skip(f"onnxruntime {onnxruntime.__version__} is older than the model's opset")
        raise
    dtype = np.dtype(net.element_type)
    for scale in (0.1, 1.0, 3.0):
        x = (scale * made.RNG.standard_normal((1, *net.input_shape))).astype(dtype)
        source = session.get_inputs()[0]
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in source.shape]
        theirs = np.asarray(session.run(None, {source.name: x.reshape(shape)})[0]).reshape(-1)
        ours = np.asarray(net(x)).reshape(-1)
        assert ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TOLD)
def test_what_is_not_read_is_told_in_a_paragraph(name):
    make, chosen, words = TOLD[name]
    with pytest.raises((av.ModelError, av.UnsupportedOperatorError)) as caught:
        av.read_onnx(make(), **chosen)
    text = str(caught.value)
    assert "\n" not in text and [word for word in words if word not in text] == []


@pytest.mark.filterwarnings("ignore")
def test_a_frozen_batch_is_named(tmp_path):
    net = av.read_onnx(made.torch_perceptron(batch=3))
    with pytest.raises(av.InputError, match=r"frozen batch: it takes 3 samples of shape \(4,\)"):
        net(np.zeros((7, 4), np.float32))
    with pytest.raises(av.InputError, match="frozen batch"):
        av.certify(net, np.zeros((7, 4)), np.zeros(7, int), [0.1])
    with pytest.raises(av.QueryError, match="frozen batch"):
        _asked(net, tmp_path)


def _asked(net, folder):
    text = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} 0))(assert (<= X_{i} 1))" for i in range(4))
    (folder / "query.vnnlib").write_text(text + "(declare-const Y_0 Real)(assert (<= Y_0 0))")
    return av.read_query(folder / "query.vnnlib", net)
