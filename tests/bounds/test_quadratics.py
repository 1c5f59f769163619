"""Sums of products as squares and what is left: the same function, beside exact numbers, with closer bounds."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import gamma
from admm_verify.bounds.operands import operands_of
from admm_verify.bounds.quadratics import with_quadratics
from admm_verify.certificates.check import check
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.network.maps import DenseMap

Vector = list[Fraction]


def _sum(builder: Builder, x: Tensor, weight: np.ndarray) -> Tensor:
    return Tensor(builder.affine(x, DenseMap(weight)), (len(weight),))


def loop(seed: int) -> tuple[Network, av.Box]:
    """(V(x) - V(x+), V(x)) of a random loop x+ = A x + B relu(C x + d) + e sin(x) with V(x) = x'P x, over a box."""
    rng = np.random.default_rng(seed)
    size, hidden, scale = int(rng.integers(1, 5)), int(rng.integers(1, 6)), 10.0 ** rng.integers(-3, 4)
    builder = Builder((size,), "float64")
    x = builder.input
    inner = Tensor(
        builder.affine(x, DenseMap(rng.standard_normal((hidden, size)) / scale), rng.normal(size=hidden)), ()
    )
    bent = builder.activation("relu", Tensor(inner.node, (hidden,)))
    moved = builder.add(
        _sum(builder, x, 0.5 * rng.standard_normal((size, size))),
        _sum(builder, bent, 0.1 * scale * rng.standard_normal((size, hidden))),
    )
    if rng.random() < 0.5:
        square = builder.activation("square", x)
        moved = builder.add(moved, builder.scale(square, np.array(0.05 / scale)))
    root = rng.standard_normal((size, size))
    form = root.T @ root + (0.1 if rng.random() < 0.7 else -1.0) * np.eye(size)
    total = np.ones((1, size))
    value = _sum(builder, builder.product(x, _sum(builder, x, form)), total)
    fall, both = builder.add(x, moved, -1.0), builder.add(x, moved)
    decrease = _sum(builder, builder.product(fall, _sum(builder, both, form)), total)
    centre = scale * rng.standard_normal(size) * rng.integers(0, 2)
    width = scale * rng.random(size) * (rng.random(size) < 0.9)
    return builder.finish(builder.concat([decrease, value], 0), "loop"), av.Box(centre - width, centre + width)


def _exact(network: Network, x: np.ndarray) -> list[Vector]:
    """All values in rational numbers."""
    values: list[Vector] = [[Fraction(float(number)) for number in x]]
    for node in network.nodes[1:]:
        if isinstance(node, Affine):
            total = [Fraction(float(number)) for number in node.bias]
            for term in node.terms:
                total = [
                    a + b
                    for a, b in zip(
                        total, _times(np.asarray(term.map.dense().weight), values[term.source]), strict=True
                    )
                ]
            values.append(total)
        else:
            assert isinstance(node, Activation)
            values.append(_applied(node.kind, values[node.source]))
    return values


def _times(weight: np.ndarray, x: Vector) -> Vector:
    return [
        sum((Fraction(float(w)) * part for w, part in zip(row, x, strict=True) if w), Fraction(0))
        for row in np.asarray(weight)
    ]


def _applied(kind: str, x: Sequence[Fraction]) -> Vector:
    if kind == "product":
        size = len(x) // 2
        return [a * b for a, b in zip(x[:size], x[size:], strict=True)]
    return [part * part if kind == "square" else max(part, Fraction(0)) for part in x]


def _written(network: Network, box: av.Box) -> Network:
    return with_quadratics(network, av.Box(*(np.asarray(end)[None] for end in box.range)))


def _check(network: Network, written: Network, part: av.Box, points: np.ndarray) -> None:
    ranges = av.output_bounds(written, part, settings=av.SolverSettings(max_passes=4))
    for x in points:
        truth = _exact(network, x)[-1]
        for low, high, value in zip(np.ravel(ranges.lower), np.ravel(ranges.upper), truth, strict=True):
            assert Fraction(float(low)) <= value <= Fraction(float(high))


def _inside(box: av.Box, shares: np.ndarray) -> np.ndarray:
    low, high = (np.asarray(end) for end in box.range)
    return np.clip(low + shares * (high - low), low, high)


@pytest.mark.parametrize("seed", range(30))
def test_bounds_at_points_hold_what_is_exact(seed: int) -> None:
    network, box = loop(seed)
    written, rng = _written(network, box), np.random.default_rng(seed)
    size = network.input_size
    for shares in (np.zeros(size), np.ones(size), rng.random(size)):
        x = _inside(box, shares)
        _check(network, written, av.Box(x, x), x[None])


@pytest.mark.parametrize("seed", range(20))
def test_bounds_of_parts_hold_what_is_exact(seed: int) -> None:
    network, box = loop(seed)
    written, rng = _written(network, box), np.random.default_rng(seed)
    for _ in range(2):
        part = av.Box(*np.sort(_inside(box, rng.random((2, network.input_size))), axis=0))
        corners = _inside(part, rng.integers(0, 2, (3, network.input_size)))
        _check(network, written, part, np.concatenate([corners, _inside(part, rng.random((3, network.input_size)))]))


