"""Verdicts on both sides of the exact minimum of small networks, near to it and far from it."""

from functools import lru_cache

import pytest

from tests.complete.networks import FAMILIES
from tests.complete.queries import WAYS, confirmed
from tests.complete.truth import Asked, Drawn

NETWORKS = 100
"""Of each family."""
DEFAULT = 20
SHARE, SLOW_SHARE = 12, 3


def seeds() -> list:
    return [pytest.param(seed, marks=[] if seed < DEFAULT else pytest.mark.slow) for seed in range(NETWORKS)]


@lru_cache(maxsize=2)
def asked(seed: int, family: str) -> tuple[Asked, ...]:
    """A share of the network's queries, another one for every seed."""
    share = SHARE if seed < DEFAULT else SLOW_SHARE
    return tuple(query for i, query in enumerate(Drawn.of(family, seed).queries()) if (i + i // 4 + seed) % share == 0)


def patience(label: str) -> float:
    """Just below a minimum that a whole face attains, halving covers the face with tiny boxes."""
    return 3.0 if label.endswith("-1e-06") else 20.0


@lru_cache(maxsize=100)
def answers(seed: int, family: str, way: str) -> tuple[tuple[str, str, str], ...]:
    """What each query was, what came out, and what is right."""
    found = []
    for one in asked(seed, family):
        outcome = WAYS[way](one.query, timeout=patience(one.label))
        verdict = outcome.verdict.value
        assert verdict != "sat" or confirmed(one.query, outcome), one.label
        found.append((one.label, verdict, one.answer))
    return tuple(found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", seeds())
def test_no_answer_is_wrong(seed: int, family: str, way: str) -> None:
    for label, verdict, right in answers(seed, family, way):
        assert verdict in (right, "unknown", "timed-out"), label
        if way == "inputs":
            slow = seed >= DEFAULT or label.endswith("-1e-06")
            assert verdict == right or (slow and verdict == "timed-out"), label


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(8))
def test_every_query_of_one_atom_is_decided_by_splitting_neurons(seed: int, family: str) -> None:
    """Each goal has one atom that matters, so fixing all signs leaves linear programs."""
    found = [answer for answer in answers(seed, family, "neurons") if not answer[0].startswith("conjunction")]
    assert not [answer for answer in found if answer[1] != answer[2]]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(8))
def test_conjunctions_are_decided_by_splitting_neurons(seed: int, family: str) -> None:
    """Atoms that only exclude each other together need a bound of their combination."""
    found = [answer for answer in answers(seed, family, "neurons") if answer[0].startswith("conjunction")]
    assert not [answer for answer in found if answer[1] != answer[2]]
