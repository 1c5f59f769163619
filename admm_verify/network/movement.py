"""Tensor operations that move, repeat or sum entries: selections and their adjoints."""

from collections.abc import Sequence
from math import prod

import numpy as np

from admm_verify.network.blocks import BlockMap
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.maps import DenseMap, TransposedMap
from admm_verify.network.selection import SelectionMap

PAD_MODES = ("constant", "edge", "reflect", "wrap")
"""What may surround a padded tensor, in the words that NumPy and ONNX share."""

DENSE_ENTRIES = 2**20
"""Entries of the largest matrix that sums of few entries are written as."""


def axes_of(x: Value, axes: Sequence[int] | None) -> tuple[int, ...]:
    """The given axes of x counted from the front and in order; all of them for None."""
    rank = len(x.shape)
    return tuple(range(rank)) if axes is None else tuple(sorted(axes_in(rank, axes)))


def axes_in(rank: int, axes: Sequence[int]) -> list[int]:
    """Axes of a tensor of some rank counted from the front; each must be there, and only once."""
    if any(not -rank <= axis < rank for axis in axes):
        raise UnsupportedUse(f"its axes {list(axes)} are not axes of a tensor of rank {rank}")
    found = [axis % rank for axis in axes]
    if len(set(found)) < len(found):
        raise UnsupportedUse(f"its axes {list(axes)} name one of them twice")
    return found


