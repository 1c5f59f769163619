"""Boxes cut down to where linear lower bounds of a disjunct's atoms still allow them to hold, and to where sets are."""

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Bool, Float, gamma
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet

_MEETINGS = 4
"""Rounds of nearest points between a set and a box that may lie apart."""

_STEPS, _PACE, _SLOWING = 10, 2.0, 0.8
"""Steps of the weights of a sum of planes, their size, and the factor from one to the next."""


def contract(
    box: Box, coefficient: Float[np.ndarray, "parts atoms n"], bound: Float[np.ndarray, "parts atoms"], rounds: int
) -> tuple[Box, Bool[np.ndarray, " parts"]]:
    """The boxes without what a'x + e > 0 excludes, and which of them are excluded altogether.

    bound is certified: f(x) >= a'x + e on the box with e = bound - min over the box of a'x. Where f(x) <= 0, so is
    a'x + e, hence x_i <= l_i - (min a'x + e) / a_i for a_i > 0, and likewise from above for a_i < 0. Rows without a
    bound cut nothing.

    Error: rounded outward.
    """
    a = coefficient
    least = np.where(a > 0, a * box.lower[:, None], a * box.upper[:, None]).sum(axis=-1)
    slack = _slack(box, a, bound)
    return _contracted(box, a, bound - least - slack, slack, rounds)


def contract_by_planes(
    box: Box, coefficient: Float[np.ndarray, "parts planes n"], shift: Float[np.ndarray, "parts planes"], rounds: int
) -> tuple[Box, Bool[np.ndarray, " parts"]]:
    """`contract` by planes of which a'x + shift <= 0 is known for all points that are looked for.

    Error: rounded outward.
    """
    return _contracted(box, coefficient, shift, _slack(box, coefficient, shift), rounds)


def apart(sets: WalkableSet, box: Box) -> Bool[np.ndarray, " parts"]:
    """Whether sets and boxes have proven to have no point in common; false says nothing.

    With x the nearest point of a set to y, the nearest of a box to x, c = x - y separates them where
    min over the set of c'x > max over the box of c'y.
    Shapes: NumPy arrays in float64; sets and box [parts, n].
    """
    x = sets.centre
    y = box.project(x)
    for _ in range(_MEETINGS):
        x = sets.project(y)
        y = box.project(x)
    direction = np.nan_to_num(x - y)
    value, magnitude = sets.minimum(direction)
    top = np.where(direction > 0, direction * box.upper, direction * box.lower).sum(axis=-1)
    size = magnitude + (np.abs(direction) * box.reach).sum(axis=-1)
    return value - top > 4.0 * gamma(direction.shape[-1] + 16) * size + SMALLEST * 16 * direction.shape[-1]


def _slack(box: Box, a: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """More than all sums of planes are off by; boxes only shrink, so that it stays so."""
    size = (np.abs(a) * box.reach[:, None]).sum(axis=-1) + np.abs(shift)
    return 4.0 * (a.shape[-1] + 8) * (DOUBLE_ROUNDOFF * size + SMALLEST)


def sum_weights(box: Box, a: np.ndarray, shift: np.ndarray) -> Float[np.ndarray, "parts planes"]:
    """Weights with which the sum of each part's planes a'x + shift has a large least value over its box.

    They add up to one and take multiplicative steps by the planes' values where the sum is least; planes of which
    nothing is known get none.
    Shapes: a [parts, planes, n]; shift [parts, planes].
    """
    known = np.isfinite(shift) & np.isfinite(a).all(axis=-1)
    a, shift = np.where(known[..., None], a, 0.0), np.where(known, shift, 0.0)
    weight = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
    best, most = weight, np.full(len(shift), -np.inf)
    for step in range(_STEPS):
        slope = (weight[:, None, :] @ a)[:, 0]
        x = np.where(slope > 0, box.lower, box.upper)
        values = (a @ x[..., None])[..., 0] + shift
        least = (weight * values).sum(axis=1)
        better = least > most
        best, most = np.where(better[:, None], weight, best), np.where(better, least, most)
        unit = np.maximum(np.abs(values).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        weight = weight * np.exp(_PACE * _SLOWING**step * values / unit)
        weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return best


def _contracted(
    box: Box, a: np.ndarray, shift: np.ndarray, slack: np.ndarray, rounds: int
) -> tuple[Box, Bool[np.ndarray, " parts"]]:
    lower, upper = np.array(box.lower), np.array(box.upper)
    excluded = np.zeros(len(lower), dtype=bool)
    for _ in range(rounds):
        for j in range(a.shape[1]):
            aj = a[:, j]
            value = np.where(aj > 0, aj * lower, aj * upper).sum(axis=-1, keepdims=True)
            value += shift[:, j : j + 1] - slack[:, j : j + 1]
            # NaN and infinity compare false: such rows cut nothing.
            cuts = value <= 0
            excluded |= value[:, 0] > 0
            room = np.nextafter(-value / np.abs(aj) * (1.0 + 4.0 * DOUBLE_ROUNDOFF), np.inf)
            ceiling, floor = np.nextafter(lower + room, np.inf), np.nextafter(upper - room, -np.inf)
            upper = np.where(cuts & (aj > 0), np.minimum(upper, ceiling), upper)
            lower = np.where(cuts & (aj < 0), np.maximum(lower, floor), lower)
            crossed = lower > upper
            excluded |= crossed.any(axis=-1)
            lower = np.where(crossed, upper, lower)
    return Box.of(lower, upper), excluded
