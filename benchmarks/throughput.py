"""Rows per second of slope ascent on one core and on all, and ADMM iterations on NumPy with kernels beside torch.

    python -m benchmarks.throughput [--rows N] [--runs N] [--json FILE]

Rows: true minus other class on the boxes of several instances, each row with the CROWN bounds of its own box. A whole
`solve` also certifies the CROWN bound and the last multipliers in float64 and computes feasible values. Best wall
seconds of several runs; the iterations are in float32. ADMM: CPU seconds of an iteration on the 9 rows of one instance,
from the difference of two budgets, one thread each, both libraries in turn.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import admm_verify as av
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.settings import AscentSettings
from admm_verify.splitting.ascent import Ascent
from admm_verify.splitting.eliminate import can_eliminate, eliminate
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import DualPoint
from benchmarks.shares import RESULTS, environment, least_seconds, write_json
from problems.crown_family import CrownInstance, crown_instances

PASSES = 20
GOALS = {"mnist_deepsplit_fc": 4000, "oval21": 3000}
"""Rows per second asked for on two cores."""

ADMM_CASES = (("mnist_deepsplit_fc", "img2/eps0.02"), ("oval21", "img2578"))
ADMM_PASSES = 4, 404


def batch(instances: tuple[CrownInstance, ...], rows: int) -> av.Problem:
    """That many rows, taken from the instances in turn."""
    network, parts, count = instances[0].network, [], 0
    while count < rows:
        for instance in instances:
            bounds = av.preactivation_bounds(network, instance.box)
            parts.append((instance, bounds, min(len(instance.objective), rows - count)))
            count += parts[-1][2]
            if count == rows:
                break

    def stacked(pick: Callable[[CrownInstance], Any]) -> np.ndarray:
        shape = network.input_shape
        return np.concatenate([np.repeat(np.asarray(pick(i)).reshape(1, *shape), n, axis=0) for i, _, n in parts])

    ends = [
        tuple(np.concatenate([np.repeat(side(b)[k], n, axis=0) for _, b, n in parts]) for k in range(len(b0.lower)))
        for b0, side in ((parts[0][1], lambda b: b.lower), (parts[0][1], lambda b: b.upper))
    ]
    box = av.Box(stacked(lambda i: i.box.lower), stacked(lambda i: i.box.upper))
    objective = np.concatenate([i.objective[:n] for i, _, n in parts])
    return av.Problem(network, box, objective, preactivation=av.PreactivationBounds(*ends))


def iterations(problem: av.Problem, workers: int) -> Callable[[], None]:
    """The iterations alone, on as many blocks side by side."""
    blocks = []
    for k in range(workers):
        part = problem.block(k * problem.rows // workers, (k + 1) * problem.rows // workers)
        rows = Rows.of(part, Placement.numpy(np.float32))
        blocks.append(eliminate(part, Placement.numpy().double).reduce(rows) if can_eliminate(part) else rows)
    scheme = Ascent(AscentSettings(), PASSES)

    def run(rows: Rows) -> None:
        with quiet_overflow():
            state = scheme.start(rows, DualPoint.start(rows))
            for _ in range(scheme.iterations):
                state = scheme.step(rows, state)

    def work() -> None:
        with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, blocks))

    return work


def solving(problem: av.Problem, workers: int) -> Callable[[], None]:
    """A whole solve with at most so many cores."""

    def work() -> None:
        # The package of benchmarks asks for one thread when it is imported.
        with threadpool_limits(workers):
            av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=PASSES, precision="float32"))

    return work


def wall(work: Callable[[], None], runs: int) -> float:
    """The least wall seconds of some runs after one untimed run."""
    work()
    return least_seconds(work, runs, time.perf_counter)


def measure(name: str, rows: int, runs: int) -> list[dict[str, Any]]:
    """Rows per second of every variant on one network."""
    problem, cores = batch(crown_instances(name), rows), os.cpu_count() or 1
    works = {f"iterations, {workers} cores": iterations(problem, workers) for workers in sorted({1, cores})}
    works |= {f"solve, {workers} cores": solving(problem, workers) for workers in sorted({1, cores})}
    found = []
    for variant, work in works.items():
        seconds = wall(work, runs)
        found.append({"network": name, "variant": variant, "rows": rows, "rows_per_second": rows / seconds})
        print(f"{name:22}{variant:22}{rows / seconds:10.0f} rows/s  (disjunct {GOALS[name]} on two cores)")
    return found


def on_torch(problem: av.Problem) -> av.Problem:
    """The same problem with torch arrays on the CPU, which bring torch's iterations along."""
    put, network, known = torch.as_tensor, problem.network, problem.preactivation
    shape = (-1, *network.input_shape)
    box = problem.inputs.mapped(lambda end: put(end).reshape(shape))
    bounds = av.PreactivationBounds(tuple(map(put, known.lower)), tuple(map(put, known.upper)))
    return av.Problem(network, box, put(problem.objective), preactivation=bounds)


def admm(name: str, instance: str, runs: int) -> list[dict[str, Any]]:
    """Seconds of an ADMM iteration of both libraries in both precisions."""
    (found,) = (i for i in crown_instances(name) if instance in i.name)
    bounds = av.preactivation_bounds(found.network, found.box)
    ours = av.Problem(found.network, found.box, found.objective, preactivation=bounds)
    lines = []
    for precision in ("float64", "float32"):
        best: dict[tuple[str, int], float] = {}
        for _ in range(runs + 1):
            for library, problem in (("numpy", ours), ("torch", on_torch(ours))):
                for passes in ADMM_PASSES:
                    began = time.process_time()
                    av.solve(
                        problem,
                        "admm",
                        settings=av.SolverSettings(tolerance=0.0, max_passes=passes, precision=precision),
                    )
                    seconds = time.process_time() - began
                    best[library, passes] = min(seconds, best.get((library, passes), seconds))
        few, many = ADMM_PASSES
        each = {lib: (best[lib, many] - best[lib, few]) / ((many - few) / 2) for lib in ("numpy", "torch")}
        lines.append({"instance": found.name, "precision": precision, **each, "ratio": each["torch"] / each["numpy"]})
        print(f"{found.name[-40:]:41}admm {precision}: {1e3 * each['numpy']:.2f} ms, torch: {lines[-1]['ratio']:.2f} x")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Rows per second of slope ascent at 20 passes.")
    parser.add_argument("--rows", type=int, default=108)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", type=Path, default=RESULTS / "throughput.json")
    options = parser.parse_args()
    found = [line for name in GOALS for line in measure(name, options.rows, options.runs)]
    torch.set_num_threads(1)
    iterated = [line for case in ADMM_CASES for line in admm(*case, runs=3)]
    report = {"environment": environment(), "passes": PASSES, "results": found, "admm": iterated}
    write_json(options.json, report)


if __name__ == "__main__":
    main()
