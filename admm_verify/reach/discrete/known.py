"""Bounds of some directions after every step as sets, which say something of other directions too."""

from dataclasses import dataclass, field

import numpy as np

from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.reach.checks import TrajectorySets, spread
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
    _found: dict[bytes, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, directions: np.ndarray, bound: np.ndarray) -> "BoundedSets":
        """Of bounds at all steps."""
        return cls(np.full(len(bound), bound.shape[1] - 1), directions, bound)

    def support(self, step: int, directions: np.ndarray) -> np.ndarray:
        # All steps at once take little longer than one.
        key = np.ascontiguousarray(directions).tobytes()
        if key not in self._found:
            self._found[key] = self._all(directions)
        return self._found[key][:, step]

    def enclosed(self, step: int) -> AffineForms:
        unit = np.eye(self.directions.shape[1])
        low, high = -self.support(step, -unit), self.support(step, unit)
        known = np.isfinite(low).all(axis=-1) & np.isfinite(high).all(axis=-1)
        boxes = AffineForms.around(Box.of(low[known], high[known]))
        return spread((np.flatnonzero(known), boxes), len(self.bound), len(unit))

    def _all(self, directions: np.ndarray) -> np.ndarray:
        """Bounds of directions at all steps, [cells, steps + 1, d]."""
        size, lead = directions.shape[1], self.bound.shape[:2]
        found, sides = np.full((*lead, len(directions)), np.inf), self._places(box_directions(size))
        if (sides >= 0).all():
            ends = self.bound[..., sides]
            finite = np.isfinite(ends).all(axis=-1)
            found[finite] = Box.of(-ends[finite][:, size:], ends[finite][:, :size]).support(directions)
        own = self._places(directions)
        found[..., own >= 0] = np.minimum(found[..., own >= 0], self.bound[..., own[own >= 0]])
        return found

    def _places(self, directions: np.ndarray) -> np.ndarray:
        """Where each direction is among those that are bounded, -1 for nowhere."""
        same = (self.directions[None] == directions[:, None]).all(axis=-1)
        return np.where(same.any(axis=1), same.argmax(axis=1), -1)
