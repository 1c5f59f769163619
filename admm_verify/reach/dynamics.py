"""What is known of a system over its horizon: its trajectories, and sets that hold all of them from a cell."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from admm_verify.complete.tables import join
from admm_verify.reach.checks import TrajectorySets
from admm_verify.reach.starts import StartSet, drawn_inside
from admm_verify.run import Run
from admm_verify.sets.box import Box

_FIRST, _BLOCK = 500, 2500
"""Trajectories that are simulated in any case, and then at once."""

_SHARE = 0.1
"""Of the time, for more than the first ones."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Simulated trajectories, which prove nothing, and what each begins with.

    Shapes: points [count, inputs]; paths [count, steps + 1, n].
    """

    points: np.ndarray
    paths: np.ndarray


class Dynamics(ABC):
    """A system over a horizon.

    starts: all that a trajectory depends on, the `inputs` below.
    """

    starts: StartSet

    @property
    @abstractmethod
    def plain(self) -> "Dynamics":
        """The same system from first states in a box, whose numbers are the states themselves."""

    def certain(self, points: np.ndarray) -> np.ndarray:
        """The inputs of `plain` near some of these whose first states lie in the initial set, exactly.

        Shapes: points [count, inputs] -> [at most count, inputs].
        """
        first = self.starts.first
        if first.is_plain:
            return points[self.starts.holds(points)]
        states = drawn_inside(first.whole, first.states(points[:, : first.numbers]))
        found = np.concatenate([states, points[:, first.numbers :]], axis=1)[~np.isnan(states).any(axis=1)]
        return found[self.plain.starts.holds(found)]

    def sampled(self, count: int, run: Run) -> Trajectories:
        """So many trajectories from anywhere, or as many as there is time for."""
        rng, found, left, early = np.random.default_rng(0), [], count, run.within(_SHARE)
        while left > 0 and not (found and early.over()):
            points = self.starts.scattered(min(left, _BLOCK if found else _FIRST), rng)
            found.append(self.simulated(points, early if found else run))
            left -= len(points)
        return join(found)

    def opened(self, cells: Box, ends: Trajectories) -> np.ndarray:
        """What each side of some cells does to the error of their sets, in shares that only compare: [cells, sides].

        ends: from the lower end of every side through the middle of each cell, then from the upper ones, cell by cell.
        Zero where nothing is known of it.
        """
        return np.zeros((cells.count, self.starts.sides))

    @abstractmethod
    def simulated(self, points: np.ndarray, run: Run) -> Trajectories:
        """Trajectories from points of the inputs, [count, inputs]; where the run ends, NaN or none for the last."""

    @abstractmethod
    def sets(self, cells: Box, run: Run) -> TrajectorySets:
        """Sets that hold all trajectories of each cell, [cells, inputs], up to where the run ends."""

    @abstractmethod
    def singularity(self, known: Trajectories, run: Run) -> tuple[int, str] | None:
        """A step by which some trajectory is not defined any more, and a sentence on why, where that is found."""
