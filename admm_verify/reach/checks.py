"""Whether sets that hold all trajectories of a cell say what a requirement asks, cell by cell."""

from abc import ABC, abstractmethod
from math import ceil, floor
from typing import assert_never

import numpy as np

from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.reach.requirements import Kind, Requirement


class TrajectorySets(ABC):
    """Sets that hold all trajectories from each of several cells, at all times up to some step.

    valid_steps: after how many steps there still are sets. Shapes: valid_steps [cells].
    """

    valid_steps: np.ndarray

    @abstractmethod
    def support(self, step: int, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'x after a step for directions [d, n] -> [cells, d]; infinite where there is no set."""

    @abstractmethod
    def enclosed(self, step: int) -> AffineForms:
        """Forms of the states after a step, [cells, n]; not finite where there is no set."""

    def during(self, steps: int, directions: np.ndarray) -> np.ndarray | None:
        """Upper bounds over the periods from the first so many steps on, [cells, steps, d]; None in discrete time."""
        return None

    def stays_inside(self, requirement: Requirement) -> np.ndarray:
        """Whether all trajectories are in a requirement's set at all of its times, [cells]; here, after all steps."""
        return np.all([self.inside(requirement, t) for t in _steps(requirement)], axis=0)

    def stays_outside(self, requirement: Requirement) -> np.ndarray:
        """Whether no trajectory is in a requirement's set at any of its times, [cells]; here, after any step."""
        return np.all([self.outside(requirement, t) for t in _steps(requirement)], axis=0)

    def inside(self, requirement: Requirement, step: int) -> np.ndarray:
        """Whether all trajectories are in a requirement's set after a step, [cells]."""
        region = requirement.set
        return region.holds(self._along(requirement, step, region.normals)) & (self.valid_steps >= step)

    def outside(self, requirement: Requirement, step: int) -> np.ndarray:
        """Whether some row of a requirement's set holds for no trajectory after a step, [cells]."""
        region = requirement.set
        return region.misses(-self._along(requirement, step, -region.normals)) & (self.valid_steps >= step)

    def _along(self, requirement: Requirement, step: int, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'y over what a requirement is about, after a step, [cells, d]."""
        if requirement.of is None:
            return self.support(step, directions)
        return requirement.of.support(self.enclosed(step), directions)


def _steps(requirement: Requirement) -> range:
    return range(ceil(requirement.first), floor(requirement.last) + 1)


def spread(known: tuple[np.ndarray, AffineForms] | None, cells: int, size: int) -> AffineForms:
    """Forms [cells, n] of some cells, given by their numbers, among all; NaN for the others."""
    symbols = 0 if known is None else known[1].symbols
    found = AffineForms(np.zeros((cells, size)), np.zeros((cells, size, symbols)), np.full((cells, size), np.nan))
    if known is not None:
        for whole, part in zip(found.numbers, known[1].numbers, strict=True):
            whole[known[0]] = part
    return found


def holds(requirement: Requirement, sets: TrajectorySets, steps: int) -> np.ndarray:
    """Where all trajectories of a cell meet a requirement, at all times and not only at control times, [cells]."""
    none = np.zeros(len(sets.valid_steps), dtype=bool)
    # What is to happen behind the horizon is not known.
    if requirement.kind is not Kind.REACH_SOME_TIME and requirement.last > steps:
        return none
    match requirement.kind:
        case Kind.REACH_SOME_TIME:
            return np.any([none, *(sets.inside(requirement, t) for t in requirement.control_times(steps))], axis=0)
        case Kind.REACH_AT_END:
            return sets.inside(requirement, int(requirement.last))
        case Kind.ALWAYS_IN:
            return sets.stays_inside(requirement)
        case Kind.NEVER_IN:
            return sets.stays_outside(requirement)
        case _:
            assert_never(requirement.kind)


def violates(requirement: Requirement, sets: TrajectorySets, steps: int) -> np.ndarray:
    """Where every trajectory of a cell breaks a requirement for certain, [cells]."""
    none = np.zeros(len(sets.valid_steps), dtype=bool)
    match requirement.kind:
        case Kind.NEVER_IN:
            return np.any([none, *(sets.inside(requirement, t) for t in requirement.control_times(steps))], axis=0)
        case Kind.ALWAYS_IN | Kind.REACH_AT_END:
            return np.any([none, *(sets.outside(requirement, t) for t in requirement.control_times(steps))], axis=0)
        case Kind.REACH_SOME_TIME:
            behind = requirement.last > steps
            return none if behind else sets.stays_outside(requirement)
        case _:
            assert_never(requirement.kind)
