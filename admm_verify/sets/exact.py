"""Boxes in exact rational numbers, as a query states them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.rationals import directed, nearest_float
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box


@dataclass(frozen=True, slots=True, repr=False)
class ExactBox:
    """lower <= x <= upper on the flat input, exactly; strict ends are indices where equality is excluded."""

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    strict_lower: frozenset[int] = frozenset()
    strict_upper: frozenset[int] = frozenset()

    __repr__ = short_repr

    @classmethod
    def of(cls, box: Box) -> "ExactBox":
        """The very numbers of a box [n] of floats."""
        lower, upper = (tuple(Fraction(float(value)) for value in to_numpy(end)) for end in box.range)
        return cls(lower, upper)

    @classmethod
    def point(cls, x: tuple[Fraction, ...]) -> "ExactBox":
        """The box that holds one point alone."""
        return cls(x, x)

    def holds(self, x: Sequence[Fraction]) -> bool:
        """Whether x lies in the box, exactly."""
        inside = all(low <= value <= high for low, value, high in zip(self.lower, x, self.upper, strict=True))
        return (
            inside
            and all(x[i] > self.lower[i] for i in self.strict_lower)
            and all(x[i] < self.upper[i] for i in self.strict_upper)
        )

    @property
    def size(self) -> int:
        """The number of inputs."""
        return len(self.lower)

    def fixes(self, index: int) -> bool:
        """Whether x_i has one value."""
        return self.lower[index] == self.upper[index]

    def reach(self, index: int) -> Fraction:
        """max |x_i| over the box."""
        return max(abs(self.lower[index]), abs(self.upper[index]))

    @property
    def range(self) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
        """Lower and upper ends."""
        return self.lower, self.upper

    @property
    def enclosure(self) -> Box:
        """The smallest box of float64 numbers around this one, [inputs]; infinite ends where there are none."""
        return Box.of(directed(self.lower, np.float64, up=False), directed(self.upper, np.float64, up=True))

    @property
    def inside(self) -> Box:
        """The float64 numbers in the box, [n]; the ends around it on sides without any, as around 0.1."""
        (lower, upper), outer = self._inner(np.float64), self.enclosure
        some = lower <= upper
        return Box.of(np.where(some, lower, outer.lower), np.where(some, upper, outer.upper))

    def around(self, x: np.ndarray) -> Box:
        """The smallest box that holds a point of this one near x [n] for certain: x itself wherever it is one."""
        (lower, upper), outer = self._inner(np.float64), self.enclosure
        some, x = lower <= upper, np.clip(x, lower, upper)
        return Box.of(np.where(some, x, outer.lower), np.where(some, x, outer.upper))

    def times(self, other: "ExactBox") -> "ExactBox":
        """The product with another box: the sides of both, without strict ends."""
        return ExactBox((*self.lower, *other.lower), (*self.upper, *other.upper))

    def least(self, terms: Iterable[tuple[int, Fraction]]) -> Fraction:
        """min over the box, its ends included, of the sum of coefficients times entries."""
        return sum((value * (self.lower if value > 0 else self.upper)[i] for i, value in terms), Fraction(0))

    def project(self, x: Iterable[Fraction]) -> tuple[Fraction, ...]:
        """The nearest point of the box, its ends included."""
        return tuple(min(max(low, value), high) for low, value, high in zip(self.lower, x, self.upper, strict=True))

    @property
    def lowest(self) -> np.ndarray:
        """The lower ends as the nearest float64 numbers, [inputs]."""
        return np.array([nearest_float(value) for value in self.lower])

    def nearest(self, x: np.ndarray, dtype: type[np.floating]) -> tuple[Fraction, ...] | None:
        """The nearest point to x of numbers of a type; one of few decimals on a side that holds none of these.

        None where x is NaN or infinite.
        Shapes: x [inputs].
        """
        lower, upper = self._inner(dtype)
        with quiet_overflow():
            near = np.minimum(np.maximum(x.astype(dtype), lower), upper)
        there = lower <= upper
        if not np.isfinite(near[there]).all():
            return None
        return tuple(
            Fraction(float(near[i])) if there[i] else _between(self.lower[i], self.upper[i]) for i in range(len(near))
        )

    def _inner(self, dtype: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
        """The ends of the largest box of `dtype` numbers inside; lower > upper where there is none."""
        lower, upper = directed(self.lower, dtype, up=True), directed(self.upper, dtype, up=False)
        infinity = dtype(np.inf)
        for i in self.strict_lower:
            if Fraction(float(lower[i])) == self.lower[i]:
                lower[i] = np.nextafter(lower[i], infinity)
        for i in self.strict_upper:
            if Fraction(float(upper[i])) == self.upper[i]:
                upper[i] = np.nextafter(upper[i], -infinity)
        return lower, upper


def _between(lower: Fraction, upper: Fraction) -> Fraction:
    """The one number of an interval, or one of few decimals that lies inside and is neither end."""
    digits = 0
    while lower < upper and Fraction(1, 10**digits) >= upper - lower:
        digits += 1
    return round((lower + upper) / 2, digits) if lower < upper else lower
