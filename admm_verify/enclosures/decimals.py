"""Decimals as exact fractions, of a size that can be computed with."""

import re
from fractions import Fraction
from typing import Any

import numpy as np

from admm_verify.errors import InputError
from admm_verify.options import brief
from admm_verify.rationals import MAX_EXPONENT, number

MAX_DIGITS = 1000
"""Of what is read: float64 needs 17 digits."""

_DECIMAL = re.compile(r"[+-]?(\d*+)(?:\.(\d*+))?+(?:[eE][+-]?0*+(\d*+))?+", re.ASCII)


def read_decimal(text: str) -> Fraction:
    """The number that a decimal such as -0.5 or 1.5e-3 stands for, exactly.

    Raises: InputError for what is no decimal, and for one with more digits or a larger exponent than is computed with,
    before any work is done for it: 1e999999999 has a billion digits.
    """
    match = _DECIMAL.fullmatch(text)
    whole, part, exponent = match.groups(default="") if match else ("", "", "")
    if len(whole + part) > MAX_DIGITS or len(exponent) > 9 or int(exponent or "0") > MAX_EXPONENT:
        raise InputError(
            f"The number {brief(text, 40)} is too large to be read; write at most {MAX_DIGITS} digits and an "
            f"exponent from -{MAX_EXPONENT} to {MAX_EXPONENT}."
        )
    try:
        return Fraction(text if whole + part else "")
    except ValueError:
        raise InputError(f"The number {brief(text, 40)} cannot be read; write a decimal.") from None


def shortest_decimal(value: float) -> Fraction:
    """The shortest decimal that reads back as this float, exactly: what a file that holds 0.1 means."""
    return Fraction(repr(float(value)))


def decimal(given: Any, what: str) -> Fraction:
    """A finite number, where a float stands for its shortest decimal: 0.1 is a tenth.

    Raises: InputError as `number` does.
    """
    exact = number(given, what)
    return shortest_decimal(float(given)) if isinstance(given, float | np.floating) else exact
