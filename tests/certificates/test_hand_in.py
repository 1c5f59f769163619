"""What the checker is handed: certificates, properties and networks, and nothing that only looks like one."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.certificates.certificate import Tightening
from admm_verify.certificates.check import check
from admm_verify.network.maps import DenseMap
from admm_verify.properties.property import Disjunct
from admm_verify.sets.exact import ExactBox
from tests.certificates.provers import atom_of, one_atom, random_certificate, retargeted
from tests.random_networks import Builder, random_case

CASE = random_case(29, widest=5, deepest=2)
PROPERTY = one_atom(CASE.network, CASE.box, CASE.objective[0], 1e3)
CERTIFICATE = random_certificate(np.random.default_rng(0), CASE.network, PROPERTY)


def test_the_certificate_proves():
    assert check(CERTIFICATE, PROPERTY, CASE.network).proved


@pytest.mark.parametrize(
    "given",
    [
        (None, PROPERTY, CASE.network),
        ({}, PROPERTY, CASE.network),
        (CERTIFICATE, None, CASE.network),
        (CERTIFICATE, CASE.network, PROPERTY),
        (CERTIFICATE, PROPERTY, None),
        (CERTIFICATE, PROPERTY, "net.onnx"),
    ],
)
def test_other_things_are_refused(given):
    with pytest.raises(av.InputError):
        check(*given)


@pytest.mark.parametrize("option", [{"exact": "no"}, {"exact": 1}, {"run": "progress"}, {"arithmetic": ["real"]}])
def test_other_options_are_refused(option):
    with pytest.raises(av.InputError):
        check(CERTIFICATE, PROPERTY, CASE.network, **option)


@pytest.mark.parametrize(
    "parts",
    [
        {"leaves": None},
        {"tightenings": None},
        {"tightenings": (1,)},
        {"tightenings": [1]},
        {"columns": None},
        {"columns": (1,)},
        {"combinations": None},
        {"kind": np.array(["neuron", "input"])},
        {"arithmetic": np.array(["real", "real"])},
        {"network": None},
    ],
)
def test_certificates_of_other_parts_prove_nothing(parts):
    report = check(replace(CERTIFICATE, **parts), PROPERTY, CASE.network)
    assert not report.proved and report.reason


def test_properties_that_are_none_of_the_network_prove_nothing():
    disjunct, size = PROPERTY.disjuncts[0], CASE.network.input_size
    one, zero = Fraction(1), Fraction(0)
    wrong = {
        "empty": replace(disjunct, box=ExactBox((one,) * size, (zero,) * size)),
        "lower ends": replace(disjunct, box=ExactBox((zero,), (one,))) if size > 1 else None,
        "outputs of an atom": Disjunct(disjunct.box, (atom_of(np.ones(CASE.network.output_size + 1), 1e3),)),
    }
    for words, part in wrong.items():
        if part is not None:
            found = replace(PROPERTY, disjuncts=(part,))
            report = check(retargeted(CERTIFICATE, found, CASE.network), found, CASE.network)
            assert not report.proved and words in report.reason
    turned = replace(CASE.network, input_shape=(2, 1, size))
    assert "frozen batch" in check(retargeted(CERTIFICATE, PROPERTY, turned), PROPERTY, turned).reason


@pytest.mark.parametrize("exact", [False, True])
def test_bounds_of_a_node_without_terms_are_its_bias(exact):
    """Files of anybody may say how constants are to be bounded."""
    builder = Builder(1)
    constant = builder.affine([], np.array([2.0]))
    sides = [builder.relu(source) for source in (constant, builder.dense(0, np.eye(1), np.zeros(1)))]
    builder.affine([(side, DenseMap(np.eye(1))) for side in sides], np.zeros(1))
    network = builder.network()
    for offset, proved in ((-1.9, True), (-2.1, False)):
        query = one_atom(network, av.Box(np.zeros(1), np.ones(1)), np.ones(1), offset)
        given = random_certificate(np.random.default_rng(0), network, query, "neuron", 0)
        slopes = np.zeros((1, sum(map(len, given.columns))), dtype=np.float32)
        better = Tightening(0, constant, np.zeros(1, dtype=np.int32), given.columns, slopes, slopes)
        found = check(replace(given, tightenings=(better,)), query, network, exact=exact)
        assert found.proved is proved and found.reason.startswith("" if proved else "Leaf 0 shows")
