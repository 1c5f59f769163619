"""Conditions written in Python: the same properties as in VNN-LIB files, or one sentence with the column."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.vnnlib import parse_vnnlib

RNG = np.random.default_rng(0)
NET = network_from_layers([RNG.standard_normal((6, 2)), RNG.standard_normal((3, 6))], [np.zeros(6), np.zeros(3)])
BOX = av.Box(np.array([-0.5, 0.0]), np.array([0.25, 1.0]))

DECLARED = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "Y_0", "Y_1", "Y_2"))
BOUNDED = "(assert (>= X_0 -0.5))(assert (<= X_0 0.25))(assert (>= X_1 0))(assert (<= X_1 1))"

SAME = {
    "y0 <= y1": "(assert (<= Y_0 Y_1))",
    "Y_0<=Y_1 and y[2] > 0.1": "(assert (and (<= Y_0 Y_1) (> Y_2 0.1)))",
    " y0 <= y1\n  or y0 <= y2 ": "(assert (or (<= Y_0 Y_1) (<= Y_0 Y_2)))",
    "y0 <= y1 or y1 < y2 and y0 == 1": "(assert (or (<= Y_0 Y_1) (and (< Y_1 Y_2) (== Y_0 1))))",
    "(y0 <= y1 or y1 < y2) and y0 != 1": "(assert (and (or (<= Y_0 Y_1) (< Y_1 Y_2)) (!= Y_0 1)))",
    "-1.5 <= y0 < 2*y1": "(assert (and (<= -1.5 Y_0) (< Y_0 (* 2 Y_1))))",
    "2*(y0 - y1) + 0.1 - y2 + y2 >= -(3e-2 + y1*-4)": "(assert (>= (+ (* 2 (- Y_0 Y_1)) 0.1) (- (+ 3e-2 (* Y_1 -4)))))",
    "0.1 <= x0 and x1 < 0.7 and y0 <= 0": "(assert (and (<= 0.1 X_0) (< X_1 0.7) (<= Y_0 0)))",
    "x0 <= 0.1 and y0 <= 0 or x[1] >= 0.9": "(assert (or (and (<= X_0 0.1) (<= Y_0 0)) (>= X_1 0.9)))",
    "1 < 2": "(assert (< 1 2))",
    "x0 + x1 <= 0.5 and y0 <= 0": "(assert (and (<= (+ X_0 X_1) 0.5) (<= Y_0 0)))",
    "x0 == x1": "(assert (== X_0 X_1))",
    "2*x0 > x1 or x0 - x1 != 0.25 and y0 < 1": "(assert (or (> (* 2 X_0) X_1) (and (!= (- X_0 X_1) 0.25) (< Y_0 1))))",
    "y0 >= x0 + 1 and y1 - x1 != x0": "(assert (and (>= Y_0 (+ X_0 1)) (!= (- Y_1 X_1) X_0)))",
    "y0 < 1or y1 < 2": "(assert (or (< Y_0 1) (< Y_1 2)))",
}


@pytest.mark.parametrize("condition", SAME)
def test_a_query_in_python_is_that_of_the_file(condition):
    read = parse_vnnlib(DECLARED + BOUNDED + SAME[condition])
    assert av.query(NET, BOX, condition).property == read


def test_bounds_may_stand_in_the_condition_as_decimals():
    found = av.query(NET, None, "0.1 <= x0 <= 0.3 and 0 <= x1 <= 1 and y0 <= y1").property
    assert found == parse_vnnlib(
        DECLARED + "(assert (and (<= 0.1 X_0) (<= X_0 0.3) (<= 0 X_1) (<= X_1 1) (<= Y_0 Y_1)))"
    )
    assert found.disjuncts[0].box.lower[0] == Fraction(1, 10)


def test_what_never_holds_has_no_disjunct_and_says_why():
    assert "does not hold" in av.query(NET, BOX, "2 < 1").property.impossible


def test_entries_have_the_axes_of_the_network():
    graph = network_from_layers([np.eye(1)], [np.zeros(1)])
    assert av.query(graph, av.Box(np.zeros(1), np.ones(1)), "y > 2 and x < 0.5").property.disjuncts
    torch = pytest.importorskip("torch")
    image = av.trace(torch.nn.Conv2d(2, 1, 2), torch.zeros(1, 2, 3, 3))
    box = av.Box(np.zeros((2, 3, 3)), np.ones((2, 3, 3)))
    assert av.query(image, box, "y[0,1,0] > x[1,2,0] - x[1,2,0]").property == av.query(image, box, "y2 > 0").property
    with pytest.raises(av.QueryError, match=r"output has shape \[1, 2, 2\]"):
        av.query(image, box, "y[1,0,0] > 0")


REFUSED = {
    "": "column 1: this is no condition",
    "y0": "conditions are comparisons",
    "y0 = y1": "column 4: .*write == instead of =",
    "y0 < y1 & y1 < y2": "column 6: .*join conditions by and, or",
    "not y0 < y1": "the opposite comparison",
    "y0 in y1": "comparisons are",
    "y0/2 < 1": "multiply by a decimal",
    "y0**0.5 < 1": "exponents are whole numbers from 1 to 16",
    "y0**17 < 1": "exponents are whole numbers",
    "(y0*y1)**9 < 1": "column 1: .*degree 18",
    "y3 < 1": r"found 'y3'; the network's output has shape \[3\]",
    "y < 1": "counted from 0",
    "y[-1] < 1": "as a variable",
    "z0 < 1": "as a variable",
    "y0 < 1_000": "no number",
    "y0 < True": "where a number",
    "y0 < 'a'": "where a number",
    "y0 < max(y1, y2)": r"found 'max\(y1, y2\)'",
    "y0 \N{LESS-THAN OR EQUAL TO} y1": "column 4: found",
    "y0 < 1 # y1 < 2": "found '#'",
    "y0 <= y1) or (y1 <= y2": "no condition",
    "(" * 150 + "y0 <= y1": "no condition|nested deeper",
    "y0 < " + "-" * 150 + "1": "nested deeper",
    "y0" + " + y1" * 20_000 + " < 1": "a sum of thousands of terms",
    "x0 > 3 and y0 < 1": "the input set is empty",
    "y0 < 1 and x0 + x2 < 1": r"column 17: found 'x2'; the network's input has shape \[2\]",
    "x0 + 1e400*x1 < 1": "column 6: .*exponent",
}


@pytest.mark.parametrize("condition", REFUSED)
def test_what_is_no_condition_is_refused_with_its_column(condition):
    with pytest.raises(av.QueryError, match=REFUSED[condition]) as caught:
        av.query(NET, BOX, condition)
    assert "\n" not in str(caught.value)


def test_other_things_than_a_network_a_box_and_text_are_refused():
    others: list[Any] = [None, 3, ["y0 < 1"], b"y0 < 1"]
    array: Any = np.zeros(2)
    for wrong in others:
        with pytest.raises(av.InputError, match="give text"):
            av.query(NET, BOX, wrong)
    with pytest.raises(av.InputError, match=r"av\.Box"):
        av.query(NET, array, "y0 < 1")
    with pytest.raises(av.InputError, match="2 rows"):
        av.query(NET, av.Box.around(np.zeros((2, 2)), 0.1), "y0 < 1")
    with pytest.raises(av.QueryError, match="no lower bound"):
        av.query(NET, None, "y0 < 1")
    with pytest.raises(av.AdmmVerifyError):
        av.query(others[0], BOX, "y0 < 1")


def test_it_is_verified_like_any_other():
    assert av.verify(av.query(NET, BOX, "y0 >= 1000")).verdict is av.Verdict.UNSAT
    found = av.verify(av.query(NET, BOX, "y0 > -1000 and x0 < 0"))
    assert found.verdict is av.Verdict.SAT and found.counterexample is not None and found.counterexample[0] < 0
