"""ATen arithmetic, sums and orders of entries as builder calls, and the table of all but those that move them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from admm_verify.network import movement, nonlinear, products
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.torch_conditions import COMPARISONS
from admm_verify.network.torch_functions import FUNCTIONS
from admm_verify.network.torch_layers import LAYERS, UNFOLLOWED, Handler, data, fixed, number
from admm_verify.network.torch_normalisation import NORMALISATIONS
from admm_verify.network.torch_products import PRODUCTS
from admm_verify.network.torch_recurrent import RECURRENT


def _linear(builder: Builder, x: Any, weight: Any, bias: Any = None) -> Value:
    matrix = number(weight)
    product = products.matmul(builder, number(x), builder.move(matrix, np.transpose))
    return product if bias is None else builder.add(product, number(bias))


def _addmm(builder: Builder, bias: Any, first: Any, second: Any, *, beta: float = 1.0, alpha: float = 1.0) -> Value:
    if not isinstance(first, Tensor) and not isinstance(second, Tensor):
        first = builder.lift(fixed(first, "first factor"))
    product = builder.scale(products.matmul(builder, first, second), np.array(float(alpha)))
    return product if beta == 0 else builder.add(product, number(bias), float(beta))


def _addbmm(builder: Builder, bias: Any, first: Any, second: Any, *, beta: float = 1.0, alpha: float = 1.0) -> Value:
    total = movement.reduce_sum(builder, products.matmul(builder, first, second), [0], False)
    product = builder.scale(total, np.array(float(alpha)))
    return product if beta == 0 else builder.add(product, number(bias), float(beta))


def _product(builder: Builder, first: Any, second: Any) -> Value:
    return products.matmul(builder, first, second)


def _plus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(number(first), number(second), float(alpha))


def _minus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(number(first), number(second), -float(alpha))


def _reverse_minus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(number(second), number(first), -float(alpha))


def _negative(builder: Builder, x: Any) -> Value:
    return builder.scale(data(x), np.array(-1.0))


def _sum(builder: Builder, x: Any, axes: Any = None, keep: bool = False, dtype: Any = None) -> Value:
    return movement.reduce_sum(builder, _to(builder, x, dtype=dtype), _axes(axes), keep)


def _mean(builder: Builder, x: Any, axes: Any = None, keep: bool = False, dtype: Any = None) -> Value:
    return movement.reduce_mean(builder, _to(builder, x, dtype=dtype), _axes(axes), keep)


def _reduced(reduce: Callable[..., Value]) -> Callable[..., Value]:
    """The extreme entries along some axes."""

    def work(builder: Builder, x: Any, axes: Any = None, keep: bool = False) -> Value:
        return reduce(builder, data(x), _axes(axes), keep)

    return work


_amax, _amin = _reduced(nonlinear.reduce_max), _reduced(nonlinear.reduce_min)


def _extreme(whole: Callable[..., Value], of_two: Callable[..., Value]) -> Callable[..., Any]:
    """Torch's three uses: over everything, along one axis with the places of the extremes, of two values."""

    def work(builder: Builder, x: Any, second: Any = None, keep: bool = False) -> Any:
        if second is None:
            return whole(builder, x)
        if isinstance(second, int):
            return [whole(builder, x, second, keep), UNFOLLOWED]
        return of_two(builder, number(x), number(second))

    return work


def _cumulative_sum(builder: Builder, x: Any, axis: int, dtype: Any = None) -> Value:
    return movement.cumulative_sum(builder, _to(builder, x, dtype=dtype), axis)


def _norm(builder: Builder, x: Any, order: float = 2, axes: Any = None, keep: bool = False, dtype: Any = None) -> Value:
    return nonlinear.norm(builder, _to(builder, x, dtype=dtype), float(order), _axes(axes), keep)


def _distance(builder: Builder, first: Any, second: Any, order: float = 2) -> Value:
    return nonlinear.norm(builder, builder.add(number(first), number(second), -1.0), float(order), None, False)


def _largest(builder: Builder, x: Any, count: int, axis: int = -1, descending: bool = True) -> Tensor:
    """The largest entries in descending order; or the smallest in ascending order."""
    signed = data(x) if descending else builder.scale(data(x), np.array(-1.0))
    (axis,) = movement.axes_in(len(x.shape), [axis])
    found = nonlinear.largest(builder, signed, axis, count)
    return found if descending else builder.scale(found, np.array(-1.0))


