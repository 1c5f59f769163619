"""Certified output ranges: sound with no slack, shaped like the network's output, never looser than intervals."""

from fractions import Fraction

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.network.layers import network_from_layers


def network_of(seed, sizes=(3, 8, 8, 4)):
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    return network_from_layers(
        [rng.standard_normal(shape) for shape in shapes], [rng.standard_normal(m) for m, _ in shapes]
    )


def exact_outputs(network, x):
    """f(x) of a chain of dense layers and ReLUs in exact arithmetic."""
    values = [Fraction(float(entry)) for entry in x]
    for node in network.nodes[1:]:
        if isinstance(node, type(network.nodes[1])):
            weight, bias = np.asarray(node.terms[0].map.weight), np.asarray(node.bias)
            values = [
                sum((Fraction(float(w)) * v for w, v in zip(row, values, strict=True)), Fraction(float(b)))
                for row, b in zip(weight, bias, strict=True)
            ]
        else:
            values = [max(value, Fraction(0)) for value in values]
    return values


@pytest.mark.parametrize("method", ["auto", "ascent", "primal_dual", "admm"])
@pytest.mark.parametrize("seed", range(3))
def test_no_exact_output_leaves_its_range(seed, method):
    network, rng = network_of(seed), np.random.default_rng(seed)
    center = rng.standard_normal((2, 3))
    box = av.Box.around(center, 0.3)
    found = av.output_bounds(network, box, method=method, settings=av.SolverSettings(max_passes=20))
    assert found.lower.shape == found.upper.shape == (2, 4)
    for row in range(2):
        points = rng.uniform(box.lower[row], box.upper[row], (20, 3))
        corners = np.where(rng.random((20, 3)) < 0.5, box.lower[row], box.upper[row])
        for x in (*points, *corners):
            for low, value, high in zip(found.lower[row], exact_outputs(network, x), found.upper[row], strict=True):
                assert Fraction(float(low)) <= value <= Fraction(float(high))


def test_a_point_has_a_range_of_rounding_size():
    network, x = network_of(0), np.array([0.25, -0.5, 1.0])
    found = av.output_bounds(network, av.Box(x, x))
    assert found.lower.shape == (4,) and found.status is av.Ended.CONVERGED
    for low, value, high in zip(found.lower, exact_outputs(network, x), found.upper, strict=True):
        assert Fraction(float(low)) <= value <= Fraction(float(high)) and high - low < 1e-9


def test_one_call_is_two_calls_of_solve():
    network, box = network_of(1), av.Box(-np.ones(3), np.ones(3))
    found = av.output_bounds(network, box, settings=av.SolverSettings(max_passes=0))
    lower = av.solve(av.Problem(network, box, np.eye(4)), settings=av.SolverSettings(max_passes=0)).lower
    upper = -av.solve(av.Problem(network, box, -np.eye(4)), settings=av.SolverSettings(max_passes=0)).lower
    assert (found.lower >= lower).all() and (found.upper <= upper).all()
    best = av.output_bounds(network, box, method="ascent")
    assert (best.upper - best.lower < found.upper - found.lower).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 4, 4), (2, 2, 2)), ((1, 1, 4, 4), (1, 2, 2, 2)), ((3, 16), (3, 2, 2, 2)), ((16,), (2, 2, 2))],
)
def test_shapes_follow_the_box(shape, expected):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1, stride=2), torch.nn.ReLU())
    net = av.trace(module, torch.zeros(1, 1, 4, 4))
    box = av.Box(torch.zeros(shape), torch.ones(shape))
    found = av.output_bounds(net, box, settings=av.SolverSettings(max_passes=0))
    assert tuple(found.lower.shape) == tuple(found.upper.shape) == expected
    assert isinstance(found.lower, torch.Tensor) and (found.lower > -1e-9).all()


def test_many_outputs_are_solved_in_parts(monkeypatch):
    network, box = network_of(2), av.Box.around(np.zeros((3, 3)), 0.5)
    whole = av.output_bounds(network, box, settings=av.SolverSettings(max_passes=4))
    monkeypatch.setattr("admm_verify.splitting.output_bounds._NUMBERS", 20)
    parts = av.output_bounds(network, box, settings=av.SolverSettings(max_passes=4))
    assert np.allclose(whole.lower, parts.lower, rtol=1e-9) and np.allclose(whole.upper, parts.upper, rtol=1e-9)


def test_without_time_the_bounds_still_hold():
    network, box = network_of(3), av.Box(-np.ones(3), np.ones(3))
    for run in (av.Run(timeout=0.0), av.Run(stop=lambda: True)):
        found = av.output_bounds(network, box, run=run)
        values = network(np.random.default_rng(0).uniform(-1, 1, (500, 3)))
        assert (found.lower <= values.min(axis=0)).all() and (values.max(axis=0) <= found.upper).all()
        assert found.status in (av.Ended.TIMED_OUT, av.Ended.STOPPED) and "certified" in repr(found)


def test_a_solution_says_what_its_columns_are():
    network = network_of(0)
    found = av.solve(av.Problem(network, av.Box(-np.ones(3), np.ones(3)), np.eye(4)))
    assert not hasattr(found, "upper")
    text = repr(found)
    assert "bounds nothing of the network" in text and len(text.splitlines()) == 9
    rows = av.solve(
        av.Problem(network, av.Box(-np.ones(3), np.ones(3)), np.ones((30, 4))), settings=av.SolverSettings(max_passes=0)
    )
    assert "10 more rows" in repr(rows)
