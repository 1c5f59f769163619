"""Products of two values in graphs: what networks compute, and how operands are laid out and bounded."""

import numpy as np

import admm_verify as av
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Activation, Network
from admm_verify.network.maps import DenseMap

RNG = np.random.default_rng(3)


def affine(builder: Builder, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    size = int(np.prod(shape))
    return Tensor(builder.affine(x, DenseMap(RNG.standard_normal((size, x.size)) / x.size), RNG.random(size)), shape)


def scores(builder: Builder, rows: int, width: int) -> Network:
    """All products of rows of two matrices that depend on the input, summed up as a matrix product does."""
    first, second = (affine(builder, builder.input, (rows, width)) for _ in range(2))
    left = builder.select(first, np.broadcast_to(first.labels[:, None], (rows, rows, width)))
    right = builder.select(second, np.broadcast_to(second.labels[None], (rows, rows, width)))
    total = DenseMap(np.kron(np.eye(rows * rows), np.ones(width)))
    return builder.finish(Tensor(builder.affine(builder.product(left, right), total), (rows * rows,)), "scores")


def test_factors_are_bounded_before_they_are_repeated():
    network = scores(Builder((4,)), 3, 5)
    kinds = [node.size for node in network.affine.values()]
    assert kinds == [15, 15, 90, 9] and [node.size for node in network.functions] == [45]
    box = av.Box(-np.ones(4), np.ones(4))
    interval, crown = (av.preactivation_bounds(network, box, method=method) for method in ("interval", "crown"))
    assert interval.lower[0].shape == crown.lower[0].shape == (1, 90)
    x = RNG.uniform(-1, 1, (500, 4))
    values = network.evaluate(x)
    assert (values[3] >= crown.lower[0]).all() and (values[3] <= crown.upper[0]).all()
    first, second = values[1].reshape(-1, 3, 5), values[2].reshape(-1, 3, 5)
    np.testing.assert_allclose(values[-1].reshape(-1, 3, 3), first @ second.swapaxes(1, 2), atol=1e-12)


def test_products_broadcast_and_read_both_operands():
    builder = Builder((2, 3))
    row = affine(builder, builder.input, (1, 3))
    network = builder.finish(builder.product(builder.input, row), "broadcast")
    (node,) = network.functions
    assert isinstance(node, Activation) and node.operands == 2 and node.size == 6
    x = RNG.standard_normal((7, 2, 3))
    image = np.asarray(network.evaluate(x.reshape(7, 6))[-1]).reshape(7, 2, 3)
    np.testing.assert_array_equal(network(x), image)


def test_bounds_of_a_product_are_attained_at_corners_where_it_is_all_there_is():
    builder = Builder((2,))
    x, y = (builder.select(builder.input, np.array([i])) for i in (0, 1))
    network = builder.finish(builder.product(x, y), "xy")
    box = av.Box(np.array([-1.0, -2.0]), np.array([3.0, 0.5]))
    for method in ("ascent", "admm", "primal_dual"):
        problem = av.Problem(network, box, np.array([[1.0], [-1.0]]))
        lower = av.solve(problem, method, max_passes=400).lower
        assert (lower <= [-6.0, -2.0]).all()
        np.testing.assert_allclose(lower, [-6.0, -2.0], atol=2e-3)
    ranges = av.output_bounds(network, box)
    assert ranges.lower[0] <= -6.0 and ranges.upper[0] >= 2.0
    assert av.verify(av.query(network, box, "y0 <= -6.01"), timeout=20).verdict is av.Verdict.UNSAT
    assert av.verify(av.query(network, box, "y0 <= -5.99"), timeout=20).verdict is av.Verdict.SAT
