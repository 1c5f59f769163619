"""Cost of the layered splitting on a ResNet-18: peak memory, and time of an iteration in passes of torch.

    python -m benchmarks.resnet18 [--small] [--passes N] [--json FILE]

A pass is torch's forward and backward evaluation of the same network for the same number of rows, on the same threads,
timed between the iterations, so that another process on the machine disturbs both alike. Checkpoints (a certified
bound in float64 every so many iterations) count in the mean, not in the median. The network has random weights and
interval pre-activation bounds, so that the bounds themselves say nothing; only the work is that of a real one.
"""

import argparse
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import admm_verify as av
from benchmarks import THREADS
from benchmarks.shares import RESULTS, environment, write_json
from problems.resnet18 import ResNet, build

RADIUS = 1 / 255
SMALL_WIDTH = 8
EVERY = 5
"""Iterations from one evaluation by torch to the next."""


@dataclass
class Stopwatch:
    """CPU seconds of every iteration and of torch's evaluations between them, as the solver's `stop`."""

    module: ResNet
    images: torch.Tensor
    iterations: list[float] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.process_time)

    def __call__(self) -> bool:
        now = time.process_time()
        self.iterations.append(now - self.began)
        if len(self.iterations) % EVERY == 1:
            self.evaluate()
            self.passes.append(self.evaluate())
            _say(f"{len(self.iterations) - 1} iterations")
        self.began = time.process_time()
        return False

    def evaluate(self) -> float:
        """Seconds of one forward and backward evaluation, after the first of a pair has filled the caches."""
        began = time.process_time()
        self.module(self.images).sum().backward()
        return time.process_time() - began


def measure(width: int, rows: int, passes: int) -> dict[str, Any]:
    """All figures for a network of this width."""
    module = build(0, width)
    network = av.trace(module, torch.zeros(1, 3, 32, 32))
    random = np.random.default_rng(0)
    box = av.Box.around(random.random((1, 3, 32, 32)), RADIUS, within=(0.0, 1.0))
    bounds = av.preactivation_bounds(network, box, method="interval")
    problem = av.Problem(network, box, random.standard_normal((rows, 10)), preactivation=bounds)
    images = torch.as_tensor(random.random((rows, 3, 32, 32)), dtype=torch.float32).requires_grad_()
    watch = Stopwatch(module, images)
    before = _peak()
    solution = av.solve(
        problem,
        "admm",
        device="cpu",
        settings=av.SolverSettings(tolerance=0.0, max_passes=passes, precision="float32"),
        run=av.Run(stop=watch),
    )
    # The solver asks once before the first iteration, and that one includes the projections' factorisation.
    start, first, *later = watch.iterations
    one = statistics.median(watch.passes) / rows
    return {
        "width": width,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "neurons": sum(network.nodes[i].size for i in network.activations),
        "rows": rows,
        "iterations": len(later) + 1,
        "seconds": solution.seconds,
        "seconds_to_first_iteration": start + first,
        "seconds_per_iteration_and_row": statistics.median(later) / rows,
        "seconds_per_torch_pass_and_row": one,
        "passes_per_iteration": statistics.median(later) / rows / one,
        "passes_per_iteration_with_checks": statistics.mean(later) / rows / one,
        "peak_gigabytes": _peak(),
        "peak_gigabytes_before_solving": before,
        "rows_with_a_bound": int(np.isfinite(np.asarray(solution.lower)).sum()),
    }


def table(found: dict[str, Any]) -> str:
    """The figures as text."""
    return "\n".join(f"{name:34}{value:12.4g}" for name, value in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory and time of an ADMM iteration on a ResNet-18.")
    parser.add_argument("--small", action="store_true", help=f"width {SMALL_WIDTH} instead of 64")
    parser.add_argument("--rows", type=int, default=10, help="rows in the batch")
    parser.add_argument("--passes", type=int, default=200, help="budget of passes, two of them an iteration")
    parser.add_argument("--json", type=Path, help="where to write the results (default: benchmarks/results)")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    found = measure(SMALL_WIDTH if options.small else 64, options.rows, options.passes)
    path = options.json or RESULTS / ("resnet18_small.json" if options.small else "resnet18.json")
    write_json(path, {"environment": environment() | {"torch": torch.__version__}, **found})
    print(table(found))


def _peak() -> float:
    """Largest resident memory of this process so far, in GB (10^9 bytes); the kernel counts in units of 1024."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
