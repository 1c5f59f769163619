"""The verbs in native code or on a GPU beside the same chains of array operations in eager torch and in NumPy.

    python -m benchmarks.kernels [--elements N] [--precision float32|float64] [--device cpu|cuda] [--json FILE]

Every verb runs on rows of 1000 neurons, once with bounds that all rows share and once with bounds per row; all sides
take turns in one process on one thread, so that each finds the others' arrays in the caches; NumPy only where torch is
on the CPU. Bytes moved are what a verb must read and write, each array once, and are compared with a copy of arrays of
four times as many numbers in the same run. Seconds are CPU seconds, on a GPU wall seconds between synchronisations; the
median of the runs.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from admm_verify.backends.compiled import VERBS
from admm_verify.backends.cuda import cuda_verbs
from admm_verify.backends.native import native_verbs
from admm_verify.backends.verbs import Adam, ArrayVerbs, EntryPlaces, KinkBounds, KinkPaces, SlopeState, Verbs
from benchmarks import THREADS
from benchmarks.shares import RESULTS, environment, write_json

NEURONS = 1000
COPIED = 4
"""Numbers in the arrays whose copy measures the bandwidth, per element."""

Work = Callable[[], Any]


@dataclass(frozen=True)
class Comparison:
    """One verb: median seconds of each side, and what the kernel moves; ratios are a chain's seconds over ours."""

    verb: str
    bounds: str
    seconds: float
    torch_seconds: float
    numpy_seconds: float | None
    bytes: int
    copy_bandwidth: float

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds

    @property
    def torch_ratio(self) -> float:
        return self.torch_seconds / self.seconds

    @property
    def numpy_ratio(self) -> float | None:
        return None if self.numpy_seconds is None else self.numpy_seconds / self.seconds


def arguments(verb: str, rows: int, boxes: int, dtype: Any) -> tuple[Any, ...]:
    """Ordinary numbers for a verb, on NumPy."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype)

    a, b, c, d = (normal(rows, NEURONS) for _ in range(4))
    lower, upper = np.sort([normal(boxes, NEURONS), normal(boxes, NEURONS)], axis=0)
    box = np.arange(rows) % boxes
    zero, one = np.zeros_like(lower), np.ones_like(lower)
    adam = Adam(0.5, 0.9, 1.0 - 0.5**3, 1.0 - 0.9**3, 0.1)
    calls = {
        "descend": (a, np.abs(b), one, upper, box),
        "climb": (a, b, KinkBounds(one, upper, zero, one), box, SlopeState(np.abs(c), d, d**2), adam),
        "slide": (a, b, np.abs(c), KinkPaces(one, upper, zero, one, one), box, 0.1),
        "vertex": (a, lower, upper, box),
        "support": (a, b, lower, upper, one, box),
        "charge": (a, b, upper, one, box),
        "least": (a, lower, one, one, box),
        "between": (a, b, lower, upper, one, box),
        "average": (a, b, 0.3),
        "blend": (a, b, 0.3),
        "project_triangle": (lower, upper, a, b, box),
        "halpern": (a, b, c, d, one, np.arange(rows).astype(dtype), box),
        "gather": (a, one, zero, EntryPlaces(np.arange(NEURONS)[None, ::-1].copy(), NEURONS), box),
        "reflect": (a, b, one, upper, EntryPlaces(np.arange(NEURONS)[None, ::-1].copy(), NEURONS), box),
        "turn": (a, b, one, upper, lower, box),
    }
    return calls[verb]


def placed(values: Sequence[Any], put: Callable[[np.ndarray], Any]) -> list[Any]:
    """The arguments with every array moved."""

    def move(value: Any) -> Any:
        if isinstance(value, SlopeState):
            return SlopeState(put(value.slopes), put(value.mean), put(value.square))
        if isinstance(value, EntryPlaces):
            return EntryPlaces(put(value.places), value.width)
        if isinstance(value, KinkBounds | KinkPaces):
            return type(value)(*map(put, value))
        return put(value) if isinstance(value, np.ndarray) else value

    return [move(value) for value in values]


def moved_bytes(verb: str, rows: int, boxes: int, dtype: Any) -> int:
    """What the verb must read and write, without vectors."""
    counts = VERBS[verb]
    state = 6 if verb == "climb" else 0
    # Of these two one array counts as an extra.
    state += verb in ("gather", "reflect")
    full, held = counts.inputs + counts.matrices + state, counts.bounds
    return (full * rows + held * boxes) * NEURONS * np.dtype(dtype).itemsize


def in_turn(sides: dict[str, Work], runs: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds of each side, all sides once in every run; an untimed run comes first."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(runs + 1):
        for name, work in sides.items():
            began = clock()
            work()
            if run > 0:
                seconds[name].append(clock() - began)
    return {name: statistics.median(found) for name, found in seconds.items()}


@dataclass(frozen=True)
class Bench:
    """Both sides' verbs, and how to put arrays where they run and tell the time there."""

    verbs: Verbs
    rows: int
    dtype: Any
    runs: int
    device: str

    def put(self, array: np.ndarray) -> Any:
        """A copy of the array as a torch tensor on the device."""
        import torch

        return torch.tensor(array, device=self.device)

    def clock(self) -> float:
        """Seconds, when everything queued is done."""
        if self.device == "cpu":
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def compare(self, verb: str, boxes: int) -> Comparison:
        """One verb on all sides, and a copy."""
        import torch

        values, size = arguments(verb, self.rows, boxes, self.dtype), COPIED * self.rows * NEURONS
        tensors = placed(values, self.put)
        kernel = placed(values, np.copy if self.device == "cpu" else self.put)
        source, target = self.put(np.ones(size, self.dtype)), self.put(np.zeros(size, self.dtype))
        sides: dict[str, Work] = {
            "kernel": partial(getattr(self.verbs, verb), *kernel),
            "torch": partial(getattr(ArrayVerbs(), verb), *tensors),
            "copy": partial(torch.Tensor.copy_, target, source),
        }
        if self.device == "cpu":
            sides["numpy"] = partial(getattr(ArrayVerbs(), verb), *placed(values, np.copy))
        found = in_turn(sides, self.runs, self.clock)
        return Comparison(
            verb=verb,
            bounds="shared" if boxes == 1 else "per row",
            seconds=found["kernel"],
            torch_seconds=found["torch"],
            numpy_seconds=found.get("numpy"),
            bytes=moved_bytes(verb, self.rows, boxes, self.dtype),
            copy_bandwidth=2 * size * np.dtype(self.dtype).itemsize / found["copy"],
        )


