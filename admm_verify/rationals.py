"""Rational numbers as floats: the nearest ones, and those on one side."""

from collections.abc import Iterable
from fractions import Fraction
from math import inf, isfinite, isinf, nextafter

import numpy as np


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
