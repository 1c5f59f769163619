"""Matrix products that sweeps pass in one step: what is found of them, and bounds beside those entry by entry."""

from collections.abc import Callable
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds import linear
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.linear import linear_bounds
from admm_verify.bounds.matrix_products import MatrixProduct, PassedProduct, matrix_products
from admm_verify.bounds.preactivation import derived_bounds, input_rows
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.memory import Budget
from admm_verify.network.attention import attention
from admm_verify.network.blocks import BlockMap
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap
from admm_verify.network.products import einstein, matmul
from admm_verify.run import Run


def linear_of(builder: Builder, x: Tensor, shape: tuple[int, ...], rng: np.random.Generator, size: float) -> Tensor:
    """A value of some shape, of all entries of x, by whole numbers times a power of two."""
    count = int(np.prod(shape))
    weight, shift = rng.integers(-4, 5, (count, x.size)) * size, rng.integers(-4, 5, count) * size
    flat = builder.affine(builder.reshape(x, (x.size,)), DenseMap(weight), shift, np.abs(shift))
    return Tensor(flat, shape)


def of_two(
    left: tuple[int, ...],
    right: tuple[int, ...],
    join: Callable[[Builder, Tensor, Tensor], Tensor],
    seed: int = 0,
    size: float = 1.0,
) -> Network:
    """A function of two values that are affine in three inputs."""
    builder, rng = Builder((1, 3), "float64"), np.random.default_rng(seed)
    x, y = (linear_of(builder, builder.input, shape, rng, size) for shape in (left, right))
    found = join(builder, x, y)
    return builder.finish(builder.reshape(found, (1, found.size)), "two")


JOINS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Callable[[Builder, Tensor, Tensor], Tensor]]] = {
    "matrices": ((2, 3), (3, 4), matmul),
    "one second factor": ((2, 3, 2), (2, 2), matmul),
    "heads": ((2, 3, 4), (2, 4, 3), matmul),
    "batches and heads": ((2, 2, 2, 3), (2, 2, 3, 2), matmul),
    "transposed": ((3, 2), (4, 3), lambda builder, x, y: einstein(builder, "ki,jk->ji", [x, y])),
    "inner last": ((2, 3, 2), (2, 4, 3), lambda builder, x, y: einstein(builder, "bkh,bik->hib", [x, y])),
}


@pytest.mark.parametrize("name", JOINS)
def test_matrix_products_are_found(name: str) -> None:
    left, right, join = JOINS[name]
    network = of_two(left, right, join)
    (found,) = matrix_products(network)
    values = network.evaluate(np.random.default_rng(1).integers(-3, 4, (5, 3)).astype(np.float64))
    x, y = (values[source][:, part] for source, part in zip(found.sources, found.factors, strict=True))
    np.testing.assert_array_equal(values[found.node][:, found.sums], np.einsum("nbid,nbjd->nbij", x, y))
    assert found.sums.size == network.nodes[found.node].size


@pytest.mark.parametrize(
    ("left", "right", "join"),
    [
        ((3,), (3,), lambda builder, x, y: builder.product(x, y)),
        ((4, 3), (3, 1), matmul),
        ((3, 3), (3, 3), lambda builder, x, _: matmul(builder, x, x)),
    ],
)
def test_other_products_are_passed_entry_by_entry_and_bounded(left, right, join) -> None:
    network = of_two(left, right, join)
    assert not matrix_products(network)
    box = av.Box(np.full((1, 3), -0.5), np.full((1, 3), 0.5))
    bounds = av.preactivation_bounds(network, box, "crown")
    assert all((low <= high).all() for low, high in zip(bounds.lower, bounds.upper, strict=True))


def relaxed_over(network: Network, box: av.Box) -> Relaxed:
    bounds = derived_bounds(network, box, "crown", Run())
    return Relaxed(spread_region(network, box, bounds.lower, bounds.upper))


@pytest.mark.parametrize("size", [2.0**-340, 2.0**-40, 1.0, 2.0**20])
@pytest.mark.parametrize("name", JOINS)
def test_bounds_lie_below_exact_values(name: str, size: float) -> None:
    """At the corners and between them; what is smallest underflows."""
    left, right, join = JOINS[name]
    network = of_two(left, right, join, 3, size)
    rng = np.random.default_rng(7)
    centre, radius = rng.integers(-8, 9, (2, 1, 3)) / 8.0, rng.integers(0, 9, (2, 1, 3)) / 16.0
    box = input_rows(network, av.Box(centre - radius, centre + radius))
    relaxed = relaxed_over(network, box)
    assert relaxed.products
    objective = rng.standard_normal((1, 4, network.output_size)) * 10.0 ** rng.uniform(-8, 8, (1, 4, 1))
    rows = Functionals({network.output: objective}, rng.standard_normal((1, 4)))
    below = relaxed.crown(rows)
    plain = relaxed.certify(rows)[0]
    np.testing.assert_allclose(below, plain, rtol=1e-9, atol=0.0)
    (found,) = matrix_products(network)
    for k in range(2):
        ends = zip(box.lower[k], box.upper[k], strict=True)
        for corner in (*product(*ends), *rng.uniform(box.lower[k], box.upper[k], (6, 3))):
            outputs = exactly(network, found, [Fraction(float(z)) for z in corner])
            for row in range(4):
                value = Fraction(rows.constant[0, row])
                value += sum((Fraction(c) * z for c, z in zip(objective[0, row], outputs, strict=True)), Fraction(0))
                assert Fraction(below[k, row]) <= value


