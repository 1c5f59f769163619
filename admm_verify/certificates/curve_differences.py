"""Differences of two values of an S-shaped curve: D = n' - n times a slope that the curve has between n and n'."""

from functools import reduce
from typing import ClassVar

import numpy as np

from admm_verify.certificates.curves import SLACK, CheckedSigmoid, CheckedSShape, CheckedTanh
from admm_verify.certificates.differences import operands_of
from admm_verify.certificates.lines import CheckedKind, CheckedLines, Chosen
from admm_verify.certificates.numbers import Numbers

_TINY = 2.0**-1022

Sector = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""The ends of D, the least phi at both, and the largest."""


class CheckedCurveDifference(CheckedKind):
    """f(n') - f(n) of the operands [n; D; n'], n' = n + D.

    By the mean value theorem phi is between m D and M D where m <= f' <= M over all n and n'. The lesser of both is
    concave in D, so that a line that is below it at both ends is below phi. There is nothing to choose but the chords:
    slopes, one on each side, are read over.
    """

    operands = 3
    curved = True
    curve: ClassVar[CheckedSShape]

    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        ends, floor, ceiling = self._sector(low, high)
        rows = len(low) if chosen is None else max(len(low), len(chosen[1]))
        weights = np.broadcast_to(1.0, (rows, 2 * low.shape[1] // 3))
        below, below_at = _chord(ends, floor, np.minimum, -1.0)
        above, above_at = _chord(ends, ceiling, np.maximum, 1.0)
        return CheckedLines(_of_differences(below), below_at, _of_differences(above), above_at, weights)

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, floor, ceiling = self._sector(low, high)
        down, up = np.minimum(*floor), np.maximum(*ceiling)
        return down - (SLACK * np.abs(down) + _TINY), up + (SLACK * np.abs(up) + _TINY)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Of (1 - exp(-r D)) times two values of the curve, whichever way it is written."""
        one = np.full_like(operands_of(low)[0], self.curve.steepest)
        return np.concatenate([one, 4.0 * one, one], axis=-1)

    def _sector(self, low: np.ndarray, high: np.ndarray) -> Sector:
        """The ends that n and n' leave of D, and phi there; slopes of the curve rounded outward."""
        (ln, ld, lm), (un, ud, um) = operands_of(low), operands_of(high)
        down, up = (lambda x: np.nextafter(x, -np.inf)), (lambda x: np.nextafter(x, np.inf))
        # Where ranges contradict each other, all is true of what is left of them.
        least = np.minimum(np.maximum(ln, down(lm - ud)), np.maximum(lm, down(ln + ld)))
        most = np.maximum(np.minimum(un, up(um - ld)), np.minimum(um, up(un + ud)))
        least, most = np.minimum(least, most), np.maximum(least, most)
        near, far = np.clip(0.0, least, most), np.maximum(np.abs(least), np.abs(most))
        steep = np.minimum(self.curve.derivative(near) * (1.0 + SLACK) + _TINY, self.curve.steepest)
        flat = np.maximum(self.curve.derivative(far) * (1.0 - SLACK) - _TINY, 0.0)
        first, last = np.maximum(ld, down(lm - un)), np.minimum(ud, up(um - ln))
        ends = np.minimum(first, last), np.maximum(first, last)
        products = [(flat * end, steep * end) for end in ends]
        (floor, floor_end), (ceiling, ceiling_end) = (
            [reduce(best, pair) for pair in products] for best in (np.minimum, np.maximum)
        )
        return ends, (floor, floor_end), (ceiling, ceiling_end)


def _chord(
    ends: tuple[np.ndarray, np.ndarray], heights: tuple[np.ndarray, np.ndarray], best: np.ufunc, way: float
) -> tuple[np.ndarray, np.ndarray]:
    """The slope of a chord, and the height at which a line of that slope is on one side of both ends."""
    run = ends[1] - ends[0]
    slope = np.where(run > 0, (heights[1] - heights[0]) / np.where(run > 0, run, 1.0), 0.0)
    slope = np.nan_to_num(slope, posinf=0.0, neginf=0.0)
    gaps = [height - slope * end for height, end in zip(heights, ends, strict=True)]
    sizes = [np.abs(height) + np.abs(slope * end) for height, end in zip(heights, ends, strict=True)]
    return slope, best(*gaps) + way * (SLACK * np.maximum(*sizes) + _TINY)


def _of_differences(slope: np.ndarray) -> np.ndarray:
    """Slopes in D alone."""
    none = np.zeros_like(slope)
    return np.concatenate([none, slope, none], axis=-1)


class CheckedSigmoidDifference(CheckedCurveDifference):
    """sigmoid(n') - sigmoid(n)."""

    curve = CheckedSigmoid()


class CheckedTanhDifference(CheckedCurveDifference):
    """tanh(n') - tanh(n)."""

    curve = CheckedTanh()
