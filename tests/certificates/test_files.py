"""Certificates survive their files, and nothing else is taken for one."""

import json
from dataclasses import replace

import numpy as np
import pytest

from admm_verify import InputError, Network
from admm_verify.certificates.certificate import Certificate
from admm_verify.certificates.digests import network_digest, property_digest
from admm_verify.certificates.files import read, write
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Affine
from admm_verify.properties.property import Disjunct
from admm_verify.properties.vnnlib import parse_vnnlib
from tests.certificates.provers import one_atom, property_of, random_certificate
from tests.properties.texts import flat
from tests.random_layers import layer_case
from tests.random_networks import random_case


@pytest.fixture
def certificate() -> Certificate:
    case = random_case(16, widest=6, deepest=3)
    found = one_atom(case.network, case.box, case.objective[0], 0.0)
    return random_certificate(np.random.default_rng(3), case.network, found)


def arrays(certificate: Certificate) -> list[np.ndarray]:
    leaves = certificate.leaves
    found = [*certificate.columns, leaves.goal, leaves.atom, leaves.splits, leaves.beta, leaves.slopes]
    for t in certificate.tightenings:
        found += [t.neurons, *t.columns, t.lower, t.upper]
    return found


def test_what_is_written_is_read(certificate, tmp_path):
    path = tmp_path / "proof.npz"
    write(certificate, path)
    assert [file.name for file in tmp_path.iterdir()] == ["proof.npz"]
    found = read(path)
    for name in ("network", "query", "arithmetic", "kind"):
        assert getattr(found, name) == getattr(certificate, name)
    assert [(t.box, t.node) for t in found.tightenings] == [(t.box, t.node) for t in certificate.tightenings]
    assert certificate.tightenings
    for first, second in zip(arrays(certificate), arrays(found), strict=True):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)


def test_a_file_that_cannot_be_written_is_named(certificate, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write(certificate, tmp_path / "missing" / "proof.npz")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CertificateError, match="cannot be read"):
        read(tmp_path / "missing.npz")
    path = tmp_path / "proof.npz"
    for content in (b"", b"PK\x03\x04", b"hello", b"\x93NUMPY\x01\x00v\x00"):
        path.write_bytes(content)
        with pytest.raises(CertificateError, match="is no certificate"):
            read(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(CertificateError, match="is no certificate"):
        read(path)
    with open(path, "wb") as file:
        np.savez(file, header=np.array([{"format": 1}], dtype=object))
    with pytest.raises(CertificateError, match="is no certificate"):
        read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"columns": [10**9]},
        {"columns": "abc"},
        {"columns": [-1, 1]},
        {"columns": [1.5]},
        {"columns": None},
        {"tightenings": [[0, 1, 2]]},
        {"tightenings": [[0, 1, 2, 3]]},
        {"tightenings": [[0, 1, -2, []]]},
        {"tightenings": [[0, 1, 10**30, [10**30]]]},
        {"tightenings": 7},
        {"kind": "both"},
        {"kind": ["neuron"]},
        {"arithmetic": "float16"},
        {"network": "abc"},
        {"query": 5},
    ],
    ids=str,
)
def test_headers_that_fit_nothing_are_refused(certificate, tmp_path, change):
    path = tmp_path / "proof.npz"
    write(certificate, path)
    with np.load(path) as content:
        held = dict(content)
    header = json.loads(held["header"].tobytes()) | change
    held["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **held)
    with pytest.raises(CertificateError):
        read(path)


@pytest.mark.parametrize("name", ["goal", "atom", "splits", "beta", "slopes"])
def test_wrong_arrays_are_named(certificate, name):
    array = getattr(certificate.leaves, name)
    for wrong in (array.astype(np.float64), array[:-1], array[None], array.tolist(), None):
        with pytest.raises(CertificateError, match=name if name != "goal" else "certificate"):
            replace(certificate, leaves=replace(certificate.leaves, **{name: wrong})).validate()


def test_digests_speak_of_meaning_alone():
    network = random_case(1).network
    assert network_digest(network) == network_digest(replace(network, name="other"))
    assert network_digest(network) != network_digest(replace(network, element_type="float64"))
    digests = {network_digest(layer_case(seed, bool(seed % 2)).network) for seed in range(30)}
    assert len(digests) == 30
    network = replace(network, as_read=None)
    last = network.nodes[-1]
    assert isinstance(last, Affine)
    changed = replace(last, bias=np.nextafter(last.bias, np.inf))
    other = Network((*network.nodes[:-1], changed), network.input_shape, network.output_shape)
    assert network_digest(other) != network_digest(network)
    negative = replace(last, bias=np.where(last.bias == 0, -0.0, last.bias))
    same = Network((*network.nodes[:-1], negative), network.input_shape, network.output_shape)
    assert network_digest(same) == network_digest(network)


def test_digests_of_properties():
    texts = ("(<= Y_0 1)", "(< Y_0 1)", "(<= Y_0 1.5)", "(<= Y_1 1)", "(or (<= Y_0 1) (<= Y_0 1))", "(<= Y_0 Y_1)")
    found = [property_digest(parse_vnnlib(flat(text))) for text in texts]
    assert len(set(found)) == len(texts)
    assert property_digest(parse_vnnlib("; a remark\n" + flat("(>= 1 Y_0)"))) == found[0]
    case = random_case(1)
    single = one_atom(case.network, case.box, case.objective[0], 0.0)
    disjunct = single.disjuncts[0]
    open_end = replace(disjunct.box, strict_lower=frozenset({0}))
    other = property_of(case.network, [Disjunct(open_end, disjunct.atoms)])
    assert property_digest(other) != property_digest(single)
