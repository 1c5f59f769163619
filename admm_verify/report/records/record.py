"""Results as they are told: text for people, and JSON under a schema with a name and a version."""

import json
import math
from dataclasses import Field, dataclass, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from admm_verify.files import replaced

_TYPES: dict[type, Any] = {
    bool: "boolean",
    int: "integer",
    str: "string",
    float: ["number", "null"],
    NoneType: "null",
}


@dataclass(frozen=True)
class Record:
    """A result as it is told; every field of a subclass is an entry of its JSON, parts are plain frozen dataclasses.

    text: what is said on stdout. SCHEMA: the name of the JSON's schema; VERSION: counts its changes that take an entry
    away or give it another meaning.
    """

    SCHEMA: ClassVar[str]
    VERSION: ClassVar[int] = 1

    text: str

    def json(self) -> dict[str, Any]:
        """All entries as plain data; numbers that are not finite become None."""
        head = {"schema": self.SCHEMA, "version": self.VERSION}
        return head | {_key(field): _plain(getattr(self, field.name)) for field in fields(self)[1:]}

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """What `json` may return, as a JSON Schema (json-schema.org, draft 2020-12)."""
        found = _object(cls, fields(cls)[1:])
        found["properties"] |= {"schema": {"const": cls.SCHEMA}, "version": {"const": cls.VERSION}}
        found["required"] += ["schema", "version"]
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.SCHEMA, **found}

    def write(self, path: str) -> None:
        """Write the JSON.

        Raises: OutputError when the file cannot be written.
        """
        write_json(path, self.json())


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all; numbers that are not finite become null.

    Raises: OutputError when the file cannot be written.
    """
    with replaced(path, "JSON file") as file:
        file.write((json.dumps(_plain(content), indent=1) + "\n").encode())


def _key(field: Field[Any]) -> str:
    """An entry's name, which may be none that Python allows."""
    return field.metadata.get("key", field.name)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {_key(field): _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Enum):
        return value.value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _object(kind: type, entries: tuple[Field[Any], ...]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {
        "type": "object",
        "properties": {_key(field): _rule(hints[field.name]) for field in entries},
        "required": [_key(field) for field in entries],
        "additionalProperties": False,
    }


def _rule(kind: Any) -> dict[str, Any]:
    """The schema of what a field of some type becomes."""
    if kind in _TYPES:
        return {"type": _TYPES[kind]}
    if isinstance(kind, UnionType):
        return {"anyOf": [_rule(part) for part in get_args(kind)]}
    outer, inner = get_origin(kind), get_args(kind)
    if outer is list:
        return {"type": "array", "items": _rule(inner[0])}
    if outer is dict:
        return {"type": "object", "additionalProperties": _rule(inner[1])}
    return {"enum": [member.value for member in kind]} if issubclass(kind, Enum) else _object(kind, fields(kind))
