"""Options that callers hand in: numbers, counts, choices, records and functions, each checked in one line."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import cache
from numbers import Integral, Real
from os import PathLike, fspath, sep
from pathlib import Path
from sys import float_info
from types import UnionType
from typing import Annotated, TypeVar, Union, get_args, get_origin, get_type_hints

from admm_verify.errors import InputError
from admm_verify.reprs import short_repr

_LARGEST_COUNT = 2.0**63
"""`sys.maxsize`, which people take for no limit, is below; floats, in which counts are also computed, end beyond."""

Kind = TypeVar("Kind")
Member = TypeVar("Member", bound=Enum)


@dataclass(frozen=True)
class Range:
    """The numbers that an option may be: from least on, without least itself where open, and up to most."""

    least: float = 0.0
    open: bool = False
    most: float = float("inf")

    def __str__(self) -> str:
        text = f"{'>' if self.open else '>='} {self.least:g}"
        if self.most == float("inf"):
            return text
        return f"{text} and finite" if self.most == float_info.max else f"{text} and <= {self.most:g}"

    def holds(self, value: float) -> bool:
        """Whether a number lies inside; NaN never does."""
        return (value > self.least if self.open else value >= self.least) and value <= self.most


ANY = Range()
POSITIVE = Range(0.0, open=True)

Count = Annotated[int, ANY]
AtLeastOne = Annotated[int, Range(1)]
Nonnegative = Annotated[float, Range(0.0, most=float_info.max)]
Positive = Annotated[float, Range(0.0, open=True, most=float_info.max)]
Share = Annotated[float, Range(0.0, most=1.0)]
Decay = Annotated[float, Range(0.0, most=1.0 - 2.0**-53)]
"""Below 1: what is left of something after a step."""
Memory = Annotated[float | None, POSITIVE]
"""A limit in bytes, None for half of what is free."""
Allowance = Annotated[float | None, Range(0.0, most=float_info.max)]
"""Seconds that something optional may take, None where it is not wanted."""


def number(value: object, what: str, allowed: Range = ANY, otherwise: str = "") -> float:
    """A real number of a range; `otherwise` tells of what else may be given.

    Raises: InputError for anything else, such as text, a bool or NaN.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:
            found = float("nan")
        if allowed.holds(found):
            return found
    raise InputError(f"{what} is {shown(value)}; give a number {allowed}{otherwise}.")


def count(value: object, what: str, allowed: Range = ANY, otherwise: str = "") -> int:
    """A whole number of a range that is no larger than counts get; `otherwise` tells of what else may be given.

    Raises: InputError for anything else, such as 2.0 or True.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        if int(value) > _LARGEST_COUNT:
            allowed = replace(allowed, most=min(allowed.most, _LARGEST_COUNT))
        if allowed.holds(int(value)):
            return int(value)
    raise InputError(f"{what} is {shown(value)}; give a whole number {allowed}{otherwise}.")


def timeout_seconds(value: object) -> float | None:
    """A time limit in seconds, None for none.

    Raises: InputError for anything else.
    """
    return None if value is None else number(value, "The timeout", otherwise=" of seconds, or None for no limit")


def memory_bytes(value: object) -> float | None:
    """A limit on the working memory in bytes, None for half of what is free.

    Raises: InputError for anything else.
    """
    otherwise = " of bytes, or None for half of what is free"
    return None if value is None else number(value, "The memory limit", POSITIVE, otherwise)


def choice(value: object, what: str, known: Sequence[str]) -> str:
    """One of some names.

    Raises: InputError for any other, naming them.
    """
    # Text first: arrays compare entry by entry.
    if isinstance(value, str) and value in known:
        return value
    raise InputError(f"{what} {brief(value)} is unknown; choose one of {', '.join(known)}.")


def member(value: object, what: str, kind: type[Member]) -> Member:
    """The member of an enumeration that is given as itself, or as its value or name in text.

    Members are told apart by identity, so that anything else would be taken for none of them.
    Raises: InputError for anything else, naming the values.
    """
    if isinstance(value, kind):
        return value
    for one in kind:
        if isinstance(value, str) and value in (one.value, one.name):
            return one
    raise InputError(f"{what} {brief(value)} is unknown; choose one of {', '.join(str(one.value) for one in kind)}.")


def flag(value: object, what: str) -> bool:
    """True or False.

    Raises: InputError for anything else.
    """
    if isinstance(value, bool):
        return value
    raise InputError(f"{what} is {shown(value)}; give True or False.")


def instance(value: object, kind: type[Kind] | tuple[type[Kind], ...], what: str, advice: str = "") -> Kind:
    """An instance of a class, or of one of several; `advice` tells how to get one.

    Raises: InputError for anything else, such as a dictionary or the class itself.
    """
    if isinstance(value, kind):
        return value
    names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
    raise InputError(f"{what} is {shown(value)}; give an instance of {names}{advice}.")


def several(given: object, kind: type[Kind], what: str) -> tuple[Kind, ...]:
    """A tuple of a sequence's items, all of one class.

    Raises: InputError for anything else.
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise InputError(f"The {what} are {brief(given)}; give a sequence of {kind.__name__}.")
    return tuple(instance(item, kind, f"Number {i} of the {what}") for i, item in enumerate(given))


def file_path(value: object, what: str, otherwise: str = "") -> Path:
    """A path of a file; `otherwise` tells of what else may be given.

    Raises: InputError for anything else.
    """
    if isinstance(value, str | PathLike) and isinstance(name := fspath(value), str):
        # A path that ends in a separator names a folder, which Path forgets.
        if name and "\0" not in name and not name.endswith(("/", sep)):
            return Path(name)
    raise InputError(f"{what} is {shown(value)}; give the path of a file{otherwise}.")


def callbacks(*given: tuple[str, object]) -> None:
    """Check that everything given, each with the name of its parameter, is a function or None.

    Raises: InputError for anything else.
    """
    for name, value in given:
        if value is not None and not callable(value):
            raise InputError(f"{name} is {shown(value)}; give a function, or None.")


@dataclass(frozen=True, repr=False)
class Settings:
    """A record whose fields are checked as it is made: numbers by the Range that their annotation names.

    Raises: InputError naming the field.
    """

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for rule in _rules(type(self)):
            value = getattr(self, rule.name)
            if value is None and rule.optional:
                continue
            what, otherwise = f"{type(self).__name__}.{rule.name}", ", or None" if rule.optional else ""
            if rule.allowed is None:
                instance(value, rule.kinds, what)
            else:
                check = count if rule.kinds == (int,) else number
                object.__setattr__(self, rule.name, check(value, what, rule.allowed, otherwise))


@dataclass(frozen=True)
class _Rule:
    """What a field may be."""

    name: str
    kinds: tuple[type, ...]
    allowed: Range | None
    optional: bool


@cache
def _rules(kind: type[Settings]) -> list[_Rule]:
    hints, rules = get_type_hints(kind, include_extras=True), []
    for field in fields(kind):
        hint, notes = hints[field.name], ()
        if get_origin(hint) is Annotated:
            hint, *notes = get_args(hint)
        allowed = next((note for note in notes if isinstance(note, Range)), None)
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        kinds = [get_origin(part) or part for part in parts if part is not type(None)]
        rules.append(_Rule(field.name, tuple(kinds), allowed, type(None) in parts))
    return rules


def brief(value: object, most: int = 60) -> str:
    """A value for a message, no more than a line of it."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:
        # Python does not write integers of thousands of digits.
        return "a number with thousands of digits"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shown(value: object) -> str:
    """A value for a message, and what it is."""
    return f"{brief(value)} ({type(value).__name__})"
