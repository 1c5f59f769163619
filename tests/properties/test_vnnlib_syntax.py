"""VNN-LIB text: declarations, and what is refused where."""

from fractions import Fraction

import pytest

from admm_verify import QueryError, Run, UnsupportedQueryError
from admm_verify.memory import Budget
from admm_verify.properties.vnnlib import parse_vnnlib
from admm_verify.run import Stopped
from tests.properties.texts import check_refused, flat, network, only

F = Fraction


def test_flat_declarations() -> None:
    found = parse_vnnlib(flat("(<= Y_0 Y_1)", inputs=3))
    (declared,) = found.networks
    assert (found.version, declared.name) == ((1, 0), "")
    assert [(v.name, v.element_type, v.shape) for v in declared.inputs] == [("X", "real", (3,))]
    assert [(v.name, v.element_type, v.shape) for v in declared.outputs] == [("Y", "real", (2,))]


def test_flat_declarations_in_any_order_and_between_assertions() -> None:
    text = "(declare-const Y_0 Real)(declare-const X_1 Real)(assert (and (<= 0 X_1) (<= X_1 1)))"
    assert only(text + "(declare-const X_0 Real)(assert (and (<= 2 X_0) (<= X_0 3)))").box.lower == (2, 0)


def test_several_inputs_and_outputs_and_hidden_nodes() -> None:
    extra = '(declare-input Z real [2]) (declare-hidden H real [1,2] "a \\\\ \\"node") (declare-output V real [2,2])'
    text = network("(and (<= Z[0] 1) (>= Z[0] 0) (== Z[1] 3))", "(<= (+ V[1,0] H[0,1]) Y[1])", extra=extra)
    found = parse_vnnlib(text)
    (declared,) = found.networks
    assert [variable.name for variable in (*declared.inputs, *declared.outputs, *declared.hidden)] == list("XZVYH")
    assert declared.hidden[0].node == 'a \\ "node' and (declared.input_size, declared.output_size) == (4, 8)
    (disjunct,) = found.disjuncts
    assert disjunct.box.upper == (1, 1, 1, 3) and dict(disjunct.atoms[0].terms) == {2: 1, 5: -1, 7: 1}
    parts = [(one.name, list(values)) for one, values in declared.parted(range(4), range(10, 18))]
    assert parts == [("X", [0, 1]), ("Z", [2, 3]), ("H", [16, 17]), ("V", [10, 11, 12, 13]), ("Y", [14, 15])]
    check_refused(network("(<= Y[0] 0)", extra="(declare-input Z real [3,1])"), "Z[0,0] has no lower bound")


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


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_comments_end_with_their_line(end: str) -> None:
    text = flat("(<= Y_0 0)").replace("\n", f" ; first, a comment{end}") + f"; another{end}(assert (<= Y_1 0))"
    assert [atom.terms for atom in only(text).atoms] == [((0, 1),), ((1, 1),)]
    text = network("(<= Y[0] 0)").replace("X[0,1]", f"X ; [9{end} [0,1 ; ]{end}]")
    assert len(only(text).box.upper) == 2


V2 = "(vnnlib-version <2.0>)"


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
        (network(extra="(declare-input Z real [1] maybe)"), "'maybe' as the node of Z|double quotes"),
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
        (network(x="real [1,2] initialized"), "line 2|X is marked initialized"),
        (network(x="int8 [1,2]"), "integer type int8|float32"),
        (flat(f"(<= (* {'Y_0 ' * 17}) 0)"), "line 5, column 13|degree 17|up to 16"),
        (flat(f"(<= (* {'(+ Y_0 Y_1 X_0 X_1 X_2 X_3 X_4 X_5)' * 9}) 0)", inputs=6), "terms|10000 terms"),
    ],
)
def test_unsupported(text: str, words: str) -> None:
    check_refused(text, words, UnsupportedQueryError)


@pytest.mark.parametrize("text", ["(" * 10**6, ")" * 10**6, "(a[" * 10**6, '"' * (10**6 + 1), ";\n" * 10**6])
def test_hostile_text_is_refused(text: str) -> None:
    check_refused(text, "")


def test_nesting_limit() -> None:
    def nested(depth: int) -> str:
        return flat("(and " * (depth - 2) + "(<= Y_0 0)" + ")" * (depth - 2))

    assert only(nested(100)).atoms
    check_refused(nested(101), "line 5, column 504|deeper than 100")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (flat(f"(<= (+ {'Y_0 ' * 20000}) 0)"), "line 5, column|more than 0.000954 GiB|split the query"),
        (flat(f"(or {'(<= Y_0 0)' * 5000})"), "line 5, column|memory allowed"),
        (flat(*["(or (<= Y_0 0) (<= Y_0 1))"] * 12), "my.vnnlib: the assertions make 4096 disjuncts"),
    ],
)
def test_what_does_not_fit_the_memory(text: str, words: str) -> None:
    check_refused(text, words, budget=Budget(1e6 * 1.024))
    assert parse_vnnlib(text, budget=Budget(1e9)).disjuncts


@pytest.mark.parametrize(
    "text",
    [
        flat(f"(<= (+ {'Y_0 ' * 5000}) 0)"),
        flat(*["(<= Y_0 0)"] * 2000),
        flat(f"(or {'(<= Y_0 0)' * 5000})"),
        flat(*["(or (<= Y_0 0) (<= Y_0 1))"] * 12),
        ";\n" * 5000 + flat("(<= Y_0 0)"),
    ],
)
def test_reading_asks_whether_to_stop(text: str) -> None:
    asked = []

    def stop(after: int) -> bool:
        asked.append(after)
        return len(asked) > after

    parse_vnnlib(text, budget=Budget(1e9, Run(stop=lambda: stop(10**9))))
    questions = len(asked)
    assert questions > 3
    for after in range(questions):
        asked.clear()
        with pytest.raises(Stopped):
            parse_vnnlib(text, budget=Budget(1e9, Run(stop=lambda after=after: stop(after))))
        assert len(asked) == after + 1


@pytest.mark.parametrize("space", ["\x1c", "\x1f", "\x85", "\u00a0", "\u2003"])
def test_what_is_no_white_space_in_vnnlib_is_none_in_conjunctions(space: str) -> None:
    text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0) (<= X_0{} 1) (<= Y_0 0)))"
    assert len(parse_vnnlib(text.format(" ")).disjuncts) == 1
    with pytest.raises(QueryError):
        parse_vnnlib(text.format(space))
