"""Scaled dot-product attention: softmax(q k' scale + mask) v."""

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.products import matmul
from admm_verify.network.softmax import masked_softmax


def attention(builder: Builder, query: Value, key: Value, value: Value, scale: float, mask: np.ndarray | None) -> Value:
    """softmax(query key' scale + mask) value; mask: numbers to add, minus infinity for none, or true for allowed.

    Shapes: query [.., n, d], key [.., m, d], value [.., m, e], mask broadcasting to [.., n, m] -> [.., n, e].
    """
    turned = builder.move(key, lambda entries: entries.swapaxes(-1, -2))
    small = builder.scale(query, np.array(scale)) if isinstance(query, Tensor) else query
    turned = turned if isinstance(small, Tensor) else _scaled(builder, turned, scale)
    if isinstance(small, np.ndarray) and isinstance(turned, np.ndarray):
        raise UnsupportedUse("its queries and its keys are constant")
    scores = matmul(builder, small, turned)
    allowed = np.ones(scores.shape, dtype=bool)
    if mask is not None and mask.dtype == bool:
        allowed = np.broadcast_to(mask, scores.shape)
    elif mask is not None:
        allowed = np.broadcast_to(mask > -np.inf, scores.shape)
        scores = builder.add(scores, np.where(mask > -np.inf, mask, 0.0).astype(np.float64))
    *outer, columns = scores.shape
    groups = (int(np.prod(outer)), columns, 1)
    return matmul(builder, masked_softmax(builder, scores, groups, np.array(allowed).reshape(groups)), value)


def _scaled(builder: Builder, value: Value, scale: float) -> Value:
    return builder.scale(value, np.array(scale)) if isinstance(value, Tensor) else value


def causal(rows: int, columns: int) -> np.ndarray:
    """The mask that lets every query see the keys up to its own place, [rows, columns]."""
    return np.tril(np.ones((rows, columns), dtype=bool))
