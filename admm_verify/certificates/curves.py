"""Activations with curves: for any slope, certified heights of the lines below and above over an interval, in float64.

All are increasing, and convex up to a point from which they are straight or concave. Where h(p) = phi(p) - s p is
convex, h(p) >= h(t) + h'(t) (p - t) for any t there; elsewhere its least value is at an end. Nothing hangs on how t was
found, and computed values and derivatives are charged more than they can be off by.
"""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF
from admm_verify.certificates.lines import CheckedKind, CheckedLines, Chosen, chosen_sides
from admm_verify.certificates.numbers import Numbers

SLACK = 64 * DOUBLE_ROUNDOFF
"""Computed values and derivatives of curves are within 8 roundings, relatively; the rest is for sums of a few."""

_TINY = 2.0**-1022


class CheckedCurve(CheckedKind):
    """phi, whose computed values and derivatives are within 8 roundings, relatively, unless they underflow.

    values: infimum and supremum. steepest: the supremum of phi'. bend: up to where phi is convex and smooth.
    """

    values: tuple[float, float]
    steepest: float
    bend: float

    curved = True

    @abstractmethod
    def value(self, x: np.ndarray) -> np.ndarray:
        """phi(x)."""

    @abstractmethod
    def derivative(self, x: np.ndarray) -> np.ndarray:
        """phi'(x), relatively accurate; the left one where there are two."""

    @abstractmethod
    def inverse(self, slope: np.ndarray) -> np.ndarray:
        """The x up to the bend where phi' is near the slope, infinite where there is none."""

    @abstractmethod
    def ceiling(self, low: np.ndarray, high: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """A number above max of phi(p) - slope p over [low, high]."""

    @abstractmethod
    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of good lines below and above."""

    def floor(self, low: np.ndarray, high: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """A number below min of phi(p) - slope p over [low, high]."""
        end = np.clip(self.bend, low, high)
        t = np.clip(self.inverse(slope), low, end)
        steep, value = self.derivative(t), self.value(t)
        charge = SLACK * steep + _TINY
        drop = np.minimum((steep - slope + charge) * (low - t), (steep - slope - charge) * (end - t))
        at_end, last = self.value(end), self.value(high)
        least = np.minimum(at_end - slope * end, last - slope * high)
        least = np.minimum(least, value - slope * t + np.minimum(drop, 0.0))
        reach = np.maximum(np.abs(low), np.abs(high))
        size = np.abs(value) + np.abs(at_end) + np.abs(last)
        return least - SLACK * (size + (slope + steep) * reach) - 2.0**-1000

    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        below, above = chosen_sides(numbers, self.slopes(low, high), chosen, self.steepest)
        return CheckedLines(below, self.floor(low, high, below), above, self.ceiling(low, high, above))

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        down, up = self.value(low), self.value(high)
        least, greatest = self.values
        down, up = down - (SLACK * np.abs(down) + _TINY), up + (SLACK * np.abs(up) + _TINY)
        return np.maximum(down, least), np.minimum(up, greatest)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        steep = self.derivative(np.clip(self.bend, low, high)) * (1.0 + SLACK) + _TINY
        return np.minimum(steep, self.steepest)


def _chord(curve: CheckedCurve, start: np.ndarray, end: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """The slope of a chord, or what is given where it has no length."""
    run = end - start
    return np.where(run > 0, (curve.value(end) - curve.value(start)) / np.where(run > 0, run, 1.0), otherwise)


class Convex(CheckedCurve):
    """phi is convex everywhere; beyond the bend it is a line."""

    def ceiling(self, low: np.ndarray, high: np.ndarray, slope: np.ndarray) -> np.ndarray:
        ends = [(self.value(end), end) for end in (low, high)]
        size = sum(np.abs(value) + slope * np.abs(end) for value, end in ends)
        top = np.maximum(*(value - slope * end for value, end in ends))
        return top + SLACK * size + 2.0**-1000

    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tangent = self.derivative(low / 2 + high / 2)
        return tangent, _chord(self, low, high, tangent)


@dataclass(frozen=True)
class CheckedSoftplus(Convex):
    """log(1 + exp(x))."""

    values = (0.0, np.inf)
    steepest = 1.0
    bend = np.inf

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return _sigmoid(x)

    def inverse(self, slope: np.ndarray) -> np.ndarray:
        return np.log(slope) - np.log1p(-slope)


@dataclass(frozen=True, eq=False)
class CheckedElu(Convex):
    """x where x >= 0, else alpha (exp(x) - 1); 0 < alpha <= 1.

    Shapes: alpha [n].
    """

    alpha: np.ndarray

    values = (-1.0, np.inf)
    steepest = 1.0
    bend = 0.0

    def fault(self) -> str | None:
        inside = (self.alpha > 0) & (self.alpha <= 1)
        return None if inside.all() else "An elu with an alpha beyond 0 to 1 is not convex"

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.where(x >= 0, x, self.alpha * np.expm1(np.minimum(x, 0.0)))

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, 1.0, self.alpha * np.exp(np.minimum(x, 0.0)))

    def inverse(self, slope: np.ndarray) -> np.ndarray:
        return np.log(slope / self.alpha)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        # On the right of 0 the slope is 1, however small alpha is.
        return np.where(high >= 0, 1.0, super().gain(low, high))


class CheckedSShape(CheckedCurve):
    """phi is convex left of 0, and phi(-x) = 2 phi(0) - phi(x): scale sigmoid(rate x) + shift."""

    rate: float
    bend = 0.0

    def derivative(self, x: np.ndarray) -> np.ndarray:
        small = np.exp(-np.abs(self.rate * x))
        return 4.0 * self.steepest * small / ((1.0 + small) * (1.0 + small))

    def inverse(self, slope: np.ndarray) -> np.ndarray:
        """log(r) - 2 log(1 + sqrt(1 - r)) over the rate."""
        ratio = np.clip(slope / self.steepest, _TINY, 1.0)
        return (np.log(ratio) - 2.0 * np.log1p(np.sqrt(1.0 - ratio))) / self.rate

    def ceiling(self, low: np.ndarray, high: np.ndarray, slope: np.ndarray) -> np.ndarray:
        # The graph is symmetric about (0, phi(0)), so the line above is one below, turned over.
        top = 2.0 * self.value(np.zeros(1)) - self.floor(-high, -low, slope)
        return top + SLACK * (1.0 + np.abs(top))

    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._slope(low, high), self._slope(-high, -low)

    def _slope(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The slope of a good line below: of the tangent at the middle, or of the hull's chord where that is there.

        The chord's left end is the t <= 0 with phi'(t) (high - t) = phi(high) - phi(t), by fixed point iteration.
        """
        top, t = np.maximum(high, 0.0), np.zeros_like(high)
        for _ in range(6):
            rise = _chord(self, t, top, np.full_like(top, self.steepest))
            t = np.clip(self.inverse(np.maximum(rise, self.derivative(top))), -top, 0.0)
        start, middle = (
            np.clip(np.where(high > 0, t, high), low, np.maximum(low, np.minimum(high, 0.0))),
            low / 2 + high / 2,
        )
        chord = _chord(self, start, high, np.zeros_like(high))
        return np.where((middle < start) | ~(high > start), self.derivative(middle), chord)


@dataclass(frozen=True)
class CheckedSigmoid(CheckedSShape):
    """1 / (1 + exp(-x))."""

    values = (0.0, 1.0)
    steepest = 0.25
    rate = 1.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return _sigmoid(x)


@dataclass(frozen=True)
class CheckedTanh(CheckedSShape):
    """tanh(x) = 2 sigmoid(2 x) - 1."""

    values = (-1.0, 1.0)
    steepest = 1.0
    rate = 2.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)