@pytest.mark.parametrize("seed", range(20))
def test_operands_are_what_they_are_said_to_be(seed: int) -> None:
    """p = slope z + shift + mix n up to what is lost, and roundings of the magnitudes; n within its reach."""
    network, box = loop(seed)
    points = _inside(box, np.random.default_rng(seed).random((64, network.input_size)))
    values = [np.asarray(value) for value in network.evaluate(points)]
    reach = [2.0 * np.abs(value).max(axis=0) for value in values]
    products = [i for i, node in enumerate(network.nodes) if isinstance(node, Activation) and node.kind == "product"]
    for own in operands_of(network, values, products, reach).values():
        share = Fraction(gamma(network.roundings + 100))
        for x in points[:3]:
            p, z = _exact(network, x)[own.node], [Fraction(float(number)) for number in x]
            straight = [a + Fraction(float(b)) for a, b in zip(_times(own.slope, z), own.shift, strict=True)]
            rest = [p[j] - straight[j] for j in own.chosen]
            assert all(abs(n) <= Fraction(float(most)) for n, most in zip(rest, own.reach, strict=True))
            mixed = _times(own.mix, rest) if rest else [Fraction(0)] * len(p)
            sizes = own.magnitude + np.abs(own.mix) @ own.reach + np.abs(own.slope) @ reach[0] + np.abs(own.shift)
            for value, line, part, lost, size in zip(p, straight, mixed, own.lost, sizes, strict=True):
                assert abs(value - line - part) <= Fraction(float(lost)) + share * Fraction(float(size))


def _decrease() -> tuple[Network, av.Box]:
    """A contraction with a weak rectifier: V falls by a fifth at least."""
    builder = Builder((2,), "float64")
    x, form = builder.input, np.array([[2.0, 0.5], [0.5, 1.0]])
    bent = builder.activation("relu", _sum(builder, x, np.array([[1.0, -1.0]])))
    turn = np.array([[0.8, 0.1], [-0.1, 0.8]])
    moved = builder.add(_sum(builder, x, turn), _sum(builder, bent, np.array([[0.02], [0.01]])))
    total = np.ones((1, 2))
    value = _sum(builder, builder.product(x, _sum(builder, x, form)), total)
    fall, both = builder.add(x, moved, -1.0), builder.add(x, moved)
    decrease = _sum(builder, builder.product(fall, _sum(builder, both, form)), total)
    return builder.finish(builder.concat([decrease, value], 0), "decrease"), av.Box(-np.ones(2), np.ones(2))


def test_quadratic_forms_share_squares_and_leave_few_products() -> None:
    network, box = _decrease()
    written = _written(network, box)
    kinds = {node.kind: node.size for node in written.functions}
    # Both states are moved by one rectifier.
    assert kinds == {"square": 2, "relu": 1, "product": 1}
    x = _inside(box, np.random.default_rng(0).random((100, 2)))
    np.testing.assert_array_equal(written(x), network(x))
    np.testing.assert_allclose(np.asarray(written.evaluate(x)[-1]), np.asarray(network.evaluate(x)[-1]), atol=1e-13)


def test_whole_shells_are_decided_in_few_parts() -> None:
    network, box = _decrease()
    query = av.query(network, box, "y0 <= 0.1*y1 and y1 >= 0.001 and y1 <= 0.5")
    found = av.verify(query, timeout=20)
    assert found.verdict is av.Verdict.UNSAT
    plain = av.verify(query, settings=av.VerifySettings(arithmetic="float64"), timeout=60)
    assert plain.verdict is av.Verdict.UNSAT and 4 * found.subproblems < plain.subproblems
    assert av.verify(av.query(network, box, "y0 <= 0.9*y1 and y1 >= 0.1"), timeout=20).verdict is av.Verdict.SAT


def test_certificates_are_of_the_network_as_it_was_read() -> None:
    network, box = _decrease()
    query = av.query(network, box, "y0 <= -0.5*y1 - 0.5")
    found = av.verify(query, settings=av.VerifySettings(certificate=True), timeout=60)
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    assert check(found.certificate, query.property, network).proved


def test_functions_that_are_undefined_somewhere_and_factors_too_large_to_square_stay() -> None:
    for kind, scale in (("log", 1.0), ("square", 1e200)):
        builder = Builder((2,), "float64")
        curve = builder.activation(kind, builder.scale(builder.input, np.array(scale)))
        product = builder.product(builder.add(curve, builder.input), builder.scale(builder.input, np.array(scale)))
        network = builder.finish(product, kind)
        assert _written(network, av.Box(-np.ones(2), np.ones(2))) is network


def test_products_far_from_affine_stay() -> None:
    builder = Builder((2,), "float64")
    x, y = (builder.select(builder.input, np.array([i])) for i in (0, 1))
    bent = builder.activation("square", x), builder.activation("square", y)
    network = builder.finish(builder.product(*bent), "squares")
    assert _written(network, av.Box(-np.ones(2), np.ones(2))) is network
