"""Bounds of some directions after every step as sets, which say something of other directions too."""

from dataclasses import dataclass

import numpy as np

from admm_verify.reach.checks import TrajectorySets
from admm_verify.reach.directions import box_directions
from admm_verify.sets.box import Box


@dataclass(frozen=True, eq=False)
class BoundedSets(TrajectorySets):
    """The sets {x : d'x <= bound for all directions d}.

    A direction that is none of these is bounded over the box around the set, where they hold one.
    Shapes: directions [d, n]; bound [cells, steps + 1, d].
    """

    valid_steps: np.ndarray
    directions: np.ndarray
    bound: np.ndarray

    @classmethod
    def of(cls, directions: np.ndarray, bound: np.ndarray) -> "BoundedSets":
        """Of bounds at all steps."""
        return cls(np.full(len(bound), bound.shape[1] - 1), directions, bound)

    def support(self, step: int, directions: np.ndarray) -> np.ndarray:
        known, size = self.bound[:, step], directions.shape[1]
        rows = [self._rows(direction) for direction in (*box_directions(size), *directions)]
        sides, own = rows[: 2 * size], rows[2 * size :]
        found = np.full((len(known), len(directions)), np.inf)
        if all(len(row) for row in sides):
            ends = known[:, [row[0] for row in sides]]
            finite = np.isfinite(ends).all(axis=1)
            found[finite] = Box.of(-ends[finite, size:], ends[finite, :size]).support(directions)
        for column, row in enumerate(own):
            if len(row):
                found[:, column] = np.minimum(found[:, column], known[:, row[0]])
        return found

    def _rows(self, direction: np.ndarray) -> np.ndarray:
        return np.flatnonzero((self.directions == direction).all(axis=1))
