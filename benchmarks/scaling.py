"""Seconds and peak memory of ascent against the number of rows, the width and the depth of a random dense network.

    python -m benchmarks.scaling [--device cpu|cuda] [--rows N ...] [--widths N ...] [--depths N ...]
                                 [--boxes shared|own] [--memory GIB] [--json FILE]

Every point runs in a process of its own: 20 passes of `solve` in float32 over interval pre-activation bounds, after a
solve of one row that loads the libraries. Memory is that of the process (resident, or allocated on the GPU) at its
peak. It has three parts: what the process held before solving, the results, which grow with the rows, and the working
memory, which grows with the rows until they are solved in blocks. CPU seconds, or wall seconds on a GPU.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.arrays import to_numpy
from admm_verify.network.layers import network_from_layers
from benchmarks.shares import RESULTS, environment, write_json

MNIST_FC = (784, 600, 400, 200, 100, 10)
PASSES = 20
RADIUS = 0.02
GIB = 2.0**30

ROWS = (1, 10, 100, 1000, 10_000, 100_000)
WIDTHS = (64, 128, 256, 512, 1024, 2048)
DEPTHS = (2, 4, 8, 16, 32)
HELD_ROWS, HELD_WIDTH, HELD_DEPTH = 100, 256, 4
"""Rows, width and depth where another of them varies."""


@dataclass(frozen=True)
class Point:
    """One measurement to make; boxes "shared" by all rows or each row its "own"; memory: a limit in bytes or None."""

    series: str
    sizes: tuple[int, ...]
    rows: int
    boxes: str
    device: str
    memory: float | None


@dataclass(frozen=True)
class Cost:
    """What a point costs; gigabytes are 10^9 bytes. finite: rows with a bound."""

    seconds: float
    peak_gigabytes: float
    gigabytes_before: float
    gigabytes_of_results: float
    finite: int


def random_problem(point: Point, rows: int) -> av.Problem:
    """Random rows of a random dense network around random points, the same for the same sizes."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((m, n)) * np.sqrt(2 / n) for n, m in pairwise(point.sizes)]
    network = network_from_layers(weights, [0.1 * rng.standard_normal(len(weight)) for weight in weights])
    count = rows if point.boxes == "own" else 1
    box = _placed(av.Box.around(rng.random((count, point.sizes[0])), RADIUS, within=(0.0, 1.0)), point.device)
    known = av.preactivation_bounds(network, box, method="interval")
    return av.Problem(network, box, rng.standard_normal((rows, point.sizes[-1])), preactivation=known)


def _placed(box: av.Box, device: str) -> av.Box:
    if device == "cpu":
        return box
    import torch

    return av.Box(*(torch.as_tensor(end, device=device) for end in (box.lower, box.upper)))


def measure(point: Point) -> Cost:
    """One point, in this process."""
    settings, limits = av.SolverSettings(max_passes=PASSES, precision="float32"), av.Run(memory=point.memory)

    def run(problem: av.Problem) -> av.Solution:
        return av.solve(problem, "ascent", settings=settings, run=limits)

    run(random_problem(point, 1))
    problem = random_problem(point, point.rows)
    gpu = point.device != "cpu"
    clock = time.perf_counter if gpu else time.process_time
    before, began = _before(point.device), clock()
    solution = run(problem)
    finite = int(np.isfinite(to_numpy(solution.lower)).sum())
    seconds = clock() - began
    arrays = (solution.lower, solution.relaxation_upper, solution.primal, *solution.multipliers)
    results = sum(float(array.nbytes) for array in arrays)
    return Cost(seconds, _peak(point.device) / 1e9, before / 1e9, results / 1e9, finite)


def _before(device: str) -> float:
    """Bytes held now; on the CPU at the peak so far, which nothing can reset."""
    if device == "cpu":
        return _peak(device)
    import torch

    torch.cuda.reset_peak_memory_stats()
    return float(torch.cuda.memory_allocated())


