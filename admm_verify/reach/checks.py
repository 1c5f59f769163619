"""Whether sets that hold all trajectories of a cell say what a requirement asks, cell by cell."""

from abc import ABC, abstractmethod
from fractions import Fraction
from math import ceil, floor
from typing import assert_never

import numpy as np

from admm_verify.reach.systems import Kind, Requirement
from admm_verify.sets.polytope import Polytope


class TrajectorySets(ABC):
    """Sets that hold all trajectories from each of several cells, at all times up to some step.

    valid_steps: after how many steps there still are sets. Shapes: valid_steps [cells].
    """

    valid_steps: np.ndarray

    @abstractmethod
    def support(self, step: int, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'x after a step for directions [d, n] -> [cells, d]; infinite where there is no set."""

    def during(self, steps: int, directions: np.ndarray) -> np.ndarray | None:
        """Upper bounds over the periods from the first so many steps on, [cells, steps, d]; None in discrete time."""
        return None

    def stays_inside(self, region: Polytope, first: Fraction, last: Fraction) -> np.ndarray:
        """Whether all trajectories are in a region at all times between two, [cells]; here, after all steps."""
        return np.all([self.inside(region, t) for t in range(ceil(first), floor(last) + 1)], axis=0)

    def stays_outside(self, region: Polytope, first: Fraction, last: Fraction) -> np.ndarray:
        """Whether no trajectory is in a region at any time between two, [cells]; here, after any step."""
        return np.all([self.outside(region, t) for t in range(ceil(first), floor(last) + 1)], axis=0)

    def inside(self, region: Polytope, step: int) -> np.ndarray:
        """Whether all trajectories are in a region after a step, [cells]."""
        return region.holds(self.support(step, region.normals)) & (self.valid_steps >= step)

    def outside(self, region: Polytope, step: int) -> np.ndarray:
        """Whether some row of a region holds for no trajectory after a step, [cells]."""
        return region.misses(-self.support(step, -region.normals)) & (self.valid_steps >= step)


def holds(requirement: Requirement, sets: TrajectorySets, steps: int) -> np.ndarray:
    """Where all trajectories of a cell meet a requirement, at all times and not only at control times, [cells]."""
    region, first, last = requirement.set, requirement.first, requirement.last
    none = np.zeros(len(sets.valid_steps), dtype=bool)
    # What is to happen behind the horizon is not known.
    if requirement.kind is not Kind.REACH_SOME_TIME and last > steps:
        return none
    match requirement.kind:
        case Kind.REACH_SOME_TIME:
            return np.any([none, *(sets.inside(region, t) for t in requirement.control_times(steps))], axis=0)
        case Kind.REACH_AT_END:
            return sets.inside(region, int(last))
        case Kind.ALWAYS_IN:
            return sets.stays_inside(region, first, last)
        case Kind.NEVER_IN:
            return sets.stays_outside(region, first, last)
        case _:
            assert_never(requirement.kind)


def violates(requirement: Requirement, sets: TrajectorySets, steps: int) -> np.ndarray:
    """Where every trajectory of a cell breaks a requirement for certain, [cells]."""
    region, none = requirement.set, np.zeros(len(sets.valid_steps), dtype=bool)
    match requirement.kind:
        case Kind.NEVER_IN:
            return np.any([none, *(sets.inside(region, t) for t in requirement.control_times(steps))], axis=0)
        case Kind.ALWAYS_IN | Kind.REACH_AT_END:
            return np.any([none, *(sets.outside(region, t) for t in requirement.control_times(steps))], axis=0)
        case Kind.REACH_SOME_TIME:
            behind = requirement.last > steps
            return none if behind else sets.stays_outside(region, requirement.first, requirement.last)
        case _:
            assert_never(requirement.kind)
