"""Step functions: lines below and above the corners of their closed graphs, in which a jump holds both of its ends."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from admm_verify.certificates.curves import SLACK
from admm_verify.certificates.lines import CheckedKind, CheckedLines, Chosen, chosen_sides
from admm_verify.certificates.numbers import Numbers

_STEEPEST = 2.0**100

Corner = tuple[np.ndarray, np.ndarray]


class CheckedSteps(CheckedKind):
    """An increasing step function."""

    evaluation_roundings = 0.0

    @abstractmethod
    def value(self, numbers: Numbers, x: np.ndarray) -> np.ndarray:
        """phi(x), exact."""

    @abstractmethod
    def jumps(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[Corner, Corner, Corner, Corner]:
        """The lower corners of the first and the last jump in [low, high], then the upper ones; where there is none,
        points of the graph.
        """

    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        """The rule's are those of the hull's edges over the middle."""
        ends = (low, self.value(numbers, low)), (high, self.value(numbers, high))
        first, last, second, final = self.jumps(numbers, low, high)
        middle, zero = (low + high) / 2 if not numbers.exact else low + high, numbers.number(0)
        twice = 1 if not numbers.exact else 2
        below = [_edge(numbers, *pair) for pair in ((first, last), (last, ends[1]))]
        above = [_edge(numbers, *pair) for pair in ((ends[0], second), (second, final))]
        rule = (
            np.where(middle <= twice * first[0], zero, np.where(middle <= twice * last[0], *below)),
            np.where(middle >= twice * final[0], zero, np.where(middle >= twice * second[0], above[1], above[0])),
        )
        slopes = chosen_sides(numbers, rule, chosen, _STEEPEST)
        reach, size = np.maximum(abs(low), abs(high)), abs(ends[0][1]) + abs(ends[1][1])
        floors, ceilings = (
            [q - slope * p for p, q in (*ends, *corners)]
            for slope, corners in zip(slopes, ((first, last), (second, final)), strict=True)
        )
        lost = [numbers.error(SLACK) * (size + slope * reach) + numbers.tiny for slope in slopes]
        return CheckedLines(
            slopes[0], reduce(np.minimum, floors) - lost[0], slopes[1], reduce(np.maximum, ceilings) + lost[1]
        )

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.value(numbers, low), self.value(numbers, high)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """There is none where it jumps."""
        numbers = Numbers(False)
        return np.where(self.value(numbers, low) < self.value(numbers, high), np.inf, 0.0)

    def carried(self, low: np.ndarray, high: np.ndarray, error: np.ndarray) -> np.ndarray:
        """All jumps in reach, where the argument can be off at all."""
        least, most = self.image(Numbers(False), np.nextafter(low, -np.inf), np.nextafter(high, np.inf))
        return np.where(error > 0, most - least, 0.0)


class CheckedJump(CheckedSteps):
    """One jump, at 0."""

    def jumps(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[Corner, Corner, Corner, Corner]:
        at = np.minimum(np.maximum(numbers.number(0), low), high)
        below, above = (at, self.value(numbers, low)), (at, self.value(numbers, high))
        return below, below, above, above


@dataclass(frozen=True)
class CheckedSign(CheckedJump):
    """-1, 0 or 1."""

    def value(self, numbers: Numbers, x: np.ndarray) -> np.ndarray:
        zero, one = numbers.number(0), numbers.number(1)
        return np.where(x > 0, one, np.where(x < 0, -one, zero))


@dataclass(frozen=True, eq=False)
class CheckedHeaviside(CheckedJump):
    """0 or 1, and at_zero at 0.

    Shapes: at_zero [n].
    """

    at_zero: Any

    def fault(self) -> str | None:
        inside = (self.at_zero >= 0) & (self.at_zero <= 1)
        return None if inside.all() else "A heaviside with a value at 0 beyond 0 to 1 does not increase"

    def value(self, numbers: Numbers, x: np.ndarray) -> np.ndarray:
        zero, one = numbers.number(0), numbers.number(1)
        return np.where(x > 0, one, np.where(x < 0, zero, self.at_zero))


class CheckedStairs(CheckedSteps):
    """Whole numbers, each on a step of length 1 that begins `start` behind it."""

    start: float
    curved = True

    def jumps(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[Corner, Corner, Corner, Corner]:
        least, most = self.value(numbers, low), self.value(numbers, high)
        first = np.clip(least + (self.start + 1.0), low, high)
        last = np.maximum(first, np.clip(most + self.start, low, high))
        lower, upper = np.maximum(most - 1.0, least), np.minimum(least + 1.0, most)
        return (first, least), (last, lower), (first, upper), (last, most)


class CheckedFloor(CheckedStairs):
    """The largest whole number that is not above x."""

    start = 0.0

    def value(self, numbers: Numbers, x: np.ndarray) -> np.ndarray:
        return np.floor(x)


class CheckedCeil(CheckedStairs):
    """The least whole number that is not below x."""

    start = -1.0

    def value(self, numbers: Numbers, x: np.ndarray) -> np.ndarray:
        return np.ceil(x)


class CheckedRound(CheckedStairs):
    """The nearest whole number, of two the even one."""

    start = -0.5

    def value(self, numbers: Numbers, x: np.ndarray) -> np.ndarray:
        return np.rint(x)


def _edge(numbers: Numbers, start: Corner, end: Corner) -> np.ndarray:
    """The slope of a segment to the right, 0 where it has no length."""
    run, zero, one = end[0] - start[0], numbers.number(0), numbers.number(1)
    return np.where(run > 0, numbers.near(end[1] - start[1], np.where(run > 0, run, one)), zero)
