"""Constraints between inputs, and between inputs and outputs: what they mean, and questions about outputs alone."""

from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.vnnlib import parse_vnnlib
from admm_verify.sets.exact_cut import Inequality
from tests.properties.texts import flat, network, only

F = Fraction
SUM = ((0, F(1)), (1, F(1)))
RNG = np.random.default_rng(1)
NET = network_from_layers([RNG.standard_normal((5, 2)), RNG.standard_normal((2, 5))], [np.zeros(5), np.zeros(2)])
BOX = av.Box(np.zeros(2), np.ones(2))


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("(<= (+ X_0 X_1) 1)", [(SUM, F(-1), False)]),
        ("(> 1 (+ X_0 X_1))", [(SUM, F(-1), True)]),
        ("(>= X_0 X_1)", [(((0, F(-1)), (1, F(1))), F(0), False)]),
        ("(== (+ X_0 X_1) 0.1)", [(SUM, F(-1, 10), False), (((0, F(-1)), (1, F(-1))), F(1, 10), False)]),
        ("(<= (+ X_0 X_1) 2)", []),
        ("(<= (+ X_0 X_1 (* -1 X_1)) 0.5)", []),
    ],
)
def test_couplings_are_rows_of_a_cut_where_they_bind(condition: str, rows: list) -> None:
    for found in (
        only(flat(condition, inputs=2)),
        only(network(condition.replace("X_", "X[0,").replace("X[0,0", "X[0,0]").replace("X[0,1", "X[0,1]"))),
    ):
        cut = found.cut
        assert ([] if cut is None else list(cut.rows)) == [Inequality(*row) for row in rows]


def test_alternatives_share_boxes_and_cuts() -> None:
    text = flat(
        "(or (<= Y_0 0) (and (<= X_0 X_1) (<= Y_1 0)) (and (<= X_0 X_1) (>= Y_1 9)))", "(<= (+ X_0 X_1) 1)", inputs=2
    )
    first, second, third = parse_vnnlib(text).disjuncts
    assert first.box is second.box is third.box
    assert first.cut is not None and len(first.cut.rows) == 1
    assert second.cut is not None and len(second.cut.rows) == 2
    holds = [(0.25, 0.5), (0.5, 0.25), (0.75, 0.75)]
    assert [first.admits(tuple(map(F, x))) for x in holds] == [True, True, False]
    assert [second.admits(tuple(map(F, x))) for x in holds] == [True, False, False]


def test_not_equal_is_a_choice() -> None:
    ways = parse_vnnlib(flat("(!= (+ X_0 X_1) 1)", "(<= Y_0 0)", inputs=2)).disjuncts
    assert [way.cut.rows[0].strict for way in ways if way.cut is not None] == [True, True]
    assert not any(way.admits((F(1, 2), F(1, 2))) for way in ways)


def test_a_coupling_that_holds_nowhere_leaves_no_disjunct_and_says_where_it_stands() -> None:
    found = parse_vnnlib(flat("(<= (+ X_0 X_1) -0.5)", "(<= Y_0 0)", inputs=2))
    assert not found.disjuncts and "line 7 holds nowhere" in found.impossible
    strict = parse_vnnlib(flat("(< (+ X_0 X_1) 0)", inputs=2))
    assert not strict.disjuncts
    assert len(parse_vnnlib(flat("(or (<= (+ X_0 X_1) -0.5) (<= Y_0 0))", inputs=2)).disjuncts) == 1


@pytest.mark.parametrize("condition", ["y0 >= x0 + 1", "2*y1 - x1 < 0.5 - y0 and x0 + x1 <= 1", "y0 == x1 or x0 != y1"])
def test_questions_about_outputs_alone_are_the_same(condition: str) -> None:
    query = av.query(NET, BOX, condition)
    posed = query.about_outputs()
    assert posed.asked is query and posed.network.output_size > 2
    for x in RNG.uniform(0.0, 1.0, (50, 2)).astype(np.float32):
        point = tuple(Fraction(float(value)) for value in x)
        y = [Fraction(float(value)) for value in NET(x)]
        both = [Fraction(float(value)) for value in posed.network(x)]
        assert both[:2] == y
        assert query.accepts(point, y) == posed.accepts(point, both)


def test_a_question_about_outputs_is_left_as_it_is() -> None:
    query = av.query(NET, BOX, "x0 + x1 <= 1 and y0 <= 0")
    assert query.about_outputs().property.disjuncts[0].atoms[0].inputs == ()


def test_comparisons_with_inputs_are_none_of_scores() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softmax(dim=-1))
    classifier = av.trace(module, torch.zeros(1, 2))
    assert av.verify(av.query(classifier, BOX, "y0 >= x0 + 1.01 and x0 >= 0"), timeout=20).verdict is av.Verdict.UNSAT
    found = av.verify(av.query(classifier, BOX, "y0 >= x0"), timeout=20)
    x = found.counterexample.reshape(1, -1)
    assert found.verdict is av.Verdict.SAT and classifier(x)[0, 0] >= x[0, 0]
