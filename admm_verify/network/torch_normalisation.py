"""ATen normalisations by statistics of their own input, and attention, as builder calls."""

from math import sqrt
from typing import Any

import numpy as np

from admm_verify.network import normalisation
from admm_verify.network.attention import attention, causal
from admm_verify.network.builder import Builder, UnsupportedUse, Value
from admm_verify.network.torch_layers import UNFOLLOWED, Handler, data, fixed, number


def _optional(value: Any, what: str) -> np.ndarray | None:
    return None if value is None else fixed(value, what)


def _layer_norm(
    builder: Builder,
    x: Any,
    shape: Any,
    weight: Any = None,
    bias: Any = None,
    epsilon: float = 1e-5,
    _fast: bool = False,
) -> Value:
    first = len(data(x).shape) - len(shape)
    return normalisation.layer_norm(
        builder, data(x), first, _optional(weight, "weight"), _optional(bias, "bias"), epsilon
    )


def _native_layer_norm(builder: Builder, *arguments: Any) -> list[Any]:
    return [_layer_norm(builder, *arguments), UNFOLLOWED, UNFOLLOWED]


def _root_mean_square_norm(
    builder: Builder, x: Any, shape: Any, weight: Any = None, epsilon: float | None = None
) -> Value:
    # By default torch takes the spacing of its numbers.
    least = float(np.finfo(builder.element_type).eps) if epsilon is None else epsilon
    first = len(data(x).shape) - len(shape)
    return normalisation.root_mean_square_norm(builder, data(x), first, _optional(weight, "weight"), least)


def _fused_root_mean_square_norm(builder: Builder, *arguments: Any) -> list[Any]:
    return [_root_mean_square_norm(builder, *arguments), UNFOLLOWED]


def _group_norm(
    builder: Builder,
    x: Any,
    groups: int,
    weight: Any = None,
    bias: Any = None,
    epsilon: float = 1e-5,
    _fast: bool = True,
) -> Value:
    scale, shift = _optional(weight, "weight"), _optional(bias, "bias")
    return normalisation.group_norm(builder, data(x), groups, scale, shift, epsilon)


def _native_group_norm(
    builder: Builder, x: Any, weight: Any, bias: Any, _n: int, _c: int, _area: int, groups: int, epsilon: float
) -> list[Any]:
    return [_group_norm(builder, x, groups, weight, bias, epsilon), UNFOLLOWED, UNFOLLOWED]


def _instance_norm(
    builder: Builder,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    use_input: bool,
    _momentum: float,
    epsilon: float,
    _fast: bool,
) -> Value:
    if not use_input:
        raise UnsupportedUse("it normalises with running statistics; those of the input are read")
    return _group_norm(builder, x, data(x).shape[1], weight, bias, epsilon)


def _attention(
    builder: Builder,
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    if dropout:
        raise UnsupportedUse("it drops entries at random; call module.eval()")
    query, key, value = number(query), number(key), number(value)
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = (builder.move(part, lambda e: np.repeat(e, times, axis=-3)) for part in (key, value))
    allowed = None if mask is None else _mask(mask)
    if is_causal:
        allowed = causal(query.shape[-2], key.shape[-2])
    factor = 1.0 / sqrt(query.shape[-1]) if scale is None else float(scale)
    return attention(builder, query, key, value, factor, allowed)


def _mask(mask: Any) -> np.ndarray:
    if not isinstance(mask, np.ndarray):
        raise UnsupportedUse("its mask depends on the input; it must be constant")
    return mask if mask.dtype == bool else mask.astype(np.float64)


NORMALISATIONS: dict[str, Handler] = {
    "_fused_rms_norm": _fused_root_mean_square_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "native_group_norm": _native_group_norm,
    "native_layer_norm": _native_layer_norm,
    "rms_norm": _root_mean_square_norm,
    "scaled_dot_product_attention": _attention,
}
"""Handlers by ATen operator name."""
