"""Differences of two rectifiers: heights of any planes over what the three operands can be, read off its corners.

phi(n, D, n') = max(n', 0) - max(n, 0) with n' = n + D is straight where neither n nor n' changes its sign, concave
along lines on which only n does, and convex along those on which only n' does. Less any plane it therefore is least,
and largest, at an end of what is left of the lines where n or n' is at an end of its range or 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np

from admm_verify.certificates.curves import SLACK
from admm_verify.certificates.lines import CheckedKind, CheckedLines, Chosen
from admm_verify.certificates.numbers import Numbers

Operands = tuple[Any, Any, Any]
"""Numbers of n, D and n', [rows or 1, n] each."""

_TIE = 2.0**-46
"""Of sizes of terms, what heights may differ by and count as the same."""

PLANES = 5
"""Planes on each side, of which chosen weights make one."""


@dataclass(frozen=True, eq=False)
class RangeCorner:
    """A point (n, D, n') of which at least two numbers are exact, phi there, and where it is one of the polygon.

    The third number is rounded once, which leads out of no range whose ends are floats: no corner is lost.
    """

    place: Operands
    value: Any
    inside: np.ndarray


class OperandRanges:
    """All (n, D, n') with n' = n + D, each within its range.

    Where ranges contradict each other nothing is left, and all that is said of it is true.
    """

    def __init__(self, numbers: Numbers, low: Any, high: Any) -> None:
        """Shapes: low, high [rows or 1, 3 n]."""
        self.numbers, self.low, self.high = numbers, operands_of(low), operands_of(high)

    @cached_property
    def corners(self) -> list[RangeCorner]:
        """The ends of what is left of six lines."""
        (ln, ld, lm), (un, ud, um) = self.low, self.high
        found = []
        for n in (ln, self.kink(0), un):
            first, last = np.maximum(ld, lm - n), np.minimum(ud, um - n)
            for d, m in ((first, np.maximum(n + ld, lm)), (last, np.minimum(n + ud, um))):
                found.append(RangeCorner((n, d, m), rectified_difference(self.numbers, (n, d, m)), first <= last))
        for m in (lm, self.kink(2), um):
            first, last = np.maximum(ld, m - un), np.minimum(ud, m - ln)
            for d, n in ((first, np.minimum(m - ld, un)), (last, np.maximum(m - ud, ln))):
                found.append(RangeCorner((n, d, m), rectified_difference(self.numbers, (n, d, m)), first <= last))
        return found

    def kink(self, operand: int) -> Any:
        """0, or the end of an operand's range next to it."""
        return np.minimum(np.maximum(self.numbers.number(0), self.low[operand]), self.high[operand])

    def least(self, slopes: Operands | None, above: bool) -> Any:
        """The least of phi - slopes'(n, D, n'), or its largest, rounded outward; None for no slopes."""
        numbers, values, sizes = self.numbers, [], []
        for corner in self.corners:
            parts = [] if slopes is None else [slope * x for slope, x in zip(slopes, corner.place, strict=True)]
            values.append(reduce(np.subtract, parts, corner.value))
            sizes.append(reduce(add, map(abs, parts), abs(corner.value)))
        best, found = np.maximum if above else np.minimum, values[0]
        known = self.corners[0].inside
        for value, corner in zip(values[1:], self.corners[1:], strict=True):
            found = np.where(corner.inside, np.where(known, best(found, value), value), found)
            known = known | corner.inside
        lost = numbers.error(SLACK) * reduce(np.maximum, sizes) + numbers.tiny
        return found + lost if above else found - lost

    @cached_property
    def middle(self) -> Operands:
        """The mean of the corners, in float64."""
        count = reduce(add, (corner.inside.astype(np.float64) for corner in self.corners))
        some = np.maximum(count, 1.0)
        n, d = (
            reduce(add, (np.where(corner.inside, corner.place[i], 0.0) for corner in self.corners)) / some
            for i in (0, 1)
        )
        return n, d, n + d

    @cached_property
    def turned(self) -> "OperandRanges":
        """That of (n', -D, n), over which the same function is -phi."""
        (ln, ld, lm), (un, ud, um) = self.low, self.high
        low, high = (np.concatenate(part, axis=-1) for part in ((lm, -ud, ln), (um, -ld, un)))
        return OperandRanges(self.numbers, low, high)


