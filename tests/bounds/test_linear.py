"""CROWN's bounds behind products, whose planes are looked at once more where it matters which are chosen."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.network.builder import Builder
from admm_verify.network.graph import Network
from admm_verify.network.products import times


def behind_products(seed: int = 0) -> Network:
    """relu(V (A x * B y)) of two parts of the input, summed."""
    rng, builder = np.random.default_rng(seed), Builder((1, 8), "float64")
    x, y = (builder.select(builder.input, np.arange(k, k + 4)[None]) for k in (0, 4))
    left, right = (builder.matmul(part, rng.standard_normal((4, 6))) for part in (x, y))
    hidden = builder.matmul(times(builder, left, right), rng.standard_normal((6, 12)))
    return builder.finish(builder.matmul(builder.activation("relu", hidden), np.ones((12, 1))), "products")


def boxes(width: float) -> av.Box:
    """The second half of the input is known but for a width."""
    centre = np.random.default_rng(1).standard_normal((3, 8))
    reach = np.where(np.arange(8) < 4, 0.5, width)
    return av.Box(centre - reach, centre + reach)


@pytest.mark.parametrize(("width", "apart"), [(0.0, False), (1e-9, False), (0.5, True)])
def test_planes_are_looked_at_twice_where_they_are_apart(width, apart, monkeypatch):
    looked, bounded = [], Relaxed.bounded

    def spied(self, *arguments):
        looked.append(True)
        return bounded(self, *arguments)

    monkeypatch.setattr(Relaxed, "bounded", spied)
    network = behind_products()
    found = av.preactivation_bounds(network, boxes(width), "crown")
    assert bool(looked) == apart
    monkeypatch.setattr("admm_verify.bounds.linear._chosen", lambda relaxed: not apart)
    other = av.preactivation_bounds(network, boxes(width), "crown")
    widths = [float(np.sum(np.asarray(one.upper[-1]) - np.asarray(one.lower[-1]))) for one in (found, other)]
    if apart:
        assert widths[0] < 0.999 * widths[1]
    else:
        assert widths[0] <= widths[1] * (1.0 + 1e-6)
