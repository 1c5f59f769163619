"""`closest_counterexample`: certified below, attained above, against the enumeration of activation patterns."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from tests.nearest.draws import drawn
from tests.nearest.exact import closest_input
from tests.nearest.test_distance import exact, squared
from tests.seeds import seeds

ROUGH = av.DistanceSettings(tolerance=3e-3)


def condition_of(objective, offset, strict):
    """Rows objective y + offset <= 0 in words, and the same rows with the decimals' exact values."""
    atoms = []
    for row, shift in zip(objective, offset, strict=True):
        terms = " + ".join(f"{c}*y{i}" for i, c in enumerate(row))
        atoms.append(f"{terms} {'<' if strict else '<='} {-shift}")
    return " and ".join(atoms)


def holds(objective, offset, strict, output):
    for row, shift in zip(objective, offset, strict=True):
        value = sum((Fraction(str(c)) * y for c, y in zip(row, output, strict=True)), Fraction(str(shift)))
        if value > 0 or (strict and value == 0):
            return False
    return True


@pytest.mark.parametrize("seed", seeds(4, 10))
def test_both_ends_hold_on_random_networks(seed):
    rng = np.random.default_rng(100 + seed)
    checked = 0
    for draw in range(10):
        inputs, outputs = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        truth, network = drawn(rng, inputs, outputs, [2, 2] if draw % 2 else [3])
        low = rng.uniform(-1, 1, inputs)
        box = low, low + rng.uniform(0, 2, inputs) * (rng.random(inputs) < 0.9)
        point = rng.uniform(low - 0.2, low + 1.0)
        atoms = int(rng.integers(1, 3))
        # Of few digits, so that text and floats agree; a point of the box fulfils some of them.
        objective = np.round(rng.standard_normal((atoms, outputs)), 2)
        there = objective @ network(rng.uniform(*box))
        offset = np.array([float(f"{-value + 0.3 * abs(value) * rng.standard_normal():.3g}") for value in there])
        strict = draw % 4 == 0
        query = av.query(network, av.Box(*box), condition_of(objective.tolist(), offset.tolist(), strict))
        found = av.closest_counterexample(query, point, settings=ROUGH, timeout=20)
        least, x = closest_input(truth, box, point, objective, offset)
        rows = objective.tolist(), offset.tolist(), strict
        if found.input is not None:
            assert (box[0] <= found.input).all() and (found.input <= box[1]).all()
            assert holds(*rows, truth.exactly(found.input))
            assert squared(exact(found.input), exact(point)) <= Fraction(found.upper) ** 2
            assert abs(least - found.upper) <= 3e-3 * found.upper + 1e-6
            assert found.gap <= max(3e-3 * found.upper, 1e-9 * np.abs([found.input, point]).max())
        else:
            assert found.lower == found.upper == np.inf
        # Points on the way to the enumerated one, from where the condition holds, are no nearer than the lower end.
        for share in (0.0, 1e-9, 1e-6, 1e-3, 1e-2):
            start = found.input if found.input is not None else rng.uniform(*box)
            near = start if x is None else np.clip((1 - share) * x + share * start, *box)
            if holds(*rows, truth.exactly(near)):
                checked += 1
                assert Fraction(found.lower) ** 2 <= squared(exact(near), exact(point))
    assert checked > 10


def classifier():
    rng = np.random.default_rng(5)
    _, network = drawn(rng, 2, 3, [16, 16])
    point = np.array([0.3, 0.2])
    return network, av.Box(-2 * np.ones(2), 2 * np.ones(2)), point


def others(network, point):
    own = int(network(point).argmax())
    return own, " or ".join(f"y{k} >= y{own}" for k in range(3) if k != own)


def test_the_decision_changes_at_the_input_and_nowhere_nearer():
    network, box, point = classifier()
    own, condition = others(network, point)
    query = av.query(network, box, condition)
    found = av.closest_counterexample(query, point)
    assert found.status is av.Ended.CONVERGED
    assert found.input is not None
    assert 0 < found.lower <= found.upper < np.inf
    there = network(found.input)
    assert np.delete(there, own).max() >= there[own] - 1e-12
    assert (found.target == point).all()
    # No point nearer than the lower end, among many, has another class.
    angles = np.linspace(0, 2 * np.pi, 20_000)
    ring = point + 0.999 * found.lower * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert (network(ring).argmax(axis=1) == own).all()


