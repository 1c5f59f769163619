"""VNN-LIB meaning: numbers, atoms, input sets and disjuncts."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import prod
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from admm_verify import QueryError
from admm_verify.memory import Budget
from admm_verify.properties.vnnlib import parse_vnnlib
from admm_verify.sets.exact import ExactBox
from tests.properties.texts import box, check_refused, flat, network, only

F = Fraction


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
    assert box(*conditions) == ExactBox((lower,), (upper,), *ends)


def test_bounds_inside_or_cut_the_outer_box() -> None:
    choice = "(and (<= X_0 0.5) (<= Y_0 1)) (<= X_0 0.50) (>= X_1 0.25) (< X_0 0.5) (<= X_0 9) (<= Y_1 0)"
    found = parse_vnnlib(flat(f"(or {choice})", "(< X_0 1)", "(> X_1 0)", inputs=2))
    boxes = [disjunct.box for disjunct in found.disjuncts]
    assert boxes[0] is boxes[1] and boxes[4] is boxes[5]
    assert boxes[0] == ExactBox((F(0), F(0)), (F(1, 2), F(1)), frozenset({1}), frozenset())
    assert boxes[2] == ExactBox((F(0), F(1, 4)), (F(1), F(1)), frozenset(), frozenset({0}))
    assert boxes[3] == ExactBox((F(0), F(0)), (F(1, 2), F(1)), frozenset({1}), frozenset({0}))
    assert boxes[4] == ExactBox((F(0), F(0)), (F(1), F(1)), frozenset({1}), frozenset({0}))


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


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (["(< Y_0 Y_0)"], ["false whatever the network", "line 5"]),
        (["(<= Y_0 0)", "(!= 1 1)"], ["constant comparison on line 6"]),
        (["(or (<= X_0 -1) (<= 2 1))"], ["no alternative is left", "line 5", "X_0 has lower > upper"]),
        (["(<= Y_0 Y_0)"], []),
    ],
)
def test_why_no_disjunct_is_left(conditions: list[str], words: list[str]) -> None:
    found = parse_vnnlib(flat(*conditions))
    assert bool(found.disjuncts) == (not words) == (not found.impossible)
    assert all(word in found.impossible for word in words)


def test_memory_alone_limits_disjuncts() -> None:
    choice, small = "(or (<= Y_0 0) (<= Y_1 0))", Budget(2.0**25)
    check_refused(flat(*[choice] * 17), "make 131072 disjuncts|0.0312 GiB|allow more|split", budget=small)
    check_refused(flat(*[choice] * 5000), f"more than {10**15} disjuncts|GiB")
    check_refused(flat(*["(<= Y_0 0)"] * 400, *[choice] * 16), "65536 disjuncts|constraints", budget=small)
    many = "(or (<= X_0 0.5) (<= X_0 0.7) (<= X_0 0.6))"
    assert len({id(disjunct.box) for disjunct in parse_vnnlib(flat(many)).disjuncts}) == 3
    wide = flat(many, inputs=10**4)
    assert len(parse_vnnlib(wide, budget=Budget(2e7)).disjuncts) == 3
    check_refused(wide, "different boxes of 10000 inputs", budget=Budget(9.1e6))


def test_alternatives_of_known_bounds() -> None:
    bounds = "(>= X_0 0.5)(<= X_0 0.75)"
    found = parse_vnnlib(
        flat(f"(or (and {bounds}) (and {bounds}(<= Y_0 0)\n(<= Y_1 Y_0))(and (>=  X_0 0.50) (<= X_0 1)))")
    )
    boxes = [disjunct.box for disjunct in found.disjuncts]
    assert boxes[0] is boxes[1] and boxes[0].range == ((F(1, 2),), (F(3, 4),)) and boxes[2].upper == (1,)
    assert [atom.line for atom in found.disjuncts[1].atoms] == [5, 6]
    assert parse_vnnlib(flat(f"(or (and {bounds} (!= Y_0 0)) (and {bounds} (< 1 1)))")).disjuncts[1].atoms[0].strict


def test_places_of_bounds_that_alternatives_share() -> None:
    both = "(or (and (<= X_0 3) (>= X_0 2))\n (and (>= X_0 2) (<= X_0 3)))"
    refused = flat(both, "(and (<= X_0 1)\n(>= X_0 0))", unit_box=False)
    check_refused(refused, "X_0 has lower > upper|2 on line 4|1 on line 6")
    choice = "(or (and (>= X_1 1)\n(<= X_1 0.5)) (and\n(>= X_1 1)\n(<= X_1 0)))"
    check_refused(flat("(and (>= X_1 1) (>= X_0 0))", choice, inputs=2), "1 on line 7|0.5 on line 9")


@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=4), nested=st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_way_to_choose_is_one_disjunct(counts: list[int], nested: bool) -> None:
    texts, own = [], []
    for count in counts:
        own.append([F(sum(map(len, own)) + k) for k in range(count)])
        parts = (f"(<= Y_0 {value})" for value in own[-1])
        texts.append(f"(or {' '.join(f'(and {part} (or {part} {part}))' if nested else part for part in parts)})")
    found = [tuple(sorted(-atom.constant for atom in one.atoms)) for one in parse_vnnlib(flat(*texts)).disjuncts]
    # Nested alternatives name each number twice, in two ways.
    wanted = [tuple(n for n in way for _ in range(1 + nested)) for way in product(*own)]
    assert sorted(found) == sorted(wanted * (2 ** len(own) if nested else 1))


# A condition as a nested tuple: ("and" | "or", conditions) or (comparison, expression, expression), an expression being
# ("x" | "y", index), a Fraction, or ("+" | "-" | "*", expressions).
GRID = st.integers(-4, 4).map(lambda quarters: F(quarters, 4))
HALVES = st.integers(0, 2).map(lambda halves: F(halves, 2))
POLYNOMIAL = st.recursive(
    st.tuples(st.sampled_from("yyx"), st.integers(0, 1)) | GRID,
    lambda part: (
        st.tuples(st.sampled_from("+-"), st.lists(part, min_size=1, max_size=3))
        | st.tuples(st.just("*"), st.tuples(GRID, part) | st.tuples(part, GRID) | st.tuples(part, part))
    ),
    max_leaves=6,
)
COMPARISON = st.sampled_from(["<=", "<", ">=", ">", "==", "!="])
INPUT = st.tuples(st.just("x"), st.integers(0, 1))
BOUND = st.tuples(COMPARISON, INPUT, HALVES) | st.tuples(
    COMPARISON, st.tuples(st.just("*"), st.tuples(GRID, INPUT)), GRID
)
CONDITION = st.recursive(
    BOUND | BOUND | st.tuples(COMPARISON, POLYNOMIAL, POLYNOMIAL),
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
