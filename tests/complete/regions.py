"""Sets of inputs and the least values of small networks over them, by one convex program for every pattern of signs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy.optimize import linprog, minimize

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.sets.contract import WalkableSet


@dataclass(frozen=True, eq=False)
class Region:
    """{shift + map z : lower <= z <= upper, rows z <= limits, |z| <= 1 where round}, a set, or None, and a condition on
    x beside it.
    """

    region: WalkableSet | None
    condition: str
    shift: np.ndarray
    map: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    rows: np.ndarray
    limits: np.ndarray
    round: bool = False

    def sampled(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Some of its points."""
        z = rng.uniform(-1.0, 1.0, (count, len(self.lower)))
        z = self.lower + (self.upper - self.lower) * (z + 1.0) / 2.0
        if self.round:
            z = z / np.maximum(1.0, np.linalg.norm(z, axis=1, keepdims=True))
        return (self.shift + z @ self.map.T)[(z @ self.rows.T <= self.limits).all(axis=1)]


@dataclass(frozen=True, eq=False)
class Small:
    """x -> second relu(first x + bias) + last."""

    first: np.ndarray
    bias: np.ndarray
    second: np.ndarray
    last: float
    network: av.Network = field(init=False)

    def __post_init__(self) -> None:
        network = network_from_layers([self.first, self.second[None]], [self.bias, np.array([self.last])])
        object.__setattr__(self, "network", network)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x @ self.first.T + self.bias, 0.0) @ self.second + self.last

    def minimum(self, region: Region) -> tuple[float, np.ndarray]:
        """The least value over a region that is not empty, up to the tolerances of solvers, and where it is."""
        best, where = np.inf, region.shift
        for signs in product((1.0, -1.0), repeat=len(self.bias)):
            on = np.array(signs)
            weight = (self.second * (on > 0)) @ self.first
            cuts = -on[:, None] * self.first
            rows = np.concatenate([region.rows, cuts @ region.map])
            limits = np.concatenate([region.limits, on * self.bias - cuts @ region.shift])
            z = _least(weight @ region.map, rows, limits, region)
            if z is None:
                continue
            x = region.shift + region.map @ z
            value = float(self(x[None])[0])
            if value < best:
                best, where = value, x
        return best, where


def _least(cost: np.ndarray, rows: np.ndarray, limits: np.ndarray, region: Region) -> np.ndarray | None:
    ends = np.stack([region.lower, region.upper], axis=1)
    found = linprog(cost, rows, limits, bounds=ends, method="highs")
    if found.status != 0 or not region.round:
        return found.x if found.status == 0 else None
    conditions = [
        {"type": "ineq", "fun": lambda z: 1.0 - z @ z, "jac": lambda z: -2.0 * z},
        {"type": "ineq", "fun": lambda z: limits - rows @ z, "jac": lambda z: -rows},
    ]
    size = max(float(np.abs(cost).max()), 1e-9)
    best = None
    for start in (0.9 * found.x / max(1.0, float(np.linalg.norm(found.x))), np.zeros(len(cost))):
        solved = minimize(
            lambda z: cost @ z / size,
            start,
            jac=lambda z: cost / size,
            bounds=ends,
            constraints=conditions,
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 300},
        )
        z = np.asarray(solved.x)
        kept = z @ z <= 1.0 + 1e-9 and (rows @ z <= limits + 1e-9).all()
        if kept and (best is None or cost @ z < cost @ best):
            best = z
    return best


def small(rng: np.random.Generator, inputs: int, neurons: int) -> Small:
    """A random network whose numbers are short, so that text says them exactly."""

    def short(*shape: int) -> np.ndarray:
        return np.round(64.0 * rng.standard_normal(shape)) / 64.0

    return Small(short(neurons, inputs), 0.5 * short(neurons), short(neurons), float(short(1)[0]))


Draw = Callable[[np.random.Generator, int], Region]


