"""Scores of sides and neurons: finite, not negative, and zero where nothing is open."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify import AscentSettings, Box, Run, preactivation_bounds
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.bounds.region import build_region
from admm_verify.bounds.relaxed import Bounder
from admm_verify.complete.branching import joint_scores, neuron_scores, side_scores
from tests.complete.networks import FAMILIES, MIXED, box_for, network_of
from tests.random_layers import layer_case
from tests.random_networks import random_case

FLOATS = st.floats(-1e30, 1e30, allow_subnormal=True)


@given(st.lists(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS), min_size=1, max_size=6))
def test_neuron_scores_are_zero_where_nothing_is_open(rows: list[tuple[float, ...]]) -> None:
    first, second, coefficient, pre = (np.array(part) for part in zip(*rows, strict=True))
    lower, upper = np.minimum(first, second), np.maximum(first, second)
    with quiet_overflow():
        scores = neuron_scores(lower, upper, coefficient, pre)
    bent = (lower < 0) & (upper > 0)
    assert (scores >= 0).all() and np.isfinite(scores).all()
    assert (scores[~bent] == 0).all()


def test_a_neuron_bounded_from_above_comes_first() -> None:
    lower, upper = np.array([-1.0, -1.0, -1.0]), np.array([1.0, 1.0, 1.0])
    scores = neuron_scores(lower, upper, np.array([-1.0, 1.0, 0.0]), np.zeros(3))
    assert scores[0] > scores[1] > 0 == scores[2]
    # At an end of the range the chord is the function: nothing to gain to first order.
    assert neuron_scores(lower, upper, -np.ones(3), np.array([-1.0, 0.0, 1.0])).argmax() == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_neuron_without_a_number_keeps_the_others_choosable(bad: float) -> None:
    """Float32 iterations may overflow in one neuron; the neurons beside it stay open."""
    ends = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    with quiet_overflow():
        for scores in (
            neuron_scores(*ends, -np.ones(2), np.array([0.0, bad])),
            neuron_scores(*ends, np.array([-1.0, -abs(bad)]), np.zeros(2)),
        ):
            assert scores[scores.argmax()] > 0


def scored(network, box: Box, objective: np.ndarray, atoms: np.ndarray | None = None) -> np.ndarray:
    """Scores of a batch of boxes with bounds of objective rows."""
    lower, upper = np.reshape(box.lower, (-1, network.input_size)), np.reshape(box.upper, (-1, network.input_size))
    pre = preactivation_bounds(network, Box(lower, upper))
    ends = [tuple(end[:, None] for end in side) for side in (pre.lower, pre.upper)]
    with quiet_overflow():
        region = build_region(network, Box.of(lower, upper).spread(), *ends)
        bounder = Bounder(network, Placement.numpy(), AscentSettings(), Run())
        own = np.broadcast_to(objective, (len(lower), *objective.shape))
        found = bounder.bound(region, bounder.rows(own, np.zeros(own.shape[:2])), None, 4)
        return side_scores(network, upper - lower, pre, found, found.lower if atoms is None else atoms)


@pytest.mark.parametrize("family", FAMILIES)
def test_side_scores_are_finite_and_zero_for_sides_without_width(family: str) -> None:
    for seed in range(8):
        rng = np.random.default_rng([seed, 3])
        network = network_of(family, rng, MIXED)
        box = box_for(network, rng, 2)
        lower, upper = (np.reshape(end, (1, -1)) for end in (box.lower, box.upper))
        boxes = Box(np.concatenate([lower, lower]), np.concatenate([upper, lower]))
        scores = scored(network, boxes, rng.standard_normal((3, 2)))
        assert scores.shape == (2, network.input_size)
        assert np.isfinite(scores).all() and (scores >= 0).all()
        assert (scores[0, (lower == upper)[0]] == 0).all() and (scores[0, (lower < upper)[0]] > 0).any()
        assert (scores[1] == 0).all()


@pytest.mark.parametrize("smooth", [False, True])
def test_side_scores_are_finite_on_every_kind_of_layer(smooth: bool) -> None:
    for seed in range(0, 40, 3):
        case = layer_case(seed, smooth)
        scores = scored(case.network, case.box, case.objective)
        assert np.isfinite(scores).all() and (scores >= 0).all(), case.kind


def test_side_scores_are_finite_for_any_bounds_of_atoms() -> None:
    case = random_case(4)
    count = len(case.objective)
    for value in (-np.inf, -1e300, -5e-324, 0.0, 1e300):
        atoms = np.full((1, count), value)
        for first in (value, -1.0, -np.inf):
            atoms[0, 0] = first
            scores = scored(case.network, case.box, case.objective, atoms)
            assert np.isfinite(scores).all() and (scores >= 0).all()


def test_the_side_behind_the_gap_is_chosen() -> None:
    """y = |x_0|: only x_0 matters."""
    from admm_verify.network.layers import network_from_layers

    weights = [np.array([[1.0, 0.0], [-1.0, 0.0]]), np.ones((1, 2))]
    network = network_from_layers(weights, [np.zeros(2), np.zeros(1)])
    scores = scored(network, Box(-np.ones((1, 2)), np.ones((1, 2))), np.array([[-1.0]]))
    assert scores[0, 0] > 0 == scores[0, 1]


def test_rows_that_bind_decide_between_equal_gains_only() -> None:
    smears = [np.array([[0.1, 0.4, 0.0]]), np.array([[0.2, 0.1]])]
    for gains, chosen in (
        ([np.ones((1, 3)), None], (0, 1)),
        ([np.zeros((1, 3)), np.zeros((1, 2))], (0, 1)),
        ([np.array([[1.0, 0.1, 9.0]]), np.array([[3.0, 0.1]])], (1, 0)),
    ):
        scores = joint_scores(gains, smears)
        best = max((float(part.max()), k, int(part.argmax())) for k, part in enumerate(scores) if part is not None)
        assert best[1:] == chosen and (scores[1] is None) == (gains[1] is None)
        # The closed neuron gains nothing, whatever is said of it.
        assert scores[0] is not None and scores[0][0, 2] == 0
    assert joint_scores([None], [np.ones((1, 2))]) == [None]
