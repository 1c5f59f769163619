import gzip
import os
import time
import tracemalloc
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product
from math import prod
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admm_verify.errors import QueryError, UnsupportedQueryError
from admm_verify.properties.property import Disjunct, InputBox
from admm_verify.properties.vnnlib import parse_vnnlib, read_property

SHARED = Path(__file__).parents[2] / os.environ.get("ADMM_VERIFY_SHARED", "../shared")
F = Fraction


def flat(*conditions: str, inputs: int = 1, unit_box: bool = True) -> str:
    """A VNN-LIB 1.0 text with two outputs; with unit_box, every input lies in [0, 1]."""
    lines = [f"(declare-const {name} Real)" for name in (*(f"X_{i}" for i in range(inputs)), "Y_0", "Y_1")]
    if unit_box:
        lines += [f"(assert (>= X_{i} 0)) (assert (<= X_{i} 1))" for i in range(inputs)]
    return "\n".join([*lines, *(f"(assert {condition})" for condition in conditions)])


def network(*conditions: str, x: str = "real [1,2]", y: str = "real [2]", extra: str = "") -> str:
    """A VNN-LIB 2.0 text in which X[0,0] and X[0,1] lie in [0, 1]."""
    lines = [f"(vnnlib-version <2.0>)\n(declare-network f (declare-input X {x}) {extra} (declare-output Y {y}))"]
    lines += [f"(assert (and (>= X[0,{i}] 0) (<= X[0,{i}] 1)))" for i in range(2)]
    return "\n".join([*lines, *(f"(assert {condition})" for condition in conditions)])


def only(text: str) -> Disjunct:
    (disjunct,) = parse_vnnlib(text).disjuncts
    return disjunct


def box(*conditions: str, inputs: int = 1) -> InputBox:
    return only(flat(*conditions, inputs=inputs, unit_box=False)).box


def check_refused(text: str, words: str, kind: type[QueryError] = QueryError) -> None:
    """The message has every one of the words, which "|" separates."""
    with pytest.raises(QueryError) as caught:
        parse_vnnlib(text, "my.vnnlib")
    message = str(caught.value)
    assert type(caught.value) is kind
    assert message.startswith("my.vnnlib: ") and message.endswith(".") and "\n" not in message and len(message) < 400
    assert [word for word in words.split("|") if word not in message] == [], message


def test_flat_declarations() -> None:
    found = parse_vnnlib(flat("(<= Y_0 Y_1)", inputs=3))
    (declared,) = found.networks
    assert (found.version, declared.name) == ((1, 0), "")
    assert [(v.name, v.element_type, v.shape) for v in declared.inputs] == [("X", "real", (3,))]
    assert [(v.name, v.element_type, v.shape) for v in declared.outputs] == [("Y", "real", (2,))]


def test_flat_declarations_in_any_order_and_between_assertions() -> None:
    text = "(declare-const Y_0 Real)(declare-const X_1 Real)(assert (and (<= 0 X_1) (<= X_1 1)))"
    assert only(text + "(declare-const X_0 Real)(assert (and (<= 2 X_0) (<= X_0 3)))").box.lower == (2, 0)


@pytest.mark.parametrize("minor", [0, 1, 17])
@pytest.mark.parametrize("element_type", ["real", "Real", "float16", "float32", "float64", "bfloat16", "Float32"])
def test_network_declaration(minor: int, element_type: str) -> None:
    text = network("(<= Y[0] 0)", x=f"{element_type} [1,2]", y=f"{element_type} [2]")
    found = parse_vnnlib(text.replace("<2.0>", f"<2.{minor}>"))
    (declared,) = found.networks
    assert (found.version, declared.name) == ((2, minor), "f")
    assert [(v.name, v.element_type, v.shape) for v in declared.inputs] == [("X", element_type.lower(), (1, 2))]
    assert [(v.name, v.element_type, v.shape) for v in declared.outputs] == [("Y", element_type.lower(), (2,))]


