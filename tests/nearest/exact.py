"""Nearest points of tiny networks, by enumeration of activation patterns and of the faces of their polytopes."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np

from problems.nearest import box_rows, least_norm


@dataclass(frozen=True, eq=False)
class Chain:
    """Dense layers with ReLU between them."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """(A, b, G, h) for every pattern: f(x) = A x + b where G x <= h."""
        sizes = [len(bias) for bias in self.biases[:-1]]
        for signs in product((0.0, 1.0), repeat=sum(sizes)):
            a, b, left = np.eye(self.weights[0].shape[1]), np.zeros(self.weights[0].shape[1]), np.array(signs)
            rows, limits = [], []
            for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
                on, left = left[: len(bias)], left[len(bias) :]
                a, b = weight @ a, weight @ b + bias
                rows.append((1.0 - 2.0 * on)[:, None] * a)
                limits.append((2.0 * on - 1.0) * b)
                a, b = on[:, None] * a, on * b
            weight, bias = self.weights[-1], self.biases[-1]
            yield weight @ a, weight @ b + bias, np.concatenate(rows), np.concatenate(limits)

    def exactly(self, x: np.ndarray) -> list[Fraction]:
        """f(x) in rational numbers."""
        values = [Fraction(float(value)) for value in x]
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = [
                sum((Fraction(float(w)) * v for w, v in zip(row, values, strict=True)), Fraction(float(shift)))
                for row, shift in zip(weight, bias, strict=True)
            ]
            if k + 1 < len(self.weights):
                values = [max(value, Fraction(0)) for value in values]
        return values


def least_distance(
    chain: Chain, box: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray]
) -> tuple[float, np.ndarray]:
    """min |f(x) - s| over boxes of x and of s, and x.

    The nearest s has each entry at an end, or free where f(x) lies between both.
    """
    best, where = np.inf, None
    g, h = box_rows(*box)
    for a, b, rows, limits in chain.pieces():
        for modes in product((0, 1, 2), repeat=len(b)):
            pinned = np.array([mode < 2 for mode in modes])
            ends = np.array([target[min(mode, 1)][i] for i, mode in enumerate(modes)])
            if ((target[0] == target[1]) & (np.array(modes) > 0)).any():
                continue
            free = a[~pinned], b[~pinned]
            inside = (
                np.concatenate([free[0], -free[0]]),
                np.concatenate([target[1][~pinned] - free[1], free[1] - target[0][~pinned]]),
            )
            found, x = least_norm(
                a[pinned],
                b[pinned] - ends[pinned],
                np.concatenate([g, rows, inside[0]]),
                np.concatenate([h, limits, inside[1]]),
            )
            if found < best:
                best, where = found, x
    assert where is not None, "Some pattern holds everywhere in the box"
    return best, where


def closest_input(
    chain: Chain, box: tuple[np.ndarray, np.ndarray], point: np.ndarray, objective: np.ndarray, offset: np.ndarray
) -> tuple[float, np.ndarray | None]:
    """min |x - point| over the x of a box where objective f(x) + offset <= 0, and x."""
    best, where = np.inf, None
    g, h = box_rows(*box)
    eye = np.eye(len(point))
    for a, b, rows, limits in chain.pieces():
        found, x = least_norm(
            eye,
            -point,
            np.concatenate([g, rows, objective @ a]),
            np.concatenate([h, limits, -(objective @ b) - offset]),
        )
        if found < best:
            best, where = found, x
    return best, where
