"""ONNX comparisons of values that depend on the input, and what may read them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, Scored, Tensor, UnsupportedUse, Value
from admm_verify.network.onnx_inputs import Attributes, numbers, present
from admm_verify.network.onnx_operators import OPERATORS
from admm_verify.network.stepped import both, either, equal, is_place, nonzero, placed
from admm_verify.network.switch import Comparison, switch

Conditional = Callable[[Builder, Any, Attributes, int], list[Any]]
"""A handler that gives or takes a comparison."""


_BOOL = 9


def _compared(swapped: bool, inverted: bool) -> Conditional:
    def handler(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
        first, second = (_real(value) for value in inputs)
        if swapped:
            first, second = second, first
        return [Comparison(builder.add(first, second, -1.0), inverted)]

    return handler


def _equal(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    first, second = inputs
    for place, other in ((first, second), (second, first)):
        if isinstance(place, Scored) and isinstance(other, np.ndarray):
            return [is_place(builder, place, other)]
    return [equal(builder, *(_real(placed(builder, value)) for value in inputs))]


def _real(value: Value | None) -> Value:
    return value if isinstance(value, Tensor) else numbers(present(value), "constant")


def _where(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    condition, first, second = inputs
    if not isinstance(condition, Comparison):
        raise UnsupportedUse("one of its values is itself a comparison, whose steps have no relaxation")
    return [switch(builder, condition, _real(first), _real(second))]


def _not(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    return [inputs[0].negated()]


def _cast(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    own = {"float32": 1, "float64": 11}[builder.element_type]
    if attributes["to"] not in (6, 7, 9, own):
        raise UnsupportedUse(f"it casts a comparison to another type than bool, integers and {builder.element_type}")
    return [replace(inputs[0], numeric=attributes["to"] == own)]


def _cast_values(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    if attributes["to"] == _BOOL:
        return [nonzero(builder, _real(inputs[0]))]
    return list(OPERATORS["Cast"](builder, inputs, attributes, opset))


def _mul(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    condition, x = inputs if isinstance(inputs[0], Comparison) else inputs[::-1]
    if isinstance(x, Comparison):
        return [replace(both(builder, condition, x), numeric=True)]
    return [switch(builder, condition, _real(x), np.zeros(()))]


def _joined(join: Callable[[Builder, Comparison, Comparison], Comparison]) -> Conditional:
    def handler(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
        if not all(isinstance(value, Comparison) for value in inputs):
            raise UnsupportedUse("it joins a comparison with constants")
        return [join(builder, *inputs)]

    return handler


COMPARISONS: dict[str, Conditional] = {
    "Cast": _cast_values,
    "Equal": _equal,
    "Greater": _compared(False, False),
    "GreaterOrEqual": _compared(True, True),
    "Less": _compared(True, False),
    "LessOrEqual": _compared(False, True),
}
"""Handlers by operator name, whose results may be comparisons."""

CONDITIONAL: dict[str, Conditional] = {
    "And": _joined(both),
    "Cast": _cast,
    "Mul": _mul,
    "Not": _not,
    "Or": _joined(either),
    "Where": _where,
}
"""Handlers by operator name of operators that read a comparison."""
