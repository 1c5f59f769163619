"""Conditions on polynomials of inputs and outputs: their meaning, the networks that hand them on, and verdicts."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest

import admm_verify as av
from admm_verify.certificates.check import check
from admm_verify.properties.property import Atom
from admm_verify.properties.vnnlib import parse_vnnlib
from tests.properties.texts import flat, only
from tests.random_networks import chain

F = Fraction


def test_products_are_multiplied_out() -> None:
    (atom,) = only(flat("(<= (* 2 (+ Y_0 X_0) (- Y_0 X_0) 3) (* Y_1 (+ X_0 1)))")).atoms
    squares = {((True, 0), (True, 0)): 6, ((False, 0), (False, 0)): -6, ((False, 0), (True, 1)): -1}
    assert dict(atom.products) == squares and atom.terms == ((1, -1),) and not atom.inputs
    assert atom.holds([F(1), F(2)], [F(2)]) and not atom.holds([F(2), F(0)], [F(1)])


def test_conditions_in_text_have_powers() -> None:
    network = _network(0, 2, 2)
    first, second = (
        av.query(network, None, f"x0 >= 0 and x0 <= 1 and x1 >= 0 and x1 <= 1 and {condition}").property.disjuncts
        for condition in ("y0**2 + (x1 - y1)**3 <= 4", "y0*y0 <= 4 - (x1 - y1)*(x1 - y1)*(x1 - y1)")
    )
    assert first == second


def _network(seed: int, inputs: int, outputs: int) -> av.Network:
    rng = np.random.default_rng(seed)
    sizes = [inputs, 4, outputs]
    pairs = [(rng.normal(size=(rows, columns)), rng.normal(size=rows)) for columns, rows in pairwise(sizes)]
    return chain([weight for weight, _ in pairs], [bias for _, bias in pairs])


CONDITIONS = [
    "y0*y1 >= {c}",
    "y0**2 + y1**2 <= {c}",
    "x0*y0 + x1*y1 >= {c}",
    "x0*x1 <= 0 - {c}",
    "y0**3 - x0**2*y1 >= {c}",
    "(y0 - x0)**2 + (y1 - x1)**2 <= {c} and x0*x1 >= 0.01",
    "y0*y1*x0 > {c} or y0*y1*x1 < 0 - {c}",
    "y0*y0 == {c}",
]
LIMITS = (0.02, 0.3, 2.5)


@pytest.mark.parametrize("number", range(len(CONDITIONS)))
@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_verdicts_agree_with_samples(number: int, arithmetic: str) -> None:
    rng = np.random.default_rng(number)
    network = _network(number, 2, 2)
    grid = np.array(list(product(np.linspace(-1, 1, 41), repeat=2)), dtype=np.float32)
    x = np.concatenate([grid, rng.uniform(-1, 1, (2000, 2)).astype(np.float32)])
    y = network(x)
    decided = set()
    for limit in LIMITS:
        query = av.query(network, av.Box([-1.0, -1.0], [1.0, 1.0]), CONDITIONS[number].format(c=limit))
        settings = av.VerifySettings(arithmetic=arithmetic, max_subproblems=300)
        outcome = av.verify(query, settings=settings, timeout=10)
        decided.add(outcome.verdict)
        near = _values(query.property.disjuncts, x, y)
        if outcome.verdict is av.Verdict.UNSAT:
            likely = np.argsort(near)[:20]
            assert not any(query.accepts(_exact(x[i]), _exact(y[i])) for i in likely)
        if outcome.verdict is av.Verdict.SAT:
            assert query.accepts(outcome.exact_input, _exact(outcome.output))
    assert decided - {av.Verdict.UNKNOWN, av.Verdict.TIMED_OUT}


def _exact(numbers: np.ndarray) -> list[Fraction]:
    return [F(float(number)) for number in np.ravel(numbers)]


def _values(disjuncts: tuple, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The largest atom of the best disjunct at every point, in float64."""
    sides = x.astype(np.float64), y.astype(np.float64)
    return np.min([np.max([_value(atom, sides) for atom in one.atoms], axis=0) for one in disjuncts], axis=0)


def _value(atom: Atom, sides: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    total = np.full(len(sides[0]), float(atom.constant))
    parts = [*((((True, i),), c) for i, c in atom.terms), *((((False, i),), c) for i, c in atom.inputs)]
    for factors, coefficient in (*parts, *atom.products):
        total += float(coefficient) * np.prod([sides[out][:, i] for out, i in factors], axis=0)
    return total


def test_the_network_hands_products_on() -> None:
    network = _network(5, 3, 2)
    query = av.query(network, av.Box(-np.ones(3), np.ones(3)), "y0*x1 + x2**2 <= y1**2*x0 and y0*y1*x2 + x1 <= 3")
    posed = query.about_outputs()
    rng = np.random.default_rng(1)
    for x in rng.uniform(-1, 1, (20, 3)):
        wanted = query.property.disjuncts[0].holds(_exact(x), _exact(network(x)))
        assert posed.property.disjuncts[0].holds(_exact(x), _exact(posed.network(x))) == wanted
    assert all(atom.of_outputs for atom in posed.property.disjuncts[0].atoms)


def test_proofs_of_polynomials_are_checked() -> None:
    network = _network(1, 2, 2)
    query = av.query(network, av.Box([-1.0, -1.0], [1.0, 1.0]), "y0*y1 + y1*x0 >= 60")
    outcome = av.verify(query, settings=av.VerifySettings(certificate=True), timeout=20)
    assert outcome.verdict is av.Verdict.UNSAT and outcome.certificate is not None
    posed = query.about_outputs()
    assert check(outcome.certificate, posed.property, posed.network).proved


def test_products_of_what_is_not_there_are_refused() -> None:
    network = _network(1, 2, 2)
    query = av.query(network, av.Box([-1.0, -1.0], [1.0, 1.0]), "y0*y1 >= 3")
    for factors in (((True, 0),), ((True, 0), (True, 2)), ((False, 2), (True, 0))):
        (disjunct,) = query.property.disjuncts
        atoms = (Atom((), F(0), False, 0, (), ((factors, F(1)),)),)
        wrong = type(query.property)((1, 0), query.property.networks, (type(disjunct)(disjunct.box, atoms),))
        with pytest.raises(av.QueryError, match="product"):
            av.Query("wrong", wrong, network)


def test_text_of_version_2_has_products() -> None:
    found = parse_vnnlib(
        "(vnnlib-version <2.0>)(declare-network f (declare-input X real [1,2]) (declare-output Y real []))"
        "(assert (and (>= X[0,0] 0) (<= X[0,0] 1) (>= X[0,1] 0) (<= X[0,1] 1)))(assert (>= (* X[0,1] Y X[0,1]) 2))"
    )
    assert found.disjuncts[0].atoms[0].products == ((((False, 1), (False, 1), (True, 0)), F(-1)),)