def test_scalars_and_row_major_indices() -> None:
    text = "(vnnlib-version <2.0>)(declare-network f (declare-input X real [2,3]) (declare-output Y real []))"
    text += "".join(f"(assert (and (>= X[{i},{j}] {i}.{j}) (<= X[{i},{j}] 9)))" for i in range(2) for j in range(3))
    disjunct = only(text + "(assert (<= Y 0.5))")
    assert disjunct.box.lower == tuple(F(s) for s in ("0", "0.1", "0.2", "1", "1.1", "1.2"))
    assert disjunct.atoms[0].terms == ((0, 1),)
    assert parse_vnnlib(text + "(assert (<= Y 0.5))").networks[0].outputs[0].shape == ()


def test_comments_whitespace_and_glued_operators() -> None:
    text = network("(<=(-Y[0] 1)(*2 Y[1]))").replace("X[0,1]", "X ; [9\n [ 0 ,;]\n\t1 ]") + "; (unbalanced"
    assert only(text).box.upper == (1, 1)
    assert only(text).atoms[0].terms == ((0, 1), (1, -2))


V2 = "(vnnlib-version <2.0>)"
SECOND = "(declare-network g (equal-to f) (declare-input A real [1,2]) (declare-output B real [2]))"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty or holds no assertion"),
        (" \n; only a comment", "empty or holds no assertion"),
        (flat(unit_box=False), "empty or holds no assertion"),
        ("(assert (<= 0 1)", "line 1, column 1|never closed|')'"),
        ("(declare-const X_0 Real)\n  )", "line 2, column 3|')'"),
        ("\nassert", "line 2, column 1|'assert'|outside of parentheses"),
        ("(check-sat)", "(check-sat ...)|(assert ...)|declare-const"),
        ("()", "without a leading word"),
        ('("open', "line 1, column 2|never closed"),
        ("(a , b)", "','|X[0,3]"),
        ("(a 1 ])", "']'"),
        ("(a [1)", "'['"),
        ("(assert \0)", "column 9|not a VNN-LIB text file"),
        (flat("(<= Y_0 Y\u00a0_1)"), "Y\\xa0_1"),
        (flat(f"(<= Y_0 {'Y' * 10**5})"), "YYY..."),
        # Versions
        ("(vnnlib-version 2.0)", "<2.0>"),
        (f"(vnnlib-version <2.{'1' * 5000}>)", "<2.0>"),
        (flat("(<= Y_0 0)") + V2, "line 5|very first form"),
        ("(declare-network f)", "opens by (vnnlib-version <2.0>)"),
        (V2 + "(declare-const X_0 Real)", "declare-const|declare-network"),
        # VNN-LIB 1.0 declarations
        (flat("(<= Y_0 0)", inputs=0), "X_0|no X is declared"),
        ("(declare-const X_0 Real)(assert (<= 0 1))", "Y_0|no Y is declared"),
        (flat("(<= Y_0 0)") + "(declare-const X_3 Real)", "X_1 is not declared|X_3"),
        ("(declare-const X_0 Real)(declare-const X_0 Real)", "column 25|X_0 is declared twice"),
        ("(declare-const Z_0 Real)", "X_i Real"),
        ("(declare-const X_01 Real)", "X_i Real"),
        ("(declare-const X_0 Int)", "X_i Real"),
        ("(declare-const X_0)", "X_i Real"),
        ("(assert (<= X_0 0))(declare-const X_0 Real)", "column 13|'X_0'|declare it before"),
        # VNN-LIB 2.0 declarations
        (V2 + "(assert (<= 0 1))", "declares no network"),
        (V2 + "(assert (<= X[0] 1))", "column 35|'X[0]'|declare it before"),
        (V2 + "(assert (<= 0 1))(declare-network f)", "declare-network after an assertion"),
        (V2 + "(declare-network f)", "0 inputs and 0 outputs"),
        (V2 + "(declare-network 2f)", "'2f'|names are letters"),
        (V2 + "(declare-network f-copy)", "'f-copy'"),
        (V2 + "(declare-network)", "as a name"),
        (network(extra="(declare-outputs Z real [1])"), "(declare-outputs ...)|declare-output"),
        (network(extra="Z"), "'Z'"),
        (network(extra="(equal-to g)"), "comes too late"),
        (V2 + "(declare-network f (equal-to g))", "'g'|declared before"),
        (V2 + "(declare-network f (isomorphic-to))", "0 names"),
        (network(extra="(declare-output X real [1])"), "X is declared twice"),
        (network(extra="(declare-output f real [1])"), "f is declared twice"),
        (network(extra="(declare-input Z real [1] [2])"), "'['"),
        (network(extra="(declare-input Z real [1] maybe)"), "write (declare-input name type [sizes])"),
        (network(extra="(declare-hidden H real [1])"), 'write (declare-hidden name type [sizes] "node")'),
        (network(extra="(declare-hidden H real [1] node)"), "'node'|double quotes"),
        (network(x="complex64 [1,2]"), "'complex64'|float32"),
        (network(x="real"), "without a shape|[] for a scalar"),
        (network(x="real [1,0]"), "[1, 0]|positive"),
        (network(x="real [1 2]"), "'1 2'|whole numbers"),
        (network(x="real [-1]"), "'-1'"),
        (network(y="float32 [2]"), "mixes float32 and real"),
        (network("(<= Y[2] 0)"), "line 5, column 13|index 2|goes to 1"),
        (network("(<= Y 0)"), "shape [2]|1 indices"),
        (network("(<= Y[0,0] 0)"), "1 indices"),
        (network("(<= Y[] 0)"), "1 indices"),
        (network("(<= Y[0] 0)", y="real []"), "no brackets"),
        (network("(<= Y[] 0)", y="real []"), "no brackets"),
        (network("(<= f 0)"), "'f'"),
    ],
)
def test_malformed(text: str, words: str) -> None:
    check_refused(text, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(vnnlib-version <3.1>)", "3.1|2.x"),
        (network().replace("\n(assert", SECOND + "\n(assert", 1), "line 2|g is a second network|SNET"),
        (network(extra="(declare-input Z real [1])"), "2 inputs and 1 outputs|SIO"),
        (network(extra="(declare-output Z real [1])"), "1 inputs and 2 outputs|SIO"),
        (network(extra='(declare-hidden H real [1,2] "a \\"node")'), "H is a hidden node|NH"),
        (network(x="real [1,2] initialized"), "line 2|X is marked initialized"),
        (network(x="int8 [1,2]"), "integer type int8|float32"),
        (network(y="UINT64 [2]"), "integer type UINT64"),
        (flat("(<= (* Y_0 Y_1) 0)"), "line 5, column 13|polynomial"),
        (flat("(<= (* Y_0 (+ 1 X_0)) 0)"), "polynomial"),
        (flat("(<= X_0 Y_0)"), "inputs (X_0) with outputs"),
        (flat("(<= (+ X_0 X_1) 0)", inputs=2), "several inputs (X_0, X_1)"),
        (flat("(== X_0 X_1)", inputs=2), "several inputs"),
        (flat("(!= (* 2 X_0) 0.5)"), "!= on the input X_0"),
        (network("(!= X[0,1] 0.5)"), "!= on the input X[0,1]"),
    ],
)
def test_unsupported(text: str, words: str) -> None:
    check_refused(text, words, UnsupportedQueryError)


