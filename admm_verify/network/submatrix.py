"""Some rows and columns of linear maps as matrices, without the rest of these."""

from collections.abc import Callable

import numpy as np

from admm_verify.arrays import Array, to_numpy
from admm_verify.network.blocks import BlockMap
from admm_verify.network.maps import DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap

MOST_ENTRIES = 2**24
"""Of a matrix that is made of a map."""


def columns_read(map: LinearMap, rows: np.ndarray) -> np.ndarray:
    """Which columns some rows read, [columns]; also where rounded products of matrices only seem to cancel."""
    wanted = np.zeros((1, map.rows))
    wanted[0, rows] = 1.0
    return to_numpy(map.magnitude_transpose(wanted))[0] > 0


def submatrix(map: LinearMap, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """W at some rows and columns, and its magnitudes, [rows, columns] both; None where that takes too much memory."""
    if len(rows) * len(columns) > MOST_ENTRIES:
        return None
    if isinstance(map, TransposedMap):
        found = submatrix(map.inner, columns, rows)
        return None if found is None else (found[0].T, found[1].T)
    if isinstance(map, SelectionMap):
        weight = (to_numpy(map.gather)[rows][:, None] == columns).astype(np.float64)
        return weight, weight
    if isinstance(map, DiagonalMap | BlockMap):
        return _of_blocks(map, rows, columns)
    if map.rows * map.columns > MOST_ENTRIES:
        return None
    dense = map.dense()
    return _both(dense.weight, dense.magnitude, lambda array: array[np.ix_(rows, columns)])


def _of_blocks(map: DiagonalMap | BlockMap, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(map, DiagonalMap):
        return _both(map.scale, map.magnitude, lambda array: array[rows][:, None] * (rows[:, None] == columns))
    m, k = map.weight.shape
    (row, row_inner), (column, column_inner) = np.divmod(rows, map.inner), np.divmod(columns, map.inner)
    (row_outer, row), (column_outer, column) = np.divmod(row, m), np.divmod(column, k)
    same = (row_outer[:, None] == column_outer) & (row_inner[:, None] == column_inner)
    return _both(map.weight, map.magnitude, lambda array: array[np.ix_(row, column)] * same)


def _both(
    weight: Array, magnitude: Array | None, taken: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """What is taken of the weights and of the magnitudes behind them."""
    found = taken(to_numpy(weight))
    return found, np.abs(found) if magnitude is None else taken(to_numpy(magnitude))
