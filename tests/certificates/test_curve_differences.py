"""Differences of S-shaped curves in the checker, beside many digits."""

import mpmath
import numpy as np
import pytest

import admm_verify as av
from admm_verify.certificates.check import check
from admm_verify.certificates.kinds import CHECKED_KINDS
from admm_verify.certificates.numbers import Numbers
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.network.pair import paired
from admm_verify.relaxations.registry import RELAXATIONS

KINDS = ("sigmoid_difference", "tanh_difference")


def curve(kind, x):
    return mpmath.tanh(x) if kind.startswith("tanh") else 1 / (1 + mpmath.exp(-x))


def ranges(rng, rows):
    """Ends [rows, 3] around points with n' = n + D, of all sizes, some of no width."""
    n = rng.standard_normal(rows) * 10.0 ** rng.integers(-4, 2, rows)
    d = rng.standard_normal(rows) * 10.0 ** rng.integers(-8, 1, rows)
    centre = np.stack([n, d, n + d], axis=1)
    down, up = (np.abs(rng.standard_normal((rows, 3))) * 10.0 ** rng.integers(-8, 1, (rows, 3)) for _ in range(2))
    down, up = (np.where(rng.random((rows, 3)) < 0.1, 0.0, side) for side in (down, up))
    low, high = centre - down, centre + up
    low[:, 2], high[:, 2] = np.nextafter(low[:, 2], -np.inf), np.nextafter(high[:, 2], np.inf)
    return low, high, n, d


@pytest.mark.parametrize("kind", KINDS)
def test_lines_and_images_hold_in_many_digits(kind):
    rng, rows, found = np.random.default_rng(3), 60, CHECKED_KINDS[kind]()
    low, high, n, d = ranges(rng, rows)
    lines = found.lines(Numbers(False), low, high)
    image = found.image(Numbers(False), low, high)
    seen = 0
    with mpmath.workdps(60):
        for row in range(rows):
            starts = [n[row], low[row, 0], high[row, 0], *rng.uniform(low[row, 0], high[row, 0], 8)]
            ways = [d[row], low[row, 1], high[row, 1], *rng.uniform(low[row, 1], high[row, 1], 8)]
            for x in map(mpmath.mpf, starts):
                for way in map(mpmath.mpf, ways):
                    if not low[row, 2] <= x + way <= high[row, 2]:
                        continue
                    seen += 1
                    value = curve(kind, x + way) - curve(kind, x)
                    assert image[0][row, 0] <= value <= image[1][row, 0]
                    place = (x, way, x + way)
                    below, above = (
                        mpmath.fsum(mpmath.mpf(float(s)) * p for s, p in zip(side[row], place, strict=True))
                        + float(at[row, 0])
                        for side, at in ((lines.below, lines.below_at), (lines.above, lines.above_at))
                    )
                    assert below <= value <= above
    assert seen > 10 * rows


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_are_those_of_the_search(kind):
    rng = np.random.default_rng(5)
    low, high, _, _ = ranges(rng, 300)
    wide = (low + 1e-3 < high).all(axis=1)
    lines, known = CHECKED_KINDS[kind]().lines(Numbers(False), low[wide], high[wide]), RELAXATIONS[kind]()
    planes = known.planes(low[wide], high[wide])
    for sign, own in ((1.0, lines.below), (-1.0, lines.above)):
        other = planes.contact(np.full((int(wide.sum()), 1), sign), planes.start).slope
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-9)


def network(kind, rng, numbers):
    builder = Builder((1, 2))
    x = Tensor(builder.affine(builder.input, DenseMap(numbers[0]), numbers[1]), (1, 5))
    x = Tensor(builder.affine(builder.activation(kind, x), DenseMap(numbers[2])), (1, 2))
    return builder.finish(x, kind)


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_certificates_of_pairs_of_curves_are_checked(kind, arithmetic):
    rng = np.random.default_rng(7)
    numbers = [rng.standard_normal(shape) for shape in ((5, 2), (5,), (2, 5))]
    moved = [array * (1.0 + 0.02 * rng.standard_normal(array.shape)) for array in numbers]
    joint = paired(network(kind, rng, numbers), network(kind, rng, moved))
    box = av.Box(-0.5 * np.ones(2), 0.5 * np.ones(2))
    most = float(np.abs(joint(rng.uniform(-0.5, 0.5, (20000, 1, 2)))[:, 4]).max())
    query = av.query(joint, box, f"y4 >= {1.1 * most} or y4 <= {-1.1 * most}")
    proof = av.verify(
        query, timeout=60, settings=av.VerifySettings(certificate=True, arithmetic=arithmetic)
    ).certificate
    assert proof is not None
    assert check(proof, query.property, joint, arithmetic=arithmetic).proved
    assert "Exact numbers have no" in check(proof, query.property, joint, arithmetic=arithmetic, exact=True).reason
    near = av.query(joint, box, f"y4 >= {0.99 * most} or y4 <= {-0.99 * most}").property
    assert not check(proof, near, joint, arithmetic=arithmetic).proved
