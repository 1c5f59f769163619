"""Relaxed regions: certified planes and bounds lie below exact values, whatever the slopes; multipliers give slopes."""

from fractions import Fraction

import numpy as np
import pytest

from admm_verify import AscentSettings, Box, Network, preactivation_bounds
from admm_verify.arrays import quiet_overflow
from admm_verify.bounds.climb import slopes_of
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Relaxed
from tests.complete.networks import FAMILIES, PIECES, box_for, flat_box, network_of
from tests.reference.attack import box_points
from tests.reference.pieces import ExactPieces

ROWS = 4


def relaxed_case(family: str, rng: np.random.Generator) -> tuple[Network, Box, Relaxed, Functionals]:
    """A network over a box of its inputs, relaxed, and functionals of its output."""
    network = network_of(family, rng, PIECES)
    box = flat_box(box_for(network, rng)).mapped(lambda end: end[None])
    pre = preactivation_bounds(network, box.mapped(lambda end: end.reshape(1, *network.input_shape)))
    objective = rng.standard_normal((1, ROWS, network.output_size))
    functionals = Functionals({network.output: objective}, rng.standard_normal((1, ROWS)))
    return network, box, Relaxed(spread_region(network, box, pre.lower, pre.upper)), functionals


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(6))
def test_planes_and_bounds_lie_below_exact_values(seed: int, family: str) -> None:
    rng = np.random.default_rng([seed, 21])
    network, box, relaxed, functionals = relaxed_case(family, rng)
    objective, offset = functionals.start[network.output][0], functionals.constant[0]
    points, exact = box_points(box.at(0), 60, seed), ExactPieces(network)
    outputs = [(x, exact.values(x)[-1]) for x in points[:6]]
    for _ in range(3):
        slopes = [rng.uniform(-1, 2, (1, ROWS, line.start.shape[-1])) for line in relaxed.lines]
        with quiet_overflow():
            (slope, shift), (lower, _) = relaxed.plane(functionals, slopes), relaxed.certify(functionals, slopes)
        assert np.isfinite(shift).all() and np.isfinite(lower).all()
        for x, y in outputs:
            for row in range(ROWS):
                value = sum((Fraction(c) * z for c, z in zip(objective[row], y, strict=True)), Fraction(offset[row]))
                plane = sum((Fraction(s) * Fraction(p) for s, p in zip(slope[0, row], x, strict=True)), Fraction(0))
                assert Fraction(lower[0, row]) <= value
                assert plane + Fraction(shift[0, row]) <= value


@pytest.mark.parametrize("family", FAMILIES)
def test_slopes_come_back_from_multipliers(family: str) -> None:
    rng = np.random.default_rng([7, 22])
    _, _, relaxed, functionals = relaxed_case(family, rng)
    with quiet_overflow():
        found = relaxed.bounded(functionals, None, AscentSettings(), 12)
        back = slopes_of(relaxed, functionals, found.multipliers)
        again, _ = relaxed.certify(functionals, back)
    np.testing.assert_allclose(again, found.lower, rtol=1e-12, atol=1e-12)
