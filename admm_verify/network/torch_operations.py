"""ATen arithmetic and movements of entries as builder calls, and the table of all operations; no torch needed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from admm_verify.network import movement, nonlinear
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.torch_layers import LAYERS, UNFOLLOWED, Handler, data, fixed, number

PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""Torch's words for what surrounds a padded tensor, and the words used here."""


def _linear(builder: Builder, x: Any, weight: Any, bias: Any = None) -> Value:
    product = builder.matmul(data(x), fixed(weight, "weight").T)
    return product if bias is None else builder.add(product, number(bias))


def _addmm(builder: Builder, bias: Any, first: Any, second: Any) -> Value:
    return builder.add(builder.matmul(first, second), number(bias))


def _product(builder: Builder, first: Any, second: Any) -> Value:
    return builder.matmul(first, second)


def _plus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(number(first), number(second), float(alpha))


def _minus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(number(first), number(second), -float(alpha))


def _reverse_minus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(number(second), number(first), -float(alpha))


def _times(builder: Builder, first: Any, second: Any) -> Value:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        raise UnsupportedUse("it multiplies two values that both depend on the input")
    x, factor = (first, second) if isinstance(first, Tensor) else (second, first)
    return builder.scale(data(x), fixed(factor, "factor"))


def _divided(builder: Builder, first: Any, second: Any) -> Value:
    divisor = np.asarray(second, dtype=np.float64) if not isinstance(second, Tensor) else None
    if divisor is None or not np.all(np.abs(divisor) > 0):
        raise UnsupportedUse("its divisor depends on the input or holds a zero")
    return builder.divide(data(first), divisor)


def _negative(builder: Builder, x: Any) -> Value:
    return builder.scale(data(x), np.array(-1.0))


def _power(builder: Builder, x: Any, exponent: Any) -> Value:
    exponents = fixed(exponent, "exponent")
    if not np.all(exponents == 1):
        raise UnsupportedUse("its exponent is not 1, which is the supported one")
    # The exponents broadcast, as factors of one do.
    return builder.scale(data(x), exponents)


