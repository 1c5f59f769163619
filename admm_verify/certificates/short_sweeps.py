"""Sweeps of exact numbers whose coefficients are integers of 42 binary digits: float64 holds them and all their sums.

A coefficient a is replaced by a number r below it with few digits, at a price that is exact: a x >= r x + (a - r) low
for x >= low, and 0 <= a - r <= c 2^e for all entries at once takes at most c 2^e sum max(-low, 0). Every product of
parts of 21 bits is at most 2^42, so that sums of up to 2^10 of them are exact in any order.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from admm_verify.certificates.dyadics import PART, Dyadics, Short
from admm_verify.certificates.lines import CheckedKind, CheckedLines
from admm_verify.network.graph import Affine, Network
from admm_verify.network.maps import DenseMap, LinearMap
from admm_verify.run import paced

LONGEST = 2**9
"""Entries of the longest products, and the most nodes that read one: sums of their coefficients are exact, too."""

_SCALE = 2.0**PART
_NOTHING = Dyadics.of(np.zeros((1, 1), dtype=np.int64))
_FAR = 200
"""More binary places than any integer here has: what is moved further to the right is 0 or -1 likewise."""


class Ranged(Protocol):
    """Bounds of all nodes over some boxes, in exact numbers."""

    lower: list[Any]
    upper: list[Any]
    scale: list[Any]

    def depth(self, node: int) -> Any:
        """sum max(-low, 0) over a node's entries, [boxes]."""
        ...


class ShortSweep:
    """A lower bound of start'values + constant over boxes, one per row, grown from the last node to the input."""

    def __init__(self, ranges: Ranged, box: np.ndarray | None, start: dict[int, Short], constant: Any) -> None:
        self.ranges, self.box, self.value = ranges, box, constant
        self._price = Dyadics.of(np.zeros(1, dtype=np.int64))
        self._parts: dict[int, list[tuple[Short, int]]] = {}
        for index, part in start.items():
            self._add(index, part, 1 if part.rounded else 0)

    def run(self, network: Network, kinds: Sequence[CheckedKind], lines: Sequence[CheckedLines], last: int) -> Dyadics:
        """The bound, from the nodes up to the last one that anything reads."""
        for i, affine, k in paced(reversed(network.steps[:last])):
            a = self._taken(i)
            if a is None:
                continue
            if affine is not None:
                self._through_affine(a, affine, self.ranges.scale[i])
            else:
                self._through(a, kinds[k], lines[k], network.sources[k])
        a = self._taken(0)
        if a is not None:
            self._take_least(a, self.ranges.lower[0], self.ranges.upper[0])
        return self.value - (self._price if self.box is None or len(self._price) == 1 else self._price[self.box])

    def _through_affine(self, a: Short, node: Affine, scale: Dyadics | None) -> None:
        self._take_least(a, node.bias, node.bias)
        if scale is not None:
            self._take_least(a, -scale, scale)
        for term in node.terms:
            self._add(term.source, *_product(a, matrix_of(term.map)))

    def _through(self, a: Short, kind: CheckedKind, lines: CheckedLines, source: int) -> None:
        """Coefficients of what an activation reads: its slopes times those of its value.

        With A and S of two parts each, A S 2^-42 less what is kept of it is in [0, 2); what S has lost is less than 1,
        and takes or adds at most |A| 2^-42 <= 1.
        """
        self._take_least(a, _NOTHING if lines.below_at is None else lines.below_at, lines.above_at)
        wide = kind.repeated(a.numbers)
        below: Any = lines.below
        above: Any = lines.above
        slopes = self._chosen(wide, below.floored, above.floored)
        (a1, a0), (s1, s0) = _halves(wide), _halves(slopes.numbers)
        kept = a1 * s1 + np.floor((a1 * s0 + a0 * s1) / _SCALE) - 1.0
        self._add(source, Short(kept, a.exponent + slopes.exponent + 2 * PART, True), 4)

    def _chosen(self, a: np.ndarray, below: Short, above: Short, up: bool = False) -> Short:
        """Numbers for positive coefficients and for others, with one exponent; up: round the latter up."""
        exponent = max(below.exponent, above.exponent)
        first = _moved(below, exponent)
        second = -_moved(Short(-above.numbers, above.exponent, True), exponent) if up else _moved(above, exponent)
        return Short(np.where(a > 0, self._of_rows(first), self._of_rows(second)), exponent, True)

    def _of_rows(self, array: np.ndarray) -> np.ndarray:
        return array if self.box is None or array.ndim < 2 or len(array) == 1 else np.take(array, self.box, axis=0)

    def _take_least(self, a: Short, low: Any, high: Any) -> None:
        """Add min a'x over low <= x <= high, or a little less."""
        ends = self._chosen(a.numbers, low.floored, high.ceiled, up=True)
        (a1, a0), (e1, e0) = _halves(a.numbers), _halves(ends.numbers)
        sums = (a0 * e0).sum(axis=-1), (a1 * e0 + a0 * e1).sum(axis=-1), (a1 * e1).sum(axis=-1)
        total = 0
        for part in reversed(sums):
            total = (total << PART if isinstance(total, np.ndarray) else 0) + part.astype(np.int64).astype(object)
        self.value = self.value + Dyadics(total, a.exponent + ends.exponent)

    def _add(self, index: int, part: Short, lost: int) -> None:
        """Add to a node's coefficients what is at most so many units below the true ones."""
        self._parts.setdefault(index, []).append((part, lost))

    def _taken(self, index: int) -> Short | None:
        """A node's coefficients with 42 digits, and their price; None for zeros."""
        parts = self._parts.pop(index, [])
        if not parts:
            return None
        exponent = max(part.exponent for part, _ in parts)
        total, lost = np.zeros(()), 0
        for part, own in parts:
            total, exact = total + _moved(part, exponent), part.exponent == exponent
            lost += own if exact else own + 1
        spare = int(np.frexp(np.max(np.abs(total)))[1]) - 2 * PART
        numbers = _moved(Short(total, exponent, True), exponent + spare)
        # So many units, and one for what was rounded now; where nothing was they only become smaller ones.
        units = lost + 1 if spare > 0 else lost << -spare
        if lost or spare > 0:
            self._price = self._price + Dyadics(units, exponent + spare) * self.ranges.depth(index)
        return Short(numbers, exponent + spare, True) if numbers.any() else None


