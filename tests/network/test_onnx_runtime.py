"""Models run in a process of its own: whatever onnxruntime does there, this process goes on."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from onnx import TensorProto

import admm_verify as av
from admm_verify.errors import ReplayError
from admm_verify.network import onnx_runtime
from admm_verify.network.onnx_runtime import forget_models, runtime_output, start_runtime
from tests.network.onnx_models import model, node

RELU = model([node("Relu", ["x"], ["y"])], (1, 2))
X = np.float32([-1, 2])
# onnxruntime's own crash: it looks up the name of an output that has none.
CRASH = model(
    [node("Split", ["x", "s"], ["a", "", "c"], axis=1), node("Concat", ["c", "a"], ["y"], axis=1)],
    [1, 6],
    {"s": np.array([3, 1, 2])},
)

# Stands in for onnxruntime; what a session does is to be filled in.
FAKE = """import os, signal, sys, time
import numpy as np
print("loaded")
class NotImplemented(Exception): pass
class SessionOptions:
    def add_session_config_entry(self, name, value): pass
class Source: name, shape = "x", ["batch", 2]
class InferenceSession:
    def __init__(self, data, options, providers):
        pass
    def get_inputs(self):
        return [Source]
    def run(self, names, feeds):
        x = feeds["x"]
        {}
        return [x]
"""


@pytest.fixture(autouse=True)
def fresh():
    """No process from before, and none left."""
    onnx_runtime._close_idle()
    yield
    onnx_runtime._close_idle()


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a package in onnxruntime's place."""

    def write(body, text=FAKE):
        (tmp_path / "onnxruntime.py").write_text(text.format(body))
        monkeypatch.syspath_prepend(str(tmp_path))

    return write


def running():
    return {process._process.pid for process in onnx_runtime._idle}


def test_process_is_kept_and_reused():
    start_runtime()
    first = running()
    assert runtime_output(RELU, X).tolist() == [0, 2] and running() == first and len(first) == 1
    forget_models()
    for other in (RELU, model([node("Neg", ["x"], ["y"])], (1, 2)), RELU):
        assert runtime_output(other, X)[1] in (2, -2) and running() == first


def test_element_types():
    double = model([node("Relu", ["x"], ["y"])], (1, 2), element=TensorProto.DOUBLE)
    found = runtime_output(double, np.array([0.1, -1]))
    assert found.dtype == np.float64 and found.tolist() == [0.1, 0]
    assert runtime_output(RELU, X).dtype == np.float32


def test_where_onnxruntime_is_missing(monkeypatch, fake):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert runtime_output(RELU, X) is None
    start_runtime()
    assert not running()
    monkeypatch.undo()
    fake("", "raise ImportError('a library is missing')")
    assert runtime_output(RELU, X) is None


def test_operator_without_implementation_in_its_type():
    weight = np.ones((1, 1, 1, 1))
    double = model([node("Conv", ["x", "w"], ["y"])], (1, 1, 1, 2), {"w": weight}, element=TensorProto.DOUBLE)
    assert runtime_output(double, np.ones(2)) is None


def test_foreign_output_stays_off_stdout(fake, capfd):
    fake("print('foreign'); os.write(1, b'more'); os.write(2, b'most')")
    assert runtime_output(RELU, X).tolist() == [-1, 2]
    assert capfd.readouterr() == ("", "")