@pytest.mark.parametrize("text", ["(" * 10**6, ")" * 10**6, "(a[" * 10**6, '"' * (10**6 + 1), ";\n" * 10**6])
def test_hostile_text_fails_fast(text: str) -> None:
    start = time.perf_counter()
    check_refused(text, "")
    assert time.perf_counter() - start < 2


def test_nesting_limit() -> None:
    def nested(depth: int) -> str:
        return flat("(and " * (depth - 2) + "(<= Y_0 0)" + ")" * (depth - 2))

    assert only(nested(100)).atoms
    check_refused(nested(101), "line 5, column 504|deeper than 100")


def test_token_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = len(flat("(<= Y_0 0)").replace("(", " ( ").replace(")", " ) ").split())
    monkeypatch.setattr("admm_verify.properties.sexpr.MAX_TOKENS", tokens)
    assert only(flat("(<= Y_0 0)")).atoms
    check_refused(flat("(<= Y_0 0)", "(<= Y_1 0)"), f"line 6, column 1|more than {tokens} words")


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("0", F(0)),
        ("-0.0", F(0)),
        ("+1.5", F(3, 2)),
        (".5", F(1, 2)),
        ("1.", F(1)),
        ("1e-3", F(1, 1000)),
        ("-2.5E+2", F(-250)),
        ("0.10000000000000000555111512312", F("0.10000000000000000555111512312")),
        ("123456789012345678901234567890", F(123456789012345678901234567890)),
        ("1e300", F(10**300)),
        ("1e-0300", F(1, 10**300)),
    ],
)
def test_numbers_are_read_exactly(literal: str, value: Fraction) -> None:
    assert box(f"(<= X_0 {literal})", "(>= X_0 -1e9)").upper == (value,)
    assert only(network(f"(<= Y[0] {literal})")).atoms[0].constant == -value


