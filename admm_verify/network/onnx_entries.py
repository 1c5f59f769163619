"""ONNX operators that move single entries to constant places: one function of arrays each, for constants and labels.

What such a function does to the labels of a tensor's entries is what becomes of the tensor.
"""

from collections.abc import Callable

import numpy as np

from admm_verify.network import movement
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.onnx_inputs import Attributes, Handler, Inputs, axis_given, constant, given, present, text

Folder = Callable[[Inputs, Attributes, int], np.ndarray]


def _where(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    condition, first, second = (constant(value, "input") for value in inputs)
    if condition.dtype != bool or first.dtype != second.dtype:
        raise UnsupportedUse(f"its constants are of types {condition.dtype}, {first.dtype} and {second.dtype}")
    return np.where(condition, first, second)


def _trilu(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    diagonal = given(inputs, 1)
    offset = 0 if diagonal is None else int(constant(diagonal, "diagonal").item())
    triangle = np.triu if attributes.get("upper", 1) else np.tril
    return triangle(constant(inputs[0], "input"), offset)


def _compress(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x = constant(inputs[0], "input")
    axis = axis_given(attributes, x.ndim, 0) if "axis" in attributes else None
    return np.compress(constant(inputs[1], "condition"), x, axis)


def _depth_to_space(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x, size = constant(inputs[0], "input"), attributes["blocksize"]
    batch, depth, height, width = x.shape
    if text(attributes, "mode", "DCR") == "DCR":
        blocks = x.reshape(batch, size, size, depth // size**2, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(batch, depth // size**2, size, size, height, width).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(batch, depth // size**2, height * size, width * size)


def _space_to_depth(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x, size = constant(inputs[0], "input"), attributes["blocksize"]
    batch, depth, height, width = x.shape
    blocks = x.reshape(batch, depth, height // size, size, width // size, size).transpose(0, 3, 5, 1, 2, 4)
    return blocks.reshape(batch, depth * size**2, height // size, width // size)


def _reverse_sequence(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x, lengths = constant(inputs[0], "input"), constant(inputs[1], "sequence lengths")
    batch, time = attributes.get("batch_axis", 1), attributes.get("time_axis", 0)
    if {batch, time} != {0, 1} or np.any((lengths < 1) | (lengths > x.shape[time])) or len(lengths) != x.shape[batch]:
        raise UnsupportedUse("its axes are not 0 and 1, or its lengths do not fit the input")
    turned = np.moveaxis(np.array(x), (batch, time), (0, 1))
    for row, length in zip(turned, lengths.tolist(), strict=True):
        row[:length] = row[:length][::-1].copy()
    return np.moveaxis(turned, (0, 1), (batch, time))


def _gather_elements(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x, indices = constant(inputs[0], "input"), constant(inputs[1], "indices")
    return x[_element_places(x, indices, attributes)]


def _gather_nd(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x, indices = constant(inputs[0], "input"), constant(inputs[1], "indices")
    shared = int(attributes.get("batch_dims", 0))
    if x.shape[:shared] != indices.shape[:shared] or shared >= min(x.ndim, indices.ndim):
        raise UnsupportedUse(f"its batch_dims {shared} do not fit shapes {x.shape} and {indices.shape}")
    rows = indices.reshape(-1, *indices.shape[shared:])
    parts = [part[_places(part, row)] for part, row in zip(x.reshape(-1, *x.shape[shared:]), rows, strict=True)]
    return np.stack(parts).reshape(*indices.shape[:-1], *x.shape[shared + indices.shape[-1] :])


def _scatter_elements(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x, indices, updates = (constant(value, "input") for value in inputs)
    return _scattered(x, _element_places(x, indices, attributes), updates, attributes)


def _scatter_nd(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x, indices, updates = (constant(value, "input") for value in inputs)
    return _scattered(x, _places(x, indices), updates, attributes)


def _element_places(x: np.ndarray, indices: np.ndarray, attributes: Attributes) -> tuple[np.ndarray, ...]:
    """The places that have the indices along one axis, and their own place along the others."""
    axis = axis_given(attributes, x.ndim, 0)
    if indices.ndim != x.ndim:
        raise UnsupportedUse(f"its indices of shape {indices.shape} do not fit a tensor of rank {x.ndim}")
    places = [np.asarray(place) for place in np.indices(indices.shape)]
    places[axis] = _counted(indices, np.array(x.shape[axis]))
    return tuple(places)


def _places(x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """The places whose coordinates along the first axes stand along the last axis of the indices."""
    lengths = np.array(x.shape[: indices.shape[-1]])
    whole = _counted(indices, lengths)
    return tuple(np.asarray(whole[..., i]) for i in range(len(lengths)))


def _counted(indices: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Indices counted from the front."""
    if np.any((indices < -lengths) | (indices >= lengths)):
        raise UnsupportedUse(f"its indices are not all among {lengths.tolist()} entries")
    return np.where(indices < 0, indices + lengths, indices)


def _scattered(
    x: np.ndarray, places: tuple[np.ndarray, ...], updates: np.ndarray, attributes: Attributes
) -> np.ndarray:
    """x with the entries at some places replaced, each of them once."""
    if text(attributes, "reduction", "none") != "none":
        raise UnsupportedUse("it reduces what it scatters; a plain replacement is folded")
    flat = np.ravel_multi_index(places, x.shape[: len(places)])
    if len(np.unique(flat)) < flat.size:
        raise UnsupportedUse("it writes to one place twice, which no order is defined for")
    result = x.copy()
    result[places] = updates
    return result


FOLDERS: dict[str, Folder] = {
    "Compress": _compress,
    "DepthToSpace": _depth_to_space,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "SpaceToDepth": _space_to_depth,
    "Trilu": _trilu,
    "Where": _where,
}
"""How operators move the entries of arrays."""

_MOVED = {"Scatter": (0, 2), "ScatterElements": (0, 2), "ScatterND": (0, 2), "Where": (1, 2)}
"""The inputs whose entries are moved, where they are others than the first."""


def _moving(kind: str) -> Handler:
    """The operator on tensors."""

    def handler(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
        moved = _MOVED.get(kind, (0,))
        if any(isinstance(value, Tensor) for i, value in enumerate(inputs) if i not in moved):
            raise UnsupportedUse("its places depend on the input; they must be constant")
        if text(attributes, "reduction", "none") == "add":
            return [_added(builder, kind, inputs, attributes)]

        def rearrange(labels: list[np.ndarray]) -> list[np.ndarray]:
            filled = list(inputs)
            for i, part in zip(moved, labels, strict=True):
                filled[i] = part
            return [FOLDERS[kind](filled, attributes, opset)]

        return builder.rearranged([present(inputs[i]) for i in moved], rearrange)

    return handler


def _added(builder: Builder, kind: str, inputs: Inputs, attributes: Attributes) -> Value:
    """What it was before plus all updates for a place."""
    x, indices, updates = present(inputs[0]), constant(inputs[1], "indices"), present(inputs[2])
    whole = np.arange(int(np.prod(x.shape))).reshape(x.shape)
    places = whole[_places(whole, indices) if kind == "ScatterND" else _element_places(whole, indices, attributes)]
    if places.shape != updates.shape:
        raise UnsupportedUse(f"its updates of shape {updates.shape} are not one for each of {places.shape} places")
    entries = updates if isinstance(updates, Tensor) else builder.lift(updates.astype(np.float64))
    return builder.add(movement.sum_at(builder, entries, places, tuple(x.shape)), x)


ENTRIES: dict[str, Handler] = {kind: _moving(kind) for kind in FOLDERS}
"""Handlers by operator name."""
