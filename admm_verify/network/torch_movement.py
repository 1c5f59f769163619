"""ATen operations that only move, repeat or leave out entries: torch runs them on labels, which tell where each goes.

Nothing is written twice: whatever torch does with an option, an axis or an index, it does with the labels.
"""

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate

from admm_verify.network import movement
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.torch_layers import number

MOVES = frozenset(
    """
    _unsafe_view cat channel_shuffle chunk concat constant_pad_nd copy diagonal diagonal_scatter diag_embed
    expand expand_as fill flatten flip gather im2col index index_put index_select masked_fill masked_scatter
    masked_select movedim pad permute pixel_shuffle pixel_unshuffle repeat repeat_interleave reshape roll rot90 scatter
    select select_scatter slice slice_scatter split split_with_sizes squeeze stack t take transpose tril triu unbind
    unflatten unfold unsqueeze upsample_nearest1d upsample_nearest2d upsample_nearest3d view where
    """.split()
)
"""Their names, of which those that write say by constants where."""

SUMS = frozenset(("index_put", "scatter_add", "scatter_reduce"))
"""Names of operations that add entries at constant places, index_put where it accumulates."""

_PLACES = ("condition", "index", "indices", "mask", "repeats")
"""Arguments that say which entries are moved; all other tensors are moved themselves."""

_FILLS = ("value", "self", "other")
"""Arguments that are entries also where they are single numbers."""

_EXACT = 2**24
"""Whole numbers up to here are float32 numbers."""


@dataclass(frozen=True)
class _Place:
    """Where a value stands among an operation's arguments; bare: as a Python number."""

    number: int
    bare: bool


def moved(builder: Builder, operation: Any, given: dict[str, Any], dtype: Any) -> Any:
    """The results of an operation of `MOVES`: constants where nothing of the input is left.

    operation: torch's own; given: its arguments by name; dtype: the type of its result, to which constants are rounded.
    """
    values: list[Value] = []

    def held(value: Any, fill: bool) -> Any:
        """A place for a value; anything else as it is."""
        bare = fill and isinstance(value, float | int)
        if not bare and not isinstance(value, Tensor | np.ndarray):
            return value
        values.append(value if isinstance(value, Tensor) else _rounded(np.asarray(value), dtype))
        return _Place(len(values) - 1, bare)

    template = {
        name: map_aggregate(value, partial(_structure, name=name))
        if name in _PLACES
        else map_aggregate(value, partial(held, fill=name in _FILLS))
        for name, value in given.items()
    }
    if operation.overloadpacket in (torch.ops.aten.index_put, torch.ops.aten.scatter):
        _check_once(given)

    def rearrange(labels: list[np.ndarray]) -> list[np.ndarray]:
        # In the type of the network's numbers, which may decide what is nearest.
        small = builder.element_type == "float32" and sum(part.size for part in labels) < _EXACT
        parts = [torch.from_numpy(part).to(torch.float32 if small else torch.float64) for part in labels]

        def filled(value: Any) -> Any:
            if not isinstance(value, _Place):
                return value
            return parts[value.number].item() if value.bare else parts[value.number]

        found = operation(**{name: map_aggregate(value, filled) for name, value in template.items()})
        return [part.numpy().astype(np.int64) for part in (found if isinstance(found, list | tuple) else [found])]

    results = builder.rearranged(values, rearrange)
    return results if str(operation._schema.returns[0].type).startswith("List") else results[0]


def added(builder: Builder, given: dict[str, Any]) -> Value:
    """x with entries added at constant places, several of them maybe at one, as index_put and scatter_add do it."""
    if given.get("reduce", "sum") != "sum" or not given.get("include_self", True):
        raise UnsupportedUse("it reduces by other means than a sum with what was there before")
    whole, entries, places = given["self"], given.get("values", given.get("src")), _places(given)
    entries = entries if isinstance(entries, Tensor) else builder.lift(np.asarray(entries, dtype=np.float64))
    if "dim" in given:
        # Of the source, scatter_add takes as many entries as the index has.
        entries = builder.select(entries, entries.labels[tuple(slice(0, size) for size in places.shape)])
    else:
        entries = builder.select(entries, np.broadcast_to(entries.labels, places.shape))
    total = movement.sum_at(builder, entries, places, tuple(whole.shape))
    if isinstance(whole, np.ndarray) and not whole.any():
        return total
    return builder.add(total, number(whole))


def _structure(value: Any, name: str) -> Any:
    """A constant argument as torch takes it."""
    if isinstance(value, Tensor):
        raise UnsupportedUse(f"its argument {name} depends on the input; it must be constant")
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _rounded(value: np.ndarray, dtype: Any) -> np.ndarray:
    narrow = dtype == torch.float32 and value.dtype.kind in "fiub"
    return value.astype(np.float32).astype(np.float64) if narrow else value


def _places(given: dict[str, Any]) -> np.ndarray:
    """The places of flat x that an operation writes to, in the shape of what it writes."""
    whole = torch.arange(prod(given["self"].shape)).reshape(given["self"].shape)
    if "dim" in given:
        return torch.gather(whole, given["dim"], _structure(given["index"], "index")).numpy()
    indices = map_aggregate(given["indices"], partial(_structure, name="indices"))
    return torch.ops.aten.index.Tensor(whole, list(indices)).numpy()


def _check_once(given: dict[str, Any]) -> None:
    """Refuse several entries for one place, of which torch may take any."""
    written = given.get("values", given.get("src"))
    if written is None or prod(written.shape) == 1:
        return
    places = _places(given)
    if len(np.unique(places)) < places.size:
        raise UnsupportedUse("it writes to one place twice, for which torch defines no order")
