"""Rows of coefficients, one for every bound that is derived, and the boxes that each of them is about."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Fixed:
    """Neurons of one activation with a fixed sign, sign p >= 0: phi(p) = slope p there, and the multiplier of p is
    slope a - shift with shift = sign beta, since -beta sign p <= 0.

    Shapes: row, entry, slope, shift, positive (its sign) [fixed], of distinct places.
    """

    row: np.ndarray
    entry: np.ndarray
    slope: np.ndarray
    shift: np.ndarray
    positive: np.ndarray


def reach_of(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """max|x| over all boxes, [n]."""
    return np.max(np.maximum(abs(lower), abs(upper)), axis=0)


def rows_of(array: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """The rows of an array of each row's box, or as they are."""
    return array if box is None else np.take(array, box, axis=0)


def dot(a: np.ndarray, array: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """Row by row a'b with the b of each row's box, or one for all."""
    if len(array) == 1:
        return a @ array[0]
    return np.vecdot(a, rows_of(array, box))


def accumulate(coefficients: dict[int, np.ndarray], index: int, part: Any) -> None:
    """Add to the coefficients of a node."""
    present = coefficients.get(index)
    coefficients[index] = part if present is None else present + part
