"""Exact numbers: what they tell apart, and that few digits of what may be rounded make no false proofs."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest

import admm_verify.certificates.numbers as rounded
from admm_verify import Box, Network, Run, preactivation_bounds
from admm_verify.certificates.certificate import Certificate
from admm_verify.certificates.check import check
from admm_verify.certificates.dyadics import Dyadics
from admm_verify.certificates.numbers import Numbers
from admm_verify.certificates.ranges import CheckedNetwork
from admm_verify.memory import Budget
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.property import Atom, Disjunct, Property
from admm_verify.sets.exact import ExactBox
from tests.certificates.provers import property_of
from tests.certificates.test_corners import whole
from tests.complete.networks import box_for, flat_box, network_of
from tests.random_networks import random_case

Layers = tuple[list[np.ndarray], list[np.ndarray]]


def layers(seed: int, shift: float = 0.0) -> Layers:
    """Weights and biases; with a large shift every neuron is active near 0."""
    rng, sizes = np.random.default_rng([seed, 6]), (3, 8, 6, 2)
    weights = [rng.standard_normal((m, n)).astype(np.float32).astype(np.float64) for n, m in pairwise(sizes)]
    if shift:
        weights = [weights[0], abs(weights[1]), weights[2]]
    return weights, [rng.standard_normal(m) + shift for m in sizes[1:]]


def value(found: Layers, x: Sequence[Fraction], objective: Sequence[Fraction]) -> Fraction:
    """objective'f(x) of the network of ReLU layers."""
    for layer, (weight, bias) in enumerate(zip(*found, strict=True)):
        before = [max(number, Fraction(0)) for number in x] if layer else x
        rows = zip(weight.tolist(), bias.tolist(), strict=True)
        x = [sum((Fraction(w) * v for w, v in zip(row, before, strict=True)), Fraction(b)) for row, b in rows]
    return sum((c * v for c, v in zip(objective, x, strict=True)), Fraction(0))


def case(seed: int, shift: float, radius: Fraction, kind: str, thirds: bool, spare: Fraction):
    """Network, query that objective'y is below its least value over a box's corners by a spare, certificate."""
    found, rng = layers(seed, shift), np.random.default_rng([seed, 7])
    objective = [Fraction(float(c)) / (3 if thirds else 1) for c in rng.standard_normal(2)]
    centre = [Fraction(float(number)) for number in rng.standard_normal(3)]
    box = ExactBox(tuple(c - radius for c in centre), tuple(c + radius for c in centre))
    corners = product(*zip(box.lower, box.upper, strict=True))
    least = min(value(found, corner, objective) for corner in corners)
    network = network_from_layers(*found)
    atom = Atom(tuple(enumerate(objective)), spare - least, strict=False)
    query = property_of(network, [Disjunct(box, (atom,))])
    return network, query, whole(network, query, kind)


def proved(made: tuple[Network, Property, Certificate], exact: bool = True) -> bool:
    network, query, certificate = made
    return check(certificate, query, network, exact=exact).proved


@pytest.mark.parametrize("kind", ["neuron", "input"])
@pytest.mark.parametrize("thirds", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_only_just_true_is_proved(seed, thirds, kind):
    near = Fraction(1, 10**20)
    for shift, radius in ((0.0, Fraction(0)), (50.0, Fraction(1, 3))):
        true, false = (case(seed, shift, radius, kind, thirds, spare) for spare in (near, Fraction(0)))
        assert proved(true) and not proved(false)
        assert not proved(true, exact=False) and not proved(false, exact=False)


@pytest.mark.parametrize("digits", [2, 5, 12])
@pytest.mark.parametrize("kind", ["neuron", "input"])
@pytest.mark.parametrize("thirds", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_few_digits_prove_nothing_false(seed, thirds, kind, digits, monkeypatch):
    monkeypatch.setattr(rounded, "_DIGITS", digits)
    monkeypatch.setattr(rounded, "_ENCLOSED", digits)
    for shift, radius in ((0.0, Fraction(0)), (0.0, Fraction(1, 30)), (0.0, Fraction(1)), (50.0, Fraction(1, 3))):
        # Here is a corner at which the atom holds.
        assert not proved(case(seed, shift, radius, kind, thirds, Fraction(0)))
        assert proved(case(seed, shift, radius, kind, thirds, Fraction(10**9)))


def test_no_float_gets_into_exact_numbers():
    for seed in range(14):
        found = random_case(seed, widest=4, deepest=2)
        numbers = Numbers(True)
        ranges = CheckedNetwork(found.network, numbers, Budget.of(Run())).derive(
            (numbers.of(found.box.lower)[None], numbers.of(found.box.upper)[None])
        )
        for array in (*ranges.lower, *ranges.upper):
            assert isinstance(array, Dyadics) and all(type(number) is int for number in array.integers.flat)
        floats = CheckedNetwork(found.network, Numbers(False), Budget.of(Run())).derive(
            (found.box.lower[None], found.box.upper[None])
        )
        for below, exact in zip(floats.lower, ranges.lower, strict=True):
            assert (numbers.of(below) <= exact).all()
        for above, exact in zip(floats.upper, ranges.upper, strict=True):
            assert (numbers.of(above) >= exact).all()


@pytest.mark.parametrize("family", ["dense", "residual"])
@pytest.mark.parametrize("kind", ["relu", "prelu"])
@pytest.mark.parametrize("seed", range(8))
def test_derived_bounds_are_as_tight_as_those_of_a_search(seed: int, kind: str, family: str) -> None:
    """Else leaves that a search has excluded cannot be proved; neurons of a known sign count where they are no ReLU."""
    rng = np.random.default_rng([seed, 31])
    network = network_of(family, rng, (kind,), depth=4, wide=8)
    box = flat_box(box_for(network, rng, network.input_size))
    ends = np.reshape(box.lower, (1, -1)), np.reshape(box.upper, (1, -1))
    ranges = CheckedNetwork(network, Numbers(False), Budget.of(Run())).derive(ends)
    known = preactivation_bounds(network, Box(*ends))
    for source, lower, upper in zip(network.sources, known.lower, known.upper, strict=True):
        low, high = ranges.lower[source], ranges.upper[source]
        slack = 1e-9 * (1.0 + np.abs(lower) + np.abs(upper))
        assert (low >= lower - slack).all() and (high <= upper + slack).all()
