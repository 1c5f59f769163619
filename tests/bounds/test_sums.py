"""Sums of certified bounds by kernels: off by less than what is charged for them, beside exact rationals."""

from fractions import Fraction

import numpy as np
import pytest

from admm_verify import Box, Network, preactivation_bounds
from admm_verify.arrays import SMALLEST, Placement, gamma
from admm_verify.backends import choice
from admm_verify.backends.choice import kernels_for
from admm_verify.bounds import sums
from admm_verify.bounds.functionals import Functionals, certify
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Relaxed
from tests.random_networks import Builder, random_case

ROWS, NEURONS, BOXES = 4, 41, 3


def wild(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers over forty orders of magnitude, with zeros and subnormal ones."""
    values = rng.standard_normal(shape) * 10.0 ** rng.uniform(-20, 20, shape)
    return np.where(rng.random(shape) < 0.1, 0.0, np.where(rng.random(shape) < 0.05, 3.0 * SMALLEST, values))


def exact(array: np.ndarray) -> np.ndarray:
    return np.frompyfunc(Fraction, 1, 1)(array)


def assert_charged(found: np.ndarray, terms: np.ndarray, sizes: np.ndarray) -> None:
    """Each sum is off by at most gamma_N of its terms' sizes, and what every product may lose to underflow."""
    count = terms.shape[1] + 8
    for value, term, size in zip(found, terms, sizes, strict=True):
        allowed = Fraction(gamma(count)) * sum(size) + count * Fraction(4 * SMALLEST)
        assert abs(Fraction(float(value)) - sum(term)) <= allowed


@pytest.mark.parametrize("seed", range(12))
def test_kernels_sums_are_off_by_less_than_is_charged(seed: int) -> None:
    kernels = kernels_for(Placement.numpy())
    if kernels is None:
        pytest.skip("native code cannot be built here")
    rng = np.random.default_rng(seed)
    post, pre = wild(rng, ROWS, NEURONS), wild(rng, ROWS, NEURONS)
    ends = np.sort([wild(rng, BOXES, NEURONS), wild(rng, BOXES, NEURONS)], axis=0)
    lower, upper = ends[0].copy(), ends[1].copy()
    weight, intercept = np.abs(wild(rng, BOXES, NEURONS)), np.abs(wild(rng, BOXES, NEURONS))
    box = rng.integers(0, BOXES, ROWS)
    a, g, low, high, charged = (exact(one) for one in (post, pre, lower[box], upper[box], weight[box]))
    zero = np.full_like(low, Fraction(0))
    left, right = a * np.maximum(low, zero) - g * low, a * np.maximum(high, zero) - g * high
    least = np.minimum(left, right)
    least = np.where((low < 0) & (high > 0), np.minimum(least, zero), least)
    value, size = kernels.support(post, pre, lower, upper, weight, box)
    reach = np.maximum(abs(low), abs(high))
    assert_charged(value, least, abs(a) * reach + abs(g) * reach)
    assert_charged(size, abs(g) * charged, abs(g) * charged)
    value, size = kernels.charge(post, pre, intercept, weight, box)
    below = np.minimum(a, zero) * exact(intercept[box])
    assert_charged(value, below, abs(below))
    assert_charged(size, abs(g) * charged, abs(g) * charged)
    value, size = kernels.least(post, lower, weight, upper, box)
    assert_charged(value, a * low - abs(a) * charged, abs(a) * (abs(low) + charged))
    assert_charged(size, abs(a) * high, abs(a) * abs(high))


@pytest.mark.parametrize("seed", range(12))
def test_bounds_by_kernels_and_by_arrays_differ_by_roundings(monkeypatch, seed: int) -> None:
    """With functionals that two boxes share or have for themselves, and networks of which nothing is relaxed."""
    monkeypatch.setattr(choice, "LEAST", 0)
    case = random_case(seed, "plain")
    network = case.network if seed % 3 else affine(seed)
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-1.0, 1.0, (2, network.input_size))
    boxes = Box(centre - 0.3, centre + 0.3)
    known = preactivation_bounds(network, boxes)
    region = spread_region(network, boxes, known.lower, known.upper)
    relaxed, output = Relaxed(region), network.output
    objective = rng.standard_normal((2, 3, network.output_size))
    for lead in (1, 2):
        functionals = Functionals({output: objective[:lead]}, np.zeros((lead, 3)))

        def bounds(these: Functionals = functionals) -> list[np.ndarray]:
            return [relaxed.certify(these)[0], certify(region, these, lambda k, a: 0.5 * a)[0]]

        with_kernels = bounds()
        with monkeypatch.context() as patch:
            patch.setattr(sums, "kernels_for", lambda placement, numbers: None)
            without = bounds()
        for mine, theirs in zip(with_kernels, without, strict=True):
            assert mine.shape == theirs.shape == (2, 3) and np.isfinite(theirs).all()
            assert np.allclose(mine, theirs, rtol=1e-11, atol=1e-11)


def affine(seed: int) -> Network:
    builder, rng = Builder(4), np.random.default_rng(seed)
    builder.dense(0, rng.standard_normal((3, 4)), rng.standard_normal(3))
    return builder.network()
