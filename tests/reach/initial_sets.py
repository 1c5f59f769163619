"""Initial sets that are no boxes, and points of them."""

from collections.abc import Callable

import numpy as np

import admm_verify as av
from admm_verify.reach.starts import drawn_inside
from admm_verify.sets.contract import WalkableSet

Randomness = np.random.Generator


def ellipsoid(rng: Randomness, states: int) -> av.Ellipsoid:
    axes = 0.3 * rng.standard_normal((states, states)) / np.sqrt(states)
    return av.Ellipsoid(0.1 * rng.standard_normal(states), axes @ axes.T)


def product(rng: Randomness, states: int) -> av.Product:
    end = rng.uniform(0.0, 0.3, 1)
    return av.Product(ellipsoid(rng, states - 1), av.Box(-end, end))


def ball(rng: Randomness, states: int) -> WalkableSet:
    """Cut off at one side."""
    center = 0.1 * rng.standard_normal(states)
    return av.Ball(center, rng.uniform(0.1, 0.3, states), within=(center - 0.1, np.full(states, 9.0)))


def taxicab(rng: Randomness, states: int) -> WalkableSet:
    return av.Ball(0.1 * rng.standard_normal(states), 0.3, norm="l1")


def polytope(rng: Randomness, states: int) -> av.Polytope:
    """A box without some corners."""
    normals = rng.standard_normal((4, states))
    return av.Polytope(
        normals, 0.2 * np.linalg.norm(normals, axis=1), av.Box(np.full(states, -0.3), np.full(states, 0.2))
    )


def zonotope(rng: Randomness, states: int) -> av.Zonotope:
    return av.Zonotope(0.1 * rng.standard_normal(states), 0.15 * rng.standard_normal((states, states + 1)))


SETS: dict[str, Callable[[Randomness, int], WalkableSet]] = {
    "ellipsoid": ellipsoid,
    "product": product,
    "ball": ball,
    "l1 ball": taxicab,
    "polytope": polytope,
    "zonotope": zonotope,
}


def inside(rng: Randomness, inputs: WalkableSet, count: int) -> np.ndarray:
    """Points of a set [n], exactly; half of them on its border, as near as floats come."""
    extreme = np.asarray(inputs.minimiser(rng.standard_normal((count, inputs.size))))
    points = drawn_inside(inputs, np.concatenate([extreme, np.asarray(inputs.sample(count, rng))]))
    assert np.asarray(inputs.contains(points)).all()
    return points
