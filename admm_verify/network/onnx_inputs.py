"""What ONNX handlers get: inputs that are tensors or constants, attributes, the opset; and how to ask for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value

Attributes = Mapping[str, Any]
Inputs = Sequence[Value | None]
Handler = Callable[[Builder, Inputs, Attributes, int], list[Value]]


def tensor(value: Value | None) -> Tensor:
    """The data input of an operator that depends on the network's input."""
    if not isinstance(value, Tensor):
        raise UnsupportedUse("its data input is a constant or missing")
    return value


def constant(value: Value | None, what: str) -> np.ndarray:
    """An input that must be constant; `what` names it in the error."""
    if not isinstance(value, np.ndarray):
        raise UnsupportedUse(f"its {what} depends on the input or is missing; it must be constant")
    return value


def numbers(value: Value | None, what: str) -> np.ndarray:
    """A constant input as float64 numbers."""
    return constant(value, what).astype(np.float64)


def integers(value: Value | None, what: str) -> list[int]:
    """A constant input as a list of integers."""
    return [int(v) for v in constant(value, what).reshape(-1)]


def given(inputs: Inputs, index: int) -> Value | None:
    """The input at an index, None where it is left out."""
    return inputs[index] if index < len(inputs) else None


def present(value: Value | None) -> Value:
    """An input that must not be left out."""
    if value is None:
        raise UnsupportedUse("one of its inputs is missing")
    return value


def broadcasting(inputs: Inputs, opset: int) -> list[Value]:
    """The inputs of an operator on any number of them, which broadcast since opset 8."""
    values = [present(value) for value in inputs]
    if opset < 8 and len({value.shape for value in values}) > 1:
        raise UnsupportedUse("its inputs have different shapes, which broadcast since opset 8")
    return values


def real(attributes: Attributes, name: str, default: float) -> float:
    """An attribute of type float; the standard's defaults are float32 numbers, too."""
    return float(np.float32(attributes.get(name, default)))


def text(attributes: Attributes, name: str, default: str) -> str:
    """An attribute of type string."""
    found = attributes.get(name, default)
    return found.decode() if isinstance(found, bytes) else str(found)


def axes_given(inputs: Inputs, attributes: Attributes) -> list[int] | None:
    """The axes from input 1, as in newer opsets, or from the attribute of older ones; None where there are neither."""
    axes = given(inputs, 1)
    if axes is not None:
        return integers(axes, "axes")
    return list(attributes["axes"]) if "axes" in attributes else None


def axis_given(attributes: Attributes, rank: int, default: int) -> int:
    """The attribute axis of a tensor of some rank, counted from the front."""
    axis = int(attributes.get("axis", default))
    if not -rank <= axis < rank:
        raise UnsupportedUse(f"its axis {axis} is not one of a tensor of rank {rank}")
    return axis % rank
