"""Random pairs of networks: no bound of n, n', n' - n or of the outputs' difference over what is attained."""

import os

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.arithmetic import output_error
from admm_verify.network.pair import paired
from tests.differential.attained import Attained, check_bounds, points
from tests.random_pairs import KINDS, LINEAR, PairCase, random_pair
from tests.reference.pair_milp import most

PAIRS = int(os.environ.get("ADMM_VERIFY_GRAPHS", "40"))
"""Of the slow runs; 200 take some minutes."""
SAMPLES = 20_000
FEW = 300


def check_pair(case: PairCase, count: int, seed: int) -> None:
    check_bounds(paired(case.first, case.second), case.box, count, seed, case.label)


@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_no_bound_is_over_what_pairs_attain(seed: int) -> None:
    check_pair(random_pair(seed), FEW, seed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_bound_is_over_what_many_pairs_attain(part: int) -> None:
    for seed in range(1000 + part, 1000 + PAIRS, 4):
        check_pair(random_pair(seed), SAMPLES, seed)


def check_maximum(case: PairCase, seed: int) -> None:
    joint = paired(case.first, case.second)
    assert joint.as_read is not None
    rows = np.concatenate([joint.rows(difference=sign * np.eye(joint.outputs)) for sign in (1.0, -1.0)])
    best = np.stack(list(most(joint.as_read, case.box, rows)))
    x = np.clip(best, np.asarray(case.box.lower), np.asarray(case.box.upper))
    attained = Attained.at(joint, x)
    largest = np.diagonal(attained.outputs @ rows.T)
    # What HiGHS calls largest is not below what samples attain, up to its tolerances.
    sampled = (joint(points(case.box, 200, seed)) @ rows.T).max(axis=0)
    assert (sampled <= largest + 1e-5 * (1.0 + np.abs(largest))).all(), case.label
    bounds = av.preactivation_bounds(joint, case.box, "tightened")
    found = av.solve(av.Problem(joint, case.box, -rows, np.zeros(len(rows)), bounds))
    assert (largest - attained.error <= -np.asarray(found.lower).astype(np.longdouble)).all(), case.label


@pytest.mark.parametrize("seed", range(0, 6, 2))
def test_no_bound_is_over_the_exact_maximum(seed: int) -> None:
    check_maximum(random_pair(seed, LINEAR, 2), seed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_bound_is_over_many_exact_maxima(part: int) -> None:
    for seed in range(1000 + part, 1000 + PAIRS, 4):
        check_maximum(random_pair(seed, LINEAR, 2), seed)


@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_differences_as_computed_are_within_their_errors(seed: int) -> None:
    case = random_pair(seed)
    joint, x = paired(case.first, case.second), points(case.box, FEW, seed).astype(np.float32)
    inside = np.clip(x, np.asarray(case.box.lower), np.asarray(case.box.upper)) == x
    x = x[inside.all(axis=1)]
    bounds = av.preactivation_bounds(joint, case.box)
    error = np.asarray(output_error(joint, case.box, bounds, "float32")).reshape(-1)
    own, other = (network(x).astype(np.longdouble) for network in joint.both)
    real = Attained.at(joint, x).outputs
    assert len(x) > FEW // 4
    assert (np.abs(np.concatenate([own, other, other - own], axis=1) - real).max(axis=0) <= error).all(), case.label
