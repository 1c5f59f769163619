"""ONNX convolutions, pooling and activations against onnxruntime."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from tests.network.onnx_models import RNG, assert_agrees, model, node, weights

IMAGE = (1, 4, 7, 6)
LINE = (1, 4, 9)
X, W = ["x", "w"], ["x", "w", "b"]
KERNEL = {"w": weights(6, 4, 3, 2), "b": weights(6)}
CONVOLUTIONS = {
    "plain": (IMAGE, node("Conv", W, ["y"]), KERNEL),
    "asymmetric": (IMAGE, node("Conv", W, ["y"], pads=[2, 0, 1, 3], strides=[2, 1]), KERNEL),
    "dilated": (IMAGE, node("Conv", X, ["y"], dilations=[2, 3], pads=[1, 1, 1, 1]), KERNEL),
    "groups": (IMAGE, node("Conv", X, ["y"], group=2, pads=[1, 0, 0, 1]), {"w": weights(6, 2, 3, 3)}),
    "depthwise": (IMAGE, node("Conv", X, ["y"], group=4), {"w": weights(8, 1, 2, 2)}),
    "same upper": (IMAGE, node("Conv", X, ["y"], auto_pad="SAME_UPPER", strides=[2, 2]), KERNEL),
    "same lower": (IMAGE, node("Conv", X, ["y"], auto_pad="SAME_LOWER", strides=[3, 1]), KERNEL),
    "valid": (IMAGE, node("Conv", X, ["y"], auto_pad="VALID", strides=[1, 2]), KERNEL),
    "line": (LINE, node("Conv", W, ["y"], pads=[2, 1], strides=[2]), {"w": weights(5, 4, 3), "b": weights(5)}),
    "batch": ((2, *IMAGE[1:]), node("Conv", W, ["y"], pads=[1, 1, 1, 1]), KERNEL),
    "transposed": (IMAGE, node("ConvTranspose", W, ["y"]), {"w": weights(4, 3, 3, 2), "b": weights(3)}),
    "transposed asymmetric": (
        IMAGE,
        node("ConvTranspose", X, ["y"], strides=[2, 3], pads=[1, 0, 2, 1], output_padding=[1, 2], dilations=[2, 1]),
        {"w": weights(4, 3, 3, 2)},
    ),
    "transposed groups": (IMAGE, node("ConvTranspose", X, ["y"], group=2, strides=[2, 2]), {"w": weights(4, 3, 2, 2)}),
    "transposed shape": (
        IMAGE,
        node("ConvTranspose", X, ["y"], strides=[2, 2], output_shape=[14, 11]),
        {"w": weights(4, 2, 3, 2)},
    ),
    "transposed same": (
        IMAGE,
        node("ConvTranspose", X, ["y"], strides=[2, 2], auto_pad="SAME_UPPER"),
        {"w": weights(4, 2, 3, 3)},
    ),
    "transposed line": (LINE, node("ConvTranspose", X, ["y"], strides=[2]), {"w": weights(4, 2, 3)}),
    "transposed batch": ((2, 4, 3, 3), node("ConvTranspose", W, ["y"]), {"w": weights(4, 3, 3, 2), "b": weights(3)}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_agrees_with_onnxruntime(name):
    shape, layer, constants = CONVOLUTIONS[name]
    used = {key: value for key, value in constants.items() if key in layer.input}
    assert_agrees(model([layer], shape, used, opset=11), shape)


POOLS = {
    "max": (IMAGE, node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])),
    "max overlapping": (IMAGE, node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 1], pads=[1, 0, 1, 2])),
    "max dilated": (IMAGE, node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], dilations=[3, 2], pads=[1, 1, 1, 2])),
    "max ceil": (IMAGE, node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)),
    "max same": (IMAGE, node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER")),
    "max line": (LINE, node("MaxPool", ["x"], ["y"], kernel_shape=[4], strides=[3], pads=[1, 1])),
    "average": (IMAGE, node("AveragePool", ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 1])),
    "average padded": (IMAGE, node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 2, 0, 1])),
    "average counted": (
        IMAGE,
        node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 2, 0, 1], count_include_pad=1),
    ),
    "average same": (
        IMAGE,
        node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    ),
    "average ceil": (IMAGE, node("AveragePool", ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)),
    "average ceil padded": (
        IMAGE,
        node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[3, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    ),
    "average ceil counted": (
        IMAGE,
        node(
            "AveragePool",
            ["x"],
            ["y"],
            kernel_shape=[3, 3],
            strides=[3, 2],
            pads=[1, 1, 1, 1],
            ceil_mode=1,
            count_include_pad=1,
        ),
    ),
    "average line": (LINE, node("AveragePool", ["x"], ["y"], kernel_shape=[3], pads=[1, 0])),
    "global average": (IMAGE, node("GlobalAveragePool", ["x"], ["y"])),
    "global max": (IMAGE, node("GlobalMaxPool", ["x"], ["y"])),
}


@pytest.mark.parametrize("name", POOLS)
def test_pool_agrees_with_onnxruntime(name):
    shape, layer = POOLS[name]
    assert_agrees(model([layer], shape, opset=19), shape)


@pytest.mark.parametrize(("shape", "opset"), [(IMAGE, 8), (IMAGE, 15), (LINE, 21), ((1, 4), 9)])
def test_batch_normalisation_agrees_with_onnxruntime(shape, opset):
    constants = {name: weights(4) for name in ("g", "b", "m")} | {"v": RNG.random(4).astype(np.float32)}
    layer = node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=1e-3)
    assert_agrees(model([layer], shape, constants, opset), shape)


ACTIVATIONS = {
    "abs": ([node("Abs", ["x"], ["y"])], {}),
    "celu": ([node("Celu", ["x"], ["y"], alpha=1.7)], {}),
    "clip": ([node("Clip", ["x", "l", "h"], ["y"])], {"l": np.float32(-0.5), "h": np.float32(0.25)}),
    "clip low": ([node("Clip", ["x", "l"], ["y"])], {"l": np.float32(-0.5)}),
    "clip high": ([node("Clip", ["x", "", "h"], ["y"])], {"h": np.float32(0.25)}),
    "clip relu": ([node("Clip", ["x", "l", "h"], ["y"])], {"l": np.float32(0), "h": np.float32(np.inf)}),
    "clip nothing": ([node("Clip", ["x"], ["y"])], {}),
    "clip constant": ([node("Clip", ["x", "l", "h"], ["y"])], {"l": np.float32(0.5), "h": np.float32(0.5)}),
    "elu": ([node("Elu", ["x"], ["y"], alpha=0.7)], {}),
    "elu steep": ([node("Elu", ["x"], ["y"], alpha=1.8)], {}),
    "hard sigmoid": ([node("HardSigmoid", ["x"], ["y"], alpha=0.4)], {}),
    "leaky": ([node("LeakyRelu", ["x"], ["y"])], {}),
    "leaky negative": ([node("LeakyRelu", ["x"], ["y"], alpha=-0.5)], {}),
    "leaky steep": ([node("LeakyRelu", ["x"], ["y"], alpha=3.0)], {}),
    "prelu mixed": ([node("PRelu", ["x", "s"], ["y"])], {"s": np.float32([[[0.2]], [[3.0]], [[-2.0]], [[1.0]]])}),
    "two prelus": (
        [
            node("LeakyRelu", ["x"], ["p"], alpha=0.1),
            node("LeakyRelu", ["x"], ["q"], alpha=0.6),
            node("Sub", ["p", "q"], ["y"]),
        ],
        {},
    ),
    "max": ([node("Relu", ["x"], ["r"]), node("Max", ["x", "c", "r", "d"], ["y"])], {"c": weights(6), "d": weights(1)}),
    "min": ([node("Neg", ["x"], ["n"]), node("Min", ["c", "x", "n"], ["y"])], {"c": weights(7, 6)}),
    "max one": ([node("Max", ["x"], ["y"])], {}),
    "selu": ([node("Selu", ["x"], ["y"])], {}),
    "sigmoid": ([node("Sigmoid", ["x"], ["y"])], {}),
    "softplus": ([node("Softplus", ["x"], ["y"])], {}),
    "tanh": ([node("Tanh", ["x"], ["y"])], {}),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_agrees_with_onnxruntime(name):
    nodes, constants = ACTIVATIONS[name]
    assert_agrees(model(nodes, IMAGE, constants, opset=13), IMAGE)


def test_clip_attributes_of_old_opsets():
    assert_agrees(model([node("Clip", ["x"], ["y"], max=0.3)], LINE, opset=9), LINE)


def test_wide_layout_with_transposes():
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", ["m"], ["u"], perm=[0, 2, 3, 1]),
        node("Reshape", ["u", "s"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    constants = {"w": weights(4, 3, 3, 3), "s": np.int64([1, -1]), "v": weights(36, 5)}
    assert_agrees(model(nodes, (1, 6, 6, 3), constants), (1, 6, 6, 3))


REFUSED = {
    "volume": ((1, 1, 3, 3, 3), node("Conv", X, ["y"]), {"w": weights(1, 1, 2, 2, 2)}, ["Conv", "3 spatial axes"]),
    "volume pool": (
        (1, 1, 3, 3, 3),
        node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2, 2]),
        {},
        ["MaxPool", "3 spatial"],
    ),
    "weight": (IMAGE, node("Conv", ["c", "x"], ["y"]), {"c": weights(1, 6, 9, 9)}, ["Conv", "constant"]),
    "channels": (IMAGE, node("Conv", X, ["y"]), {"w": weights(2, 3, 2, 2)}, ["Conv", "(2, 3, 2, 2)"]),
    "window": (IMAGE, node("AveragePool", ["x"], ["y"], kernel_shape=[9, 9]), {}, ["AveragePool", "does not fit"]),
    "auto_pad": (
        IMAGE,
        node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], ceil_mode=1, auto_pad="SAME_UPPER"),
        {},
        ["MaxPool", "auto_pad"],
    ),
    "alpha": (IMAGE, node("Elu", ["x"], ["y"], alpha=-1.0), {}, ["Elu", "alpha"]),
    "training": (
        (1, 4),
        node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y"], training_mode=1),
        {"w": weights(4)},
        ["BatchNormalization", "training"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_layer_is_named(name):
    shape, layer, constants, words = REFUSED[name]
    with pytest.raises(av.UnsupportedOperatorError) as caught:
        network_from_bytes(model([layer], shape, constants, opset=20), "f.onnx")
    assert all(word in str(caught.value) for word in words)
