"""Small random systems in discrete time, and their trajectories step by step without any graph."""

from itertools import pairwise

import numpy as np

from admm_verify import Box, Controller, LinearSystem, NetworkSystem
from admm_verify.network.layers import network_from_layers
from admm_verify.reach.systems import DiscreteSystem
from admm_verify.sets.contract import WalkableSet

Randomness = np.random.Generator


def dense(rng: Randomness, *sizes: int):
    weights = [rng.standard_normal(pair[::-1]) / np.sqrt(pair[0]) for pair in pairwise(sizes)]
    return network_from_layers(weights, [0.3 * rng.standard_normal(size) for size in sizes[1:]])


def autonomous(rng: Randomness) -> NetworkSystem:
    return NetworkSystem(dense(rng, 2, 6, 6, 2))


def linear(rng: Randomness, clip: bool = True, noise: bool = True, residual: bool = False) -> LinearSystem:
    """Three states, two sensors, one input."""
    limits = (np.array([-0.5]), np.array([0.4])) if clip else None
    sensor = Box(np.full(2, -0.05), np.full(2, 0.05)) if noise else None
    controller = Controller(
        dense(rng, 2, 5, 1),
        rng.standard_normal((2, 3)),
        rng.standard_normal(2),
        np.array([1.5]),
        np.array([0.1]),
        limits,
        sensor,
    )
    return LinearSystem(
        controller,
        0.6 * rng.standard_normal((3, 3)),
        rng.standard_normal((3, 1)),
        0.1 * rng.standard_normal(3),
        rng.standard_normal((3, 2)) if noise else None,
        Box(np.array([-0.02, -0.01]), np.array([0.02, 0.03])) if noise else None,
        dense(rng, 4, 4, 3) if residual else None,
    )


KINDS = {
    "autonomous": autonomous,
    "plain": lambda rng: linear(rng, clip=False, noise=False),
    "clipped": lambda rng: linear(rng, noise=False),
    "noisy": linear,
    "residual": lambda rng: linear(rng, residual=True),
}


def initial(system: DiscreteSystem) -> Box:
    return Box(np.linspace(-0.3, 0.1, system.states), np.linspace(0.1, 0.3, system.states))


def drawn(rng: Randomness, box: WalkableSet | None, count: int, steps: int) -> np.ndarray:
    """Points of a box for every step, half of them vertices: [count, steps, size]."""
    if box is None:
        return np.zeros((count, steps, 0))
    low, high = (np.asarray(end) for end in box.range)
    points = rng.uniform(low, high, (count, steps, len(low)))
    corners = np.where(rng.random(points.shape) < 0.5, low, high)
    return np.where(rng.random((count, 1, 1)) < 0.5, corners, points)


def simulated(system: DiscreteSystem, x: np.ndarray, process: np.ndarray, sensor: np.ndarray) -> np.ndarray:
    """States after every step from x [points, n] under given noise: [points, steps, n]."""
    states = []
    for t in range(process.shape[1]):
        if isinstance(system, NetworkSystem):
            x = system.network(x)
        else:
            own = system.controller
            seen = x @ own.observe.T + own.shift
            seen = seen if own.noise is None else seen + sensor[:, t]
            u = own.scale * own.network(seen).reshape(len(x), -1) + own.offset
            u = u if own.limits is None else np.clip(u, *own.limits)
            rest = 0.0 if system.residual is None else system.residual(np.concatenate([x, u], axis=1))
            x = x @ system.a.T + u @ system.b.T + system.c + rest
            x = x if system.e is None else x + process[:, t] @ system.e.T
        states.append(x)
    return np.stack(states, axis=1)


def trajectories(system: DiscreteSystem, rng: Randomness, box: Box, count: int, steps: int) -> np.ndarray:
    """Random trajectories from a box, [count, steps, n]."""
    first = drawn(rng, box, count, 1)[:, 0]
    noise = (system.noise, system.controller.noise) if isinstance(system, LinearSystem) else (None, None)
    return simulated(system, first, *(drawn(rng, part, count, steps) for part in noise))
