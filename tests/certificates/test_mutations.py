"""No changed certificate proves what is false, and none ends in anything but a report."""

from itertools import pairwise

import numpy as np
import pytest

from admm_verify import Box, Network
from admm_verify.certificates.certificate import Certificate
from admm_verify.certificates.check import check
from admm_verify.certificates.files import read, write
from admm_verify.errors import CertificateError
from admm_verify.properties.property import Disjunct, Property
from tests.certificates.mutations import MUTATIONS, mutated
from tests.certificates.provers import (
    atom_of,
    box_of,
    complete_certificate,
    halving_certificate,
    property_of,
    retargeted,
)
from tests.random_networks import chain
from tests.seeds import seeds

CASES = range(5)


def query(network: Network, box: Box, objective: np.ndarray, offset: float) -> Property:
    """Two disjuncts of two atoms, which say the same."""
    atoms, shared = (atom_of(objective, offset), atom_of(0.5 * objective, 0.5 * offset)), box_of(box)
    return property_of(network, [Disjunct(shared, atoms), Disjunct(shared, atoms[::-1])])


def made(seed: int, kind: str) -> tuple[Network, Property, Property, Certificate]:
    """A query without solutions and its certificate, and one that a little more would prove although it has some."""
    rng = np.random.default_rng([seed, 5])
    sizes = (2, 3, 3, 2) if seed % 2 else (3, 5, 1)
    network = chain(
        [rng.standard_normal((m, n)) for n, m in pairwise(sizes)], [rng.standard_normal(m) for m in sizes[1:]]
    )
    centre, objective = rng.uniform(-1, 1, sizes[0]), rng.standard_normal(sizes[-1])
    box = Box(centre - 0.5, centre + 0.5)
    found, least = complete_certificate(network, query(network, box, objective, 0.0), box, objective)
    spare = 1e-5 * (1.0 + abs(least))
    unsat, sat = (query(network, box, objective, offset - least) for offset in (spare, -0.01 * spare))
    if kind == "neuron":
        return network, unsat, sat, retargeted(found, unsat, network)
    for margin in (0.03, 0.1, 0.3, 1.0, 3.0):
        unsat = query(network, box, objective, margin - least)
        halves = halving_certificate(network, unsat, 10)
        if halves is not None:
            return network, unsat, sat, halves
    raise AssertionError("halving ten times is too little")


@pytest.fixture(scope="module", params=[(seed, kind) for seed in CASES for kind in ("neuron", "input")], ids=str)
def case(request):
    return made(*request.param)


def test_the_certificate_is_accepted_and_proves_nothing_else(case):
    network, unsat, sat, certificate = case
    assert check(certificate, unsat, network).proved
    assert "another query" in check(certificate, sat, network).reason
    found = check(retargeted(certificate, sat, network), sat, network)
    assert not found.proved and "does not exclude" in found.reason


def test_no_changed_certificate_of_a_query_with_a_solution_is_accepted(case):
    network, _, sat, certificate = case
    target, rng = retargeted(certificate, sat, network), np.random.default_rng(7)
    for _ in range(40):
        assert not check(mutated(rng, target), sat, network).proved
    for mutation in MUTATIONS:
        for _ in range(3):
            assert not check(mutation(rng, target), sat, network).proved


@pytest.mark.parametrize("kind", ["neuron", "input"])
@pytest.mark.parametrize("seed", seeds(10, 25))
def test_in_exact_numbers_too(seed, kind):
    network, unsat, sat, certificate = made(seed, kind)
    rounded, exact = (check(certificate, unsat, network, exact=exact) for exact in (False, True))
    assert exact.proved and exact.leaves == len(certificate.leaves) and rounded.worst <= exact.worst + 1e-9
    target, rng = retargeted(certificate, sat, network), np.random.default_rng(10)
    assert "does not exclude" in check(target, sat, network, exact=True).reason
    for _ in range(5):
        assert not check(mutated(rng, target), sat, network, exact=True).proved


def test_changed_certificates_end_in_a_report(case):
    network, unsat, _, certificate = case
    rng, reports = np.random.default_rng(8), []
    for mutation in MUTATIONS:
        for _ in range(3):
            reports.append(check(mutation(rng, certificate), unsat, network))
    assert any(report.proved for report in reports)
    assert all(report.reason for report in reports if not report.proved)


def test_changed_files_are_refused_or_prove_nothing_false(case, tmp_path):
    network, _, sat, certificate = case
    path, rng = tmp_path / "certificate.npz", np.random.default_rng(9)
    write(retargeted(certificate, sat, network), path)
    content = path.read_bytes()
    for kind in range(60):
        changed = bytearray(content)
        if kind % 3:
            for at in rng.integers(len(changed), size=int(rng.integers(1, 6))):
                changed[at] ^= 1 << int(rng.integers(8))
        else:
            del changed[int(rng.integers(len(changed))) :]
        path.write_bytes(bytes(changed))
        try:
            found = read(path)
        except CertificateError as error:
            assert str(error)
            continue
        assert not check(found, sat, network).proved