def table(found: Sequence[Comparison]) -> str:
    """A line per verb and kind of bounds."""
    titles = (f"{'verb':18}{'bounds':>8}{'ms':>9}{'torch ms':>10}{'x':>7}", f"{'numpy ms':>10}{'x':>7}")
    out = ["".join((*titles, f"{'MB':>8}{'GB/s':>8}{'of copy':>9}"))]
    for c in found:
        chain = (
            f"{'-':>10}{'-':>7}" if c.numpy_seconds is None else f"{1e3 * c.numpy_seconds:10.3f}{c.numpy_ratio:7.1f}"
        )
        out.append(
            f"{c.verb:18}{c.bounds:>8}{1e3 * c.seconds:9.3f}{1e3 * c.torch_seconds:10.3f}{c.torch_ratio:7.1f}"
            f"{chain}{1e-6 * c.bytes:8.1f}{1e-9 * c.bandwidth:8.1f}{c.bandwidth / c.copy_bandwidth:9.2f}"
        )
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of each verb, fused and as chains of array operations.")
    parser.add_argument("--elements", type=int, default=10**6, help="numbers in an array, in rows of 1000")
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--runs", type=int, default=15, help="timed runs of each side")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(THREADS)
    verbs = native_verbs() if options.device == "cpu" else cuda_verbs()
    if verbs is None:
        raise SystemExit("There are no kernels for this device here; the modules in admm_verify.backends log why.")
    rows = max(1, options.elements // NEURONS)
    bench = Bench(verbs, rows, np.dtype(options.precision), options.runs, options.device)
    found = []
    for verb, counts in VERBS.items():
        for boxes in (1, rows) if counts.bounds else (1,):
            found.append(bench.compare(verb, boxes))
    device = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    report = {
        "environment": environment() | {"torch": str(torch.__version__), "device": device},
        "rows": rows,
        "neurons": NEURONS,
        "precision": options.precision,
        "verbs": [
            asdict(c) | {"torch_ratio": c.torch_ratio, "numpy_ratio": c.numpy_ratio, "bandwidth": c.bandwidth}
            for c in found
        ],
    }
    write_json(options.json or RESULTS / f"kernels_{options.device}.json", report)
    print(table(found))


if __name__ == "__main__":
    main()
