"""ONNX normalisations by statistics of their own input, and attention, as builder calls, one function each."""

from math import sqrt

import numpy as np

from admm_verify.network import nonlinear, normalisation, products
from admm_verify.network.attention import attention, causal
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.onnx_inputs import (
    Attributes,
    Handler,
    Inputs,
    axis_given,
    constant,
    given,
    numbers,
    present,
    real,
    tensor,
)


def _optional(inputs: Inputs, index: int, name: str) -> np.ndarray | None:
    value = given(inputs, index)
    return None if value is None else numbers(value, name)


def _layer_norm(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = tensor(inputs[0])
    first = axis_given(attributes, len(x.shape), -1)
    epsilon = real(attributes, "epsilon", 1e-5)
    scale, shift = numbers(inputs[1], "scale"), _optional(inputs, 2, "shift")
    return [normalisation.layer_norm(builder, x, first, scale, shift, epsilon)]


def _root_mean_square_norm(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, scale = tensor(inputs[0]), numbers(inputs[1], "scale")
    first = axis_given(attributes, len(x.shape), -1)
    return [normalisation.root_mean_square_norm(builder, x, first, scale, real(attributes, "epsilon", 1e-5))]


def _instance_norm(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, scale, shift = tensor(inputs[0]), numbers(inputs[1], "scale"), numbers(inputs[2], "shift")
    _check_channels(x, scale, shift)
    return [normalisation.group_norm(builder, x, x.shape[1], scale, shift, real(attributes, "epsilon", 1e-5))]


def _group_norm(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, scale, shift = tensor(inputs[0]), numbers(inputs[1], "scale"), numbers(inputs[2], "shift")
    groups = int(attributes["num_groups"])
    if opset < 21 and len(x.shape) > 1 and scale.shape == shift.shape == (groups,):
        # Until then there was one number for each group.
        scale, shift = (np.repeat(part, x.shape[1] // groups) for part in (scale, shift))
    _check_channels(x, scale, shift)
    return [normalisation.group_norm(builder, x, groups, scale, shift, real(attributes, "epsilon", 1e-5))]


def _check_channels(x: Tensor, *parts: np.ndarray) -> None:
    if len(x.shape) < 3 or any(part.shape != (x.shape[1],) for part in parts):
        raise UnsupportedUse(f"its scale or shift does not hold one number per channel of the input {x.shape}")


def _length_norm(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, order = tensor(inputs[0]), int(attributes.get("p", 2))
    axis = axis_given(attributes, len(x.shape), -1)
    length = nonlinear.norm(builder, x, float(order), [axis], True)
    return [products.quotient(builder, x, length)]


def _attention(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    if any(given(inputs, i) is not None for i in (4, 5, 6)) or attributes["outputs"] > 1:
        raise UnsupportedUse("it has keys and values from before, or more than one output")
    if attributes.get("softcap", 0.0) or attributes.get("qk_matmul_output_mode", 0):
        raise UnsupportedUse("it caps its scores or returns them")
    parts = [present(value) for value in inputs[:3]]
    flat = len(parts[0].shape) == 3
    if flat:
        heads = [int(attributes[name]) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
        parts = [_split(builder, part, count) for part, count in zip(parts, heads, strict=True)]
    query, key, value = parts
    if query.shape[1] != key.shape[1]:
        times = query.shape[1] // key.shape[1]
        key, value = (builder.move(part, lambda e: np.repeat(e, times, axis=1)) for part in (key, value))
    mask = given(inputs, 3)
    allowed = None if mask is None else constant(mask, "mask")
    if attributes.get("is_causal", 0):
        if allowed is not None:
            raise UnsupportedUse("it is causal and has a mask, too")
        allowed = causal(query.shape[2], key.shape[2])
    scale = real(attributes, "scale", 1.0 / sqrt(query.shape[3]))
    found = attention(builder, query, key, value, scale, allowed)
    if flat:
        found = builder.move(found, lambda e: e.transpose(0, 2, 1, 3).reshape(e.shape[0], e.shape[2], -1))
    return [found]


def _split(builder: Builder, part: Value, heads: int) -> Value:
    """[samples, n, heads d] as [samples, heads, n, d]."""
    return builder.move(part, lambda e: e.reshape(*e.shape[:2], heads, -1).transpose(0, 2, 1, 3))


NORMALISATIONS: dict[str, Handler] = {
    "Attention": _attention,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _length_norm,
    "RMSNormalization": _root_mean_square_norm,
}
