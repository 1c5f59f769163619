"""Products in the checker: planes under any weights, and certificates of networks that multiply values."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

import admm_verify as av
from admm_verify.certificates.check import check
from admm_verify.certificates.numbers import Numbers
from admm_verify.certificates.products import CheckedProduct
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap

RNG = np.random.default_rng(11)
KIND = CheckedProduct()


def exactly(numbers: Numbers, array: np.ndarray, *place: int) -> Fraction:
    entry = array[place]
    return Fraction(int(entry.integers)) * Fraction(2) ** entry.exponent if numbers.exact else Fraction(float(entry))


@pytest.mark.parametrize("exact", [False, True])
def test_planes_of_any_weights_hold_at_all_corners(exact):
    numbers, rows = Numbers(exact), 60
    low = RNG.standard_normal((rows, 2)) * 10.0 ** RNG.uniform(-6, 6, (rows, 2))
    high = low + np.abs(RNG.standard_normal((rows, 2))) * 10.0 ** RNG.uniform(-6, 6, (rows, 2))
    high = np.where(RNG.random((rows, 2)) < 0.1, low, high)
    weights = RNG.uniform(-0.2, 1.2, (rows, 2))
    for chosen in (None, (np.arange(2), numbers.of(weights))):
        lines = KIND.lines(numbers, numbers.of(low), numbers.of(high), chosen)
        ends = KIND.image(numbers, numbers.of(low), numbers.of(high))
        for row in range(rows):
            ends_of = [[Fraction(float(end[row, i])) for end in (low, high)] for i in (0, 1)]
            for x, y in product(*ends_of):
                below, above = (
                    exactly(numbers, side, row, 0) * x
                    + exactly(numbers, side, row, 1) * y
                    + exactly(numbers, at, row, 0)
                    for side, at in ((lines.below, lines.below_at), (lines.above, lines.above_at))
                )
                assert below <= x * y <= above
                assert exactly(numbers, ends[0], row, 0) <= x * y <= exactly(numbers, ends[1], row, 0)


def network(kind: str) -> Network:
    builder, rng = Builder((3,)), np.random.default_rng(5)
    x = builder.input
    for _ in range(2):
        first, second = (
            Tensor(builder.affine(x, DenseMap(rng.standard_normal((6, x.size)) / 2), rng.standard_normal(6) / 3), (6,))
            for _ in range(2)
        )
        x = builder.product(builder.activation(kind, first), second)
    return builder.finish(Tensor(builder.affine(x, DenseMap(rng.standard_normal((2, 6)) / 2)), (2,)), kind)


@pytest.mark.parametrize("kind", ["relu", "tanh"])
@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_certificates_of_products_are_checked(kind, arithmetic):
    net, box = network(kind), av.Box(-0.4 * np.ones(3), 0.4 * np.ones(3))
    least = float(net(RNG.uniform(-0.4, 0.4, (20000, 3))).min(axis=0)[0])
    query = av.query(net, box, f"y0 <= {least - 0.02}")
    settings = av.VerifySettings(certificate=True, arithmetic=arithmetic)
    proof = av.verify(query, timeout=60, settings=settings).certificate
    for exact in (False, True) if kind == "relu" else (False,):
        assert check(proof, query.property, net, arithmetic=arithmetic, exact=exact).proved
    assert not check(proof, av.query(net, box, f"y0 <= {least + 0.02}").property, net, arithmetic=arithmetic).proved
