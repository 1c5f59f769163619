"""ONNX operators as builder calls, one function each, in one table.

A handler gets the operator's inputs (tensors or constants), its attributes and the opset version; it never sees the
onnx package. Convolutions, pooling and further activations are added here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value

Attributes = Mapping[str, Any]
Inputs = Sequence[Value | None]
Handler = Callable[[Builder, Inputs, Attributes, int], list[Value]]


def _tensor(value: Value | None) -> Tensor:
    if not isinstance(value, Tensor):
        raise UnsupportedUse("its data input is a constant or missing")
    return value


def _constant(value: Value | None, what: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise UnsupportedUse(f"its {what} depends on the input or is missing; it must be constant")
    return value


def _integers(value: Value | None, what: str) -> list[int]:
    return [int(v) for v in _constant(value, what).reshape(-1)]


def _given(inputs: Inputs, index: int) -> Value | None:
    return inputs[index] if index < len(inputs) else None


def _value(value: Value | None) -> Value:
    if value is None:
        raise UnsupportedUse("one of its inputs is missing")
    return value


def _gemm(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    a, b, c = _value(inputs[0]), _value(inputs[1]), _given(inputs, 2)
    a = _transposed(builder, a) if attributes.get("transA", 0) else a
    b = _transposed(builder, b) if attributes.get("transB", 0) else b
    product = builder.matmul(a, b)
    product = builder.scale(product, np.array(float(attributes.get("alpha", 1.0))))
    if c is None:
        return [product]
    beta = float(attributes.get("beta", 1.0))
    shift = c * beta if isinstance(c, np.ndarray) else builder.scale(c, np.array(beta))
    return [builder.add(product, shift)]


def _transposed(builder: Builder, value: Value) -> Value:
    if isinstance(value, np.ndarray):
        return value.T
    return builder.select(value, np.arange(value.size).reshape(value.shape).T)


def _matmul(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.matmul(_value(inputs[0]), _value(inputs[1]))]


def _add(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.add(_value(inputs[0]), _value(inputs[1]))]


def _sub(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.add(_value(inputs[0]), _value(inputs[1]), -1.0)]


def _mul(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    first, second = inputs[0], inputs[1]
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        raise UnsupportedUse("it multiplies two values that both depend on the input")
    x, factor = (first, second) if isinstance(first, Tensor) else (second, first)
    return [builder.scale(_tensor(x), _constant(factor, "factor"))]


def _div(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    divisor = _constant(inputs[1], "divisor")
    if not np.all(np.abs(divisor) > 0):
        raise UnsupportedUse("its divisor holds a zero")
    # The quotient 1/d is rounded, unlike x/d; dividing by a power of two is exact, anything else is one more rounding
    # of the scale, which the map's own rounding count covers.
    return [builder.scale(_tensor(inputs[0]), 1.0 / divisor.astype(np.float64))]


def _neg(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.scale(_tensor(inputs[0]), np.array(-1.0))]


def _relu(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.activation("relu", _tensor(inputs[0]))]


def _identity(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [_value(inputs[0])]


def _dropout(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    training = _given(inputs, 2)
    if training is not None and bool(np.any(_constant(training, "training mode"))):
        raise UnsupportedUse("it is in training mode; export the network in evaluation mode")
    return [_value(inputs[0])]


def _flatten(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _tensor(inputs[0])
    axis = int(attributes.get("axis", 1))
    axis += len(x.shape) if axis < 0 else 0
    rows = int(np.prod(x.shape[:axis]))
    return [builder.reshape(x, (rows, x.size // max(rows, 1)))]


def _reshape(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _tensor(inputs[0])
    target = _integers(inputs[1], "shape")
    if not attributes.get("allowzero", 0):
        target = [x.shape[i] if size == 0 and i < len(x.shape) else size for i, size in enumerate(target)]
    if target.count(-1) == 1:
        rest = -int(np.prod(target))
        target = [x.size // max(rest, 1) if size == -1 else size for size in target]
    return [builder.reshape(x, tuple(target))]


def _squeeze(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _tensor(inputs[0])
    given = _given(inputs, 1)
    axes = attributes.get("axes") if given is None else _integers(given, "axes")
    chosen = {i for i, size in enumerate(x.shape) if size == 1} if axes is None else {a % len(x.shape) for a in axes}
    return [builder.reshape(x, tuple(size for i, size in enumerate(x.shape) if i not in chosen))]


def _unsqueeze(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _tensor(inputs[0])
    given = _given(inputs, 1)
    axes = attributes.get("axes", []) if given is None else _integers(given, "axes")
    shape = np.expand_dims(np.empty(x.shape, dtype=bool), tuple(axes)).shape
    return [builder.reshape(x, shape)]


def _transpose(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _tensor(inputs[0])
    order = attributes.get("perm") or tuple(reversed(range(len(x.shape))))
    return [builder.select(x, np.transpose(np.arange(x.size).reshape(x.shape), order))]


def _concat(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.concat([_value(value) for value in inputs], int(attributes["axis"]))]


def _slice(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _tensor(inputs[0])
    if len(inputs) > 1:
        starts, ends = _integers(inputs[1], "starts"), _integers(inputs[2], "ends")
        axes_input, steps_input = _given(inputs, 3), _given(inputs, 4)
        axes = list(range(len(starts))) if axes_input is None else _integers(axes_input, "axes")
        steps = [1] * len(starts) if steps_input is None else _integers(steps_input, "steps")
    else:
        starts, ends = list(attributes["starts"]), list(attributes["ends"])
        axes, steps = list(attributes.get("axes", range(len(starts)))), [1] * len(starts)
    picks = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Going backwards past the beginning is "end before index 0", which a slice writes as None.
        stop = None if step < 0 and end < -x.shape[axis] else end
        picks[axis] = slice(start, stop, step)
    return [builder.select(x, np.arange(x.size).reshape(x.shape)[tuple(picks)])]


def _split(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = _tensor(inputs[0])
    axis = int(attributes.get("axis", 0))
    given = _given(inputs, 1)
    sizes = attributes.get("split") if given is None else _integers(given, "split sizes")
    length = x.shape[axis]
    if sizes is None:
        count = int(attributes.get("num_outputs", attributes["outputs"]))
        chunk = -(-length // count)
        sizes = [min(chunk, length - chunk * i) for i in range(count)]
    if sum(sizes) != length or min(sizes) < 0:
        raise UnsupportedUse(f"its split sizes {list(sizes)} do not add up to the axis length {length}")
    parts = np.split(np.arange(x.size).reshape(x.shape), np.cumsum(sizes)[:-1], axis=axis)
    return [builder.select(x, part) for part in parts]


def _shape(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    shape = np.array(_tensor(inputs[0]).shape, dtype=np.int64)
    return [shape[attributes.get("start", 0) : attributes.get("end", len(shape))]]


OPERATORS: dict[str, Handler] = {
    "Add": _add,
    "Concat": _concat,
    "Div": _div,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": _identity,
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": _neg,
    "Relu": _relu,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _sub,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""Handlers by operator name; Constant is folded by the reader."""
