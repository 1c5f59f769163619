"""Queries made in memory: their properties are ones of the network they speak about, or are refused in one line."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.vnnlib import parse_vnnlib
from admm_verify.sets.exact import ExactBox
from tests.properties.texts import flat

F = Fraction
NET = network_from_layers([np.array([[1.0, 1.0], [1.0, -1.0]]), np.eye(2)], [np.zeros(2), np.zeros(2)])
BOX = ExactBox((F(0), F(0)), (F(1), F(1)))
ATOM = Atom(((0, F(1)),), F(-1, 2), False)


def property_of(box=BOX, atoms=(ATOM,), kind="real", sizes=((2,), (2,))):
    inputs, outputs = (Variable(name, kind, size) for name, size in zip("XY", sizes, strict=True))
    declared = NetworkDeclaration("f", (inputs,), (outputs,))
    return Property((2, 0), (declared,), (Disjunct(box, atoms),))


WRONG = {
    "empty at input 1": property_of(replace(BOX, lower=(F(0), F(2)))),
    "empty at input 0": property_of(replace(BOX, upper=(F(0), F(1)), strict_lower=frozenset({0}))),
    "strict ends of its box name 7": property_of(replace(BOX, strict_upper=frozenset({7}))),
    "1 lower ends": property_of(ExactBox((F(0),), (F(1),))),
    "3 lower ends": property_of(ExactBox((F(0),) * 3, (F(1),) * 3)),
    "box holds 0.5": property_of(replace(BOX, lower=(0.5, F(0)))),
    "box holds nan": property_of(replace(BOX, lower=(float("nan"), F(0)))),
    "give a tuple": property_of(ExactBox(np.zeros(2), np.ones(2))),
    "largest float64": property_of(replace(BOX, upper=(F(10) ** 400, F(1)))),
    "outputs of an atom name -1": property_of(atoms=(replace(ATOM, terms=((-1, F(1)),)),)),
    "outputs of an atom name 5": property_of(atoms=(replace(ATOM, terms=((5, F(1)),)),)),
    "atom holds 1.5": property_of(atoms=(replace(ATOM, terms=((0, 1.5),)),)),
    "atom holds inf": property_of(atoms=(replace(ATOM, constant=float("inf")),)),
    "atom holds a number beyond": property_of(atoms=(replace(ATOM, constant=-(F(10) ** 400)),)),
    "entry strict of an atom is 'no'": property_of(atoms=(replace(ATOM, strict="no"),)),
    "one of the atoms is None": property_of(atoms=(None,)),
    "the atoms are None": property_of(atoms=None),
    r"shape \[3\]": property_of(ExactBox((F(0),) * 3, (F(1),) * 3), sizes=((3,), (2,))),
    r"output Y with shape \[3\]": property_of(sizes=((2,), (3,))),
    "as float64": property_of(kind="float64"),
    "as float16": property_of(kind="float16"),
    "no networks": Property((2, 0), (), ()),
    "property of a query is None": None,
}


@pytest.mark.parametrize("words", WRONG)
def test_properties_that_are_none_of_the_network_are_refused(words):
    with pytest.raises(av.QueryError, match=words):
        av.Query("made", WRONG[words], NET)


def test_a_query_is_checked_again_when_a_part_of_it_is_replaced():
    query = av.Query("made", property_of(), NET)
    assert av.verify(query).verdict is av.Verdict.SAT
    other = network_from_layers([np.ones((2, 3))], [np.zeros(2)])
    with pytest.raises(av.QueryError, match="the network the query was written for"):
        replace(query, network=other)
    with pytest.raises(av.InputError, match="A Network is wanted"):
        replace(query, network="net.onnx")
    with pytest.raises(av.InputError, match="model"):
        replace(query, model="net.onnx")


def test_whole_numbers_and_lists_are_taken():
    found = property_of(ExactBox([0, 0], [1, 1]), [Atom(((0, 1),), 5, False)])
    assert av.verify(av.Query("made", found, NET)).verdict is av.Verdict.UNSAT


def test_thresholds_beyond_float32_are_decided():
    for threshold, verdict in (("-1e300", av.Verdict.UNSAT), ("1e300", av.Verdict.SAT)):
        query = av.Query("far", parse_vnnlib(flat(f"(<= Y_0 {threshold})", inputs=2)), NET)
        assert av.verify(query, settings=av.VerifySettings(certificate=True)).verdict is verdict
