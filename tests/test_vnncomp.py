"""The competition runner and scripts: verdicts against truths, replays, reports, and what goes wrong on the way."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from experiments.vnncomp.answer import Settings
from experiments.vnncomp.fresh import FreshProcesses
from experiments.vnncomp.instances import Instance, read_instances
from experiments.vnncomp.persistent import PersistentWorker
from experiments.vnncomp.prepare import warm_up
from experiments.vnncomp.replay import replay
from experiments.vnncomp.run import main
from tests.network.onnx_models import model, node
from tests.network.test_external_data import QUERY as EXTERNAL_QUERY, SUM, saved
from tests.test_cli import OLD_QUERY as QUERY, WEIGHT

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "experiments" / "vnncomp"

# On the box, y_0 = relu(x_0) + relu(x_1) in [0, 2] and y_1 = relu(x_1) - relu(x_0) in [-1, 1].
NEW_QUERY = """(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [1,2]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] -1.0) (<= X[0,1] 1.0)))
(assert (>= Y[0,1] 0.5))
"""

HEADER = "id,category,model,spec,timeout_s,truth,truth_source\n"
SHARED_ROWS = (
    "a/holds,vnncomp_first,onnx/net.onnx,holds.vnnlib,3000,unsat,known\n"
    "a/broken,vnncomp_first,onnx/net.onnx,broken.vnnlib,3000,sat,known\n"
    "b/misjudged,vnncomp_second,onnx/net.onnx,holds.vnnlib,3000,sat,made up\n"
    "b/unsupported,vnncomp_second,onnx/det.onnx,holds.vnnlib,3000,unknown,\n"
    "c/other,reachability,nowhere.onnx,nowhere.json#x,30,value,\n"
)

# Stands in for the tool: what it does depends on the query's name.
FAKE = """import os, signal, sys, time
name = os.path.basename(next(a for a in ARGUMENTS if a.endswith(".vnnlib")))
if name.startswith("crash"):
    os.kill(os.getpid(), signal.SIGSEGV)
if name.startswith("sleep"):
    with open("sleeper", "w") as file:
        file.write(str(os.getpid()))
    while True:
        time.sleep(60)
if name.startswith("outside"):
    print("sat\\nX real [2]\\n0.0\\n1.00000001\\nY real [2]\\n1.0\\n1.0")
elif name.startswith("forged"):
    print("sat\\nX real [2]\\n0.5\\n0.25\\nY real [2]\\n0.0\\n0.9")
elif name.startswith("silent"):
    print("sat")
elif name.startswith("infinite"):
    print("sat\\nX real [2]\\n0.0\\ninf\\nY real [2]\\n1.0\\n1.0")
else:
    print("unsat")
"""


@pytest.fixture
def folder(tmp_path):
    """A benchmark folder `bench` with two models and two queries."""
    root = tmp_path / "bench"
    (root / "onnx").mkdir(parents=True)
    for name, kind in (("net", "Relu"), ("det", "Det")):
        nodes = [node(kind, ["x"], ["r"], name="act"), node("MatMul", ["r", "w"], ["y"])]
        (root / "onnx" / f"{name}.onnx").write_bytes(model(nodes, (1, 2), {"w": WEIGHT}))
    for name, atom in (("holds", "(>= Y_0 2.5)"), ("broken", "(>= Y_1 0.5)")):
        (root / f"{name}.vnnlib").write_text(QUERY.format(atom=atom))
    return root


@pytest.fixture
def fake(tmp_path):
    """A folder whose package admm_verify stands in for the tool's command."""
    package = tmp_path / "fake" / "admm_verify"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys\nARGUMENTS = sys.argv\n" + FAKE)
    body = "".join(f"    {line}\n" for line in FAKE.splitlines())
    (package / "cli.py").write_text(f"def main(ARGUMENTS):\n{body}    return 0\n")
    return tmp_path / "fake"


def run(folder, tmp_path, *more, rows=SHARED_ROWS, header=HEADER):
    listed = folder / "instances.csv"
    listed.write_text(header + rows)
    return main([str(listed), "--cap", "1000", "--output", str(tmp_path / "out"), *more])


