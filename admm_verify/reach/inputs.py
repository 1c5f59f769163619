"""What callers hand in: converted, checked, and copied, so that nobody changes it behind a frozen record."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from admm_verify.arrays import Array, namespace, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.options import instance
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet


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


def input_set(given: Any, size: int, what: str) -> WalkableSet:
    """A read-only NumPy copy of one set of points [size].

    Raises: InputError for anything but a set of this shape, and for one that is empty or not bounded.
    """
    instance(given, WalkableSet, f"The {what}", ", such as av.Box(lower, upper) or av.Ellipsoid(center, shape)")
    if isinstance(given, Box):
        found = Box(*(array(end, (size,), what) for end in given.range))
        for end in found.range:
            end.setflags(write=False)
        return found
    if given.shape != (size,):
        raise InputError(f"The {what} has shape {given.shape}; give one set of vectors of {size} numbers.")
    # A batch of one, and that one again: on the way, sets look whether they are empty or not bounded.
    one = given.flattened(lambda part: namespace(part).reshape(part, (1, size))).at(0)
    return one.mapped(_frozen)


def _frozen(part: Array) -> np.ndarray:
    own = np.array(to_numpy(part))
    own.setflags(write=False)
    return own


def set_field(record: object, name: str, value: Any) -> None:
    """Fill in a field of a frozen record while it is made."""
    object.__setattr__(record, name, value)
