"""Sums of products by a common factor as products of sums: the same function, with closer bounds."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.preactivation import derived_bounds, input_rows
from admm_verify.certificates.check import check
from admm_verify.network.blocks import BlockMap
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.common_factors import summed_before_products
from admm_verify.network.graph import Activation, Network
from admm_verify.network.maps import DenseMap
from admm_verify.network.normalisation import layer_norm
from admm_verify.network.products import quotient
from admm_verify.run import Run
from tests.reference.attack import box_points

TOKENS, WIDTH = 2, 6


def along(builder: Builder, x: Tensor, matrix: np.ndarray, shift: np.ndarray) -> Tensor:
    """A linear layer for every token, [tokens, k] -> [tokens, m]."""
    tokens = x.shape[0]
    shifts = np.tile(shift, tokens)
    node = builder.affine(x, BlockMap(matrix, tokens), shifts, np.abs(shifts))
    return Tensor(node, (tokens, len(matrix)))


def normalised(seed: int, read: str = "layers") -> Network:
    """Tokens of the input in a wider space, a layer norm, and two layers that read it."""
    rng, builder = np.random.default_rng(seed), Builder((1, TOKENS, 3), "float64")
    x = builder.reshape(builder.input, (TOKENS, 3))
    x = along(builder, x, rng.standard_normal((WIDTH, 3)), rng.standard_normal(WIDTH))
    if read == "quotient":
        norm = builder.activation("exp", along(builder, x, 0.1 * np.ones((1, WIDTH)), np.zeros(1)))
        y = quotient(builder, x, norm)
    else:
        y = layer_norm(builder, x, 1, rng.uniform(0.5, 2, WIDTH), rng.standard_normal(WIDTH), 1e-5)
    first, second = (along(builder, y, rng.standard_normal((4, WIDTH)), rng.standard_normal(4)) for _ in range(2))
    joined = builder.concat([builder.activation("tanh", first), builder.activation("relu", second)], 1)
    if read == "residual":
        joined = builder.concat([joined, y], 1)
    if read == "mean":
        matrix = rng.standard_normal((3, TOKENS * WIDTH))
        flat = builder.reshape(y, (TOKENS * WIDTH,))
        joined = Tensor(builder.affine(flat, DenseMap(matrix), np.zeros(3), np.zeros(3)), (3,))
    return builder.finish(builder.reshape(joined, (1, joined.size)), read)


def box_of(network: Network, seed: int, radius: float) -> av.Box:
    centre = np.random.default_rng(seed).uniform(-1, 1, (1, *network.input_shape))
    return av.Box(centre - radius, centre + radius)


def products(network: Network) -> list[int]:
    return [node.size for node in network.nodes if isinstance(node, Activation) and node.kind == "product"]


@pytest.mark.parametrize(
    ("read", "sizes"), [("layers", [8, 8]), ("quotient", [8, 8]), ("residual", [8, 8, TOKENS * WIDTH])]
)
def test_sums_come_before_products_and_nothing_else_changes(read: str, sizes: list[int]) -> None:
    network = normalised(0, read)
    found = summed_before_products(network)
    assert products(network) == [TOKENS * WIDTH] and sorted(products(found)) == sizes
    assert found.as_read is network.as_read and found.output_shape == network.output_shape
    x = np.random.default_rng(1).uniform(-3, 3, (200, network.input_size))
    np.testing.assert_allclose(found.evaluate(x)[-1], network.evaluate(x)[-1], rtol=1e-11, atol=1e-11)


def test_sums_over_several_tokens_leave_products_alone() -> None:
    """Each has a factor of its own."""
    network = normalised(0, "mean")
    assert summed_before_products(network) is network


def test_networks_without_normalisations_are_left_alone() -> None:
    builder = Builder((1, 3), "float64")
    x = builder.reshape(builder.input, (3,))
    scaled = builder.product(x, builder.select(x, np.zeros(3, dtype=np.int64)))
    y = Tensor(builder.affine(scaled, DenseMap(np.ones((2, 3))), np.zeros(2), np.zeros(2)), (1, 2))
    network = builder.finish(y, "bilinear")
    assert summed_before_products(network) is network


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("read", "radius"), [("layers", 0.05), ("layers", 0.3), ("quotient", 0.3)])
def test_bounds_are_closer_and_hold(seed: int, read: str, radius: float) -> None:
    network = normalised(seed, read)
    box = input_rows(network, box_of(network, seed, radius))
    better = summed_before_products(network)
    points = box_points(av.Box(box.lower[0], box.upper[0]), 20000, seed)
    values = better.evaluate(points)
    widths = []
    for graph in (network, better):
        bounds = derived_bounds(graph, box, "crown", Run())
        kinds = {graph.functions[k].kind: k for k in range(len(graph.functions))}
        widths.append(sum(float((bounds.upper[kinds[k]] - bounds.lower[kinds[k]]).sum()) for k in ("tanh", "relu")))
    bounds = derived_bounds(better, box, "crown", Run())
    for source, low, high in zip(better.sources, bounds.lower, bounds.upper, strict=True):
        assert (low <= values[source]).all() and (values[source] <= high).all()
    assert widths[1] < widths[0]


def test_verdicts_are_those_of_the_network(seed: int = 3) -> None:
    """With a certificate, of the products as they were read; with what was attained, a counterexample."""
    network = normalised(seed)
    box = box_of(network, seed, 0.02)
    points = box_points(av.Box(box.lower.reshape(-1), box.upper.reshape(-1)), 2000, seed)
    first = network.evaluate(points)[-1][:, 0]
    above = av.query(network, box, f"y0 >= {first.max() + 0.05:.6f}")
    assert av.verify(above, timeout=60).verdict is av.Verdict.UNSAT
    proven = av.verify(above, timeout=60, settings=av.VerifySettings(certificate=True))
    assert proven.verdict is av.Verdict.UNSAT and proven.certificate is not None
    report = check(proven.certificate, above.property, network)
    assert report.proved, report.reason
    attained = av.query(network, box, f"y0 >= {np.median(first):.6f}")
    assert av.verify(attained, timeout=60).verdict is av.Verdict.SAT
