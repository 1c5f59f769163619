"""The numbers a checker computes with: float64 and a bound on every rounding, or dyadic numbers and no rounding."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import ceil, floor
from operator import add
from typing import Any

import numpy as np

from admm_verify.arrays import SMALLEST, Placement, quiet_overflow, to_numpy
from admm_verify.certificates.dyadics import Dyadics
from admm_verify.certificates.unmerged import Exact
from admm_verify.network.graph import Affine, Network
from admm_verify.network.maps import DenseMap

_DIGITS, _ENCLOSED = 88, 200
"""Binary digits of the largest of some exact numbers that may be rounded, and of what encloses other fractions."""


@dataclass(frozen=True)
class Numbers:
    """float64, or where exact `Dyadics`; the same NumPy code runs on both."""

    exact: bool

    def number(self, value: float) -> Any:
        """A float as one of these numbers."""
        return Dyadics.of_floats(value) if self.exact else float(value)

    def of(self, array: Any) -> Any:
        """An array of floats as these numbers; CertificateError for infinite ones where they are exact."""
        found = np.asarray(to_numpy(array), dtype=np.float64)
        return Dyadics.of_floats(found) if self.exact else found

    @staticmethod
    def fractions(values: Sequence[Fraction], shape: tuple[int, ...], up: bool) -> Any:
        """Fractions as exact numbers: dyadic ones as they are, the others rounded up or down by at most 2^-200 of
        themselves.
        """
        below = [value.denominator for value in values]
        digits = max((b.bit_length() + _ENCLOSED * (b & (b - 1) > 0) for b in below), default=0)
        array = np.empty(len(values), dtype=object)
        array[:] = [(ceil if up else floor)(value * 2**digits) for value in values]
        return Dyadics(array.reshape(shape), -digits)

    @staticmethod
    def shown(number: Any) -> float:
        """One of these numbers as a float near it."""
        if not isinstance(number, Dyadics):
            return float(number)
        try:
            return float(Fraction(number.integers.item()) * Fraction(2) ** number.exponent)
        except OverflowError:
            return float("inf") if number > 0 else float("-inf")

    @staticmethod
    def nearest(array: Any) -> np.ndarray:
        """An array of these numbers as floats near them, infinite beyond their range."""
        if not isinstance(array, Dyadics):
            return np.asarray(array, dtype=np.float64)
        bits = max((abs(number).bit_length() for number in array.integers.flat), default=0)
        spare = max(0, bits - 1000)
        with quiet_overflow():
            return np.ldexp((array.integers >> spare).astype(np.float64), array.exponent + spare)

    @property
    def tiny(self) -> Any:
        """What underflow takes from a number at most, generously."""
        return self.error(2.0**-1022)

    @property
    def smallest(self) -> Any:
        """Twice what underflow takes from one product."""
        return self.error(SMALLEST)

    def error(self, size: float) -> Any:
        """A bound on rounding errors, which exact numbers do not have."""
        return Dyadics.of(0) if self.exact else size

    def charge(self, coefficients: Any, size: Any) -> Any:
        """What errors in proportion to |coefficients|'size are charged for, row by row; exact numbers have none."""
        return Dyadics.of(0) if self.exact else abs(coefficients) @ size

    def size(self, number: Any) -> Any:
        """|number|, which what is computed of it may be off by in proportion; nothing in exact numbers."""
        return Dyadics.of(0) if self.exact else abs(number)

    @staticmethod
    def unknown(node: Affine, reach: Sequence[Any]) -> Any:
        """How far an affine node of exact numbers can be from what it stands for where |x_source| <= reach, rounded up;
        None where its numbers are known exactly.
        """
        parts = [
            term.map.magnitude @ reach[term.source]
            for term in node.terms
            if isinstance(term.map, DenseMap) and term.map.magnitude is not None
        ]
        magnitude: Any = node.bias_magnitude
        if magnitude.integers.any():
            parts.append(magnitude)
        return -(-reduce(add, parts)).floor(_DIGITS) if parts else None

    def known(self, bound: Any) -> Any:
        """Lower bounds with -inf, no bound, in place of what overflowed."""
        return bound if self.exact else np.where(np.isfinite(bound), bound, -np.inf)

    def short(self, numbers: Any) -> Any:
        """Numbers that are not larger; exact ones with few digits, which would double at every layer."""
        return numbers.floor(_DIGITS) if self.exact else numbers

    def near(self, numerator: Any, denominator: Any) -> Any:
        """A quotient whose rounding does not matter, for positive denominators."""
        return numerator.quotient(denominator, _DIGITS) if self.exact else numerator / denominator

    def network(self, network: Network, bytes: float) -> Network:
        """A network in these numbers; exact maps are matrices, merged from the graph as read, within so many bytes.

        Raises: CertificateError where those are too large.
        """
        return Exact(network, bytes).network if self.exact else network.put(Placement.numpy())
