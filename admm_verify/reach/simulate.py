"""Trajectories of any system in float64, for orientation: they prove nothing."""

import numpy as np

from admm_verify.arrays import Array
from admm_verify.options import Range, count, instance
from admm_verify.reach.continuous import simulation
from admm_verify.reach.discrete.rollout import noise_columns, noise_set
from admm_verify.reach.discrete.steps import step_of
from admm_verify.reach.inputs import rows
from admm_verify.reach.starts import scattered
from admm_verify.reach.systems import MOST_STEPS, SYSTEMS, ContinuousSystem, System


def simulate(
    system: System, x: Array, steps: int, rng: np.random.Generator | None = None, substeps: int = 10
) -> np.ndarray:
    """States at every step from x [points, n], with random noise where the system has any: [points, steps + 1, n].

    Continuous time is integrated by the classical Runge-Kutta method in so many substeps a period. A single state x
    [n] is one point.
    Raises: InputError for points that are not finite or of another size, less than one step or substep, and an rng
    that is no numpy.random.Generator.
    """
    states = instance(system, SYSTEMS, "The system").states
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
) -> np.ndarray:
    """The same for arguments that need no check."""
    if isinstance(system, ContinuousSystem):
        return simulation.trajectories(system, points, steps, substeps)
    step, noise = step_of(system), scattered(noise_set(system, steps), len(points), rng)
    states = np.empty((steps + 1, *points.shape))
    states[0] = points
    for t in range(steps):
        seen = np.concatenate([states[t], noise[:, noise_columns(system, t, steps)]], axis=1)
        states[t + 1] = step.simulated(seen)
    return np.swapaxes(states, 0, 1)