def _view(builder: Builder, x: Tensor, shape: list[int]) -> Value:
    rest = -int(np.prod(shape)) if -1 in shape else 1
    return builder.reshape(x, tuple(x.size // max(rest, 1) if size == -1 else size for size in shape))


def _flatten(builder: Builder, x: Tensor, start: int = 0, end: int = -1) -> Value:
    rank = len(x.shape)
    first, last = start % rank, end % rank
    middle = int(np.prod(x.shape[first : last + 1]))
    return builder.reshape(x, (*x.shape[:first], middle, *x.shape[last + 1 :]))


def _unflatten(builder: Builder, x: Tensor, axis: int, sizes: list[int]) -> Value:
    axis %= len(x.shape)
    return _view(builder, x, [*x.shape[:axis], *sizes, *x.shape[axis + 1 :]])


def _permute(builder: Builder, x: Tensor, order: list[int]) -> Value:
    return builder.select(x, np.transpose(x.labels, order))


def _swap(builder: Builder, x: Tensor, first: int, second: int) -> Value:
    return builder.select(x, np.swapaxes(x.labels, first, second))


def _move(builder: Builder, x: Tensor, source: Any, target: Any) -> Value:
    return builder.select(x, np.moveaxis(x.labels, source, target))


def _transpose(builder: Builder, x: Tensor) -> Value:
    return builder.select(x, x.labels.T)


def _squeeze(builder: Builder, x: Tensor, axis: Any = None) -> Value:
    axes = range(len(x.shape)) if axis is None else [axis] if isinstance(axis, int) else axis
    chosen = {a % len(x.shape) for a in axes if x.shape[a] == 1}
    return builder.reshape(x, tuple(size for i, size in enumerate(x.shape) if i not in chosen))


def _unsqueeze(builder: Builder, x: Tensor, axis: int) -> Value:
    return builder.reshape(x, np.expand_dims(np.empty(x.shape, dtype=bool), axis).shape)


def _slice(builder: Builder, x: Tensor, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    picks = [slice(None)] * len(x.shape)
    picks[axis] = slice(start, end, step)
    return builder.select(x, x.labels[tuple(picks)])


def _pick(builder: Builder, x: Tensor, axis: int, index: int) -> Value:
    return builder.select(x, np.take(x.labels, index, axis=axis))


def _index_select(builder: Builder, x: Tensor, axis: int, index: Any) -> Value:
    # A single number picks a slice of length 1, whose axis stays.
    return movement.gather(builder, data(x), fixed(index, "index").reshape(-1), axis)


def _index(builder: Builder, x: Tensor, indices: Sequence[Any]) -> Value:
    if any(isinstance(index, Tensor) for index in indices):
        raise UnsupportedUse("its index depends on the input; it must be constant")
    return builder.select(x, x.labels[tuple(slice(None) if index is None else index for index in indices)])


def _slice_scatter(
    builder: Builder, x: Any, part: Any, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Value:
    return _scatter(builder, x, part, axis, slice(start, end, step))


def _select_scatter(builder: Builder, x: Any, part: Any, axis: int, index: int) -> Value:
    return _scatter(builder, x, part, axis, index)


def _scatter(builder: Builder, x: Any, part: Any, axis: int, pick: slice | int) -> Value:
    """x with the entries at `pick` along an axis replaced by a part: what writing to a view becomes."""
    whole, replaced = number(x), number(part)
    size, count = (int(np.prod(value.shape)) for value in (whole, replaced))
    index = np.arange(size).reshape(whole.shape)
    index[(*(slice(None) for _ in whole.shape[: axis % index.ndim]), pick)] = size + np.arange(count).reshape(
        replaced.shape
    )
    both = builder.concat([_flat(builder, whole), _flat(builder, replaced)], 0)
    return builder.select(both, index)


def _flat(builder: Builder, value: Value) -> Value:
    return builder.reshape(value, (value.size,)) if isinstance(value, Tensor) else value.reshape(-1)


def _copy(builder: Builder, x: Any, source: Any, non_blocking: bool = False) -> Value:
    """The source in the shape of x, which it overwrites."""
    if isinstance(source, Tensor):
        return movement.expand(builder, source, x.shape)
    return np.broadcast_to(np.asarray(source, dtype=np.float64), x.shape)


def _cat(builder: Builder, parts: list[Any], axis: int = 0) -> Value:
    return builder.concat([number(part) for part in parts], axis)


def _stack(builder: Builder, parts: list[Any], axis: int = 0) -> Value:
    tall: list[Value] = []
    for part in map(number, parts):
        flat = np.expand_dims(np.empty(part.shape, dtype=bool), axis).shape
        tall.append(builder.reshape(part, flat) if isinstance(part, Tensor) else part.reshape(flat))
    return builder.concat(tall, axis)


def _split(builder: Builder, x: Tensor, sizes: Any, axis: int = 0) -> list[Value]:
    length = x.shape[axis]
    cuts = list(range(sizes, length, sizes)) if isinstance(sizes, int) else list(np.cumsum(sizes)[:-1])
    return [builder.select(x, part) for part in np.split(x.labels, cuts, axis=axis)]


def _chunk(builder: Builder, x: Tensor, count: int, axis: int = 0) -> list[Value]:
    return _split(builder, x, -(-x.shape[axis] // count), axis)


def _unbind(builder: Builder, x: Tensor, axis: int = 0) -> list[Value]:
    return [_pick(builder, x, axis, i) for i in range(x.shape[axis])]


def _expand(builder: Builder, x: Tensor, shape: list[int], implicit: bool = False) -> Value:
    old = (1,) * (len(shape) - len(x.shape)) + x.shape
    target = [size if wanted == -1 else wanted for size, wanted in zip(old, shape, strict=True)]
    return builder.select(x, np.broadcast_to(x.labels, target))


def _expand_as(builder: Builder, x: Any, other: Any) -> Value:
    return _expand(builder, data(x), list(other.shape))


def _repeat(builder: Builder, x: Tensor, repeats: list[int]) -> Value:
    return movement.tile(builder, x, repeats)


def _repeat_interleave(builder: Builder, x: Tensor, repeats: Any, axis: Any = None) -> Value:
    return builder.select(x, np.repeat(x.labels, fixed(repeats, "count").astype(np.int64), axis=axis))


def _pad(builder: Builder, x: Tensor, widths: list[int], mode: str = "constant", value: Any = None) -> Value:
    # Torch lists the last axis first, (before, after) for each.
    missing = len(x.shape) - len(widths) // 2
    before = [0] * missing + list(widths[0::2])[::-1]
    after = [0] * missing + list(widths[1::2])[::-1]
    return movement.pad(builder, x, before, after, PAD_MODES.get(mode, mode), float(value or 0.0))


def _constant_pad(builder: Builder, x: Tensor, widths: list[int], value: float = 0.0) -> Value:
    return _pad(builder, x, widths, "constant", value)


def _upsample_nearest(builder: Builder, x: Any, sizes: Any = None, *scales: Any) -> Value:
    """Torch takes the output size, or a list of scales; the plain overload repeats scales after the size."""
    shape = data(x).shape
    spatial = shape[2:]
    targets = sizes if sizes is not None else [int(s * k) for s, k in zip(spatial, scales[0], strict=True)]
    # Where an explicit scale is not the ratio of the lengths torch uses it instead of the ratio.
    listed = scales[0] if scales and isinstance(scales[0], Sequence) else scales
    uneven = any(k is not None and k * s != t for s, k, t in zip(spatial, listed or (), targets, strict=False))
    if uneven or any(target % length for length, target in zip(spatial, targets, strict=True)):
        raise UnsupportedUse(f"it resizes {spatial} to {tuple(targets)}; integer factors are supported")
    factors = [target // length for length, target in zip(spatial, targets, strict=True)]
    return movement.upsample_nearest(builder, data(x), [1, 1, *factors])


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
    **LAYERS,
    "_assert_tensor_metadata": _nothing,
    "_to_copy": _to,
    "_unsafe_view": _view,
    "add": _plus,
    "addmm": _addmm,
    "alias": _same,
    "alpha_dropout": _dropout,
    "amax": _amax,
    "amin": _amin,
    "cat": _cat,
    "chunk": _chunk,
    "clone": _same,
    "concat": _cat,
    "constant_pad_nd": _constant_pad,
    "contiguous": _same,
    "copy": _copy,
    "detach": _same,
    "div": _divided,
    "dropout": _dropout,
    "expand": _expand,
    "expand_as": _expand_as,
    "feature_alpha_dropout": _dropout,
    "feature_dropout": _dropout,
    "fill": _copy,
    "flatten": _flatten,
    "index": _index,
    "index_select": _index_select,
    "lift_fresh_copy": _same,
    "linear": _linear,
    "matmul": _product,
    "max": _extreme(_amax, nonlinear.maximum),
    "mean": _mean,
    "min": _extreme(_amin, nonlinear.minimum),
    "mm": _product,
    "movedim": _move,
    "mul": _times,
    "neg": _negative,
    "pad": _pad,
    "permute": _permute,
    "pow": _power,
    "repeat": _repeat,
    "repeat_interleave": _repeat_interleave,
    "reshape": _view,
    "rsub": _reverse_minus,
    "select": _pick,
    "select_scatter": _select_scatter,
    "slice": _slice,
    "slice_scatter": _slice_scatter,
    "split": _split,
    "split_with_sizes": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "sub": _minus,
    "sum": _sum,
    "t": _transpose,
    "to": _to,
    "transpose": _swap,
    "unbind": _unbind,
    "unflatten": _unflatten,
    "unsqueeze": _unsqueeze,
    "upsample_nearest1d": _upsample_nearest,
    "upsample_nearest2d": _upsample_nearest,
    "view": _view,
}
"""Handlers by ATen operator name, of graphs without operations in place."""