def reduced_shape(x: Value, axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
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
    return sum_at(builder, x, repeat, reduced_shape(x, chosen, keep))


def sum_at(builder: Builder, x: Tensor, places: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """A tensor of some shape, each entry the sum of those of x that have its place: the adjoint of taking entries.

    Shapes: places one number per entry of x, the place in the flat result; the result's size stands for none.
    """
    return Tensor(builder.affine(x, TransposedMap(SelectionMap.from_gather(places.reshape(-1), prod(shape)))), shape)


def combine(builder: Builder, x: Tensor, index: np.ndarray, weight: np.ndarray) -> Tensor:
    """Weighted sums of few entries each: y[i] = sum over k of weight[i, k] x[index[i, k]]; the index x.size is none.

    Shapes: index, weight [..., k] -> [...].
    """
    rows = index.reshape(-1, index.shape[-1])
    if len(rows) * x.size <= DENSE_ENTRIES:
        # A matrix merges with its neighbours.
        matrix = np.zeros((len(rows), x.size + 1))
        np.add.at(matrix, (np.arange(len(rows))[:, None], rows), weight.reshape(rows.shape))
        return Tensor(builder.affine(x, DenseMap(matrix[:, :-1])), index.shape[:-1])
    return reduce_sum(builder, builder.scale(builder.select(x, index), weight), [-1], False)


def cumulative_sum(builder: Builder, x: Tensor, axis: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Sums of all entries up to each one along an axis; exclusive: without itself; reverse: from each one on."""
    (axis,) = axes_in(len(x.shape), [axis])
    length = x.shape[axis]
    steps = np.arange(length)
    taken = steps[None] < steps[:, None] if exclusive else steps[None] <= steps[:, None]
    taken = taken[::-1, ::-1] if reverse else taken
    lines = np.moveaxis(x.labels, axis, -1)[..., None, :]
    index = np.moveaxis(np.where(taken, lines, x.size), -2, axis)
    return combine(builder, x, index, np.ones(index.shape))


def reduce_mean(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """The mean over axes, all of them for None."""
    total = reduce_sum(builder, x, axes, keep)
    return builder.divide(total, np.array(x.size / total.size))


def centred(builder: Builder, x: Tensor, near: np.ndarray | None = None) -> Tensor:
    """x less the mean of its entries, or of those that are near, along axis 1 of x [outer, n, inner] or [outer, n]: as
    one matrix, where that is small or the same for all lines.

    Shapes: near [*x.shape], true for one entry of each line or more.
    """
    outer, n, *inner = x.shape
    share = np.ones((1, n, 1)) / n
    if near is not None:
        lines = near.reshape(outer, n, prod(inner))
        share = lines / lines.sum(axis=1, keepdims=True)
        share = share[:1, :, :1] if np.all(share == share[:1, :, :1]) else share
    if share.size == n:
        weight = np.eye(n) - share.reshape(n)
        # The numbers are rounded, as is the mean.
        map = BlockMap(weight, outer, prod(inner), np.abs(weight) + share.reshape(n), n + 2)
        return Tensor(builder.affine(x, map), x.shape)
    line = np.broadcast_to(np.arange(outer * prod(inner)).reshape(outer, 1, prod(inner)), share.shape).reshape(-1)
    if x.size**2 <= DENSE_ENTRIES:
        means = (line[:, None] == line) * share.reshape(-1)
        weight = np.eye(x.size) - means
        return Tensor(builder.affine(x, DenseMap(weight, np.abs(weight) + means, n + 2)), x.shape)
    mean = sum_at(builder, builder.scale(x, share.reshape(x.shape), roundings=1), line, (outer * prod(inner),))
    return builder.add(x, builder.select(mean, line.reshape(x.shape)), -1.0)


def pad(builder: Builder, x: Value, before: Sequence[int], after: Sequence[int], mode: str, fill: float = 0.0) -> Value:
    """x with entries before and after each axis, or without them where the numbers are negative.

    Shapes: before, after one number per axis of x.
    """
    if mode not in PAD_MODES:
        raise UnsupportedUse(f"its padding mode is {mode}; supported are {', '.join(PAD_MODES)}")
    if len(before) != len(x.shape) or len(after) != len(x.shape):
        raise UnsupportedUse(f"its padding does not fit the shape {x.shape}")
    crops = tuple(slice(max(0, -b), size - max(0, -a)) for b, a, size in zip(before, after, x.shape, strict=True))
    widths = [(max(0, b), max(0, a)) for b, a in zip(before, after, strict=True)]
    if mode in ("reflect", "wrap") and min(*before, *after) < 0:
        raise UnsupportedUse(f"its padding of mode {mode} is negative on some sides")
    if mode == "reflect" and any(max(w) >= size for w, size in zip(widths, x.shape, strict=True) if any(w)):
        raise UnsupportedUse(f"its padding reflects more entries than the shape {x.shape} has")
    if mode != "constant":
        return builder.move(x, lambda entries: np.pad(entries[crops], widths, mode=mode))
    size = prod(x.shape)
    index = np.pad(np.arange(size).reshape(x.shape)[crops], widths, constant_values=size)
    if isinstance(x, np.ndarray):
        return np.append(x, np.asarray(fill).astype(x.dtype))[index]
    padded = builder.select(x, index)
    return padded if fill == 0 else builder.add(padded, np.where(index == size, fill, 0.0))


def upsample_nearest(builder: Builder, x: Value, factors: Sequence[int]) -> Value:
    """Every entry repeated, as often as the factor of each axis says."""

    def repeat(entries: np.ndarray) -> np.ndarray:
        for axis, factor in enumerate(factors):
            entries = np.repeat(entries, factor, axis=axis)
        return entries

    return builder.move(x, repeat)


def gather(builder: Builder, x: Value, indices: np.ndarray, axis: int) -> Value:
    """The slices of x at constant indices along an axis; the shape of the indices replaces the axis."""
    return builder.move(x, lambda entries: np.take(entries, indices.astype(np.int64), axis=axis))


def expand(builder: Builder, x: Value, shape: Sequence[int]) -> Value:
    """x broadcast together with a shape."""
    wide = np.broadcast_shapes(x.shape, tuple(shape))
    return builder.move(x, lambda entries: np.broadcast_to(entries, wide))


def tile(builder: Builder, x: Value, repeats: Sequence[int]) -> Value:
    """x laid side by side, `repeats` times along each axis."""
    return builder.move(x, lambda entries: np.tile(entries, tuple(repeats)))
