"""Neurons bounded over the entries that they see, the planes that products start with, and matrices along an axis."""

from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.bounds import seen
from admm_verify.bounds.linear import linear_bounds
from admm_verify.bounds.preactivation import derived_bounds, input_rows
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.seen import seen_region
from admm_verify.memory import Budget
from admm_verify.network.attention import attention
from admm_verify.network.blocks import BlockMap
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.compose import add, compose
from admm_verify.network.maps import DenseMap, DiagonalMap
from admm_verify.relaxations.bilinear import Bilinear, MiddlePlanes
from admm_verify.run import Run

RNG = np.random.default_rng(5)


def tokens(count: int, width: int):
    """Attention between tokens of the input, then a layer for each of them and attention again."""
    builder = Builder((count, width))
    x = builder.input
    for _ in range(2):
        query, key, value = (
            Tensor(builder.affine(x, BlockMap(RNG.standard_normal((width, width)), count)), x.shape) for _ in range(3)
        )
        mixed = attention(builder, query, key, value, 0.5, None)
        assert isinstance(mixed, Tensor)
        x = builder.activation("relu", builder.add(mixed, x))
    return builder.finish(x, "tokens")


def test_bounds_over_what_is_seen_are_those_over_everything(monkeypatch):
    network = tokens(4, 3)
    box = input_rows(network, av.Box(np.full((1, 4, 3), -0.1), np.full((1, 4, 3), 0.1)))
    last = [i for i, node in network.affine.items() if node.size == 12][-2]
    bounds = derived_bounds(network, box, "crown", Run())
    below = [k for k, i in enumerate(network.activations) if i < last]
    part = av.Network(network.nodes[: last + 1], network.input_shape, (network.nodes[last].size,))
    region = spread_region(part, box, [bounds.lower[k] for k in below], [bounds.upper[k] for k in below])
    whole = linear_bounds(region, np.arange(12), Budget.of(Run()))
    monkeypatch.setattr(seen, "_LEAST", 1)
    smaller = [seen_region(region, np.arange(3 * t, 3 * t + 3)) for t in range(4)]
    sizes = [sum(node.size for node in one.network.functions) for one in (region, *smaller)]
    assert max(sizes[1:]) < 0.9 * sizes[0]
    x = RNG.uniform(-0.1, 0.1, (400, 12))
    values = network.evaluate(x)[last]
    for t, one in enumerate(smaller):
        wanted = np.arange(3 * t, 3 * t + 3)
        np.testing.assert_allclose(one.network.evaluate(x)[-1][:, wanted], values[:, wanted], atol=1e-12)
        low, high = linear_bounds(region, wanted, Budget.of(Run()))
        np.testing.assert_allclose(low, whole[0][:, wanted], atol=1e-9)
        np.testing.assert_allclose(high, whole[1][:, wanted], atol=1e-9)
        assert (values[:, wanted] >= low).all() and (values[:, wanted] <= high).all()


def test_planes_in_the_middle_lie_beyond_all_corners():
    ends = np.sort(RNG.standard_normal((2, 400)) * 10.0 ** RNG.integers(-8, 8, 400), axis=0)
    lower, upper = ends[:1], ends[1:]
    planes = MiddlePlanes.of(lower, upper)
    first, second = (part.reshape(-1) for part in np.split(planes.middle, 2, axis=-1))
    for sign in (1, -1):
        for i in range(200):
            a = np.zeros((1, 200))
            a[0, i] = sign
            (x0, y0), (x1, y1) = ((Fraction(end[0, i]), Fraction(end[0, i + 200])) for end in (lower, upper))
            gx, gy = sign * Fraction(first[i]), sign * Fraction(second[i])
            least = min(sign * x * y - gx * x - gy * y for x in (x0, x1) for y in (y0, y1))
            # What bounds charge: a few roundings of the multipliers' and the product's magnitudes.
            size = max(abs(x * y) for x in (x0, x1) for y in (y0, y1))
            charged = (
                8 * Fraction(2) ** -53 * (size + abs(gx) * max(abs(x0), abs(x1)) + abs(gy) * max(abs(y0), abs(y1)))
            )
            found = Fraction(float(planes.support(a)[0]))
            assert found - charged <= least
            # No looser than the corners themselves by more than that.
            exact = Bilinear().support(lower, upper, a, planes.multiplier(a))
            assert float(exact.sum()) <= float(found) + 1e-12 * float(size + abs(gx) + abs(gy)) + float(2 * charged)


@pytest.mark.parametrize(("outer", "inner"), [(3, 1), (1, 4), (2, 3)])
def test_a_matrix_along_an_axis_is_its_dense_map(outer, inner):
    weight = RNG.standard_normal((5, 2))
    block, x, y = BlockMap(weight, outer, inner), RNG.random((4, 2 * outer * inner)), RNG.random((4, 5 * outer * inner))
    dense = block.dense()
    expected = np.einsum("mk,boki->bomi", weight, x.reshape(4, outer, 2, inner)).reshape(4, -1)
    for one in (block, dense):
        np.testing.assert_allclose(one.apply(x), expected, rtol=1e-12)
        np.testing.assert_allclose(one.transpose(y), dense.transpose(y), rtol=1e-12)
        np.testing.assert_allclose(one.absolute_apply(x), x @ np.abs(dense.weight).T, rtol=1e-12)
        np.testing.assert_allclose(one.magnitude_transpose(y), y @ np.abs(dense.weight), rtol=1e-12)
    wanted = np.array([1, block.rows - 1])
    np.testing.assert_array_equal(block.rows_at(wanted, Placement.numpy()), dense.weight[wanted])
    assert block.roundings >= 5 and block.multiplications == 10 * outer * inner
    scaling = DiagonalMap(np.tile(np.repeat(np.arange(1.0, 3.0), inner), outer))
    behind = DiagonalMap(np.tile(np.repeat(np.arange(1.0, 6.0), inner), outer))
    other = BlockMap(RNG.standard_normal((3, 5)), outer, inner)
    for first, second in ((block, scaling), (behind, block), (other, block)):
        merged = compose(first, second)
        assert isinstance(merged, BlockMap)
        np.testing.assert_allclose(merged.dense().weight, first.dense().weight @ second.dense().weight, rtol=1e-12)
        least = np.abs(first.dense().weight) @ np.abs(second.dense().weight)
        assert merged.dense().magnitude is not None and (merged.dense().magnitude >= least * (1 - 1e-12)).all()
    assert compose(block, DiagonalMap(np.arange(1.0, 1.0 + block.columns))) is None
    outside = compose(DenseMap(RNG.standard_normal((2, block.rows))), block)
    assert isinstance(outside, DenseMap) and outside.columns == block.columns
    both = add(block, BlockMap(weight, outer, inner))
    assert isinstance(both, BlockMap)
    np.testing.assert_allclose(both.weight, 2 * weight)
