"""Trajectories of any system in float64, for orientation: they prove nothing."""

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.reach import simulation
from admm_verify.reach.rollout import control_network, rollout
from admm_verify.reach.systems import ContinuousSystem, System
from admm_verify.sets import Box


def spread(box: Box, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points of a box [count, n]: a quarter of them vertices, where extremes like to be."""
    low, high = (np.asarray(end).reshape(1, -1) for end in (box.lower, box.upper))
    # Ends may be so far apart that their difference overflows.
    share = rng.random((count, low.shape[1]))
    points = low * (1.0 - share) + high * share
    corner = rng.random(points.shape) < 0.5
    points[: count // 4] = np.where(corner, low, high)[: count // 4]
    return np.clip(points, low, high)


def simulate(
    system: System, x: np.ndarray, steps: int, rng: np.random.Generator | None = None, substeps: int = 10
) -> np.ndarray:
    """States at every step from x [points, n], with random noise where the system has any: [points, steps + 1, n].

    Continuous time is integrated by the classical Runge-Kutta method in so many substeps a period.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    if isinstance(system, ContinuousSystem):
        with quiet_overflow():
            network = control_network(system.controller)
            states = simulation.simulate(system.plant, network, x, steps, float(system.period), substeps)
        return np.swapaxes(states, 0, 1)
    graph = rollout(system, steps)
    noise = spread(graph.noise, len(x), rng) if np.size(graph.noise.lower) else np.zeros((len(x), 0))
    return np.concatenate([x[:, None], graph.trajectories(np.concatenate([x, noise], axis=1))], axis=1)
