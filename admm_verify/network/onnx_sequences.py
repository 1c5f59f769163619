"""ONNX operators on sequences of tensors, which exporters write for lists in Python: tuples of values here."""

from collections.abc import Callable
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, UnsupportedUse, Value
from admm_verify.network.onnx_inputs import Attributes, axis_given, constant, given, integers, present


def _construct(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    return [tuple(inputs)]


def _at(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    parts, position = _listed(inputs), int(constant(inputs[1], "position").item())
    if not -len(parts) <= position < len(parts):
        raise UnsupportedUse(f"it takes part {position} of a sequence of {len(parts)}")
    return [parts[position]]


def _length(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    return [np.array(len(_listed(inputs)), dtype=np.int64)]


def _concat(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    parts, axis = _listed(inputs), int(attributes["axis"])
    if attributes.get("new_axis", 0):
        return builder.rearranged(parts, lambda labels: [np.stack(labels, axis)])
    constants = [part for part in parts if isinstance(part, np.ndarray)]
    return [np.concatenate(constants, axis) if len(constants) == len(parts) else builder.concat([*parts], axis)]


def _split(builder: Builder, inputs: Any, attributes: Attributes, opset: int) -> list[Any]:
    x, sizes = present(inputs[0]), given(inputs, 1)
    axis = axis_given(attributes, len(x.shape), 0)
    length, single = x.shape[axis], sizes is None and not attributes.get("keepdims", 1)
    if sizes is None:
        cuts = list(range(1, length))
    elif constant(sizes, "split").ndim:
        cuts = np.cumsum(integers(sizes, "split")).tolist()
        if cuts.pop() != length:
            raise UnsupportedUse(f"its split sizes do not add up to the axis length {length}")
    else:
        (size,) = integers(sizes, "split")
        if size < 1:
            raise UnsupportedUse(f"its parts have {size} entries; give at least one")
        cuts = list(range(size, length, size))
    bounds = list(zip([0, *cuts], [*cuts, length], strict=True))
    picks = [(slice(None),) * axis + (start if single else slice(start, stop),) for start, stop in bounds]
    return [tuple(builder.move(x, lambda entries, pick=pick: entries[pick]) for pick in picks)]


def _listed(inputs: Any) -> tuple[Value, ...]:
    if not isinstance(inputs[0], tuple):
        raise UnsupportedUse("its first input is no sequence")
    return inputs[0]


SEQUENCES: dict[str, Callable[[Builder, Any, Attributes, int], list[Any]]] = {
    "ConcatFromSequence": _concat,
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceLength": _length,
    "SplitToSequence": _split,
}
"""Handlers by operator name."""
