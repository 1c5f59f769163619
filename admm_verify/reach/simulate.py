"""Trajectories of any system in float64, for orientation: they prove nothing."""

from collections.abc import Callable

import numpy as np

from admm_verify.arrays import Array, quiet_overflow
from admm_verify.options import Range, count, instance
from admm_verify.reach import simulation
from admm_verify.reach.inputs import rows
from admm_verify.reach.rollout import control_network, rollout
from admm_verify.reach.systems import MOST_STEPS, ContinuousSystem, LinearSystem, NetworkSystem, System
from admm_verify.sets.box import Box

_MOST_NUMBERS = 2**25
"""Of all simulated states: a quarter of a gigabyte."""


def spread(box: Box, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points of a box [count, n]: a quarter of them vertices, where extremes like to be."""
    low, high = (np.asarray(end).reshape(1, -1) for end in (box.lower, box.upper))
    # Ends may be so far apart that their difference overflows.
    share = rng.random((count, low.shape[1]))
    points = low * (1.0 - share) + high * share
    corner = rng.random(points.shape) < 0.5
    points[: count // 4] = np.where(corner, low, high)[: count // 4]
    return np.clip(points, low, high)


def affordable(samples: int, steps: int, states: int) -> int:
    """How many of so many trajectories have room in memory, at least one."""
    return max(1, min(samples, _MOST_NUMBERS // (steps * states)))


def simulate(
    system: System, x: Array, steps: int, rng: np.random.Generator | None = None, substeps: int = 10
) -> np.ndarray:
    """States at every step from x [points, n], with random noise where the system has any: [points, steps + 1, n].

    Continuous time is integrated by the classical Runge-Kutta method in so many substeps a period. A single state x
    [n] is one point.
    Raises: InputError for points that are not finite or of another size, less than one step or substep, and an rng
    that is no numpy.random.Generator.
    """
    states = instance(system, (LinearSystem, NetworkSystem, ContinuousSystem), "The system").states
    steps = count(steps, "The number of steps", Range(1, most=MOST_STEPS))
    substeps = count(substeps, "The number of substeps", Range(1))
    points = rows(x, states, "start of the simulation")
    rng = np.random.default_rng(0) if rng is None else instance(rng, np.random.Generator, "The rng")
    return trajectories(system, points, steps, rng, substeps)


def trajectories(
    system: System,
    points: np.ndarray,
    steps: int,
    rng: np.random.Generator,
    substeps: int = 10,
    stop: Callable[[], bool] | None = None,
) -> np.ndarray:
    """The same for arguments that need no check; once stop is true, states in continuous time are NaN."""
    if isinstance(system, ContinuousSystem):
        with quiet_overflow():
            network = control_network(system.controller)
            states = simulation.simulate(system.plant, network, points, steps, float(system.period), substeps, stop)
        return np.swapaxes(states, 0, 1)
    graph = rollout(system, steps)
    noise = spread(graph.noise, len(points), rng) if np.size(graph.noise.lower) else np.zeros((len(points), 0))
    return np.concatenate([points[:, None], graph.trajectories(np.concatenate([points, noise], axis=1))], axis=1)
