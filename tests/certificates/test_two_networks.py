"""Certificates of queries about two networks: what is unsat is proved, and nothing false is, whatever is changed."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.certificates.check import check
from admm_verify.certificates.digests import network_digest, pair_digests, property_digest
from admm_verify.certificates.files import Extent, read, write
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Affine
from admm_verify.network.layers import network_from_layers
from admm_verify.network.pair import PairedNetwork, paired
from admm_verify.network.pair_inputs import PairInputs
from admm_verify.properties.several import QueriedNetwork
from admm_verify.properties.vnnlib import parse_vnnlib
from tests.certificates.mutations import MUTATIONS, mutated
from tests.pair_texts import bounded, declared
from tests.random_pairs import KINDS, random_pair
from tests.seeds import every

SETTINGS = {
    "input": av.VerifySettings(certificate=True),
    "neuron": av.VerifySettings(certificate=True, search=av.SearchSettings(input_sides=0)),
}
WIDTH = 0.4


def networks(seed, change=0.05, sizes=(2, 5, 4, 2)):
    """A network of numbers of float32, and one whose numbers are a little different."""
    rng = np.random.default_rng([seed, 3])
    numbers = (
        [rng.standard_normal((m, n)) for n, m in pairwise(sizes)],
        [0.5 * rng.standard_normal(m) for m in sizes[1:]],
    )
    moved = [[a * (1.0 + change * rng.standard_normal(a.shape)) for a in part] for part in numbers]
    made = [[[np.float64(np.float32(a)) for a in part] for part in both] for both in (numbers, moved)]
    return tuple(network_from_layers(*both, name) for both, name in zip(made, "fg", strict=True))


def asked(joint, threshold, width=WIDTH):
    """Is there an input at which the first outputs are that far apart, or the second outputs?"""
    box = av.Box(-width * np.ones(joint.input_size), width * np.ones(joint.input_size))
    d, e = 2 * joint.outputs, 2 * joint.outputs + 1
    return av.query(joint, box, f"y{d} >= {threshold:.12g} or y{d} <= {-threshold:.12g} or y{e} >= {threshold:.12g}")


def largest(joint, width=WIDTH):
    """The largest difference that is asked about at many inputs."""
    x = np.random.default_rng(1).uniform(-width, width, (20000, joint.input_size))
    found = joint(x)[:, 2 * joint.outputs :]
    return float(max(np.abs(found[:, 0]).max(), found[:, 1].max()))


def claimed(certificate, property, network):
    """The certificate with the digests of another query and other networks."""
    pair = pair_digests(network) if isinstance(network, PairedNetwork) else ()
    return replace(certificate, network=network_digest(network), query=property_digest(property), pair=pair)


def made(seed, kind):
    """Networks joined, a query without solutions and its certificate, and one with a solution."""
    joint = paired(*networks(seed))
    most = largest(joint)
    unsat = asked(joint, (1.02 if kind == "input" else 1.5) * most)
    outcome = av.verify(unsat, timeout=60, settings=SETTINGS[kind])
    assert outcome.certificate is not None and outcome.certificate.kind == kind
    return joint, unsat.property, asked(joint, 0.999 * most).property, outcome.certificate


@pytest.fixture(scope="module", params=every(2, [(0, "input"), (2, "input"), (1, "neuron"), (3, "neuron")]), ids=str)
def case(request):
    return made(*request.param)


@pytest.mark.parametrize("exact", [False, True])
def test_the_certificate_is_accepted_and_proves_nothing_else(case, exact, tmp_path):
    joint, unsat, sat, certificate = case
    assert len(certificate.leaves) > 3
    path = tmp_path / "proof.npz"
    write(certificate, path)
    found = read(path, extent=Extent.of(unsat, joint))
    assert found.pair == pair_digests(joint) and len(set(found.pair)) == 3
    assert check(found, unsat, joint, exact=exact).proved
    assert "another query" in check(found, sat, joint, exact=exact).reason
    assert "does not exclude" in check(claimed(found, sat, joint), sat, joint, exact=exact).reason


def test_files_of_a_pair_have_a_format_of_their_own(case, tmp_path):
    """In format 3 the planes of differences had other numbers."""
    path = tmp_path / "proof.npz"
    write(case[3], path)
    with np.load(path) as arrays:
        held = dict(arrays)
    header = json.loads(held["header"].tobytes())
    assert header["format"] == 4
    held["header"] = np.frombuffer(json.dumps(header | {"format": 3}).encode(), dtype=np.uint8)
    np.savez_compressed(path, **held)
    with pytest.raises(CertificateError, match="names the format 3; record the certificate again"):
        read(path)


@pytest.mark.parametrize("exact", [False, True])
def test_other_networks_are_told(case, exact):
    """Swapped, another first or second one, one and itself, other inputs, and both side by side."""
    joint, unsat, _, certificate = case
    first, second = joint.both
    other = networks(9, change=0.5)[1]
    apart = PairInputs.apart((2,), np.array([0.0, 0.1]))
    for network, reason in (
        (paired(second, first), "another first network"),
        (paired(other, second), "another first network"),
        (paired(first, other), "another second network"),
        (paired(first, first), "another second network"),
        (paired(first, second, apart), "another way to join"),
    ):
        assert reason in check(certificate, unsat, network, exact=exact).reason
    plain = replace(joint.as_read, as_read=joint.as_read)
    assert "two networks" in check(certificate, unsat, plain, exact=exact).reason
    # Whoever writes the digests of others into it has proved nothing of them.
    for network in (paired(first, other), paired(first, second, PairInputs.apart((2,), np.array([0.0, 3.0])))):
        wrong = largest(network)
        false = asked(network, 0.999 * wrong).property
        assert not check(claimed(certificate, false, network), false, network, exact=exact).proved


def test_no_changed_certificate_of_a_query_with_a_solution_is_accepted(case):
    joint, _, sat, certificate = case
    target, rng = claimed(certificate, sat, joint), np.random.default_rng(7)
    for _ in range(40):
        assert not check(mutated(rng, target), sat, joint).proved
    for mutation in MUTATIONS:
        for _ in range(3):
            assert not check(mutation(rng, target), sat, joint).proved
    for _ in range(4):
        assert not check(mutated(rng, target), sat, joint, exact=True).proved


def test_forged_joint_graphs_are_refused(case):
    """Differences that are said to be smaller, larger or those of others, under digests that fit."""
    joint, _, sat, certificate = case
    for index, node in enumerate(joint.nodes):
        if not isinstance(node, Affine) or not any(hasattr(term.map, "weight") for term in node.terms):
            continue
        for factor in (0.0, 0.5, 1.0 + 1e-6):
            terms = tuple(
                replace(term, map=replace(term.map, weight=factor * term.map.weight))
                if k == len(node.terms) - 1
                else term
                for k, term in enumerate(node.terms)
            )
            nodes = (*joint.nodes[:index], replace(node, terms=terms), *joint.nodes[index + 1 :])
            forged = replace(joint, nodes=nodes)
            for exact in (False, True):
                report = check(claimed(certificate, sat, forged), sat, forged, exact=exact)
                assert not report.proved and "joint graph cannot be shown" in report.reason


@pytest.mark.parametrize(("arithmetic", "roundoff"), [("float32", 2.0**-24), ("float64", 2.0**-53)])
def test_both_are_computed_apart_in_floating_point(arithmetic, roundoff):
    joint = paired(*networks(4))
    most = largest(joint)
    query = asked(joint, 1.2 * most)
    settings = av.VerifySettings(certificate=True, arithmetic=arithmetic)
    certificate = av.verify(query, timeout=60, settings=settings).certificate
    reports = [check(certificate, query.property, joint, arithmetic=arithmetic, exact=exact) for exact in (False, True)]
    assert all(report.proved for report in reports)
    real = replace(certificate, arithmetic="real")
    # Errors of both networks are taken from what is proved.
    assert check(real, query.property, joint, arithmetic="real").worst > reports[0].worst + roundoff * most


@pytest.mark.parametrize(
    "inputs",
    [PairInputs.apart((2,), np.array([0.0, 0.1])), PairInputs.moved(2, [1]), PairInputs.beside(2, 2)],
    ids=["apart", "moved", "beside"],
)
def test_networks_of_two_inputs_have_certificates_in_real_numbers(inputs):
    joint = paired(*networks(5), inputs)
    width = 0.1
    most = largest(joint, width)
    query = asked(joint, 1.3 * most, width)
    certificate = av.verify(query, timeout=60, settings=SETTINGS["input"]).certificate
    for exact in (False, True):
        assert check(certificate, query.property, joint, exact=exact).proved
    single = replace(certificate, arithmetic="float32")
    assert "one and the same input" in check(single, query.property, joint, arithmetic="float32").reason


@pytest.mark.parametrize("exact", [False, True])
def test_networks_that_are_bounded_side_by_side(exact):
    """Three networks, and inputs that nothing ties: the proof is of all of them in one graph."""
    f, g = networks(4)
    head = declared((2, 2), (2, 2))
    third = "(declare-network h (equal-to f) (declare-input X_h real [2]) (declare-output Y_h real [2]))"
    boxes = "".join(bounded(f"X_{name}", (-1, -1), (1, 1)) for name in "fgh")
    several = [QueriedNetwork(network) for network in (f, g, f)]
    x = np.random.default_rng(2).uniform(-1, 1, (3, 4000, 2))
    most = sum(float(network(part)[:, 0].max()) for network, part in zip((f, g, f), x, strict=True))
    certificates = []
    for limit in (f"{most + 3:.3f}", f"{most - 0.1:.3f}"):
        text = head + third + boxes + f"(assert (>= (+ Y_f[0] Y_g[0] Y_h[0]) {limit}))"
        query = av.Query.about_several("made", parse_vnnlib(text), several).about_outputs()
        if not certificates:
            found = av.verify(query, timeout=60, settings=SETTINGS["neuron"])
            assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
            certificates.append(found.certificate)
            assert check(certificates[0], query.property, query.network, exact=exact).proved
            report = check(certificates[0], query.property, f, exact=exact)
            assert not report.proved and "side by side" in report.reason
        else:
            false = claimed(certificates[0], query.property, query.network)
            assert not check(false, query.property, query.network, exact=exact).proved


@pytest.mark.parametrize("kind", ["leaky", "abs", "clip"])
def test_certificates_that_no_check_could_prove_are_refused_when_asked_for(kind):
    found = random_pair(KINDS.index(kind), side=3)
    joint = paired(found.first, found.second)
    width = WIDTH * np.ones(joint.input_size)
    query = av.query(joint, av.Box(-width, width), f"y{2 * joint.outputs} >= 1e6")
    assert av.verify(query, timeout=60).verdict is av.Verdict.UNSAT
    with pytest.raises(av.InputError, match="can have no certificate"):
        av.verify(query, timeout=60, settings=SETTINGS["input"])


def test_certificates_in_floating_point_of_two_inputs_are_refused_when_asked_for():
    joint = paired(*networks(5), PairInputs.beside(2, 2))
    settings = av.VerifySettings(certificate=True, arithmetic="float32")
    with pytest.raises(av.InputError, match="one and the same input"):
        av.verify(asked(joint, 1e6), timeout=60, settings=settings)
