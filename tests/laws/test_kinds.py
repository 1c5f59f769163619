"""The facts on the records of all kinds of activations, against the functions and the checker's own table."""

import numpy as np
import pytest

from admm_verify.arrays import DOUBLE_ROUNDOFF, quiet_overflow
from admm_verify.certificates import kinds as checker
from admm_verify.network.activations import FUNCTIONS, ONNX, OPERANDS, TORCH, UNBOUNDED
from admm_verify.network.graph import Activation
from admm_verify.relaxations.registry import RELAXATIONS, facts_of, relaxation_of, sides
from admm_verify.relaxations.steps import StepFunction

KINDS = sorted(set(FUNCTIONS) - set(OPERANDS))
PARAMETERS = {
    "clip": [(-0.4, 0.7), (0.2, np.inf)],
    "elu": [(0.6,), (1.0,)],
    "heaviside": [(0.0,), (0.5,), (1.0,)],
    "power": [(3.0,), (4.0,), (-2.0,), (-3.0,), (1.7,), (0.3,), (-0.5,)],
    "prelu": [(-0.3,), (0.0,), (1.0,)],
}
POINTS = np.array([-30.0, -3.0, -0.4, -1e-3, 0.0, 0.3, 0.7, 2.0, 30.0])
PLACES = {
    **dict.fromkeys(("log", "power", "reciprocal", "sqrt"), lambda x: np.abs(x) + 1e-3),
    "acosh": lambda x: np.abs(x) + 1.001,
    **dict.fromkeys(("asin", "atanh"), lambda x: 0.999 * np.tanh(x)),
    "cosh": lambda x: np.clip(x, -300, 300),
    "sinh": lambda x: np.clip(x, -300, 300),
    "tan": lambda x: 1.5 * np.tanh(x),
}
"""What brings numbers into the domain of a kind that is not defined everywhere, keeping the order of their sizes."""


def placed(kind: str, *x: np.ndarray) -> list[np.ndarray]:
    """Numbers in the domain of a kind."""
    return [PLACES.get(kind, lambda same: same)(numbers) for numbers in x]


def nodes(kind: str) -> list[Activation]:
    """One neuron of the kind for each set of parameters."""
    sets = PARAMETERS.get(kind, [()])
    return [Activation(kind, 0, 1, tuple(np.full(1, number) for number in numbers)) for numbers in sets]


def test_every_function_has_a_record():
    assert set(FUNCTIONS) == set(RELAXATIONS)
    assert {*ONNX.values(), *TORCH.values(), *UNBOUNDED, *checker.CHECKED_KINDS} <= set(FUNCTIONS)


@pytest.mark.parametrize("kind", KINDS)
def test_hulls_hold_the_graph_and_supports_stay_below_it(kind):
    rng, rows = np.random.default_rng(KINDS.index(kind)), 400
    low, high = np.sort(rng.standard_normal((2, rows, 1)) * 10.0 ** rng.uniform(-3, 2, (rows, 1)), axis=0)
    low, high = np.where(rng.random((rows, 1)) < 0.1, high, low), np.where(rng.random((rows, 1)) < 0.1, 0.0, high)
    low, high = np.sort(placed(kind, np.minimum(low, high), high), axis=0)
    p = np.clip(low + np.linspace(0, 1, 65) * (high - low), low, high)
    a, g = rng.standard_normal((2, rows, 1)) * 10.0 ** rng.uniform(-2, 2, (2, rows, 1))
    for node in nodes(kind):
        relaxation, q = relaxation_of(node), node(p)
        least, most = relaxation.image(low, high)
        assert ((least <= q) & (q <= most)).all()
        floor, ceiling = relaxation.hull(low, high, p)
        assert ((floor <= q) & (q <= ceiling)).all()
        rise = np.abs(np.diff(q, axis=1))
        slack = 1e-14 * np.abs(q).max(axis=1, keepdims=True)
        with quiet_overflow():
            assert (rise <= relaxation.carried(p[:, :-1], p[:, :-1], np.diff(p, axis=1)) + slack).all()
        error = 32 * DOUBLE_ROUNDOFF * (np.abs(a) * np.abs(q) + np.abs(g) * np.abs(p)).max(axis=1, keepdims=True)
        assert (relaxation.support(low, high, a, g) <= a * q - g * p + error).all()


@pytest.mark.parametrize("kind", checker.CHECKED_KINDS)
def test_the_checker_knows_the_same_facts(kind):
    for node in nodes(kind):
        checked = checker.checked_kind(node)
        assert facts_of(node).kinked == checked.kinked
        assert facts_of(node).evaluation_roundings == checked.evaluation_roundings
        assert facts_of(node).argument_roundings == checked.argument_roundings
        assert sides(node) == checked.sides


@pytest.mark.parametrize("kind", KINDS)
def test_facts_hold_for_the_function(kind):
    for node in nodes(kind):
        facts = facts_of(node)
        if facts.kinked:
            values, left = node(POINTS), node(np.array([-1.0]))
            np.testing.assert_allclose(values, np.where(POINTS < 0, -POINTS * left, POINTS), rtol=1e-15)
        if facts.rectifies:
            np.testing.assert_array_equal(node(POINTS), np.maximum(POINTS, 0.0))
        if facts.zero_at_zero:
            assert node(np.zeros(1)) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_open_has_an_exact_relaxation(kind):
    low, high = np.array([-2.0, -1.0, 0.5, 0.3]), np.array([-1.0, 3.0, 2.0, 0.3])
    low, high = np.sort(placed(kind, low, high), axis=0)
    for node in nodes(kind):
        relaxation = relaxation_of(node)
        for share in (0.25, 0.5):
            floor, ceiling = relaxation.hull(low, high, low + share * (high - low))
            assert (relaxation.open(low, high) | (ceiling - floor < 1e-12)).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not issubclass(RELAXATIONS[kind], StepFunction)])
def test_gradients_are_right_derivatives(kind):
    for node in nodes(kind):
        with quiet_overflow():
            (points,) = placed(kind, POINTS)
            step = 1e-7 * np.minimum(1.0, np.abs(points) + 1e-3)
            steps = (node(points + step) - node(points)) / step
            np.testing.assert_allclose(relaxation_of(node).gradient(points), steps, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["sigmoid", "softplus", "tanh", "elu"])
def test_gradients_keep_their_digits_on_both_tails(kind):
    x = np.array([-40.0, -20.0, 20.0, 40.0])
    exact = {
        "sigmoid": np.exp(-np.abs(x)),
        "tanh": 4.0 * np.exp(-2.0 * np.abs(x)),
        "softplus": np.where(x > 0, 1.0, np.exp(x)),
        "elu": np.where(x > 0, 1.0, 0.6 * np.exp(np.minimum(x, 0))),
    }[kind]
    np.testing.assert_allclose(relaxation_of(nodes(kind)[0]).gradient(x), exact, rtol=1e-8)
