"""Every set keeps the laws of its contract; the next set joins SUBJECTS."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import lsq_linear

from admm_verify import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.zonotopes import Zonotopes
from tests.sets import laws
from tests.sets.balls import balls
from tests.sets.laws import Point, Subject


@dataclass(frozen=True)
class ExactSides:
    """The twin of a box."""

    lower: Point
    upper: Point

    def holds(self, x: Point) -> bool:
        return all(low <= value <= high for low, value, high in zip(self.lower, x, self.upper, strict=True))

    def minimum(self, coefficient: Point) -> Fraction:
        sides = zip(coefficient, self.lower, self.upper, strict=True)
        return sum((min(c * low, c * high) for c, low, high in sides), Fraction(0))


def boxes(rng: np.random.Generator) -> Subject:
    """Boxes of all sizes, some of whose sides are points, far from the origin or around it."""
    sets, size = rng.integers(1, 5), rng.integers(1, 6)
    centre = rng.standard_normal((sets, size)) * 10.0 ** rng.integers(-3, 4, (sets, size))
    radius = rng.random((sets, size)) * 10.0 ** rng.integers(-9, 4, (sets, size)) * (rng.random((sets, size)) < 0.8)
    box = Box(centre - radius, centre + radius)
    twins = (ExactSides(laws.exact(low), laws.exact(high)) for low, high in zip(*box.range, strict=True))
    return Subject(box, tuple(twins))


@dataclass(frozen=True)
class ExactZonotope:
    """The twin of a zonotope with a box around every point."""

    centre: Point
    generators: tuple[Point, ...]
    radius: Point

    def holds(self, x: Point) -> bool:
        """Up to rounding: how near the set comes is a problem of least squares."""
        away = np.array([float(a - b) for a, b in zip(x, self.centre, strict=True)])
        generators = np.array([[float(g) for g in row] for row in self.generators])
        parts = np.hstack([generators, np.diag([float(r) for r in self.radius])])
        scale = np.abs(parts).sum(axis=1) + np.abs(away) + 1e-300
        found = lsq_linear(parts / scale[:, None], away / scale, (-1, 1), "bvls")
        size = np.abs(np.array([float(value) for value in x])) + scale
        return bool((np.abs(found.fun) * scale <= 1e-9 * size).all())

    def minimum(self, coefficient: Point) -> Fraction:
        along = [laws.dot(coefficient, column) for column in zip(*self.generators, strict=True)]
        drop = sum(map(abs, along), Fraction(0)) + laws.dot([abs(c) for c in coefficient], self.radius)
        return laws.dot(coefficient, self.centre) - drop


def zonotopes(rng: np.random.Generator) -> Subject:
    """Zonotopes with fewer or more symbols than sides, of all sizes, with a box around every point or without."""
    sets, size, symbols = (int(count) for count in rng.integers(1, 6, 3))
    scale = 10.0 ** rng.integers(-6, 4, (sets, 1))
    centre = rng.standard_normal((sets, size)) * 10.0 ** rng.integers(-3, 4, (sets, size))
    generators = (
        rng.standard_normal((sets, size, symbols)) * scale[..., None] * (rng.random((sets, size, symbols)) < 0.8)
    )
    radius = rng.random((sets, size)) * scale * (rng.random((sets, 1)) < 0.5)
    twins = (
        ExactZonotope(laws.exact(c), tuple(tuple(laws.exact(row)) for row in g), laws.exact(r))
        for c, g, r in zip(centre, generators, radius, strict=True)
    )
    return Subject(Zonotopes(centre, generators, radius), tuple(twins))


SUBJECTS: dict[str, Callable[[np.random.Generator], Subject]] = {
    "box": boxes,
    "zonotope": zonotopes,
    "l2": partial(balls, norm="l2"),
    "l1": partial(balls, norm="l1"),
}
WALKABLE = ("box", "l2", "l1")
ROOM = {"box": 0.0}
"""By how much of a set's length nearest points may be off, 1e-13 where they are no numbers."""

every_set = pytest.mark.parametrize("kind", SUBJECTS)


def drawn(kind: str, seed: int) -> tuple[Subject, np.ndarray]:
    """A subject, and a functional or point for each of its sets."""
    rng = np.random.default_rng(seed)
    subject = SUBJECTS[kind](rng)
    size = 10.0 ** rng.integers(-3, 4, subject.inputs.shape)
    return subject, rng.standard_normal(subject.inputs.shape) * size * (rng.random(subject.inputs.shape) < 0.9)


@every_set
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_minima_and_ranges_are_those_of_the_exact_set(kind: str, seed: int) -> None:
    subject, coefficient = drawn(kind, seed)
    laws.check_minimum(subject, coefficient)
    laws.check_range(subject)
    laws.check_batches(subject.inputs, coefficient)


@pytest.mark.parametrize("kind", WALKABLE)
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_points_stay_inside_where_they_are_nearest(kind: str, seed: int) -> None:
    subject, x = drawn(kind, seed)
    inputs, twins, room = subject.inputs, subject.twins, ROOM.get(kind, 1e-13)
    assert isinstance(inputs, WalkableSet)
    laws.check_projection(inputs, twins, x, room)
    laws.check_steps(inputs, twins, x)
    laws.check_points(inputs, twins, x, room)
    laws.check_inward(inputs, twins)
