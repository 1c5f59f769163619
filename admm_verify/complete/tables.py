"""Tables: records of NumPy arrays whose first axis counts rows, also in tuples, lists and other tables, or None."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

Table = TypeVar("Table")


def take(table: Table, index: np.ndarray) -> Table:
    """The given rows of a table, by numbers or by a mask."""
    return _mapped(lambda array: array[index], table)


def join(parts: Sequence[Table]) -> Table:
    """All parts as one, arrays padded with zeros to the widest."""
    return _mapped(_joined, *parts)


def arrays_of(table: object) -> list[tuple[str, np.ndarray]]:
    """The arrays of a table that holds nothing else, by name."""
    assert is_dataclass(table)
    return [(field.name, getattr(table, field.name)) for field in fields(table)]


def padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in the corner of one of zeros; itself where it has that shape."""
    if array.shape == shape:
        return array
    wide = np.zeros(shape, dtype=array.dtype)
    wide[tuple(slice(0, size) for size in array.shape)] = array
    return wide


def _joined(*parts: np.ndarray) -> np.ndarray:
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    wide = tuple(int(size) for size in np.max([part.shape[1:] for part in parts], axis=0))
    return np.concatenate([padded(part, (len(part), *wide)) for part in parts])


def _mapped(change: Callable[..., np.ndarray], *tables: Any) -> Any:
    """change(arrays at the same place in all tables), in the form of the first table."""
    first = tables[0]
    if isinstance(first, np.ndarray):
        return change(*tables)
    if isinstance(first, tuple | list):
        return type(first)(_mapped(change, *parts) for parts in zip(*tables, strict=True))
    if first is None:
        return first
    assert is_dataclass(first) and not isinstance(first, type), "A table holds arrays, and tables"
    names = [field.name for field in fields(first)]
    return replace(first, **{name: _mapped(change, *(getattr(table, name) for table in tables)) for name in names})