def test_a_point_that_is_one_already():
    network, box, point = classifier()
    own, _ = others(network, point)
    found = av.closest_counterexample(av.query(network, box, f"y{own} >= y{(own + 1) % 3}"), point)
    assert found.lower == 0
    assert found.upper <= 1e-9


def test_where_there_is_none_both_ends_are_infinite():
    network, box, point = classifier()
    found = av.closest_counterexample(av.query(network, box, "y0 >= 1e9"), point)
    assert found.lower == found.upper == np.inf
    assert found.gap == 0
    assert found.input is None
    assert found.status is av.Ended.CONVERGED


def test_no_time_says_nothing():
    network, box, point = classifier()
    found = av.closest_counterexample(av.query(network, box, others(network, point)[1]), point, timeout=0)
    assert found.lower == 0
    assert found.status is av.Ended.TIMED_OUT


def test_inputs_that_no_float_fixes_are_met_exactly():
    network, _, _ = classifier()
    query = av.query(network, None, "x0 == 0.1 and x1 >= -0.3 and x1 <= 0.3 and y0 <= 1e9")
    found = av.closest_counterexample(query, np.array([0.1, 1.0]))
    # 0.1 is no float: the nearest point lies beside, and 0.7 away.
    assert found.lower <= 0.7 <= found.upper
    assert found.gap < 1e-9


def test_inputs_that_are_coupled_or_lie_in_a_set():
    network, _, point = classifier()
    # y2 says nothing: any input of x0 + x1 <= -1 counts, and the nearest one is the foot of a perpendicular.
    query = av.query(network, None, "x0 >= -2 and x0 <= 2 and x1 >= -2 and x1 <= 2 and x0 + x1 <= -1 and y2 <= 1e9")
    found = av.closest_counterexample(query, point)
    exact = (point.sum() + 1) / np.sqrt(2)
    assert found.lower <= exact * (1 + 1e-12)
    assert found.input is not None
    assert Fraction(float(found.input[0])) + Fraction(float(found.input[1])) <= -1
    assert found.gap <= 1e-4 * found.upper + 1e-9
    assert abs(found.upper - exact) <= 1e-4
    ball = av.Ball(np.array([2.0, 0.2]), 0.5)
    found = av.closest_counterexample(av.query(network, ball, "y2 <= 1e9"), point)
    assert found.input is not None
    assert bool(np.all(ball.contains(found.input)))
    assert found.lower <= 2.0 - 0.3 - 0.5 + 1e-12
    assert abs(found.upper - 1.2) <= 1e-4


def test_outputs_beside_inputs():
    network = network_from_layers([np.eye(2), 2.0 * np.eye(2)], [np.zeros(2), np.array([-1.0, 0.0])])
    # y0 = 2 relu(x0) - 1 >= x0 + 1 from x0 = 2 on.
    query = av.query(network, av.Box(np.zeros(2), 4.0 * np.ones(2)), "y0 >= x0 + 1")
    found = av.closest_counterexample(query, np.array([0.5, 1.0]))
    assert found.lower <= 1.5 <= found.upper
    assert found.gap <= 1e-4 * found.upper
    assert found.output is not None
    assert found.output.shape == (2,)


def test_many_inputs_have_a_certified_radius_at_once():
    _, network = drawn(np.random.default_rng(2), 30, 3, [20, 20])
    rng = np.random.default_rng(0)
    point = rng.uniform(0.3, 0.7, 30)
    own, condition = others(network, point)
    query = av.query(network, av.Box(np.zeros(30), np.ones(30)), condition)
    found = av.closest_counterexample(query, point, settings=av.DistanceSettings(max_cells=1))
    assert found.status is av.Ended.CELL_LIMIT
    assert 0.05 * found.upper < found.lower < found.upper
    ways = rng.standard_normal((20_000, 30))
    around = point + 0.999 * found.lower * ways / np.linalg.norm(ways, axis=1, keepdims=True)
    assert (network(np.clip(around, 0, 1)).argmax(axis=1) == own).all()


def test_what_cannot_be_asked_is_refused():
    network, box, point = classifier()
    query: Any = av.query(network, box, "y0 <= 0")
    wrong: tuple[Any, ...] = (np.zeros(3), np.zeros((2, 2)), np.array([np.nan, 0.0]), "x")
    doors: list[tuple[Any, Any]] = [(network, point), *((query, x) for x in wrong)]
    for given in doors:
        with pytest.raises(av.InputError):
            av.closest_counterexample(*given)
