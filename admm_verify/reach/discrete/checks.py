"""Whether the sets after each step do what a requirement says, cell by cell."""

from typing import assert_never

import numpy as np

from admm_verify.reach.discrete.tube import StepSets
from admm_verify.reach.systems import Kind, Requirement


def holds(requirement: Requirement, sets: StepSets, steps: int) -> np.ndarray:
    """Where all trajectories of a cell meet a requirement, [cells]."""
    region, times = requirement.set, requirement.control_times(steps)
    inside = [region.holds(sets.support(t, region.normals)) for t in times]
    # What is to happen behind the horizon is not known.
    late = np.full(sets.count, requirement.last > steps)
    match requirement.kind:
        case Kind.REACH_SOME_TIME:
            return np.any([0 * late, *inside], axis=0)
        case Kind.ALWAYS_IN | Kind.REACH_AT_END:
            return np.all([~late, *inside], axis=0)
        case Kind.NEVER_IN:
            return np.all([~late, *_outside(requirement, sets, steps)], axis=0)
        case _:
            assert_never(requirement.kind)


def violates(requirement: Requirement, sets: StepSets, steps: int) -> np.ndarray:
    """Where every trajectory of a cell breaks a requirement for certain, [cells]."""
    region, times = requirement.set, requirement.control_times(steps)
    none = np.zeros(sets.count, dtype=bool)
    match requirement.kind:
        case Kind.NEVER_IN:
            return np.any([none, *(region.holds(sets.support(t, region.normals)) for t in times)], axis=0)
        case Kind.ALWAYS_IN | Kind.REACH_AT_END:
            return np.any([none, *_outside(requirement, sets, steps)], axis=0)
        case Kind.REACH_SOME_TIME:
            late = np.full(sets.count, requirement.last > steps)
            return np.all([~late, *_outside(requirement, sets, steps)], axis=0)
        case _:
            assert_never(requirement.kind)


def _outside(requirement: Requirement, sets: StepSets, steps: int) -> list[np.ndarray]:
    """At every step of the requirement's time, where a cell's set misses the requirement's, [cells] each."""
    region = requirement.set
    return [region.misses(-sets.support(t, -region.normals)) for t in requirement.control_times(steps)]
