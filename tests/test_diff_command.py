"""The command diff as a user meets it."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from admm_verify.cli import main
from tests.clocks import ticking
from tests.test_cli import OLD_QUERY, QUERY, WEIGHT, model_bytes


@pytest.fixture
def files(tmp_path):
    """Two networks, boxes and a query; the path of each by its name."""
    (tmp_path / "first.onnx").write_bytes(model_bytes())
    (tmp_path / "second.onnx").write_bytes(model_bytes(1.25 * WEIGHT))
    (tmp_path / "wide.onnx").write_bytes(model_bytes(np.ones((2, 3), dtype=np.float32)))
    np.savez(tmp_path / "boxes.npz", lower=[[-1.0, -1.0], [0.5, 0.5]], upper=[[1.0, 1.0], [0.5, 0.5]])
    np.savez(tmp_path / "box.npz", lower=[-1.0, -1.0], upper=[1.0, 1.0])
    np.savez(tmp_path / "other.npz", low=[0.0], high=[1.0])
    (tmp_path / "query.vnnlib").write_text(QUERY.format(atom="(>= Y[0,0] 2.5)"))
    (tmp_path / "old.vnnlib").write_text(OLD_QUERY.format(atom="(>= Y_0 2.5)"))
    return lambda name: str(tmp_path / name)


def diff(files, *more, inputs=("--inputs", "box.npz")):
    return main(["diff", files("first.onnx"), files("second.onnx"), inputs[0], files(inputs[1]), *more])


# y' - y = y / 4, with y_0 = relu(x_0) + relu(x_1) in [0, 2] and y_1 = relu(x_1) - relu(x_0) in [-1, 1].
@pytest.mark.parametrize(
    "inputs",
    [("--inputs", "box.npz"), ("--query", "query.vnnlib"), ("--query", "old.vnnlib")],
    ids=lambda given: given[1],
)
def test_ends_of_the_difference(files, capsys, inputs, tmp_path):
    assert diff(files, "--json", str(tmp_path / "out.json"), inputs=inputs) == 0
    out = capsys.readouterr().out
    assert "lower" in out and "converged" in out
    (one,) = json.loads((tmp_path / "out.json").read_text())["sets"]
    ends = [(end["lower"], end["least"], end["greatest"], end["upper"]) for end in one["outputs"]]
    assert ends[0] == pytest.approx((0.0, 0.0, 0.5, 0.5), abs=6e-3)
    assert ends[1] == pytest.approx((-0.25, -0.25, 0.25, 0.25), abs=6e-3)
    assert all(end[0] <= end[1] <= end[2] <= end[3] for end in ends)


@pytest.mark.parametrize(
    ("criterion", "word"),
    [
        (["--eps", "0.49"], "1 falsified"),
        (["--eps", "0.51"], "1 verified"),
        (["--eps", "0.51", "0.24"], "1 falsified"),
        (["--eps", "0.51", "0.26"], "1 verified"),
        (["--eps", "0.26", "--outputs", "1"], "1 verified"),
    ],
    ids=" ".join,
)
def test_answers(files, capsys, criterion, word):
    assert diff(files, *criterion) == 0
    assert word in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(("criterion", "word"), [(["--top1"], "1 falsified"), (["--confidence", "0.8"], "1 verified")])
def test_classes(files, capsys, tmp_path, criterion, word):
    # y_0 - y_1 = 2 relu(x_0) >= 0.4 of the first, that of the other is 2 relu(x_0) - 1, of one sign from 0.5 on.
    weight = np.array([[1.0, -1.0], [1.0, 1.0]], dtype=np.float32)
    model = onnx.load_from_string(model_bytes(weight))
    bias = numpy_helper.from_array(np.array([-1.0, 0.0], dtype=np.float32), "b")
    model.graph.initializer.append(bias)
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("Add", ["z", "b"], ["y"], name="add"))
    (tmp_path / "second.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "boxes.npz", lower=[0.2, -1.0], upper=[1.0, 1.0])
    assert diff(files, *criterion, inputs=("--inputs", "boxes.npz")) == 0
    assert word in capsys.readouterr().out.splitlines()[0]


def test_sets_have_an_answer_each(files, capsys):
    assert diff(files, "--eps", "0.3", inputs=("--inputs", "boxes.npz")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 verified, 1 falsified" in lines[0] and [line.split()[1] for line in lines[-2:]] == [
        "falsified",
        "verified",
    ]


@pytest.mark.parametrize("criterion", [[], ["--eps", "0.4"]])
def test_the_best_so_far_when_the_time_is_up(files, capsys, criterion):
    with ticking():
        assert diff(files, *criterion, "--timeout", "100000") == 0
    assert capsys.readouterr().out
    assert diff(files, "--max-subproblems", "0", *criterion) == 0


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        (["--eps", "-1"], 1, "finite number >= 0"),
        (["--eps", "1", "1", "1"], 1, "3 epsilons for 2 outputs"),
        (["--outputs", "2"], 1, "no output 2"),
        (["--outputs", "0", "--top1"], 1, "--outputs"),
        (["--largest", "--top1"], 1, "--largest"),
        (["--tolerance", "0.1", "--eps", "1"], 1, "--tolerance"),
        (["--confidence", "0.2"], 1, "confidence"),
        (["--tolerance", "-1"], 1, "relative"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else None,
)
def test_options_that_say_nothing(files, capsys, given, status, words):
    assert diff(files, *given) == status
    captured = capsys.readouterr()
    assert words in captured.err and not captured.out


@pytest.mark.parametrize(
    "given", [["--eps", "1", "--top1"], ["--top1", "--confidence", "0.9"], ["--query", "q.vnnlib"]]
)
def test_options_that_exclude_each_other(files, given, capsys):
    with pytest.raises(SystemExit) as ended:
        diff(files, *given)
    assert ended.value.code == 2 and "not allowed with" in capsys.readouterr().err


PAIR = """(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [1,2]))
(declare-network g (isomorphic-to f) (declare-input U real [1,2]) (declare-output V real [1,2]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] -1.0) (<= X[0,1] 1.0)))
(assert (== X[0,0] U[0,0]))
(assert (== X[0,1] {other}))
(assert (>= V[0,0] (+ Y[0,0] 0.4)))
"""


def test_a_query_about_both(files, capsys, tmp_path):
    (tmp_path / "pair.vnnlib").write_text(PAIR.format(other="U[0,1]"))
    assert diff(files, "--eps", "0.51", inputs=("--query", "pair.vnnlib")) == 0
    assert "1 verified" in capsys.readouterr().out
    assert diff(files, "--eps", "0.49", inputs=("--query", "pair.vnnlib")) == 0
    assert "1 falsified" in capsys.readouterr().out
    (tmp_path / "apart.vnnlib").write_text(PAIR.format(other="(+ U[0,1] 0.1)"))
    assert diff(files, inputs=("--query", "apart.vnnlib")) == 1
    assert "diff compares them at equal ones" in capsys.readouterr().err


def test_files_that_do_not_fit(files, capsys):
    assert diff(files, inputs=("--inputs", "other.npz")) == 1
    assert "arrays lower and upper" in capsys.readouterr().err
    assert main(["diff", files("first.onnx"), files("wide.onnx"), "--inputs", files("box.npz")]) == 1
    assert "compared output by output" in capsys.readouterr().err
    assert main(["diff", files("first.onnx"), files("none.onnx"), "--inputs", files("box.npz")]) == 1
    assert "none.onnx" in capsys.readouterr().err
