"""Boxes that hold the rounded inputs of a network in float32 or float64."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify import Box
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.rows import as_computed, atom_rows
from admm_verify.sets.exact import ExactBox

NUMBERS = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**9)


def rows_of(lower, upper):
    declaration = NetworkDeclaration("f", (Variable("X", "real", (1,)),), (Variable("Y", "real", (1,)),))
    box, atom = ExactBox((lower,), (upper,)), Atom(((0, Fraction(1)),), Fraction(0), strict=False)
    return atom_rows(Property((2, 0), (declaration,), (Disjunct(box, (atom,)),)))


@given(NUMBERS, NUMBERS, st.floats(0, 1), st.sampled_from(["float32", "float64"]))
def test_rounded_points_of_a_box_lie_in_it(first, second, share, arithmetic):
    lower, upper = min(first, second), max(first, second)
    found = as_computed(rows_of(lower, upper), arithmetic)
    point = lower + Fraction(share) * (upper - lower)
    # Two roundings, to float64 and on, may differ from one by a unit: both are within the ends' own.
    rounded = float(np.dtype(arithmetic).type(float(point)))
    assert found.boxes.lower[0, 0] <= rounded <= found.boxes.upper[0, 0]


def test_real_boxes_stay_as_they_are():
    rows = rows_of(Fraction(1, 10), Fraction(1, 10))
    assert as_computed(rows, "real") is rows
    assert (as_computed(rows, "float32").boxes.upper > rows.boxes.upper).all()


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_ends_beyond_the_type_stay_finite(arithmetic):
    rows = rows_of(Fraction(0), Fraction(10) ** 39)
    found = as_computed(replace(rows, boxes=Box.of(rows.boxes.lower - 1e39, rows.boxes.upper)), arithmetic)
    assert np.isfinite(found.boxes.range).all()
