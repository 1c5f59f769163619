"""Results and nothing else on stdout, errors and nothing else on stderr, whatever becomes of the streams."""

import os
import signal
import subprocess
import sys
import threading
import types

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify import cli
from admm_verify.interrupts import Interrupts
from admm_verify.streams import diverted
from tests.test_cli import QUERY, model_bytes

UNSAT, SAT = "(>= Y[0,0] 2.5)", "(>= Y[0,1] 0.5)"


@pytest.fixture
def asked(tmp_path):
    """The arguments that ask for the answer to an atom."""
    (tmp_path / "net.onnx").write_bytes(model_bytes())

    def arguments(atom, *more):
        (tmp_path / "query.vnnlib").write_text(QUERY.format(atom=atom))
        return ["verify", str(tmp_path / "query.vnnlib"), "--network", str(tmp_path / "net.onnx"), *more]

    return arguments


@pytest.fixture
def narrow(tmp_path):
    """The arguments for an unsat query that bounds alone leave open."""
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((3, 12)), rng.standard_normal((12, 1))
    points = np.clip(2.0 * rng.standard_normal((100_000, 3)), -1, 1)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in (("w", first), ("v", second))]
    opset = helper.make_opsetid("", 13)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size)) for name, size in (("x", 3), ("y", 1))]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], weights), ir_version=8, opset_imports=[opset]
    )
    (tmp_path / "narrow.onnx").write_bytes(model.SerializeToString())
    sides = "".join(f"(assert (and (>= X[0,{i}] -1.0) (<= X[0,{i}] 1.0)))" for i in range(3))
    text = "(vnnlib-version <2.0>)(declare-network f (declare-input X real [1,3])(declare-output Y real [1,1]))"
    level = float((np.maximum(points @ first, 0) @ second).min()) - 0.05
    (tmp_path / "narrow.vnnlib").write_text(f"{text}{sides}(assert (<= Y[0,0] {level:.6f}))")
    return ["verify", str(tmp_path / "narrow.vnnlib"), "--network", str(tmp_path / "narrow.onnx")]


def noisy(function):
    def loud(*arguments, **options):
        os.write(1, b"noise of C\n")
        sys.stdout.write("noise of Python\n")
        return function(*arguments, **options)

    return loud


def highs_that_talks(monkeypatch, runs=True):
    import highspy

    class Loud(highspy.Highs):
        def __init__(self):
            os.write(1, b"noise of C\n")
            super().__init__()

        run = noisy(highspy.Highs.run) if runs else highspy.Highs.run

    monkeypatch.setattr(highspy, "Highs", Loud)


def runtime_that_talks(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", noisy(onnxruntime.InferenceSession))


def reader_that_talks(monkeypatch):
    monkeypatch.setattr(onnx, "load_model_from_string", noisy(onnx.load_model_from_string))
    monkeypatch.setattr(onnx.ModelProto, "FromString", noisy(onnx.ModelProto.FromString), raising=False)


DOORS = {
    "HiGHS": (highs_that_talks, ("--method", "milp")),
    "onnxruntime": (runtime_that_talks, ()),
    "onnx": (reader_that_talks, ()),
}


@pytest.mark.parametrize("door", DOORS)
def test_foreign_code_prints_on_stderr(door, asked, narrow, monkeypatch, capfd):
    make_loud, more = DOORS[door]
    arguments = asked(SAT) if door != "HiGHS" else narrow
    with monkeypatch.context() as patch:
        make_loud(patch)
        assert cli.main([*arguments, *more]) == 0
    shown = capfd.readouterr()
    # The replay may well take place in another process.
    assert ("noise of C" in shown.err or door == "onnxruntime") and "noise" not in shown.out
    assert shown.out.splitlines()[0] == ("unsat" if door == "HiGHS" else "sat")


def test_pictures_and_modules_print_on_stderr(tmp_path, monkeypatch, capfd):
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", noisy(Figure.savefig))
    monkeypatch.setattr(av, "reach_sets", noisy(av.reach_sets))
    assert cli.main(["reach", "--steps", "1", "--plot", str(tmp_path / "tube.png")]) == 0
    shown = capfd.readouterr()
    assert shown.out.startswith("double_integrator") and "noise" not in shown.out and "noise of C" in shown.err


def test_an_exact_answer_from_python_leaves_stdout_alone(narrow, monkeypatch, capfd):
    highs_that_talks(monkeypatch, runs=False)
    query = av.read_query(narrow[1], {"": narrow[3]})
    assert av.verify(query, settings=av.VerifySettings(method="milp")).verdict is av.Verdict.UNSAT
    shown = capfd.readouterr()
    assert shown.out == "" and "noise of C" in shown.err


def test_diversions_nest_across_threads(capfd):
    inside, leave = threading.Event(), threading.Event()

    def divert():
        with diverted():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=divert)
    thread.start()
    inside.wait()
    with diverted():
        os.write(1, b"one\n")
    os.write(1, b"two\n")
    leave.set()
    thread.join()
    os.write(1, b"three\n")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("three\n", "one\ntwo\n")


BUFFERED = """
import ctypes, sys
from admm_verify.streams import diverted
printf = ctypes.CDLL(None).printf
printf(b"before\\n")
with diverted():
    printf(b"within\\n")
printf(b"after\\n")
"""


