"""Boxes cut down to where linear lower bounds of a disjunct's atoms still allow them to hold."""

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Bool, Float
from admm_verify.sets.box import Box


def contract(
    box: Box, coefficient: Float[np.ndarray, "parts atoms n"], bound: Float[np.ndarray, "parts atoms"], rounds: int
) -> tuple[Box, Bool[np.ndarray, " parts"]]:
    """The boxes without what a'x + e > 0 excludes, and which of them are excluded altogether.

    bound is certified: f(x) >= a'x + e on the box with e = bound - min over the box of a'x. Where f(x) <= 0, so is
    a'x + e, hence x_i <= l_i - (min a'x + e) / a_i for a_i > 0, and likewise from above for a_i < 0. Rows without a
    bound cut nothing.

    Error: rounded outward.
    """
    a, lower, upper = coefficient, np.array(box.lower), np.array(box.upper)
    excluded = np.zeros(len(lower), dtype=bool)
    least = np.where(a > 0, a * lower[:, None], a * upper[:, None]).sum(axis=-1)
    size = (np.abs(a) * box.reach[:, None]).sum(axis=-1) + np.abs(bound)
    # All sums below are off by less; boxes only shrink, so the size stays an upper bound.
    slack = 4.0 * (a.shape[-1] + 8) * (DOUBLE_ROUNDOFF * size + SMALLEST)
    shift = bound - least - slack
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
