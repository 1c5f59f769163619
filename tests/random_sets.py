"""Random input sets of every kind, written out a second time as convex programs."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

import admm_verify as av
from admm_verify.sets.contract import WalkableSet
from tests.reference.patterns import Described

Randomness = np.random.Generator


@dataclass(frozen=True, eq=False)
class Around:
    """Where a set is wanted: in the middle of a box, about as wide."""

    rng: Randomness
    centre: np.ndarray
    half: np.ndarray

    @property
    def size(self) -> int:
        return len(self.centre)

    @property
    def radius(self) -> float:
        """Of a ball that is about as large as the box."""
        return float(self.half.mean() * self.size**0.25)


Pair = tuple[WalkableSet, Described]
"""A set and its program."""

Union = tuple[WalkableSet, tuple[Described, ...]]
"""A set, and programs of its parts."""


def written(
    lift: np.ndarray,
    shift: np.ndarray,
    rows: list[tuple[np.ndarray, np.ndarray]],
    round: np.ndarray | None = None,
    away: np.ndarray | None = None,
) -> Described:
    """The set {lift w + shift : |w_i| <= 1, matrix w <= limits for every pair in rows, |round w + away| <= 1}."""
    matrix, limits = (
        np.concatenate([pair[k] for pair in rows]) if rows else np.zeros((0, lift.shape[1])[: 2 - k]) for k in (0, 1)
    )
    turn = np.zeros((0, lift.shape[1])) if round is None else round
    return Described(lift, shift, matrix, limits, turn, np.zeros(len(turn)) if away is None else away, 1.0)


def between(centre: np.ndarray, scale: np.ndarray, lower: np.ndarray, upper: np.ndarray):
    """Rows that keep centre + scale w between two ends."""
    lift = np.diag(scale)
    return [(lift, upper - centre), (-lift, centre - lower)]


def box(around: Around) -> Pair:
    found = av.Box(around.centre - around.half, around.centre + around.half)
    return found, written(np.diag(around.half), around.centre, [])


def l2_ball(around: Around) -> Pair:
    return av.Ball(around.centre, around.radius), written(
        around.radius * np.eye(around.size), around.centre, [], np.eye(around.size)
    )


def l2_ball_of_radii(around: Around) -> Pair:
    """A radius for every input, zero for some."""
    radius = around.half * (around.rng.random(around.size) < 0.8)
    return av.Ball(around.centre, radius), written(np.diag(radius), around.centre, [], np.eye(around.size))


def l2_ball_cut(around: Around) -> Pair:
    lower, upper = around.centre - 0.3 * around.half, around.centre + around.half
    rows = between(around.centre, np.full(around.size, around.radius), lower, upper)
    return av.Ball(around.centre, around.radius, within=(lower, upper)), written(
        around.radius * np.eye(around.size), around.centre, rows, np.eye(around.size)
    )


def l1_ball(around: Around, radius: np.ndarray | None = None) -> Pair:
    size = around.size
    radius = np.full(size, 2.0 * around.radius) if radius is None else radius
    both = np.diag(radius) @ np.concatenate([np.eye(size), -np.eye(size)], axis=1)
    rows = [(-np.eye(2 * size), np.zeros(2 * size)), (np.ones((1, 2 * size)), np.ones(1))]
    return av.Ball(around.centre, radius, norm="l1"), written(both, around.centre, rows)


def l1_ball_cut(around: Around) -> Pair:
    lower, upper = around.centre - 0.3 * around.half, around.centre + around.half
    _, program = l1_ball(around, around.half * around.size**0.5)
    rows = [(program.lift, upper - program.shift), (-program.lift, program.shift - lower)]
    cut = written(program.lift, program.shift, [(program.rows, program.limits), *rows])
    return av.Ball(around.centre, around.half * around.size**0.5, 1, within=(lower, upper)), cut


def ellipsoid(around: Around) -> Pair:
    size = around.size
    factor = np.diag(around.half) @ (np.eye(size) + around.rng.standard_normal((size, size)) / np.sqrt(size))
    found = av.Ellipsoid(around.centre, factor @ factor.T)
    return found, written(factor, around.centre, [], np.eye(size))


def product(around: Around) -> Pair:
    """A ball beside a box, or a ball alone where there is one input."""
    first = max(1, around.size // 2)
    parts = (slice(0, first), slice(first, around.size))
    pairs = [
        draw(Around(around.rng, around.centre[part], around.half[part]))
        for draw, part in zip((l2_ball, box), parts, strict=True)
        if part.start < part.stop
    ]
    lift = np.zeros((around.size, around.size))
    for part, (_, program) in zip(parts, pairs, strict=False):
        lift[part, part] = program.lift
    return av.Product(*(one for one, _ in pairs)), written(lift, around.centre, [], np.eye(around.size)[:first])


def polytope_in_box(around: Around) -> Pair:
    """A box and random half spaces that cut some of it off, some of them often."""
    size, count = around.size, 3
    normals = around.rng.standard_normal((count, size))
    room = around.rng.uniform(0.0, 0.6, count) * (np.abs(normals) @ around.half)
    around_it = av.Box(around.centre - around.half, around.centre + around.half)
    found = av.Polytope(normals, normals @ around.centre + room, around_it)
    return found, written(np.diag(around.half), around.centre, [(normals * around.half, room)])


def polytope(around: Around) -> Pair:
    """A parallelepiped and one half space, without a box."""
    size, wide = around.size, np.where(around.half > 0, around.half, 1e-3)
    turned = np.eye(size) + 0.3 * around.rng.standard_normal((size, size)) / np.sqrt(size)
    normals = np.concatenate([turned, -turned, np.ones((1, size))]) / wide
    room = np.append(np.ones(2 * size), 0.3 * np.sqrt(size))
    far = np.full(size, 1.01 * np.linalg.norm(np.linalg.inv(turned), np.inf))
    found = av.Polytope(normals, normals @ around.centre + room)
    return found, written(np.diag(wide * far), around.centre, [(normals * wide * far, room)])


def zonotope(around: Around) -> Pair:
    """More symbols than inputs."""
    size = around.size
    generators = around.half[:, None] * around.rng.standard_normal((size, size + 2)) / np.sqrt(size)
    return av.Zonotope(around.centre, generators), written(generators, around.centre, [])


def sparse(around: Around) -> Union:
    """A few entries change: a box for each choice of them; of many entries, for a few of the choices."""
    size, count = around.size, 1 + around.size // 3
    choices = islice(combinations(range(size), count), 50)
    boxes = [np.where(np.isin(np.arange(size), some), around.half, 0.0) for some in choices]
    found = av.Sparse(around.centre, count, around.half)
    return found, tuple(written(np.diag(half), around.centre, []) for half in boxes)


SETS: dict[str, Callable[[Around], Pair | Union]] = {
    "box": box,
    "l2 ball": l2_ball,
    "l2 ball of radii": l2_ball_of_radii,
    "l2 ball cut": l2_ball_cut,
    "l1 ball": l1_ball,
    "l1 ball cut": l1_ball_cut,
    "ellipsoid": ellipsoid,
    "product": product,
    "polytope in a box": polytope_in_box,
    "polytope": polytope,
    "zonotope": zonotope,
    "sparse": sparse,
}


def drawn(kind: str, seed: int, centre: np.ndarray, half: np.ndarray) -> Union:
    """The set of a kind and seed, of vectors [n], and programs of its parts."""
    rng = np.random.default_rng([seed, list(SETS).index(kind)])
    found, programs = SETS[kind](Around(rng, np.reshape(centre, -1), np.reshape(half, -1)))
    return found, programs if isinstance(programs, tuple) else (programs,)
