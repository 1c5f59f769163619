"""Batched interval arithmetic, rounded outward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from admm_verify.enclosures.arithmetic import Arithmetic, Operand
from admm_verify.errors import InputError

ELEMENTARY_ERROR = 2.0**-49
"""Bound on the error of the library's elementary functions: relative for exp, tan and tanh, absolute for sin and cos.

Sixteen units in the last place, where NumPy's own (libm, SVML) stay within four.
"""

_LARGEST_ANGLE = 2.0**20
"""Beyond this, sin and cos are only known to lie in [-1, 1], and nothing is known of tan."""

_TURN_ERROR = 2.0**-32
"""Turns are off by a few roundings of at most 2^18: an extremum so near to an end is taken to be inside."""


def below(x: float | np.ndarray) -> np.ndarray:
    """The next smaller float64."""
    return np.nextafter(x, -np.inf)


def above(x: float | np.ndarray) -> np.ndarray:
    """The next larger float64."""
    return np.nextafter(x, np.inf)


@dataclass(frozen=True, eq=False)
class Interval(Operand):
    """All x with lower <= x <= upper, one interval per entry.

    Results hold every value that the operation takes; where that is not known they are the whole line. NumPy may
    warn of overflow and NaN on the way, which callers quieten.
    Shapes: lower, upper alike, any shape; operations broadcast.
    Error: rounded outward.
    Reference: Moore, Kearfott and Cloud, Introduction to Interval Analysis, chapters 2 and 5.
    """

    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def point(cls, value: float | np.ndarray) -> "Interval":
        """The interval that holds one float64."""
        array = np.asarray(value, dtype=np.float64)
        return cls(array, array)

    @classmethod
    def of(cls, value: Any) -> "Interval | None":
        """What stands for an interval: one, or numbers; None where it does not."""
        if isinstance(value, cls):
            return value
        return cls.point(np.asarray(value)) if isinstance(value, int | float | np.ndarray | np.floating) else None

    @classmethod
    def number(cls, value: Fraction) -> "Interval":
        """The smallest interval that holds an exact number.

        Raises: InputError for numbers beyond the range of float64.
        """
        try:
            near = float(value)
        except OverflowError:
            raise InputError("A number is too large for float64; give numbers below 1e308.") from None
        exact = Fraction(near)
        lower = near if exact <= value else below(near)
        upper = near if exact >= value else above(near)
        return cls(np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64))

    @classmethod
    def _sorted(cls, lower: np.ndarray, upper: np.ndarray) -> "Interval":
        """With NaN turned into the whole line."""
        bad = np.isnan(lower) | np.isnan(upper)
        if not bad.any():
            return cls(lower, upper)
        return cls(np.where(bad, -np.inf, lower), np.where(bad, np.inf, upper))

    @property
    def middle(self) -> np.ndarray:
        """A float64 near the centre."""
        return 0.5 * self.lower + 0.5 * self.upper

    @property
    def radius(self) -> np.ndarray:
        """An upper bound of the distance from `middle` to both ends."""
        middle = self.middle
        return np.where(
            self.lower == self.upper,
            np.abs(middle - self.lower),
            above(np.maximum(self.upper - middle, middle - self.lower)),
        )

    @property
    def magnitude(self) -> np.ndarray:
        """max |x|."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    def hull(self, other: "Interval") -> "Interval":
        """The smallest interval that holds both."""
        return Interval(np.minimum(self.lower, other.lower), np.maximum(self.upper, other.upper))

    def contains(self, other: "Interval") -> np.ndarray:
        """Where the other interval lies inside this one."""
        return (self.lower <= other.lower) & (other.upper <= self.upper)

    def where(self, condition: np.ndarray, other: "Interval") -> "Interval":
        """This interval where the condition holds, else the other."""
        return Interval(np.where(condition, self.lower, other.lower), np.where(condition, self.upper, other.upper))

    def __add__(self, other: "Interval | float") -> "Interval":
        right = Interval.of(other)
        if right is None:
            return NotImplemented
        return self._sorted(below(self.lower + right.lower), above(self.upper + right.upper))

    def __neg__(self) -> "Interval":
        return Interval(-self.upper, -self.lower)

    def __mul__(self, other: "Interval | float") -> "Interval":
        right = Interval.of(other)
        if right is None:
            return NotImplemented
        a, b, c, d = self.lower, self.upper, right.lower, right.upper
        low, high = _around(a * c, a * d, b * c, b * d)
        if np.isnan(low).any():
            low, high = _around(_product(a, c), _product(a, d), _product(b, c), _product(b, d))
        return self._sorted(low, high)

    def square(self) -> "Interval":
        """x^2."""
        large = self.magnitude
        small = np.where(self.lower > 0, self.lower, np.where(self.upper < 0, -self.upper, 0.0))
        return self._sorted(np.maximum(below(small * small), 0.0), above(large * large))

    def coordinate(self, index: int) -> "Interval":
        """The intervals of one coordinate, [..., n] -> [...]."""
        return Interval(self.lower[..., index], self.upper[..., index])

    def coordinates(self) -> list["Interval"]:
        """The intervals of every coordinate."""
        return [self.coordinate(i) for i in range(self.lower.shape[-1])]

    @classmethod
    def stack(cls, parts: Sequence["Interval"]) -> "Interval":
        """Intervals [...] side by side, [..., n]."""
        return cls(np.stack([p.lower for p in parts], axis=-1), np.stack([p.upper for p in parts], axis=-1))

    def __truediv__(self, other: "Interval | float") -> "Interval":
        """x / y; the whole line where y can be 0."""
        right = Interval.of(other)
        if right is None:
            return NotImplemented
        zero = (right.lower <= 0) & (right.upper >= 0)
        c, d = np.where(zero, 1.0, right.lower), np.where(zero, 1.0, right.upper)
        a, b = self.lower, self.upper
        low, high = _around(a / c, a / d, b / c, b / d)
        return self._sorted(np.where(zero, -np.inf, low), np.where(zero, np.inf, high))

    def __rtruediv__(self, other: float) -> "Interval":
        left = Interval.of(other)
        return NotImplemented if left is None else left / self

    def sin(self) -> "Interval":
        """sin x, with the extrema between the ends."""
        return self._wave(np.sin, 0.25)

    def cos(self) -> "Interval":
        """cos x, with the extrema between the ends."""
        return self._wave(np.cos, 0.0)

    def exp(self) -> "Interval":
        """e^x."""
        low, high = _increasing(np.exp, self)
        return Interval(np.maximum(low, 0.0), high)

    def tanh(self) -> "Interval":
        """tanh x."""
        low, high = _increasing(np.tanh, self)
        return Interval(np.maximum(low, -1.0), np.minimum(high, 1.0))

    def sqrt(self) -> "Interval":
        """The square root; the whole line where x can be negative."""
        bad = self.lower < 0
        low, high = np.sqrt(np.where(bad, 0.0, self.lower)), np.sqrt(np.where(bad, 0.0, self.upper))
        return self._sorted(np.where(bad, -np.inf, np.maximum(below(low), 0.0)), np.where(bad, np.inf, above(high)))

    def tan(self) -> "Interval":
        """tan x; the whole line where there may be a pole."""
        huge = ~((self.lower >= -_LARGEST_ANGLE) & (self.upper <= _LARGEST_ANGLE))
        lower, upper = np.where(huge, 0.0, self.lower), np.where(huge, 0.0, self.upper)
        # Of the half turns between two poles, both ends are in the same one for certain.
        starts, ends = lower / np.pi - 0.5 - _TURN_ERROR, upper / np.pi - 0.5 + _TURN_ERROR
        bad = huge | (np.floor(starts) != np.floor(ends))
        low, high = _increasing(np.tan, Interval(lower, upper))
        return Interval(np.where(bad, -np.inf, low), np.where(bad, np.inf, high))

    def abs(self) -> "Interval":
        """|x|."""
        least = np.maximum(np.maximum(self.lower, -self.upper), 0.0)
        return self._sorted(least, self.magnitude)

    def max(self, other: Any) -> Any:
        """The larger of x and y."""
        right = Interval.of(other)
        if right is None:
            return other.max(self)
        return self._sorted(np.maximum(self.lower, right.lower), np.maximum(self.upper, right.upper))

    def min(self, other: Any) -> Any:
        """The smaller of x and y."""
        return -(-self).max(-other)

    def _wave(self, function: Callable[[np.ndarray], np.ndarray], top: float) -> "Interval":
        """A wave whose maxima lie at 2 pi (k + top) and whose minima half a turn later."""
        huge = ~((self.lower >= -_LARGEST_ANGLE) & (self.upper <= _LARGEST_ANGLE))
        lower, upper = np.where(huge, 0.0, self.lower), np.where(huge, 0.0, self.upper)
        first, last = function(lower), function(upper)
        low = np.maximum(np.minimum(first, last) - ELEMENTARY_ERROR, -1.0)
        high = np.minimum(np.maximum(first, last) + ELEMENTARY_ERROR, 1.0)
        starts, ends = lower / (2.0 * np.pi) - _TURN_ERROR, upper / (2.0 * np.pi) + _TURN_ERROR
        peak = np.floor(ends - top) >= np.ceil(starts - top)
        trough = np.floor(ends - top - 0.5) >= np.ceil(starts - top - 0.5)
        return Interval(np.where(huge | trough, -1.0, low), np.where(huge | peak, 1.0, high))


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x y with 0 inf = 0, which is what ends of intervals mean."""
    product = x * y
    return np.where((x == 0) | (y == 0), 0.0, product)


def _around(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest of four numbers, rounded outward."""
    low, high = np.minimum(np.minimum(a, b), np.minimum(c, d)), np.maximum(np.maximum(a, b), np.maximum(c, d))
    return below(low), above(high)


def _increasing(function: Callable[[np.ndarray], np.ndarray], x: Interval) -> tuple[np.ndarray, np.ndarray]:
    largest, tiny = np.finfo(np.float64).max, np.finfo(np.float64).smallest_normal
    first, last = np.minimum(function(x.lower), largest), function(x.upper)
    return first - (ELEMENTARY_ERROR * np.abs(first) + tiny), last + (ELEMENTARY_ERROR * np.abs(last) + tiny)


PI = Interval(np.asarray(np.pi), above(np.asarray(np.pi)))
"""pi lies between its nearest float64, which is below it, and the next."""

ENCLOSURES: Arithmetic[Any] = Arithmetic.of_methods(Interval.number, PI)
"""Evaluation over intervals and over affine forms; constants are intervals until they meet a form."""
