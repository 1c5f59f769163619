"""ONNX operators that add up, multiply, compare or order entries as builder calls, one function each."""

from collections.abc import Callable, Sequence

import numpy as np

from admm_verify.network import movement, nonlinear, products
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
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
from admm_verify.network.softmax import log_sum_exp

Reduction = Callable[[Builder, Tensor, Sequence[int] | None, bool], Tensor]


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
    return [products.einstein(builder, equation, values)]


def _reduced(reduction: Reduction) -> Handler:
    """A reduction that does something to every entry, too."""

    def handler(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
        x, axes = tensor(inputs[0]), axes_given(inputs, attributes)
        if not axes and attributes.get("noop_with_empty_axes", 0):
            raise UnsupportedUse("it has no axes, in which case runtimes disagree what it does to single entries")
        return [reduction(builder, x, axes or None, bool(attributes.get("keepdims", 1)))]

    return handler


def _sizes(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    return nonlinear.norm(builder, x, 1.0, axes, keep)


def _length(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    return nonlinear.norm(builder, x, 2.0, axes, keep)


def _log_sum(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    return builder.activation("log", movement.reduce_sum(builder, x, axes, keep))


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


SUMS: dict[str, Handler] = {
    "CumSum": _cumulative_sum,
    "Einsum": _einsum,
    "ReduceL1": _reduced(_sizes),
    "ReduceL2": _reduced(_length),
    "ReduceLogSum": _reduced(_log_sum),
    "ReduceLogSumExp": _reduced(log_sum_exp),
    "ReduceProd": _reduced(products.reduce_product),
    "ReduceSumSquare": _reduced(nonlinear.sum_of_squares),
    "TopK": _top,
}
"""Handlers by operator name."""
