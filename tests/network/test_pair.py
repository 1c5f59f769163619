"""Two networks as one: the joint graph is both of them, and their difference."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from admm_verify import InputError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.heads import Head
from admm_verify.network.layers import network_from_layers
from admm_verify.network.map_differences import map_difference, same_map
from admm_verify.network.maps import DenseMap, DiagonalMap
from admm_verify.network.pair import paired
from admm_verify.network.pair_inputs import PairInputs
from admm_verify.network.selection import SelectionMap
from admm_verify.network.spatial import Window, convolution
from tests.random_pairs import KINDS, random_pair

PAIRS = 5 * len(KINDS)


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


def with_neurons(network, wanted):
    """A chain of dense layers whose hidden layers have some of its neurons, in some order."""
    affine = list(network.affine.values())
    weights, biases, before = [], [], slice(None)
    for k, node in enumerate(affine):
        own = wanted(node.size) if k < len(affine) - 1 else slice(None)
        weights.append(np.asarray(node.terms[0].map.dense().weight)[own][:, before])
        biases.append(np.asarray(node.bias)[own])
        before = own
    return network_from_layers(weights, biases, "moved")


def test_neurons_in_another_order_are_found():
    one, rng = drawn(1, (3, 9, 8, 2)), np.random.default_rng(5)
    moved = with_neurons(one, rng.permutation)
    assert not np.array_equal(one.nodes[1].bias, moved.nodes[1].bias)
    joint = paired(one, moved)
    # Their order is all that differs in the graphs, whose sums are rounded in other orders at most.
    assert joint.notes == ()
    x = rng.standard_normal((50, 3))
    assert np.abs(joint.evaluate(x)[-1][:, 4:]).max() <= 1e-14
    assert len(joint.nodes) == len(one.nodes) + 1


@pytest.mark.parametrize("swap", [False, True], ids=["narrower", "wider"])
def test_neurons_that_are_lacking_have_partners_of_no_weight(swap):
    one, rng = drawn(1, (3, 9, 8, 2)), np.random.default_rng(5)
    other = with_neurons(one, lambda size: np.flatnonzero(rng.permutation(size) > 1))
    joint = paired(other, one) if swap else paired(one, other)
    assert [node.kind for node in joint.functions].count("relu_difference") == 2
    assert {node.size for node in joint.functions} == {9, 8}
    x = rng.standard_normal((50, 3))
    np.testing.assert_allclose(joint.evaluate(x)[-1], joint(x), rtol=0, atol=1e-13)


def test_layers_without_a_partner_are_plain_and_said():
    one = drawn(1, (3, 5, 4, 2))
    deeper = drawn(1, (3, 5, 4, 6, 2))
    for both in ((one, deeper), (deeper, one)):
        joint = paired(*both)
        x = np.random.default_rng(3).standard_normal((50, 3))
        np.testing.assert_allclose(joint.evaluate(x)[-1], joint(x), rtol=0, atol=1e-12)
        assert "have no partner" in joint.notes[0]
    # What both do at first is still there once.
    affine = [(np.asarray(node.terms[0].map.weight), np.asarray(node.bias)) for node in one.affine.values()]
    weights, biases = [weight for weight, _ in affine], [bias for _, bias in affine]
    more = network_from_layers([*weights[:2], 2.0 * np.eye(4), weights[2]], [*biases[:2], np.zeros(4), biases[2]])
    joint = paired(one, more)
    assert [node.size for node in joint.functions].count(5) == 1
    np.testing.assert_allclose(joint.evaluate(x)[-1], joint(x), rtol=0, atol=1e-12)


def test_element_types_that_differ_are_said():
    one, two = drawn(1), replace(near(drawn(1), 1e-3), element_type="float64")
    joint = paired(one, two)
    assert joint.element_type == "float32"
    assert "network 1 computes in float32 and near in float64" in joint.notes[0]
    assert paired(one, replace(one, element_type="float64")).same


def images(channels, numbers):
    """Two convolutions of some of four and three channels, with a sum past the second, and a dense layer."""
    builder = Builder((1, 1, 4, 4))
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    x = convolution(builder, builder.input, numbers[0][channels[0]], numbers[1][channels[0]], window)
    x = builder.activation("relu", x)
    inner = convolution(builder, x, numbers[2][channels[1]][:, channels[0]], numbers[3][channels[1]], window)
    inner = builder.activation("relu", inner)
    back = convolution(builder, inner, numbers[4][channels[0]][:, channels[1]], numbers[5][channels[0]], window)
    x = builder.activation("relu", builder.add(back, x))
    flat = builder.reshape(x, (1, x.size))
    weight = numbers[6][:, channels[0]].reshape(2, -1)
    return builder.finish(Tensor(builder.affine(flat, DenseMap(weight)), (1, 2)), "images")


def test_channels_that_are_moved_or_lacking_are_found():
    rng = np.random.default_rng(2)
    shapes = [(4, 1, 3, 3), (4,), (3, 4, 3, 3), (3,), (4, 3, 3, 3), (4,), (2, 4, 16)]
    numbers = [rng.standard_normal(shape) for shape in shapes]
    one = images((np.arange(4), np.arange(3)), numbers)
    x = rng.standard_normal((20, 16))
    moved = paired(one, images((rng.permutation(4), rng.permutation(3)), numbers))
    assert len(moved.nodes) == len(one.nodes) + 1
    np.testing.assert_allclose(moved.evaluate(x)[-1], moved(x), rtol=0, atol=1e-11)
    fewer = paired(one, images((np.array([3, 0, 1]), np.array([2, 0])), numbers))
    assert fewer.notes == ()
    assert [node.size for node in fewer.functions] == [64, 64, 64, 48, 48, 48, 64, 64, 64]
    np.testing.assert_allclose(fewer.evaluate(x)[-1], fewer(x), rtol=0, atol=1e-11)


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


def test_rounded_shifts_are_not_taken_to_be_equal():
    one = drawn(1)
    exact = PairInputs.affine(np.eye(3), np.full(3, 0.3), np.eye(3), np.full(3, 0.3))
    assert paired(one, one, exact).same
    joint = paired(one, one, replace(exact, rounded=True))
    assert not joint.same
    # Whatever the difference is, it is charged relative to both shifts: n, n' and n' - n come first.
    assert (joint.nodes[3].bias == 0).all()
    assert (joint.nodes[3].bias_magnitude >= 0.5 * np.abs(one.nodes[1].terms[0].map.weight).sum(axis=1)).all()
    assert paired(one, one, replace(PairInputs.same((3,)), rounded=True)).same


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


@pytest.mark.parametrize("given", [[1.0], [1.0, 2.0, 3.0], [[[1.0, 2.0]]], 1.0, [[1.0, 0.0]] * 3, "rows"], ids=str)
def test_rows_of_other_widths_are_refused(given):
    joint = paired(drawn(1), near(drawn(1), 1e-3))
    with pytest.raises(InputError):
        joint.rows(first=[[1.0, 2.0]] * 2, difference=given)


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
