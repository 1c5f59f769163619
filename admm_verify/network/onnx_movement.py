"""ONNX operators that move, repeat or sum entries as builder calls, one function each.

Those that only move entries take tensors and constants alike; `MOVES` names them.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from admm_verify.network import movement, nonlinear
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.interpolation import ALIGNED, ASYMMETRIC, interpolate
from admm_verify.network.movement import axes_in
from admm_verify.network.onnx_inputs import (
    Attributes,
    Handler,
    Inputs,
    axes_given,
    axis_given,
    constant,
    given,
    integers,
    numbers,
    present,
    tensor,
    text,
)

Reduction = Callable[[Builder, Tensor, list[int] | None, bool], Tensor]

NEAREST = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}
"""The coordinate and rounding modes in which an integer scale repeats every entry."""

PLAIN = ("align_corners", "asymmetric", "half_pixel")
"""The coordinate modes in which a scale of one leaves all entries where they are."""


def _flatten(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = present(inputs[0])
    axis, rank = int(attributes.get("axis", 1)), len(x.shape)
    if not (-rank if opset >= 11 else 0) <= axis <= rank:
        raise UnsupportedUse(f"its axis {axis} is not one of a tensor of rank {rank}")
    rows = prod(x.shape[: axis + rank if axis < 0 else axis])
    return [_reshaped(builder, x, (rows, prod(x.shape) // max(rows, 1)))]


def _reshape(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = present(inputs[0])
    target = integers(inputs[1], "shape")
    if attributes.get("allowzero", 0) and 0 in target and -1 in target:
        raise UnsupportedUse(f"its shape {target} holds both 0, taken literally, and -1")
    if not attributes.get("allowzero", 0):
        if any(size == 0 and i >= len(x.shape) for i, size in enumerate(target)):
            raise UnsupportedUse(f"its shape {target} copies the length of an axis that {x.shape} does not have")
        target = [x.shape[i] if size == 0 else size for i, size in enumerate(target)]
    if target.count(-1) == 1:
        rest = -prod(target)
        target = [prod(x.shape) // max(rest, 1) if size == -1 else size for size in target]
    return [_reshaped(builder, x, target)]


def _squeeze(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = present(inputs[0])
    axes = axes_given(inputs, attributes)
    if axes == []:
        # The standard leaves all axes, runtimes take out all of length 1.
        raise UnsupportedUse("its list of axes is empty; leave it out, or name the axes")
    if axes is None:
        chosen = [i for i, size in enumerate(x.shape) if size == 1]
    else:
        chosen = axes_in(len(x.shape), axes)
    return [_reshaped(builder, x, [size for i, size in enumerate(x.shape) if i not in chosen])]


def _unsqueeze(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = present(inputs[0])
    axes = axes_given(inputs, attributes) or []
    chosen, lengths = axes_in(len(x.shape) + len(axes), axes), iter(x.shape)
    return [_reshaped(builder, x, [1 if i in chosen else next(lengths) for i in range(len(x.shape) + len(axes))])]


def _reshaped(builder: Builder, x: Value, shape: Sequence[int]) -> Value:
    """The entries of x in another shape, which must hold as many."""
    if prod(shape) != prod(x.shape) or min(shape, default=0) < 0:
        raise UnsupportedUse(f"it reshapes {x.shape} to {tuple(shape)}, which holds another number of entries")
    return builder.move(x, lambda entries: entries.reshape(shape))


def _transpose(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = present(inputs[0])
    order = attributes.get("perm") or tuple(reversed(range(len(x.shape))))
    return [builder.move(x, lambda entries: np.transpose(entries, order))]


def _concat(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    parts, axis = [present(value) for value in inputs], int(attributes["axis"])
    constants = [part for part in parts if isinstance(part, np.ndarray)]
    return [np.concatenate(constants, axis) if len(constants) == len(parts) else builder.concat(parts, axis)]


def _slice(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = present(inputs[0])
    if len(inputs) > 1:
        starts, ends = integers(inputs[1], "starts"), integers(inputs[2], "ends")
        axes_input, steps_input = given(inputs, 3), given(inputs, 4)
        axes = list(range(len(starts))) if axes_input is None else integers(axes_input, "axes")
        steps = [1] * len(starts) if steps_input is None else integers(steps_input, "steps")
    else:
        starts, ends = list(attributes["starts"]), list(attributes["ends"])
        axes, steps = list(attributes.get("axes", range(len(starts)))), [1] * len(starts)
    picks = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes_in(len(x.shape), axes), steps, strict=True):
        length = x.shape[axis]
        # Going backwards past the beginning is "end before index 0", which a slice writes as None; and the standard
        # starts at the first entry where Python would take nothing.
        stop = None if step < 0 and end < -length else end
        picks[axis] = slice(max(start, -length), stop, step)
    return [builder.move(x, lambda entries: entries[tuple(picks)])]


def _split(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = present(inputs[0])
    axis = axis_given(attributes, len(x.shape), 0)
    split = given(inputs, 1)
    sizes = attributes.get("split") if split is None else integers(split, "split sizes")
    length = x.shape[axis]
    if sizes is not None and ("num_outputs" in attributes or len(sizes) != attributes["outputs"]):
        raise UnsupportedUse(f"its split sizes {list(sizes)} are not one per output, or it has num_outputs, too")
    if sizes is None:
        count = attributes["outputs"]
        if opset >= 18 and attributes.get("num_outputs") != count:
            raise UnsupportedUse(f"its num_outputs is not {count}, the number of its outputs, and it has no split")
        if opset < 18 and length % count:
            raise UnsupportedUse(f"it splits the axis length {length} into {count} parts, which are not equal")
        chunk = -(-length // count)
        sizes = [min(chunk, length - chunk * i) for i in range(count)]
    if sum(sizes) != length or min(sizes) < 0:
        raise UnsupportedUse(f"its split sizes {list(sizes)} do not add up to the axis length {length}")
    ends = [int(end) for end in np.cumsum(sizes)]
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    before = (slice(None),) * axis
    return [builder.move(x, lambda entries, part=part: entries[(*before, part)]) for part in parts]


def _shape(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    shape = np.array(present(inputs[0]).shape, dtype=np.int64)
    return [shape[attributes.get("start", 0) : attributes.get("end", len(shape))]]


def _eye(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    """Ones on a diagonal of a matrix of the input's shape."""
    x = present(inputs[0])
    own = x.dtype.name if isinstance(x, np.ndarray) else builder.element_type
    kinds = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 11: "float64"}
    rows, columns = x.shape
    kind = kinds[attributes["dtype"]] if "dtype" in attributes else own
    return [np.eye(rows, columns, int(attributes.get("k", 0)), dtype=kind)]


