"""Counterexamples of boxes that hold no floating point number: exact in what is printed, honest in what is claimed."""

import json
from fractions import Fraction
from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given, strategies as st
from onnx import numpy_helper

import admm_verify as av
from admm_verify import Network, Query
from admm_verify.attacks.confirm import confirm
from admm_verify.cli import main
from admm_verify.complete.counterexamples import Counterexamples
from admm_verify.network.graph import Input
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.rows import atom_rows
from admm_verify.report.text import assignment, exact_text
from admm_verify.sets.exact import ExactBox
from experiments.vnncomp.replay import replay
from tests.network.onnx_models import model, node

TENTH = Fraction("0.1")

QUERY = """(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(assert (>= X_0 0.1)) (assert (<= X_0 0.1))
(assert (>= X_1 -1.0)) (assert (<= X_1 1.0))
(assert (>= Y_0 {least}))
"""


def at_least(box, values):
    """A disjunct: every output is at least its value."""
    return Disjunct(box, tuple(Atom(((j, Fraction(-1)),), Fraction(value), False) for j, value in enumerate(values)))


def at_most(box, value):
    return Disjunct(box, (Atom(((0, Fraction(1)),), -Fraction(value), False),))


def asked(network, *disjuncts):
    inputs = (Variable("X", "real", (network.input_size,)),)
    outputs = (Variable("Y", "real", (network.output_size,)),)
    return Query("test", Property((2, 0), (NetworkDeclaration("f", inputs, outputs),), disjuncts), network)


def tried(network, disjunct):
    """What becomes of the nearest point to the middle of the box."""
    middle = np.array([float((a + b) / 2) for a, b in zip(disjunct.box.lower, disjunct.box.upper, strict=True)])
    return confirm(asked(network, disjunct), disjunct, middle)


def relu(element_type="float32"):
    """y = relu(x)."""
    network = network_from_layers([np.eye(1), np.eye(1)], [np.zeros(1), np.zeros(1)])
    return Network(network.nodes, network.input_shape, network.output_shape, "relu", element_type)


@pytest.fixture
def sum_model(tmp_path):
    """y = relu(x_0) + relu(x_1)."""
    nodes = [node("Relu", ["x"], ["r"]), node("MatMul", ["r", "w"], ["y"])]
    path = tmp_path / "sum.onnx"
    path.write_bytes(model(nodes, (1, 2), {"w": np.ones((2, 1), dtype=np.float32)}))
    return path


