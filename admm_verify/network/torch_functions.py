"""ATen functions that are written out in those with a relaxation, as builder calls."""

from collections.abc import Callable
from typing import Any

import numpy as np

from admm_verify.network import nonlinear, products
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.softmax import log_sum_exp
from admm_verify.network.torch_layers import Handler, data, number

_DIRECT = 25
"""Points up to which torch takes differences for Euclidean distances, and does not multiply matrices."""

_NEVER_BY_MATRICES = 2


def _of_one(function: Callable[..., Tensor], *arguments: float) -> Handler:
    return lambda builder, x: function(builder, data(x), *arguments)


def _fraction(builder: Builder, x: Any) -> Value:
    return builder.add(data(x), nonlinear.truncated(builder, data(x)), -1.0)


def _hypotenuse(builder: Builder, first: Any, second: Any) -> Value:
    """sqrt(x^2 + y^2)."""
    x, y = (value if isinstance(value, Tensor) else builder.lift(value) for value in (number(first), number(second)))
    squares = builder.add(builder.activation("square", x), builder.activation("square", y))
    return builder.activation("sqrt", squares)


def _log_of_sum(builder: Builder, first: Any, second: Any) -> Value:
    """log(exp(x) + exp(y))."""
    pair = builder.aligned(number(first), number(second))
    both = builder.concat([builder.move(value, lambda entries: entries[None]) for value in pair], 0)
    return log_sum_exp(builder, both, [0], False)


def _distances(builder: Builder, first: Any, second: Any, order: float = 2.0, mode: int | None = None) -> Value:
    """Norms of all differences, [.., n, d] and [.., m, d] -> [.., n, m]."""
    x, y = number(first), number(second)
    if order == 2 and mode != _NEVER_BY_MATRICES and (mode == 1 or max(x.shape[-2], y.shape[-2]) > _DIRECT):
        raise UnsupportedUse(
            "it takes distances by a product of matrices, which cancels; give compute_mode="
            "'donot_use_mm_for_euclid_dist'"
        )
    rows = builder.move(x, lambda entries: np.asarray(entries)[..., :, None, :])
    columns = builder.move(y, lambda entries: np.asarray(entries)[..., None, :, :])
    return nonlinear.norm(builder, builder.add(rows, columns, -1.0), float(order), [-1], False)


def _running_product(builder: Builder, x: Any, axis: int, dtype: Any = None) -> Value:
    if dtype is not None and str(dtype) != f"torch.{builder.element_type}":
        raise UnsupportedUse(f"it computes in {dtype}; use one type throughout")
    return products.cumulative_product(builder, data(x), axis)


FUNCTIONS: dict[str, Handler] = {
    "_cdist_forward": _distances,
    "acos": _of_one(nonlinear.acos),
    "cdist": _distances,
    "cumprod": _running_product,
    "erfc": _of_one(nonlinear.erfc),
    "exp2": _of_one(nonlinear.exponential, 2.0),
    "expm1": _of_one(nonlinear.expm1),
    "frac": _fraction,
    "hypot": _hypotenuse,
    "log10": _of_one(nonlinear.logarithm, 10.0),
    "log1p": _of_one(nonlinear.log1p),
    "log2": _of_one(nonlinear.logarithm, 2.0),
    "logaddexp": _log_of_sum,
    "special_erfc": _of_one(nonlinear.erfc),
    "special_exp2": _of_one(nonlinear.exponential, 2.0),
    "special_expm1": _of_one(nonlinear.expm1),
    "special_log1p": _of_one(nonlinear.log1p),
    "trunc": _of_one(nonlinear.truncated),
}
"""Handlers by ATen operator name."""
