"""Models as exporters write them, small: torch's two exporters, tf2onnx, scikit-learn's, and what optimizers leave."""

import io

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(11)


def weights(*shape):
    return (0.3 * RNG.standard_normal(shape)).astype(np.float32)


def node(kind, inputs, outputs, **attributes):
    """A node, of the domain ai.onnx.ml where that alone has the operator."""
    classic = not onnx.defs.has(kind)
    return helper.make_node(kind, inputs.split(), outputs.split(), domain="ai.onnx.ml" if classic else "", **attributes)


def built(nodes, inputs, outputs, constants, opset=13, ir=8):
    """A model; inputs {name: shape or (type, shape)}, outputs declared or by name."""
    declared = [
        helper.make_tensor_value_info(name, *(given if isinstance(given, tuple) else (FLOAT, given)))
        for name, given in inputs.items()
    ]
    made = [helper.make_empty_tensor_value_info(one) if isinstance(one, str) else one for one in outputs]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(
        helper.make_graph(nodes, "main_graph", declared, made, stored), opset_imports=imports, ir_version=ir
    )


class Function(torch.nn.Module):
    """A module with parts, whose forward is a function of itself and its inputs."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def torchscript(module, example, **options):
    """What torch.onnx.export writes by TorchScript."""
    file = io.BytesIO()
    torch.onnx.export(module.eval(), example, file, dynamo=False, **options)
    return onnx.load_from_string(file.getvalue())


def perceptron():
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))


def torch_perceptron(opset=17, batch=1, dynamic=False):
    axes = {"x": {0: "batch"}, "y": {0: "batch"}} if dynamic else None
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    return torchscript(perceptron(), torch.zeros(batch, 4), opset_version=opset, **names)


def torch_view():
    """The batch's size is taken from the input: Shape, Gather, Unsqueeze, Concat, Reshape."""
    module = Function(
        lambda self, x: self.last(self.conv(x).view(x.size(0), -1)),
        conv=torch.nn.Conv2d(1, 2, 3),
        last=torch.nn.Linear(72, 3),
    )
    example = torch.zeros(1, 1, 8, 8)
    return torchscript(module, example, input_names=["x"], dynamic_axes={"x": {0: "b"}}, do_constant_folding=False)


def torch_residual():
    module = Function(
        lambda self, x: self.last(torch.relu(self.norm(self.conv(x)) + x).mean((2, 3))).softmax(1),
        conv=torch.nn.Conv2d(2, 2, 3, padding=1),
        norm=torch.nn.BatchNorm2d(2),
        last=torch.nn.Linear(2, 3),
    )
    return torchscript(module, torch.zeros(1, 2, 6, 6))


def torch_heads():
    module = Function(lambda self, x: (self.net(x), torch.sort(self.net(x))[0]), net=perceptron())
    return torchscript(module, torch.zeros(1, 4), output_names=["logits", "sorted"])


def torch_conditioned():
    module = Function(lambda self, x, scale: self.net(x * scale), net=perceptron())
    return torchscript(module, (torch.zeros(1, 4), torch.ones(1, 4)), input_names=["x", "scale"])


def torch_labels():
    module = Function(lambda self, x: self.net(x).argmax(1), net=perceptron())
    return torchscript(module, torch.zeros(1, 4))


def dynamo(opset=20, functions=False):
    """What torch.onnx.export writes by default, and before its functions were inlined."""
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["linear"], transB=1, name="node_linear"),
        helper.make_node("Relu", ["linear"], ["relu"], name="node_relu"),
        helper.make_node("Gemm", ["relu", "2.weight", "2.bias"], ["linear_1"], transB=1, name="node_linear_1"),
    ]
    constants = {"0.weight": weights(6, 4), "0.bias": weights(6), "2.weight": weights(3, 6), "2.bias": weights(3)}
    outputs = [helper.make_tensor_value_info("linear_1", FLOAT, ["s77", 3])]
    proto = built(nodes, {"x": ["s77", 4]}, outputs, constants, opset, ir=10)
    if functions:
        domain = "pkg.onnxscript.torch_lib"
        body = [helper.make_node("Relu", ["self"], ["result"])]
        imports = [helper.make_opsetid("", opset)]
        proto.functions.append(helper.make_function(domain, "aten_relu", ["self"], ["result"], body, imports))
        proto.opset_import.append(helper.make_opsetid(domain, 1))
        proto.graph.node[1].op_type, proto.graph.node[1].domain = "aten_relu", domain
    return proto


