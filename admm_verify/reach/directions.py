"""Directions in which sets are bounded."""

import numpy as np

from admm_verify.errors import InputError

TEMPLATES = ("box", "octagon", "principal")
"""Names of sets of directions at the front door."""

MOST_DIRECTIONS = 20_000
"""Every direction is bounded at every step."""


def box_directions(states: int) -> np.ndarray:
    """+-e_i: upper bounds of x first, [2 n, n]."""
    return np.concatenate([np.eye(states), -np.eye(states)])


def octagon_directions(states: int) -> np.ndarray:
    """+-e_i and +-e_i +- e_j, [2 n^2, n].

    Raises: InputError for more than MOST_DIRECTIONS of them.
    """
    if 2 * states**2 > MOST_DIRECTIONS:
        raise InputError(f"The octagon of {states} states has {2 * states**2} directions; take those of a box.")
    rows = [box_directions(states)]
    for i in range(states):
        for j in range(i + 1, states):
            for signs in ((1.0, 1.0), (1.0, -1.0)):
                row = np.zeros((1, states))
                row[0, [i, j]] = signs
                rows += [row, -row]
    return np.concatenate(rows)


def even_directions(states: int, count: int) -> np.ndarray:
    """`count` directions evenly around the plane of the first two states, beside the box's, [2 n + count, n].

    Raises: InputError for one state, or less than one direction.
    """
    if states < 2 or count < 1:
        raise InputError(f"{count} directions in {states} states were asked for; give at least 1 in at least 2 states.")
    angle = 2.0 * np.pi * np.arange(count) / count
    plane = np.zeros((count, states))
    plane[:, 0], plane[:, 1] = np.cos(angle), np.sin(angle)
    return np.concatenate([box_directions(states), plane])


def principal_directions(points: np.ndarray) -> np.ndarray:
    """+- the principal axes of some points [points, n] beside the box's, [4 n, n].

    Raises: InputError for no points, as where all simulations overflow.
    """
    states = points.shape[1]
    if not len(points):
        raise InputError("No simulated state is finite at the end, so there are no principal directions; take a box's.")
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=True)
    return np.concatenate([box_directions(states), axes, -axes])
