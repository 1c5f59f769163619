"""Merging layers never proves what is false: neither in float64 nor in exact numbers, to the last unit."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from admm_verify import Network
from admm_verify.arrays import quiet_overflow
from admm_verify.certificates.check import check
from admm_verify.certificates.digests import network_digest
from admm_verify.network.builder import Builder
from admm_verify.network.spatial import batch_norm
from admm_verify.properties.property import Atom, Disjunct
from admm_verify.sets.exact import ExactBox
from tests.certificates.provers import property_of
from tests.certificates.rounded_chains import rounded_case
from tests.certificates.test_corners import whole


def query(
    network: Network, lower: np.ndarray, upper: np.ndarray, row: list[Fraction], level: Fraction, arithmetic="real"
):
    """row'y <= level."""
    box = ExactBox(*(tuple(Fraction(float(end)) for end in ends) for ends in (lower, upper)))
    return property_of(network, [Disjunct(box, (Atom(tuple(enumerate(row)), -level, False),))], arithmetic)


def proves(network: Network, found, exact: bool, kind: str = "neuron", arithmetic: str = "real") -> bool:
    return check(whole(network, found, kind, arithmetic), found, network, exact=exact).proved


def check_one(seed: int) -> bool:
    """No false statement at a point is proved; whether a true one is, in exact numbers."""
    network, x, y = rounded_case(seed)
    rng = np.random.default_rng([seed, 22])
    row = [Fraction(int(c)) for c in rng.integers(-2, 3, len(y))]
    level = sum((c * v for c, v in zip(row, y, strict=True)), Fraction(0))
    kind = ("neuron", "input")[seed % 2]
    reach = abs(x) * float(rng.choice([0.0, 0.0, 1e-6])) + float(rng.choice([0.0, 0.0, 1e-3]))
    for exact in (False, True):
        # The point itself satisfies this one, and, where it is a point, the next larger levels.
        assert not proves(network, query(network, x - reach, x + reach, row, level), exact, kind), seed
        assert not proves(network, query(network, x, x, row, level + abs(level) * Fraction(1, 2**53)), exact, kind), (
            seed
        )
    with quiet_overflow():
        computed = network(x.astype(np.float32)[None]).astype(np.float64)
    if np.isfinite(computed).all():
        level32 = sum((c * Fraction(float(v)) for c, v in zip(row, computed.reshape(-1), strict=True)), Fraction(0))
        found = query(network, x, x, row, level32, "float32")
        for exact in (False, True):
            assert not proves(network, found, exact, kind, "float32"), seed
    size = sum((abs(v) for v in y), abs(level)) + 1
    return any(
        proves(network, query(network, x, x, row, level - size * Fraction(1, 2**k)), True, kind) for k in (40, 8)
    )


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_no_false_statement_is_proved(first):
    assert sum(check_one(seed) for seed in range(first, first + 20)) > 2


@pytest.mark.slow
def test_no_false_statement_is_proved_of_many_networks():
    assert sum(check_one(seed) for seed in range(1000, 2000)) > 100


def cancelling() -> Network:
    """y = 1e20 x + x - 1e20 x in two layers, which is x."""
    builder = Builder((1, 1))
    wide = builder.matmul(builder.input, np.array([[1e20, 1.0, -1e20]]))
    return builder.finish(builder.matmul(wide, np.ones((3, 1))), "cancelling")


def test_what_merging_has_lost_is_not_proved():
    network = cancelling()
    for kind in ("neuron", "input"):
        for exact in (False, True):
            # y = x = 1/2 is at least 1/2.
            assert not proves(
                network, query(network, np.zeros(1), np.ones(1), [Fraction(-1)], Fraction(-1, 2)), exact, kind
            )
        # In exact numbers nothing has been lost.
        true = query(network, np.zeros(1), np.ones(1), [Fraction(-1)], Fraction(-1) - Fraction(1, 10**30))
        assert proves(network, true, True, kind) and not proves(network, true, False, kind)


def test_what_the_reader_computed_is_charged():
    third = Fraction(1, 3)
    for divisor, true in ((3.0, third), (4.0, Fraction(1, 4))):
        builder = Builder((1, 1))
        network = builder.finish(builder.divide(builder.input, np.array(divisor)), "divided")
        for spare, expected in (
            (Fraction(0), False),
            (Fraction(1, 10**30), divisor == 4.0),
            (Fraction(1, 10**14), True),
        ):
            found = query(network, np.ones(1), np.ones(1), [Fraction(1)], true - spare)
            assert proves(network, found, True) is expected


