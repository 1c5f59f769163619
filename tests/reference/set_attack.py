"""Values that a network attains on sets of any kind, from samples, extreme points and projected descent."""

import numpy as np

from admm_verify import Network
from admm_verify.sets.contract import WalkableSet
from tests.reference.attack import EXTENDED, Plain

Numbers = np.ndarray


def set_points(inputs: WalkableSet, count: int, seed: int, extremes: int = 100) -> Numbers:
    """Points of one set [1, n] for certain: uniform ones, the centre, and minima of functionals, some along axes."""
    rng = np.random.default_rng([seed, 2])
    normals = rng.standard_normal((extremes, inputs.size))
    normals = normals * (rng.random(normals.shape) < rng.random((extremes, 1)))
    points = [inputs.centre, inputs.sample(count, rng)[0], inputs.minimiser(normals)]
    return kept(inputs, np.concatenate(points))


def kept(inputs: WalkableSet, points: Numbers) -> Numbers:
    """Points of the set for certain near given ones, and those of the first few that are such points themselves."""
    few = points[:8]
    return np.concatenate([inputs.drawn_in(points), few[inputs.contains(few)]])


def hunted(plain: Plain, inputs: WalkableSet, count: int, seed: int, objective: Numbers, steps: int = 25) -> Numbers:
    """Points that come near the extremes of neurons and objective rows: the best sample of each, and where steps down
    the gradient lead from there in the set's own norm, [m, n]; objective [rows, outputs].
    """
    points = set_points(inputs, count, seed)
    values = plain.values(points)[0]
    network, starts = plain.network, []
    weights: dict[int, list[Numbers]] = {i: [] for i in (*sorted(set(network.sources)), network.output)}
    for i in list(weights):
        rows = objective if i == network.output else np.eye(values[i].shape[1])
        rows = np.concatenate([rows, -rows])
        for row, least in zip(rows, (values[i] @ rows.T).argmin(axis=0), strict=True):
            starts.append(points[least])
            for other, known in weights.items():
                known.append(row if other == i else np.zeros(values[other].shape[1]))
    x, start = np.array(starts), {i: np.array(rows) for i, rows in weights.items()}
    for k in range(steps):
        with np.errstate(over="ignore", invalid="ignore"):
            slope = plain.gradient(plain.values(x)[0], start)
            x = np.asarray(inputs.stepped(x, -(0.8**k), slope))
    return np.concatenate([kept(inputs, x), np.array(starts)])


def enclosed(network: Network, points: Numbers) -> tuple[list[Numbers], list[Numbers]]:
    """Rigorous bounds on the true values of all nodes of a network at points, [points, n_i] each."""
    values, errors = Plain.of(network, EXTENDED).values(points.astype(EXTENDED))
    pairs = list(zip(values, errors, strict=True))
    return [value - error for value, error in pairs], [value + error for value, error in pairs]


def reached(objective: Numbers, offset: Numbers, lowest: Numbers, highest: Numbers) -> Numbers:
    """Rigorous upper bounds of objective rows at outputs between two ends, [rows, points]."""
    eps, wide = np.finfo(EXTENDED).eps, objective.astype(EXTENDED)
    value = np.maximum(wide, 0) @ highest.T + np.minimum(wide, 0) @ lowest.T + offset[:, None]
    size = np.abs(wide) @ np.maximum(np.abs(lowest), np.abs(highest)).T + np.abs(offset)[:, None]
    return value + 8 * (2 + objective.shape[1]) * eps * size
