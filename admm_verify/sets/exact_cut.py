"""What a query leaves of an exact box: linear inequalities between inputs, and a set of floats that holds them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from admm_verify.rationals import is_float
from admm_verify.reprs import short_repr
from admm_verify.sets.contract import WalkableSet

Terms = tuple[tuple[int, Fraction], ...]
"""Coefficients of some entries."""

_ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Inequality:
    """The constraint sum of coefficient * v[index] + constant <= 0 (< 0 when strict) on a flat vector v.

    line is where it stands in the file and makes no difference. Coefficients of one entry are added up.
    """

    terms: Terms
    constant: Fraction
    strict: bool
    line: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", summed(self.terms))

    def __hash__(self) -> int:
        # Hashing a Fraction takes a modular inverse; its two integers serve as well.
        numbers = [(index, value.numerator, value.denominator) for index, value in self.terms]
        return hash((*numbers, self.constant.numerator, self.constant.denominator, self.strict))

    def value(self, v: Sequence[Fraction]) -> Fraction:
        """The left-hand side at v, exactly."""
        return sum((coefficient * v[index] for index, coefficient in self.terms), self.constant)

    def admits(self, value: Fraction) -> bool:
        """Whether a left-hand side of this value satisfies the constraint."""
        return value < 0 if self.strict else value <= 0


@dataclass(frozen=True, repr=False)
class ExactCut:
    """The points of a box where all rows hold, exactly, and that lie in a set of float64 numbers, where there is one.

    Shapes: within [1, inputs].
    """

    rows: tuple[Inequality, ...] = ()
    within: WalkableSet | None = None

    __repr__ = short_repr

    def holds(self, x: Sequence[Fraction]) -> bool:
        """Whether a point of the box is one of these, exactly; never for what is no float64, where a set is asked."""
        point = self._told(x)
        return point is not None and (self.within is None or bool(self.within.contains(point)[0]))

    def found(self, x: Sequence[Fraction]) -> bool:
        """`holds` where that is told soon; else, close to the border of a set, no."""
        point = self._told(x)
        return point is not None and (self.within is None or bool(self.within.found_inside(point)[0]))

    def _told(self, x: Sequence[Fraction]) -> np.ndarray | None:
        """A point [1, inputs] that the set has to tell of, if there is one; None for what rows or numbers exclude."""
        if not all(row.admits(row.value(x)) for row in self.rows):
            return None
        if self.within is None:
            return np.zeros((1, len(x)))
        return np.array([[float(value) for value in x]]) if all(map(is_float, x)) else None


def summed(terms: Terms) -> Terms:
    """Terms with the coefficients of one entry added up."""
    if len(dict(terms)) == len(terms):
        return terms
    total: dict[int, Fraction] = {}
    for index, coefficient in terms:
        total[index] = total.get(index, Fraction(0)) + coefficient
    return tuple(total.items())


def scaling(terms: Terms) -> tuple[Fraction, bool]:
    """A positive number whose products with the coefficients are all float64 numbers, and whether that is so: where
    there is none, it is 1.
    """
    if all(is_float(coefficient) for _, coefficient in terms):
        return _ONE, True
    # Whole numbers without a common divisor are exact wherever any multiple of the coefficients is.
    scale = Fraction(lcm(*(c.denominator for _, c in terms)), gcd(*(c.numerator for _, c in terms)))
    if all(is_float(coefficient * scale) for _, coefficient in terms):
        return scale, True
    return _ONE, False
