"""Our schemes beside HiGHS on triangle relaxations of convolutional and residual networks, one thread, one run.

    python -m benchmarks.conv_optimum [--only TEXT] [--rows N] [--passes N] [--time-limit SECONDS] [--json FILE]

Pre-activation bounds: our CROWN. Rows: the first of each property (true minus other class). A bound passes where it is
within 0.1 % of the way from the CROWN bound to the LP optimum, on either side of it no further than HiGHS's tolerance.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.properties.rows import atom_rows
from benchmarks.highs_layers import ALGORITHMS, FORMULATIONS, Optima, optima
from benchmarks.shares import RESULTS, crown_bound, environment, timed, write_json
from problems.lp_instances import shared_folder

INSTANCES = {
    "oval21 cifar_base": (
        "oval21/onnx/cifar_base_kw.onnx.gz",
        "oval21/vnnlib/cifar_base_kw-img2578-eps0.021176470588235297.vnnlib.gz",
    ),
    "resnet_2b": ("cifar10_resnet/onnx/resnet_2b.onnx.gz", "cifar10_resnet/vnnlib/prop_45_eps_0.008.vnnlib.gz"),
}
METHODS = ("ascent", "auto")

FAR = 1e-3
"""Largest distance from the optimum that passes, as a share of the distance between optimum and CROWN bound."""

SLACK = 1e-8
"""HiGHS's tolerance in the test whether a bound is on the wrong side, relative to max(1, |optimum|)."""


@dataclass(frozen=True)
class Row:
    """One method on one row; share: (lower - crown) / (optimum - crown)."""

    instance: str
    row: int
    method: str
    passes: int
    crown: float
    optimum: float
    lower: float
    relaxation_upper: float
    share: float
    above: float
    passed: bool


@dataclass(frozen=True)
class Cost:
    """CPU seconds for all rows of an instance, without the pre-activation bounds that all share."""

    instance: str
    method: str
    seconds: float


def load(name: str, rows: int) -> av.Problem:
    """The first rows of an instance."""
    folder = shared_folder() / "data" / "vnncomp"
    model, spec = INSTANCES[name]
    query = av.read_query(folder / spec, folder / model)
    found = atom_rows(query.property)
    return av.Problem(query.network, found.boxes, found.objective[:rows], found.offset[:rows])


def compare(name: str, problem: av.Problem, exact: Optima, passes: int) -> tuple[list[Row], list[Cost]]:
    """All methods on one instance."""
    crown, found = crown_bound(problem), []
    costs = [Cost(name, "HiGHS", float(np.sum(exact.seconds)))]
    for method in METHODS:
        solution, seconds = timed(
            lambda method=method: av.solve(
                problem, method, settings=av.SolverSettings(tolerance=0.0, max_passes=passes)
            ),
            runs=1,
        )
        costs.append(Cost(name, method, seconds))
        for row, optimum in enumerate(exact.values):
            lower, far = float(solution.lower[row]), optimum - crown[row]
            above = lower - optimum
            found.append(
                Row(
                    instance=name,
                    row=row,
                    method=method,
                    passes=int(solution.passes[row]),
                    crown=float(crown[row]),
                    optimum=float(optimum),
                    lower=lower,
                    relaxation_upper=float(solution.relaxation_upper[row]),
                    share=float((lower - crown[row]) / far) if far > 0 else 1.0,
                    above=above,
                    passed=bool(-above <= FAR * far and above <= SLACK * max(1.0, abs(optimum))),
                )
            )
    return found, costs


def table(found: Sequence[Row], costs: Sequence[Cost]) -> str:
    """A line per row and method, then the times."""
    columns = f"{'CROWN':>12}{'optimum':>14}{'ours':>14}{'share left':>12}{'above':>10}"
    out = [f"{'instance':20}{'row':>4}  {'method':8}{columns}"]
    for r in found:
        out.append(
            f"{r.instance:20}{r.row:4d}  {r.method:8}{r.crown:12.6f}{r.optimum:14.8f}{r.lower:14.8f}"
            f"{1.0 - r.share:12.1e}{r.above:10.1e}{'' if r.passed else '  FAILED'}"
        )
    out += [f"{cost.instance:20}      {cost.method:8}{cost.seconds:10.2f} s" for cost in costs]
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bounds of convolutional networks beside the exact LP optimum.")
    parser.add_argument("--only", default="", help="instances whose name contains this text")
    parser.add_argument("--rows", type=int, default=3, help="rows of each property")
    parser.add_argument("--passes", type=int, default=2000, help="budget of passes")
    parser.add_argument("--formulation", choices=FORMULATIONS, default="layered", help="HiGHS's columns")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="ipm", help="HiGHS's algorithm")
    parser.add_argument("--time-limit", type=float, default=600.0, help="HiGHS's seconds per row")
    parser.add_argument("--json", type=Path, default=RESULTS / "conv_optimum.json", help="where to write the results")
    options = parser.parse_args()
    found: list[Row] = []
    costs: list[Cost] = []
    programs: list[dict[str, Any]] = []
    for name in (name for name in INSTANCES if options.only in name):
        problem = load(name, options.rows)
        exact = optima(problem, options.formulation, options.algorithm, options.time_limit)
        _say(f"{name}: HiGHS {np.sum(exact.seconds):.1f} s")
        lists = {"values": exact.values.tolist(), "seconds": exact.seconds.tolist()}
        programs.append({"instance": name} | asdict(exact) | lists)
        rows, spent = compare(name, problem, exact, options.passes)
        found, costs = found + rows, costs + spent
    report = {
        "environment": environment(),
        "formulation": options.formulation,
        "algorithm": options.algorithm,
        "programs": programs,
        "costs": [asdict(cost) for cost in costs],
        "rows": [asdict(row) for row in found],
    }
    write_json(options.json, report)
    print(table(found, costs))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