@pytest.mark.parametrize(
    ("literal", "words"),
    [
        ("1" * 31, "31 digits|at most 30|17"),
        ("0." + "0" * 30, "31 digits"),
        ("1" * 5000, "5000 digits"),
        ("1e301", "exponent|300"),
        ("1e-301", "exponent|300"),
        ("1e" + "9" * 5000, "exponent"),
        ("999999999e300", "float64"),
        ("nan", "finite"),
        ("-inf", "finite"),
        ("Infinity", "finite"),
        ("1.2.3", "'1.2.3'|no number"),
        ("1e", "no number"),
        ("0x10", "no number"),
        ("\u0661", "neither a number nor declared"),
    ],
)
@pytest.mark.parametrize("name", ["X_0", "Y_0", "(- X_0)"])
def test_numbers_refused(name: str, literal: str, words: str) -> None:
    check_refused(flat(f"(<= {name} {literal})"), f"line 5, column|{words}")


@pytest.mark.parametrize(
    ("expression", "terms", "constant"),
    [
        ("Y_0", {0: 1}, 0),
        ("(- Y_1)", {1: -1}, 0),
        ("(- 5 Y_0 Y_1)", {0: -1, 1: -1}, 5),
        ("(+ Y_0 5 Y_0)", {0: 2}, 5),
        ("(+ Y_0)", {0: 1}, 0),
        ("(* 2 (+ Y_0 3) 0.5)", {0: 1}, 3),
        ("(- (+ Y_1 5) (+ Y_0 2))", {0: -1, 1: 1}, 3),
        ("(* (- Y_0 Y_0 2) Y_1)", {1: -2}, 0),
        ("(+ (* 0.1 Y_0) (* 0.2 Y_0) (* -0.3 Y_0) Y_1)", {1: 1}, 0),
        ("(* (* -1 (- Y_0 1)) (- 4))", {0: 4}, -4),
        ("(+ Y_0 (- X_0 X_0))", {0: 1}, 0),
    ],
)
@pytest.mark.parametrize("sign", ["<=", "<", ">=", ">"])
def test_folding(expression: str, terms: dict[int, int], constant: int, sign: str) -> None:
    (atom,) = only(flat(f"({sign} {expression} 7)")).atoms
    direction = 1 if sign in ("<", "<=") else -1
    assert dict(atom.terms) == {index: direction * coefficient for index, coefficient in terms.items()}
    assert atom.constant == direction * (constant - 7)
    assert atom.strict == (sign in ("<", ">"))


@pytest.mark.parametrize("sign", ["==", "="])
def test_equal_outputs(sign: str) -> None:
    atoms = only(flat(f"({sign} Y_0 3)")).atoms
    assert [(a.terms, a.constant, a.strict) for a in atoms] == [(((0, 1),), -3, False), (((0, -1),), 3, False)]


def test_unequal_outputs() -> None:
    (below,), (above,) = (disjunct.atoms for disjunct in parse_vnnlib(flat("(!= Y_0 3)")).disjuncts)
    assert (below.terms, below.constant, below.strict) == (((0, 1),), -3, True)
    assert (above.terms, above.constant, above.strict) == (((0, -1),), 3, True)


