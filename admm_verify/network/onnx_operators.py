"""ONNX operators as builder calls, one function each, in one table.

A handler gets the operator's inputs (tensors or constants), its attributes and the opset version; it never sees the
onnx package. Arithmetic is here, layers, activations and movements of entries are in their own modules.
"""

from functools import reduce

import numpy as np

from admm_verify.network import products
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.onnx_activations import ACTIVATIONS
from admm_verify.network.onnx_entries import ENTRIES
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
)
from admm_verify.network.onnx_layers import LAYERS
from admm_verify.network.onnx_movement import MOVEMENT
from admm_verify.network.onnx_normalisation import NORMALISATIONS
from admm_verify.network.onnx_recurrent import RECURRENT
from admm_verify.network.onnx_sums import SUMS

REAL_TYPES = {1: "float32", 11: "float64"}
"""The codes of the element types that a cast between leaves a real number as it is."""


def _gemm(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    a, b, c = present(inputs[0]), present(inputs[1]), given(inputs, 2)
    a = _transposed(builder, a) if attributes.get("transA", 0) else a
    b = _transposed(builder, b) if attributes.get("transB", 0) else b
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise UnsupportedUse(f"its factors of shapes {a.shape} and {b.shape} are not matrices")
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        a = builder.lift(a)
    product = products.matmul(builder, a, b)
    product = builder.scale(product, np.array(real(attributes, "alpha", 1.0)))
    if c is None:
        return [product]
    if np.broadcast_shapes(c.shape, product.shape) != product.shape:
        raise UnsupportedUse(f"its C of shape {c.shape} does not broadcast to the product's shape {product.shape}")
    shift = numbers(c, "C") if isinstance(c, np.ndarray) else c
    return [builder.add(product, shift, real(attributes, "beta", 1.0))]


def _transposed(builder: Builder, value: Value) -> Value:
    if isinstance(value, np.ndarray):
        return value.T
    return builder.select(value, value.labels.T)


def _matmul(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [products.matmul(builder, present(inputs[0]), present(inputs[1]))]


def _add(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.add(present(inputs[0]), present(inputs[1]))]


def _sub(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.add(present(inputs[0]), present(inputs[1]), -1.0)]


def _mul(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [products.times(builder, present(inputs[0]), present(inputs[1]))]


def _div(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [products.quotient(builder, present(inputs[0]), present(inputs[1]))]


def _neg(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [builder.scale(tensor(inputs[0]), np.array(-1.0))]


def _identity(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [present(inputs[0])]


def _dropout(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    training = given(inputs, 2)
    if training is not None and bool(np.any(constant(training, "training mode"))):
        raise UnsupportedUse("it is in training mode; export the network in evaluation mode")
    return [present(inputs[0])]


def _sum(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    values = broadcasting(inputs, opset)
    tensors: list[Value] = [value for value in values if isinstance(value, Tensor)]
    # One by one: a sum of constants alone would hide what it loses to rounding.
    constants: list[Value] = [numbers(value, "summand") for value in values if isinstance(value, np.ndarray)]
    return [reduce(builder.add, [*tensors, *constants])]


def _mean(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    (total,) = _sum(builder, inputs, attributes, opset)
    return [builder.divide(tensor(total), np.array(len(inputs)))]


def _pow(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    base = present(inputs[0])
    if isinstance(base, np.ndarray) and base.dtype != builder.element_type:
        raise UnsupportedUse(f"its base is of type {base.dtype}, to which its result is rounded")
    return [products.power(builder, base, present(inputs[1]))]


def _is_nan(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    """False: no real number is none. Exporters ask it of softmaxes, whose masks leave something of each line."""
    return [np.zeros(tensor(inputs[0]).shape, dtype=bool)]


def _cast(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    if attributes["to"] not in REAL_TYPES:
        raise UnsupportedUse(f"it casts to a type other than {' and '.join(REAL_TYPES.values())}")
    builder.check_cast(REAL_TYPES[attributes["to"]])
    return [tensor(inputs[0])]


OPERATORS: dict[str, Handler] = {
    **ACTIVATIONS,
    **ENTRIES,
    **LAYERS,
    **MOVEMENT,
    **NORMALISATIONS,
    **RECURRENT,
    **SUMS,
    "Add": _add,
    "Cast": _cast,
    "Div": _div,
    "Dropout": _dropout,
    "Gemm": _gemm,
    "Identity": _identity,
    "IsNaN": _is_nan,
    "MatMul": _matmul,
    "Mean": _mean,
    "Mul": _mul,
    "Neg": _neg,
    "Pow": _pow,
    "Sub": _sub,
    "Sum": _sum,
}
"""Handlers by operator name; Constant, and any other operator on constants alone, is folded by the reader."""
