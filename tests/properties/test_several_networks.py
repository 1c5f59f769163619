"""Texts and files about several networks: what is read, what follows for inputs without bounds, and what is refused."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify import UnsupportedQueryError
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.several import QueriedNetwork
from admm_verify.properties.vnnlib import declared_in, parse_vnnlib, property_in, read_text
from admm_verify.sets.exact_cut import Inequality
from tests.pair_texts import bounded, declared, equal
from tests.properties.texts import check_refused

F = Fraction
ISO, EQUAL = "(isomorphic-to f) ", "(equal-to f) "
BOX = bounded("X_f", (0, 0), (1, 1))
HEAD = declared((2, 2), (2, 2))


def net(*sizes: int, name: str = "net", kind: str = "float32") -> av.Network:
    rng = np.random.default_rng(sum(sizes))
    weights = [rng.standard_normal((after, before)) for before, after in pairwise(sizes)]
    made = network_from_layers(weights, [np.zeros(size) for size in sizes[1:]], name)
    return av.Network(made.nodes, made.input_shape, made.output_shape, name, kind, made.as_read)


@pytest.mark.parametrize("relation", ["", ISO, EQUAL])
def test_networks_stand_one_after_the_other(relation: str) -> None:
    found = parse_vnnlib(
        declared((2, 2), (2, 2), relation) + BOX + equal(2) + "(assert (<= (+ Y_f[1] (* 2 Y_g[0])) X_g[1]))"
    )
    f, g = found.networks
    assert (f.name, g.name, found.input_size, found.output_size) == ("f", "g", 4, 4)
    assert (g.isomorphic_to, g.equal_to) == ("f" if relation == ISO else "", "f" if relation == EQUAL else "")
    (disjunct,) = found.disjuncts
    (atom,) = disjunct.atoms
    assert atom.terms == ((1, F(1)), (2, F(2))) and atom.inputs == ((3, F(-1)),)
    assert disjunct.box.range == ((0, 0, 0, 0), (1, 1, 1, 1))
    names = [variable.name for variable, _ in found.parted(range(4), range(4))]
    entries = [list(values) for _, values in found.parted(range(4), range(4))]
    assert names == ["X_f", "Y_f", "X_g", "Y_g"] and entries == [[0, 1], [0, 1], [2, 3], [2, 3]]


def test_hidden_nodes_stand_behind_the_outputs_of_their_network() -> None:
    head = HEAD.replace("(declare-output Y_f", '(declare-hidden H_f real [3] "h") (declare-output Y_f')
    found = parse_vnnlib(head + BOX + equal(2) + "(assert (<= (+ Y_g[1] H_f[0]) Y_f[1]))")
    (disjunct,) = found.disjuncts
    assert dict(disjunct.atoms[0].terms) == {6: 1, 2: 1, 1: -1}
    parts = {variable.name: list(values) for variable, values in found.parted(range(4), range(7))}
    assert parts == {"X_f": [0, 1], "H_f": [2, 3, 4], "Y_f": [0, 1], "X_g": [2, 3], "Y_g": [5, 6]}


@pytest.mark.parametrize(
    ("text", "lower", "upper"),
    [
        (BOX + equal(2), (0, 0, 0, 0), (1, 1, 1, 1)),
        (bounded("X_g", (0, 0), (1, 1)) + equal(2), (0, 0, 0, 0), (1, 1, 1, 1)),
        # Of chains and of sums, whichever way round.
        (
            "(assert (== X_g[1] X_g[0]))(assert (== X_g[0] (+ X_f[0] (* -2 X_f[1]) 0.5)))" + BOX,
            (0, 0, F(-3, 2), F(-3, 2)),
            (1, 1, F(3, 2), F(3, 2)),
        ),
        # One end by an inequality: the shape of monotonicity.
        (
            BOX + "(assert (and (>= X_f[0] X_g[0]) (>= X_g[0] -0.5)))(assert (== X_f[1] X_g[1]))",
            (0, 0, F(-1, 2), 0),
            (1, 1, 1, 1),
        ),
        # Strict ones take nothing from the ends, and stay.
        (
            BOX + "(assert (> X_f[0] X_g[0]))(assert (> X_g[0] -1))(assert (== X_f[1] X_g[1]))",
            (0, 0, -1, 0),
            (1, 1, 1, 1),
        ),
        # In the alternatives of an or.
        (
            BOX + "(assert (== X_f[1] X_g[1]))(assert (or (and (== X_f[0] X_g[0]) (<= Y_f[0] 0)) (and (<= X_g[0] 3) "
            "(>= X_g[0] 2))))",
            (0, 0, 0, 0),
            (1, 1, 1, 1),
        ),
    ],
)
def test_bounds_follow_from_constraints_between_inputs(text: str, lower: tuple, upper: tuple) -> None:
    first = parse_vnnlib(HEAD + text + "(assert (<= Y_f[0] Y_g[0]))").disjuncts[0]
    assert first.box.range == (lower, upper)
    rng = np.random.default_rng(3)
    for _ in range(50):
        x = [F(int(value), 4) for value in rng.integers(-8, 9, 4)]
        if first.cut is not None and first.cut.holds(x) and first.box.project(x)[:2] == tuple(x[:2]):
            # What the constraints admit, the bounds do, but for those that the file gives.
            assert all(low <= value for low, value in zip(lower[3:], x[3:], strict=True))


def test_bounds_that_do_not_follow_are_asked_for() -> None:
    check_refused(
        HEAD + BOX + "(assert (== X_f[0] X_g[0]))(assert (<= Y_f[0] 0))", "the input X_g[1] has no lower bound"
    )
    check_refused(HEAD + BOX + "(assert (>= X_f[0] X_g[0]))(assert (== X_f[1] X_g[1]))(assert (<= Y_f[0] 0))", "X_g[0]")
    check_refused(HEAD + BOX + "(assert (== X_g[0] X_g[1]))(assert (<= Y_f[0] 0))", "X_g[0] has no lower bound")
    huge = "1" + "0" * 29
    wide = "".join(f"(assert (== X_g[{i}] (* {huge} {huge} {huge} {huge} {huge} X_f[{i}])))" for i in range(2))
    assert parse_vnnlib(HEAD + BOX + wide + "(assert (<= Y_f[0] 0))").disjuncts
    beyond = "(assert (== X_f[0] (* 1e-300 0.0000000001 X_g[0])))(assert (== X_f[1] X_g[1]))(assert (<= Y_f[0] 0))"
    check_refused(HEAD + BOX + beyond, "X_g[0] has no upper bound")


def test_long_chains_of_equations_are_followed_in_no_time() -> None:
    size = 3000
    head = declared((size, size), (1, 1))
    rows = [f"(assert (== X_g[{i}] X_g[{i + 1}]))" for i in range(size - 1)]
    text = head + bounded("X_f", [0] * size, [1] * size) + "".join(rows) + f"(assert (== X_g[{size - 1}] X_f[7]))"
    (disjunct,) = parse_vnnlib(text + "(assert (<= Y_f[0] Y_g[0]))").disjuncts
    assert disjunct.box.range[1][size:] == (1,) * size
    assert disjunct.cut is not None and Inequality(((7, F(-1)), (2 * size - 1, F(1))), F(0), False) in disjunct.cut.rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (declared((2, 3), (2, 2), ISO), "line 3, column 1|g is isomorphic-to f|input shape is [3]|that of f is [2]"),
        (declared((2, 2), (2, 1), EQUAL), "g is equal-to f|output shape is [1]|leave equal-to out"),
        (declared((2, 2), (2, 2), ISO + EQUAL), "equal-to comes too late"),
        (declared((2, 2), (2, 2), EQUAL + ISO), "declared equal-to f and isomorphic-to f|say one of them"),
        (declared((2, 2), (2, 2), "(equal-to g) "), "'g'|declared before"),
        (declared((2, 2), (2, 2), "(equal-to f f) "), "2 names"),
        (HEAD.replace("X_g", "X_f"), "X_f is declared twice"),
        (HEAD.replace("network g", "network f"), "f is declared twice"),
    ],
)
def test_malformed_declarations(text: str, words: str) -> None:
    check_refused(text + "(assert (<= 0 1))", words)


@pytest.mark.parametrize("kinds", [("float32", "real"), ("float32", "float16"), ("float64", "float32")])
def test_networks_of_different_element_types_are_refused(kinds: tuple[str, str]) -> None:
    text = declared((2, 2), (2, 2), ISO, kinds) + "(assert (<= 0 1))"
    words = f"line 3, column 1|f is declared over {kinds[0]} and g over {kinds[1]}|real"
    check_refused(text, words, UnsupportedQueryError)


QUERY = BOX + equal(2) + "(assert (<= Y_f[0] Y_g[0]))"
ONE, WIDE = net(2, 3, 2, name="one"), net(3, 3, 2, name="wide")


@pytest.fixture
def path(tmp_path):
    def write(text: str) -> str:
        place = tmp_path / "q.vnnlib"
        place.write_text(text)
        return str(place)

    return write


def test_networks_are_given_by_their_names(path) -> None:
    query = av.read_query(path(HEAD + QUERY), {"g": ONE, "f": net(2, 4, 2, name="other")})
    assert [one.network.name for one in query.networks] == ["other", "one"]
    assert query.network.name == "other and one" and query.network.input_shape == (4,)
    x = np.array([0.1, 0.2, 0.3, 0.4])
    alone = [one.network(part) for one, part in zip(query.networks, np.split(x, 2), strict=True)]
    assert np.array_equal(query.computed(x), np.concatenate(alone))
    assert query.network(x) == pytest.approx(np.concatenate(alone), abs=1e-12)
    equal_one = path(declared((2, 2), (2, 2), EQUAL) + QUERY)
    for given in (ONE, {"f": ONE}, {"": ONE}):
        first, second = av.read_query(equal_one, given).networks
        assert first is second and first.network is ONE


MISSING = {
    "missing: g. Give f=FILE.onnx and g=FILE.onnx": (HEAD, {"f": ONE}),
    "missing: f, g; too many: one without a name": (HEAD, ONE),
    "missing: g; too many: h": (HEAD, {"f": ONE, "h": ONE}),
    "networks f and g; too many: h": (HEAD, {"f": ONE, "g": ONE, "h": ONE}),
    "declares g as equal to f, and g was given, too": (declared((2, 2), (2, 2), EQUAL), {"f": ONE, "g": ONE}),
    "speaks about one network and 2 were given": (declared((2, 2), (2, 2), EQUAL), {"f": ONE, "h": ONE}),
}


@pytest.mark.parametrize("words", MISSING)
def test_missing_and_surplus_networks(words: str, path) -> None:
    head, given = MISSING[words]
    with pytest.raises(av.QueryError) as caught:
        av.read_query(path(head + QUERY), given)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_networks_that_do_not_fit_their_declarations(path) -> None:
    text = path(declared((2, 3), (2, 2)) + BOX + bounded("X_g", (0, 0, 0), (1, 1, 1)) + "(assert (<= Y_f[0] Y_g[0]))")
    with pytest.raises(av.QueryError, match=r"the input of wide has shape \[3\].*other way round.*f=one and g=wide"):
        av.read_query(text, {"f": WIDE, "g": ONE})
    with pytest.raises(av.QueryError, match=r"X_g with shape \[3\], but the input of one has shape \[2\]") as caught:
        av.read_query(text, {"f": ONE, "g": ONE})
    assert "other way" not in str(caught.value)
    double = net(2, 3, 2, name="double", kind="float64")
    with pytest.raises(av.QueryError, match="one computes in float32 and double in float64"):
        av.read_query(path(HEAD + QUERY), {"f": ONE, "g": double})
    floats = declared((2, 2), (2, 2), ISO, ("float32", "float32"))
    with pytest.raises(av.QueryError, match="X_g as float32, but double computes in float64"):
        av.read_query(path(floats + QUERY), {"f": ONE, "g": double})
    with pytest.raises(av.InputError, match="2 networks, for which no output"):
        av.read_query(path(HEAD + QUERY), {"f": ONE, "g": ONE}, output="y")


def test_queries_in_memory_need_all_their_networks() -> None:
    found = parse_vnnlib(HEAD + QUERY)
    with pytest.raises(av.QueryError, match="declares 2 networks and 1 were given"):
        av.Query("made", found, ONE)
    with pytest.raises(av.QueryError, match="declares 2 networks and 3 were given"):
        av.Query.about_several("made", found, [QueriedNetwork(ONE)] * 3)


def test_declarations_are_told_before_the_assertions_are_read(tmp_path) -> None:
    place = tmp_path / "q.vnnlib"
    place.write_text(HEAD + "(assert (and (<= 0 1) (broken")
    assert [one.name for one in declared_in(read_text(place))] == ["f", "g"]
    with pytest.raises(av.QueryError, match="never closed"):
        property_in(read_text(place))


@pytest.mark.parametrize(
    "text",
    [
        "(vnnlib-version <2.0>)" + "(declare-network f" * 10**4,
        "(vnnlib-version <2.0>)"
        + "".join(
            f"(declare-network f{i} (declare-input X{i} real [1]) (declare-output Y{i} real [1]))" for i in range(2000)
        ),
        HEAD + "(assert (== X_f[0] X_g[0]))" * 20000,
        HEAD + BOX + "(assert (== X_g[0] (+ " + "X_f[0] X_f[1] " * 20000 + ")))",
        HEAD + BOX + "(assert (or (== X_g[0] X_f[0]) (== X_g[0] X_f[1])))" * 20 + "(assert (<= Y_f[0] 0))",
    ],
)
def test_hostile_texts_are_refused(text: str) -> None:
    check_refused(text, "")


def test_decimals_that_are_no_floats_tie_inputs_exactly() -> None:
    shift = Decimal("0.1")
    text = HEAD + BOX + "".join(f"(assert (== X_g[{i}] (+ X_f[{i}] {shift})))" for i in range(2))
    networks = [QueriedNetwork(ONE), QueriedNetwork(ONE)]
    query = av.Query.about_several("made", parse_vnnlib(text + "(assert (<= Y_f[0] 9))"), networks)
    joint = query.about_outputs()
    assert joint.ties is not None
    found = av.verify(query, timeout=30)
    assert found.verdict is av.Verdict.SAT and found.exact_input is not None
    x = found.exact_input
    assert [x[2] - x[0], x[3] - x[1]] == [F(1, 10), F(1, 10)]
