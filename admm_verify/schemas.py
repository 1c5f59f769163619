"""Records as strict JSON, and as the JSON Schema that their annotations are."""

import inspect
import json
import math
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: dict[type, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    # JSON knows no other numbers; a pattern is asked of texts alone.
    float: {"type": ["number", "string"], "pattern": "^(-?inf|nan)$"},
    NoneType: {"type": "null"},
}


def json_text(content: object) -> str:
    """Plain data as JSON that every reader takes; numbers that are not finite become the texts "inf", "-inf", "nan"."""
    return json.dumps(plain(content), allow_nan=False)


def plain(value: Any) -> Any:
    """Records, enumerations and sequences as what JSON knows."""
    if is_dataclass(value):
        return {key(field): plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        # Inputs are long lists of finite numbers.
        finite = set(map(type, value)) == {float} and all(map(math.isfinite, value))
        return value if finite else [plain(part) for part in value]
    if isinstance(value, Enum):
        return value.value
    # Texts of other classes would be written as they like.
    return str(value) if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)) else value


def key(field: Field[Any]) -> str:
    """An entry's name, which may be none that Python allows."""
    return field.metadata.get("key", field.name)


def document(title: str, found: dict[str, Any]) -> dict[str, Any]:
    """A schema as a document of its own."""
    return {"$schema": DRAFT, "title": title, **found}


def object_schema(kind: type, entries: tuple[Field[Any], ...] | None = None) -> dict[str, Any]:
    """The schema of a record's JSON: all of its entries, or those of some fields, and no others."""
    chosen, hints = fields(kind) if entries is None else entries, get_type_hints(kind)
    told = " ".join((inspect.getdoc(kind) or "").split())
    return {
        # JSON has another word for nothing.
        "description": told.replace("None", "null"),
        "type": "object",
        "properties": {key(field): _rule(hints[field.name]) for field in chosen},
        "required": [key(field) for field in chosen],
        "additionalProperties": False,
    }


def _rule(kind: Any) -> dict[str, Any]:
    """The schema of what a field of some type becomes."""
    if kind in _TYPES:
        return _TYPES[kind]
    if get_args(kind):
        return _composed(get_origin(kind), get_args(kind))
    return {"enum": [member.value for member in kind]} if issubclass(kind, Enum) else object_schema(kind)


def _composed(outer: Any, inner: tuple[Any, ...]) -> dict[str, Any]:
    if outer is Literal:
        return {"enum": list(inner)}
    parts = [_rule(part) for part in inner]
    if outer in (Union, UnionType):
        return {"anyOf": parts}
    if outer is tuple:
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    return (
        {"type": "array", "items": parts[0]} if outer is list else {"type": "object", "additionalProperties": parts[1]}
    )
