"""Whether the sets of a tube do what a requirement says, cell by cell."""

from math import ceil, floor
from typing import assert_never

import numpy as np

from admm_verify.reach.continuous.tube import Tube
from admm_verify.reach.systems import Kind, Polytope, Requirement

_PIECES = 8
"""Of a substep, where it comes near a set to be avoided."""


def holds(requirement: Requirement, tube: Tube, steps: int) -> np.ndarray:
    """Where all trajectories of a cell meet a requirement, at all times and not only at control times, [cells]."""
    region, none = requirement.set, np.zeros(len(tube.valid_steps), dtype=bool)
    times, (first, last) = requirement.control_times(steps), _times(requirement, steps)
    # What is to happen behind the horizon is not known.
    if requirement.kind is not Kind.REACH_SOME_TIME and requirement.last > steps:
        return none
    match requirement.kind:
        case Kind.REACH_SOME_TIME:
            return np.any([none, *(_inside(region, tube, t) for t in times)], axis=0)
        case Kind.REACH_AT_END:
            return _inside(region, tube, last)
        case Kind.ALWAYS_IN:
            return _inside(region, tube, first) if first == last else _always_inside(region, tube, first, last)
        case Kind.NEVER_IN:
            return _misses(region, tube, first) if first == last else _never_inside(region, tube, first, last)
        case _:
            assert_never(requirement.kind)


def violates(requirement: Requirement, tube: Tube, steps: int) -> np.ndarray:
    """Where every trajectory of a cell breaks a requirement for certain, [cells]."""
    region, none = requirement.set, np.zeros(len(tube.valid_steps), dtype=bool)
    times, (first, last) = requirement.control_times(steps), _times(requirement, steps)
    match requirement.kind:
        case Kind.NEVER_IN:
            return np.any([none, *(_inside(region, tube, t) for t in times)], axis=0)
        case Kind.ALWAYS_IN | Kind.REACH_AT_END:
            return np.any([none, *(_misses(region, tube, t) for t in times)], axis=0)
        case Kind.REACH_SOME_TIME:
            if requirement.last > steps:
                return none
            return _misses(region, tube, first) if first == last else _never_inside(region, tube, first, last)
        case _:
            assert_never(requirement.kind)


def _times(requirement: Requirement, steps: int) -> tuple[int, int]:
    """The control periods that a requirement's times touch: from the first's start to the last's end."""
    return max(0, floor(requirement.first)), min(steps, ceil(requirement.last))


def _always_inside(region: Polytope, tube: Tube, first: int, last: int) -> np.ndarray:
    good = tube.valid_steps >= last
    for t in range(first, last):
        good &= region.holds(tube.support_during(t, region.normals))
    return good


def _never_inside(region: Polytope, tube: Tube, first: int, last: int) -> np.ndarray:
    """Whether every piece of time has a row of the set that holds nowhere in it."""
    good = tube.valid_steps >= last
    for period in tube.periods[first:last]:
        for substep in period.substeps:
            away = region.misses(-substep.support(-region.normals))
            # Long pieces of a path around a corner touch it; shorter ones do not.
            if not away[good[period.cells]].all():
                parts = [region.misses(-piece.support(-region.normals)) for piece in substep.pieces(_PIECES)]
                away |= np.all(parts, axis=0)
            good[period.cells] &= away
    return good


def _inside(region: Polytope, tube: Tube, t: int) -> np.ndarray:
    return region.holds(tube.support(t, region.normals)) & (tube.valid_steps >= t)


def _misses(region: Polytope, tube: Tube, t: int) -> np.ndarray:
    return region.misses(-tube.support(t, -region.normals)) & (tube.valid_steps >= t)
