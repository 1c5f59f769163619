"""What rows share: input sets, bounds and lines, held once for neighbours that have the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, Int, namespace, take_rows, to_numpy
from admm_verify.relaxations.lines import Lines
from admm_verify.sets.contract import WalkableSet

_WORTH = 0.5
"""Sets per row from which on looking each of them up costs more than it spares."""


@dataclass(frozen=True, eq=False)
class Held:
    """Input sets, pre-activation bounds of all activations and their lines, and which of them every row has.

    owner: None where every row has its own, or all share one.
    Shapes: inputs [sets, n]; lower[k], upper[k] [sets or 1, n_k]; owner [rows].
    """

    inputs: WalkableSet
    lower: tuple[Array, ...]
    upper: tuple[Array, ...]
    lines: tuple[Lines, ...]
    owner: Int[Array, " rows"] | None = None

    def of_rows(self, array: Array) -> Array:
        """What is known of every set, [sets or 1, n], row by row."""
        return array if self.owner is None else take_rows(array, self.owner)

    def take(self, rows: Array) -> "Held":
        """What the given rows have."""
        if self.owner is not None:
            return replace(self, owner=namespace(rows).take(self.owner, rows, axis=0))
        lower, upper = (rows_of(side, rows) for side in (self.lower, self.upper))
        return Held(self.inputs.take(rows), lower, upper, tuple(line.take(rows) for line in self.lines))


def rows_of(ends: Sequence[Array], owner: Array | None) -> tuple[Array, ...]:
    """Bounds [sets or 1, n_k] of all layers row by row."""
    return tuple(ends) if owner is None else tuple(take_rows(end, owner) for end in ends)


@dataclass(frozen=True, eq=False)
class Sharing:
    """Which neighbouring rows are alike: the first row of each run of them, [sets], and each row's run, [rows]."""

    first: np.ndarray
    owner: np.ndarray

    @classmethod
    def of(cls, arrays: Sequence[Array], rows: int) -> "Sharing | None":
        """From arrays [rows or 1, ...]; None where all rows share one of each, or too few are alike."""
        own = [array for array in arrays if array.shape[0] == rows]
        if rows == 1 or not own:
            return None
        same: Array | None = None
        for array in own:
            xp = namespace(array)
            flat = xp.reshape(array, (rows, -1))
            alike = xp.all(flat[1:] == flat[:-1], axis=-1)
            same = alike if same is None else same & alike
            # Rows that all have inputs of their own are told by these.
            if isinstance(alike, np.ndarray) and not alike.any():
                return None
        changed = np.concatenate([[True], ~to_numpy(same)])
        first = np.flatnonzero(changed)
        return cls(first, np.cumsum(changed) - 1) if len(first) <= _WORTH * rows else None
