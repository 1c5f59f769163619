"""How far a program in float64 is from the expressions that it evaluates, over intervals of their variables."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST
from admm_verify.enclosures.arithmetic import Arithmetic, Operand
from admm_verify.enclosures.intervals import ELEMENTARY_ERROR, PI, Interval

_UP = 1.0 + 2.0**-45
"""More than what the few roundings of one error term lose."""


@dataclass(frozen=True, eq=False)
class Rounded(Operand):
    """Values x in real numbers and as computed in float64, x^: both lie in the interval, |x^ - x| <= error.

    A program that takes the operations in the order of the expression, each rounded to nearest, is meant; elementary
    functions are as far off as `ELEMENTARY_ERROR` says.
    Reference: Higham, Accuracy and Stability of Numerical Algorithms, chapters 2 and 3 (running error analysis).
    """

    interval: Interval
    error: np.ndarray

    @classmethod
    def exact(cls, interval: Interval) -> "Rounded":
        """Variables, which are what they are in both."""
        return cls(interval, np.zeros_like(interval.lower))

    @classmethod
    def number(cls, value: Fraction) -> "Rounded":
        """The nearest float to an exact number."""
        return cls._of(Interval.number(value), 0.0, 1.0)

    @classmethod
    def _of(cls, interval: Interval, carried: np.ndarray | float, roundings: float) -> "Rounded":
        """A result in an interval of exact operations on what was computed, with errors carried over and its own."""
        own = roundings * DOUBLE_ROUNDOFF * interval.magnitude + SMALLEST
        error = (carried + own) * _UP
        wide = Interval(interval.lower - error, interval.upper + error)
        return cls(Interval(np.nextafter(wide.lower, -np.inf), np.nextafter(wide.upper, np.inf)), error)

    def __add__(self, other: "Rounded") -> "Rounded":
        return self._of(self.interval + other.interval, self.error + other.error, 1.0)

    def __neg__(self) -> "Rounded":
        return Rounded(-self.interval, self.error)

    def __mul__(self, other: "Rounded") -> "Rounded":
        # x y - x^ y^ = x (y - y^) + y^ (x - x^).
        carried = self.interval.magnitude * other.error + other.interval.magnitude * self.error
        return self._of(self.interval * other.interval, carried, 1.0)

    def square(self) -> "Rounded":
        """x^2."""
        return self._of(self.interval.square(), 2.0 * self.interval.magnitude * self.error, 1.0)

    def __truediv__(self, other: "Rounded") -> "Rounded":
        # x / y - x^ / y^ = (x - x^) / y + (x^ / y^) (y^ - y) / y.
        over = (Interval.point(1.0) / other.interval).magnitude
        quotient = self.interval / other.interval
        return self._of(quotient, (self.error + quotient.magnitude * other.error) * over, 1.0)

    def sin(self) -> "Rounded":
        """sin x."""
        return self._of(self.interval.sin(), self.error + ELEMENTARY_ERROR, 0.0)

    def cos(self) -> "Rounded":
        """cos x."""
        return self._of(self.interval.cos(), self.error + ELEMENTARY_ERROR, 0.0)

    def exp(self) -> "Rounded":
        """e^x."""
        found = self.interval.exp()
        return self._of(found, found.magnitude * (self.error + ELEMENTARY_ERROR), 0.0)

    def tanh(self) -> "Rounded":
        """tanh x."""
        return self._of(self.interval.tanh(), self.error + ELEMENTARY_ERROR, 0.0)

    def sqrt(self) -> "Rounded":
        """The square root, whose slope is 1 / (2 sqrt x)."""
        found = self.interval.sqrt()
        return self._of(found, self.error * (0.5 / found).magnitude, 1.0)

    def tan(self) -> "Rounded":
        """tan x, whose slope is 1 + tan^2 x."""
        found = self.interval.tan()
        slope = (found.square() + 1.0).magnitude
        return self._of(found, self.error * slope + ELEMENTARY_ERROR * found.magnitude, 0.0)

    def abs(self) -> "Rounded":
        """|x|."""
        return Rounded(self.interval.abs(), self.error)

    def max(self, other: "Rounded") -> "Rounded":
        """The larger of x and y."""
        return Rounded(self.interval.max(other.interval), np.maximum(self.error, other.error))

    def min(self, other: "Rounded") -> "Rounded":
        """The smaller of x and y."""
        return Rounded(self.interval.min(other.interval), np.maximum(self.error, other.error))


ROUNDED: Arithmetic[Rounded] = Arithmetic.of_methods(Rounded.number, Rounded(PI, np.asarray(DOUBLE_ROUNDOFF * 4.0)))
"""Evaluation with the errors of float64; pi is its nearest float."""