def test_line_of_atoms() -> None:
    text = flat("(or\n (<= Y_0\n 0)\n\n (>= Y_1 0))") + "\n" * 9000 + "(assert\n(<= Y_0 9))"
    lines = [[atom.line for atom in disjunct.atoms] for disjunct in parse_vnnlib(text).disjuncts]
    assert lines == [[9010, 6], [9010, 9]]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("(<= Y_0)", "'<=' with 1 operands|exactly two"),
        ("(<= Y_0 1 2)", "3 operands"),
        ("(<= Y_0 (+))", "(+ ...)"),
        ("(<= Y_0 (/ 1 3))", "(/ ...)"),
        ("(<= Y_0 ())", "without a leading word"),
        ("(<= Y_0 (<= 1 2))", "(<= ...)"),
        ("(<= Y_0 Y_2)", "'Y_2'|declare it before"),
        ("(<= Y_0 Y[0])", "'Y[0]'"),
        ("(and)", "empty (and)"),
        ("(or)", "empty (or)"),
        ("(not (<= Y_0 0))", "(not ...)|(or ...)"),
        ("Y_0", "'Y_0'"),
        ("(+ Y_0 1)", "(+ ...)|condition"),
        ("(<= Y_0 0) (<= Y_1 0)", "2 conditions"),
        (f"(<= Y_0 (* {'1e300 ' * 100}))", "product"),
        ("(<= Y_0 (* 1e300 1e300))", "float64"),
    ],
)
def test_malformed_conditions(condition: str, words: str) -> None:
    check_refused(flat(condition), f"line 5, column|{words}")


@pytest.mark.parametrize(
    ("conditions", "lower", "upper", "strict"),
    [
        (["(>= X_0 1)", "(<= X_0 2)"], 1, 2, ""),
        (["(< 1 X_0)", "(> 2 X_0)"], 1, 2, "lower upper"),
        (["(== X_0 1)"], 1, 1, ""),
        (["(= (* 3 X_0) 1)"], F(1, 3), F(1, 3), ""),
        (["(>= (* -4 X_0) 2)", "(< (- X_0) 7)"], -7, F(-1, 2), "lower"),
        (["(<= (+ X_0 X_0 X_0) (- X_0 2))", "(<= -5 X_0)"], -5, -1, ""),
        (["(>= X_0 1)", "(> X_0 0)", "(<= X_0 3)", "(<= X_0 2)", "(< X_0 4)"], 1, 2, ""),
        (["(>= X_0 1)", "(> X_0 1)", "(>= X_0 1)", "(< X_0 2)", "(<= X_0 2)"], 1, 2, "lower upper"),
        (["(> X_0 0)", "(or (and (>= X_0 1) (<= X_0 2)))"], 1, 2, ""),
        (["(or (<= X_0 2) (<= 2 1))", "(>= X_0 1)", "(<= 0 1)"], 1, 2, ""),
    ],
)
def test_input_bounds(conditions: list[str], lower: Fraction, upper: Fraction, strict: str) -> None:
    ends = (frozenset({0} if end in strict else ()) for end in ("lower", "upper"))
    assert box(*conditions) == InputBox((lower,), (upper,), *ends)


def test_bounds_inside_or_cut_the_outer_box() -> None:
    choice = "(and (<= X_0 0.5) (<= Y_0 1)) (<= X_0 0.50) (>= X_1 0.25) (< X_0 0.5) (<= X_0 9) (<= Y_1 0)"
    found = parse_vnnlib(flat(f"(or {choice})", "(< X_0 1)", "(> X_1 0)", inputs=2))
    boxes = [disjunct.box for disjunct in found.disjuncts]
    assert boxes[0] is boxes[1] and boxes[4] is boxes[5]
    assert boxes[0] == InputBox((F(0), F(0)), (F(1, 2), F(1)), frozenset({1}), frozenset())
    assert boxes[2] == InputBox((F(0), F(1, 4)), (F(1), F(1)), frozenset(), frozenset({0}))
    assert boxes[3] == InputBox((F(0), F(0)), (F(1, 2), F(1)), frozenset({1}), frozenset({0}))
    assert boxes[4] == InputBox((F(0), F(0)), (F(1), F(1)), frozenset({1}), frozenset({0}))