def coupled_box(rng: np.random.Generator, n: int) -> Region:
    """A box, and one to three rows that cut it, one of them an equation at times."""
    lower, upper = _box(rng, n)
    count = int(rng.integers(1, 4))
    rows = np.round(16.0 * rng.standard_normal((count, n))) / 16.0
    rows[:, 0] += (rows == 0).all(axis=1)
    inside = lower + (upper - lower) * rng.uniform(0.2, 0.8, n)
    limits = np.round(256.0 * (rows @ inside + rng.uniform(0.0, 0.2, count))) / 256.0
    words = [_row(row, "<=", limit) for row, limit in zip(rows, limits, strict=True)]
    if rng.random() < 0.4:
        words[0] = words[0].replace("<=", "==")
        rows, limits = np.concatenate([rows, -rows[:1]]), np.concatenate([limits, -limits[:1]])
    return Region(av.Box(lower, upper), " and ".join(words), np.zeros(n), np.eye(n), lower, upper, rows, limits)


def ball(norm: str) -> Draw:
    """A ball, cut with a box or not, with a row through it or not."""

    def draw(rng: np.random.Generator, n: int) -> Region:
        centre, radius = rng.uniform(-1.0, 1.0, n), rng.uniform(0.3, 1.0)
        cut = rng.random() < 0.5
        low, high = (centre - 0.6 * radius, centre + 0.9 * radius) if cut else (centre - 2.0, centre + 2.0)
        found = av.Ball(centre, radius, norm, within=(low, high) if cut else None)
        row = np.round(16.0 * rng.standard_normal(n)) / 16.0
        row[0] += not row.any()
        limit = float(np.round(256.0 * row @ centre) / 256.0)
        coupled = rng.random() < 0.5
        words = _row(row, "<=", limit) if coupled else "y >= -1e6"
        rows = [np.eye(n), -np.eye(n)] + ([row[None]] if coupled else [])
        limits = [high, -low] + ([np.array([limit])] if coupled else [])
        one = np.ones(n)
        if norm == "l2":
            return _mapped(found, words, centre, radius * np.eye(n), -one, one, rows, limits, True)
        both = np.concatenate([radius * np.eye(n), -radius * np.eye(n)], axis=1)
        wide = [rows[0] @ both, rows[1] @ both, *(part @ both for part in rows[2:]), np.ones((1, 2 * n))]
        shifted = [limit - part @ centre for limit, part in zip(limits, rows, strict=True)]
        ends = np.zeros(2 * n), np.ones(2 * n)
        return Region(found, words, centre, both, *ends, np.concatenate(wide), np.concatenate([*shifted, np.ones(1)]))

    return draw


def ellipsoid(rng: np.random.Generator, n: int) -> Region:
    centre, factor = rng.uniform(-1.0, 1.0, n), 0.5 * np.tril(rng.standard_normal((n, n))) + 0.3 * np.eye(n)
    shape = factor @ factor.T
    found = av.Ellipsoid(centre, shape)
    one = np.ones(n)
    return _mapped(found, "y >= -1e6", centre, np.linalg.cholesky(shape), -one, one, [], [], True)


def zonotope(rng: np.random.Generator, n: int) -> Region:
    centre, generators = rng.uniform(-1.0, 1.0, n), 0.4 * rng.standard_normal((n, n + 1))
    one = np.ones(n + 1)
    return _mapped(av.Zonotope(centre, generators), "y >= -1e6", centre, generators, -one, one, [], [])


def polytope(rng: np.random.Generator, n: int) -> Region:
    plain = coupled_box(rng, n)
    found = av.Polytope(plain.rows, plain.limits, box=av.Box(plain.lower, plain.upper))
    return Region(found, "y >= -1e6", plain.shift, plain.map, plain.lower, plain.upper, plain.rows, plain.limits)


def _mapped(
    region: WalkableSet,
    condition: str,
    shift: np.ndarray,
    map: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    rows: list[np.ndarray],
    limits: list[np.ndarray],
    round: bool = False,
) -> Region:
    """A region whose rows are given for x."""
    both = np.concatenate([np.zeros((0, len(shift))), *rows])
    bounds = np.concatenate([np.zeros(0), *limits]) - both @ shift
    return Region(region, condition, shift, map, lower, upper, both @ map, bounds, round)


def _box(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    lower = np.round(64.0 * rng.uniform(-1.0, 0.0, n)) / 64.0
    return lower, lower + np.round(64.0 * rng.uniform(0.5, 1.5, n)) / 64.0


def _row(row: np.ndarray, sign: str, limit: float) -> str:
    terms = " + ".join(f"{value!r}*x{i}" for i, value in enumerate(row.tolist()))
    return f"{terms} {sign} {float(limit)!r}"
