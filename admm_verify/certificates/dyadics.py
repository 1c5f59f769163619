"""Arrays of exact numbers: Python integers times one power of two, which the same NumPy code runs on as on floats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import lcm
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from admm_verify.errors import CertificateError

_ALONE = (np.take, np.broadcast_to, np.sum, np.max, np.min)
_ALIGNED = (np.add, np.subtract, np.maximum, np.minimum, np.negative, np.absolute)
_COMPARED = (np.less, np.less_equal, np.greater, np.greater_equal)
_MULTIPLIED = (np.multiply, np.vecdot)

PART = 21
"""Bits of a part of numbers whose products are to be summed in float64 without rounding, up to 2^9 of them."""

_LIMB, _LONGEST, _DEEPEST = 16, 2**21, 2**9
"""Bits of a limb; the longest dot products, and the most limbs, of which sums of limbs' products are exact."""


@dataclass(frozen=True, eq=False)
class Short:
    """numbers 2^exponent for integers of at most 42 binary digits in float64; rounded: something may have been lost."""

    numbers: np.ndarray
    exponent: int
    rounded: bool


class Dyadics(NDArrayOperatorsMixin):
    """integers * 2^exponent: sums, products and comparisons are exact, and nothing else is defined.

    Integers and arrays of integers take part as what they are; floats raise TypeError.
    """

    def __init__(self, integers: Any, exponent: int) -> None:
        # Python integers: those of NumPy would overflow.
        self.integers, self.exponent = np.asarray(integers, dtype=object), exponent

    @staticmethod
    def of(value: Any) -> "Dyadics":
        """Integers as these numbers."""
        if isinstance(value, Dyadics):
            return value
        array = np.asarray(value)
        if array.dtype.kind not in "iub":
            raise TypeError(f"{array.dtype} numbers are not exact.")
        return Dyadics(array.astype(object), 0)

    @staticmethod
    def of_floats(value: Any) -> "Dyadics":
        """Finite floats as they are.

        Raises: CertificateError for NaN and infinity.
        """
        mantissas, exponents = np.frexp(np.asarray(value, dtype=np.float64))
        if not np.isfinite(mantissas).all():
            raise CertificateError("NaN and infinity are no exact numbers.")
        integers = np.asarray((mantissas * 2.0**53).astype(np.int64))
        # Without the zeros at their ends, few digits are left of most numbers.
        zeros = np.where(integers == 0, 0, np.frexp((integers & -integers).astype(np.float64))[1] - 1)
        last = np.where(integers == 0, 0, exponents - 53 + zeros)
        exponent = int(np.min(last, initial=0))
        return Dyadics((integers >> zeros).astype(object) << (last - exponent).astype(object), exponent)

    def at(self, exponent: int) -> np.ndarray:
        """The integers with a smaller exponent."""
        return self.integers if exponent == self.exponent else self.integers << (self.exponent - exponent)

    def floor(self, digits: int) -> "Dyadics":
        """Rounded down, where the largest has more binary digits than these, to numbers with so many."""
        spare = _digits(self.integers) - digits
        return self if spare <= 0 else Dyadics(self.integers >> spare, self.exponent + spare)

    def quotient(self, other: "Dyadics", digits: int) -> "Dyadics":
        """self / other for positive others, rounded down to a multiple of 2^-digits."""
        exponent = min(self.exponent, other.exponent)
        return Dyadics((self.at(exponent) << digits) // other.at(exponent), -digits)

    @cached_property
    def limbs(self) -> np.ndarray:
        """L_k of integers = sum_k L_k 2^(16 k), all but the last of them from 0 to 2^16 - 1; float64."""
        count = _digits(self.integers) // _LIMB + 1
        bytes = b"".join([number.to_bytes(2 * count, "little", signed=True) for number in self.integers.flat])
        parts = np.frombuffer(bytes, "<u2").astype(np.float64).reshape(*self.shape, count)
        parts[..., -1] -= 2.0**_LIMB * (parts[..., -1] >= 2.0 ** (_LIMB - 1))
        return np.ascontiguousarray(np.moveaxis(parts, -1, 0))

    @cached_property
    def filled(self) -> "tuple[np.ndarray | None, Dyadics]":
        """The rows of a matrix that are not zero, and the matrix of these; None for all."""
        rows = np.flatnonzero((self.integers != 0).any(axis=1))
        return (None, self) if len(rows) == len(self.integers) else (rows, Dyadics(self.integers[rows], self.exponent))

    @cached_property
    def floored(self) -> "Short":
        """Rounded down to 42 binary digits of the largest."""
        spare = _digits(self.integers) - 2 * PART
        integers = self.integers >> spare if spare >= 0 else self.integers << -spare
        return Short(integers.astype(np.float64), self.exponent + spare, spare > 0)

    @cached_property
    def ceiled(self) -> "Short":
        """Rounded up likewise."""
        found = (-self).floored
        return Short(-found.numbers, found.exponent, found.rounded)

    def signed_rows(self, rows: np.ndarray) -> Short:
        """Some rows of a matrix, then their negatives, rounded down."""
        floor, ceiling = self.floored, self.ceiled
        return replace(floor, numbers=np.concatenate([floor.numbers[rows], -ceiling.numbers[rows]]))

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """L_k of integers = sum_k L_k 2^(21 k), all but the last of them from 0 to 2^21 - 1; float64."""
        found, left = [], self.integers
        for _ in range(_digits(left) // PART):
            found.append((left & (2**PART - 1)).astype(np.float64))
            left = left >> PART
        return [*found, left.astype(np.float64)]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.integers.shape

    @cached_property
    def T(self) -> "Dyadics":
        return Dyadics(self.integers.T, self.exponent)

    def copy(self) -> "Dyadics":
        return Dyadics(self.integers, self.exponent)

    def __len__(self) -> int:
        return len(self.integers)

    def __bool__(self) -> bool:
        raise TypeError("Arrays of exact numbers are neither true nor false.")

    def __getitem__(self, place: Any) -> "Dyadics":
        return Dyadics(self.integers[place], self.exponent)

    def __setitem__(self, place: Any, value: Any) -> None:
        value = Dyadics.of(value)
        exponent = min(self.exponent, value.exponent)
        # A new array, so that no other one, and nothing that was derived from one, is out of date.
        integers = self.at(exponent).copy()
        integers[place] = value.at(exponent)
        self.integers, self.exponent = integers, exponent
        for derived in ("limbs", "T", "filled", "floored", "ceiled", "parts"):
            vars(self).pop(derived, None)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return np

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        parts = [Dyadics.of(part) for part in inputs]
        if ufunc is np.matmul:
            return _product(*parts)
        if ufunc in _MULTIPLIED:
            first, second = parts
            return Dyadics(ufunc(first.integers, second.integers), first.exponent + second.exponent)
        if ufunc not in _ALIGNED and ufunc not in _COMPARED:
            return NotImplemented
        exponent = min(part.exponent for part in parts)
        found = ufunc(*(part.at(exponent) for part in parts))
        return found if ufunc in _COMPARED else Dyadics(found, exponent)

    def __array_function__(self, function: Any, types: Any, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
        first, *rest = arguments
        if function in _ALONE:
            return Dyadics(function(first.integers, *rest, **named), first.exponent)
        if function is np.where:
            exponent, parts = _aligned(rest)
            return Dyadics(np.where(first, *parts), exponent)
        if function in (np.concatenate, np.stack):
            exponent, parts = _aligned(first)
            return Dyadics(function(parts, *rest, **named), exponent)
        return NotImplemented


def cleared(values: Sequence[Any]) -> int:
    """The least odd number whose product with any of some fractions is dyadic."""
    return lcm(*(value.denominator // (value.denominator & -value.denominator) for value in values))


def _digits(integers: np.ndarray) -> int:
    return max(map(int.bit_length, integers.flat), default=0)


def _aligned(values: Sequence[Any]) -> tuple[int, list[np.ndarray]]:
    parts = [Dyadics.of(value) for value in values]
    exponent = min(part.exponent for part in parts)
    return exponent, [part.at(exponent) for part in parts]


def _product(a: Dyadics, b: Dyadics) -> Dyadics:
    """a b for a matrix or vector a [.., n] and b [n, m] or [n].

    Limb by limb in float64: limbs are at most 2^16, so that all sums of n <= 2^21 products are integers up to 2^53,
    exact in any order of summation.
    """
    exponent = a.exponent + b.exponent
    if len(b.shape) == 1:
        return Dyadics(a.integers @ b.integers, exponent)
    rows, b = b.filled
    left, right = Dyadics(np.atleast_2d(a.integers if rows is None else a.integers[..., rows]), 0).limbs, b.limbs
    if b.shape[0] > _LONGEST or len(left) > _DEEPEST or len(right) > _DEEPEST:
        raise CertificateError("Numbers are too many or too long for exact products.")
    # Four more limbs hold what is carried beyond the last.
    sums = np.zeros((len(left) + len(right) + 3, left.shape[1], b.shape[1]), dtype=np.int64)
    for k, part in enumerate(left):
        sums[k : k + len(right)] += (part @ right).astype(np.int64)
    return Dyadics(_joined(sums).reshape(*a.shape[:-1], b.shape[1]), exponent)


def _joined(sums: np.ndarray) -> np.ndarray:
    """sum_k sums_k 2^(16 k) as Python integers."""
    for k in range(len(sums) - 1):
        sums[k + 1] += sums[k] >> _LIMB
        sums[k] &= 2**_LIMB - 1
    bytes = np.moveaxis(sums, 0, -1).astype("<i2").tobytes()
    step = 2 * len(sums)
    found = np.empty(sums[0].size, dtype=object)
    found[:] = [int.from_bytes(bytes[at : at + step], "little", signed=True) for at in range(0, len(bytes), step)]
    return found.reshape(sums.shape[1:])
