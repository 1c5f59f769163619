"""ATen products, quotients, powers and sums of them as builder calls; all factors may depend on the input."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from admm_verify.network import movement, nonlinear, products
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.softmax import log_sum_exp
from admm_verify.network.torch_layers import Handler, data, number


def _times(builder: Builder, first: Any, second: Any) -> Value:
    return products.times(builder, number(first), number(second))


def _divided(builder: Builder, first: Any, second: Any) -> Value:
    return products.quotient(builder, number(first), number(second))


def _power(builder: Builder, x: Any, exponent: Any) -> Value:
    return products.power(builder, number(x), number(exponent))


def _reciprocal_root(builder: Builder, x: Any) -> Value:
    return nonlinear.power(builder, data(x), -0.5)


def _square(builder: Builder, x: Any) -> Value:
    return builder.activation("square", data(x))


def _einsum(builder: Builder, equation: str, operands: Sequence[Any], path: Any = None) -> Value:
    return products.einstein(builder, equation.replace(" ", ""), [number(value) for value in operands])


def _dot(builder: Builder, first: Any, second: Any) -> Value:
    return products.matmul(builder, number(first), number(second))


def _outer(builder: Builder, first: Any, second: Any) -> Value:
    return products.einstein(builder, "a,b->ab", [number(first), number(second)])


def _batched(builder: Builder, x: Any, first: Any, second: Any, *, beta: float = 1.0, alpha: float = 1.0) -> Value:
    """beta x + alpha first second."""
    product = builder.scale(data(products.matmul(builder, number(first), number(second))), np.array(float(alpha)))
    return product if beta == 0 else builder.add(product, number(x), float(beta))


def _plus_product(builder: Builder, x: Any, first: Any, second: Any, *, value: float = 1.0) -> Value:
    return builder.add(number(x), _times(builder, first, second), float(value))


def _plus_quotient(builder: Builder, x: Any, first: Any, second: Any, *, value: float = 1.0) -> Value:
    return builder.add(number(x), _divided(builder, first, second), float(value))


def _between(builder: Builder, start: Any, end: Any, weight: Any) -> Value:
    """start + weight (end - start)."""
    return builder.add(number(start), _times(builder, weight, builder.add(number(end), number(start), -1.0)))


def _product_over(builder: Builder, x: Any, axis: int | None = None, keep: bool = False, *, dtype: Any = None) -> Value:
    if dtype is not None and str(dtype) != f"torch.{builder.element_type}":
        raise UnsupportedUse(f"it computes in {dtype}; use one type throughout")
    return products.reduce_product(builder, data(x), None if axis is None else [axis], keep)


def _log_sum_exp(builder: Builder, x: Any, axes: Any, keep: bool = False) -> Value:
    return log_sum_exp(builder, data(x), [axes] if isinstance(axes, int) else axes or None, keep)


def _variance(builder: Builder, x: Any, axes: Any = None, *rest: Any, **options: Any) -> Tensor:
    """The mean square of what is centred, over n - correction."""
    correction, keep = _spread_options(axes, rest, options)
    x = data(x)
    chosen = None if axes is None or isinstance(axes, bool) else [axes] if isinstance(axes, int) else [*axes] or None
    centred = builder.add(x, movement.reduce_mean(builder, x, chosen, True), -1.0)
    total = nonlinear.sum_of_squares(builder, centred, chosen, keep)
    count = x.size / total.size - correction
    if count <= 0:
        raise UnsupportedUse("it corrects for as many entries as there are")
    return builder.divide(total, np.array(count))


def _spread_options(axes: Any, rest: tuple[Any, ...], options: dict[str, Any]) -> tuple[float, bool]:
    """The correction and whether axes stay, of torch's two forms: with a flag, or with a number by name."""
    known = {"correction", "unbiased", "keepdim"}
    if set(options) - known:
        raise UnsupportedUse(f"its options {sorted(set(options) - known)} are unknown here")
    flags = ([axes] if isinstance(axes, bool) else []) + list(rest)
    unbiased = flags[0] if flags else options.get("unbiased", True)
    given = options.get("correction")
    correction = float(bool(unbiased)) if given is None else float(given)
    return correction, bool(flags[1] if len(flags) > 1 else options.get("keepdim", False))


def _deviation(builder: Builder, x: Any, axes: Any = None, *rest: Any, **options: Any) -> Value:
    return builder.activation("sqrt", _variance(builder, x, axes, *rest, **options))


def _variance_and_mean(builder: Builder, x: Any, axes: Any = None, *rest: Any, **options: Any) -> list[Value]:
    _, keep = _spread_options(axes, rest, options)
    chosen = None if axes is None or isinstance(axes, bool) else [axes] if isinstance(axes, int) else [*axes] or None
    return [_variance(builder, x, axes, *rest, **options), movement.reduce_mean(builder, data(x), chosen, keep)]


PRODUCTS: dict[str, Handler] = {
    "addcdiv": _plus_quotient,
    "addcmul": _plus_product,
    "baddbmm": _batched,
    "div": _divided,
    "dot": _dot,
    "einsum": _einsum,
    "lerp": _between,
    "logsumexp": _log_sum_exp,
    "mul": _times,
    "mv": _dot,
    "outer": _outer,
    "pow": _power,
    "prod": _product_over,
    "rsqrt": _reciprocal_root,
    "square": _square,
    "std": _deviation,
    "true_divide": _divided,
    "var": _variance,
    "var_mean": _variance_and_mean,
}
"""Handlers by ATen operator name."""
