"""ONNX convolutions, pooling and batch normalisation as builder calls, one function each."""

from collections.abc import Sequence

import numpy as np

from admm_verify.network import nonlinear, spatial
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.movement import reduce_mean
from admm_verify.network.onnx_inputs import Attributes, Handler, Inputs, constant, given, numbers, real, tensor, text

AUTO_PAD = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def _conv(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, weight, bias = tensor(inputs[0]), _weight(inputs, attributes), _bias(inputs)
    window = _padded(_window(x, attributes, weight.shape[2:]), x, attributes)
    return [spatial.convolution(builder, x, weight, bias, window, int(attributes.get("group", 1)))]


def _conv_transpose(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, weight, bias = tensor(inputs[0]), _weight(inputs, attributes), _bias(inputs)
    window = _window(x, attributes, weight.shape[2:])
    extra = tuple(attributes.get("output_padding", (0,) * len(window.size)))
    window = _cut(window, x.shape[2:], extra, attributes)
    groups = int(attributes.get("group", 1))
    return [spatial.transposed_convolution(builder, x, weight, bias, window, extra, groups)]


def _batch_norm(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    # Further outputs, statistics of the batch, are what asks for training mode before opset 14.
    if attributes.get("training_mode", 0) or attributes["outputs"] > 1 or not attributes.get("spatial", 1):
        raise UnsupportedUse("it is in training mode or not per channel; export the network in evaluation mode")
    names = ("scale", "shift", "mean", "variance")
    gamma, beta, mean, variance = (numbers(inputs[i + 1], name) for i, name in enumerate(names))
    epsilon = real(attributes, "epsilon", 1e-5)
    return [spatial.batch_norm(builder, tensor(inputs[0]), gamma, beta, mean, variance, epsilon)]


def _average_pool(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, ceil = tensor(inputs[0]), bool(attributes.get("ceil_mode", 0))
    window, counted = _pool_window(x, attributes), bool(attributes.get("count_include_pad", 0))
    return [spatial.average_pool(builder, x, window, counted, ceil)]


def _max_pool(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = tensor(inputs[0])
    return [spatial.max_pool(builder, x, _pool_window(x, attributes), bool(attributes.get("ceil_mode", 0)))]


def _global_average_pool(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _image(tensor(inputs[0]))
    return [reduce_mean(builder, x, range(2, len(x.shape)), True)]


def _global_max_pool(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _image(tensor(inputs[0]))
    return [nonlinear.reduce_max(builder, x, range(2, len(x.shape)), True)]


def _image(x: Tensor) -> Tensor:
    if len(x.shape) < 3:
        raise UnsupportedUse(f"its input of shape {x.shape} has no spatial axes behind samples and channels")
    return x


def _weight(inputs: Inputs, attributes: Attributes) -> np.ndarray:
    weight = constant(inputs[1], "weight")
    kernel = tuple(attributes.get("kernel_shape", weight.shape[2:]))
    if kernel != weight.shape[2:]:
        raise UnsupportedUse(f"its kernel_shape {kernel} is not that of its weight of shape {weight.shape}")
    return weight


def _bias(inputs: Inputs) -> np.ndarray | None:
    bias = given(inputs, 2)
    return None if bias is None else numbers(bias, "bias")


def _window(x: Tensor, attributes: Attributes, kernel: Sequence[int]) -> spatial.Window:
    axes = len(kernel)
    if len(x.shape) != axes + 2:
        raise UnsupportedUse(f"its window {tuple(kernel)} does not fit its input of shape {x.shape}")
    mode = text(attributes, "auto_pad", "NOTSET")
    if mode not in AUTO_PAD:
        raise UnsupportedUse(f"its auto_pad is {mode}; one of {', '.join(AUTO_PAD)} is needed")
    if mode != "NOTSET" and "pads" in attributes:
        # Runtimes disagree on which of the two counts.
        raise UnsupportedUse(f"it has both pads and auto_pad {mode}, which contradict each other; give one of them")
    pads = tuple(attributes.get("pads", (0,) * 2 * axes))
    stride, dilation = (tuple(attributes.get(name, (1,) * axes)) for name in ("strides", "dilations"))
    return spatial.Window(tuple(kernel), stride, pads[:axes], pads[axes:], dilation)


def _padded(window: spatial.Window, x: Tensor, attributes: Attributes) -> spatial.Window:
    """The window with the padding that auto_pad asks for."""
    mode = text(attributes, "auto_pad", "NOTSET")
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        return window
    gaps = any(s > size for s, size in zip(window.stride, window.size, strict=True))
    if gaps or max(window.dilation) > 1 or attributes.get("ceil_mode", 0):
        # Runtimes do not follow the standard there.
        raise UnsupportedUse(
            f"it combines auto_pad {mode} with dilation, ceil_mode or a stride beyond its window; give explicit padding"
        )
    return window.same(x.shape[2:], mode == "SAME_UPPER")


def _pool_window(x: Tensor, attributes: Attributes) -> spatial.Window:
    window = _window(x, attributes, attributes["kernel_shape"])
    if any(pad >= size for side in (window.before, window.after) for pad, size in zip(side, window.size, strict=True)):
        raise UnsupportedUse("its padding is not smaller than its window, so that a window may see nothing else")
    return _padded(window, x, attributes)


def _cut(
    window: spatial.Window, lengths: spatial.Sizes, extra: spatial.Sizes, attributes: Attributes
) -> spatial.Window:
    """The window of a transposed convolution with the padding that output_shape or auto_pad ask for."""
    mode = text(attributes, "auto_pad", "NOTSET")
    target = attributes.get("output_shape")
    if target is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        target = [length * s for length, s in zip(lengths, window.stride, strict=True)]
    if target is None:
        return window
    if len(target) != len(lengths):
        raise UnsupportedUse(f"its output shape {tuple(target)} does not have one number per spatial axis")
    total = [
        (length - 1) * s + more + span - out
        for length, s, more, span, out in zip(lengths, window.stride, extra, window.span, target, strict=True)
    ]
    less, rest = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    upper = mode == "SAME_UPPER"
    pads = (less, rest) if upper else (rest, less)
    return spatial.Window(window.size, window.stride, *pads, window.dilation)


LAYERS: dict[str, Handler] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
}