def tensorflow(packed=False):
    """tf2onnx: channels last outside, the shape constant or packed from the batch's size, a softmax last."""
    nodes = [
        node("Transpose", "x", "a", perm=[0, 3, 1, 2]),
        node("Conv", "a w c", "b", pads=[1, 1, 1, 1], strides=[1, 1], kernel_shape=[3, 3], group=1),
        node("Relu", "b", "d"),
        node("MaxPool", "d", "e", kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID"),
        node("Transpose", "e", "f", perm=[0, 2, 3, 1]),
    ]
    constants = {"w": weights(4, 1, 3, 3), "c": weights(4), "v": weights(64, 3), "u": weights(3)}
    if packed:
        nodes += [
            node("Shape", "f", "sizes"),
            node("Cast", "sizes", "narrow", to=TensorProto.INT32),
            node("Slice", "narrow zero one zero", "first"),
            node("Squeeze", "first zero", "batch"),
            node("Unsqueeze", "batch zero", "batches"),
            node("Concat", "batches rest", "pack", axis=0),
            node("Cast", "pack", "s", to=TensorProto.INT64),
        ]
        constants |= {"zero": np.array([0]), "one": np.array([1]), "rest": np.array([64], np.int32)}
    else:
        constants["s"] = np.array([-1, 64])
    nodes += [node("Reshape", "f s", "g"), node("MatMul", "g v", "i"), node("Add", "i u", "logits")]
    nodes += [node("Softmax", "logits", "dense", axis=1)]
    return built(nodes, {"x": ["unk__6", 8, 8, 1]}, ["dense"], constants)


def keras_pooled():
    """'same' convolution of stride 2, batch normalisation, ReLU6 as a Clip, global average pooling."""
    nodes = [
        node("Transpose", "x", "a", perm=[0, 3, 1, 2]),
        node("Conv", "a w", "b", auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3]),
        node("BatchNormalization", "b scale shift mean var", "n", epsilon=1e-3),
        node("Clip", "n low high", "d"),
        node("ReduceMean", "d", "p", axes=[2, 3], keepdims=1),
        node("Squeeze", "p axes", "q"),
        node("Gemm", "q v u", "y"),
    ]
    constants = {"w": weights(4, 3, 3, 3), "scale": weights(4), "shift": weights(4), "mean": weights(4)}
    constants |= {"var": np.abs(weights(4)) + 1, "low": np.float32(0), "high": np.float32(6), "axes": np.array([2, 3])}
    return built(nodes, {"x": ["N", 9, 9, 3]}, ["y"], constants | {"v": weights(4, 2), "u": weights(2)})


def labelled(maps):
    """The two outputs of scikit-learn's classifiers: labels, and probabilities as maps or as an array."""
    label = helper.make_tensor_value_info("output_label", TensorProto.INT64, [None])
    if not maps:
        return [label, helper.make_tensor_value_info("output_probability", FLOAT, [None, None])]
    entry = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, None))
    return [label, helper.make_value_info("output_probability", helper.make_sequence_type_proto(entry))]


