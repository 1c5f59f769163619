"""Rows that are alike: what belongs to their input sets is then found, and held, once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, namespace, to_numpy

_WORTH = 0.5
"""Sets per row from which on looking each of them up costs more than it spares."""


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
