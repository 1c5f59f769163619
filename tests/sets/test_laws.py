"""Every set keeps the laws of its contract; the next set joins SUBJECTS."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admm_verify.sets.box import Box
from tests.sets import laws
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


SUBJECTS: dict[str, Callable[[np.random.Generator], Subject]] = {"box": boxes}

every_set = pytest.mark.parametrize("kind", SUBJECTS)


def drawn(kind: str, seed: int) -> tuple[Subject, np.ndarray]:
    """A subject, and a functional or point for each of its sets."""
    rng = np.random.default_rng(seed)
    subject = SUBJECTS[kind](rng)
    size = 10.0 ** rng.integers(-3, 4, subject.inputs.shape)
    return subject, rng.standard_normal(subject.inputs.shape) * size * (rng.random(subject.inputs.shape) < 0.9)


@every_set
@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_minima_and_ranges_are_those_of_the_exact_set(kind: str, seed: int) -> None:
    subject, coefficient = drawn(kind, seed)
    laws.check_minimum(subject, coefficient)
    laws.check_range(subject)
    laws.check_batches(subject.inputs, coefficient)


@every_set
@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_points_stay_inside_where_they_are_nearest(kind: str, seed: int) -> None:
    subject, x = drawn(kind, seed)
    laws.check_projection(subject.inputs, subject.twins, x)
    laws.check_steps(subject.inputs, subject.twins, x)
    laws.check_points(subject.inputs, subject.twins, x)
    laws.check_inward(subject.inputs, subject.twins)
