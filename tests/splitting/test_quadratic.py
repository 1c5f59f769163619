"""Quadratic objectives: certified below exact squares, tight for the relaxation, at all magnitudes and on torch."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from tests.nearest.draws import drawn
from tests.nearest.exact import least_distance
from tests.random_networks import chain


def exact(values):
    return [Fraction(float(value)) for value in values]


def square_of(matrix, inputs, target, x, y):
    """|matrix y + inputs x - target|^2 in rational numbers."""
    total = Fraction(0)
    for i, goal in enumerate(target):
        part = -Fraction(float(goal))
        for rows, values in ((matrix, y), (inputs, x)):
            if rows is not None:
                part += sum((Fraction(float(c)) * v for c, v in zip(rows[i], values, strict=True)), Fraction(0))
        total += part**2
    return total


@pytest.mark.parametrize("seed", range(20))
def test_lower_is_below_every_exact_square(seed):
    rng = np.random.default_rng(seed)
    for draw in range(3):
        inputs, outputs = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        truth, network = drawn(rng, inputs, outputs, [4, 4] if draw % 2 else [6])
        low = rng.uniform(-1, 1, inputs)
        box = low, low + rng.uniform(0, 1, inputs) * (rng.random(inputs) < 0.9)
        size = max(1e-3, float(np.abs(network(box[0])).max()))
        count = int(rng.integers(1, 4))
        matrix = rng.standard_normal((count, outputs)) * (draw != 2)
        own = rng.standard_normal((count, inputs)) if draw != 1 else None
        targets = size * rng.standard_normal((2, count))
        problem = av.Problem(network, av.Box(*box), av.Quadratic(matrix, targets, own))
        crown = av.solve(problem, max_passes=0)
        found = av.solve(problem, tolerance=1e-5)
        assert (found.lower >= crown.lower).all()
        assert (found.gap >= 0).all()
        assert (found.gap <= 1e-3 * np.maximum(1.0, found.relaxation_upper)).all()
        for row, target in enumerate(targets):
            points = np.concatenate([rng.uniform(*box, (4, inputs)), found.primal[[row]]])
            for x in points:
                assert Fraction(found.lower[row]) <= square_of(matrix, own, target, exact(x), truth.exactly(x))


def test_stable_networks_are_met_exactly():
    rng = np.random.default_rng(1)
    truth, network = drawn(np.random.default_rng(5), 2, 2, [3])
    centre = rng.uniform(-1, 1, 2)
    box = centre - 1e-3, centre + 1e-3
    bounds = av.preactivation_bounds(network, av.Box(*box))
    assert all(((low > 0) | (high < 0)).all() for low, high in zip(bounds.lower, bounds.upper, strict=True))
    target = network(centre) + np.array([0.5, -0.2])
    found = av.solve(av.Problem(network, av.Box(*box), av.Quadratic(np.eye(2), target)), tolerance=1e-7)
    least, _ = least_distance(truth, box, (target, target))
    assert abs(found.lower[0] - least**2) <= 1e-6
    assert abs(found.relaxation_upper[0] - least**2) <= 1e-6


def test_what_multipliers_prove_is_proved_again():
    network, box, target, problem = some()
    found = av.solve(problem, tolerance=1e-6)
    again = av.solve(replace(problem, start=found), max_passes=0)
    assert found.residual is not None
    np.testing.assert_allclose(again.lower, found.lower, rtol=1e-12)
    # The plane of the residual is a linear problem of its own.
    w = np.asarray(found.residual)
    linear = av.Problem(network, box, 2 * w, -2 * (w * target).sum(axis=1) - (w * w).sum(axis=1))
    plane = av.solve(linear, tolerance=1e-6)
    assert (plane.relaxation_upper >= found.lower - 1e-9).all()
    np.testing.assert_allclose(plane.lower, found.lower, atol=1e-4)


def some():
    """A network, a box, and five targets with their problem."""
    rng = np.random.default_rng(0)
    sizes = [3, 8, 8, 2]
    network = chain(
        [rng.standard_normal((after, before)) for before, after in pairwise(sizes)],
        [rng.standard_normal(size) for size in sizes[1:]],
    )
    box = av.Box(-0.2 * np.ones(3), 0.2 * np.ones(3))
    targets = network(np.zeros(3)) + 3.0 * rng.standard_normal((5, 2))
    return network, box, targets, av.Problem(network, box, av.Quadratic(np.eye(2), targets))


def test_distances_in_pieces_are_no_smaller():
    network, box, targets, problem = some()
    lower = np.asarray(av.solve(problem).lower)
    for target, least in zip(targets, lower, strict=True):
        assert av.distance(network, box, av.Box(target, target)).upper ** 2 >= least


def test_a_target_that_is_met_has_square_zero():
    network, box, _, _ = some()
    found = av.solve(av.Problem(network, box, av.Quadratic(np.eye(2), network(np.zeros(3))), offset=0.25))
    assert found.lower[0] == 0.25
    assert found.relaxation_upper[0] <= 0.25 + 1e-4
    assert found.residual is not None
    assert not np.any(np.asarray(found.residual))


@pytest.mark.parametrize("scale", [1e-150, 1e-20, 1e20, 1e140])
def test_all_magnitudes(scale):
    network = network_from_layers([np.eye(2), scale * np.eye(2)], [np.zeros(2), np.zeros(2)])
    target = np.array([4.0, 5.0]) * scale
    found = av.solve(av.Problem(network, av.Box(np.zeros(2), np.ones(2)), av.Quadratic(np.eye(2), target)))
    exactly = Fraction(float(target[0]) - scale) ** 2 + Fraction(float(target[1]) - scale) ** 2
    assert Fraction(found.lower[0]) <= exactly * (1 + Fraction(1, 10**14))
    assert Fraction(found.relaxation_upper[0]) >= exactly * (1 - Fraction(1, 10**14))


def test_zero_matrices_and_overflow():
    network, box, _, _ = some()
    found = av.solve(av.Problem(network, box, av.Quadratic(np.zeros((2, 2)), np.array([3.0, 4.0]))))
    assert 25 - 1e-6 <= found.lower[0] <= 25 <= found.relaxation_upper[0]
    huge = av.solve(av.Problem(network, box, av.Quadratic(np.eye(2), np.array([1e200, 0.0]))))
    assert huge.lower[0] in (0.0, -np.inf)
    assert huge.relaxation_upper[0] == np.inf


def test_rows_blocks_and_time():
    _, _, _, problem = some()
    whole = av.solve(problem, tolerance=1e-6)
    parts = av.solve(problem, tolerance=1e-6, settings=av.SolverSettings(block_numbers=1))
    np.testing.assert_allclose(parts.lower, whole.lower, rtol=1e-5)
    none = av.solve(problem, timeout=0)
    assert (none.lower >= 0).all()
    assert (none.lower <= whole.relaxation_upper).all()
    joined = av.solve(problem, timeout=0, settings=av.SolverSettings(block_numbers=1))
    assert joined.residual is not None
    assert joined.residual.shape == (5, 2)


def test_tensors_give_tensors():
    network, box, targets, problem = some()
    tensors = av.Box(*(torch.as_tensor(end) for end in box.range))
    quadratic = av.Quadratic(torch.eye(2, dtype=torch.float64), torch.as_tensor(targets))
    found, plain = av.solve(av.Problem(network, tensors, quadratic)), av.solve(problem)
    assert isinstance(found.lower, torch.Tensor)
    np.testing.assert_allclose(found.lower.numpy(), plain.lower, rtol=1e-3)
    single = av.solve(problem, settings=av.SolverSettings(precision="float32"))
    assert (single.lower <= plain.relaxation_upper).all()
    np.testing.assert_allclose(single.lower, plain.lower, rtol=1e-2)


def test_what_cannot_be_asked_is_refused():
    network, box, _, problem = some()
    eye, point = np.eye(2), np.zeros(2)
    wrong: list[tuple[Any, ...]] = [
        (eye, np.zeros(3)),
        (np.eye(3), np.zeros(3)),
        (np.zeros((0, 2)), np.zeros(0)),
        (eye, np.array([np.nan, 0.0])),
        (np.full((2, 2), np.inf), point),
        (eye, point, np.eye(2)),
        ("eye", point),
        (eye, None),
        (eye[0], point),
    ]
    for given in wrong:
        with pytest.raises(av.InputError):
            av.Problem(network, box, av.Quadratic(*given))
    with pytest.raises(av.InputError, match="linear objectives"):
        av.solve(problem, "ascent")
    with pytest.raises(av.InputError, match="closest_counterexample"):
        av.Problem(network, box, av.Quadratic(eye, point), constraints=av.Constraint({"output": eye[0]}, 0.0))


def test_signs_of_neurons_count():
    network, box, targets, _ = some()
    bounds = av.preactivation_bounds(network, box)
    unstable = int(np.flatnonzero((bounds.lower[0][0] < 0) & (bounds.upper[0][0] > 0))[0])
    low = np.array(bounds.lower[0])
    low[0, unstable] = 0.0
    split = av.PreactivationBounds((low, *bounds.lower[1:]), bounds.upper)
    quadratic = av.Quadratic(np.eye(2), targets)
    found = av.solve(av.Problem(network, box, quadratic, preactivation=split), tolerance=1e-5)
    whole = av.solve(av.Problem(network, box, quadratic, preactivation=bounds), tolerance=1e-5)
    assert (found.lower >= whole.lower - 1e-3).all()
    assert (found.lower > whole.lower + 1e-3).any()
    x = np.random.default_rng(0).uniform(*box.range, (2000, 3))
    kept = x[network.forward(x, lambda k, pre: np.maximum(pre, 0.0))[network.sources[0]][:, unstable] >= 0]
    squares = ((network(kept)[:, None] - targets) ** 2).sum(axis=2)
    assert (found.lower <= squares.min(axis=0) * (1 + 1e-9)).all()
