"""A strict reader of JSON objects: what nobody asks for is refused, so that no entry is overlooked.

Every object is read through `Entries`, which remembers what it was asked for. `finish` then names the first entry that
was not, with its path and the nearest one that would have been read.
"""

import json
from collections.abc import Callable
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from admm_verify import options
from admm_verify.enclosures.decimals import read_decimal
from admm_verify.errors import InputError
from admm_verify.options import Range, brief, choice
from admm_verify.rationals import number

T = TypeVar("T")
D = TypeVar("D")
Convert = Callable[[Any, str], T]

MAX_BYTES = 2**24
"""Of a file: weights have files of their own."""


def read_entries(path: Path) -> "Entries":
    """The object that a JSON file holds, its numbers exact.

    Raises: InputError for a file that cannot be read or is too large, is no JSON object, holds a name twice, or a
    number that is not finite or too long.
    """
    try:
        if not path.is_file():
            strange = "it is a folder" if path.is_dir() else "it is no regular file"
            what = strange if path.exists() else "there is no such file"
            raise InputError(f"The system {path} cannot be read: {what}.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"The system {brief(str(path), 300)} cannot be read: {error.strerror or error}.") from error
    if len(data) > MAX_BYTES:
        raise InputError(
            f"The system {path} has more than {MAX_BYTES // 2**20} MiB; give weights as a file of its own."
        )
    try:
        found = json.loads(
            data.decode("utf-8-sig"),
            parse_float=read_decimal,
            parse_int=lambda text: int(read_decimal(text)),
            parse_constant=_no_number,
            object_pairs_hook=_object,
        )
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"The system {path} is no JSON: byte {error.start} is no UTF-8.") from error
    except ValueError as error:
        raise InputError(f"The system {path} is no JSON: {error}.") from error
    except RecursionError:
        raise InputError(f"The system {path} is no JSON of a system: it is nested too deep.") from None
    if not isinstance(found, dict):
        raise InputError(f"The system {path} is {brief(found)}; give a JSON object, with names and values.")
    return Entries(found, "", [])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"The entry {brief(name)} is there twice in one object; give it once.")
        found[name] = value
    return found


def _no_number(text: str) -> None:
    raise InputError(f"The file holds the number {text}; give finite ones, or null for no limit.")


class Entries:
    """One JSON object with its path in the file; `content` is for showing it."""

    def __init__(self, content: dict[str, Any], path: str, objects: list["Entries"]) -> None:
        """objects: all that were opened in this file, to which this one is added."""
        self.content, self.path = content, path
        self._known: list[str] = []
        self._objects = objects
        objects.append(self)

    def where(self, name: str) -> str:
        """The path of an entry."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether there is such an entry, which is known from now on."""
        if name not in self._known:
            self._known.append(name)
        return name in self.content

    def take(self, name: str, convert: Convert[T]) -> T:
        """An entry that has to be there, converted.

        Raises: InputError where it is missing, and as the conversion does, with its path.
        """
        if not self.has(name):
            other = get_close_matches(name, [key for key in self.content if key not in self._known], 1)
            hint = f"; is {other[0]!r} meant for it?" if other else "."
            raise InputError(f"The entry '{self.where(name)}' is missing{hint}")
        return convert(self.content[name], self.where(name))

    def get(self, name: str, convert: Convert[T], default: D) -> T | D:
        """An entry that may be left out, converted, or what it stands for then."""
        return self.take(name, convert) if self.has(name) else default

    def object(self, name: str) -> "Entries":
        """An entry that is an object itself."""
        return self.take(name, self._opened)

    def objects(self, name: str) -> list["Entries"]:
        """An entry that is a list of objects."""
        return self.take(name, listed(self._opened))

    def skip(self, *names: str) -> None:
        """Allow entries that are for readers of the file, whatever they hold."""
        for name in names:
            self.has(name)

    def _opened(self, value: Any, path: str) -> "Entries":
        return Entries(mapping(value, path), path, self._objects)

    def finish(self) -> list[str]:
        """The notes of all opened objects: texts named note, notes, or like an entry with _note behind it.

        Raises: InputError for an entry of any of them that nobody asked for.
        """
        notes = []
        for one in self._objects:
            for name in one.content:
                stem = name.removesuffix("_note")
                if name in ("note", "notes") or (stem != name and stem in one._known):
                    if name not in one._known:
                        notes.append(f"{one.where(name)}: {text(one.content[name], one.where(name))}")
                elif name not in one._known:
                    raise one._unread(name)
        return notes

    def _unread(self, name: str) -> InputError:
        homes = [one.path for one in self._objects if one.path != self.path and name in one._known]
        nearest = get_close_matches(name, self._known, 1, 0.0)
        hint = f"it belongs into {homes[0] or 'the outermost object'}" if homes else f"did you mean {nearest[0]}?"
        return InputError(
            f"The entry {brief(self.where(name))} is not read here, so the result would be about something else: "
            f"{hint}; known here are {', '.join(self._known)}."
        )


def text(value: Any, path: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise InputError(f"The entry {path} is {brief(value)}; give a text.")
    return value


def word(*allowed: str) -> Convert[str]:
    """One of some words."""
    return lambda value, path: choice(value, f"The entry {path}", allowed)


def exact(value: Any, path: str) -> Fraction:
    """A finite number."""
    return number(value, f"entry {path}")


def exact_or_none(value: Any, path: str) -> Fraction | None:
    """A finite number, or null."""
    return None if value is None else exact(value, path)


def count(least: int, most: float = float("inf")) -> Convert[int]:
    """A whole number within limits."""

    def counted(value: Any, path: str) -> int:
        found = exact(value, path)
        # 5.0 is whole, too.
        whole = int(found) if found.denominator == 1 else value
        return options.count(whole, f"The entry {path}", Range(least, most=most))

    return counted


def listed(convert: Convert[T]) -> Convert[list[T]]:
    """A list of things of one kind."""

    def converted(value: Any, path: str) -> list[T]:
        if not isinstance(value, list):
            raise InputError(f"The entry {path} is {brief(value)}; give a list.")
        return [convert(item, f"{path}[{i}]") for i, item in enumerate(value)]

    return converted


def mapping(value: Any, path: str) -> dict[str, Any]:
    """An object whose names are free."""
    if not isinstance(value, dict):
        raise InputError(f"The entry {path} is {brief(value)}; give an object, with names and values.")
    return value


def vector(value: Any, path: str) -> np.ndarray:
    """Numbers in float64, each the nearest one, [n]."""
    return np.array([float(item) for item in listed(exact)(value, path)])


def matrix(value: Any, path: str) -> np.ndarray:
    """Rows of numbers in float64, all of one length, [rows, n]."""
    rows = listed(vector)(value, path)
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise InputError(f"The entry {path} has rows of {lengths[0]} and {lengths[-1]} numbers; give them one length.")
    return np.array(rows).reshape(len(rows), len(rows[0]) if rows else 0)
