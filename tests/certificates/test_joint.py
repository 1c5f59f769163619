"""Joint graphs of two networks in the checker: all that can be shown is shown, and nothing else is believed."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from admm_verify.certificates.joint import checked_joint
from admm_verify.certificates.reordered import is_reordered
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Activation, Affine, Term
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap
from admm_verify.network.pair import PairedNetwork, paired
from admm_verify.network.pair_inputs import PairInputs
from admm_verify.network.selection import SelectionMap
from tests.random_pairs import CHANGES, KINDS, random_pair

SHOWN = ("dense", "conv", "residual", "pooled", "normalised", "tanh", "sigmoid", "softplus", "averaged")
"""Kinds of networks whose joint graphs are shown, whatever was done to the numbers."""


def layers(seed, sizes=(3, 6, 5, 2)):
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    weights = [rng.standard_normal((m, n)).astype(np.float32).astype(np.float64) for n, m in pairs]
    return weights, [rng.standard_normal(m).astype(np.float32).astype(np.float64) for _, m in pairs]


def case(seed=0, change=0.01):
    """Two networks, the second with numbers changed a little, in their joint graph."""
    weights, biases = layers(seed)
    rng = np.random.default_rng([seed, 1])
    moved = [w * (1 + change * rng.standard_normal(w.shape)) for w in weights]
    return paired(network_from_layers(weights, biases, "f"), network_from_layers(moved, biases, "g"))


def exact_error(joint: PairedNetwork, checked) -> float:
    """The largest of what differences of weights lose to rounding, over what the checked graph says of it."""
    worst = 0.0
    for node, made in zip(joint.nodes, checked.nodes, strict=True):
        if not isinstance(node, Affine):
            continue
        for term, own in zip(node.terms, made.terms, strict=True):
            assert own.source == term.source
            if isinstance(term.map, DenseMap):
                np.testing.assert_array_equal(own.map.weight, term.map.weight)
                worst = max(worst, 0.0 if own.map.magnitude is None else float(np.max(own.map.magnitude)))
    return worst


@pytest.mark.parametrize("seed", range(4))
def test_exact_differences_stay_exact(seed):
    """Numbers of float32 that are near to each other have differences that float64 holds."""
    weights, biases = layers(seed)
    near = [
        np.float64(np.float32(w * (1 + 1e-3 * np.random.default_rng(seed).standard_normal(w.shape)))) for w in weights
    ]
    joint = paired(network_from_layers(weights, biases), network_from_layers(near, biases))
    assert exact_error(joint, checked_joint(joint)) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_what_rounding_takes_is_charged(seed):
    """Of numbers that are more than twice each other."""
    joint = case(seed, change=3.0)
    checked = checked_joint(joint)
    assert exact_error(joint, checked) > 0.0
    for node in checked.affine.values():
        for term in node.terms:
            if isinstance(term.map, DenseMap) and term.map.magnitude is not None:
                assert (term.map.magnitude >= np.abs(term.map.weight)).all()


@pytest.mark.parametrize("seed", range(len(KINDS) * len(CHANGES)))
def test_graphs_of_all_kinds_are_shown_or_refused(seed):
    found = random_pair(seed)
    joint = paired(found.first, found.second)
    try:
        checked = checked_joint(joint)
    except CertificateError as error:
        assert found.kind not in SHOWN or found.change == "last layer", error
        return
    x = np.random.default_rng(seed).standard_normal((20, joint.input_size))
    scale = 1.0 + np.abs(joint.evaluate(x)[-1]).max()
    np.testing.assert_allclose(checked.evaluate(x)[-1], joint(x).reshape(20, -1), rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize(
    "inputs",
    [PairInputs.apart((3,), np.array([0.5, -1.0, 0.25])), PairInputs.beside(3, 3), PairInputs.moved(3, [1])],
    ids=["apart", "beside", "moved"],
)
def test_networks_of_other_inputs_are_shown(inputs):
    first, second = case(1).both
    joint = paired(first, second, inputs)
    checked = checked_joint(joint)
    x = np.random.default_rng(3).standard_normal((20, inputs.size))
    np.testing.assert_allclose(checked.evaluate(x)[-1], joint(x), rtol=0, atol=1e-12)
    with pytest.raises(CertificateError, match="cannot be shown"):
        checked_joint(replace(joint, inputs=PairInputs.beside(3, 3) if inputs.size == 4 else PairInputs.moved(3, [1])))


def test_neurons_in_another_order_are_the_same_function_and_nothing_else():
    weights, biases = layers(8)
    base = network_from_layers(weights, biases).nodes
    order, spare = np.array([3, 0, 5, 1, 4, 2]), np.array([[0.5, -1.0, 2.0]])
    first = np.concatenate([weights[0][order], spare]), np.append(biases[0][order], 0.25)
    second = np.concatenate([weights[1][:, order], np.zeros((5, 1))], axis=1)
    numbers = {"w0": first[0], "b0": first[1], "w1": second, "b1": biases[1], "w2": weights[2]}

    def made(**changes):
        parts = numbers | changes
        return network_from_layers([parts[f"w{k}"] for k in range(3)], [parts["b0"], parts["b1"], biases[2]]).nodes

    assert is_reordered(base, made()) and not is_reordered(made(), base)
    for name, given in numbers.items():
        for place in range(4):
            array = given.copy()
            array.reshape(-1)[place] *= 1.0 + 2.0**-50
            assert not is_reordered(base, made(**{name: array}))
    read = second.copy()
    read[2, -1] = 1e-300
    assert not is_reordered(base, made(w1=read))
    assert not is_reordered(base, made(w1=second[:, [1, 0, 2, 3, 4, 5, 6]]))
    assert not is_reordered(base, made(w2=weights[2][::-1]))
    assert not is_reordered(base, made(w0=first[0][1:], b0=first[1][1:], w1=second[:, 1:]))


def test_a_network_given_twice_has_no_difference():
    first = case(2).both[0]
    checked = checked_joint(paired(first, first))
    assert not any(node.kind == "relu_difference" for node in checked.functions)


def test_networks_that_are_swapped_or_others_are_refused():
    joint, other = case(3), case(4)
    for first, second in (joint.both[::-1], (joint.both[0], other.both[1]), (other.both[0], joint.both[1])):
        with pytest.raises(CertificateError, match="none of theirs"):
            checked_joint(replace(joint, first=first, second=second))


def changed(joint: PairedNetwork, index: int, node) -> PairedNetwork:
    return replace(joint, nodes=(*joint.nodes[:index], node, *joint.nodes[index + 1 :]))


def numbers_changed(rng, node: Affine) -> Affine | None:
    """One weight or bias of a node with another value, by a little or a lot."""
    dense = [k for k, term in enumerate(node.terms) if isinstance(term.map, DenseMap)]
    factor = 1.0 + rng.choice([1e-6, -1e-3, 1.0])
    if not dense:
        return None
    if rng.random() < 0.2:
        bias = node.bias.copy()
        bias[rng.integers(len(bias))] += rng.choice([1e-6, 1.0])
        return replace(node, bias=bias, bias_magnitude=np.abs(bias))
    k = int(rng.choice(dense))
    weight = node.terms[k].map.weight.copy()
    weight[rng.integers(weight.shape[0]), rng.integers(weight.shape[1])] *= factor
    terms = list(node.terms)
    terms[k] = Term(terms[k].source, DenseMap(weight))
    return replace(node, terms=tuple(terms))


def test_no_changed_number_is_believed():
    joint, rng, seen = case(5), np.random.default_rng(6), 0
    places = [i for i, node in enumerate(joint.nodes) if isinstance(node, Affine)]
    for _ in range(60):
        index = int(rng.choice(places))
        node = numbers_changed(rng, joint.nodes[index])
        if node is None:
            continue
        seen += 1
        with pytest.raises(CertificateError, match="cannot be shown"):
            checked_joint(changed(joint, index, node))
    assert seen > 30


def test_no_changed_frame_is_believed():
    """Terms that read another node, entries in another place, other functions, and claims about signs."""
    joint = case(7)
    for index, node in enumerate(joint.nodes):
        if isinstance(node, Activation) and node.kind == "relu_difference":
            with pytest.raises(CertificateError):
                checked_joint(
                    changed(joint, index, replace(node, kind="relu_difference", parameters=(np.ones(node.size),)))
                )
        if isinstance(node, Activation) and node.kind == "relu":
            with pytest.raises(CertificateError):
                checked_joint(changed(joint, index, replace(node, kind="softplus")))
        if not isinstance(node, Affine):
            continue
        for k, term in enumerate(node.terms):
            for source, other in enumerate(joint.nodes[:index]):
                if source == term.source or other.size != term.map.columns:
                    continue
                terms = (*node.terms[:k], Term(source, term.map), *node.terms[k + 1 :])
                with pytest.raises(CertificateError):
                    checked_joint(changed(joint, index, replace(node, terms=terms)))
            if isinstance(term.map, SelectionMap):
                gather = np.roll(term.map.gather, 1)
                moved = Term(term.source, SelectionMap.from_gather(gather, term.map.columns))
                with pytest.raises(CertificateError):
                    checked_joint(
                        changed(joint, index, replace(node, terms=(*node.terms[:k], moved, *node.terms[k + 1 :])))
                    )
    claimed = tuple(replace(node, nonnegative=True) if isinstance(node, Affine) else node for node in joint.nodes)
    assert not any(node.nonnegative for node in checked_joint(replace(joint, nodes=claimed)).affine.values())