def test_boxes_and_atoms_are_shared_in_a_product() -> None:
    regions = "(or (<= X_0 0.25) (>= X_0 0.75))"
    found = parse_vnnlib(flat(regions, "(or (<= Y_0 0) (<= Y_1 0) (<= Y_0 Y_1))", "(<= Y_0 5)"))
    assert len(found.disjuncts) == 6
    assert len({id(disjunct.box) for disjunct in found.disjuncts}) == 2
    assert len({id(disjunct.atoms[0]) for disjunct in found.disjuncts}) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (flat("(<= Y_0 0)", unit_box=False), "X_0 has no lower bound"),
        (flat("(<= Y_0 0)", "(>= X_0 0)", unit_box=False), "X_0 has no upper bound"),
        (flat("(or (and (<= X_0 1) (>= X_0 0)) (<= X_0 1))", unit_box=False), "X_0 has no lower|every alternative"),
        (network("(<= Y[0] 0)", x="real [3,2]"), "X[1,0] has no lower bound"),
        (network("(<= Y[0] 0)", x=f"real [{10**17},{10**17}]"), "X[0,2] has no lower bound"),
        (flat("(<= X_0 -0.5)"), "line 5, column 9|X_0 has lower > upper|0 on line 4|-0.5 on line 5"),
        (network("(< 1.5 X[0,1])"), "X[0,1] has lower > upper|1.5|1 on line 4"),
        (flat("(or (<= X_0 -1) (>= X_0 2))"), "X_0 has lower > upper|-1"),
        (flat("(< X_0 0)"), "X_0 has equal bounds, of which one is strict"),
    ],
)
def test_unusable_input_sets(text: str, words: str) -> None:
    check_refused(text, words)


@pytest.mark.parametrize(
    ("conditions", "disjuncts"),
    [
        (["(<= 1 0)"], 0),
        (["(!= 1 (+ 0.5 0.5))"], 0),
        (["(== 1 1)", "(>= 1 1)", "(= 0 0)", "(> 1 0)"], 1),
        (["(or (<= 1 0) (< 0 0))", "(or (<= Y_0 0) (<= Y_1 0))"], 0),
        (["(or (<= 1 0) (<= Y_0 0) (and (<= Y_0 1) (== 0 1)))"], 1),
        (["(or (<= X_0 -1) (> 0 0))"], 0),
        (["(or (<= X_0 -1) (<= Y_0 0))"], 1),
        (["(or (!= Y_0 0) (and (!= Y_1 0) (!= Y_1 1)))"], 6),
    ],
)
def test_number_of_disjuncts(conditions: list[str], disjuncts: int) -> None:
    assert len(parse_vnnlib(flat(*conditions)).disjuncts) == disjuncts


def test_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = "(or (<= Y_0 0) (<= Y_1 0))"
    start = time.perf_counter()
    check_refused(flat(*[choice] * 17), "131072 disjuncts|100000|Split", UnsupportedQueryError)
    check_refused(flat(*[choice] * 5000), f"more than {10**15} disjuncts", UnsupportedQueryError)
    check_refused(flat(*["(<= Y_0 0)"] * 400, *[choice] * 16), "65536 disjuncts|constraints", UnsupportedQueryError)
    assert time.perf_counter() - start < 2
    monkeypatch.setattr("admm_verify.properties.dnf.MAX_BOX_ENTRIES", 2)
    assert len(parse_vnnlib(flat("(or (<= X_0 0.5) (>= X_0 0.5))")).disjuncts) == 2
    check_refused(flat("(or (<= X_0 0.5) (<= X_0 0.7) (<= X_0 0.6))"), "different boxes", UnsupportedQueryError)


