"""Boxes cut in two."""

import numpy as np


def halvable(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Where a number lies strictly between the ends."""
    middle = 0.5 * lower + 0.5 * upper
    return (lower < middle) & (middle < upper)


def halves(lower: np.ndarray, upper: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower halves of all boxes and then the upper ones, which share the middle: ends [2 boxes, n].

    Shapes: lower, upper [boxes, n]; side [boxes], where each is cut.
    """
    place = np.arange(len(side))
    middle = 0.5 * lower[place, side] + 0.5 * upper[place, side]
    below, above = upper.copy(), lower.copy()
    below[place, side], above[place, side] = middle, middle
    return np.concatenate([lower, above]), np.concatenate([below, upper])
