"""Sweeps of numbers with few digits: what is kept of every product is below it, by no more than is said."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from admm_verify.certificates.dyadics import Dyadics, Short
from admm_verify.certificates.joint import checked_joint
from admm_verify.certificates.lines import CheckedLines
from admm_verify.certificates.numbers import Numbers
from admm_verify.certificates.pieces import CheckedRelu
from admm_verify.certificates.ranges import CheckedNetwork
from admm_verify.certificates.short_sweeps import LONGEST, ShortSweep
from admm_verify.memory import Budget
from admm_verify.network.graph import Affine, Network, Term
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap
from admm_verify.network.pair import paired
from admm_verify.run import Run
from tests.random_networks import Builder, chain

SEEDS = range(12)


def integers(rng, shape, digits):
    """Integers of up to so many digits of either sign, many of them small or at an end of a part."""
    found = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        size = int(rng.integers(0, digits + 1))
        value = int.from_bytes(rng.bytes(digits // 8 + 1), "little") >> (8 * (digits // 8 + 1) - size)
        found[place] = int(rng.choice([-1, 1])) * int(rng.choice([value, 1 << size, (1 << size) - 1, 0]))
    return found


def exact(found: Short) -> np.ndarray:
    made = np.vectorize(lambda x: Fraction(int(x)) * Fraction(2) ** found.exponent, otypes=[object])(found.numbers)
    assert (np.abs(found.numbers) <= 2.0**44).all()
    return made


def fractions(found: Dyadics) -> np.ndarray:
    return np.vectorize(lambda x: Fraction(x) * Fraction(2) ** found.exponent, otypes=[object])(found.integers)


@dataclass
class Bounded:
    """Bounds as a sweep reads them."""

    lower: list
    upper: list
    scale: list

    def depth(self, node):
        return np.sum(np.maximum(-self.lower[node], Dyadics.of(0)), axis=-1)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_kept_of_numbers_is_below_them(seed):
    rng = np.random.default_rng(seed)
    number = Dyadics(integers(rng, (3, 4), int(rng.choice([5, 42, 43, 64, 130]))), int(rng.integers(-90, 20)))
    true, low, high = fractions(number), exact(number.floored), exact(number.ceiled)
    unit = Fraction(2) ** number.floored.exponent
    assert (low <= true).all() and (true <= high).all() and (true - low < unit).all() and (high - true < unit).all()
    assert number.floored.rounded or (low == true).all()
    whole = sum(np.vectorize(int, otypes=[object])(part) << (21 * k) for k, part in enumerate(number.parts))
    assert (whole == number.integers).all()
    assert all((0 <= part).all() and (part < 2**21).all() for part in number.parts[:-1])


@pytest.mark.parametrize("seed", SEEDS)
def test_bounds_are_below_all_values_and_near_the_least(seed):
    """A matrix and a rectifier, at points in exact numbers."""
    rng = np.random.default_rng([seed, 1])
    n, m, wide = 4, 5, int(rng.choice([3, 30, 60, 100]))
    low = Dyadics(integers(rng, (1, n), 40), -36)
    high = low + Dyadics(np.abs(integers(rng, (1, n), 44)), -36)
    weight, bias = Dyadics(integers(rng, (m, n), wide), -wide), Dyadics(integers(rng, (m,), 50), -45)
    node = Affine((Term(0, DenseMap(weight)),), bias, bias * Dyadics.of(0))
    w, b, x0, x1 = fractions(weight), fractions(bias), fractions(low)[0], fractions(high)[0]
    middle, spread = (x0 + x1) / 2, (x1 - x0) / 2
    p = [(b + w @ middle) + sign * (abs(w) @ spread) for sign in (-1, 1)]
    before = [Numbers.fractions(list(side), (1, m), up=bool(k)) for k, side in enumerate(p)]
    start = Dyadics(integers(rng, (2, m), int(rng.choice([8, 42, 70]))), -20)
    kind = CheckedRelu()
    lines = kind.lines(Numbers(True), *before)
    after = [np.maximum(side, Dyadics.of(0)) for side in before]
    ranges = Bounded([low, before[0], after[0]], [high, before[1], after[1]], [None, None, None])
    constant = Dyadics(integers(rng, (2,), 60), -30)
    network = chain([rng.standard_normal((m, n)), rng.standard_normal((2, m))], [np.zeros(m), np.zeros(2)])
    steps = [(1, node, -1), (2, None, 0)]
    made = ShortSweep(ranges, None, {2: start.floored}, constant).run(Stepped(network, steps), [kind], [lines], 2)
    bound, c = fractions(made), fractions(start)
    for share in [Fraction(k, 8) for k in range(9)]:
        for signs in ([1] * n, rng.choice([0, 1], n).tolist()):
            point = np.array([x0[i] + (x1[i] - x0[i]) * (share if s else 1 - share) for i, s in enumerate(signs)])
            value = fractions(constant) + c @ np.maximum(b + w @ point, 0)
            assert (bound <= value).all()
    assert (bound >= fractions(constant) + _relaxed(c, w, b, (x0, x1), lines) - _spare(c, w, x0, x1)).all()


class Stepped:
    """Two nodes behind the input."""

    def __init__(self, network: Network, steps: list) -> None:
        self.steps, self.sources = steps, network.sources


def _relaxed(c, w, b, ends, lines: CheckedLines):
    """The same with all digits."""
    below, above = (fractions(side)[0] for side in (lines.below, lines.above))
    at = fractions(lines.above_at)[0]
    g = np.where(c > 0, c * below, c * above)
    value = np.where(c > 0, 0 * c, c * at).sum(axis=1) + g @ b
    a = g @ w
    return value + np.where(a > 0, a * ends[0], a * ends[1]).sum(axis=1)


def _spare(c, w, x0, x1):
    """Of all that is in it the share that 42 digits lose, generously."""
    reach = np.maximum(abs(x0), abs(x1)).sum() + 1
    return Fraction(1, 2**34) * (1 + abs(c).max() + 1) * (1 + abs(w).max()) * 100 * reach


@pytest.mark.parametrize("kind", ["one", "pair"])
@pytest.mark.parametrize("seed", range(3))
def test_ranges_are_as_those_of_long_numbers(kind, seed):
    """Values of samples lie within, and ends differ by little."""
    rng, sizes = np.random.default_rng([seed, 2]), (3, 6, 5, 2)
    weights = [np.float64(np.float32(rng.standard_normal((m, n)))) for n, m in pairwise(sizes)]
    biases = [np.float64(np.float32(rng.standard_normal(m))) for m in sizes[1:]]
    network = network_from_layers(weights, biases)
    if kind == "pair":
        moved = [np.float64(np.float32(1.01 * w)) for w in weights]
        network = checked_joint(paired(network, network_from_layers(moved, biases)))
    model, numbers = CheckedNetwork(network, Numbers(True), Budget.of(Run())), Numbers(True)
    low = rng.uniform(-1, 0, (2, 3))
    ends = numbers.of(low), numbers.of(low + 0.5)
    floats = CheckedNetwork(network, Numbers(False), Budget.of(Run())).derive((low, low + 0.5))
    short, long = (model.derive(ends, (), floats, None, way) for way in (True, False))
    pairs = zip((*short.lower, *short.upper), (*long.lower, *long.upper), strict=True)
    assert all(np.abs(numbers.nearest(one) - numbers.nearest(other)).max() <= 1e-9 for one, other in pairs)
    x = low[:, None] + 0.5 * rng.uniform(size=(2, 200, 3))
    values = network.evaluate(x.reshape(-1, 3))[-1].reshape(2, 200, -1)
    assert (numbers.nearest(short.lower[-1])[:, None] - 1e-12 <= values).all()
    assert (values <= numbers.nearest(short.upper[-1])[:, None] + 1e-12).all()


def test_nodes_that_too_many_read_are_summed_in_long_numbers():
    """Beyond 2^10 of them sums of 42 digits are none that float64 holds."""
    builder = Builder(1)
    for _ in range(LONGEST + 1):
        builder.relu(builder.dense(0, np.ones((1, 1)), np.zeros(1)))
    assert not CheckedNetwork(builder.network(), Numbers(True), Budget.of(Run())).is_short
