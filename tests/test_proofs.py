"""Certificates that the search records, checked by the checker that knows nothing of it."""

from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Query
from admm_verify.certificates.check import check
from admm_verify.certificates.files import read, write
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.vnnlib import parse_vnnlib
from tests.shared import SHARED, needs_shared


def case(inputs, seed, element_type="real", share=0.05):
    """A query about outputs above the largest sampled one, by a share of their range."""
    rng = np.random.default_rng(seed)
    sizes = (inputs, 12, 12, 2)
    weights = [rng.normal(size=pair[::-1]) / np.sqrt(pair[0]) for pair in pairwise(sizes)]
    network = network_from_layers(weights, [rng.normal(size=size) for size in sizes[1:]])
    radius = 1.0 if inputs < 20 else 0.3
    sampled = network(rng.uniform(-radius, radius, size=(20_000, inputs)))
    level = sampled.max(axis=0) + share * np.ptp(sampled, axis=0)
    head = (
        f"(vnnlib-version <2.0>)(declare-network f (declare-input X {element_type} [{inputs}])"
        f"(declare-output Y {element_type} [2]))"
    )
    box = "".join(f"(assert (and (>= X[{i}] -{radius}) (<= X[{i}] {radius})))" for i in range(inputs))
    text = f"{head}{box}(assert (or (>= Y[0] {level[0]:.6f}) (>= Y[1] {level[1]:.6f})))"
    return Query("case", parse_vnnlib(text), network)


@pytest.mark.parametrize("element_type", ["real", "float32"])
@pytest.mark.parametrize("inputs", [3, 24])
@pytest.mark.parametrize("seed", range(3))
def test_what_the_search_records_is_proved(inputs, seed, element_type, tmp_path):
    query = case(inputs, seed, element_type, 0.05 if inputs == 3 else 1.2)
    found = av.verify(query, settings=av.VerifySettings(certificate=True))
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    assert found.certificate.kind == ("input" if inputs < 20 else "neuron")
    assert found.certificate.arithmetic == element_type
    write(found.certificate, tmp_path / "proof.npz")
    report = check(read(tmp_path / "proof.npz"), query.property, query.network)
    assert report.proved, report.reason
    other = case(inputs, seed + 10, element_type)
    assert not check(found.certificate, other.property, other.network).proved
    assert not check(found.certificate, other.property, query.network).proved


def test_only_unsat_has_a_certificate():
    query = case(3, 0, share=-0.1)
    found = av.verify(query, settings=av.VerifySettings(certificate=True))
    assert found.verdict is av.Verdict.SAT and found.certificate is None
    assert av.verify(case(3, 0)).certificate is None
    ended = av.verify(case(3, 0), settings=av.VerifySettings(max_subproblems=1, certificate=True))
    assert ended.verdict is av.Verdict.UNKNOWN and ended.certificate is None


def test_a_checkpoint_records_no_certificate(tmp_path):
    with pytest.raises(av.InputError, match="leave the checkpoint out"):
        av.verify(case(3, 0), settings=av.VerifySettings(certificate=True, checkpoint=tmp_path / "search.npz"))


@pytest.mark.data
@needs_shared
def test_halved_boxes_have_the_rounding_errors_of_their_parts():
    """Over the whole box the rounding of the network's own float32 exceeds the margin; over parts it does not."""
    folder = SHARED / "data" / "vnncomp" / "acasxu"
    (network,) = folder.rglob("*run2a_4_2_*.onnx*")
    query = av.read_query(next(folder.rglob("prop_3.vnnlib*")), network)
    found = av.verify(query, settings=av.VerifySettings(arithmetic="float32", certificate=True))
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    assert check(found.certificate, query.property, query.network, arithmetic="float32").proved
    assert not check(found.certificate, query.property, query.network).proved
