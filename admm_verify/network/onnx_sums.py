"""ONNX operators that add up, compare or order entries as builder calls, one function each."""

import numpy as np

from admm_verify.network import movement, nonlinear
from admm_verify.network.builder import Builder, UnsupportedUse, Value
from admm_verify.network.einsum import einsum
from admm_verify.network.onnx_inputs import (
    Attributes,
    Handler,
    Inputs,
    axes_given,
    axis_given,
    constant,
    integers,
    present,
    tensor,
    text,
)


def _cumulative_sum(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    axis = int(constant(inputs[1], "axis").item())
    exclusive, reverse = bool(attributes.get("exclusive", 0)), bool(attributes.get("reverse", 0))
    return [movement.cumulative_sum(builder, tensor(inputs[0]), axis, exclusive, reverse)]


def _einsum(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    equation, values = text(attributes, "equation", "").replace(" ", ""), [present(value) for value in inputs]
    terms, arrow, result = equation.partition("->")
    pairs = zip(terms.split(","), values, strict=False)
    covers = any("..." in term and len(value.shape) > len(term) - len("...") for term, value in pairs)
    if arrow and covers and "..." not in result:
        raise UnsupportedUse("its result leaves out the axes of an ellipsis, which torch adds up and runtimes refuse")
    return [einsum(builder, equation, values)]


def _reduce_l1(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, axes = tensor(inputs[0]), axes_given(inputs, attributes)
    if not axes and attributes.get("noop_with_empty_axes", 0):
        raise UnsupportedUse("it has no axes, in which case runtimes disagree whether it takes sizes")
    return [nonlinear.norm(builder, x, 1.0, axes or None, bool(attributes.get("keepdims", 1)))]


def _top(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = tensor(inputs[0])
    axis = axis_given(attributes, len(x.shape), -1)
    (count,) = integers(inputs[1], "count") if opset >= 10 else [int(attributes["k"])]
    if not 1 <= count <= x.shape[axis]:
        raise UnsupportedUse(f"it takes {count} of {x.shape[axis]} entries")
    if count > 1 and not attributes.get("sorted", 1):
        raise UnsupportedUse("it leaves the order of the largest entries open; set its attribute sorted")
    if attributes.get("largest", 1):
        return [nonlinear.largest(builder, x, axis, count)]
    turned = nonlinear.largest(builder, builder.scale(x, np.array(-1.0)), axis, count)
    return [builder.scale(turned, np.array(-1.0))]


SUMS: dict[str, Handler] = {"CumSum": _cumulative_sum, "Einsum": _einsum, "ReduceL1": _reduce_l1, "TopK": _top}
"""Handlers by operator name."""
