"""The command line: options in full and once, plain finite decimals and whole numbers, and what files are for.

Nothing else that argparse would take for an option, or Python for a number.
"""

import re
from argparse import Action, ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from math import isfinite
from typing import Any

_SHOWN = 40
_MOST_DIGITS = 18

_DECIMAL = re.compile(r"[+-]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+", re.ASCII)
_WHOLE = re.compile(rf"[+-]?\d{{1,{_MOST_DIGITS}}}+", re.ASCII)


class Parser(ArgumentParser):
    """A parser, and parsers of commands, that refuse abbreviated options, and repeated ones unless these add up."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, allow_abbrev=False)
        # The action of arguments that name no other one.
        self.register("action", None, _Once)


class _Once(Action):
    """Stores a value, the only one that the option is given."""

    _given = False

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        if self._given and option_string is not None:
            raise ArgumentError(self, "given twice; give it once.")
        self._given = True
        setattr(namespace, self.dest, values)


class Read(str):
    """The name of a file that is read."""


class Written(str):
    """The name of a file that is written."""


def decimal(text: str) -> float:
    """The number that a text such as -0.5 or 1e-3 says.

    Raises: ArgumentTypeError for any other text, nan and inf among them, and for sizes beyond the largest float64.
    """
    value = float(text) if _DECIMAL.fullmatch(text) else float("nan")
    if not isfinite(value):
        raise ArgumentTypeError(f"found {_quoted(text)}; give a finite decimal number such as 0.5 or 1e-3.")
    return value


def whole(text: str) -> int:
    """The whole number that a text of at most 18 digits says.

    Raises: ArgumentTypeError for any other text.
    """
    if not _WHOLE.fullmatch(text):
        raise ArgumentTypeError(f"found {_quoted(text)}; give a whole number of at most {_MOST_DIGITS} digits.")
    return int(text)


def at_least_one(text: str) -> int:
    """A `whole` number that is at least 1."""
    value = whole(text)
    if value < 1:
        raise ArgumentTypeError(f"found {_quoted(text)}; give a whole number >= 1.")
    return value


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
