"""The command line as a user meets it: answers, formats, and one clear message for every bad input."""

import gzip
import json
import os
import signal
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify.cli import main
from admm_verify.commands.supports import CAPABILITIES
from tests.clocks import ticking

WEIGHT = np.array([[1.0, -1.0], [1.0, 1.0]], dtype=np.float32)

QUERY = """(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [1,2]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] -1.0) (<= X[0,1] 1.0)))
(assert {atom})
"""

OLD_QUERY = """(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(assert (>= X_0 -1.0)) (assert (<= X_0 1.0))
(assert (>= X_1 -1.0)) (assert (<= X_1 1.0))
(assert {atom})
"""


def model_bytes(weight=WEIGHT, operator="Relu"):
    """y = operator(x) @ weight on two inputs."""
    nodes = [helper.make_node(operator, ["x"], ["r"], name="act"), helper.make_node("MatMul", ["r", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2))],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


@pytest.fixture
def files(tmp_path):
    """Writes files into a folder and returns their paths as strings."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    write("net.onnx", model_bytes())
    return write


def verify(files, tmp_path, atom, *more, text=QUERY):
    query = files("query.vnnlib", text.format(atom=atom))
    return main(["verify", query, "--network", f"f={tmp_path / 'net.onnx'}", *more])


# On the box, y_0 = relu(x_0) + relu(x_1) in [0, 2] and y_1 = relu(x_1) - relu(x_0) in [-1, 1].
def test_unsat(files, tmp_path, capsys):
    assert verify(files, tmp_path, "(>= Y[0,0] 2.5)") == 0
    assert capsys.readouterr().out == "unsat\n"


@pytest.mark.parametrize("strict_atom, word", [("(< Y[0,0] 0.0)", "unsat"), ("(<= Y[0,0] 0.0)", "sat")])
def test_strictness_decides_at_the_boundary(files, tmp_path, capsys, strict_atom, word):
    assert verify(files, tmp_path, strict_atom) == 0
    out = capsys.readouterr().out.splitlines()
    # A bound rounded downward cannot reach the exact boundary, so a strict atom may stay unknown, never sat.
    assert out[0] in ({word, "unknown"} if word == "unsat" else {word})


def test_sat_prints_the_assignment(files, tmp_path, capsys):
    assert verify(files, tmp_path, "(>= Y[0,1] 0.5)") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sat"
    assert lines[1] == "X real [1,2]" and lines[4] == "Y real [1,2]" and len(lines) == 7
    x, y = [float(v) for v in lines[2:4]], [float(v) for v in lines[5:7]]
    assert all(-1 <= v <= 1 for v in x)
    assert y[1] == max(x[1], 0) - max(x[0], 0) >= 0.5


def test_sat_serialises_the_assignment(files, tmp_path, capsys):
    assert verify(files, tmp_path, "(>= Y[0,1] 0.5)", "--serialise-assignments", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out == "sat\n"
    tensors = {name: onnx.TensorProto.FromString((tmp_path / "out" / f"{name}.pb").read_bytes()) for name in "XY"}
    assert numpy_helper.to_array(tensors["X"]).shape == (1, 2)
    assert numpy_helper.to_array(tensors["Y"])[0, 1] >= 0.5


def test_version_one_needs_no_name(files, tmp_path, capsys):
    query = files("old.vnnlib.gz", gzip.compress(OLD_QUERY.format(atom="(>= Y_0 2.5)").encode()))
    assert main(["verify", query, "--network", str(tmp_path / "net.onnx"), "--json", str(tmp_path / "o.json")]) == 0
    assert capsys.readouterr().out == "unsat\n"
    content = json.loads((tmp_path / "o.json").read_text())
    assert content["verdict"] == "unsat" and content["rows"][0]["lower"] > 0


def test_float32_declaration_is_sound_for_float32(files, tmp_path, capsys):
    text = QUERY.replace("real", "float32")
    assert verify(files, tmp_path, "(>= Y[0,0] 2.5)", text=text) == 0
    # The real maximum is 2: nothing above it is reached, but float32 rounding could reach 2 + 1e-9.
    assert verify(files, tmp_path, "(>= Y[0,0] 2.000000001)", text=text) == 0
    assert verify(files, tmp_path, "(>= Y[0,0] 2.000000001)") == 0
    assert capsys.readouterr().out.split() == ["unsat", "unknown", "unsat"]


def test_bound_table_and_json(files, tmp_path, capsys):
    query = files("q.vnnlib", QUERY.format(atom="(or (>= Y[0,0] 2.5) (<= Y[0,1] -1.5))"))
    out = str(tmp_path / "out.json")
    assert main(["bound", query, "--network", f"f={tmp_path / 'net.onnx'}", "--json", out]) == 0
    content = json.loads((tmp_path / "out.json").read_text())
    assert set(content) >= {"schema", "version", "rows", "method", "passes", "seconds", "network", "query"}
    assert [set(row) for row in content["rows"]] == [{"lower", "relaxation_upper", "gap", "status"}] * 2
    # Rows in file order: 2.5 - y_0 >= 0.5 and y_1 + 1.5 >= 0.5.
    assert [row["lower"] for row in content["rows"]] == pytest.approx([0.5, 0.5], abs=1e-9)
    assert all(row["lower"] <= 0.5 <= row["relaxation_upper"] + 1e-12 for row in content["rows"])
    assert "converged" in capsys.readouterr().out


def test_bound_with_objective_rows(files, tmp_path, capsys):
    np.save(tmp_path / "c.npy", np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    query = files("q.vnnlib", QUERY.format(atom="(>= Y[0,0] 0.0)"))
    arguments = ["bound", query, "--network", str(tmp_path / "net.onnx"), "--objective", str(tmp_path / "c.npy")]
    assert main([*arguments, "--json", str(tmp_path / "o.json")]) == 0
    rows = json.loads((tmp_path / "o.json").read_text())["rows"]
    assert [row["lower"] for row in rows] == pytest.approx([0.0, -1.0, -1.0], abs=1e-9)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_supports(capability, capsys):
    assert main(["supports", f"--{capability}"]) == 0
    assert capsys.readouterr().out.split("\n")[:-1] == list(CAPABILITIES[capability])


@pytest.mark.parametrize("flag, text", [("--version", av.__version__), ("--name", "admm_verify")])
def test_name_and_version(flag, text, capsys):
    with pytest.raises(SystemExit) as ended:
        main([flag])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{text}\n"


GOOD = QUERY.format(atom="(<= Y[0,0] 1.0)")
DEEP = "(" * 1_000_000

BAD = {
    "missing query": (None, model_bytes(), ["no such file"]),
    "empty query": ("", model_bytes(), ["empty"]),
    "query is no vnnlib": ("hello (world", model_bytes(), ["line 1"]),
    "deep nesting": (GOOD + f"(assert {DEEP}", model_bytes(), ["nested", "line 5"]),
    "32 digits": (GOOD.replace("1.0))", "0.12345678901234567890123456789012))"), model_bytes(), ["digits"]),
    "surplus network": (GOOD, model_bytes(), ["g=", "declares the network f"]),
    "wrong arity": (GOOD.replace("Y real [1,2]", "Y real [1,3]"), model_bytes(), ["shape"]),
    "wrong index": (GOOD.replace("Y[0,0]", "Y[0,7]"), model_bytes(), ["Y"]),
    "wrong type": (GOOD.replace("real", "float64"), model_bytes(), ["float64", "float32"]),
    "empty box": (GOOD.replace("X[0,0] 1.0", "X[0,0] -2.0"), model_bytes(), ["X[0,0]"]),
    "open box": (GOOD.replace("(<= X[0,0] 1.0)", ""), model_bytes(), ["X[0,0]"]),
    "truncated gzip query": (gzip.compress(GOOD.encode())[:-9], model_bytes(), ["truncated"]),
    "missing network": (GOOD, None, ["no such file"]),
    "empty network": (GOOD, b"", ["empty"]),
    "network is no onnx": (GOOD, b"this is no model", ["not an ONNX model"]),
    "truncated gzip network": (GOOD, gzip.compress(model_bytes())[:-9], ["truncated"]),
    "unsupported operator": (GOOD, model_bytes(operator="Det"), ["Det", "node act", "opset 13"]),
    "nan weights": (GOOD, model_bytes(WEIGHT * np.float32(np.nan)), ["tensor w", "NaN"]),
    "infinite weights": (GOOD, model_bytes(WEIGHT * np.float32(np.inf)), ["tensor w", "infinite"]),
}


@pytest.mark.parametrize("command", ["verify", "bound"])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_paragraph_and_no_verdict(name, command, files, tmp_path, capsys):
    query, model, words = BAD[name]
    for target, content in (("bad.vnnlib", query), ("bad.onnx", model)):
        if content is not None:
            files(target, content)
    key = "g=" if name == "surplus network" else ""
    assert main([command, str(tmp_path / "bad.vnnlib"), "--network", f"{key}{tmp_path / 'bad.onnx'}"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("admm-verify: ") and len(shown.err.strip().splitlines()) == 1
    for word in words:
        assert word.removesuffix("=") in shown.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--objective", "MISSING.npy"], ["MISSING.npy"]),
        (["--objective", "QUERY"], [".npy"]),
        (["--objective", "SHORT"], ["objective", "2 outputs"]),
        (["--objective", "NAN"], ["objective", "NaN"]),
        (["--tolerance", "-1"], ["tolerance"]),
        (["--max-passes", "-3"], ["max_passes"]),
        (["--timeout", "-1"], ["timeout"]),
        (["--device", "abacus"], ["abacus", "cuda"]),
        (["--device", "cuda:0,cpu"], ["cuda:0,cpu", "several GPUs"]),
        (["--device", "cuda:1,cuda:1"], ["twice"]),
        (["--json", "FOLDER"], ["cannot be written"]),
        (["--network", "other.onnx"], ["have no names", "NAME=FILE.onnx"]),
    ],
)
def test_bad_options_of_bound(more, words, files, tmp_path, capsys):
    np.save(tmp_path / "short.npy", np.ones((2, 5)))
    np.save(tmp_path / "nan.npy", np.array([[np.nan, 1.0]]))
    query = files("q.vnnlib", GOOD)
    names = {"QUERY": query, "SHORT": tmp_path / "short.npy", "NAN": tmp_path / "nan.npy", "FOLDER": tmp_path}
    arguments = ["bound", query, "--network", str(tmp_path / "net.onnx"), *(str(names.get(m, m)) for m in more)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert all(word in error for word in words) and len(error.strip().splitlines()) == 1


def test_folder_instead_of_a_file(files, tmp_path, capsys):
    query = files("q.vnnlib", GOOD)
    assert main(["verify", query, "--network", str(tmp_path)]) == 1
    assert main(["verify", str(tmp_path), "--network", str(tmp_path / "net.onnx")]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("is a folder") == 2


def test_cuda_without_a_gpu_is_named(files, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    query = files("q.vnnlib", GOOD)
    assert main(["bound", query, "--network", str(tmp_path / "net.onnx"), "--device", "cuda"]) == 1
    assert "CUDA" in capsys.readouterr().err


def run_alone(*arguments, code=None):
    """A fresh process; returns the completed process."""
    start = [sys.executable, "-c", code] if code else [sys.executable, "-m", "admm_verify"]
    return subprocess.run([*start, *arguments], capture_output=True, text=True, check=False)


def test_small_queries_import_nothing_heavy(files, tmp_path):
    query = files("q.vnnlib", QUERY.format(atom="(>= Y[0,0] 2.5)"))
    code = (
        "import sys\nfrom admm_verify.cli import main\nstatus = main(sys.argv[1:])\n"
        "names = {'torch', 'matplotlib', 'scipy', 'onnxruntime', 'cupy', 'jaxtyping', 'beartype', 'numpy.ma'}\n"
        "names.add('admm_verify.certificates.kinds')\n"
        "heavy = names & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)\nsys.exit(status)"
    )
    done = run_alone("verify", query, "--network", str(tmp_path / "net.onnx"), code=code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "unsat\n", "[]\n")
    # What a search imports counts for every query that is not decided at once.
    done = run_alone(code="import sys, admm_verify.attacks.search; print('scipy' in sys.modules)")
    assert done.stdout == "False\n"
    done = run_alone("supports", "--onnx-operators", code=code)
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_garbage_is_collected_again_once_a_command_runs():
    code = (
        "import gc, sys\nimport admm_verify.start as start\n"
        "import admm_verify.cli as cli\ncli.main = lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000) or 7\n"
        "sys.argv[1:] = ['supports']\nsys.exit(start.main())"
    )
    done = run_alone(code=code)
    # What is printed past the results goes where errors go.
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "True True\n")


@pytest.fixture
def endless(files, tmp_path):
    """A command that goes on for ever, as its two rows may have no gap at all."""
    query = files("q.vnnlib", QUERY.format(atom="(or (>= Y[0,0] 2.5) (<= Y[0,1] -1.5))"))
    given = ["bound", query, "--network", str(tmp_path / "net.onnx"), "--method", "admm"]
    return [*given, "--tolerance", "0", "--max-passes", "100000000", "--quiet"]


def test_a_timeout_ends_with_what_is_known(endless, capsys):
    with ticking() as clock:
        assert main([*endless, "--timeout", "300"]) == 0
    assert 300 < clock.looks <= 320
    assert capsys.readouterr().out.count("timed-out") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_what_is_known(number, endless, monkeypatch, capsys):
    looks, original = [], av.Run.ended

    def ended(run):
        looks.append(1)
        if len(looks) == 50:
            os.kill(os.getpid(), number)
        return original(run)

    monkeypatch.setattr(av.Run, "ended", ended)
    assert main(endless) == 0
    out = capsys.readouterr().out
    assert out.count("stopped") == 2 and "nan" not in out and len(looks) < 70


@pytest.mark.parametrize(
    ("command", "more", "advice"),
    [
        ("verify", ["--timeout", "0"], "Raise the timeout."),
        ("bound", ["--method", "admm", "--max-passes", "1", "--tolerance", "0"], "Raise max_passes"),
        ("verify", [], ""),
        ("verify", ["--timeout", "0", "--quiet"], ""),
    ],
)
def test_a_terminal_is_told_what_to_do(command, more, advice, files, tmp_path, monkeypatch, capsys):
    query = files("query.vnnlib", QUERY.format(atom="(>= Y[0,1] 0.9)"))
    given = [command, query, "--network", str(tmp_path / "net.onnx"), *more]
    assert main(given) == 0
    assert "Raise" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(given) == 0
    error = capsys.readouterr().err
    assert advice in error and bool(advice) == ("Raise" in error)


class Missing:
    """A finder that hides packages as blocking hooks do: by raising."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnxruntime", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (("verify",), 0, ["sat"]),
        (("verify", "--device", "cuda"), 1, ["torch"]),
        (("bound", "--device", "cuda:1"), 1, ["torch"]),
        (("reach", "--plot", "sets.png"), 1, ["matplotlib", "pip install"]),
    ],
)
def test_optional_packages_may_be_missing(more, status, words, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("torch", "onnxruntime", "matplotlib"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    command, *options = more
    query = files("query.vnnlib", QUERY.format(atom="(>= Y[0,1] 0.5)"))
    asked = [] if command == "reach" else [query, "--network", str(tmp_path / "net.onnx")]
    assert main([command, *asked, *options]) == status
    shown = capsys.readouterr()
    assert all(word in shown.out + shown.err for word in words) and "Traceback" not in shown.err
