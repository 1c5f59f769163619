"""Targets, and the losses of points."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import quiet_overflow
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.targets import Targets
from admm_verify.memory import Budget
from admm_verify.properties.rows import AtomRows
from tests.attacks.cases import loss_at, mnist_like, of_case
from tests.random_layers import layer_case
from tests.random_networks import random_case


def rows() -> AtomRows:
    """Two boxes; disjuncts of two atoms, one atom and one strict atom."""
    return AtomRows(
        boxes=av.Box(np.array([[0.1, 0.25], [-1.0, 0.1]]), np.array([[0.7, 0.25], [1.0, 0.1]])),
        box=np.array([0, 0, 1, 1]),
        objective=np.arange(8.0).reshape(4, 2),
        offset=np.array([1.0, 2.0, 3.0, 4.0]),
        rounding=np.zeros(4),
        strict=np.array([False, False, False, True]),
        disjuncts=((0, 1), (2,), (3,), ()),
    )


def test_targets_of_a_property_are_its_disjuncts():
    targets = Targets.of(rows(), [0, 1, 2, 3])
    assert targets.objective.shape == (4, 2, 2) and targets.inputs.placement.dtype == np.float32
    assert targets.objective[0].tolist() == [[0, 1], [2, 3]] and targets.offset[0].tolist() == [1, 2]
    assert targets.objective[1].tolist() == [[4, 5], [4, 5]] and targets.strict.tolist() == [False, False, True, False]
    assert targets.take(np.array([2])).objective[0, 0].tolist() == [6, 7]
    assert targets.objective[3].tolist() == [[0, 0], [0, 0]]


def test_boxes_are_rounded_inward():
    found, exact = Targets.of(rows(), [0, 1]).inputs, rows().boxes
    assert (found.lower[0].astype(float) >= exact.lower[0]).all()
    assert (found.upper[0].astype(float) <= exact.upper[0]).all()
    # No float32 lies in [0.1, 0.1]: the box becomes a point beside it.
    assert abs(found.lower[1, 1] - 0.1) < 1e-7 and found.lower[1, 1] == found.upper[1, 1]
    double = Targets.of(rows(), [0, 1], np.float64).inputs
    assert (double.lower == exact.lower).all() and (double.upper == exact.upper).all()


@pytest.mark.parametrize(
    "broken",
    [
        {"inputs": None},
        {"inputs": np.zeros((1, 2))},
        {"inputs": av.Box(np.zeros(2), np.ones(2))},
        {"inputs": av.Box(np.zeros((2, 2)), np.ones((2, 2)))},
        {"objective": np.ones((1, 2, 4))},
        {"objective": np.ones((1, 4))},
        {"objective": np.zeros((1, 0, 4)), "offset": np.zeros((1, 0))},
        {"offset": np.ones((2, 1))},
    ],
)
def test_what_does_not_fit_is_refused(broken):
    arrays = {"inputs": av.Box(np.zeros((1, 2)), np.ones((1, 2)))}
    arrays |= {"objective": np.ones((1, 1, 4)), "offset": np.ones((1, 1))}
    Targets(**arrays)
    with pytest.raises(av.InputError):
        Targets(**arrays | broken)


def test_no_disjunct_and_other_networks_are_refused(small_network):
    with pytest.raises(av.InputError, match="at least one"):
        Targets.of(rows(), [])
    with pytest.raises(av.InputError, match="2 inputs and 2 outputs"):
        Landscape.of(small_network, Targets.of(rows(), [0]))


def test_scaled_atoms_have_unit_length_and_the_same_hits():
    _, targets = mnist_like()
    zero = Targets(targets.inputs, 0.0 * targets.objective, targets.offset)
    assert (zero.scaled().offset == targets.offset).all()
    scaled = targets.scaled()
    np.testing.assert_allclose(np.linalg.norm(scaled.objective, axis=-1), 1.0)
    np.testing.assert_allclose(scaled.offset * np.sqrt(2), targets.offset)


def test_strict_targets_are_not_hit_at_zero():
    _, targets = mnist_like()
    strict = Targets(targets.inputs, targets.objective, targets.offset, np.arange(9) % 2 == 1)
    assert strict.hit(np.zeros(9)).tolist() == [True, False] * 4 + [True]
    assert (
        strict.hit(-np.ones(9)).all() and not strict.hit(np.ones(9)).any() and not strict.hit(np.full(9, np.nan)).any()
    )


def test_the_widest_boxes_have_a_centre():
    largest = np.full((1, 2), np.finfo(np.float32).max, np.float32)
    targets = Targets(av.Box(-largest, largest), np.ones((1, 1, 1), np.float32), np.zeros((1, 1), np.float32))
    assert np.isfinite(targets.inputs.half).all() and (targets.inputs.centre == 0).all()
    with quiet_overflow():
        moved = targets.spread.stepped(targets.spread.centre, 3.0, np.array([[[1.0, np.nan]]], np.float32))
    assert moved.tolist() == [[[float(largest[0, 0]), 0.0]]]


@pytest.mark.parametrize("atoms", [1, 3])
def test_losses_and_gradients_are_those_of_the_definition(atoms):
    for case in [random_case(seed) for seed in range(14)] + [layer_case(seed, True) for seed in range(6)]:
        targets = of_case(case, atoms=atoms)
        landscape = Landscape.of(case.network, targets)
        rng = np.random.default_rng(0)
        x = targets.inputs.sample(4, rng)
        losses = landscape.losses(x)
        # Every point has an aim of its own.
        aim = np.broadcast_to(np.array([0.3, 0.0, 0.1, 0.5]), losses.shape)
        again, lowered, gradient = landscape.slopes(x, aim)
        for j in range(4):
            expected = loss_at(case.network, targets, x[:, j])
            np.testing.assert_allclose(losses[:, j], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
        np.testing.assert_allclose(again, losses)
        step = 1e-7 * rng.standard_normal(x.shape)
        above, below = (landscape.slopes(x + s * step, aim) for s in (1.0, -1.0))
        slopes = [np.sum(part[2] * step, axis=-1) for part in (below, above)]
        found = (above[1] - below[1]) / 2.0
        scale = 1e-7 * np.maximum(np.abs(gradient).max(axis=-1), np.abs(lowered)) + 1e-20
        assert (found >= np.minimum(*slopes) - 1e-2 * scale).all() and (
            found <= np.maximum(*slopes) + 1e-2 * scale
        ).all()


def test_blocks_of_rows_change_nothing():
    network, targets = mnist_like()
    x = targets.inputs.sample(7, np.random.default_rng(1))
    whole, weights = Landscape.of(network, targets), np.ones((9, 7, 10))
    rows = sum(node.size for node in network.nodes)
    parts = Landscape(whole.network, targets, Budget(bytes=6 * 8 * rows * 5.5))
    for method, arguments in (("slopes", (x,)), ("directions", (x, weights))):
        for one, other in zip(getattr(whole, method)(*arguments), getattr(parts, method)(*arguments), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(whole.losses(x), parts.losses(x), rtol=1e-10, atol=1e-12)


def test_a_hit_within_rounding_is_not_clear():
    network, targets = mnist_like()
    x = targets.inputs.centre
    loss = loss_at(network, targets, x)
    for shift, clear in ((1e-15, False), (1e-9, True)):
        near = Targets(targets.inputs, targets.objective, targets.offset - loss[:, None] - shift)
        assert Landscape.of(network, near).clear(x).tolist() == [clear] * 9