def _peak(device: str) -> float:
    """Bytes at the peak; the kernel counts resident memory in units of 1024."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    import torch

    return float(torch.cuda.max_memory_allocated())


def in_child(point: Point) -> Cost:
    """One point, in a process of its own.

    Raises: RuntimeError with the child's last words where it fails.
    """
    command = [sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(asdict(point))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{point} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout))


def points(options: argparse.Namespace) -> list[Point]:
    """All measurements asked for."""
    memory = None if options.memory is None else options.memory * GIB
    shared = (options.boxes, options.device, memory)
    chains = [("rows", MNIST_FC, rows) for rows in options.rows]
    chains += [("width", _chain(width, HELD_DEPTH), HELD_ROWS) for width in options.widths]
    chains += [("depth", _chain(HELD_WIDTH, depth), HELD_ROWS) for depth in options.depths]
    return [Point(series, sizes, rows, *shared) for series, sizes, rows in chains]


def _chain(width: int, depth: int) -> tuple[int, ...]:
    return (MNIST_FC[0], *[width] * depth, MNIST_FC[-1])


def record(point: Point, cost: Cost) -> dict[str, Any]:
    """One point with its cost per row, and the working memory: the peak less what was held before and the results."""
    working = cost.peak_gigabytes - cost.gigabytes_before - cost.gigabytes_of_results
    hidden = point.sizes[1:-1]
    return {
        "series": point.series,
        "rows": point.rows,
        "width": max(hidden),
        "depth": len(hidden),
        "milliseconds_per_row": 1e3 * cost.seconds / point.rows,
        "megabytes_per_row": 1e3 * (cost.peak_gigabytes - cost.gigabytes_before) / point.rows,
        "working_gigabytes": max(working, 0.0),
    } | asdict(cost)


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line per point."""
    columns = ("seconds", "ms / row", "peak GB", "before", "results", "working")
    out = [f"{'series':8}{'rows':>8}{'width':>7}{'depth':>7}" + "".join(f"{name:>10}" for name in columns)]
    for line in found:
        sizes = (line["peak_gigabytes"], line["gigabytes_before"], line["gigabytes_of_results"])
        out.append(
            f"{line['series']:8}{line['rows']:8d}{line['width']:7d}{line['depth']:7d}{line['seconds']:10.3f}"
            f"{line['milliseconds_per_row']:10.3f}"
            + "".join(f"{size:10.3f}" for size in (*sizes, line["working_gigabytes"]))
            + ("" if line["finite"] == line["rows"] else f"  {line['rows'] - line['finite']} rows without a bound")
        )
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds and peak memory against rows, width and depth.")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="rows of a 784-600-400-200-100-10 network")
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS, help=f"widths of {HELD_DEPTH} hidden layers")
    parser.add_argument("--depths", type=int, nargs="*", default=DEPTHS, help=f"hidden layers of width {HELD_WIDTH}")
    parser.add_argument("--boxes", choices=("shared", "own"), default="shared", help="one box for all rows or each")
    parser.add_argument(
        "--memory", type=float, help="limit on the working memory in GiB (default: half of what is free)"
    )
    parser.add_argument("--json", type=Path, help="where to write the results (default: benchmarks/results)")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point is not None:
        fields = json.loads(options.point)
        print(json.dumps(asdict(measure(Point(**fields | {"sizes": tuple(fields["sizes"])})))))
        return
    report: dict[str, Any] = {"environment": environment(), "device": options.device, "boxes": options.boxes}
    report |= {"memory_gib": options.memory, "passes": PASSES, "points": []}
    for point in points(options):
        report["points"].append(record(point, in_child(point)))
        # Written after every point, so that a run cut short leaves the others.
        write_json(options.json or RESULTS / f"scaling_{options.device}.json", report)
        print(f"{point.series}: {point.rows} rows, {point.sizes[1:-1]}: done", file=sys.stderr, flush=True)
    print(table(report["points"]))


if __name__ == "__main__":
    main()
