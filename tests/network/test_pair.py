"""Two networks as one: the joint graph is both of them, and their difference."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from admm_verify import InputError
from admm_verify.network.heads import Head
from admm_verify.network.layers import network_from_layers
from admm_verify.network.map_differences import map_difference, same_map
from admm_verify.network.maps import DenseMap, DiagonalMap
from admm_verify.network.pair import paired
from admm_verify.network.pair_inputs import PairInputs
from admm_verify.network.selection import SelectionMap
from tests.random_pairs import KINDS, random_pair

PAIRS = 3 * len(KINDS)


def drawn(seed, sizes=(3, 5, 4, 2)):
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((n, m)) for m, n in pairwise(sizes)]
    return network_from_layers(weights, [rng.standard_normal(n) for n in sizes[1:]], f"network {seed}")


def near(network, scale):
    """Dense layers with other numbers than a network's."""
    rng = np.random.default_rng(7)
    affine = list(network.affine.values())
    weights = [np.asarray(node.terms[0].map.dense().weight) for node in affine]
    moved = [weight + scale * rng.standard_normal(weight.shape) for weight in weights]
    return network_from_layers(moved, [np.asarray(node.bias) + scale for node in affine], "near")


@pytest.mark.parametrize("seed", range(PAIRS))
def test_the_joint_graph_is_both_networks_and_their_difference(seed):
    case = random_pair(seed)
    joint = paired(case.first, case.second)
    x = case.box.sample(50, np.random.default_rng(seed))
    own, other = case.first(x), case.second(x)
    asked = np.concatenate([own, other, other - own], axis=-1)
    # As read it is what the two compute, number by number; relaxed, up to rounding.
    assert np.array_equal(joint(x), asked)
    scale = 1.0 + max(np.abs(values).max() for values in joint.evaluate(x))
    assert np.abs(joint.evaluate(x)[-1] - asked).max() <= 1e-12 * scale


@pytest.mark.parametrize("seed", range(PAIRS))
def test_a_network_and_itself_differ_by_nothing(seed):
    case = random_pair(seed)
    for other in (case.first, replace(case.first, name="other"), random_pair(seed).first):
        joint = paired(case.first, other)
        assert joint.same
        assert not joint.notes
        x = case.box.sample(20, np.random.default_rng(seed))
        assert not joint.evaluate(x)[-1][:, 2 * joint.outputs :].any()
        assert len(joint.nodes) == len(case.first.nodes) + 1


def test_what_both_have_in_common_is_there_once():
    case = next(random_pair(seed) for seed in range(200) if random_pair(seed).label == "dense, last layer")
    joint = paired(case.first, case.second)
    assert not joint.same
    # Two outputs, their difference and all three side by side instead of one output.
    assert len(joint.nodes) == len(case.first.nodes) + 3


@pytest.mark.parametrize(
    "inputs, first, second",
    [
        (PairInputs.apart((3,), [0.1, 0.0, -2.0]), lambda u: u, lambda u: u + np.array([0.1, 0.0, -2.0])),
        (PairInputs.beside(3, 3), lambda u: u[:, :3], lambda u: u[:, 3:]),
        (PairInputs.moved(3, [2, 0]), lambda u: u[:, :3], lambda u: u[:, :3] + u[:, [4, 4, 3]] * [1, 0, 1]),
        (
            PairInputs.affine(2 * np.eye(3), np.ones(3), -np.eye(3), np.zeros(3)),
            lambda u: 2 * u + 1,
            lambda u: -u,
        ),
    ],
    ids=["apart", "beside", "moved", "affine"],
)
@pytest.mark.parametrize("twice", [True, False], ids=["one network", "two networks"])
def test_inputs_are_affine_functions_of_one_vector(inputs, first, second, twice):
    one = drawn(1)
    two = one if twice else near(one, 1e-3)
    joint = paired(one, two, inputs)
    u = np.random.default_rng(3).standard_normal((40, inputs.size))
    own, other = one(first(u)), two(second(u))
    asked = np.concatenate([own, other, other - own], axis=-1)
    assert not joint.same
    np.testing.assert_allclose(joint(u), asked, rtol=0, atol=1e-12)
    np.testing.assert_allclose(joint.evaluate(u)[-1], asked, rtol=0, atol=1e-12)


def test_swapped_networks_have_the_opposite_difference():
    one = drawn(1)
    two = near(one, 1e-3)
    x = np.random.default_rng(3).standard_normal((40, 3))
    there, back = (paired(*both).evaluate(x)[-1] for both in ((one, two), (two, one)))
    np.testing.assert_allclose(there[:, 4:], -back[:, 4:], rtol=0, atol=1e-12)
    assert np.array_equal(there[:, :2], back[:, 2:4])


def test_objective_rows_of_both_and_of_the_difference():
    joint = paired(drawn(1), near(drawn(1), 1e-3))
    x = np.random.default_rng(3).standard_normal((5, 3))
    rows = joint.rows(first=[1.0, 2.0], difference=[[0.0, -1.0], [1.0, 0.0]])
    assert rows.shape == (2, 6)
    own, other = (network(x) for network in joint.both)
    moved = other - own
    asked = np.stack([own @ [1.0, 2.0] - moved[:, 1], own @ [1.0, 2.0] + moved[:, 0]], axis=1)
    np.testing.assert_allclose(joint(x) @ rows.T, asked, atol=1e-12)


def test_what_does_not_fit_is_said():
    one = drawn(1)
    with pytest.raises(InputError, match=r"network 1 has 2 outputs and network 2 has 3"):
        paired(one, drawn(2, (3, 5, 3)))
    with pytest.raises(InputError, match=r"network 1 takes 3 numbers \(3,\) and network 2 takes 4"):
        paired(one, drawn(2, (4, 5, 2)))
    with pytest.raises(InputError, match="is given 2 by the inputs of the pair"):
        paired(one, one, PairInputs.beside(3, 2))
    with pytest.raises(InputError, match="a softmax"):
        paired(one, replace(one, head=Head.along("softmax", (2,), 0)))
    with pytest.raises(InputError, match="different numbers from 0 to 2"):
        PairInputs.moved(3, [3])
    with pytest.raises(InputError, match=r"\[n, u\] with \[n\]"):
        PairInputs.affine(np.eye(3), np.zeros(2), np.eye(3), np.zeros(3))
    with pytest.raises(InputError, match="A Network is wanted"):
        paired(one, "net.onnx")


def test_rounded_numbers_keep_their_magnitudes():
    rounded = DiagonalMap(np.array([1.0 / 3.0, 0.5]), roundings=2)
    assert not same_map(rounded, DiagonalMap(rounded.scale, roundings=2))
    assert same_map(rounded, rounded)
    change = map_difference(rounded, DiagonalMap(np.array([1.0 / 3.0, 0.25])))
    assert np.array_equal(change.magnitude_apply(np.ones(2)), [2.0 / 3.0, 0.75])
    matrices = map_difference(rounded.dense(), DenseMap(np.eye(2)))
    assert np.array_equal(matrices.magnitude_apply(np.ones(2)), [4.0 / 3.0, 1.5])
    exact = map_difference(DenseMap(np.array([[3.0, 1.0]])), DenseMap(np.array([[1.0, 1.0]])))
    assert np.array_equal(exact.magnitude_apply(np.ones(2)), [2.0])
    assert map_difference(SelectionMap.from_gather(np.array([1, 0]), 2), SelectionMap.identity(2)) is None
