"""Smooth activations that are convex and concave by turns: certified heights of lines over an interval, in float64.

On a piece where phi(p) - s p is convex it is at least its tangent at any point of the piece; elsewhere its least value
is at an end of the interval or of a piece. From above it is the same with both signs turned. Nothing hangs on how
slopes and points were found. Where an interval leaves the domain, or phi overflows on it, no line is below or above.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from admm_verify.certificates.curves import SLACK
from admm_verify.certificates.lines import CheckedKind, CheckedLines, Chosen, replaced
from admm_verify.certificates.numbers import Numbers

TINY = 2.0**-1022

_HALVINGS = 30
"""Of the range of slopes, towards that of the best line over the middle."""

Piece = tuple[np.ndarray, np.ndarray]
"""The ends of a piece, equal ones for none."""


class CheckedBends(CheckedKind):
    """phi, whose computed values and derivatives are within 16 roundings, relatively, unless a kind says otherwise."""

    values: tuple[float, float] = (-np.inf, np.inf)
    """Infimum and supremum."""
    inside: ClassVar[float] = 1.0
    """A point of the domain."""

    curved = True

    @abstractmethod
    def value(self, x: np.ndarray) -> np.ndarray:
        """phi(x)."""

    @abstractmethod
    def derivative(self, x: np.ndarray) -> np.ndarray:
        """phi'(x)."""

    @abstractmethod
    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        """The parts of [low, high] where phi is convex, concave where above."""

    @abstractmethod
    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        """Where phi' is near the slope on such a piece."""

    def tangent(self, x: np.ndarray, above: bool) -> np.ndarray:
        """phi'(x), at a kink that of the piece on whose end it is."""
        return self.derivative(x)

    def slope_error(self, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """What a computed derivative is off by at most."""
        return SLACK * np.abs(slope) + TINY

    def value_error(self, x: np.ndarray, value: np.ndarray) -> np.ndarray:
        """What a computed value is off by at most."""
        return SLACK * np.abs(value) + TINY

    def flaw(self, low: np.ndarray, high: np.ndarray) -> np.ndarray | float:
        """What pieces that were computed lose at most."""
        return 0.0

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Where [low, high] is in the domain."""
        return low <= high

    def extremes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        """Points of [low, high] with the least and the greatest value among them."""
        return low, high

    def turns(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        """Points of [low, high] with the least and the greatest derivative among them."""
        return low, high

    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        fine, low, high = self._regular(low, high)
        slopes = np.broadcast_arrays(*self.slopes(low, high))
        below, above = (np.nan_to_num(part) for part in replaced(slopes, chosen))
        floor, ceiling = self._least(low, high, below, False), -self._least(low, high, above, True)
        return CheckedLines(below, np.where(fine, floor, -np.inf), above, np.where(fine, ceiling, np.inf))

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        finite = np.isfinite(low) & np.isfinite(high)
        defined = self.defined(low, high)
        low, high = (np.where(finite & defined, end, self.inside) for end in (low, high))
        found = [(value, self.value_error(x, value)) for x in self.extremes(low, high) for value in (self.value(x),)]
        down = np.minimum.reduce([value - error for value, error in found])
        up = np.maximum.reduce([value + error for value, error in found])
        least, greatest = self.values
        down = np.where(finite & ~np.isnan(down), np.maximum(down, least), least)
        up = np.where(finite & ~np.isnan(up), np.minimum(up, greatest), greatest)
        return np.where(defined, down, -np.inf), np.where(defined, up, np.inf)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        fine, low, high = self._regular(low, high)
        found = [
            np.abs(slope) + self.slope_error(x, slope) for x in self.turns(low, high) for slope in (self.derivative(x),)
        ]
        most = np.maximum.reduce(found)
        return np.where(fine & ~np.isnan(most), most, np.inf)

    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the lines that are best over the middle: there the touching point is on it, or jumps over it."""
        ends = self.slope_range(low, high)
        return self._best(low, high, ends, False), self._best(low, high, ends, True)

    def slope_range(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest phi' on [low, high], as computed."""
        slopes = [self.derivative(x) for x in self.turns(low, high)]
        return np.minimum.reduce(slopes), np.maximum.reduce(slopes)

    def _best(self, low: np.ndarray, high: np.ndarray, ends: Piece, above: bool) -> np.ndarray:
        middle, (start, end) = low / 2 + high / 2, ends
        for _ in range(_HALVINGS):
            slope = start / 2 + end / 2
            points = [low, high, *self._touching(low, high, slope, above)]
            heights = np.stack([self.value(p) - slope * (p - middle) for p in points])
            place = (-heights if above else heights).argmin(axis=0)
            touched = np.take_along_axis(np.stack(points), place[None], axis=0)[0]
            steeper = (touched < middle) != above
            start, end = np.where(steeper, slope, start), np.where(steeper, end, slope)
        return start / 2 + end / 2

    def _touching(self, low: np.ndarray, high: np.ndarray, slope: np.ndarray, above: bool) -> list[np.ndarray]:
        pieces = self.pieces(low, high, above)
        return [np.clip(self.inverse(slope, *piece, above), *piece) for piece in pieces]

    def _least(self, low: np.ndarray, high: np.ndarray, slope: np.ndarray, above: bool) -> np.ndarray:
        """A number below phi(p) - slope p over [low, high]; where above, below slope p - phi(p)."""
        sign = -1.0 if above else 1.0
        reach = np.maximum(np.abs(low), np.abs(high))

        def level(p: np.ndarray) -> np.ndarray:
            value = self.value(p)
            return (
                sign * (value - slope * p)
                - self.value_error(p, value)
                - SLACK * (np.abs(value) + np.abs(slope) * reach)
            )

        found = [level(low), level(high)]
        for (start, end), t in zip(self.pieces(low, high, above), self._touching(low, high, slope, above), strict=True):
            steep = self.tangent(t, above)
            charge = self.slope_error(t, steep) + SLACK * np.abs(slope)
            tilt = sign * (steep - slope)
            drop = np.minimum((tilt + charge) * (start - t), (tilt - charge) * (end - t))
            found.append(level(t) + (1.0 + SLACK) * np.minimum(drop, 0.0))
        return np.minimum.reduce(found) - self.flaw(low, high) - 2.0**-1000

    def _regular(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where phi is defined and finite on [low, high], and ends of which that holds everywhere."""
        fine = np.isfinite(low) & np.isfinite(high) & self.defined(low, high)
        low, high = (np.where(fine, end, self.inside) for end in (low, high))
        finite = np.isfinite(self.value(low)) & np.isfinite(self.value(high))
        return fine & finite, np.where(finite, low, self.inside), np.where(finite, high, self.inside)


class CheckedArch(CheckedBends):
    """phi is convex on all of an interval, or concave on all of it."""

    @abstractmethod
    def convex(self, low: np.ndarray) -> np.ndarray:
        """Where it is convex."""

    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        return ((np.where(self.convex(low) == above, high, low), high),)

    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The chord's on one side, that of the tangent in the middle on the other."""
        convex, tangent = self.convex(low), self.derivative(low / 2 + high / 2)
        run = high - low
        slope = (self.value(high) - self.value(low)) / np.where(run > 0, run, 1.0)
        chord = np.where(run > 0, slope, tangent)
        return np.where(convex, tangent, chord), np.where(convex, chord, tangent)


class CheckedExp(CheckedArch):
    """exp(x)."""

    values = (0.0, np.inf)
    inside = 0.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.exp(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return np.exp(x)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        return np.log(np.maximum(slope, TINY))

    def convex(self, low: np.ndarray) -> np.ndarray:
        return np.ones(low.shape, dtype=bool)


class CheckedLog(CheckedArch):
    """The natural logarithm."""

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.log(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 1.0 / x

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        return 1.0 / np.maximum(slope, TINY)

    def convex(self, low: np.ndarray) -> np.ndarray:
        return np.zeros(low.shape, dtype=bool)

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return low > 0


class CheckedSqrt(CheckedArch):
    """The square root; no line of finite slope touches it from above at 0."""

    values = (0.0, np.inf)

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 0.5 / np.sqrt(np.maximum(x, TINY))

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        return np.maximum((0.5 / np.maximum(slope, TINY)) ** 2, TINY)

    def convex(self, low: np.ndarray) -> np.ndarray:
        return np.zeros(low.shape, dtype=bool)

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return low >= 0

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.where(low < TINY, np.inf, super().gain(low, high))

    def carried(self, low: np.ndarray, high: np.ndarray, error: np.ndarray) -> np.ndarray:
        """At most the root of the error, also next to 0."""
        return np.fmin(super().carried(low, high, error), np.sqrt(error))


class CheckedSquare(CheckedArch):
    """x^2."""

    values = (0.0, np.inf)
    evaluation_roundings = 4.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return x * x

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 2.0 * x

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        return slope / 2

    def convex(self, low: np.ndarray) -> np.ndarray:
        return np.ones(low.shape, dtype=bool)

    def extremes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, np.clip(0.0, low, high)


class CheckedReciprocal(CheckedArch):
    """1 / x on one side of 0."""

    def value(self, x: np.ndarray) -> np.ndarray:
        return 1.0 / x

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return -1.0 / (x * x)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        return np.copysign(1.0 / np.sqrt(np.maximum(-slope, TINY)), start)

    def convex(self, low: np.ndarray) -> np.ndarray:
        return low > 0

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low > 0) | (high < 0)