@pytest.mark.skipif(os.name != "posix", reason="C's own library is called")
def test_buffers_of_c_are_emptied_on_both_sides():
    done = subprocess.run([sys.executable, "-c", BUFFERED], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("before\nafter\n", "within\n")


def shell(line, *arguments, **options):
    """A shell's redirections around the command; the command is "$@"."""
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "admm_verify", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_closed_streams_are_nobody_elses(asked, tmp_path):
    report = str(tmp_path / "report.json")
    for line, status, out, said in [
        ('"$@" 2>&-', 0, "unsat\n", ""),
        ('"$@" <&- 2>&-', 0, "unsat\n", ""),
        ('"$@" >&-', 1, "", "cannot be printed on stdout: it is closed."),
        ('"$@" >&- 2>&-', 1, "", ""),
    ]:
        done = shell(line, *asked(UNSAT, "--json", report))
        assert (done.returncode, done.stdout) == (status, out) and said in done.stderr
        assert '"verdict": "unsat"' in (tmp_path / "report.json").read_text()
        (tmp_path / "report.json").unlink()
    done = shell('"$@" 2>&-', "verify", "missing.vnnlib", "--network", "missing.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    done = shell('"$@" 2>&-', "verify", "--nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_full_streams(asked, tmp_path):
    report = tmp_path / "report.json"
    done = shell('"$@" >/dev/full', *asked(UNSAT, "--json", str(report)))
    assert done.returncode == 1 and report.exists()
    assert done.stderr == "admm-verify: The results cannot be printed on stdout: No space left on device.\n"
    done = shell('"$@" 2>/dev/full', "verify", "missing.vnnlib", "--network", "missing.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    done = shell('"$@" >/dev/full', "--version")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_a_reader_who_has_gone_wants_no_message(asked, tmp_path):
    out, into = os.pipe()
    os.close(out)
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "admm_verify", *asked(SAT, "--json", str(report))]
    done = subprocess.run(command, stdout=into, stderr=subprocess.PIPE, text=True, check=False)
    os.close(into)
    assert (done.returncode, done.stderr) == (1, "") and report.exists()


def test_files_may_be_stdout_itself(asked, tmp_path):
    out = tmp_path / "out.txt"
    for target in ("/dev/stdout", str(out)):
        done = shell(f'"$@" >{out}', *asked(UNSAT, "--json", target))
        lines = out.read_text().splitlines()
        assert (done.returncode, done.stderr, lines[:2], lines[-1]) == (0, "", ["unsat", "{"], "}")


def test_a_missing_letter_is_escaped(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    code = "from admm_verify.streams import results_alone\nwith results_alone() as out: out.say('\\u00e9')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\\xe9\n"


def signalled(*numbers, polled):
    """What becomes of a command that gets some signals, one after the other."""
    heard = []
    with Interrupts() as interrupts:
        question = interrupts.question() if polled else lambda: False
        try:
            for number in numbers:
                heard.append(question())
                os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            return *heard, interrupts.status
        return *heard, question()


def test_the_first_signal_asks_and_a_second_ctrl_c_interrupts():
    term, hup, ctrl_c = signal.SIGTERM, signal.SIGHUP, signal.SIGINT
    before = [signal.getsignal(number) for number in (term, hup, ctrl_c)]
    for first in (term, hup, ctrl_c):
        assert signalled(first, polled=True) == (False, True)
        assert signalled(first, polled=False) == (False, 128 + first)
        assert signalled(first, ctrl_c, polled=True) == (False, True, 130)
    # Supervisors repeat themselves.
    assert signalled(term, term, hup, polled=True) == (False, True, True, True)
    assert [signal.getsignal(number) for number in (term, hup, ctrl_c)] == before


def test_hangups_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signalled(signal.SIGHUP, signal.SIGHUP, polled=True) == (False, False, False)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_commands_run_in_any_thread(asked, capfd):
    found = []
    thread = threading.Thread(target=lambda: found.append(cli.main(asked(UNSAT))))
    thread.start()
    thread.join()
    assert found == [0] and capfd.readouterr().out == "unsat\n"


KILLED_AT_IMPORT = """
import builtins, os, signal, sys
count, original = 0, builtins.__import__
def importing(name, *more):
    global count
    if name.startswith(("numpy", "scipy", "onnx", "admm_verify.")) and name != "admm_verify.interrupts":
        count += 1
        if count == {k}:
            os.kill(os.getpid(), signal.{name})
    return original(name, *more)
from admm_verify.start import main
builtins.__import__ = importing
sys.argv = ["admm-verify", "supports", "--name"]
main()
"""


@pytest.mark.parametrize("name, k", [("SIGINT", 1), ("SIGINT", 5), ("SIGINT", 60), ("SIGINT", 200), ("SIGTERM", 60)])
def test_ctrl_c_during_imports_is_one_line(name, k):
    code = KILLED_AT_IMPORT.format(k=k, name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    status = 128 + getattr(signal, name)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "admm-verify: interrupted.\n")


def test_the_package_loads_nothing_before_it_is_used():
    code = "import sys, admm_verify.start; print(sorted({'numpy', 'typing', 'scipy', 'onnx'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_function_keeps_its_name_beside_a_module():
    assert isinstance(sys.modules["admm_verify.verify"], types.ModuleType)
    assert av.verify is sys.modules["admm_verify.verify"].verify
    assert set(av.__all__) <= set(dir(av))
