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

RIGID_BODY = Plant.read(
    [
        "c2*c3*x4 + (s1*s2*c3 - c1*s3)*x5 + (c1*s2*c3 + s1*s3)*x6",
        "c2*s3*x4 + (s1*s2*s3 + c1*c3)*x5 + (c1*s2*s3 - s1*c3)*x6",
        "-s2*x4 + s1*c2*x5 + c1*c2*x6",
        "x12*x5 - x11*x6 + u1",
        "x10*x6 - x12*x4 + u2",
        "x11*x4 - x10*x5 + u3",
        "x10 + (s1*x11 + c1*x12)*s2/c2",
        "c1*x11 - s1*x12",
        "(s1*x11 + c1*x12)/c2",
        "-0.9*x11*x12 + u4/0.05",
        "0.9*x10*x12 + u5/0.05",
        "0*x10*x11 + u6/0.1",
    ],
    6,
    let=[(f"{letter}{i}", f"{name}(x{i + 6})") for i in (1, 2, 3) for letter, name in (("s", "sin"), ("c", "cos"))],
)
"""Position, velocity along the body's axes, angles, rates of turn."""


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
