"""What the attacks have in common: from starts of their own and given ones they improve points of every set at once."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.starts import STARTS, Starts, started
from admm_verify.options import Count, Settings


@dataclass(frozen=True)
class Method(Settings, ABC):
    """One attack with its settings.

    starts: where it begins in every set. steps: iterations from there.
    """

    starts: Starts = STARTS
    steps: Count = 50

    def search(self, hunt: Hunt, given: Array | None, rng: np.random.Generator) -> None:
        """Improve the points of a hunt's open targets; given [targets, points, inputs] of all its targets."""
        for rows, points in started(hunt, self.starts, given, rng):
            self.improve(hunt, rows, points)

    @abstractmethod
    def improve(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        """Move the points [targets, points, inputs] of a hunt's targets `rows`."""
