"""The checker proves what is true, and its bounds hold: random networks, trees, slopes and multipliers."""

from dataclasses import replace

import numpy as np
import pytest

from admm_verify import Box, Network, Problem, SolverSettings, solve
from admm_verify.certificates.certificate import Certificate, Leaves
from admm_verify.certificates.check import check
from tests.certificates.provers import (
    one_atom,
    random_certificate,
    retargeted,
    sampled_least,
)
from tests.random_layers import layer_case
from tests.random_networks import random_case


def outcome(certificate: Certificate, network: Network, box: Box, objective: np.ndarray, offset: float, exact=False):
    found = one_atom(network, box, objective, offset)
    return check(retargeted(certificate, found, network), found, network, exact=exact)


def small_case(seed: int):
    case = random_case(seed, widest=6, deepest=3)
    return case.network, case.box, case.objective[0]


@pytest.mark.parametrize("kind", ["neuron", "input"])
@pytest.mark.parametrize("seed", range(28))
def test_bounds_hold_and_proofs_are_accepted_up_to_them(seed, kind):
    rng = np.random.default_rng([seed, 1])
    network, box, objective = small_case(seed)
    certificate = random_certificate(rng, network, one_atom(network, box, objective, 0.0), kind)
    least = sampled_least(network, box, objective, rng)
    size = 1e6 * (1.0 + abs(least))
    passed = outcome(certificate, network, box, objective, 1e3 * size)
    assert passed.proved and passed.leaves == len(certificate.leaves), passed.reason
    bound = passed.worst - 1e3 * size
    assert bound <= least + 1e-9 * size
    slack = 1e-9 * size
    assert outcome(certificate, network, box, objective, slack - bound).proved
    refused = outcome(certificate, network, box, objective, -slack - bound)
    assert not refused.proved and "does not exclude" in refused.reason


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_bounds_of_many_layers_hold(seed, smooth):
    rng = np.random.default_rng([seed, 2])
    case = layer_case(7 * seed, smooth)
    objective = case.objective[0]
    kind = ("neuron", "input")[seed % 2]
    certificate = random_certificate(rng, case.network, one_atom(case.network, case.box, objective, 0.0), kind, 3)
    least = sampled_least(case.network, case.box, objective, rng, 500)
    assert outcome(certificate, case.network, case.box, objective, -least, False).proved is False
    size = 1e9 * (1.0 + abs(least))
    passed = outcome(certificate, case.network, case.box, objective, size)
    if passed.proved:
        assert passed.worst - size <= least + 1e-6 * size
    else:
        # Random slopes leave no useful bound of networks with huge weights.
        assert "does not exclude" in passed.reason


@pytest.mark.parametrize("kind", ["neuron", "input"])
@pytest.mark.parametrize("seed", range(14))
def test_rounded_bounds_never_exceed_exact_ones(seed, kind):
    rng = np.random.default_rng([seed, 3])
    case = random_case(seed, widest=4, deepest=2)
    network, box, objective = case.network, case.box, case.objective[0]
    certificate = random_certificate(rng, network, one_atom(network, box, objective, 0.0), kind, 2)
    size = 2.0**20 * (1.0 + abs(sampled_least(network, box, objective, rng)))
    rounded, exact = (outcome(certificate, network, box, objective, size, exact) for exact in (False, True))
    assert rounded.proved and exact.proved
    assert rounded.leaves == exact.leaves == len(certificate.leaves)
    assert rounded.worst <= exact.worst
    assert rounded.worst >= exact.worst - 1e-6 * size


def bare(certificate: Certificate, network: Network) -> Certificate:
    """One leaf for the only disjunct, and no slopes at all."""
    whole, none = np.zeros(1, dtype=np.int32), np.zeros((1, 0), dtype=np.float32)
    leaves = Leaves(whole, whole, np.zeros((1, 0), dtype=np.int32), none, none)
    columns = tuple(np.zeros(0, dtype=np.int32) for _ in network.activations)
    return replace(certificate, tightenings=(), columns=columns, leaves=leaves)


@pytest.mark.parametrize("kind", ["neuron", "input"])
@pytest.mark.parametrize("seed", range(14))
def test_without_splits_and_slopes_it_is_crown(seed, kind):
    network, box, objective = small_case(seed)
    certificate = random_certificate(np.random.default_rng(0), network, one_atom(network, box, objective, 0.0), kind)
    crown = float(solve(Problem(network, box, objective), settings=SolverSettings(max_passes=0)).lower[0])
    offset = 1.0 + abs(crown) - crown
    found = outcome(bare(certificate, network), network, box, objective, offset)
    assert found.proved and found.worst == pytest.approx(crown + offset, rel=1e-6)
