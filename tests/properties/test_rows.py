"""Rows of atoms whose coefficients no float64 holds: rounded, and charged for it."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st

import admm_verify as av
from admm_verify import Query
from admm_verify.certificates.check import check
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.rows import atom_rows
from admm_verify.properties.vnnlib import parse_vnnlib
from admm_verify.sets.exact import ExactBox
from tests.properties.texts import flat

F = Fraction
NUMBERS = st.fractions(-10, 10, max_denominator=10**30) | st.sampled_from([F(1, 3), F(10**300), F(1, 10**300)])
LIMITS = st.sampled_from([0.0, 1e-300, 0.3, 1.0, 1e9, 1e300, np.inf, np.nan])


def rows_of(atoms, outputs=3):
    declared = NetworkDeclaration("f", (Variable("X", "real", (1,)),), (Variable("Y", "real", (outputs,)),))
    return atom_rows(Property((2, 0), (declared,), (Disjunct(ExactBox((F(0),), (F(1),)), tuple(atoms)),)))


@given(st.lists(NUMBERS.filter(bool), min_size=1, max_size=3), NUMBERS, LIMITS, st.booleans())
def test_a_charged_row_holds_wherever_its_atom_does(coefficients, constant, limit, strict):
    atom = Atom(tuple(enumerate(coefficients)), constant, strict)
    rows = rows_of([atom]).charged(np.array([limit]))
    reach = F(limit) if np.isfinite(limit) else F(10**6)
    for signs in product((-1, 1), repeat=3):
        y = [sign * reach for sign in signs]
        value = sum((F(c) * v for c, v in zip(rows.objective[0].tolist(), y, strict=True)), F(float(rows.offset[0])))
        assert not atom.holds(y) or value <= 0


@pytest.mark.parametrize(
    ("terms", "objective"),
    [
        ([F(1, 3)], [1.0]),
        ([F(1, 3), F(-1, 3)], [1.0, -1.0]),
        ([F("0.1"), F("0.25")], [2.0, 5.0]),
        ([F("0.1234567890123456789"), F("0.3703703670370370367")], [1.0, 3.0]),
        ([F(0.1), F(-0.7)], [0.1, -0.7]),
    ],
)
def test_rows_are_exact_where_some_multiple_is(terms, objective):
    rows = rows_of([Atom(tuple(enumerate(terms)), F(0), False)], len(terms))
    assert rows.objective.tolist() == [objective] and rows.rounding.tolist() == [0.0]


# y = (x, x), so that only the coefficients' twentieth digits tell the two sides apart.
TWICE = network_from_layers([np.eye(1), np.ones((2, 1))], [np.zeros(1), np.zeros(2)])
FIRST, SECOND = "(* 1.00000000000000000001 Y_0)", "(* 1.00000000000000000003 Y_1)"


@pytest.mark.parametrize(
    ("condition", "verdicts"),
    [
        (f"(< {FIRST} {SECOND})", {"sat"}),
        (f"(<= {FIRST} {SECOND})", {"sat"}),
        # True at every point, but nearer than rounding.
        (f"(>= {FIRST} {SECOND})", {"unknown", "timed-out", "unsat"}),
        (f"(<= (- {FIRST} {SECOND}) -1e-9)", {"unsat"}),
        (f"(>= (- {FIRST} {SECOND}) 1e-9)", {"unsat"}),
    ],
)
@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_digits_beyond_float64(condition, verdicts, arithmetic):
    text = flat(condition, unit_box=False) + "(assert (>= X_0 0.5))(assert (<= X_0 1))"
    outcome = av.verify(
        Query("q", parse_vnnlib(text), TWICE), settings=av.VerifySettings(max_subproblems=200, arithmetic=arithmetic)
    )
    allowed = verdicts if arithmetic == "real" or "sat" in verdicts else verdicts | {"unknown"}
    assert outcome.verdict.value in allowed


def test_a_point_that_no_float_equals_is_confirmed_with_such_coefficients():
    for condition, verdict in [
        (f"(<= (+ {FIRST} {SECOND}) 0.21)", "sat"),
        (f"(<= (+ {FIRST} {SECOND}) 0.19)", "unsat"),
        # 0.2 + 4e-21, above the limit by less than rounding shows.
        (f"(<= (+ {FIRST} {SECOND}) 0.2)", "unknown"),
    ]:
        text = flat(condition, "(== X_0 0.1)", unit_box=False)
        assert av.verify(Query("q", parse_vnnlib(text), TWICE)).verdict.value == verdict


def relu_query(seed, spare):
    """A query that is unsat by a spare, with seventeen digits in every coefficient."""
    rng = np.random.default_rng(seed)
    layers = [rng.standard_normal((6, 2)), rng.standard_normal((2, 6))]
    network = network_from_layers(layers, [rng.standard_normal(6), np.zeros(2)])
    c = [F(repr(float(value))) for value in rng.standard_normal(2) * 3]
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 41)] * 2), axis=-1).reshape(-1, 2)
    least = (network(grid) @ np.array([float(value) for value in c])).min()
    text = flat(f"(<= (+ (* {float(c[0])!r} Y_0) (* {float(c[1])!r} Y_1)) {float(least - spare)!r})", inputs=2)
    return Query("q", parse_vnnlib(text), network)


def test_unsat_is_certified_and_checked_with_seventeen_digits():
    inexact = 0
    for seed in range(12):
        query = relu_query(seed, 0.5)
        inexact += int(atom_rows(query.property).rounding.any())
        outcome = av.verify(query, settings=av.VerifySettings(certificate=True))
        assert outcome.verdict.value == "unsat"
        for exact in (False, True):
            report = check(outcome.certificate, query.property, query.network, exact=exact)
            assert report.proved, report.reason
        assert av.verify(relu_query(seed, -0.1)).verdict.value == "sat"
    assert inexact > 3
