"""Verdicts where it is easy to be wrong: nothing that is attained is ever excluded, and every sat can be replayed."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from admm_verify import Query
from admm_verify.properties.property import Disjunct
from tests.complete.queries import WAYS, at_most, box_of, confirmed, query_of
from tests.complete.traps import KINDS, Trap, evaluations, exact_ends

NETWORKS = 10
"""Of each kind."""


def seeds() -> list:
    return [pytest.param(seed, marks=[] if seed < 1 else pytest.mark.slow) for seed in range(NETWORKS)]


def trap_of(kind: str, seed: int) -> Trap:
    return KINDS[kind](np.random.default_rng([seed, 31]))


def around(trap: Trap, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The whole box, a small one around x, a few units in the last place, and x itself."""
    yield trap.lower, trap.upper
    for share in (1e-3, 1e-7):
        width = share * (trap.upper - trap.lower)
        yield np.maximum(x - width, trap.lower), np.minimum(x + width, trap.upper)
    yield x, x


def asked(trap: Trap, ends: tuple, sign: int, limit: float | Fraction, element_type: str) -> Query:
    """sign y <= limit."""
    return query_of(trap.network, [Disjunct(box_of(*ends), (at_most([sign], 0, limit),))], element_type)


def check(query: Query, way: str, label: str, arithmetic: str | None = None) -> None:
    """For queries that some point satisfies."""
    with np.errstate(all="ignore"):
        outcome = WAYS[way](query, most=300, arithmetic=arithmetic)
        assert outcome.verdict.value != "unsat", label
        assert outcome.verdict.value != "sat" or confirmed(query, outcome), label


def test_planted_points_are_as_planned() -> None:
    for seed in range(NETWORKS):
        for kind in ("needle", "dead", "plateau"):
            trap = trap_of(kind, seed)
            assert (trap.points >= trap.lower).all() and (trap.points <= trap.upper).all()
            least = min(exact_ends(trap.network, x)[1] for x in trap.points)
            elsewhere = exact_ends(trap.network, 0.5 * trap.upper + 0.37 * trap.lower)[0]
            assert least <= -Fraction(1, 4) and elsewhere > least / 2
            assert least == Fraction(float(least)) or kind == "plateau"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", seeds())
def test_what_is_attained_in_real_numbers_is_not_excluded(seed: int, kind: str, way: str) -> None:
    trap = trap_of(kind, seed)
    for i, x in enumerate(trap.points):
        low, high = exact_ends(trap.network, x)
        for sign, limit in ((1, high), (-1, -low)):
            for j, ends in enumerate(around(trap, x)):
                if (i + j + sign + seed) % 2 == 0:
                    check(asked(trap, ends, sign, limit, "real"), way, f"{kind}, box {j}, sign {sign}", "real")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", seeds())
def test_what_is_attained_as_computed_is_not_excluded(seed: int, kind: str, way: str) -> None:
    """In the network's own arithmetic, in any order of summation."""
    trap = trap_of(kind, seed)
    kept = trap.network.element_type
    for x in trap.points:
        values = [value for value in evaluations(trap.network, x, seed) if not np.isnan(value)]
        if not values:
            continue
        for sign in (1, -1):
            least = min(sign * value for value in values)
            if np.isposinf(least):
                continue
            limit = -3e38 if np.isneginf(least) else least
            for j, ends in enumerate(around(trap, x)):
                if (j + sign + seed) % 2 == 0:
                    check(asked(trap, ends, sign, limit, kept), way, f"{kind}, box {j}, sign {sign}")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_what_no_point_attains_is_never_confirmed(seed: int, kind: str, way: str) -> None:
    """A limit below a rigorous interval of the output; only overflow could make it hold, and that is not confirmed."""
    trap = trap_of(kind, seed)
    size = max(abs(value) for x in trap.points for value in exact_ends(trap.network, x))
    with np.errstate(all="ignore"):
        query = asked(trap, (trap.lower, trap.upper), 1, -(size + 1) * 10**12, "real")
        assert WAYS[way](query, most=300).verdict.value != "sat"


@pytest.mark.parametrize("kind", ["needle", "dead", "plateau"])
@pytest.mark.parametrize("seed", range(2))
def test_halving_finds_needles_that_attacks_miss(seed: int, kind: str) -> None:
    """Bounds lead to the planted point, or the question stays open; a known gap to the next value is closed."""
    trap = trap_of(kind, seed)
    least = min(exact_ends(trap.network, x)[1] for x in trap.points)
    box = trap.lower, trap.upper
    found = WAYS["inputs"](asked(trap, box, 1, least / 2, "real"), most=20_000)
    assert found.verdict.value in ("sat", "unknown")
    assert WAYS["inputs"](asked(trap, box, 1, 4 * least - 1, "real"), most=20_000).verdict.value != "sat"
