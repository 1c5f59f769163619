"""Boxes in exact numbers: what they hold, and the floats inside and around them."""

from fractions import Fraction

import numpy as np
from hypothesis import given, strategies as st

from admm_verify import Box
from admm_verify.sets.exact import ExactBox

NUMBERS = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**9)
SIDES = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4)
TENTH = Fraction(1, 10)


def box_of(sides: list[tuple[Fraction, Fraction]]) -> ExactBox:
    return ExactBox(tuple(map(min, sides)), tuple(map(max, sides)))


def fractions(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


@given(SIDES)
def test_enclosures_are_around_and_insides_within(sides: list[tuple[Fraction, Fraction]]) -> None:
    box = box_of(sides)
    outer, inner = box.enclosure, box.inside
    assert ExactBox.of(outer).holds(box.lower) and ExactBox.of(outer).holds(box.upper)
    for low, high, below, above in zip(*box.range, *map(fractions, inner.range), strict=True):
        # Only a side without any float is held from outside.
        assert below <= above
        assert (low <= below and above <= high) or np.nextafter(float(below), np.inf) == float(above)


@given(SIDES, st.lists(st.floats(-1e7, 1e7), min_size=4, max_size=4))
def test_boxes_around_a_point_hold_the_nearest_one(sides: list[tuple[Fraction, Fraction]], x: list[float]) -> None:
    box, start = box_of(sides), np.array(x[: len(sides)])
    near = ExactBox.of(box.around(start))
    nearest = box.nearest(start, np.float64)
    assert nearest is not None and box.holds(nearest) and near.holds(nearest)
    middle = zip(*box.range, fractions(start), strict=True)
    assert box.project(fractions(start)) == tuple(sorted(three)[1] for three in middle)


def test_a_side_without_floats_is_a_short_decimal() -> None:
    box = ExactBox((TENTH, Fraction(0)), (TENTH, Fraction(1)))
    assert box.nearest(np.array([7.0, 0.3]), np.float32) == (TENTH, Fraction(float(np.float32(0.3))))
    around = box.around(np.array([7.0, 2.0]))
    assert around.lower[0] < around.upper[0] and around.lower[1] == around.upper[1] == 1.0
    assert box.nearest(np.array([0.1, np.nan]), np.float64) is None


def test_strict_ends_are_left_out() -> None:
    box = ExactBox((Fraction(0),), (Fraction(1),), frozenset({0}), frozenset({0}))
    assert not box.holds((Fraction(0),)) and not box.holds((Fraction(1),)) and box.holds((Fraction(1, 2),))
    for x, end in ((-1.0, 0.0), (2.0, 1.0)):
        (found,) = box.nearest(np.array([x]), np.float32) or (None,)
        assert found == Fraction(float(np.nextafter(np.float32(end), np.float32(0.5))))


def test_functionals_are_least_at_a_vertex_of_a_product() -> None:
    box = box_of([(TENTH, Fraction(2))]).times(ExactBox.of(Box(np.array([-1.0]), np.array([0.5]))))
    assert box.least([(0, Fraction(3)), (1, Fraction(-2))]) == 3 * TENTH - 1
    assert ExactBox.point((TENTH,)).range == ((TENTH,), (TENTH,))
