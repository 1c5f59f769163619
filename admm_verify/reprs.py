"""Records as one line: what differs from its default, arrays by their type and shape."""

from dataclasses import MISSING, fields
from enum import Enum
from fractions import Fraction
from typing import Any

_SHOWN_ENTRIES = 4
"""Entries of an array or a sequence that are shown; of longer ones the number is."""

_SHOWN_CHARACTERS = 60
"""Of a field; Python's evaluation is not asked for, but a line that can be read."""


def short_repr(self: Any) -> str:
    """`Name(field=value, ...)` for a dataclass, without fields that have their default.

    Give it to a class as `__repr__`, with `@dataclass(repr=False)`.
    """
    parts = []
    for field in fields(self):
        value = getattr(self, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.repr and value is not None and (type(value) is not type(default) or _differ(value, default)):
            parts.append(f"{field.name}={_cut(_short(value))}")
    return f"{type(self).__name__}({', '.join(parts)})"


def _differ(value: Any, default: Any) -> bool:
    """Whether two things of one type are told apart; arrays always are."""
    return hasattr(value, "dtype") or bool(value != default)


def _short(value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        shape = [int(size) for size in value.shape]
        return f"<{str(value.dtype).removeprefix('torch.')} {shape}>"
    if type(value) in (tuple, list, dict, set, frozenset) and len(value) > _SHOWN_ENTRIES:
        return f"<{type(value).__name__} of {len(value)}>"
    if type(value) in (tuple, list):
        inside = ", ".join(map(_short, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, bytes) and len(value) > _SHOWN_CHARACTERS:
        return f"<{len(value)} bytes>"
    return str(value) if isinstance(value, Fraction) else repr(value)


def _cut(text: str) -> str:
    """The beginning of a text, on one line."""
    first, *more = text.splitlines()
    if not more and len(first) <= _SHOWN_CHARACTERS:
        return first
    return f"{first[:_SHOWN_CHARACTERS]}..."