def rows_of(path):
    with open(path / "results.csv", newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def instance(folder, name, timeout=1000.0):
    query = folder / f"{name}.vnnlib"
    query.write_text(QUERY.format(atom="(>= Y_1 0.5)"))
    return Instance(name, "fake", (("", folder / "onnx" / "net.onnx"),), query, timeout, "unknown")


@pytest.mark.parametrize("mode", [["--processes", "2"], ["--persistent"]])
def test_verdicts_truths_and_reports(mode, folder, tmp_path, capsys):
    assert run(folder, tmp_path, *mode) == 0
    out = tmp_path / "out"
    rows = rows_of(out)
    found = {name: (row["verdict"], row["outcome"], row["replay"]) for name, row in rows.items()}
    assert found == {
        "a/holds": ("unsat", "decided", ""),
        "a/broken": ("sat", "decided", "confirmed"),
        "b/misjudged": ("unsat", "wrong", ""),
        "b/unsupported": ("error", "error", ""),
    }
    assert rows["b/misjudged"]["reason"] == "the truth is sat" and "Det" in rows["b/unsupported"]["reason"]
    assert all(
        0 < float(row["seconds"]) and 0 <= float(row["cpu_seconds"]) < 1000 and 20 < float(row["peak_mb"]) < 2000
        for row in rows.values()
    )
    content = json.loads((out / "results.json").read_text())
    assert {name: numbers["decided"] for name, numbers in content["summary"].items()} == {
        **{"first": 2, "second": 0, "all": 2}
    }
    assert content["wrong"] == ["b/misjudged"] and content["environment"]["cap_s"] == 1000.0
    # What is not decided, or wrongly, counts as the cap.
    walls = sum(float(row["seconds"]) for row in rows.values() if row["outcome"] == "decided")
    assert content["summary"]["all"]["seconds"] == pytest.approx(walls + 2 * 1000.0, abs=0.01)
    assert (out / "cactus.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert "2 of 4 instances decided, 1 wrong" in page and "data:image/png;base64," in page and 'src="http' not in page
    assert all(name in page for name in rows)
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("MiB") == 4


def test_official_list_with_compressed_files(folder, tmp_path):
    (folder / "1.0").mkdir()
    packed = gzip.compress((folder / "broken.vnnlib").read_bytes())
    (folder / "1.0" / "broken.vnnlib.gz").write_bytes(packed)
    listed = folder / "1.0" / "instances.csv"
    rows = ["../onnx/net.onnx,broken.vnnlib,100", "../onnx/net.onnx,../holds.vnnlib,2.5"] * 2
    listed.write_text("\n".join([*rows, "\"[('f', '../onnx/net.onnx'), ('g', '../onnx/det.onnx')]\",broken.vnnlib,1"]))
    found = read_instances(listed, None, 5.0)
    names = ["net/broken", "net/holds", "net/broken#2", "net/holds#2", "net+det/broken"]
    assert [one.id for one in found] == [f"bench/{name}" for name in names]
    assert [one.timeout for one in found] == [5.0, 2.5, 5.0, 2.5, 1.0]
    assert [name for name, _ in found[-1].networks] == ["f", "g"]
    assert main([str(listed), "--only", "broken#2", "--output", str(tmp_path / "out")]) == 0
    assert rows_of(tmp_path / "out")["bench/net/broken#2"]["replay"] == "confirmed"


@pytest.mark.parametrize("mode", [[], ["--persistent"]])
def test_forged_counterexamples_are_wrong(mode, folder, fake, tmp_path, monkeypatch):
    stand_in(monkeypatch, fake)
    names = ("outside", "forged", "silent", "infinite")
    for name in names:
        instance(folder, name)
    rows = "".join(f"{n},vnncomp_x,onnx/net.onnx,{n}.vnnlib,900,sat,\n" for n in names)
    assert run(folder, tmp_path, *mode, rows=rows) == 0
    found = rows_of(tmp_path / "out")
    assert {(row["verdict"], row["outcome"], row["replay"]) for row in found.values()} == {("sat", "wrong", "refuted")}
    assert "outside of every input box" in found["outside"]["reason"]
    assert "no disjunct" in found["forged"]["reason"] and "no counterexample" in found["silent"]["reason"]
    assert "no list of finite numbers" in found["infinite"]["reason"]


def stand_in(monkeypatch, fake):
    """Let new processes find the stand-in before the real tool."""
    monkeypatch.chdir(fake)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("experiments.vnncomp.persistent._ROOT", fake)


TIMES = {"sleep": 0.3}


@pytest.mark.parametrize("kind", [FreshProcesses, PersistentWorker])
def test_crashes_and_hangs_cost_one_instance(kind, folder, fake, tmp_path, monkeypatch):
    stand_in(monkeypatch, fake)
    (tmp_path / "answers").mkdir()
    runner = kind(Settings(tmp_path / "answers", grace=0.5))
    found = [runner.run(instance(folder, name, TIMES.get(name, 1000.0))) for name in ("crash", "fine", "sleep", "fine")]
    runner.close()
    assert [attempt.verdict for attempt in found] == ["error", "unsat", "killed", "unsat"]
    assert "signal 11" in found[0].reason and "0.8 s" in found[2].reason
    assert found[2].spent.seconds >= 0.8
    assert gone(fake / "sleeper")


def gone(file):
    """Whether the process noted in a file, if it came to that, ends."""
    if not file.exists() or not file.read_text():
        return True
    number, deadline = int(file.read_text()), time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("mode", [[], ["--persistent"]])
def test_interrupt_reports_what_is_done_and_resume_goes_on(mode, folder, fake, tmp_path, capsys):
    for name in ("fine", "sleep"):
        instance(folder, name)
    rows = "".join(f"{n},vnncomp_x,onnx/net.onnx,{n}.vnnlib,5000,unknown,\n" for n in ("fine", "sleep"))
    (folder / "instances.csv").write_text(HEADER + rows)
    out = tmp_path / "out"
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom experiments.vnncomp import persistent, run\n"
        f"os.chdir({str(fake)!r}); persistent._ROOT = Path({str(fake)!r})\nsys.exit(run.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(folder / "instances.csv"), "--output", str(out), *mode]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 600
        while not (fake / "sleeper").exists() or not (fake / "sleeper").read_text():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    assert gone(fake / "sleeper")
    assert list(rows_of(out)) == ["fine"] and json.loads((out / "results.json").read_text())["summary"]["all"]["unsat"]
    # A row that a kill cut short is done again; the finished one is not.
    with open(out / "results.csv", "a", encoding="utf-8") as file:
        file.write("sleep,x,unk")
    assert main([str(folder / "instances.csv"), "--output", str(out), "--resume"]) == 0
    assert "1 of 2 instances are done already" in capsys.readouterr().err
    assert [row["verdict"] for row in rows_of(out).values()] == ["unsat", "sat"]


def test_replay_uses_the_element_type_and_exact_boxes(tmp_path):
    data = model([node("Identity", ["x"], ["y"])], (1, 2), element=TensorProto.DOUBLE)
    (tmp_path / "same.onnx").write_bytes(gzip.compress(data))
    (tmp_path / "q.vnnlib").write_text(QUERY.format(atom="(>= Y_0 0.1)").replace("X_0 1.0", "X_0 0.1"))

    def result(*values):
        return replay(tmp_path / "same.onnx", tmp_path / "q.vnnlib", [Fraction(value) for value in values])[0]

    # The double nearest to 0.1 lies above it: it satisfies the atom and lies outside of the box, the decimal inside.
    assert result(0.1, 0.0) == "refuted" and result("0.1", 0.0) == "confirmed"
    (tmp_path / "q.vnnlib").write_text(QUERY.format(atom="(>= Y_0 0.1)"))
    assert result(0.1, 0.0) == "confirmed"
    assert result(np.nextafter(0.1, 0), 0.0) == result(0.5) == "refuted"
    (tmp_path / "same.onnx").write_bytes(b"no model")
    assert result(0.1, 0.0) == "failed"


BAD = {
    "missing list": (None, [], "does not exist"),
    "empty list": ("", [], "is empty"),
    "columns": ("a.onnx,b.vnnlib\n", [], "line 1: found 2 fields"),
    "timeout": ("onnx/net.onnx,holds.vnnlib,soon\n", [], "'soon'"),
    "missing model": ("onnx/absent.onnx,holds.vnnlib,5\n", [], "absent.onnx: there is no such file"),
    "networks": ("[f,holds.vnnlib,5\n", [], "line 1"),
    "quotes": ('"onnx/net.onnx,holds.vnnlib,5\n', [], "cannot be read"),
    "nothing chosen": ("onnx/net.onnx,holds.vnnlib,5\n", ["--only", "zzz"], "'zzz'"),
    "cap": ("onnx/net.onnx,holds.vnnlib,5\n", ["--cap", "0"], "cap 0"),
    "root": ("onnx/net.onnx,holds.vnnlib,5\n", ["--root", "NOWHERE"], "NOWHERE"),
    "truth": (HEADER + "a,vnncomp_x,onnx/net.onnx,holds.vnnlib,5,maybe,\n", [], "line 2: found the truth 'maybe'"),
    "twice": (HEADER + 2 * "a,vnncomp_x,onnx/net.onnx,holds.vnnlib,5,sat,\n", [], "twice"),
    "no instance": (HEADER + "a,reachability,x,y,5,value,\n", [], "vnncomp_"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lists_are_one_message(name, folder, tmp_path, capsys):
    text, more, words = BAD[name]
    listed = folder / "instances.csv"
    if text is not None:
        listed.write_text(text)
    assert main([str(listed), "--output", str(tmp_path / "out"), *more]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and words in shown.err and len(shown.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_resume_refuses_another_file(folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.csv").write_text("a,b\n1,2\n")
    assert run(folder, tmp_path, "--resume") == 1
    assert "no results file of this version" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def own_note(tmp_path, monkeypatch):
    """The scripts note what they run here: else the preparation of one test ends the instance of another's process."""
    monkeypatch.setenv("ADMM_VERIFY_RUNNING", str(tmp_path / "running"))


def script(name, *arguments):
    environment = os.environ | {"PYTHON": sys.executable}
    command = [str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_competition_scripts(folder, tmp_path):
    net, results = folder / "onnx" / "net.onnx", tmp_path / "results.txt"
    (folder / "new.vnnlib").write_text(NEW_QUERY)
    for query, lines in (("holds", ["unsat"]), ("missing", ["error"])):
        assert script("run_instance.sh", "v1", "c", net, folder / f"{query}.vnnlib", results, 1000).returncode == 0
        assert results.read_text().splitlines() == lines
    assert script("run_instance.sh", "v1", "c", net, folder / "broken.vnnlib", results, 1000).returncode == 0
    word, *witness = results.read_text().splitlines()
    assert word == "sat"
    names, values = zip(*(line.strip("()").split() for line in witness), strict=True)
    assert names == ("X_0", "X_1", "Y_0", "Y_1") and witness[0][:2] == "((" and witness[-1][-2:] == "))"
    assert replay(net, folder / "broken.vnnlib", [Fraction(value) for value in values[:2]]) == ("confirmed", "")
    assert script("run_instance.sh", "v1", "c", net, folder / "new.vnnlib", results, 1000).returncode == 0
    assert results.read_text().splitlines()[:2] == ["sat", "X real [1,2]"]
    assert script("run_instance.sh", "v1", "c", net, folder / "holds.vnnlib", results, 0.0001).returncode == 0
    assert results.read_text().splitlines() == ["timeout"]
    assert not Path(os.environ["ADMM_VERIFY_RUNNING"]).exists()
    assert script("run_instance.sh", "v2", "c").returncode == 1


def test_preparation_says_what_is_supported(folder):
    assert (
        script("prepare_instance.sh", "v1", "c", folder / "onnx" / "net.onnx", folder / "holds.vnnlib").returncode == 0
    )
    done = script("prepare_instance.sh", "v1", "c", folder / "onnx" / "det.onnx", folder / "holds.vnnlib")
    assert done.returncode == 1 and "Det" in done.stderr
    assert warm_up().value in ("sat", "unsat", "unknown", "timed-out")


def test_replay_reads_the_weights_beside_the_model(tmp_path, monkeypatch):
    saved(tmp_path / "elsewhere", -SUM)
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = saved(tmp_path / "model")
    path.with_name("q.vnnlib").write_text(EXTERNAL_QUERY)
    assert replay(path, path.with_name("q.vnnlib"), [Fraction(1), Fraction(1)]) == ("confirmed", "")
