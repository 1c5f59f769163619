"""Rational numbers: what callers give as such, and floats for them: the nearest ones, and those on one side."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from math import inf, isfinite, isinf, nextafter
from typing import Any

import numpy as np

from admm_verify.errors import InputError
from admm_verify.options import brief

MAX_EXPONENT = 1000
"""Of decimals that are read: float64 needs exponents from -324 to 308."""

MAX_BITS = 2**14
"""Of numbers that are computed exactly, which products would make longer and longer."""

_LARGEST = Fraction(float(np.finfo(np.float64).max))


def number(given: Any, what: str) -> Fraction:
    """A finite number, exactly: a float stands for itself.

    Raises: InputError for what is no number, NaN, infinite, or has more digits than anything here needs.
    """
    plain = given.item() if isinstance(given, np.generic) else given
    match plain:
        case bool():
            fine = False
        case int():
            fine = plain.bit_length() <= MAX_BITS
        case float():
            fine = isfinite(plain)
        case Decimal():
            fine = plain.is_finite() and abs(plain.adjusted()) <= MAX_EXPONENT
        case _:
            fine = isinstance(plain, Fraction)
    if not fine or abs(Fraction(plain)) > _LARGEST:
        raise InputError(f"The {what} is {brief(given)}; give a finite number, of at most 1.79e308.")
    return Fraction(plain)


def directed(values: Iterable[Fraction], dtype: type[np.floating], up: bool) -> np.ndarray:
    """Rational numbers as floats, rounded up or down and never the other way."""
    with np.errstate(over="ignore"):
        return np.array([directed_float(value, dtype, up) for value in values], dtype=dtype)


def directed_float(value: Fraction, dtype: type[np.floating], up: bool) -> float:
    """One rational number as a float, rounded up or down and never the other way."""
    nearest = nearest_float(value)
    if dtype is not np.float64:
        nearest = float(dtype(nearest))
    target = inf if up else -inf
    if isinf(nearest):
        # Beyond the type: outward that is infinity, inward the largest number there is.
        return nearest if nearest == target else float(np.nextafter(dtype(nearest), dtype(0)))
    numerator, denominator = value.as_integer_ratio()
    above, below = nearest.as_integer_ratio()
    # The float less the number, times both denominators.
    difference = above * denominator - numerator * below
    if difference < 0 if up else difference > 0:
        return nextafter(nearest, target) if dtype is np.float64 else float(np.nextafter(dtype(nearest), dtype(target)))
    return nearest


def nearest_float(value: Fraction) -> float:
    """The nearest float64, infinite beyond its range."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return inf if value > 0 else -inf


def is_float(value: Fraction) -> bool:
    """Whether a float64 is this very number."""
    numerator, denominator = value.numerator, value.denominator
    if denominator == 1 and numerator.bit_length() <= 53:
        return True
    nearest = nearest_float(value)
    return isfinite(nearest) and nearest.as_integer_ratio() == (numerator, denominator)
