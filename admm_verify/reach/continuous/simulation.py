"""Simulated trajectories of a continuous plant with a sampled controller, not certified, for tests and attacks."""

from collections.abc import Callable

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import evaluate
from admm_verify.enclosures.plants import Plant
from admm_verify.reach.systems import ContinuousSystem
from admm_verify.run import Run


def trajectories(
    system: ContinuousSystem,
    points: np.ndarray,
    steps: int,
    substeps: int = 10,
    run: Run | None = None,
) -> np.ndarray:
    """States at all control times from initial points, by the classical Runge-Kutta method in float64.

    run: asked before every period; once over, the states from there on are NaN.
    Shapes: points [p, n] -> [p, steps + 1, n].
    Error: heuristic; the method's own error is of order (period / substeps)^4.
    """
    controller, period = system.controller.law, float(system.period)
    states = np.full((steps + 1, *points.shape), np.nan)
    states[0] = points
    with quiet_overflow():
        for step in range(steps):
            if run is not None and run.over():
                break
            states[step + 1] = integrate(system.plant, states[step], controller(states[step]), period, substeps)
    return np.swapaxes(states, 0, 1)


def integrate(plant: Plant, states: np.ndarray, control: np.ndarray, length: float, substeps: int) -> np.ndarray:
    """States after a time under constant controls, [p, n] and [p, inputs] -> [p, n]."""
    rates = _rates(plant, control)
    h = length / substeps
    for _ in range(substeps):
        first = rates(states)
        second = rates(states + 0.5 * h * first)
        third = rates(states + 0.5 * h * second)
        last = rates(states + h * third)
        states = states + h / 6.0 * (first + 2.0 * second + 2.0 * third + last)
    return states


def _rates(plant: Plant, control: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def rates(states: np.ndarray) -> np.ndarray:
        found = evaluate(plant.rates, plant.values(list(states.T), list(control.T)), FLOATS)
        return np.stack([np.broadcast_to(rate, len(states)) for rate in found], axis=-1)

    return rates