def exactly(network: Network, found: MatrixProduct, point: list[Fraction]) -> list[Fraction]:
    """The network's output of a matrix product of two affine functions of its inputs."""

    def affine(index: int) -> list[Fraction]:
        if index == 0:
            return point
        node = network.affine[index]
        total = [Fraction(b) for b in node.bias.tolist()]
        for term in node.terms:
            weight, given = term.map.dense().weight, affine(term.source)
            for i in range(len(total)):
                total[i] += sum((Fraction(w) * z for w, z in zip(weight[i], given, strict=True)), Fraction(0))
        return total

    (x, y), (first, second) = map(affine, found.sources), found.factors
    values = [Fraction(0)] * found.sums.size
    for b, i, j in np.ndindex(*found.sums.shape):
        pairs = zip(first[b, i].tolist(), second[b, j].tolist(), strict=True)
        values[found.sums[b, i, j]] = sum((x[p] * y[q] for p, q in pairs), Fraction(0))
    after = network.nodes[found.node + 1 :]
    for node in after:
        weight = node.terms[0].map.dense().weight
        values = [sum((Fraction(w) * z for w, z in zip(line, values, strict=True)), Fraction(0)) for line in weight]
    return values


def test_ranges_of_copies_that_differ_hold_together() -> None:
    """Where one copy of a factor was narrowed, its range is that of all of them."""
    network = of_two((2, 3), (3, 2), matmul)
    (found,) = matrix_products(network)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-1, 1, (2, 2, 3))
    size = found.places.size
    middle = np.zeros(2 * size)
    for b, i, j, d in np.ndindex(*found.places.shape):
        middle[found.places[b, i, j, d]], middle[size + found.places[b, i, j, d]] = x[i, d], y[j, d]
    lower, upper = (
        (middle - rng.uniform(0, 1, 2 * size))[None, None],
        (middle + rng.uniform(0, 1, 2 * size))[None, None],
    )
    passed = PassedProduct.over(found, network, lower, upper)
    a = rng.standard_normal((1, 5, 4))
    parts = dict(passed.multipliers(a))
    z = np.zeros(4)
    z[found.sums[0]] = x @ y.T
    flat = [np.zeros(network.nodes[source].size) for source in found.sources]
    flat[0][found.factors[0][0]], flat[1][found.factors[1][0]] = x, y
    least = sum(parts[source] @ value for source, value in zip(found.sources, flat, strict=True)) + passed.support(a)
    assert (least <= a @ z + 1e-12).all()
    exact = PassedProduct.over(found, network, middle[None, None], middle[None, None])
    tight = sum(dict(exact.multipliers(a))[source] @ value for source, value in zip(found.sources, flat, strict=True))
    np.testing.assert_allclose(tight + exact.support(a), a @ z, atol=1e-12)


def transformer() -> Network:
    """Attention with two heads twice, and a ReLU."""
    builder, rng = Builder((1, 4, 4), "float64"), np.random.default_rng(5)
    x = builder.reshape(builder.input, (4, 4))
    for _ in range(2):
        query, key, value = (
            builder.move(
                builder.reshape(Tensor(builder.affine(x, BlockMap(rng.standard_normal((4, 4)), 4)), (4, 4)), (4, 2, 2)),
                lambda entries: entries.transpose(1, 0, 2),
            )
            for _ in range(3)
        )
        assert all(isinstance(part, Tensor) for part in (query, key, value))
        mixed = attention(builder, query, key, value, 0.5, None)
        assert isinstance(mixed, Tensor)
        joined = builder.move(mixed, lambda entries: entries.transpose(1, 0, 2))
        x = builder.activation("relu", builder.add(builder.reshape(joined, (4, 4)), x))
    return builder.finish(builder.reshape(x, (1, 16)), "transformer")


def test_transformers_have_the_bounds_of_products_entry_by_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    network = transformer()
    assert len(matrix_products(network)) == 4
    centre = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4))
    box = input_rows(network, av.Box(centre - 0.05, centre + 0.05))
    bounds = derived_bounds(network, box, "crown", Run())
    region = spread_region(network, box, bounds.lower, bounds.upper)
    monkeypatch.setattr(linear, "_PASSED_NUMBERS", 16)
    one_by_one = linear_bounds(region, np.arange(16), Budget.of(Run()))
    monkeypatch.setattr(Relaxed, "products", {})
    plain = linear_bounds(region, np.arange(16), Budget.of(Run()))
    for found, other in zip(one_by_one, plain, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-9, atol=1e-12)
    x = np.random.default_rng(1).uniform(box.lower[:, None], box.upper[:, None], (3, 300, 16))
    values = network.evaluate(x.reshape(-1, 16))[network.output].reshape(3, 300, 16)
    assert (one_by_one[0][:, None] <= values).all() and (values <= one_by_one[1][:, None]).all()
