"""Tiny plants and controllers, and exact trajectories of some."""

from fractions import Fraction
from itertools import pairwise

import numpy as np

from admm_verify import Network, Plant
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap

PENDULUM = Plant.read(["x2", "g/l*sin(x1)+(u1-c*x2)/(m*l**2)"], 1, {"g": 1.0, "l": 0.5, "m": 0.5, "c": 0.1})
UNICYCLE = Plant.read(["x3*cos(x4)", "x3*sin(x4)", "u1", "u2"], 2)
DOUBLE_INTEGRATOR = Plant.read(["x2", "u1"], 1)
RICCATI = Plant.read(["-x1*x1 + 0*u1"], 1)
CHAIN = Plant.read([*(f"x{i + 1}" for i in range(1, 12)), "u1"], 1)
"""Twelve integrators in a row."""


def relu_network(seed: int, *sizes: int, gain: float = 1.0) -> Network:
    rng = np.random.default_rng(seed)
    weights = [gain * rng.standard_normal(pair[::-1]) / np.sqrt(pair[0]) for pair in pairwise(sizes)]
    return network_from_layers(weights, [0.3 * rng.standard_normal(size) for size in sizes[1:]])


def tanh_network(seed: int, *sizes: int) -> Network:
    """tanh after every layer, the last one too."""
    rng = np.random.default_rng(seed)
    builder = Builder((sizes[0],), "float64")
    x = builder.input
    for columns, rows in pairwise(sizes):
        weight = rng.standard_normal((rows, columns)) / np.sqrt(columns)
        x = Tensor(builder.affine(x, DenseMap(weight), 0.3 * rng.standard_normal(rows)), (rows,))
        x = builder.activation("tanh", x)
    return builder.finish(x, "tanh")


def linear_network(gain: np.ndarray) -> Network:
    """u = gain x."""
    return network_from_layers([gain], [np.zeros(len(gain))])


def exact_point(forms: AffineForms, cell: int, z: list[Fraction]) -> list[Fraction]:
    """centre + generators z of one cell of forms [cells, n], exactly."""
    return [
        Fraction(float(centre)) + sum(Fraction(float(g)) * s for g, s in zip(generators, z, strict=True))
        for centre, generators in zip(forms.centre[cell], forms.generators[cell], strict=True)
    ]


def corners_and_points(rng: np.random.Generator, lower: np.ndarray, upper: np.ndarray, count: int) -> np.ndarray:
    """Points of a box, half of them vertices, [count, n]."""
    points = rng.uniform(lower, upper, (count, len(lower)))
    points[::2] = np.where(rng.random((len(points[::2]), len(lower))) < 0.5, lower, upper)
    return points
