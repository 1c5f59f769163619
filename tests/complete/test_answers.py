"""Verdicts on both sides of the exact minimum of small networks, near to it and far from it."""

import sys
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Query, RefineSettings, SearchSettings
from admm_verify.certificates.check import check
from admm_verify.properties.property import Disjunct
from tests.complete.networks import FAMILIES, network_of
from tests.complete.queries import WAYS, at_most, box_of, confirmed, decided, query_of
from tests.complete.truth import Asked, Drawn
from tests.random_networks import chain
from tests.seeds import every

NETWORKS = 100
"""Of each family."""
DEFAULT = 20
SHARE, SLOW_SHARE = 24, 3
"""Of how many queries of a network one is asked."""


def seeds() -> list:
    return [pytest.param(seed, marks=[] if seed < DEFAULT else pytest.mark.slow) for seed in range(NETWORKS)]


@lru_cache(maxsize=2)
def asked(seed: int, family: str) -> tuple[Asked, ...]:
    """A share of the network's queries, others for every seed and family."""
    share, first = (SHARE if seed < DEFAULT else SLOW_SHARE), seed + 5 * FAMILIES.index(family)
    return tuple(query for i, query in enumerate(Drawn.of(family, seed).queries()) if (7 * i + first) % share == 0)


def patience(label: str) -> int:
    """Subproblems; just below a minimum that a whole face attains, halving covers the face with tiny boxes."""
    return 3_000 if label.endswith("-1e-06") else 100_000


@lru_cache(maxsize=100)
def answers(seed: int, family: str, way: str) -> tuple[tuple[str, str, str], ...]:
    """What each query was, what came out, and what is right."""
    found = []
    for one in asked(seed, family):
        outcome = WAYS[way](one.query, most=patience(one.label))
        verdict = outcome.verdict.value
        assert verdict != "sat" or confirmed(one.query, outcome), one.label
        found.append((one.label, verdict, one.answer))
    return tuple(found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", seeds())
def test_no_answer_is_wrong(seed: int, family: str, way: str) -> None:
    for label, verdict, right in answers(seed, family, way):
        assert verdict in (right, "unknown"), label
        slow = seed >= DEFAULT or label.endswith("-1e-06")
        assert verdict == right or (slow and verdict == "unknown"), label


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", every(3, range(5)))
def test_exact_mode_decides_every_query(seed: int, family: str) -> None:
    for one in list(Drawn.of(family, seed).queries())[seed::5]:
        outcome = av.verify(one.query, settings=av.VerifySettings(method="milp"))
        assert outcome.verdict.value == one.answer, one.label
        assert outcome.verdict is not av.Verdict.SAT or confirmed(one.query, outcome), one.label


def test_exact_mode_says_which_networks_it_takes() -> None:
    network = network_of("dense", np.random.default_rng(0), kinds=("sigmoid",))
    box = box_of([0.0] * network.input_size, [1.0] * network.input_size)
    with pytest.raises(av.InputError, match=r"'milp' takes networks of ReLU.*has sigmoid\. Use the method 'auto'"):
        av.verify(
            query_of(network, [Disjunct(box, (at_most([1.0, 0.0], 0, -100),))]),
            settings=av.VerifySettings(method="milp"),
        )


def test_exact_mode_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    query = next(Drawn.of("residual", 6).queries()).query
    with pytest.raises(av.MissingPackageError, match=r'pip install "admm-verify\[milp\]"'):
        av.verify(query, settings=av.VerifySettings(method="milp"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(4))
def test_sums_of_atoms_are_proved(seed: int, family: str) -> None:
    """Atoms that only exclude each other together, on parts that are linear programs."""
    queries = [one for one in Drawn.of(family, seed).queries() if one.label in ("conjunction, -0.1", "boxes, -0.1")]
    for one in queries:
        found = av.verify(one.query, settings=av.VerifySettings(method="milp", certificate=True))
        assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
        proof = found.certificate
        report = check(proof, one.query.property, one.query.network)
        assert report.proved, report.reason
        assert check(proof, one.query.property, one.query.network, exact=True).proved
        given = proof.combinations
        for wrong in (-given, 0 * given, given[:0], given[:, :1], given.reshape(-1)):
            changed = check(replace(proof, combinations=wrong), one.query.property, one.query.network)
            assert not changed.proved or not proof.combinations.size


def deep_query(exponent: int) -> Query:
    """A query that takes a search over neurons, on a network whose numbers are scaled by 2^exponent."""
    rng, sizes = np.random.default_rng(1), [6, 14, 14, 14, 2]
    weights = [1.6 * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    biases = [0.2 * rng.standard_normal(m) for m in sizes[1:]]
    points = np.random.default_rng(1).uniform(-0.7, 0.7, (2000, 6))
    values = chain(weights, biases)(points)[:, 0]
    weights[-1], biases[-1] = np.ldexp(weights[-1], exponent), np.ldexp(biases[-1], exponent)
    limit = float(np.ldexp(1.8 * values.min() - 0.8 * values.max(), exponent))
    box = box_of([-0.7] * 6, [0.7] * 6)
    network = replace(chain(weights, biases), element_type="float64")
    return query_of(network, [Disjunct(box, (at_most([1.0, 0.0], 0.0, limit),))])


@pytest.mark.parametrize(("root", "below", "last"), [(1, 5, 200), (0, 5, 200), (40, 0, 200), (40, 1, 0), (0, 0, 0)])
def test_a_search_without_ascent_splits_neurons_too(root: int, below: int, last: int) -> None:
    query = deep_query(0)
    settings = SearchSettings(
        input_sides=0,
        root_iterations=root,
        iterations=below,
        last_iterations=last,
        refinement=RefineSettings(rounds=0),
    )
    outcome = decided(query, settings, 300)
    assert outcome.verdict is av.Verdict.UNSAT and outcome.subproblems > 1


@pytest.mark.parametrize("exponent", [128, 140, 800])
def test_networks_too_large_for_float32_are_searched_in_silence(exponent: int) -> None:
    """Any warning fails a test."""
    query = deep_query(exponent)
    assert decided(query, SearchSettings(input_sides=0), 20).verdict in (av.Verdict.UNSAT, av.Verdict.UNKNOWN)
