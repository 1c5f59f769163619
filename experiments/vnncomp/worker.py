"""The persistent worker process: the tool's command line, called again and again in one interpreter.

Reads one JSON object a line, {"arguments", "out", "log"}, and answers each by {"status", "cpu_seconds", "peak_mb"}.
"""

import gc
import importlib
import json
import os
import resource
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout

from experiments.vnncomp.timed import RUSAGE_PER_MB

_IMPORTED_LATE = ("onnx", "onnxruntime")


def main() -> None:
    """Answer requests until stdin ends."""
    # The answers keep the real stdout for themselves; whatever else is printed goes where errors go.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from admm_verify import cli

    for name in _IMPORTED_LATE:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    print(json.dumps({"ready": True}), file=channel, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        gc.collect()
        _forget_peak()
        before = _processor_seconds()
        with open(request["out"], "w", encoding="utf-8") as out, open(request["log"], "w", encoding="utf-8") as log:
            with redirect_stdout(out), redirect_stderr(log):
                try:
                    status = cli.main(request["arguments"])
                except SystemExit as ended:
                    status = ended.code if isinstance(ended.code, int) else 1
                except Exception:
                    traceback.print_exc()
                    status = 1
        spent = {"cpu_seconds": _processor_seconds() - before, "peak_mb": _peak()}
        print(json.dumps({"status": status} | spent), file=channel, flush=True)


def _processor_seconds() -> float:
    """What this process and the children it waited for took of all processors so far."""
    return sum(os.times()[:4])


def _forget_peak() -> None:
    """Let the peak begin anew, where the system can."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return


def _peak() -> float:
    """Largest memory held since then in MiB, of the whole process life where that is all there is."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            lines = [line for line in file if line.startswith("VmHWM:")]
        return int(lines[0].split()[1]) / 2**10
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / RUSAGE_PER_MB


if __name__ == "__main__":
    main()