class CheckedReluDifference(CheckedKind):
    """max(n', 0) - max(n, 0) of the operands [n; D; n'], n' = n + D.

    Slopes are weights of five planes below, then of five above; shares of them count. Whatever slopes come of it, the
    height that they have at the lowest corner makes a plane below phi.
    """

    operands = 3
    evaluation_roundings = 0.0

    @property
    def sides(self) -> int:
        return 2 * PLANES

    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        """The plane of each side that is nearest in the middle, or what the chosen weights say."""
        size = low.shape[-1] // 3
        weights = None
        if chosen is None or len(chosen[0]) < self.sides * size:
            weights = numbers.of(_rule(numbers.nearest(low), numbers.nearest(high)))
        if chosen is not None:
            columns, values = chosen
            given = np.maximum(values, numbers.number(0))
            if weights is None:
                weights = given[:, np.argsort(columns)]
            else:
                weights = np.broadcast_to(weights, (max(len(weights), len(values)), self.sides * size)).copy()
                weights[:, columns] = given
        assert weights is not None, "either way there are weights"
        polygon = OperandRanges(numbers, low, high)
        shares = [weights[:, k * size : (k + 1) * size] for k in range(self.sides)]
        below = _mean(numbers, _below(polygon), shares[:PLANES])
        above = _mean(numbers, _above(polygon), shares[PLANES:])
        slopes = [np.concatenate(list(side), axis=-1) for side in (below, above)]
        return CheckedLines(slopes[0], polygon.least(below, False), slopes[1], polygon.least(above, True), weights)

    def within(self, numbers: Numbers, lines: CheckedLines, low: np.ndarray, high: np.ndarray) -> CheckedLines:
        polygon = OperandRanges(numbers, low, high)
        floor, ceiling = (
            polygon.least(operands_of(side), above) for side, above in ((lines.below, False), (lines.above, True))
        )
        return replace(lines, below_at=floor, above_at=ceiling)

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        polygon = OperandRanges(numbers, low, high)
        return polygon.least(None, False), polygon.least(None, True)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Of n where it can be active, of n' likewise, and of D where one of them can."""
        first, _, second = (np.where(end > 0, 1.0, 0.0) for end in operands_of(high))
        return np.concatenate([first, np.maximum(first, second), second], axis=-1)

    def like(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, lines: CheckedLines) -> CheckedLines:
        polygon = OperandRanges(numbers, low, high)
        below, above = (numbers.of(np.nan_to_num(slopes)) for slopes in (lines.below, lines.above))
        ends = polygon.least(operands_of(below), False), polygon.least(operands_of(above), True)
        return CheckedLines(below, ends[0], above, ends[1])


def operands_of(numbers: Any) -> Operands:
    """What belongs to n, D and n'."""
    size = numbers.shape[-1] // 3
    return numbers[..., :size], numbers[..., size : 2 * size], numbers[..., 2 * size :]


def rectified_difference(numbers: Numbers, place: Sequence[Any]) -> Any:
    """max(n', 0) - max(n, 0), as accurate as D and n' are."""
    n, d, m = place
    zero = numbers.number(0)
    return np.where(n >= zero, np.maximum(d, -n), np.maximum(m, zero))


def _mean(numbers: Numbers, planes: Sequence[Operands], weights: Sequence[Any]) -> Operands:
    """The mean of some planes' slopes."""
    total, zero = reduce(add, weights), numbers.number(0)
    some = np.where(total > zero, total, numbers.number(1))
    sums = (reduce(add, (weight * plane[i] for weight, plane in zip(weights, planes, strict=True))) for i in range(3))
    n, d, m = (numbers.near(part, some) for part in sums)
    return n, d, m


