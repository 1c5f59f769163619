"""Boxes: what they hold, and what they refuse."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

import admm_verify as av
from admm_verify.arrays import Placement

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(arrays(np.float64, 5, elements=NUMBERS), st.floats(0, 1e3))
def test_around_contains_the_exact_ball(center, radius):
    box = av.Box.around(center, radius)
    for low, middle, high in zip(box.lower, center, box.upper, strict=True):
        assert Fraction(float(low)) <= Fraction(float(middle)) - Fraction(radius)
        assert Fraction(float(high)) >= Fraction(float(middle)) + Fraction(radius)
        assert radius > 0 or low == middle == high


def test_around_within():
    box = av.Box.around(np.array([0.05, 0.5, 1.0]), 0.1, within=(0, 1))
    assert box.lower[0] == 0.0 and box.upper[2] == 1.0 and box.lower[1] < 0.4 + 1e-12
    per_entry = av.Box.around(torch.zeros(2, 3), torch.tensor([0.0, 1.0, 2.0]), within=(-1.5, torch.ones(3)))
    assert per_entry.lower[1].tolist() == [0.0, per_entry.lower[0][1], -1.5]
    assert isinstance(per_entry.lower, torch.Tensor) and per_entry.lower.dtype == torch.float64


def test_lists_and_integers_are_fine():
    box = av.Box([0, 0], [1, 2])
    assert box.upper.dtype == np.float64 and box.upper.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        ([0.0, 1.0], [1.0, 0.5], ["(1,)", "empty"]),
        ([0.0, np.nan], [1.0, 1.0], ["(1,)", "NaN"]),
        ([0.0, -np.inf], [1.0, 1.0], ["(1,)", "infinite"]),
        ([0.0], [1.0, 2.0], ["(1,)", "(2,)"]),
        ([[0.0, 0.0], [0.0, 3.0]], [[1.0, 1.0], [1.0, 2.0]], ["(1, 1)"]),
    ],
)
def test_bad_boxes_are_named(lower, upper, words):
    with pytest.raises(av.InputError) as caught:
        av.Box(np.array(lower), np.array(upper))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("radius", [-0.1, float("nan")])
def test_bad_radius(radius):
    with pytest.raises(av.InputError, match="radius"):
        av.Box.around(np.zeros(2), radius)


def test_cut_to_nothing():
    with pytest.raises(av.InputError, match="empty"):
        av.Box.around(np.array([5.0]), 0.1, within=(0, 1))


def test_radius_of_another_shape():
    with pytest.raises(av.InputError, match=r"\(2,\)"):
        av.Box.around(np.zeros(3), np.ones(2))


@given(arrays(np.float32, 5, elements=st.floats(-100, 100, width=32)), st.floats(0, 10))
def test_inside_is_within_the_exact_ball_and_holds_the_center(center, radius):
    center = center.astype(np.float64)
    floor, ceiling = np.minimum(center, -1.0), np.full(5, np.inf)
    box = av.Box.inside(center, np.array([radius]), (floor, ceiling)).inward(Placement.numpy(np.float32))
    for low, middle, high, least in zip(box.lower, center, box.upper, floor, strict=True):
        assert max(Fraction(float(middle)) - Fraction(radius), Fraction(float(least))) <= Fraction(float(low)) <= middle
        assert middle <= Fraction(float(high)) <= Fraction(float(middle)) + Fraction(radius)


@given(arrays(np.float64, (2, 3), elements=NUMBERS), st.integers(0, 2))
def test_halves_share_a_middle_and_cover_the_box(ends, side):
    box = av.Box(ends.min(axis=0)[None], ends.max(axis=0)[None])
    parts = box.halved(np.array([side]))
    below, above = parts.at(slice(0, 1)), parts.at(slice(1, 2))
    assert box.covers(below) and box.covers(above) and below.upper[0, side] == above.lower[0, side]
    joined = av.Box(np.minimum(below.lower, above.lower), np.maximum(below.upper, above.upper))
    assert joined.covers(box)
    if box.halvable[0, side]:
        assert not below.covers(box) and not above.covers(box)
    np.testing.assert_array_equal(av.Box.unpacked(parts.packed).range, parts.range)


def test_products_have_the_sides_of_both():
    box = av.Box(np.zeros((2, 1)), np.ones((2, 1))).times(av.Box(-np.ones(2), np.array([3.0, 4.0])))
    assert box.lower.tolist() == [[0, -1, -1]] * 2 and box.upper.tolist() == [[1, 3, 4]] * 2


def test_a_box_covers_what_lies_in_it_row_by_row():
    unit = av.Box(np.zeros((2, 2)), np.ones((2, 2)))
    assert unit.covers(unit) and unit.covers(av.Box(np.full((1, 2), 0.5), np.ones((1, 2))))
    assert not unit.covers(av.Box(np.zeros((2, 2)), np.array([[1.0, 1.0], [1.0, np.nextafter(1.0, 2.0)]])))


@pytest.mark.parametrize("sides", [2, 2**16, 2**32, 2**62, 2**63, 10**9])
@pytest.mark.parametrize("inputs", [20, 64, 20_000])
def test_grids_are_counted_without_wrapping_around(sides: int, inputs: int) -> None:
    with pytest.raises(av.InputError, match="at most 1000000"):
        av.Box(np.zeros(inputs), np.ones(inputs)).grid(sides)


def test_grids_of_many_sides_have_their_cells_in_order() -> None:
    low, high = np.zeros(40), np.ones(40)
    whole = av.Box(low, high).grid(1)
    np.testing.assert_array_equal(whole.range, (low[None], high[None]))
    few = av.Box(low, np.where(np.arange(40) < 2, high, low)).grid(2)
    np.testing.assert_array_equal(few.range[0][:, :2], [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5]])
    np.testing.assert_array_equal(few.range[1][:, :3], few.range[0][:, :3] + [0.5, 0.5, 0.0])
