"""What callers hand in: converted, checked, and copied, so that nobody changes it behind a frozen record."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any, TypeVar

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.options import brief, instance
from admm_verify.reach.decimals import MAX_BITS, MAX_EXPONENT, shortest_decimal
from admm_verify.sets.box import Box

T = TypeVar("T")

_LARGEST = Fraction(float(np.finfo(np.float64).max))


def array(given: Any, shape: Sequence[int | None], what: str) -> np.ndarray:
    """A read-only float64 copy of an array, sequence or tensor; None stands for any size of an axis.

    Raises: InputError for another shape, for NaN and infinite numbers, and as `given.float64_array`.
    """
    found = _own(given, what)
    fits = len(found.shape) == len(shape) and all(
        size in (None, own) for size, own in zip(shape, found.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise InputError(f"The {what} has shape {found.shape}; give ({wanted}).")
    if not np.isfinite(found).all():
        raise InputError(f"The {what} has NaN or infinite numbers; give finite ones.")
    return found


def rows(given: Any, size: int, what: str) -> np.ndarray:
    """The same for rows [any, size] or a single one [size], as rows.

    Raises: InputError as `array` does, and for no row.
    """
    own = _own(given, what)
    found = array(own[None] if own.ndim == 1 else own, (None, size), what)
    if not len(found):
        raise InputError(f"The {what} has no rows; give at least one of {size} numbers.")
    return found


def _own(given: Any, what: str) -> np.ndarray:
    found = np.array(to_numpy(float64_array(given, what)))
    found.setflags(write=False)
    return found


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


def decimal(given: Any, what: str) -> Fraction:
    """A finite number, where a float stands for its shortest decimal: 0.1 is a tenth.

    Raises: InputError as `number` does.
    """
    exact = number(given, what)
    return shortest_decimal(float(given)) if isinstance(given, float | np.floating) else exact


def box(given: Any, size: int, what: str) -> Box:
    """A read-only NumPy copy of one box of numbers [size].

    Raises: InputError for anything but a Box of this shape.
    """
    instance(given, Box, f"The {what}")
    found = Box(*(array(end, (size,), what) for end in (given.lower, given.upper)))
    for end in (found.lower, found.upper):
        end.setflags(write=False)
    return found


def several(given: Any, kind: type[T], what: str) -> tuple[T, ...]:
    """A tuple of a sequence's items, all of one class.

    Raises: InputError for anything else.
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise InputError(f"The {what} are {brief(given)}; give a sequence of {kind.__name__}.")
    return tuple(instance(item, kind, f"Number {i} of the {what}") for i, item in enumerate(given))


def set_field(record: object, name: str, value: Any) -> None:
    """Fill in a field of a frozen record while it is made."""
    object.__setattr__(record, name, value)