def _rule(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Weights that choose the plane of each side that is nearest in the middle of the polygon, [rows, 10 n]."""
    polygon, found = OperandRanges(Numbers(False), low, high), []
    reach = operands_of(np.maximum(np.abs(low), np.abs(high)))
    top = reduce(np.maximum, (np.abs(corner.value) for corner in polygon.corners))
    for planes, above in ((_below(polygon), False), (_above(polygon), True)):
        heights = [
            reduce(add, (s * p for s, p in zip(plane, polygon.middle, strict=True)), polygon.least(plane, above))
            for plane in planes
        ]
        # Of planes that are as near, the one whose terms are smaller.
        sizes = [reduce(add, (np.abs(s) * far for s, far in zip(plane, reach, strict=True)), top) for plane in planes]
        pairs = zip(heights, sizes, strict=True)
        order = np.stack([(-height if above else height) - _TIE * size for height, size in pairs])
        best = np.nan_to_num(order, nan=-np.inf).argmax(axis=0)
        found += [np.where(best == k, 1.0, 0.0) for k in range(PLANES)]
    return np.concatenate(found, axis=-1)


def _below(polygon: OperandRanges) -> list[Operands]:
    """Slopes of planes below: phi is minus the same function of (n', -D, n)."""
    return [(-m, d, -n) for n, d, m in _above(polygon.turned)]


def _chords(polygon: OperandRanges) -> dict[str, Any]:
    """Slopes of chords: in D of what phi is at most, and is where n = 0; in n and in n' of what it is at most more than
    D, and of what it is at most; and of max(n', 0).
    """
    numbers, (ln, ld, lm), (un, ud, um) = polygon.numbers, polygon.low, polygon.high
    zero, one, at = numbers.number(0), numbers.number(1), polygon.kink(0)

    def rise(run: Any, at_end: Any, at_start: Any) -> Any:
        """The slope of a chord, 0 where it has no length."""
        some = run > zero
        found = np.where(some, numbers.near(at_end - at_start, np.where(some, run, one)), zero)
        return found if numbers.exact else np.nan_to_num(found, posinf=0.0, neginf=0.0)

    def relu(x: Any) -> Any:
        return np.maximum(x, zero)

    def most(d: Any) -> Any:
        n = np.where(d > zero, np.minimum(un, um - d), np.maximum(ln, lm - d))
        return rectified_difference(numbers, (n, d, n + d))

    def gained(n: Any) -> Any:
        return relu(-np.maximum(lm, n + ld)) - relu(-n)

    def top(n: Any) -> Any:
        return relu(np.minimum(um, n + ud)) - relu(n)

    def second_gained(m: Any) -> Any:
        return relu(-m) - relu(-np.minimum(un, m - ld))

    def second_top(m: Any) -> Any:
        return relu(m) - relu(np.maximum(ln, m - ud))

    first, last = np.maximum(ld, lm), np.minimum(ud, um)
    below, above = (np.minimum(np.maximum(end, lm), um) for end in (ld, ud))
    return {
        "most": rise(ud - ld, most(ud), most(ld)),
        "at zero": rise(last - first, relu(last), relu(first)),
        "gain": rise(un - at, gained(at), gained(un)),
        "top": rise(at - ln, top(at), top(ln)),
        "second gain": rise(um - below, second_gained(below), second_gained(um)),
        "second top": rise(above - lm, second_top(above), second_top(lm)),
        "second": rise(um - lm, relu(um), relu(lm)),
    }


def _above(polygon: OperandRanges) -> list[Operands]:
    """Slopes of planes above, of which none has to be above by itself.

    Where one sign is known, a chord in D, one of the other rectifier beside what is known, and one in n of what phi is
    at most; where none is, a chord in D, D and a chord in n of what phi is at most larger, and a chord in n of what it
    is at most. The last two are such chords in n'. Where both are known, phi itself.
    """
    numbers, (ln, ld, lm), (un, _, um) = polygon.numbers, polygon.low, polygon.high
    zero, one, full = numbers.number(0), numbers.number(1), numbers.number(0) * (ln + ld + lm)
    left, right, low, high = un <= zero, ln >= zero, um <= zero, lm >= zero
    chords = _chords(polygon)
    chord, fall, climb = chords["most"], chords["gain"], chords["top"]
    steep = np.where(high, one, np.where(low, zero, chords["second"]))
    known, level = left | right, full + one
    first = (
        full,
        np.where(left, full, np.where(right | high, one, np.where(low, zero, chords["at zero"]))),
        np.where(left, steep, np.where(right, steep - one, full)),
    )
    second = (
        np.where(known | high, full, np.where(low, -level, -fall)),
        np.where(known, chord, np.where(high | low, full, one)),
        np.where(~known & high, level, zero),
    )
    third = (
        np.where(left, climb, np.where(right, -fall, np.where(high | low, zero, climb))),
        np.where(left, full, np.where(right, one, np.where(high | low, chord, zero))),
        full,
    )
    whole = (
        np.where(right & ~high, -level, zero),
        np.where(right & high, level, zero),
        np.where(left & ~right & high, level, zero),
    )
    fourth = full, np.where(left, chord, one), np.where(left, full, -chords["second gain"])
    fifth = full, np.where(high, level, zero), np.where(high, full, chords["second top"])
    exact, found = known & (low | high), []
    for plane in (first, second, third, fourth, fifth):
        n, d, m = (np.where(exact, own, part) for own, part in zip(whole, plane, strict=True))
        found.append((n, d, m))
    return found