def sklearn_perceptron(classes=3, maps=True):
    """StandardScaler and MLPClassifier, which has one logistic output for two classes."""
    last = 1 if classes == 2 else classes
    nodes = [
        node("Scaler", "X", "variable", offset=weights(4).tolist(), scale=[1.0, 2.0, 0.5, 1.0]),
        node("Cast", "variable", "cast_input", to=FLOAT),
        node("MatMul", "cast_input coefficient", "mul_result"),
        node("Add", "mul_result intercepts", "add_result"),
        node("Relu", "add_result", "next_activations"),
        node("MatMul", "next_activations coefficient1", "mul_result1"),
        node("Add", "mul_result1 intercepts1", "add_result1"),
    ]
    if classes == 2:
        nodes += [
            node("Sigmoid", "add_result1", "positive"),
            node("Sub", "unity positive", "negative"),
            node("Concat", "negative positive", "probabilities", axis=1),
        ]
    else:
        nodes.append(node("Softmax", "add_result1", "probabilities"))
    nodes += [
        node("ArgMax", "probabilities", "argmax_output", axis=1),
        node("ArrayFeatureExtractor", "classes argmax_output", "extracted"),
        node("Cast", "extracted", "cast_result", to=FLOAT),
        node("Reshape", "cast_result shape_tensor", "reshaped_result"),
        node("Cast", "reshaped_result", "output_label", to=TensorProto.INT64),
    ]
    names = list(range(classes))
    zipped = node("ZipMap", "probabilities", "output_probability", classlabels_int64s=names)
    nodes.append(zipped if maps else node("Identity", "probabilities", "output_probability"))
    constants = {"coefficient": weights(4, 5), "intercepts": weights(1, 5), "coefficient1": weights(5, last)}
    constants |= {"intercepts1": weights(1, last), "classes": np.arange(classes, dtype=np.int32)}
    constants |= {"shape_tensor": np.array([-1]), "unity": np.float32([1])}
    return built(nodes, {"X": [None, 4]}, labelled(maps), constants, opset=15)


def sklearn_regression(classes=3, transform="SOFTMAX", words=False):
    """StandardScaler and LogisticRegression."""
    rows = weights(classes, 4)
    if classes == 2:
        rows[0] = -rows[1]
    names = [f"class {k}" for k in range(classes)] if words else list(range(classes))
    kind, maps = ("classlabels_strings",) * 2 if words else ("classlabels_ints", "classlabels_int64s")
    linear = {"coefficients": rows.reshape(-1).tolist(), "intercepts": weights(classes).tolist()}
    nodes = [
        node("Scaler", "X", "variable", offset=weights(4).tolist(), scale=[1.0, 2.0, 0.5, 1.0]),
        node(
            "LinearClassifier",
            "variable",
            "label raw",
            multi_class=1,
            post_transform=transform,
            **linear,
            **{kind: names},
        ),
        node("Normalizer", "raw", "probabilities", norm="L1"),
        node("Identity", "label", "output_label"),
        node("ZipMap", "probabilities", "output_probability", **{maps: names}),
    ]
    return built(nodes, {"X": [None, 4]}, labelled(True), {}, opset=15)


def sklearn_linear():
    """SimpleImputer, StandardScaler and LinearRegression."""
    nodes = [
        node("Imputer", "X", "i", imputed_value_floats=[0.0, 0.0, 0.0, 0.0], replaced_value_float=float("nan")),
        node("Scaler", "i", "s", offset=[0.5], scale=[2.0]),
        node("LinearRegressor", "s", "variable", coefficients=weights(4).tolist(), intercepts=[0.5]),
    ]
    return built(nodes, {"X": [None, 4]}, ["variable"], {}, opset=15)


def sklearn_double():
    """In float64 a StandardScaler is written with the standard's operators."""
    nodes = [
        node("Sub", "X mean", "a"),
        node("Div", "a scale", "b"),
        node("MatMul", "b w", "c"),
        node("Reshape", "c s", "variable"),
    ]
    constants = {"mean": np.ones(4), "scale": np.array([1.0, 2.0, 3.0, 4.0]), "w": weights(4, 1).astype(float)}
    inputs = {"X": (TensorProto.DOUBLE, [None, 4])}
    return built(nodes, inputs, ["variable"], constants | {"s": np.array([-1, 1])})


def ended(nodes, element=FLOAT):
    """A linear layer from x to l, and what comes after it."""
    first = [node("MatMul", "x w", "l")]
    constants = {"w": weights(4, 3), "half": np.float32(0.5), "k": np.array([1]), "z": np.uint8(128)}
    return built([*first, *nodes], {"x": (element, ["N", 4])}, ["y"], constants)
