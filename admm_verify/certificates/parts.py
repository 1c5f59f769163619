"""The parts a certificate speaks of: whether paths of splits cover a whole, and what a path leaves of it."""

import numpy as np

from admm_verify.certificates.numbers import Numbers
from admm_verify.errors import CertificateError


def check_cover(goal: np.ndarray, splits: np.ndarray) -> None:
    """Raise CertificateError unless the paths of every goal are all paths of a binary tree from its root to a leaf.

    Shapes: goal [leaves]; splits [leaves, depth], codes of opposite sign for the two sides of one split.
    """
    codes = splits.astype(np.int64)
    _, group = np.unique(goal, return_inverse=True)
    for column in range(codes.shape[1] + 1):
        code = codes[:, column] if column < codes.shape[1] else np.zeros(len(codes), dtype=np.int64)
        split = code != 0
        ended = np.bincount(group, ~split) > 0
        if (ended[group] & split).any() or codes[~split, column:].any():
            raise _broken(
                goal[(ended[group] & split) | (~split & codes[:, column:].any(axis=1))], column, "ends and goes on"
            )
        goal, codes, code, group = (array[split] for array in (goal, codes, code, group))
        if not len(goal):
            return
        chosen = np.zeros(len(ended), dtype=np.int64)
        chosen[group] = abs(code)
        if (chosen[group] != abs(code)).any():
            raise _broken(goal[chosen[group] != abs(code)], column, "splits in two ways")
        up, down = (np.bincount(group, side, len(ended)) > 0 for side in (code > 0, code < 0))
        if (up != down)[group].any():
            raise _broken(goal[(up != down)[group]], column, "lacks a side of a split")
        _, group = np.unique(2 * group + (code > 0), return_inverse=True)


def _broken(goals: np.ndarray, depth: int, what: str) -> CertificateError:
    return CertificateError(f"The leaves of disjunct {goals[0]} do not cover it: at depth {depth} a path {what}.")


def halved(numbers: Numbers, lower: np.ndarray, upper: np.ndarray, splits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sub-boxes at the ends of paths: every split keeps [lower, middle] or [middle, upper] of one input.

    Whatever rounding does to a middle, the two parts together hold [lower, upper].

    Shapes: lower, upper [leaves, inputs]; splits [leaves, depth] -> [leaves, inputs] each.
    """
    half, codes = numbers.number(0.5), splits.astype(np.int64)
    low, high = lower.copy(), upper.copy()
    for column in range(codes.shape[1]):
        row = np.flatnonzero(codes[:, column])
        side = abs(codes[row, column]) - 1
        middle = half * low[row, side] + half * high[row, side]
        above = codes[row, column] > 0
        low[row, side] = np.where(above, middle, low[row, side])
        high[row, side] = np.where(above, high[row, side], middle)
    return low, high
