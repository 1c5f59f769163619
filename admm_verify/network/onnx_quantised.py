"""Numbers of 8 or 16 bits in ONNX models: weights that are dequantised, and values quantised between two operators.

DequantizeLinear of a constant is folded to (x - zero) scale in float32. QuantizeLinear and the DequantizeLinear behind
it are the step function that they are, round(clip(x / s)) s, whose jumps are bounded like those of any other. This is
what the standard defines, operator by operator. Runtimes may merge them with what stands around them and compute
products in whole numbers then: exactly where both factors are quantised, to 8 bits of a factor that is not where only
weights are, unless told otherwise (onnxruntime: session.disable_quant_qdq, which replays set).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.network import nonlinear
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.onnx_inputs import Attributes, Inputs, axis_given, constant, given

QUANTISED = ("DequantizeLinear", "QuantizeLinear")

_TYPES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}
"""NumPy's names of the element types that values are quantised to, by their codes."""

_LARGEST = 2**24
"""The largest whole number up to which all are float32 numbers."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """Whole numbers that depend on the input, as a value `codes` of the graph and what is added to it; dtype: their
    type. Shapes: shift broadcasts to codes.
    """

    codes: Tensor
    shift: np.ndarray
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape


def on_quantised(kind: tuple[str, str], inputs: Sequence[Any]) -> Callable[..., Sequence[Any]] | None:
    """What computes an operator, of a domain and a name, that quantises a value or reads a quantised one; None for
    others.
    """
    domain, name = kind
    if not domain and name == "QuantizeLinear":
        return _quantise
    if not any(isinstance(value, Quantised) for value in inputs):
        return None
    return _dequantise if not domain and name == "DequantizeLinear" else _refused


def dequantised(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    """Constants (x - zero) scale, as DequantizeLinear gives them."""
    x = constant(inputs[0], "input")
    if x.dtype.kind not in "iu":
        raise UnsupportedUse(f"it dequantises {x.dtype}, and integers are read")
    scale, zero = _parameters(inputs, attributes, x.dtype, x.shape)
    whole = x.astype(np.int64) - zero
    if np.any(np.abs(whole) > _LARGEST):
        raise UnsupportedUse("some of its whole numbers are not float32 numbers")
    return whole.astype(np.float32) * scale


def quantised(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    """Constants round(x / scale) + zero, as QuantizeLinear gives them."""
    x, dtype = constant(inputs[0], "input"), _target(inputs, attributes)
    if x.dtype != np.float32 or not np.isfinite(x).all():
        raise UnsupportedUse(f"it quantises constants of type {x.dtype}, or some that are not finite")
    scale, zero = _parameters(inputs, attributes, dtype, x.shape)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x / scale).astype(np.float64) + zero, limits.min, limits.max).astype(dtype)


def _quantise(builder: Builder, inputs: Sequence[Any], attributes: Attributes, opset: int) -> list[Any]:
    x, dtype = inputs[0], _target(inputs, attributes)
    if not isinstance(x, Tensor):
        raise UnsupportedUse("it quantises what is no array of numbers")
    scale, zero = _parameters(inputs, attributes, dtype, x.shape)
    limits = np.iinfo(dtype)
    # Whatever is cut off here would be cut off behind the step, whose ends are whole numbers.
    inside = nonlinear.clip(builder, builder.divide(x, scale.astype(np.float64)), limits.min - zero, limits.max - zero)
    return [Quantised(builder.activation("round", inside), zero, dtype)]


def _dequantise(builder: Builder, inputs: Sequence[Any], attributes: Attributes, opset: int) -> list[Any]:
    x = inputs[0]
    if not isinstance(x, Quantised):
        raise UnsupportedUse("its scale or zero point is quantised")
    scale, zero = _parameters(inputs, attributes, x.dtype, x.shape)
    shift = (x.shift - zero).astype(np.float64)
    return [builder.scale(builder.add(x.codes, shift) if shift.any() else x.codes, scale.astype(np.float64))]


def _refused(builder: Builder, inputs: Sequence[Any], attributes: Attributes, opset: int) -> list[Any]:
    raise UnsupportedUse(
        "it reads whole numbers that QuantizeLinear made, as DequantizeLinear alone does here; quantise the model in "
        "the QDQ format, where both stand around every operator"
    )


def _target(inputs: Inputs, attributes: Attributes) -> np.dtype:
    """The type that is quantised to: that of the zero point, else the attribute's, else uint8."""
    zero, code = given(inputs, 2), attributes.get("output_dtype", 0)
    name = _TYPES.get(code, f"the type of code {code}") if code else "uint8"
    dtype = name if zero is None else constant(zero, "zero point").dtype.name
    if dtype not in _TYPES.values() or (code and dtype != name):
        raise UnsupportedUse(f"it quantises to {dtype}; read are {', '.join(_TYPES.values())}")
    return np.dtype(dtype)


def _parameters(
    inputs: Inputs, attributes: Attributes, dtype: np.dtype, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point, broadcasting to a shape: of the whole tensor, along an axis, or for blocks of an axis."""
    scale, zero, block = constant(inputs[1], "scale"), given(inputs, 2), int(attributes.get("block_size", 0))
    shift = np.zeros(scale.shape, np.int64) if zero is None else constant(zero, "zero point")
    if scale.dtype != np.float32 or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise UnsupportedUse(f"its scale is of type {scale.dtype}, and positive float32 numbers are read")
    if not block and scale.ndim < 2 and scale.size == shift.size == 1:
        # One number, whether or not it has an axis of its own.
        scale, shift = scale.reshape(()), shift.reshape(())
    if shift.shape != scale.shape or (zero is not None and shift.dtype != dtype):
        raise UnsupportedUse("its zero point has another shape than its scale, or another type than its numbers")
    found = [scale, shift.astype(np.int64)]
    if block:
        axis = axis_given(attributes, len(shape), 1)
        if scale.ndim != len(shape) or -(-shape[axis] // block) != scale.shape[axis]:
            raise UnsupportedUse(f"its scale of shape {scale.shape} does not fit blocks of {block} along axis {axis}")
        found = [np.repeat(part, block, axis).take(range(shape[axis]), axis) for part in found]
    elif scale.ndim:
        axis = axis_given(attributes, len(shape), 1)
        if scale.shape != (shape[axis],):
            raise UnsupportedUse(f"its scale of shape {scale.shape} does not fit axis {axis} of shape {shape}")
        column = [1] * len(shape)
        column[axis] = -1
        found = [part.reshape(column) for part in found]
    return found[0], found[1]
