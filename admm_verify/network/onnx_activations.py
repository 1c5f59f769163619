"""ONNX activations and pairwise maxima as builder calls, one function each."""

from collections.abc import Callable
from functools import reduce

import numpy as np

from admm_verify.network import nonlinear
from admm_verify.network.activations import ONNX
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.onnx_inputs import (
    Attributes,
    Handler,
    Inputs,
    broadcasting,
    constant,
    given,
    numbers,
    present,
    real,
    tensor,
    text,
)
from admm_verify.network.stepped import sign

Pairwise = Callable[[Builder, Value, Value], Tensor]


def _kind(kind: str) -> Handler:
    def handler(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
        return [builder.activation(kind, tensor(inputs[0]))]

    return handler


def _sign(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [sign(builder, tensor(inputs[0]))]


def _abs(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [nonlinear.absolute(builder, tensor(inputs[0]))]


def _leaky_relu(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [nonlinear.prelu(builder, tensor(inputs[0]), real(attributes, "alpha", 0.01))]


def _prelu(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [nonlinear.prelu(builder, tensor(inputs[0]), numbers(inputs[1], "slope"))]


def clip_ends(inputs: Inputs, attributes: Attributes, opset: int) -> list[np.ndarray | None]:
    """The lower and upper end of a Clip, by attributes before opset 11, by inputs since; None where there is none."""
    if opset < 11:
        low, high = (np.float64(real(attributes, k, 0.0)) if k in attributes else None for k in ("min", "max"))
        if low is not None and high is not None and low > high:
            raise UnsupportedUse("its min is above its max")
        return [None if end is None else np.asarray(end) for end in (low, high)]
    given_ends = [given(inputs, 1), given(inputs, 2)]
    ends = [None if end is None else constant(end, "end") for end in given_ends]
    if any(end is not None and end.ndim > 0 and (end.shape != (1,) or not present(inputs[0]).shape) for end in ends):
        raise UnsupportedUse("its ends are not single numbers")
    return ends


def _clip(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    low, high = clip_ends(inputs, attributes, opset)
    least = -np.inf if low is None else numbers(low, "lower end")
    return [nonlinear.clip(builder, tensor(inputs[0]), least, np.inf if high is None else numbers(high, "upper end"))]


def _hard_sigmoid(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    slope, shift = real(attributes, "alpha", 0.2), real(attributes, "beta", 0.5)
    return [nonlinear.hard_sigmoid(builder, tensor(inputs[0]), slope, shift)]


def _gelu(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    approximate = text(attributes, "approximate", "none")
    if approximate not in ("none", "tanh"):
        raise UnsupportedUse(f"its approximation is {approximate!r}; 'none' and 'tanh' are supported")
    return [builder.activation("gelu_tanh" if approximate == "tanh" else "gelu", tensor(inputs[0]))]


def _acos(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [nonlinear.acos(builder, tensor(inputs[0]))]


def _swish(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [nonlinear.swish(builder, tensor(inputs[0]), real(attributes, "alpha", 1.0))]


def _elu(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [nonlinear.elu(builder, tensor(inputs[0]), real(attributes, "alpha", 1.0))]


def _celu(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [nonlinear.celu(builder, tensor(inputs[0]), real(attributes, "alpha", 1.0))]


def _selu(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    # The defaults of the standard, which are float32 numbers.
    alpha = real(attributes, "alpha", 1.67326319217681884765625)
    gamma = real(attributes, "gamma", 1.05070102214813232421875)
    return [nonlinear.selu(builder, tensor(inputs[0]), alpha, gamma)]


def _max(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [_pairwise(builder, broadcasting(inputs, opset), nonlinear.maximum, np.maximum)]


def _min(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [_pairwise(builder, broadcasting(inputs, opset), nonlinear.minimum, np.minimum)]


def _pairwise(builder: Builder, values: list[Value], of_values: Pairwise, of_constants: np.ufunc) -> Value:
    """A chain over all inputs, the constants first among themselves."""
    constants = [value for value in values if isinstance(value, np.ndarray)]
    tensors: list[Value] = [value for value in values if isinstance(value, Tensor)]
    if constants:
        tensors.append(np.asarray(reduce(of_constants, constants)))
    return reduce(lambda first, second: of_values(builder, first, second), tensors)


ACTIVATIONS: dict[str, Handler] = {
    **{name: _kind(kind) for name, kind in ONNX.items()},
    "Abs": _abs,
    "Acos": _acos,
    "Celu": _celu,
    "Clip": _clip,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "Max": _max,
    "Min": _min,
    "PRelu": _prelu,
    "Selu": _selu,
    "Sign": _sign,
    "Swish": _swish,
}
