"""Tensor operations that move, repeat or sum entries: selections and their adjoints."""

from collections.abc import Sequence

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.maps import TransposedMap
from admm_verify.network.selection import SelectionMap

PAD_MODES = ("constant", "edge", "reflect", "wrap")
"""What may surround a padded tensor, in the words that NumPy and ONNX share."""


def axes_of(x: Tensor, axes: Sequence[int] | None) -> tuple[int, ...]:
    """The given axes of x counted from the front; all of them for None."""
    rank = len(x.shape)
    if axes is None:
        return tuple(range(rank))
    if any(not -rank <= axis < rank for axis in axes):
        raise UnsupportedUse(f"its axes {list(axes)} are not axes of the shape {x.shape}")
    return tuple(sorted({axis % rank for axis in axes}))


def reduced_shape(x: Tensor, axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
    """The shape of x after a reduction over axes, which stay with length 1 or go."""
    if keep:
        return tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    return tuple(size for i, size in enumerate(x.shape) if i not in axes)


def reduce_sum(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """The sum over axes, all of them for None: the adjoint of repeating."""
    chosen = axes_of(x, axes)
    kept = reduced_shape(x, chosen, True)
    total = int(np.prod(kept))
    repeat = np.broadcast_to(np.arange(total).reshape(kept), x.shape).reshape(-1)
    map = TransposedMap(SelectionMap.from_gather(repeat, total))
    return Tensor(builder.affine(x, map), reduced_shape(x, chosen, keep))


def reduce_mean(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """The mean over axes, all of them for None."""
    total = reduce_sum(builder, x, axes, keep)
    return builder.divide(total, np.array(x.size / total.size))


def pad(
    builder: Builder, x: Tensor, before: Sequence[int], after: Sequence[int], mode: str, fill: float = 0.0
) -> Tensor:
    """x with entries before and after each axis, or without them where the numbers are negative.

    Shapes: before, after one number per axis of x.
    """
    if mode not in PAD_MODES:
        raise UnsupportedUse(f"its padding mode is {mode}; supported are {', '.join(PAD_MODES)}")
    if len(before) != len(x.shape) or len(after) != len(x.shape):
        raise UnsupportedUse(f"its padding does not fit the shape {x.shape}")
    crops = tuple(slice(max(0, -b), size - max(0, -a)) for b, a, size in zip(before, after, x.shape, strict=True))
    widths = [(max(0, b), max(0, a)) for b, a in zip(before, after, strict=True)]
    if mode != "constant":
        return builder.select(x, np.pad(x.labels[crops], widths, mode=mode))
    index = np.pad(x.labels[crops], widths, constant_values=x.size)
    padded = builder.select(x, index)
    return padded if fill == 0 else builder.add(padded, np.where(index == x.size, fill, 0.0))


def upsample_nearest(builder: Builder, x: Tensor, factors: Sequence[int]) -> Tensor:
    """Every entry repeated, as often as the factor of each axis says."""
    index = x.labels
    for axis, factor in enumerate(factors):
        index = np.repeat(index, factor, axis=axis)
    return builder.select(x, index)


def gather(builder: Builder, x: Tensor, indices: np.ndarray, axis: int) -> Tensor:
    """The slices of x at constant indices along an axis; the shape of the indices replaces the axis."""
    return builder.select(x, np.take(x.labels, indices.astype(np.int64), axis=axis))


def expand(builder: Builder, x: Tensor, shape: Sequence[int]) -> Tensor:
    """x broadcast together with a shape."""
    return builder.select(x, np.broadcast_to(x.labels, np.broadcast_shapes(x.shape, tuple(shape))))


def tile(builder: Builder, x: Tensor, repeats: Sequence[int]) -> Tensor:
    """x laid side by side, `repeats` times along each axis."""
    return builder.select(x, np.tile(x.labels, tuple(repeats)))
