"""Lengths are above the true ones, and units at most of length one, in exact numbers and at all magnitudes."""

from fractions import Fraction

import numpy as np
import pytest

from admm_verify.arrays import quiet_overflow
from admm_verify.sets.lengths import distance_above, length_above, unit

RNG = np.random.default_rng(0)
VECTORS = [scale * RNG.standard_normal(n) for n in (1, 2, 5, 40) for scale in (1e-320, 1e-200, 1e-30, 1.0, 1e30, 1e300)]
VECTORS += [np.array([1e-200, 1e200]), np.array([5e-324, 0.0]), np.array([1.0, 1e-170, 1e-155])]


def square(vector):
    return sum((Fraction(float(value)) ** 2 for value in vector), Fraction(0))


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_lengths_and_units(number):
    vector = VECTORS[number]
    found = float(length_above(vector))
    assert Fraction(found) ** 2 >= square(vector)
    # Two of the smallest numbers there are may come on top.
    below = Fraction(found) * (1 - Fraction(1, 10**12)) - Fraction(1, 2**1072)
    assert max(below, Fraction(0)) ** 2 <= square(vector)
    direction = unit(vector)
    assert square(direction) <= 1
    assert square(direction) >= 1 - Fraction(1, 10**12)
    assert (np.sign(direction) * np.sign(vector) >= 0).all()


def test_what_has_no_length():
    assert length_above(np.zeros(3)) == 0
    with quiet_overflow():
        assert length_above(np.array([np.nan, 1.0])) == np.inf
        assert length_above(np.array([np.inf, 1.0])) == np.inf
        assert not unit(np.array([[np.nan, 1.0], [0.0, 0.0], [np.inf, 1.0]])).any()


def test_the_farthest_point_of_a_box():
    x, low, high = np.array([0.1, 0.2]), np.array([-0.3, 0.2]), np.array([0.2, 0.7])
    found = Fraction(float(distance_above(x, low, high)))
    exact = square([0]) + (Fraction(0.1) - Fraction(-0.3)) ** 2 + (Fraction(0.7) - Fraction(0.2)) ** 2
    assert exact <= found**2 <= exact * (1 + Fraction(1, 10**12))
    assert distance_above(x, x, x) == 0
