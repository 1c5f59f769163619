"""Good multipliers of slope systems by descent: a smooth function of their logarithms, from coarse to fine.

The least constant of multipliers is a semidefinite program; its objective, the largest eigenvalue of what is left once
the neurons are eliminated, is made smooth by a mean of all eigenvalues with a power that grows. A step costs one
factorisation, where one of the interior point method costs a dozen and more memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from admm_verify.lipschitz.slope_forms import Judged

Judge = Callable[[np.ndarray, float], Judged | None]
"""What multipliers are worth in the mean of a power; None where they are worth nothing."""

_POWERS = (20.0, 100.0, 500.0, 2500.0)
"""Of the means, one stage each."""

_MEMORY = 20
"""Pairs of changes that curvature is known by."""

_TRIALS = 12
"""Of the length of a step."""

_SETTLED = 1e-6
"""Relative decrease per step at which a stage ends."""


@dataclass(eq=False)
class _Curvature:
    """Changes of the logarithms and of gradients: what L-BFGS knows."""

    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(self, change: np.ndarray, bend: np.ndarray) -> None:
        if change @ bend > 1e-12 * np.linalg.norm(change) * np.linalg.norm(bend):
            self.pairs = [*self.pairs, (change, bend)][-_MEMORY:]

    def direction(self, gradient: np.ndarray) -> np.ndarray:
        """Downhill; at the first step a tenth in the largest logarithm."""
        if self.pairs:
            found, factors = -gradient, []
            for change, bend in reversed(self.pairs):
                factors.append(float(change @ found) / float(change @ bend))
                found = found - factors[-1] * bend
            change, bend = self.pairs[-1]
            found = found * (float(change @ bend) / float(bend @ bend))
            for (change, bend), factor in zip(self.pairs, reversed(factors), strict=True):
                found = found + change * (factor - float(bend @ found) / float(change @ bend))
            if found @ gradient < 0.0:
                return found
            self.pairs = []
        return -gradient * (0.1 / max(float(np.max(np.abs(gradient))), 1e-300))


@dataclass(frozen=True, eq=False)
class DescentPoint:
    """Where a descent is: multipliers t, their constant L, whether a stage ends here, and whether L is within the
    tolerance of the least one, as far as the last stage has settled.
    """

    weights: np.ndarray
    constant: float
    ends_here: bool
    is_close: bool


def descended(
    judge: Judge, weights: np.ndarray, eigenvalues: int, tolerance: float, steps: int
) -> Iterator[DescentPoint]:
    """Better and better multipliers t; they begin with some that can be judged.

    A mean is above the largest eigenvalue by a factor of (count of eigenvalues)^(1 / power) at most: once that is
    within the tolerance, relatively in L, and the mean has settled, it ends. eigenvalues: how many the mean is of;
    steps: of one stage at most.
    """
    entries = max(eigenvalues, 2)
    for power in _POWERS:
        here = judge(weights, power)
        if here is None:
            return
        fine = bool(np.log(entries) <= 2.0 * tolerance * power)
        for point in _stage(judge, weights, here, power, steps):
            weights = point.weights
            yield replace(point, is_close=fine and point.is_close)
        if fine:
            return


def _stage(judge: Judge, weights: np.ndarray, here: Judged, power: float, steps: int) -> Iterator[DescentPoint]:
    known = _Curvature()
    for k in range(steps):
        gradient = here.gradient * weights
        direction = known.direction(gradient)
        slope = float(direction @ gradient)
        step = min(1.0, 1.0 / max(float(np.max(np.abs(direction))), 1e-300))
        at_edge = False
        for _ in range(_TRIALS):
            moved = weights * np.exp(step * direction)
            there = judge(moved, power)
            if there is not None and there.value <= here.value + 1e-4 * step * slope:
                break
            at_edge = at_edge or there is None
            step *= 0.4
        else:
            yield DescentPoint(weights, _constant(here), True, not at_edge)
            return
        known.add(step * direction, there.gradient * moved - gradient)
        settled = here.value - there.value < _SETTLED
        weights, here = moved, there
        # Short of the edge of what can be judged, small steps say nothing.
        yield DescentPoint(weights, _constant(here), settled or k == steps - 1, settled and not at_edge)
        if settled:
            return


def _constant(found: Judged) -> float:
    return float(np.sqrt(np.max(found.largest)))
