"""Verdicts and least values of pairs of networks beside exact largest differences."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.complete.shared_entries import SharedEntries
from admm_verify.network.layers import network_from_layers
from problems.pairs import noisy
from tests.reference.pair_milp import most


@cache
def _pair(seed: int) -> tuple[av.PairedNetwork, av.Box, float]:
    """Two networks of three inputs and two outputs, a box, and the largest difference of any output."""
    rng = np.random.default_rng(seed)
    sizes = [3, 6, 6, 2]
    weights = [rng.standard_normal((n, m)) / np.sqrt(m) for m, n in pairwise(sizes)]
    first = network_from_layers(weights, [0.3 * rng.standard_normal(n) for n in sizes[1:]])
    second = noisy(first, 0.05, seed)
    joint, box = av.paired(first, second), av.Box(-np.ones(3), np.ones(3))
    rows = _rows(joint)
    assert joint.as_read is not None
    points = np.clip(np.stack(list(most(joint.as_read, box, rows))), -1.0, 1.0)
    return joint, box, float((np.asarray(joint(points)) @ rows.T).max())


def _rows(joint: av.PairedNetwork) -> np.ndarray:
    units = np.eye(joint.outputs)
    return np.concatenate([joint.rows(difference=units), joint.rows(difference=-units)])


def _condition(joint: av.PairedNetwork, epsilon: float) -> str:
    numbers = range(2 * joint.outputs, 3 * joint.outputs)
    return " or ".join(f"y{k} > {epsilon!r} or y{k} < {-epsilon!r}" for k in numbers)


@pytest.mark.parametrize("seed", range(2))
def test_verdicts_change_at_the_largest_difference(seed: int) -> None:
    joint, box, largest = _pair(seed)
    first, second = joint.both
    for epsilon, verdict in ((largest + 1e-6, av.Verdict.UNSAT), (largest - 1e-6, av.Verdict.SAT)):
        found = av.verify(av.query(joint, box, _condition(joint, epsilon)), timeout=60)
        assert found.verdict is verdict
    x = found.counterexample
    assert x is not None
    assert np.abs(np.asarray(second(x[None])) - np.asarray(first(x[None]))).max() > largest - 1e-6
    assert (np.abs(x) <= 1.0).all()


@pytest.mark.parametrize("seed", range(2))
def test_parts_split_at_neurons_are_bounded_soundly(seed: int) -> None:
    joint, box, largest = _pair(seed)
    search = av.SearchSettings(input_sides=0)
    settings = av.VerifySettings(search=search, max_subproblems=200)
    found = av.verify(av.query(joint, box, _condition(joint, largest - 1e-6)), settings=settings)
    assert found.verdict is not av.Verdict.UNSAT
    lower = [
        av.minimum(
            joint, box, -_rows(joint)[None], settings=av.MinimumSettings(max_subproblems=parts, search=search)
        ).lower
        for parts in (0, 100)
    ]
    assert lower[0] <= lower[1] <= -largest + 1e-9


def test_cut_operands_are_those_of_the_neurons_split() -> None:
    joint, _, _ = _pair(0)
    shared = SharedEntries.within(joint)
    (k, entries), *_ = shared.own.items()
    node = joint.functions[k]
    assert node.kind == "relu_difference"
    lower, upper = ([side * np.ones((1, joint.nodes[one.source].size)) for one in joint.functions] for side in (-1, 1))
    first, second = (int(shared.of[k][i]) for i in (0, 2 * node.size))
    lower[first][0, 0], upper[second][0, 1] = 0.0, 0.0
    shared.cut(lower, upper)
    assert (entries[node.size : 2 * node.size] == -1).all()
    assert lower[k][0, 0] == 0.0 and upper[k][0, 2 * node.size + 1] == 0.0
    assert np.count_nonzero(lower[k] != -1) == np.count_nonzero(upper[k] != 1) == 1


@pytest.mark.parametrize("seed", range(2))
def test_shared_halves_bound_every_output(seed: int) -> None:
    joint, box, largest = _pair(seed)
    settings = av.MinimumSettings(relative=1e-3, absolute=1e-6)
    each = av.minimum(joint, box, -_rows(joint), settings=settings)
    together = av.minimum(joint, box, -_rows(joint)[None], settings=settings)
    for found in (each, together):
        assert -found.lower.min() >= largest - 1e-9
        assert (found.gap <= 1.001e-3 * np.abs(found.upper) + 1.001e-6).all()
        assert found.lower.min() <= found.upper.min() <= -largest * (1.0 - 1.1e-3) + 1e-6
    # Each row has a bound of its own, whatever the others' are.
    points = np.random.default_rng(seed).uniform(-1.0, 1.0, (2000, 3))
    values = np.asarray(joint(points)) @ -_rows(joint).T
    assert (each.lower <= values.min(axis=0)).all()
