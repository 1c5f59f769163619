"""Queries about two networks on the command line: assignments of both, replay in both models, and refusals."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from admm_verify.cli import main
from admm_verify.network import onnx_runtime
from tests.pair_texts import bounded, declared, equal

ISO, EQUAL = "(isomorphic-to f) ", "(equal-to f) "
FIRST = np.array([[1.0, 0.0], [0.5, 1.0]], dtype=np.float32)
SECOND = np.array([[1.0, 0.0], [0.75, 1.0]], dtype=np.float32)
BOX = bounded("X_f", (-1, -1), (1, 1))


def model(weight: np.ndarray, kind: int = TensorProto.FLOAT) -> bytes:
    """y = relu(x) @ weight: y_0 = relu(x_0) + c relu(x_1), y_1 = relu(x_1)."""
    array = weight.astype(helper.tensor_dtype_to_np_dtype(kind))
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["y"])]
    inputs, outputs = [helper.make_tensor_value_info("x", kind, (1, 2))], [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(array, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command on a query about f.onnx and g.onnx in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.onnx").write_bytes(model(FIRST))
    (tmp_path / "g.onnx").write_bytes(model(SECOND))
    (tmp_path / "d.onnx").write_bytes(model(SECOND, TensorProto.DOUBLE))

    def command(text, *more, networks=("f=f.onnx", "g=g.onnx"), name="verify"):
        (tmp_path / "q.vnnlib").write_text(text)
        return main([name, "q.vnnlib", *(part for one in networks for part in ("--network", one)), *more])

    return command


def two(relation: str = ISO, kind: str = "real") -> str:
    return declared((2, 2), (2, 2), relation, (kind, kind)) + BOX


# g_0 - f_0 = relu(x_1) / 4.
@pytest.mark.parametrize("kind", ["real", "float32"])
@pytest.mark.parametrize(("limit", "word"), [("0.2499", "sat"), ("0.2501", "unsat")])
def test_a_difference_is_decided(run, capsys, kind, limit, word):
    assert run(two(kind=kind) + equal(2) + f"(assert (>= Y_g[0] (+ Y_f[0] {limit})))") == 0
    assert capsys.readouterr().out.splitlines()[0] == word


def test_sat_prints_both_networks_in_order_of_declaration(run, capsys):
    assert (
        run(two() + equal(2) + "(assert (>= Y_g[0] (+ Y_f[0] 0.2)))(assert (>= Y_f[1] 0.9))", "--json", "o.json") == 0
    )
    lines = capsys.readouterr().out.splitlines()
    heads = {line: i for i, line in enumerate(lines) if " " in line}
    assert lines[0] == "sat" and list(heads) == [f"{name} real [2]" for name in ("X_f", "Y_f", "X_g", "Y_g")]
    x, y, z, w = ([float(value) for value in lines[i + 1 : i + 3]] for i in heads.values())
    assert x == z and all(-1 <= value <= 1 for value in x)
    kept = np.maximum(np.float32(x), 0)
    assert y == (kept @ FIRST).tolist() and w == (kept @ SECOND).tolist() and w[0] >= y[0] + 0.2
    content = json.loads(Path("o.json").read_text())
    assert content["verdict"] == "sat" and content["network"] == "f.onnx and g.onnx"
    assert len(content["counterexample"]) == len(content["output"]) == 4


def test_sat_serialises_tensors_of_both(run, capsys, tmp_path):
    assert run(two() + equal(2) + "(assert (>= Y_g[0] (+ Y_f[0] 0.2)))", "--serialise-assignments", "out") == 0
    assert capsys.readouterr().out == "sat\n"
    found = {
        name: numpy_helper.to_array(onnx.TensorProto.FromString((tmp_path / "out" / f"{name}.pb").read_bytes()))
        for name in ("X_f", "Y_f", "X_g", "Y_g")
    }
    assert all(array.shape == (2,) and array.dtype == np.float32 for array in found.values())
    assert np.array_equal(found["X_f"], found["X_g"]) and found["Y_g"][0] - found["Y_f"][0] >= 0.2


def test_both_models_are_replayed(run, capsys, monkeypatch):
    asked = []

    def replayed(data, x, how=None):
        asked.append((data, x.tolist()))
        return real(data, x, how)

    real = onnx_runtime.runtime_output
    monkeypatch.setattr("admm_verify.properties.query.runtime_output", replayed)
    text = two() + equal(2) + "(assert (>= Y_g[0] (+ Y_f[0] 0.2)))"
    assert run(text) == 0 and capsys.readouterr().out.startswith("sat")
    assert [data for data, _ in asked] == [model(FIRST), model(SECOND)] and asked[0][1] == asked[1][1]

    def wrong(data, x, how=None):
        return real(data, x, how) * (1 if data == model(FIRST) else 0)

    monkeypatch.setattr("admm_verify.properties.query.runtime_output", wrong)
    assert run(text, "--timeout", "5") == 0
    assert not capsys.readouterr().out.startswith("sat")


def test_two_inputs_of_one_network(run, capsys):
    text = two(EQUAL) + "(assert (<= X_g[0] X_f[0]))(assert (>= X_g[0] -1))(assert (== X_g[1] X_f[1]))"
    for condition, word in (
        ("(>= Y_g[0] (+ Y_f[0] 0.01))", "unsat"),
        ("(<= Y_g[0] (- Y_f[0] 0.99))", "sat"),
        ("(<= Y_g[0] (- Y_f[0] 1.01))", "unsat"),
    ):
        assert run(text + f"(assert {condition})", networks=["f=f.onnx"]) == 0
        assert capsys.readouterr().out.splitlines()[0] == word
    assert run(text + "(assert (<= Y_g[0] 1))", networks=["f.onnx"]) == 0
    assert capsys.readouterr().out.startswith("sat\nX_f real [2]")


@pytest.mark.parametrize(
    ("text", "networks", "words"),
    [
        (two(), ["f=f.onnx"], "missing: g. Give f=FILE.onnx and g=FILE.onnx"),
        (two(), ["f.onnx", "g=g.onnx"], "missing: f; too many: one without a name"),
        (two(), ["f=f.onnx", "g=g.onnx", "h=g.onnx"], "too many: h"),
        (two(), ["f=f.onnx", "f=g.onnx"], "--network f was given twice"),
        (two(), ["f.onnx", "g.onnx"], "--network f.onnx and --network g.onnx have no names"),
        (two(EQUAL), ["f=f.onnx", "g=g.onnx"], "declares g as equal to f, and g was given, too"),
        (two(), ["f=f.onnx", "g=d.onnx"], "f.onnx computes in float32 and d.onnx in float64"),
        (two(kind="float32"), ["f=f.onnx", "g=d.onnx"], "X_g as float32, but d.onnx computes in float64"),
        (declared((2, 3), (2, 2)) + BOX, ["f=f.onnx", "g=g.onnx"], "X_g with shape [3]"),
        (declared((2, 2), (2, 3), ISO) + BOX, ["f=f.onnx", "g=g.onnx"], "leave isomorphic-to out"),
        (declared((2, 2), (2, 2), ISO, ("float32", "real")), ["f=f.onnx", "g=g.onnx"], "over float32 and g over real"),
        (two(), ["f=f.onnx", "g=missing.onnx"], "missing.onnx cannot be read: there is no such file"),
    ],
)
def test_what_is_refused(run, capsys, text, networks, words):
    assert run(text + bounded("X_g", (0, 0), (1, 1)) + "(assert (<= Y_f[0] 0))", networks=networks) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and words in shown.err and shown.err.count("\n") == 1


def test_options_about_one_model_are_refused(run, capsys):
    text = two() + equal(2) + "(assert (<= Y_f[0] 0))"
    np.save("c.npy", np.ones((1, 4)))
    for name, more in (("verify", ["--output-name", "y"]), ("verify", ["--fix", "x=c.npy"])):
        assert run(text, *more, name=name) == 1
        assert "2 networks, for which no output" in capsys.readouterr().err
    assert run(text, "--objective", "c.npy", name="bound") == 1
    assert "about 2 networks, and rows of --objective" in capsys.readouterr().err


def test_bounds_of_a_difference_are_rows(run, capsys):
    text = two() + equal(2) + "(assert (or (>= Y_g[0] (+ Y_f[0] 0.5)) (<= Y_g[0] (- Y_f[0] 0.25))))"
    assert run(text, "--json", "o.json", name="bound") == 0
    rows = json.loads(Path("o.json").read_text())["rows"]
    # 0.5 - relu(x_1) / 4 and 0.25 + relu(x_1) / 4.
    assert [row["lower"] for row in rows] == pytest.approx([0.25, 0.25], abs=1e-6)
    assert all(row["lower"] <= 0.25 for row in rows)
    capsys.readouterr()


def test_time_that_is_up(run, capsys):
    assert run(two() + equal(2) + "(assert (>= Y_g[0] (+ Y_f[0] 0.2)))", "--timeout", "0") == 0
    assert capsys.readouterr().out == "timed-out\n"


def test_an_interruption_is_answered(run, tmp_path):
    # Large enough that it is not decided before.
    rng = np.random.default_rng(0)
    side = 60
    for name in "fg":
        weights = [rng.standard_normal((side, side)).astype(np.float32) for _ in range(4)]
        nodes = []
        for k in range(4):
            nodes += [
                helper.make_node("MatMul", [f"v{k}", f"w{k}"], [f"p{k}"]),
                helper.make_node("Relu", [f"p{k}"], [f"v{k + 1}"]),
            ]
        graph = helper.make_graph(
            nodes[:-1],
            "g",
            [helper.make_tensor_value_info("v0", TensorProto.FLOAT, (1, side))],
            [helper.make_empty_tensor_value_info("p3")],
            [numpy_helper.from_array(weight, f"w{k}") for k, weight in enumerate(weights)],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        (tmp_path / f"{name}.onnx").write_bytes(made.SerializeToString())
    text = declared((side, side), (side, side), ISO) + bounded("X_f", [-1] * side, [1] * side) + equal(side)
    (tmp_path / "q.vnnlib").write_text(text + "(assert (>= Y_g[0] (+ Y_f[0] 20000)))")
    # The program interrupts itself once the search runs.
    code = (
        "import os, signal, threading, sys\n"
        "from admm_verify.cli import main\n"
        "threading.Timer(3.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "sys.exit(main(['verify', 'q.vnnlib', '--network', 'f=f.onnx', '--network', 'g=g.onnx']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "unknown\n" and done.returncode in (0, 130)
