"""Some rows and columns of linear maps, without the rest of these: as matrices, or as maps of the same kind."""

from collections.abc import Callable

import numpy as np

from admm_verify.arrays import Array, to_numpy
from admm_verify.network.blocks import BlockMap
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap

MOST_ENTRIES = 2**24
"""Of a matrix that is made of a map."""

_MERGED = 2**16
"""Entries up to which the matrix of one place of several becomes a matrix, which merges with others at little cost."""


def columns_read(map: LinearMap, rows: np.ndarray) -> np.ndarray:
    """Which columns some rows read, [columns]; also where rounded products of matrices only seem to cancel."""
    wanted = np.zeros((1, map.rows))
    wanted[0, rows] = 1.0
    return to_numpy(map.magnitude_transpose(wanted))[0] > 0


def multiplications(map: LinearMap, rows: int, columns: int) -> int:
    """Those of a map at so many rows and columns as `cut` makes it, about: of convolutions a matrix is made."""
    if isinstance(map, TransposedMap):
        return multiplications(map.inner, columns, rows)
    if isinstance(map, SelectionMap | DiagonalMap):
        return 0
    entries = rows * columns
    if isinstance(map, BlockMap):
        # Kept places are mostly whole.
        return min(map.multiplications, entries // max(1, rows // map.weight.shape[0]))
    return min(map.multiplications, entries) if isinstance(map, DenseMap) else entries


def cut(map: LinearMap, rows: np.ndarray, columns: np.ndarray) -> LinearMap | None:
    """A map at some rows and columns, in ascending order, as the plainest map that it is: a matrix that stays whole is
    shared, not copied; None where it takes too much memory.
    """
    if len(rows) == map.rows and len(columns) == map.columns:
        return map
    kept: LinearMap | None = None
    if isinstance(map, TransposedMap):
        kept = _turned(cut(map.inner, columns, rows))
    elif isinstance(map, SelectionMap):
        place = np.full(map.columns + 1, len(columns))
        place[columns] = np.arange(len(columns))
        kept = SelectionMap.from_gather(place[to_numpy(map.gather)[rows]], len(columns), map.roundings)
    elif isinstance(map, DiagonalMap) and np.array_equal(rows, columns):
        magnitude = None if map.magnitude is None else to_numpy(map.magnitude)[rows]
        kept = DiagonalMap(to_numpy(map.scale)[rows], magnitude, map.roundings)
    elif isinstance(map, BlockMap):
        kept = _whole_blocks(map, rows, columns)
    if kept is not None:
        return kept
    found = submatrix(map, rows, columns)
    if found is None:
        return None
    weight, size = found
    return DenseMap(weight, None if np.array_equal(size, np.abs(weight)) else size, map.roundings)


def _turned(map: LinearMap | None) -> LinearMap | None:
    if isinstance(map, DenseMap):
        return DenseMap(map.weight.T, None if map.magnitude is None else map.magnitude.T, map.roundings)
    if isinstance(map, SelectionMap) and not map.repeats:
        return SelectionMap.from_gather(to_numpy(map.scatter), map.rows, map.roundings)
    return None if map is None else TransposedMap(map)


def _whole_blocks(map: BlockMap, rows: np.ndarray, columns: np.ndarray) -> LinearMap | None:
    """The matrix at some of its places; None where parts of it are wanted."""
    m, k = map.weight.shape
    places = np.unique(rows // m)
    whole = len(rows) == len(places) * m and len(columns) == len(places) * k
    if map.inner > 1 or not whole or not np.array_equal(places, np.unique(columns // k)):
        return None
    if len(places) == 1 and m * k <= _MERGED:
        return DenseMap(map.weight, map.magnitude, map.roundings)
    return BlockMap(map.weight, len(places), 1, map.magnitude, map.roundings)


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
