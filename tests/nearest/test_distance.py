"""`distance`: certified below, attained above, against the enumeration of activation patterns in tiny networks."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from tests.nearest.draws import drawn
from tests.nearest.exact import least_distance

ROUGH = av.DistanceSettings(tolerance=3e-3)


def squared(one, other):
    return sum(((a - b) ** 2 for a, b in zip(one, other, strict=True)), Fraction(0))


def exact(values):
    return [Fraction(float(value)) for value in values]


@pytest.mark.parametrize("seed", range(10))
def test_both_ends_hold_on_random_networks(seed):
    rng = np.random.default_rng(seed)
    for draw in range(10):
        inputs, outputs = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        truth, network = drawn(rng, inputs, outputs, [2, 2] if draw % 2 else [3])
        low = rng.uniform(-1, 1, inputs)
        box = low, low + rng.uniform(0, 2, inputs) * (rng.random(inputs) < 0.9)
        near = network(rng.uniform(*box))
        size = max(1e-3, float(np.abs(near).max()))
        aim = near + size * rng.standard_normal(outputs)
        target = aim, aim + (size * rng.uniform(0, 0.5, outputs) if draw % 3 == 0 else 0.0)
        found = av.distance(network, av.Box(*box), av.Box(*target), settings=ROUGH)
        least, x = least_distance(truth, box, target)
        # The enumerated point is moved into the box, where the exact distance is no less than the least one.
        there = truth.exactly(np.clip(x, *box))
        nearest = [min(max(a, y), b) for a, y, b in zip(exact(target[0]), there, exact(target[1]), strict=True)]
        assert Fraction(found.lower) ** 2 <= squared(there, nearest)
        assert found.input is not None
        assert found.output is not None
        assert found.target is not None
        assert (box[0] <= found.input).all() and (found.input <= box[1]).all()
        assert (target[0] <= found.target).all() and (found.target <= target[1]).all()
        attained = truth.exactly(found.input)
        if found.upper == 0:
            assert all(a <= y <= b for a, y, b in zip(exact(target[0]), attained, exact(target[1]), strict=True))
        else:
            assert squared(attained, exact(found.target)) <= Fraction(found.upper) ** 2
        room = 3e-3 * found.upper + 1e-8 * size
        assert found.status is av.Ended.CONVERGED
        assert found.gap <= max(3e-3 * found.upper, 1e-9 * np.abs([found.output, found.target]).max())
        assert abs(least - found.upper) <= room


def wide():
    """A network of 2 inputs and outputs that takes some hundred parts, its box, and a target."""
    rng = np.random.default_rng(3)
    _, network = drawn(rng, 2, 2, [20, 20])
    return network, av.Box(-3 * np.ones(2), 3 * np.ones(2))


def test_a_target_that_is_hit_has_distance_zero():
    network, box = wide()
    y = network(np.array([0.5, -1.0]))
    found = av.distance(network, box, av.Box(y - 0.1, y + 0.1))
    assert (found.lower, found.upper, found.gap) == (0.0, 0.0, 0.0)
    assert found.status is av.Ended.CONVERGED
    assert found.input is not None
    assert (np.abs(network(found.input) - y) <= 0.1 + 1e-12).all()


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_all_magnitudes(scale):
    network, box = (
        network_from_layers([np.eye(2), scale * np.eye(2)], [np.zeros(2), np.zeros(2)]),
        av.Box(np.zeros(2), np.ones(2)),
    )
    found = av.distance(network, box, av.Box.around(np.array([4.0, 5.0]) * scale, 0.0))
    assert found.lower <= 5.0 * scale * (1 + 1e-15)
    assert found.upper >= 5.0 * scale * (1 - 1e-15)
    assert found.gap <= 1e-4 * found.upper


def test_a_constant_network_and_a_point():
    network = network_from_layers([np.zeros((2, 2)), np.zeros((2, 2))], [np.zeros(2), np.array([1.0, 2.0])])
    found = av.distance(network, av.Box(np.zeros(2), np.zeros(2)), av.Box.around(np.array([4.0, 6.0]), 0.0))
    assert found.lower <= 5 <= found.upper
    assert found.gap < 1e-12


def test_overflow_leaves_no_distance():
    network = network_from_layers([1e308 * np.ones((1, 2)), 1e308 * np.ones((1, 1))], [np.zeros(1), np.zeros(1)])
    found = av.distance(network, av.Box(-np.ones(2), np.ones(2)), av.Box.around(np.array([-5.0]), 0.0), timeout=1)
    assert found.lower == 0
    assert found.upper >= 5 or found.input is None


@pytest.mark.parametrize("kind", ["no time", "stop", "few cells"])
def test_what_is_known_survives_the_end(kind):
    network, box = wide()
    far = av.Box.around(network(np.zeros(2)) + 50.0, 0.0)
    whole = av.distance(network, box, far, settings=av.DistanceSettings(tolerance=1e-7))
    asked = []
    stop = {"stop": lambda: asked.append(0) or len(asked) > 200}.get(kind)
    found = av.distance(
        network,
        box,
        far,
        settings=av.DistanceSettings(tolerance=1e-7, max_cells=3 if kind == "few cells" else None),
        run=av.Run(timeout=0 if kind == "no time" else None, stop=stop),
    )
    ends = {"no time": av.Ended.TIMED_OUT, "stop": av.Ended.STOPPED, "few cells": av.Ended.CELL_LIMIT}
    assert found.status is ends[kind]
    assert 0 <= found.lower <= whole.upper
    assert found.upper >= whole.lower
    assert kind == "no time" or found.upper < np.inf
    assert whole.status is av.Ended.CONVERGED
    assert found.cells < whole.cells


def test_torch_tensors_and_batches_of_one():
    network, box = wide()
    far = network(np.zeros(2)) + 50.0
    plain = av.distance(network, box, av.Box(far, far))
    tensors = av.Box(*(torch.as_tensor(end)[None] for end in box.range))
    found = av.distance(network, tensors, av.Box(torch.as_tensor(far)[None], torch.as_tensor(far)[None]))
    assert (found.lower, found.upper) == (plain.lower, plain.upper)


def test_what_cannot_be_asked_is_refused():
    network, box = wide()
    three, point = av.Box(np.zeros((3, 2)), np.ones((3, 2))), av.Box(np.zeros(2), np.zeros(2))
    doors: list[tuple[Any, Any, Any]] = [
        (network, three, point),
        (network, box, three),
        (network, box, av.Box(np.zeros(3), np.zeros(3))),
        (network, box, np.zeros(2)),
        (network, point.numbers, point),
        ("network", box, point),
    ]
    for given in doors:
        with pytest.raises(av.InputError):
            av.distance(*given)
    settings: Any = av.SolverSettings()
    with pytest.raises(av.InputError):
        av.distance(network, box, point, settings=settings)
    with pytest.raises(av.InputError):
        av.DistanceSettings(tolerance=-1.0)