# A condition as a nested tuple: ("and" | "or", conditions) or (comparison, expression, expression), an expression being
# ("x" | "y", index), a Fraction, or ("+" | "-" | "*", expressions).
GRID = st.integers(-4, 4).map(lambda quarters: F(quarters, 4))
HALVES = st.integers(0, 2).map(lambda halves: F(halves, 2))
LINEAR = st.recursive(
    st.tuples(st.just("y"), st.integers(0, 1)) | GRID,
    lambda part: (
        st.tuples(st.sampled_from("+-"), st.lists(part, min_size=1, max_size=3))
        | st.tuples(st.just("*"), st.tuples(GRID, part) | st.tuples(part, GRID))
    ),
    max_leaves=5,
)
COMPARISON = st.sampled_from(["<=", "<", ">=", ">", "=="])
INPUT = st.tuples(st.just("x"), st.integers(0, 1))
BOUND = st.tuples(COMPARISON, INPUT, HALVES) | st.tuples(
    COMPARISON, st.tuples(st.just("*"), st.tuples(GRID, INPUT)), GRID
)
CONDITION = st.recursive(
    BOUND | BOUND | st.tuples(COMPARISON | st.just("!="), LINEAR, LINEAR),
    lambda part: st.tuples(st.sampled_from(["and", "or"]), st.lists(part, min_size=1, max_size=3)),
    max_leaves=8,
)
COMPARE = {"<=": le, "<": lt, ">=": ge, ">": gt, "==": eq, "!=": ne}


def written(part: Any, version: int) -> str:
    if isinstance(part, Fraction):
        return str(float(part))
    head, rest = part[0], part[1:]
    if head in ("x", "y"):
        return f"{head.upper()}_{rest[0]}" if version == 1 else f"{head.upper()}[{'0,' * (head == 'x')}{rest[0]}]"
    operands = rest if head in COMPARE else rest[0]
    return f"({head} {' '.join(written(operand, version) for operand in operands)})"


def value(part: Any, x: Sequence[Fraction], y: Sequence[Fraction]) -> Any:
    if isinstance(part, Fraction):
        return part
    head, rest = part[0], part[1:]
    if head in ("x", "y"):
        return (x if head == "x" else y)[rest[0]]
    values = [value(operand, x, y) for operand in (rest if head in COMPARE else rest[0])]
    if head in COMPARE:
        return COMPARE[head](*values)
    if head == "-":
        return values[0] - sum(values[1:]) if len(values) > 1 else -values[0]
    return {"and": all, "or": any, "+": sum, "*": prod}[head](values)


@given(
    conditions=st.lists(CONDITION, min_size=1, max_size=3),
    outputs=st.lists(st.tuples(GRID, GRID), min_size=1, max_size=4),
    version=st.sampled_from([1, 2]),
)
@settings(max_examples=200, deadline=None)
def test_disjuncts_mean_what_the_conditions_mean(conditions: list[Any], outputs: list[Any], version: int) -> None:
    texts = [written(condition, version) for condition in conditions]
    try:
        disjuncts = parse_vnnlib(flat(*texts, inputs=2) if version == 1 else network(*texts)).disjuncts
    except QueryError as error:
        assert "no input satisfies the assertions" in str(error)
        disjuncts = ()
    # The ends of bounds that strictness decides about, the middle, and points outside of the unit box.
    for x in product((F(0), F(1, 2), F(3, 4), F(1), F(5, 4)), repeat=2):
        for y in outputs:
            expected = all(0 <= entry <= 1 for entry in x) and all(value(condition, x, y) for condition in conditions)
            assert any(disjunct.holds(x, y) for disjunct in disjuncts) == expected