def _top(
    builder: Builder, x: Any, count: int, axis: int = -1, largest: bool = True, in_order: bool = True
) -> list[Any]:
    if not in_order and count > 1:
        raise UnsupportedUse("it leaves the order of the largest entries open; take sorted=True")
    return [_largest(builder, x, count, axis, largest), UNFOLLOWED]


def _sort(
    builder: Builder, x: Any, axis: int = -1, descending: bool = False, *, stable: Any = None, dim: int | None = None
) -> list[Any]:
    along = axis if dim is None else dim
    return [_largest(builder, x, data(x).shape[along], along, descending), UNFOLLOWED]


def _ranked(builder: Builder, x: Any, count: int, axis: int = -1, keep: bool = False) -> list[Any]:
    """The entry that `count` - 1 others are below, along an axis."""
    smallest = _largest(builder, x, count, axis, False)
    picked = np.take(smallest.labels, [-1] if keep else -1, axis=axis)
    return [builder.select(smallest, picked), UNFOLLOWED]


def _median(builder: Builder, x: Any, axis: Any = None, keep: bool = False) -> Any:
    """The lower one of both in the middle."""
    if axis is None:
        return _ranked(builder, builder.reshape(data(x), (x.size,)), (x.size + 1) // 2)[0]
    return _ranked(builder, x, (data(x).shape[axis] + 1) // 2, axis, keep)


def _axes(axes: Any) -> Sequence[int] | None:
    """All axes for None and for an empty list, as in torch."""
    return [axes] if isinstance(axes, int) else axes or None


def _same(builder: Builder, x: Any, memory_format: Any = None) -> Any:
    return x


def _to(builder: Builder, x: Any, *target: Any, dtype: Any = None, memory_format: Any = None) -> Any:
    """A cast between real types, which leaves a real number as it is."""
    kinds = [str(t) for t in (*target, dtype) if str(t).startswith("torch.")]
    if any(kind not in ("torch.float32", "torch.float64") for kind in kinds):
        raise UnsupportedUse(f"it casts to {', '.join(kinds)}; float32 and float64 are supported")
    for kind in kinds:
        builder.check_cast(kind.removeprefix("torch."))
    return data(x)


def _nothing(builder: Builder, *arguments: Any, dtype: Any = None, device: Any = None, layout: Any = None) -> None:
    """A check that torch makes at run time."""


def _dropout(builder: Builder, x: Any, _share: float = 0.5, training: bool = False) -> Any:
    if training:
        raise UnsupportedUse("it is in training mode; call module.eval(), and F.dropout with training=False")
    return x


OPERATIONS: dict[str, Handler] = {
    **COMPARISONS,
    **FUNCTIONS,
    **LAYERS,
    **NORMALISATIONS,
    **PRODUCTS,
    **RECURRENT,
    "_assert_tensor_metadata": _nothing,
    "_to_copy": _to,
    "add": _plus,
    "addbmm": _addbmm,
    "addmm": _addmm,
    "addmv": _addmm,
    "alias": _same,
    "alpha_dropout": _dropout,
    "amax": _amax,
    "amin": _amin,
    "bmm": _product,
    "clone": _same,
    "contiguous": _same,
    "cumsum": _cumulative_sum,
    "detach": _same,
    "dist": _distance,
    "dropout": _dropout,
    "feature_alpha_dropout": _dropout,
    "feature_dropout": _dropout,
    "kthvalue": _ranked,
    "lift_fresh_copy": _same,
    "linalg_vector_norm": _norm,
    "linear": _linear,
    "matmul": _product,
    "max": _extreme(_amax, nonlinear.maximum),
    "mean": _mean,
    "median": _median,
    "min": _extreme(_amin, nonlinear.minimum),
    "mm": _product,
    "neg": _negative,
    "rsub": _reverse_minus,
    "sort": _sort,
    "sub": _minus,
    "sum": _sum,
    "to": _to,
    "topk": _top,
}
"""Handlers by ATen operator name, of graphs without operations in place."""
