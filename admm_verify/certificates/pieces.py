"""Piecewise linear activations: lines through a kink at 0, or through the corners of a clip."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF
from admm_verify.certificates.curves import SLACK
from admm_verify.certificates.lines import CheckedKind, CheckedLines, Chosen, chosen_sides
from admm_verify.certificates.numbers import Numbers


class CheckedKink(CheckedKind):
    """x where x >= 0, else `left` x."""

    kinked = True

    @abstractmethod
    def left(self, numbers: Numbers) -> Any:
        """The slope on the left of the kink, a number or [n]."""

    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        """Below, any slope between left and 1, by CROWN's rule the one of less area; above, the chord."""
        zero, one, left = numbers.number(0), numbers.number(1), self.left(numbers)
        open = (low < 0) & (high > 0)
        stable = np.where(low >= 0, one, left)
        width = high - low
        chord = np.where(open, numbers.near(high - left * low, np.where(open, width, one)), stable)
        # However the slope was rounded, the line is above both ends. What underflow takes is given back, and a width
        # that overflows leaves no line.
        ends = np.maximum((left - chord) * low, (one - chord) * high)
        at = np.where(open, ends + numbers.tiny * (one + width), zero)
        most = np.where(open, one, stable)
        below = np.where(open & (high <= -low), left, most)
        if chosen is not None:
            columns, values = chosen
            below = np.broadcast_to(below, (max(len(below), len(values)), below.shape[1])).copy()
            least = np.where(open, left, stable)
            below[:, columns] = np.minimum(np.maximum(values, least[:, columns]), most[:, columns])
        return CheckedLines(below, None, chord, at)


@dataclass(frozen=True)
class CheckedRelu(CheckedKink):
    """max(x, 0)."""

    rectifies = True
    evaluation_roundings = 0.0

    def left(self, numbers: Numbers) -> Any:
        return numbers.number(0)

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.maximum(low, numbers.number(0)), np.maximum(high, numbers.number(0))

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.where((high > 0) | (low >= 0), 1.0, 0.0)


@dataclass(frozen=True, eq=False)
class CheckedPRelu(CheckedKink):
    """x where x >= 0, else slope x; slope <= 1.

    Shapes: slope [n].
    """

    slope: np.ndarray

    evaluation_roundings = 2.0

    def fault(self) -> str | None:
        return "A prelu with a slope above 1 is not convex" if (self.slope > 1).any() else None

    def left(self, numbers: Numbers) -> Any:
        return self.slope

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        zero, error = numbers.number(0), numbers.error(4 * DOUBLE_ROUNDOFF)
        ends = [np.where(end >= 0, end, self.slope * end) for end in (low, high)]
        slack = [
            np.where(end >= 0, zero, error * abs(value) + numbers.tiny)
            for end, value in zip((low, high), ends, strict=True)
        ]
        down = np.minimum(ends[0] - slack[0], ends[1] - slack[1])
        up = np.maximum(ends[0] + slack[0], ends[1] + slack[1])
        return np.where((low < 0) & (high > 0), np.minimum(down, zero), down), up

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        left = np.where((low < 0) | (high <= 0), np.abs(self.slope), 0.0)
        return np.maximum(left, np.where((high > 0) | (low >= 0), 1.0, 0.0))


@dataclass(frozen=True, eq=False)
class CheckedClip(CheckedKind):
    """min(max(x, least), most).

    Shapes: least, most [n].
    """

    least: np.ndarray
    most: np.ndarray

    evaluation_roundings = 0.0

    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        """Through the corners (l, phi(l)), (a, phi(a)), (b, phi(b)), (u, phi(u)) of the hull of a clip to [a, b]."""
        zero, one = numbers.number(0), numbers.number(1)
        corners = [np.minimum(np.maximum(end, low), high) for end in (self.least, self.most)]
        (a, b), points = corners, [low, *corners, high]
        heights = [self._value(point) for point in points]
        runs, rises = (high - a, b - low), (heights[3] - heights[1], heights[2] - heights[0])
        rising = [
            np.where(run > 0, numbers.near(rise, np.where(run > 0, run, one)), zero)
            for run, rise in zip(runs, rises, strict=True)
        ]
        # Of two edges on one side, the one over the middle; the other one is level.
        rule = np.where(high - a > a - low, rising[0], zero), np.where(high - b > b - low, zero, rising[1])
        below, above = chosen_sides(numbers, rule, chosen, 1.0)
        floors, ceilings = (
            [height - slope * point for height, point in zip(heights, points, strict=True)] for slope in (below, above)
        )
        reach, size = np.maximum(abs(low), abs(high)), abs(heights[0]) + abs(heights[3])
        lost = [numbers.error(SLACK) * (size + slope * reach) + numbers.tiny for slope in (below, above)]
        return CheckedLines(below, reduce(np.minimum, floors) - lost[0], above, reduce(np.maximum, ceilings) + lost[1])

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._value(low), self._value(high)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.where((high > self.least) & (low < self.most), 1.0, 0.0)

    def _value(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(x, self.least), self.most)
