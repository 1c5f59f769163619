"""ONNX operators on scores of which a mask of minus infinity leaves some out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.masks import Masked, finite_part, holds_infinity, joined, softmax_of, without_input
from admm_verify.network.onnx_folding import exactly_on_constants
from admm_verify.network.onnx_heads import STARTS, HeadHandler
from admm_verify.network.onnx_inputs import Attributes
from admm_verify.network.onnx_movement import MOVES
from admm_verify.network.onnx_operators import OPERATORS

_MASKING = ("Add", "Div", "Mul", "Sub", "Where")
"""Operators that make scores of minus infinity of constants."""

_CARRYING = (*_MASKING, *MOVES, "Cast", "Dropout", "Identity")
"""Operators that scores of minus infinity pass through."""


MaskHandler = Callable[[Builder, Sequence[Any], Attributes, int], Sequence[Any]]
"""As handlers of operators, of masked scores among others."""


def on_masks(kind: tuple[str, str], inputs: Sequence[Any]) -> MaskHandler | None:
    """What computes an operator, of a domain and a name, of scores with entries of minus infinity or makes such scores;
    None where neither is the case.
    """
    domain, name = kind
    if not any(isinstance(value, Masked) for value in inputs):
        known = all(value is None or isinstance(value, Tensor | np.ndarray) for value in inputs)
        makes = not domain and name in _MASKING and any(isinstance(value, Tensor) for value in inputs)
        return _carried(name) if makes and known and any(map(holds_infinity, inputs)) else None
    if kind in STARTS:
        return _softmax(STARTS[kind])
    return _refused if domain or name not in _CARRYING else _carried(name)


def _softmax(start: HeadHandler) -> MaskHandler:
    def handler(builder: Builder, inputs: Sequence[Any], attributes: Attributes, opset: int) -> Sequence[Any]:
        return [softmax_of(builder, inputs[0], lambda scores: start(builder, [scores], attributes, opset)[0])]

    return handler


def _carried(name: str) -> MaskHandler:
    def handler(builder: Builder, inputs: Sequence[Any], attributes: Attributes, opset: int) -> Sequence[Any]:
        known = [without_input(value, builder.element_type) for value in inputs]
        on_zeros = exactly_on_constants("Identity" if name == "Dropout" else name, known)
        if on_zeros is None:
            raise UnsupportedUse("its entries of minus infinity are not known beforehand")
        patterns = on_zeros(builder, known, attributes, opset)
        values = OPERATORS[name](builder, [finite_part(value) for value in inputs], attributes, opset)
        return joined([*values], [*patterns])

    return handler


def _refused(builder: Builder, inputs: Sequence[Any], attributes: Attributes, opset: int) -> Sequence[Any]:
    raise UnsupportedUse(
        "it reads values that a mask of minus infinity was added to or written into, of which a softmax is read"
    )
