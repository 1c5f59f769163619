"""Queries about several inputs, several outputs, hidden nodes and whole numbers of one network."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import admm_verify as av
from admm_verify.cli import main
from tests.properties.texts import check_refused

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

F = Fraction
DOUBLE, FLOAT, INT64 = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64


def _model(kind: int = DOUBLE, opset: int = 13, batch: int | str = 1) -> onnx.ModelProto:
    """a [batch, 2], b [3] -> h = relu([a, a0] - b), p = h + b, q = sum over h, n = shape of a."""
    nodes = [
        helper.make_node("Gather", ["a", "first"], ["a0"], axis=1),
        helper.make_node("Concat", ["a", "a0"], ["wide"], axis=1),
        helper.make_node("Sub", ["wide", "b"], ["d"]),
        helper.make_node("Relu", ["d"], ["h"], name="the relu"),
        helper.make_node("Add", ["h", "b"], ["p"]),
        helper.make_node("ReduceMean", ["h"], ["q"], keepdims=0),
        helper.make_node("Shape", ["a"], ["n"]),
    ]
    sides = [
        [helper.make_tensor_value_info(*one) for one in side]
        for side in (
            (("a", kind, [batch, 2]), ("b", kind, [3])),
            (("p", kind, [batch, 3]), ("q", kind, []), ("n", INT64, [2])),
        )
    ]
    first = helper.make_tensor("first", INT64, [1], [0])
    graph = helper.make_graph(nodes, "two", *sides, [first])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _reference(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    h = np.maximum(np.append(a, a[0]) - b, 0)
    return h, h + b, h.mean()


DECLARED = """(vnnlib-version <2.0>)
(declare-network f (declare-input A float64 [1,2]) (declare-input B float64 [3])
  (declare-hidden H float64 [1,3] "{hidden}")
  (declare-output P float64 [1,3]) (declare-output Q float64 []) (declare-output N int64 [2]))
