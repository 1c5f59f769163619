"""Ellipsoids and zonotopes cut with boxes: bounds under what points attain, zero slack, and as near as they come."""

# Arrays are NumPy's here, whatever sets may take.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false, reportCallIssue=false

from fractions import Fraction

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.arrays import Placement, gamma
from admm_verify.sets.cut import Cut
from tests.sets.laws import dot, exact

KINDS = ("ellipsoid", "zonotope", "flat ellipsoid", "flat zonotope")


def drawn(kind: str, seed: int) -> tuple[Cut, np.ndarray, np.random.Generator]:
    """A set around the origin cut on some sides, a few of them to a point, and functionals."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    size, scale = int(rng.integers(1, 7)), 10.0 ** rng.integers(-8, 5)
    generators = scale * rng.standard_normal((size, size + 3)) * 10.0 ** rng.integers(-2, 2, (size, 1))
    if kind.startswith("flat"):
        generators = generators[:, : max(1, size - 1)]
    centre = scale * rng.standard_normal(size)
    shape = generators @ generators.T
    base = av.Zonotope(centre, generators) if "zonotope" in kind else av.Ellipsoid(centre, shape)
    lower, upper = base.range
    # The box holds a point of the base, often near to its border.
    point = base.project(centre + 0.7 * (upper - lower) * rng.uniform(-1.0, 1.0, size))
    share = rng.choice([0.0, 0.1, 0.5, 2.0], (2, size), p=[0.05, 0.25, 0.4, 0.3])
    low, high = point - share[0] * (upper - lower), point + share[1] * (upper - lower)
    part = base.at(None).within(low[None], high[None])
    assert isinstance(part, Cut)
    return part, rng.standard_normal((20, size)) / (upper - lower), rng


def inside(part: Cut, x: np.ndarray) -> np.ndarray:
    """Points near to x that are in both sets, exactly."""
    found = np.asarray(part.drawn_in(x))
    found = found[~np.isnan(found).any(axis=-1)]
    assert np.asarray(part.contains(found)).all()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_no_minimum_is_over_what_a_point_attains(kind: str) -> None:
    for seed in range(4):
        part, c, rng = drawn(kind, seed)
        points = inside(part, np.concatenate([part.minimiser(c), part.sample(4, rng)[0]]))
        value, magnitude = part.minimum(c)
        room = Fraction(gamma(part.size + 4))
        for number, size, functional in zip(value, magnitude, c, strict=True):
            most = Fraction(float(number)) - room * Fraction(float(size))
            assert all(most <= dot(exact(functional), exact(x)) for x in points)
        assert len(points) or kind.startswith("flat")


@pytest.mark.parametrize("kind", KINDS[:2])
def test_minima_are_those_of_points_in_both_sets(kind: str) -> None:
    """A bound and a point that attain the same are both optimal."""
    for seed in range(20):
        part, c, _ = drawn(kind, seed)
        value, magnitude = part.minimum(c)
        x, found = part.best(c)
        width = np.asarray(part.base.width)
        assert part.box.contains(x).all()
        assert (np.abs(part.base.project(x) - x) <= 1e-7 * width).all()
        np.testing.assert_allclose((c * x).sum(axis=-1), value, rtol=0, atol=1e-6 * float(magnitude.max()))
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-6 * float(magnitude.max()))


@pytest.mark.parametrize("kind", KINDS)
def test_empty_cuts_have_bounds(kind: str) -> None:
    part, c, _ = drawn(kind, 1)
    lower, upper = part.base.range
    if part.size > 1:
        corner = part.base.at(None) if len(part.base.lead) == 0 else part.base
        empty = corner.within(upper - 1e-3 * (upper - lower), upper)
        assert not np.isnan(empty.minimum(c)[0]).any()
        assert not np.isnan(empty.best(c)[0]).any()


@pytest.mark.parametrize("kind", KINDS[:2])
def test_torch_gives_what_numpy_does(kind: str) -> None:
    part, c, _ = drawn(kind, 3)
    there = part.put(Placement.of(torch.zeros(0, dtype=torch.float64)))
    np.testing.assert_allclose(there.minimum(torch.asarray(c))[0], part.minimum(c)[0], rtol=1e-9, atol=1e-12)
    single = part.put(Placement.of(torch.zeros(0, dtype=torch.float32)))
    x, value = single.best(torch.asarray(c, dtype=torch.float32))
    assert x.dtype == value.dtype == torch.float32
    assert not torch.isnan(x).any() and not torch.isnan(value).any()


@pytest.mark.parametrize("kind", KINDS[:2])
def test_networks_take_cuts(kind: str, small_network: av.Network) -> None:
    rng = np.random.default_rng(0)
    generators = 0.3 * rng.standard_normal((4, 6))
    base = (
        av.Zonotope(np.zeros(4), generators)
        if kind == "zonotope"
        else av.Ellipsoid(np.zeros(4), generators @ generators.T)
    )
    lower, upper = (np.asarray(end) for end in base.range)
    part = base.at(None).within((lower * [0.0, 1.0, 1.0, 0.5])[None], upper[None])
    assert isinstance(part, Cut)
    whole, found = (av.preactivation_bounds(small_network, one, "tightened") for one in (base, part))
    widths = [
        sum(float(np.sum(np.asarray(b) - np.asarray(a))) for a, b in zip(some.lower, some.upper, strict=True))
        for some in (whole, found)
    ]
    assert widths[1] < 0.95 * widths[0]
    ends = av.output_bounds(small_network, part, settings=av.SolverSettings(max_passes=2))
    y = small_network(inside(part, part.sample(100, rng)[0]))
    assert (np.reshape(ends.lower, -1) <= y).all() and (y <= np.reshape(ends.upper, -1)).all()