def _size(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [np.array(prod(present(inputs[0]).shape), dtype=np.int64)]


def _gather(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    indices = constant(inputs[1], "indices")
    return [movement.gather(builder, present(inputs[0]), indices, int(attributes.get("axis", 0)))]


def _expand(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    return [movement.expand(builder, present(inputs[0]), integers(inputs[1], "shape"))]


def _tile(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, repeats = present(inputs[0]), integers(inputs[1], "repeats")
    if len(repeats) != len(x.shape):
        raise UnsupportedUse(f"its {len(repeats)} repeats do not fit a tensor of rank {len(x.shape)}")
    return [movement.tile(builder, x, repeats)]


def _pad(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x = present(inputs[0])
    widths, fill, axes = given(inputs, 1), given(inputs, 2), given(inputs, 3)
    pads = list(attributes["pads"]) if widths is None else integers(widths, "padding")
    value = float(attributes.get("value", 0.0)) if fill is None else float(constant(fill, "padding value").item())
    half, rank = len(pads) // 2, len(x.shape)
    chosen = list(range(rank)) if axes is None else axes_in(rank, integers(axes, "axes"))
    if len(chosen) != half or len(pads) % 2:
        raise UnsupportedUse(f"its {len(pads)} padding widths do not fit {len(chosen)} axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(chosen):
        before[axis], after[axis] = pads[i], pads[half + i]
    return [movement.pad(builder, x, before, after, text(attributes, "mode", "constant"), value)]


def _reduce(reduction: Reduction) -> Handler:
    def handler(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
        x, axes = tensor(inputs[0]), axes_given(inputs, attributes)
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return [x]
        return [reduction(builder, x, axes or None, bool(attributes.get("keepdims", 1)))]

    return handler


def _upsample(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    x, given_scales = present(inputs[0]), given(inputs, 1)
    scales = np.array(attributes["scales"]) if given_scales is None else numbers(given_scales, "scales")
    mode = text(attributes, "mode", "nearest")
    if mode == "linear":
        if np.any(scales < 1):
            raise UnsupportedUse("it makes its input smaller, which runtimes refuse")
        sizes = [int(np.floor(size * scale)) for size, scale in zip(x.shape, scales, strict=True)]
        return [_interpolated(builder, tensor(x), sizes, scales, ASYMMETRIC)]
    if mode != "nearest":
        raise UnsupportedUse(f"its mode is {mode}; nearest and linear are supported")
    return [movement.upsample_nearest(builder, x, _factors(scales))]


def _resize(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
    if opset < 11:
        return _upsample(builder, inputs, attributes, opset)
    x, scales, sizes = present(inputs[0]), given(inputs, 2), given(inputs, 3)
    targets = numbers(scales, "scales") if sizes is None else numbers(sizes, "sizes")
    chosen = list(attributes.get("axes", range(len(x.shape))))
    if len(targets) != len(chosen):
        raise UnsupportedUse(f"its {len(targets)} scales or sizes do not fit {len(chosen)} axes")
    factors = np.ones(len(x.shape))
    for axis, target in zip(chosen, targets, strict=True):
        factors[axis] = target if sizes is None else target / x.shape[axis]
    coordinates = text(attributes, "coordinate_transformation_mode", "half_pixel").removeprefix("pytorch_")
    rounding = text(attributes, "nearest_mode", "round_prefer_floor")
    plain = text(attributes, "keep_aspect_ratio_policy", "stretch") == "stretch"
    mode, plain = text(attributes, "mode", "nearest"), plain and not attributes.get("antialias", 0)
    if mode == "linear" and plain:
        wanted = [int(np.floor(length * factor)) for length, factor in zip(x.shape, factors, strict=True)]
        if sizes is not None:
            for axis, target in zip(chosen, targets, strict=True):
                wanted[axis] = int(target)
        shortest = text(attributes, "coordinate_transformation_mode", "").startswith("pytorch") and 1 in wanted
        if shortest and x.shape != tuple(wanted):
            raise UnsupportedUse("it takes single entries of axes, for which its coordinates are others")
        return [_interpolated(builder, tensor(x), wanted, factors, coordinates)]
    nearest = mode == "nearest" and plain
    if nearest and np.all(factors == 1) and coordinates in PLAIN:
        return [x]
    if not nearest or (coordinates, rounding) not in NEAREST or not plain:
        raise UnsupportedUse(
            "supported are mode linear, and mode nearest with coordinates asymmetric and rounding floor, or with "
            "coordinates half_pixel and rounding round_prefer_floor or round_prefer_ceil"
        )
    return [movement.upsample_nearest(builder, x, _factors(factors))]


def _interpolated(
    builder: Builder, x: Tensor, sizes: Sequence[int], scales: Sequence[float] | np.ndarray, places: str
) -> Tensor:
    """x interpolated to `sizes` entries along its axes, one after the other."""
    rank, turned = len(x.shape), [axis for axis, scale in enumerate(scales) if scale != 1]
    outer = {4: ([0, 1], [0, 3]), 5: ([0, 1],)}.get(rank, ([],))
    if rank < 2 or rank > 5 or all(set(axes) & set(turned) for axes in outer):
        raise UnsupportedUse(f"it interpolates axes {turned} of rank {rank}, which runtimes refuse")
    if min(sizes) < 1:
        raise UnsupportedUse("nothing is left of its input")
    if turned and x.shape == tuple(sizes) and places != ALIGNED:
        raise UnsupportedUse("it keeps the shape of its input, which runtimes then copy whatever the scales are")
    for axis, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        x = interpolate(builder, x, axis, size, float(scale), places)
    return x


def _factors(scales: np.ndarray) -> list[int]:
    if not np.all((scales == np.rint(scales)) & (scales >= 1)):
        raise UnsupportedUse(f"its scales are {scales.tolist()}; integers from 1 are supported")
    return [int(scale) for scale in scales]


MOVEMENT: dict[str, Handler] = {
    "Concat": _concat,
    "Expand": _expand,
    "EyeLike": _eye,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "ReduceMax": _reduce(nonlinear.reduce_max),
    "ReduceMean": _reduce(movement.reduce_mean),
    "ReduceMin": _reduce(nonlinear.reduce_min),
    "ReduceSum": _reduce(movement.reduce_sum),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _upsample,
}

MOVES = tuple(kind for kind in MOVEMENT if not kind.startswith("Reduce"))
"""The operators here that move entries without arithmetic."""