"""


def _text(*conditions: str, hidden: str = "h") -> str:
    bounds = [f"(>= {name} -1) (<= {name} 1)" for name in ("A[0,0]", "A[0,1]", "B[0]", "B[1]", "B[2]")]
    lines = [f"(assert (and {bound}))" for bound in bounds] + [f"(assert {one})" for one in conditions]
    return DECLARED.replace("{hidden}", hidden) + "\n".join(lines)


def _query(tmp_path: Path, text: str, model: object) -> av.Query:
    (tmp_path / "q.vnnlib").write_text(text)
    return av.read_query(tmp_path / "q.vnnlib", model)


@pytest.mark.parametrize("hidden", ["h", "the relu"])
@pytest.mark.parametrize("opset", [9, 13, 18])
@pytest.mark.parametrize("batch", [1, "batch"])
def test_the_network_computes_everything_side_by_side(tmp_path: Path, hidden: str, opset: int, batch: object) -> None:
    query = _query(tmp_path, _text("(<= Q 9)", hidden=hidden), _model(opset=opset, batch=batch))
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.normal(size=2), rng.normal(size=3)
        h, p, q = _reference(a, b)
        np.testing.assert_allclose(query.network(np.append(a, b)), [*p, q, 1, 2, *h], atol=1e-12)


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [
        (["(>= H[0,1] 1.5)", "(<= P[0,1] -1)"], "unsat"),  # p = max(a, b) >= a = h + b
        (["(>= H[0,1] 1.5)", "(<= P[0,1] 0.75)"], "sat"),
        (["(> Q (+ H[0,0] H[0,1] H[0,2] 0.01))"], "unsat"),
        (["(>= (* A[0,0] B[2]) 0.5)", "(<= H[0,2] 0.1)"], "sat"),
        (["(>= (* A[0,0] B[2]) 0.75)", "(>= H[0,2] 0.5)"], "unsat"),
        (["(>= N[1] 3)"], "unsat"),
        (["(>= P[0,0] 0.5)", "(== N[1] 2)", "(== N[0] 1)"], "sat"),
        (["(<= A[0,1] B[1])", "(>= H[0,1] 0.001)"], "unsat"),
    ],
)
def test_verdicts(tmp_path: Path, conditions: list[str], verdict: str) -> None:
    query = _query(tmp_path, _text(*conditions), _model())
    outcome = av.verify(query, timeout=20)
    assert outcome.verdict.value == verdict
    if outcome.exact_input is not None:
        x = np.array([float(value) for value in outcome.exact_input])
        h, p, q = _reference(x[:2], x[2:])
        np.testing.assert_allclose(outcome.output, [*p, q, 1, 2, *h], atol=1e-12)
        assert query.accepts(outcome.exact_input, [F(float(value)) for value in outcome.output])


def test_assignments_name_every_declared_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = ("A[0,0] 1", "A[0,1] 1", "B[0] 0", "B[1] 0.5", "B[2] 1")
    (tmp_path / "q.vnnlib").write_text(_text(*(f"(== {one})" for one in fixed)))
    (tmp_path / "f.onnx").write_bytes(_model().SerializeToString())
    arguments = ["verify", str(tmp_path / "q.vnnlib"), "--network", f"f={tmp_path / 'f.onnx'}"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if "[" in line]
    assert lines[0] == "sat" and heads == [
        "A float64 [1,2]",
        "B float64 [3]",
        "H float64 [1,3]",
        "P float64 [1,3]",
        "Q float64 []",
        "N int64 [2]",
    ]
    assert lines[lines.index("H float64 [1,3]") + 1 :][:3] == ["1.0", "0.5", "0.0"]
    assert lines[-2:] == ["1", "2"]
    assert main([*arguments, "--serialise-assignments", str(tmp_path / "out")]) == 0
    found = {path.stem: onnx.load_tensor(path) for path in (tmp_path / "out").iterdir()}
    arrays = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in found.items()}
    assert set(arrays) == set("ABHPQN") and arrays["N"].dtype == np.int64 and arrays["N"].tolist() == [1, 2]
    assert arrays["H"].tolist() == [[1.0, 0.5, 0.0]] and arrays["Q"].shape == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"h"', '"k"', "no value named k, which H is declared to be"),
        ("H float64 [1,3]", "H float64 [3,1]", r"declares H with shape \[3, 1\], but it is h \(DOUBLE \[1, 3\]\)"),
        ("Q float64", "Q float32", "declares Q as float32, but q of two is float64"),
        ("N int64", "N int32", "declares N as int32, but n of two is int64"),
        ("A float64 [1,2]", 'A float64 [1,2] "c"', r"declares 2 inputs \(A .c., B\), but two has 2: a"),
        ("Q float64 []", 'Q float64 [] "r"', "no value named r, which Q is declared to be"),
        ("(declare-input B float64 [3])", "", r"declares 1 inputs \(A\), but two has 2: a"),
        ("(declare-output Q float64 [])", "", r"declares 2 outputs \(P, N\), but two has 3: p"),
        ("A float64 [1,2]", "A float64 [2,1]", r"declares A with shape \[2, 1\]"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = DECLARED.replace("{hidden}", "h").replace(old, new) + "(assert (<= 0 1))"
    with pytest.raises(av.ModelError, match=words):
        _query(tmp_path, text, _model())


def test_inputs_and_outputs_may_be_named(tmp_path: Path) -> None:
    text = """(vnnlib-version <2.0>)(declare-network f (declare-input B float64 [3] "b") (declare-input A float64 [1,2])
        (declare-output Q float64 [] "q") (declare-output P float64 [1,3] "p"))(assert (<= 0 1))"""
    bounds = "".join(f"(assert (and (>= B[{i}] -1) (<= B[{i}] 1)))" for i in range(3))
    bounds += "".join(f"(assert (and (>= A[0,{i}] -1) (<= A[0,{i}] 1)))" for i in range(2))
    query = _query(tmp_path, text + bounds, _model())
    a, b = np.array([0.3, -0.4]), np.array([0.1, -0.9, 0.2])
    _, p, q = _reference(a, b)
    np.testing.assert_allclose(query.network(np.append(b, a)), [q, *p], atol=1e-12)


def test_networks_without_a_model_are_refused(tmp_path: Path) -> None:
    network = av.read_onnx(_model(), output="p", inputs={"b": np.zeros(3)})
    with pytest.raises(av.InputError, match="Give the model or its path"):
        _query(tmp_path, _text("(<= Q 0)"), network)
    (tmp_path / "q.vnnlib").write_text(_text("(<= Q 0)"))
    with pytest.raises(av.InputError, match="without output= or inputs="):
        av.read_query(tmp_path / "q.vnnlib", _model(), output="p")


def test_a_refused_model_costs_no_reading_of_assertions(tmp_path: Path) -> None:
    graph = _model().graph
    graph.node[3].op_type = "Det"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with pytest.raises(av.UnsupportedOperatorError, match="Det"):
        _query(tmp_path, _text("(this is (no condition"), model)


def test_integer_inputs_are_refused() -> None:
    text = DECLARED.replace("{hidden}", "h").replace("A float64", "A int64") + "(assert (<= 0 1))"
    check_refused(text, "A has the integer type int64", av.UnsupportedQueryError)