FAILURES = {
    "segfault": ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
    "abort": ("os.abort()", "ended by SIGABRT"),
    "exit": ("os._exit(3)", "ended with status 3"),
    "silence": ("os.close(int(sys.argv[1])); time.sleep(60)", "closed its connection"),
    "error": ("raise ValueError('shapes\\nof x')", "shapes of x"),
    "odd output": ("x = x.astype(np.complex64)", "its output is complex64"),
    "labels beyond floats": ("x = x.astype(np.int64) + 2**53", "its output is int64"),
    "no output": ("return []", "index out of range"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_told(fake, name):
    body, words = FAILURES[name]
    fake(body)
    with pytest.raises(ReplayError) as caught:
        runtime_output(RELU, X)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not running() or name in ("error", "odd output", "labels beyond floats", "no output")


def test_crash_of_onnxruntime_itself():
    with pytest.raises(ReplayError, match="SIG"):
        runtime_output(CRASH, np.ones(6, dtype=np.float32))
    assert runtime_output(RELU, X).tolist() == [0, 2]


def test_ended_process_is_replaced():
    runtime_output(RELU, X)
    (number,) = running()
    os.kill(number, signal.SIGKILL)
    assert runtime_output(RELU, X).tolist() == [0, 2] and running() != {number}
    with pytest.raises(ChildProcessError):
        os.waitpid(number, 0)


@pytest.mark.parametrize("large", [False, True])
def test_waiting_ends_with_the_time(fake, large):
    # A large model fills the connection while nobody reads it.
    fake("time.sleep(60)", FAKE.replace('print("loaded")', "time.sleep(60)") if large else FAKE)
    asked = []

    def stop():
        asked.append(time.monotonic())
        return len(asked) > 2

    with pytest.raises(ReplayError, match="time to stop"):
        runtime_output(RELU + bytes(10**7) if large else RELU, X, av.Run(stop=stop))
    assert len(asked) == 3 and not running()


def test_threads_have_processes_of_their_own(fake):
    fake("time.sleep(60 if x[0, 0] > 0 else 0)")
    stop = Event()
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(runtime_output, RELU, np.float32([1, 0]), av.Run(stop=stop.is_set))
        assert [runtime_output(RELU, -X * 0)[0] for _ in range(3)] == [0, 0, 0]
        stop.set()
        with pytest.raises(ReplayError):
            hanging.result()
    with ThreadPoolExecutor(4) as pool:
        points = [np.float32([-k, k]) for k in range(20)]
        found = list(pool.map(lambda x: runtime_output(RELU, x), points))
    assert np.array_equal(found, points) and len(running()) <= 1


def test_forked_process_uses_one_of_its_own():
    runtime_output(RELU, X)
    before = running()
    number = os.fork()
    if not number:
        status = 1
        try:
            unused = not running()
            status = 0 if unused and runtime_output(RELU, X).tolist() == [0, 2] and running() != before else 2
            onnx_runtime._close_idle()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0
    assert runtime_output(RELU, X).tolist() == [0, 2] and running() == before


# Neither guarded by __name__ nor a file: what starts processes anew by importing the main module fails here.
SCRIPT = """import os, sys
import numpy as np
from admm_verify.network import onnx_runtime
data = bytes.fromhex(sys.argv[1])
print(onnx_runtime.runtime_output(data, np.float32([-1, 2])).tolist(), flush=True)
print(*(process._process.pid for process in onnx_runtime._idle), flush=True)
{}
"""


def ends(number):
    for _ in range(6000):
        if not Path(f"/proc/{number}").exists():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", ["", "os.kill(os.getpid(), 9)", "os._exit(0)", "raise SystemExit(1)"])
def test_process_ends_with_its_owner(how):
    command = [sys.executable, "-W", "error", "-c", SCRIPT.format(how), RELU.hex()]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = found.stdout.splitlines()
    assert lines[0] == "[0.0, 2.0]" and found.stderr == ""
    assert ends(int(lines[1]))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_busy_process_ends_with_its_owner(tmp_path):
    (tmp_path / "onnxruntime.py").write_text(
        FAKE.format(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", SCRIPT, RELU.hex()], env=environment) as owner:
        for _ in range(6000):
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
                break
            time.sleep(0.02)
        owner.kill()
    assert ends(int((tmp_path / "pid").read_text()))


def vnnlib(size, outputs, low, atom):
    names = [*(f"X_{i}" for i in range(size)), *(f"Y_{i}" for i in range(outputs))]
    box = [f"(assert (>= X_{i} {low}))\n(assert (<= X_{i} 1.0))\n" for i in range(size)]
    return "".join(f"(declare-const {name} Real)\n" for name in names) + "".join(box) + f"(assert {atom})\n"


def decided(folder, data, text, *, stop=None, most=None):
    (folder / "net.onnx").write_bytes(data)
    (folder / "q.vnnlib").write_text(text)
    query, settings = av.read_query(folder / "q.vnnlib", folder / "net.onnx"), av.VerifySettings(max_subproblems=most)
    return av.verify(query, settings=settings, run=av.Run(stop=stop))


def test_crash_leaves_a_query_unknown(tmp_path):
    outcome = decided(tmp_path, CRASH, vnnlib(6, 5, 0.0, "(>= Y_0 0.5)"))
    assert outcome.verdict is av.Verdict.UNKNOWN and "SIG" in outcome.unconfirmed and outcome.undecided == 1
    # Bounds need no replay.
    excluded = decided(tmp_path, CRASH, vnnlib(6, 5, 0.0, "(>= Y_0 1.5)"))
    assert excluded.verdict is av.Verdict.UNSAT and excluded.unconfirmed is None


def test_hanging_replay_ends_with_the_search(tmp_path, fake):
    fake(f"open({str(tmp_path / 'runs')!r}, 'w').close(); time.sleep(60)")
    outcome = decided(tmp_path, RELU, vnnlib(2, 2, 0.0, "(>= Y_0 0.5)"), stop=(tmp_path / "runs").exists)
    assert outcome.verdict is av.Verdict.UNKNOWN and "time to stop" in outcome.unconfirmed
    assert outcome.counterexample is None


@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_disagreeing_runtime_confirms_nothing(tmp_path, fake, element):
    fake("x = 0 * x")
    data = model([node("Relu", ["x"], ["y"])], (1, 2), element=element)
    outcome = decided(tmp_path, data, vnnlib(2, 2, 0.0, "(>= Y_0 0.5)"), most=50)
    assert outcome.verdict is av.Verdict.UNKNOWN and outcome.unconfirmed is None


DOUBLES = {
    "Conv": ([node("Conv", ["x", "w"], ["y"])], {"w": np.ones((1, 1, 1, 1))}),
    "PRelu": ([node("PRelu", ["x", "w"], ["y"])], {"w": np.full(1, 0.5)}),
    "Resize": (
        [node("Resize", ["x", "", "w"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric")],
        {"w": np.float32([1, 1, 1, 1])},
    ),
    "MaxPool": ([node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1])], {}),
    "GlobalAveragePool": ([node("GlobalAveragePool", ["x"], ["y"])], {}),
}


@pytest.mark.parametrize("kind", DOUBLES)
def test_counterexample_of_a_float64_model(tmp_path, kind):
    nodes, constants = DOUBLES[kind]
    data = model(nodes, (1, 1, 1, 2), constants, element=TensorProto.DOUBLE)
    outputs = 1 if kind == "GlobalAveragePool" else 2
    outcome = decided(tmp_path, data, vnnlib(2, outputs, 0.0, "(>= Y_0 0.5)"))
    assert outcome.verdict is av.Verdict.SAT and outcome.output.dtype == np.float64
    assert outcome.output.reshape(-1)[0] >= 0.5