@pytest.mark.parametrize("name", ["query.vnnlib", "query.vnnlib.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_plain_or_compressed_whatever_their_name(tmp_path: Path, name: str, pack: Callable) -> None:
    text = flat("(<= Y_0 0)")
    for content in (text, "\ufeff" + text, text.replace("\n", "\r\n") + "; \u00e9"):
        (tmp_path / name).write_bytes(pack(content.encode()))
        assert read_property(tmp_path / name) == read_property(str(tmp_path / name)) == parse_vnnlib(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty or holds no assertion"),
        (b"\x1f\x8b", "truncated or corrupt"),
        (gzip.compress(b"(assert (<= 0 1))")[:-9], "truncated or corrupt"),
        (gzip.compress(b"(assert (<= 0 1))")[:12] + b"\xff" * 20, "truncated or corrupt"),
        (gzip.compress(b"(assert (<= 0 1))")[:-4] + b"abcd", "truncated or corrupt"),
        (gzip.compress(b"(assert (<= 0 1))") + b"rest", "truncated or corrupt"),
        (b"\x7fELF\x80\x00", "not a VNN-LIB text file|byte 4"),
        (b"\x08\x00\x12\x07", "not a VNN-LIB text file"),
        ("(assert)".encode("utf-16"), "not a VNN-LIB text file"),
        (b"(assert (<= X_0 0))", "line 1, column 13"),
    ],
)
def test_unreadable_content(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "query.vnnlib"
    path.write_bytes(content)
    with pytest.raises(QueryError) as caught:
        read_property(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert all(word in str(caught.value) for word in words.split("|")), caught.value


def test_unreadable_paths(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, words in [("missing", "no such file"), ("", "folder"), ("file/below", "cannot be read"), ("\0", "read")]:
        with pytest.raises(QueryError, match=words):
            read_property(os.path.join(tmp_path, path))


def test_large_files_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admm_verify.properties.vnnlib.MAX_BYTES", 2**21)
    content = flat("(<= Y_0 0)").encode().ljust(2**21)
    (tmp_path / "fits").write_bytes(gzip.compress(content))
    assert read_property(tmp_path / "fits").disjuncts
    for data in (content + b" ", gzip.compress(content + b" "), gzip.compress(bytes(2**26))):
        (tmp_path / "large").write_bytes(data)
        tracemalloc.start()
        with pytest.raises(QueryError, match="larger than 2 MiB"):
            read_property(tmp_path / "large")
        assert tracemalloc.get_traced_memory()[1] < 2**23
        tracemalloc.stop()


def test_large_queries_are_read_fast() -> None:
    entries = 3072
    lines = [f"(declare-const X_{i} Real)" for i in range(entries)] + ["(declare-const Y_0 Real)"]
    lines += [f"(assert (<= X_{i} 0.{i}5))\n(assert (>= X_{i} -0.{i}5))" for i in range(entries)]
    start = time.perf_counter()
    found = parse_vnnlib("\n".join([*lines, "(assert (<= Y_0 0))"]))
    # A tenth of a second on an idle core; the slack is for a busy machine.
    assert time.perf_counter() - start < 1
    assert len(found.disjuncts[0].box.lower) == entries


@pytest.fixture(scope="module")
def shared_files() -> list[Path]:
    files = sorted(SHARED.rglob("*.vnnlib.gz"))
    if not files:
        pytest.skip(f"no .vnnlib.gz below {SHARED}; set ADMM_VERIFY_SHARED to the shared data set")
    return files


@pytest.mark.data
def test_shared_files_are_read(shared_files: list[Path]) -> None:
    for path in shared_files:
        found = read_property(path)
        assert found.version == (1, 0) and found.disjuncts
        assert len(found.disjuncts[0].box.lower) == found.networks[0].inputs[0].size


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "disjuncts", "atoms", "boxes"),
    [
        ("acasxu/vnnlib/prop_2.vnnlib.gz", 5, 5, 1, 4, 1),
        ("nn4sys/vnnlib/lindex_200.vnnlib.gz", 1, 1, 400, 400, 200),
        ("mnist_fc/vnnlib/prop_10_0.03.vnnlib.gz", 784, 10, 9, 9, 1),
        ("cifar10_resnet/vnnlib/prop_20_eps_0.008.vnnlib.gz", 3072, 10, 9, 9, 1),
        ("collins_rul_cnn/vnnlib/monotonicity_CI_shift10_w20.vnnlib.gz", 400, 1, 1, 2, 1),
        ("test/vnnlib/test_small.vnnlib.gz", 1, 1, 1, 1, 1),
    ],
)
def test_counts_of_shared_files(
    shared_files: list[Path], name: str, inputs: int, outputs: int, disjuncts: int, atoms: int, boxes: int
) -> None:
    (path,) = (path for path in shared_files if path.as_posix().endswith(f"/vnncomp/{name}"))
    found = read_property(path)
    assert (found.networks[0].inputs[0].size, found.networks[0].outputs[0].size) == (inputs, outputs)
    assert len(found.disjuncts) == disjuncts
    assert sum(len(disjunct.atoms) for disjunct in found.disjuncts) == atoms
    assert len({id(disjunct.box) for disjunct in found.disjuncts}) == boxes
