"""All Jacobians that a chain of rectifiers has inside a box: signs of its neurons with room for a ball, by HiGHS."""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import linprog

_ROOM = 1e-9
"""Radius of the ball."""


def jacobians(weights, biases, low, high) -> Iterator[np.ndarray]:
    """One for every pattern that is met, [outputs, inputs] each."""
    size = len(low)
    yield from _walk(weights, biases, (low, high), ([], []), (np.eye(size), np.zeros(size)), 0)


def _walk(weights, biases, box, rows, layer, depth):
    matrix, shift = layer
    if depth == len(weights) - 1:
        yield weights[-1] @ matrix
        return
    pre, offset = weights[depth] @ matrix, weights[depth] @ shift + biases[depth]
    for signs, more in _signs(pre, offset, box, rows, ()):
        on = np.array(signs) > 0
        yield from _walk(weights, biases, box, more, (pre * on[:, None], offset * on), depth + 1)


def _signs(pre, offset, box, rows, signs):
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


def _has_room(box, normals, limits):
    matrix, count = np.array(normals), len(box[0])
    sides = np.column_stack([matrix, np.linalg.norm(matrix, axis=1)])
    bounds = [*zip(*box, strict=True), (None, 1.0)]
    found = linprog(np.append(np.zeros(count), -1.0), sides, limits, bounds=bounds, method="highs")
    return found.status == 0 and -found.fun > _ROOM


def norm_of(jacobian, norm):
    """|J|_norm as computed."""
    if norm == "l2":
        return float(np.linalg.norm(jacobian, 2))
    return float(np.abs(jacobian).sum(axis=1 if norm == "linf" else 0).max())