def test_an_input_fixed_at_a_decimal_is_printed_as_it_and_confirmed(sum_model, tmp_path, capsys):
    query, report = tmp_path / "q.vnnlib", tmp_path / "out.json"
    query.write_text(QUERY.format(least="0.75"))
    assert main(["verify", str(query), "--network", str(sum_model), "--json", str(report)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["sat", "X real [2]", "0.1"] and lines[4] == "Y real [1]"
    assert replay(sum_model, query, [Fraction(line) for line in lines[2:4]]) == ("confirmed", "")
    # What the network was run at lies above 0.1, and is no counterexample.
    content = json.loads(report.read_text())
    assert content["exact_input"] == lines[2:4] and content["counterexample"][0] == float(np.float32(0.1))
    assert replay(sum_model, query, [Fraction(value) for value in content["counterexample"]])[0] == "refuted"


def test_tensors_hold_what_the_network_was_run_at(sum_model, tmp_path, capsys):
    query = tmp_path / "q.vnnlib"
    query.write_text(QUERY.format(least="0.75"))
    main(["verify", str(query), "--network", str(sum_model), "--serialise-assignments", str(tmp_path / "out")])
    assert capsys.readouterr().out == "sat\n"
    given = numpy_helper.to_array(onnx.TensorProto.FromString((tmp_path / "out" / "X.pb").read_bytes()))
    assert given.dtype == np.float32 and given[0] == np.float32(0.1)


FIXED = ExactBox((TENTH,), (TENTH,))

# float32(0.1) = 0.1 + 1.49e-9.
EDGES = {
    "both hold": (at_least(FIXED, ["0.0999999"]), av.Verdict.SAT),
    "only as computed": (at_least(FIXED, ["0.100000001"]), av.Verdict.UNSAT),
    "only in real numbers": (at_most(FIXED, "0.100000001"), av.Verdict.UNKNOWN),
    "neither": (at_least(FIXED, ["0.11"]), av.Verdict.UNSAT),
    "in real numbers with equality": (at_least(FIXED, [TENTH]), av.Verdict.UNKNOWN),
}


@pytest.mark.parametrize("name", EDGES)
def test_both_the_network_as_computed_and_in_real_numbers_must_hold(name):
    disjunct, verdict = EDGES[name]
    assert (tried(relu(), disjunct) is not None) == (verdict is av.Verdict.SAT)
    outcome = av.verify(asked(relu(), disjunct), settings=av.VerifySettings(max_subproblems=50))
    assert outcome.verdict is verdict
    assert (outcome.exact_input == (TENTH,)) == (verdict is av.Verdict.SAT)


def test_numbers_of_the_element_type_need_no_bounds():
    # Equality at a float32, which no outward rounding could prove.
    half = ExactBox((Fraction(1, 2),), (Fraction(1, 2),))
    witness = tried(relu(), at_least(half, [Fraction(1, 2)]))
    assert witness is not None and witness.exact == (Fraction(1, 2),) and witness.x.dtype == np.float32
    double = ExactBox((Fraction(0.1),), (Fraction(0.1),))
    assert tried(relu("float64"), at_least(double, [Fraction(0.1)])) is not None


@pytest.mark.parametrize("margin", [1e-3, 1e-7, 1e-12, 1e-16, 0.0, -1e-16, -1e-12, -1e-7])
def test_the_exact_output_decides(margin):
    rng = np.random.default_rng(5)
    confirmed = 0
    for _ in range(5):
        sizes = [3, 6, 6, 2]
        weights = [rng.standard_normal((m, n)).astype(np.float32) for n, m in pairwise(sizes)]
        biases = [rng.standard_normal(m).astype(np.float32) for m in sizes[1:]]
        network = network_from_layers(weights, biases)
        point = tuple(Fraction(int(v), 10**12) for v in rng.integers(-(10**12), 10**12, 3))
        y = exact_output(weights, biases, point)
        disjunct = at_least(ExactBox(point, point), [value - Fraction(margin) for value in y])
        witness = tried(network, disjunct)
        assert witness is None or (margin > 0 and witness.exact == point)
        confirmed += witness is not None
    assert confirmed == 5 if margin >= 1e-3 else True


def exact_output(weights, biases, x):
    values = list(x)
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        values = [
            sum((Fraction(float(w)) * v for w, v in zip(row, values, strict=True)), Fraction(float(b)))
            for row, b in zip(weight, bias, strict=True)
        ]
        if k < len(weights) - 1:
            values = [max(value, Fraction(0)) for value in values]
    return values


def test_a_network_without_layers():
    network = Network((Input(2),), (2,), (2,))
    box = ExactBox((TENTH, Fraction(0)), (TENTH, Fraction(1)))
    assert tried(network, at_least(box, ["0.09", "0.4"])).exact == (TENTH, Fraction(1, 2))
    assert tried(network, at_least(box, ["0.1", "0.4"])) is None


def test_no_atoms_hold_everywhere():
    outcome = av.verify(asked(relu(), Disjunct(FIXED, ())))
    assert outcome.verdict is av.Verdict.SAT and outcome.exact_input == (TENTH,)


NARROW = {
    "closed": ExactBox((Fraction("0.1"),), (Fraction("0.10000000001"),)),
    "open": ExactBox((Fraction("0.1"),), (Fraction("0.10000000001"),), frozenset([0]), frozenset([0])),
    "no decimal ends": (ExactBox((Fraction(1, 3),), (Fraction(1, 3) + Fraction(1, 7**12),))),
}


@pytest.mark.parametrize("name", NARROW)
def test_intervals_between_two_floats_hold_a_short_decimal(name):
    witness = tried(relu(), at_least(NARROW[name], ["0.05"]))
    text = exact_text(witness.exact[0])
    assert NARROW[name].holds([Fraction(text)]) and len(text) <= 15
    assert witness.x[0] == np.float32(float(text))


def test_a_number_without_decimals_is_printed_as_a_fraction():
    third = ExactBox((Fraction(1, 3),), (Fraction(1, 3),))
    outcome = av.verify(asked(relu(), at_least(third, ["0.25"])))
    assert outcome.verdict is av.Verdict.SAT and outcome.counterexample[0] == np.float32(1 / 3)
    assert assignment(Variable("X", "real", (1,)), outcome.exact_input) == "X real [1]\n1/3"


@pytest.mark.parametrize("size", ["1e39", "1e300", "1.7e308"])
def test_boxes_beyond_the_element_type_confirm_nothing(size):
    box = ExactBox((Fraction(size),), (Fraction(size),))
    disjunct = at_least(box, ["0.5"])
    assert confirm(asked(relu(), disjunct), disjunct, np.array([1e39])) is None


@pytest.mark.parametrize(
    "value, text",
    [
        (Fraction(1, 2), "0.5"),
        (Fraction(0), "0.0"),
        (Fraction("-0.4189618594302038"), "-0.4189618594302038"),
        (Fraction(float(np.float32(0.1))), "0.100000001490116119384765625"),
        (Fraction("0.12345678901234567890123"), "0.12345678901234567890123"),
        (Fraction("1e-400"), "1E-400"),
        (Fraction(-2, 7), "-2/7"),
    ],
)
def test_text_of_exact_numbers(value, text):
    assert exact_text(value) == text


@given(
    st.one_of(st.fractions(), st.decimals(allow_nan=False, allow_infinity=False, places=20), st.floats(-1e300, 1e300))
)
def test_text_says_exactly_the_number(value):
    assert Fraction(exact_text(Fraction(value))) == Fraction(value)


def test_the_first_attack_reaches_points_beside_the_box():
    box = ExactBox((TENTH, Fraction(-1)), (TENTH, Fraction(1)))
    network = network_from_layers([np.array([[1.0, 1.0]]), np.eye(1)], [np.zeros(1), np.zeros(1)])
    query = asked(network, at_least(box, ["1.0999"]))
    found = Counterexamples(query, atom_rows(query.property), av.Run()).quick([0])
    assert found is not None and box.holds(found.exact)