def matrix_of(map: LinearMap) -> Dyadics:
    """The matrix that a map of exact numbers is."""
    weight: Any = map.weight if isinstance(map, DenseMap) else None
    assert isinstance(weight, Dyadics), "exact maps are matrices"
    return weight


def _moved(part: Short, exponent: int) -> np.ndarray:
    """Integers with another exponent, rounded down."""
    shift = exponent - part.exponent
    return part.numbers if shift == 0 else np.floor(np.ldexp(part.numbers, -min(shift, _FAR)))


def _halves(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper part, and the lower one of 0 to 2^21 - 1."""
    upper = np.floor(numbers / _SCALE)
    return upper, numbers - upper * _SCALE


def _product(a: Short, weight: Dyadics) -> tuple[Short, int]:
    """a W rounded down, and by how many units at most."""
    upper, lower = _halves(a.numbers)
    parts = weight.parts
    sums = [np.zeros((len(upper), weight.shape[1])) for _ in range(len(parts) + 3)]
    for k, part in enumerate(parts):
        sums[k] += lower @ part
        sums[k + 1] += upper @ part
    # Digits around 0: those in front of small numbers are zeros, of either sign.
    for k in range(len(sums) - 1):
        carried = np.floor(sums[k] / _SCALE + 0.5)
        sums[k] -= carried * _SCALE
        sums[k + 1] += carried
    sizes = [np.max(np.abs(digits), initial=0.0) for digits in sums]
    longest = max(int(np.frexp(size)[1]) + PART * k for k, size in enumerate(sizes) if size > 0 or k == 0)
    spare = max(0, longest - 2 * PART)
    # What is left out of lower digits is less than a unit, of either sign.
    left_out = any(size > 0 and PART * (k + 1) <= spare for k, size in enumerate(sizes))
    total = np.zeros_like(sums[0])
    for k, digits in enumerate(sums):
        if PART * (k + 1) > spare:
            total += np.floor(np.ldexp(digits, PART * k - spare))
    rounded = spare > 0
    return Short(total - 1.0 if left_out else total, a.exponent + weight.exponent + spare, rounded), 3 * rounded
