"""What is often written instead of VNN-LIB: the message says how to write it."""

import pytest

from admm_verify.properties.vnnlib import parse_vnnlib
from tests.properties.texts import check_refused, flat, network, only

V2 = "(vnnlib-version <2.0>)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (network("(<= Y[0] 0)").replace("<2.0>", "2.0"), "'2.0' without its brackets|write (vnnlib-version <2.0>)"),
        (network("(<= Y[0] 0)").replace("<2.0>", '"2.0"'), "without its brackets|write (vnnlib-version <2.0>)"),
        (network("(<= Y[0] 0)").replace("<2.0>", "<2>"), "another form|write (vnnlib-version <2.0>)"),
        (network("(<= Y[0] 0)").replace("<2.0>", "two"), "another form|write (vnnlib-version <2.0>)"),
        (flat("(Y_0 <= 1)"), "operators come first: write (<= Y_0 1)"),
        (flat("Y_0 <= 1"), "operators come first: write (<= Y_0 1)"),
        (flat("(<= Y_0 + 1 2)"), "operators come first: write (+ Y_0 1)"),
        (flat("(<= (Y_0 + 1) 2)"), "operators come first: write (+ Y_0 1)"),
        (flat("(<= (Y_0 + Y_1 + 1) 2)"), "operators come first: write (+ Y_0 Y_1 1)"),
        (flat("(<= (2 * Y_0 + Y_1) 2)"), "operators come first: write (+ (* 2 Y_0) Y_1)"),
        (flat("((<= Y_0 1) and (<= Y_1 1))"), "operators come first: write (and (<= Y_0 1) (<= Y_1 1))"),
        (flat("(0 <= Y_0 <= 1)"), "write (and (<= 0 Y_0) (<= Y_0 1))"),
        (flat("(<= 0 Y_0 1)"), "exactly two; write (and (<= 0 Y_0) (<= Y_0 1))"),
        (flat("(not (<= Y_0 1))"), "opposite comparison"),
        (flat("(=> (<= Y_0 1) (<= Y_1 1))"), "no implication: write (or"),
        (flat("(AND (<= Y_0 1) (<= Y_1 1))"), "write and in lower case"),
        (flat("(\u2264 Y_0 1)"), "write <="),
        (flat("(<= Y_0 (/ 1 3))"), "no division: multiply"),
        (flat("(<= Y_0 1,5)"), "decimals have a point"),
        (flat("(<= Y[0] 1)"), "VNN-LIB 1.0 writes Y_0"),
        (network("(<= Y_0 1)"), "VNN-LIB 2.0 writes Y[0]"),
        (flat("(<= Y_0 1)") + "(check-sat)", "(check-sat ...)|SMT-LIB, so leave it out"),
        (V2 + "(declare-fun X_0 () Real)", "VNN-LIB 1.0 file has no version form"),
        ("(declare-fun X_0 (Real) Real)", "X_i Real"),
    ],
)
def test_the_message_names_the_mend(text: str, words: str) -> None:
    check_refused(text, words)


def test_functions_of_nothing_are_constants() -> None:
    text = flat("(<= Y_0 0)", inputs=2)
    functions = text.replace("declare-const", "declare-fun").replace(" Real)", " () Real)")
    assert parse_vnnlib(functions) == parse_vnnlib(text) and only(functions).atoms
