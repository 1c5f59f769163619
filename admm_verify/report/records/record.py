"""Results as they are told: text for people, and JSON under a schema with a name and a version."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from admm_verify.files import replaced
from admm_verify.report.records.provenance import Provenance
from admm_verify.schemas import document, json_text, key, object_schema, plain


@dataclass(frozen=True)
class Record:
    """A result as it is told; every field of a subclass is an entry of its JSON, parts are plain frozen dataclasses.

    text: what is said on stdout. provenance: how the result came about, where a command made it. SCHEMA: the name of
    the JSON's schema; VERSION: counts its changes that take an entry away or give it another meaning.
    """

    SCHEMA: ClassVar[str]
    VERSION: ClassVar[int] = 2

    text: str
    provenance: Provenance | None = field(default=None, kw_only=True)

    def json(self) -> dict[str, Any]:
        """All entries as plain data; numbers that are not finite become the texts "inf", "-inf" and "nan"."""
        head = {"schema": self.SCHEMA, "version": self.VERSION}
        return head | {key(entry): plain(getattr(self, entry.name)) for entry in fields(self)[1:]}

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """What `json` may return, as a JSON Schema (json-schema.org, draft 2020-12)."""
        found = object_schema(cls, fields(cls)[1:])
        found["properties"] |= {"schema": {"const": cls.SCHEMA}, "version": {"const": cls.VERSION}}
        found["required"] += ["schema", "version"]
        return document(cls.SCHEMA, found)

    def write(self, path: str) -> None:
        """Write the JSON.

        Raises: OutputError when the file cannot be written.
        """
        write_json(path, self.json())


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all; numbers that are not finite become the texts "inf", "-inf" and "nan".

    Raises: OutputError when the file cannot be written.
    """
    with replaced(path, "JSON file") as file:
        file.write(f"{{\n{_entries(plain(content))}\n}}\n".encode())


def _entries(content: dict[str, Any]) -> str:
    """A line per entry, and per object in a list of these: json's own indentation takes a line per number, and long."""
    return ",\n".join(f" {json_text(name)}: {_value(value)}" for name, value in content.items())


def _value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        items = ",\n".join(f"  {json_text(item)}" for item in value)
        return f"[\n{items}\n ]"
    return json_text(value)
