"""Products of two numbers: planes below and above them over boxes, whose heights are read off the corners."""

from functools import reduce

import numpy as np

from admm_verify.certificates.curves import SLACK
from admm_verify.certificates.lines import CheckedKind, CheckedLines, Chosen
from admm_verify.certificates.numbers import Numbers

Ends = tuple[np.ndarray, np.ndarray]
"""A number for each of the two operands, [rows or 1, n]."""


class CheckedProduct(CheckedKind):
    """x y of the operands [x; y].

    A slope is a weight in [0, 1]: below of the plane through the lower ends against that through the upper ends, above
    of the two through mixed ends. Whatever slopes come of it, with the height that they have at the lowest corner of
    x y - s x - t y they are below x y over the box, as that function is least at a corner. Where no |x y| is above a
    limit, level planes at the limit replace those that in the middle of the box are beyond it.
    """

    operands = 2
    evaluation_roundings = 2.0

    def __init__(self, limit: float = float("inf")) -> None:
        self.limit = limit

    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        """The middle of both planes on each side, or what the chosen weights say."""
        ends, half = (_pair(low), _pair(high)), low.shape[1] // 2
        weights = np.broadcast_to(numbers.number(0.5), (1, 2 * half))
        if chosen is not None:
            columns, values = chosen
            weights = np.broadcast_to(weights, (len(values), 2 * half)).copy()
            weights[:, columns] = np.minimum(np.maximum(values, numbers.number(0)), numbers.number(1))
        (lx, ly), (ux, uy) = ends
        below, above = weights[:, :half], weights[:, half:]
        under = ly + below * (uy - ly), lx + below * (ux - lx)
        over = uy + above * (ly - uy), lx + above * (ux - lx)
        floor, ceiling = self._height(numbers, ends, under, np.minimum), self._height(numbers, ends, over, np.maximum)
        if self.limit < float("inf") and not numbers.exact:
            most, radii = numbers.number(self.limit), numbers.number(0.25) * (ux - lx) * (uy - ly)
            middle = numbers.number(0.25) * (lx + ux) * (ly + uy)
            (*under, floor), (*over, ceiling) = (
                tuple(np.where(level, end, part) for part, end in zip(side, (0.0, 0.0, height), strict=True))
                for side, level, height in (
                    ((*under, floor), middle - radii < -most, -most),
                    ((*over, ceiling), middle + radii > most, most),
                )
            )
        return CheckedLines(np.concatenate(under, axis=-1), floor, np.concatenate(over, axis=-1), ceiling, weights)

    def _height(self, numbers: Numbers, ends: tuple[Ends, Ends], slopes: Ends, best: np.ufunc) -> np.ndarray:
        """The least of x y - s x - t y over the corners, or the largest, rounded outward."""
        values, sizes = [], []
        for x, y in _corners(*ends):
            parts = x * y, slopes[0] * x, slopes[1] * y
            values.append(parts[0] - (parts[1] + parts[2]))
            sizes.append(abs(parts[0]) + abs(parts[1]) + abs(parts[2]))
        lost = numbers.error(SLACK) * reduce(np.maximum, sizes) + numbers.tiny
        found = reduce(best, values)
        return found - lost if best is np.minimum else found + lost

    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = [x * y for x, y in _corners(_pair(low), _pair(high))]
        lost = numbers.error(SLACK) * reduce(np.maximum, map(abs, values)) + numbers.tiny
        return reduce(np.minimum, values) - lost, reduce(np.maximum, values) + lost

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        first, second = _pair(np.maximum(abs(low), abs(high)))
        return np.concatenate([second, first], axis=-1)


def _pair(numbers: np.ndarray) -> Ends:
    size = numbers.shape[-1] // 2
    return numbers[..., :size], numbers[..., size:]


def _corners(low: Ends, high: Ends) -> list[Ends]:
    return [(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])]
