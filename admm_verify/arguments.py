"""Numbers on the command line: plain finite decimals and whole numbers, nothing else that Python would take for one."""

import re
from argparse import ArgumentTypeError
from math import isfinite

_SHOWN = 40
_MOST_DIGITS = 18

_DECIMAL = re.compile(r"[+-]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+", re.ASCII)
_WHOLE = re.compile(rf"[+-]?\d{{1,{_MOST_DIGITS}}}+", re.ASCII)


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
