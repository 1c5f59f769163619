"""Whether the sets of a tube do what a requirement says, cell by cell."""

from math import ceil, floor

import numpy as np

from admm_verify.reach.continuous import Tube
from admm_verify.reach.systems import Kind, Polytope, Requirement

_PIECES = 8
"""Of a substep, where it comes near a set to be avoided."""


def holds(requirement: Requirement, tube: Tube, steps: int) -> np.ndarray:
    """Where all trajectories of a cell meet a requirement, at all times and not only at control times, [cells]."""
    if requirement.kind is Kind.REACH_AT_END:
        return _inside(requirement.set, tube, steps)
    first, last = _times(requirement, steps)
    if requirement.kind is Kind.REACH_SOME_TIME:
        times = range(ceil(requirement.first), last + 1)
        return np.any([_inside(requirement.set, tube, t) for t in times], axis=0)
    return _throughout(requirement, tube, first, last)


def violates(requirement: Requirement, tube: Tube, steps: int) -> np.ndarray:
    """Where every trajectory of a cell breaks a requirement for certain, [cells]."""
    region = requirement.set
    if requirement.kind is Kind.REACH_AT_END:
        return _misses(region, tube, steps)
    first, last = _times(requirement, steps)
    times = range(ceil(requirement.first), floor(min(requirement.last, steps)) + 1)
    if requirement.kind is Kind.ALWAYS_IN:
        return np.any([_misses(region, tube, t) for t in times], axis=0)
    if requirement.kind is Kind.NEVER_IN:
        return np.any([_inside(region, tube, t) for t in times], axis=0)
    return _never_inside(region, tube, first, last)


def _times(requirement: Requirement, steps: int) -> tuple[int, int]:
    """The control periods that a requirement's times touch: from the first's start to the last's end."""
    return max(0, floor(requirement.first)), min(steps, ceil(requirement.last))


def _throughout(requirement: Requirement, tube: Tube, first: int, last: int) -> np.ndarray:
    region, good = requirement.set, np.ones(len(tube.valid_steps), dtype=bool)
    if first == last:
        return _inside(region, tube, first) if requirement.kind is Kind.ALWAYS_IN else _misses(region, tube, first)
    if requirement.kind is Kind.NEVER_IN:
        return _never_inside(region, tube, first, last)
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
    return region.holds(tube.support(t, region.normals))


def _misses(region: Polytope, tube: Tube, t: int) -> np.ndarray:
    return region.misses(-tube.support(t, -region.normals))