def test_computed_constants_are_charged():
    third = float(np.float64(1) / 3)
    for sign, exactly in ((third, False), (1.0, True)):
        builder = Builder((1, 1))
        network = builder.finish(builder.add(builder.input, np.full((1, 1), third), sign), "shifted")
        true = 1 + Fraction(sign) * Fraction(third)
        found = query(network, np.ones(1), np.ones(1), [Fraction(1)], true - Fraction(1, 10**30))
        assert proves(network, found, True) is exactly
        assert not proves(network, query(network, np.ones(1), np.ones(1), [Fraction(1)], true), True)


def test_scales_of_tiny_numbers_are_charged():
    builder = Builder((1, 1))
    # Of the smallest numbers a quotient keeps no digit.
    network = builder.finish(
        batch_norm(builder, builder.input, *(np.full(1, v) for v in (1e-323, 0.0, 0.0, 9.0)), 0.0), ""
    )
    x, true = np.full(1, 1e300), Fraction(1e-323) * Fraction(1e300) / 3
    assert not proves(network, query(network, x, x, [Fraction(1)], true), True)
    assert not proves(network, query(network, x, x, [Fraction(-1)], -true), True)


def test_twins_share_their_choices():
    builder = Builder((1, 2))
    hidden = builder.add(builder.matmul(builder.input, np.array([[1.0, -1.0], [1.0, 1.0]])), np.array([[0.5, 0.0]]))
    parts = [builder.activation("relu", hidden) for _ in range(2)]
    # Activations of activations have sources of their own.
    again = [builder.activation("relu", part) for part in parts]
    total = builder.add(builder.add(parts[0], parts[1]), builder.add(again[0], again[1]))
    network = builder.finish(total, "twins")
    kinds = [node.kind for node in network.functions]
    found = query(network, -np.ones(2), np.ones(2), [Fraction(1), Fraction(1)], Fraction(-10))
    assert kinds == ["relu"] * 3 and proves(network, found, True) and proves(network, found, False)


def test_digests_tell_apart_what_was_read():
    found = [network_digest(cancelling())]
    for weight in ([1e20, 1.0, -1e20 * (1 + 2**-52)], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]):
        builder = Builder((1, 1))
        wide = builder.matmul(builder.input, np.array([weight]))
        found.append(network_digest(builder.finish(builder.matmul(wide, np.ones((3, 1))), "cancelling")))
    assert len(set(found)) == len(found)
    network = cancelling()
    assert network_digest(replace(network, name="another")) == found[0]
    assert network_digest(replace(network, element_type="float64")) != found[0]
    # Without the graph as read, magnitudes and counts of roundings are what it is known by.
    bare = replace(network, as_read=None)
    last = bare.nodes[-1]
    digests = {network_digest(bare)}
    for change in ("bias_magnitude", "peak_gain", "peak_shift"):
        changed = replace(last, **{change: 2 * getattr(last, change) + 1})
        digests.add(network_digest(replace(bare, nodes=(*bare.nodes[:-1], changed))))
    for change in ("magnitude", "roundings"):
        map = last.terms[0].map
        term = replace(last.terms[0], map=replace(map, **{change: 2 * getattr(map, change) + 1}))
        digests.add(network_digest(replace(bare, nodes=(*bare.nodes[:-1], replace(last, terms=(term,))))))
    assert len(digests) == 6


def test_undecided_rules_go_by_the_rounding_of_the_search():
    """Over symmetric intervals both slopes below have the same area, and only one of them may prove the query."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        builder = Builder((1, 2))
        weight, last = rng.integers(-2, 3, (2, 6)) / 3, rng.integers(-2, 3, (6, 4)) / 7
        hidden = builder.activation("relu", builder.matmul(builder.matmul(builder.input, np.eye(2)), weight))
        hidden = builder.activation("relu", builder.matmul(hidden, last))
        network = builder.finish(builder.matmul(hidden, rng.integers(-2, 3, (4, 1)) / 5), "tied")
        found = query(network, -np.ones(2), np.ones(2), [Fraction(1)], Fraction(-(10**6)))
        rounded, exact = (check(whole(network, found), found, network, exact=exact).worst for exact in (False, True))
        assert rounded <= exact <= rounded + 1e-6
