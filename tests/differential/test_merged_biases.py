"""Biases that layers were merged into are rounded: differences of them, against exact numbers at single inputs."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Affine
from admm_verify.network.maps import DenseMap
from admm_verify.network.pair import paired
from admm_verify.network.sameness import has_exact_bias
from admm_verify.network.selection import SelectionMap

Layers = Sequence[tuple[np.ndarray, np.ndarray]]


def drawn(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Layers without a function between them, all of whose numbers are positive: nothing cancels."""
    sizes = (2, 3, 2)
    return [(rng.random((above, below)), 1e3 * rng.random(above)) for below, above in pairwise(sizes)]


def built(layers: Layers) -> av.Network:
    builder = Builder((1, 2), "float64")
    x = builder.input
    for weight, bias in layers:
        x = builder.add(builder.matmul(x, weight.T), bias)
    return builder.finish(x, "chain")


def last(network: av.Network) -> Affine:
    node = network.nodes[-1]
    assert isinstance(node, Affine)
    return node


def exactly(layers: Layers, x: np.ndarray) -> list[Fraction]:
    found = [Fraction(float(v)) for v in x]
    for weight, bias in layers:
        found = [
            sum((Fraction(float(w)) * v for w, v in zip(row, found, strict=True)), Fraction(float(b)))
            for row, b in zip(weight, bias, strict=True)
        ]
    return found


@pytest.mark.parametrize("method", ["interval", "crown"])
def test_differences_of_merged_biases_count_their_rounding(method: str) -> None:
    rng = np.random.default_rng(11)
    for _ in range(30):
        first = drawn(rng)
        # Hidden neurons in another order change how sums are rounded, and nothing else.
        order = rng.permutation(3)
        second = [(first[0][0][order], first[0][1][order]), (first[1][0][:, order], first[1][1])]
        joint, x = paired(built(first), built(second)), rng.random(2) * rng.choice([0.0, 1.0])
        rows = np.concatenate([joint.rows(difference=sign * np.eye(2)) for sign in (1.0, -1.0)])
        box = av.Box(x, x)
        problem = av.Problem(joint, box, rows, np.zeros(4), av.preactivation_bounds(joint, box, method))
        lower = np.asarray(av.solve(problem, settings=av.SolverSettings(max_passes=1)).lower).reshape(-1)
        own = [q - p for p, q in zip(exactly(first, x), exactly(second, x), strict=True)]
        for bound, true in zip(lower, [*own, *(-d for d in own)], strict=True):
            assert Fraction(float(bound)) <= true


def test_a_merged_bias_is_no_exact_one() -> None:
    layers = drawn(np.random.default_rng(3))
    assert not has_exact_bias(last(built(layers)))
    assert has_exact_bias(last(built(layers[:1])))


def test_a_bias_that_rectified_constants_add_up_to_is_no_exact_one() -> None:
    builder = Builder((1, 2), "float64")
    zero = builder.affine(builder.input, SelectionMap.from_gather(np.full(2, 2), 2))
    parts = builder.add(builder.add(Tensor(zero, (1, 2)), np.array([0.1, 0.3])), np.array([0.2, 0.7]))
    total = builder.add(builder.input, builder.activation("relu", parts))
    network = builder.finish(total, "constant")
    assert not has_exact_bias(last(network))


def test_a_bias_behind_a_selection_stays_exact() -> None:
    builder = Builder((1, 2), "float64")
    x = builder.affine(builder.input, DenseMap(np.eye(2)), np.array([0.1, 0.7]))
    moved = builder.select(Tensor(x, (1, 2)), np.array([[1, 0]]))
    assert has_exact_bias(last(builder.finish(moved, "moved")))
