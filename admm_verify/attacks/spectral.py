"""Spectral projected gradients: steps as long as the curvature just met asks for, over any set with nearest points."""

from collections import deque
from collections.abc import Callable

import numpy as np

Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""loss(x) -> its value and its gradient."""

_RECENT = 10
"""Values of which a new one has to be below the largest: steps need not go down each time."""

_SHARE = 1e-4
"""Of the fall that the gradient promises, what a step has to keep."""

_HALVINGS = 12
"""Halvings of a step before the descent is given up."""

_RANGE = 1e6
"""How much longer or shorter than one across the set steps may be."""


def descend(
    loss: Loss,
    project: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    length: float,
    steps: int,
    over: Callable[[], bool],
) -> None:
    """At most so many steps from a point of the set along x + t (project(x - s gradient) - x), s = |dx|^2 / dx'dg.

    length: of a step across the set. over(): asked after every evaluation; the descent ends where it says yes, where
    nothing falls any more, and where slopes are not finite.
    Shapes: start [n].
    Reference: Birgin, Martinez and Raydan, Nonmonotone spectral projected gradient methods on convex sets, SIAM J.
    Optim. 10, 2000.
    """
    x = start
    value, gradient = loss(x)
    recent = deque([value], _RECENT)
    pace = _across(length, gradient)
    for _ in range(steps):
        ahead = project(x - pace * gradient) - x
        slope = float(gradient @ ahead)
        if over() or not -np.inf < slope < 0.0:
            return
        share = 1.0
        for _ in range(_HALVINGS):
            moved = x + share * ahead
            value, turned = loss(moved)
            if over():
                return
            if value <= max(recent) + _SHARE * share * slope:
                break
            share *= 0.5
        else:
            return
        step, turn = moved - x, turned - gradient
        curvature, usual = float(step @ turn), _across(length, turned)
        pace = float(step @ step) / curvature if curvature > 0.0 else np.inf
        pace = min(max(pace, usual / _RANGE), usual * _RANGE)
        x, gradient = moved, turned
        recent.append(value)


def _across(length: float, gradient: np.ndarray) -> float:
    """The factor that makes a gradient as long as a step across the set; for a gradient of zero any will do."""
    size = float(np.linalg.norm(gradient))
    return length / size if size > 0.0 else 1.0
