"""All Jacobians that a chain of rectifiers has inside a box: signs of its neurons with room for a ball, by HiGHS."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import linprog

_ROOM = 1e-9
"""Radius of the ball."""

_Box = tuple[np.ndarray, np.ndarray]
_Rows = tuple[list[np.ndarray], list[np.ndarray]]


def jacobians(
    weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray
) -> Iterator[np.ndarray]:
    """One for every pattern that is met, [outputs, inputs] each, in the precision of the weights."""
    size = len(low)
    yield from _walk(weights, biases, (low, high), ([], []), (np.eye(size), np.zeros(size)), 0)


def _walk(
    weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], box: _Box, rows: _Rows, layer: _Box, depth: int
) -> Iterator[np.ndarray]:
    matrix, shift = layer
    if depth == len(weights) - 1:
        yield weights[-1] @ matrix
        return
    pre, offset = weights[depth] @ matrix, weights[depth] @ shift + biases[depth]
    for signs, more in _signs(pre, offset, box, rows, ()):
        on = np.array(signs) > 0
        yield from _walk(weights, biases, box, more, (pre * on[:, None], offset * on), depth + 1)


def _signs(
    pre: np.ndarray, offset: np.ndarray, box: _Box, rows: _Rows, signs: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], _Rows]]:
    """Signs of the neurons of a layer, one after the other."""
    j = len(signs)
    if j == len(pre):
        yield signs, rows
        return
    for sign in (1, -1):
        if not pre[j].any():
            if sign * offset[j] > 0:
                yield from _signs(pre, offset, box, rows, (*signs, sign))
            continue
        more = [*rows[0], -sign * pre[j]], [*rows[1], sign * offset[j]]
        if _has_room(box, *more):
            yield from _signs(pre, offset, box, more, (*signs, sign))


def _has_room(box: _Box, normals: list[np.ndarray], limits: list[np.ndarray]) -> bool:
    matrix, count = np.array(normals, dtype=np.float64), len(box[0])
    sides = np.column_stack([matrix, np.linalg.norm(matrix, axis=1)])
    bounds = [*zip(*box, strict=True), (None, 1.0)]
    found = linprog(np.append(np.zeros(count), -1.0), sides, limits, bounds=bounds, method="highs")
    return found.status == 0 and -found.fun > _ROOM


def norm_of(jacobian: np.ndarray, norm: str) -> float:
    """|J|_norm as computed."""
    if norm == "l2":
        return float(np.linalg.norm(jacobian, 2))
    return float(np.abs(jacobian).sum(axis=1 if norm == "linf" else 0).max())
