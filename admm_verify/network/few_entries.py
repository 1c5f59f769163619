"""Products with matrices that are nearly empty, entry by entry.

Networks that take minima or maxima of many linear functions are read as chains of matrices with eight entries in rows
of thousands; products with all of these would take hundreds of times as long.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

_LEAST_SIZE = 2**14
"""Entries of a matrix below which a product is cheap either way."""

_SHARE = 32
"""One gathered entry takes about as long as so many of a product with a full matrix."""

_HIDDEN = 2.0**-900
"""Entries of magnitudes up to this stand for underflow alone; they are kept as one number for all."""


@dataclass(frozen=True, eq=False)
class FewEntries:
    """A matrix [rows, columns] with at most k entries in each row, and a magnitude [rows, columns] of its size.

    Row i has entries[j, i] in column places[j, i] for j < k, of magnitudes[j, i] or, without those, its size; rows with
    fewer entries have zeros besides. Everywhere else the matrix is zero, and its magnitude at most `spare`.
    Shapes: places, entries, magnitudes [k, rows].
    """

    places: np.ndarray
    entries: np.ndarray
    magnitudes: np.ndarray | None
    spare: float

    def apply(self, x: Any) -> np.ndarray:
        """The product with each vector, [..., columns] -> [..., rows]."""
        return self._gathered(x, self.entries)

    def absolute_apply(self, x: Any) -> np.ndarray:
        """The product of the matrix of absolute values."""
        return self._gathered(x, np.abs(self.entries))

    def magnitude_apply(self, x: Any) -> np.ndarray:
        """The product of the magnitude, or more, for x >= 0."""
        if self.magnitudes is None:
            return self.absolute_apply(x)
        return self._gathered(x, self.magnitudes) + self.spare * np.sum(x, axis=-1, keepdims=True)

    def times(self, inner: "FewEntries", columns: int) -> tuple[np.ndarray, np.ndarray]:
        """The product with a matrix of few entries [., columns], and that of the magnitudes or more, in full."""
        shape = self._rows, columns
        places = inner.places[:, self.places] + columns * np.arange(shape[0])
        sizes, further = self._sizes, inner._sizes

        def summed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            products = second[:, self.places] * first
            return np.bincount(places.reshape(-1), products.reshape(-1), shape[0] * columns).reshape(shape)

        # Each sum of a row of one and a column of the other meets what the other one hides.
        most = [float(part.max(initial=0.0)) * count for part, count in ((sizes, len(sizes)), (further, inner._rows))]
        hidden = inner.spare * most[0] + self.spare * most[1] + self.spare * inner.spare * inner._rows
        return summed(self.entries, inner.entries), summed(sizes, further) + hidden

    @property
    def _rows(self) -> int:
        return self.places.shape[1]

    @property
    def _sizes(self) -> np.ndarray:
        return np.abs(self.entries) if self.magnitudes is None else self.magnitudes

    def _gathered(self, x: np.ndarray, entries: np.ndarray) -> np.ndarray:
        total = x[..., self.places[0]] * entries[0]
        for place, entry in zip(self.places[1:], entries[1:], strict=True):
            total += np.take(x, place, axis=-1) * entry
        return total


def few_entries(weight: np.ndarray, magnitude: Any) -> tuple[FewEntries, FewEntries] | None:
    """A matrix and its transpose, where both have so few entries in every row that products entry by entry pay."""
    rows, columns = weight.shape
    if weight.size < _LEAST_SIZE:
        return None
    # Most matrices are full, as a few of their rows show.
    if any(np.count_nonzero(weight[i]) * _SHARE > columns for i in (0, rows // 3, 2 * rows // 3, rows - 1)):
        return None
    used = weight != 0
    if magnitude is not None:
        used |= magnitude > _HIDDEN
    most = [int(np.count_nonzero(used, axis=axis).max()) for axis in (1, 0)]
    if most[0] * _SHARE > columns or most[1] * _SHARE > rows or not min(most):
        return None
    spare = 0.0 if magnitude is None else float(np.max(magnitude, where=~used, initial=0.0))
    row, column = np.nonzero(used)
    entry, size = weight[row, column], None if magnitude is None else magnitude[row, column]
    order = np.lexsort((row, column))
    turned = _listed(column[order], row[order], entry[order], None if size is None else size[order], columns, spare)
    return _listed(row, column, entry, size, rows, spare), turned


def _listed(
    row: np.ndarray, column: np.ndarray, entry: np.ndarray, size: np.ndarray | None, rows: int, spare: float
) -> FewEntries:
    """Entries in order of their rows."""
    counts = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = int(counts.max()), rows

    def spread(values: np.ndarray) -> np.ndarray:
        table = np.zeros(shape, dtype=values.dtype)
        table[place, row] = values
        return table

    return FewEntries(spread(column), spread(entry), None if size is None else spread(size), spare)
