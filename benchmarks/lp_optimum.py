"""Our schemes beside HiGHS on triangle relaxations with known optima, one thread, one run.

    python -m benchmarks.lp_optimum [--kind kw|ibp|all] [--instances N] [--no-highs] [--pdlp [TOLERANCE]] [--json FILE]

Per method: the share of the way from the CROWN bound to the LP optimum closed, the duality gap, whether a bound ever
passes the optimum, and CPU seconds for the batch of 9 rows. HiGHS runs in the formulation and with the algorithm that
are fastest for it at each radius and kind of bounds, found on the first such instance; writing its model is not timed.
With `--pdlp` the first-order solver PDLP of HiGHS, and of OR-tools where installed, runs beside them.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from benchmarks.shares import RESULTS, closed, crown_bound, environment, timed, write_json
from problems.lp_instances import LpInstance, mnist_fc_instances

METHODS: tuple[tuple[str, int | None], ...] = (
    ("crown", 0),
    ("ascent", 30),
    ("ascent", 100),
    ("primal_dual", 100),
    ("primal_dual", 1000),
    ("admm", 300),
    ("admm", 1000),
    ("auto", None),
)
"""Scheme and passes; with a number of passes the gap never stops a run early, "auto" runs with its defaults."""

SLACK = 1e-9
"""Relative tolerance of the stored optima in the test whether a bound is on the wrong side."""


@dataclass(frozen=True)
class Measurement:
    """One method on one instance; shares [rows whose CROWN bound is not already the optimum]."""

    instance: str
    kind: str
    eps: float
    method: str
    seconds: float
    shares: np.ndarray
    relative_gap: float
    lower_above: int
    upper_below: int


@dataclass(frozen=True)
class Rival:
    """Another solver on one instance.

    from_stored: largest |optimum - stored optimum| / max(1, |stored optimum|) over the rows solved. solved: how many.
    """

    instance: str
    formulation: str
    algorithm: str
    seconds: float
    from_stored: float
    solved: int


def run_method(problem: av.Problem, method: str, passes: int | None) -> av.Solution:
    """One method of the table on a batch of rows."""
    if passes is None:
        return av.solve(problem, method)
    return av.solve(
        problem, "auto" if method == "crown" else method, settings=av.SolverSettings(tolerance=0.0, max_passes=passes)
    )


def measure(instance: LpInstance) -> list[Measurement]:
    """All methods on one instance."""
    problem, optimum = instance.problem(), instance.lp_optimum
    crown, slack = crown_bound(problem), SLACK * np.maximum(1.0, np.abs(optimum))
    found = []
    for method, passes in METHODS:
        solution, seconds = timed(partial(run_method, problem, method, passes))
        found.append(
            Measurement(
                instance.name,
                instance.kind,
                instance.eps,
                f"{method} {passes}" if passes else method,
                seconds,
                closed(instance, crown, solution.lower),
                float(np.max(solution.gap / np.maximum(1.0, np.abs(solution.lower)))),
                int(np.sum(solution.lower > optimum + slack)),
                int(np.sum(solution.relaxation_upper < optimum - slack)),
            )
        )
    return found


def run_highs(instance: LpInstance, choices: dict[str, dict[str, Any]]) -> Rival:
    """HiGHS on one instance; `choices` keeps the way found for each kind and radius."""
    from benchmarks.highs_triangle import Choice, fastest, optima  # --no-highs works without highspy

    group = f"{instance.kind} {instance.eps}"
    if group not in choices:
        choices[group] = asdict(fastest(instance))
    choice = Choice(**choices[group])
    values, seconds = optima(instance, choice)
    _say(f"{instance.name}: HiGHS {seconds:.2f} s, {choice.algorithm} on the {choice.formulation} formulation")
    return _rival(instance, choice.formulation, choice.algorithm, values, seconds)


def run_pdlp(instance: LpInstance, tolerance: float) -> list[Rival]:
    """PDLP in every version installed on one instance."""
    from benchmarks.pdlp import answers  # needs highspy too

    found = []
    for answer in answers(instance, tolerance):
        name = f"PDLP of {answer.solver}, {tolerance:g}"
        found.append(_rival(instance, answer.formulation, name, answer.values, answer.seconds))
        _say(f"{instance.name}: {name} {answer.seconds:.2f} s on the {answer.formulation} formulation")
    return found


def _rival(instance: LpInstance, formulation: str, algorithm: str, values: np.ndarray, seconds: float) -> Rival:
    """The record of a solver; values [rows], NaN where it found none."""
    distance = np.abs(values - instance.lp_optimum) / np.maximum(1.0, np.abs(instance.lp_optimum))
    solved = distance[~np.isnan(distance)]
    return Rival(instance.name, formulation, algorithm, seconds, float(np.max(solved, initial=0.0)), len(solved))


def summarise(measurements: Sequence[Measurement], rivals: Sequence[Rival]) -> list[dict[str, Any]]:
    """One line per kind of bounds and method."""
    highs = {rival.instance: rival.seconds for rival in rivals}
    lines = []
    for kind in dict.fromkeys(m.kind for m in measurements):
        for method in dict.fromkeys(m.method for m in measurements):
            part = [m for m in measurements if (m.kind, m.method) == (kind, method)]
            shares = np.concatenate([m.shares for m in part])
            ratios = {m.instance: highs[m.instance] / m.seconds for m in part if m.instance in highs}
            lines.append(
                {
                    "kind": kind,
                    "method": method,
                    "rows": len(shares),
                    "mean_share": float(np.mean(shares)),
                    "worst_share": float(np.min(shares)),
                    "largest_relative_gap": max(m.relative_gap for m in part),
                    "rows_above_optimum": sum(m.lower_above for m in part),
                    "rows_with_upper_below_optimum": sum(m.upper_below for m in part),
                    "median_seconds": statistics.median(m.seconds for m in part),
                    "highs_over_ours": _median_ratios(part, ratios),
                }
            )
    return lines


def record(measurement: Measurement) -> dict[str, Any]:
    """One measurement with its shares reduced to mean and worst."""
    fields, shares = asdict(measurement), measurement.shares
    del fields["shares"]
    if not len(shares):
        return fields | {"mean_share": None, "worst_share": None}
    return fields | {"mean_share": float(np.mean(shares)), "worst_share": float(np.min(shares))}


def _median_ratios(part: Sequence[Measurement], ratios: dict[str, float]) -> dict[str, float]:
    """Median of HiGHS seconds over ours, for all instances and per radius; empty without HiGHS."""
    if not ratios:
        return {}
    found = {"all": statistics.median(ratios.values())}
    for eps in dict.fromkeys(m.eps for m in part):
        found[str(eps)] = statistics.median(ratios[m.instance] for m in part if m.eps == eps)
    return found


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The summary as text."""
    head = f"{'bounds':6} {'method':17}{'mean %':>10}{'worst %':>10}{'gap':>10}{'wrong':>7}{'seconds':>9}  HiGHS / ours"
    out = [head]
    for line in lines:
        wrong = line["rows_above_optimum"] + line["rows_with_upper_below_optimum"]
        ratios = ", ".join(f"{name}: {ratio:.1f}" for name, ratio in line["highs_over_ours"].items()) or "-"
        out.append(
            f"{line['kind']:6} {line['method']:17}{100 * line['mean_share']:10.4f}{100 * line['worst_share']:10.4f}"
            f"{line['largest_relative_gap']:10.1e}{wrong:7d}{line['median_seconds']:9.3f}  {ratios}"
        )
    return "\n".join(out)


def pdlp_table(measurements: Sequence[Measurement], rivals: Sequence[Rival]) -> str:
    """A line per instance and version of PDLP, with its seconds over those of our methods."""
    names = ("ascent 100", "primal_dual 1000", "auto")
    ours = {(m.instance, m.method): m.seconds for m in measurements}
    out = [f"{'instance':32}{'solver':26}{'solved':>7}{'seconds':>9}{'off by':>9}  seconds over ours"]
    for r in rivals:
        ratios = ", ".join(f"{name}: {r.seconds / ours[r.instance, name]:.1f}" for name in names)
        out.append(f"{r.instance:32}{r.algorithm:26}{r.solved:7d}{r.seconds:9.2f}{r.from_stored:9.1e}  {ratios}")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bounds beside the exact LP optimum, with times.")
    parser.add_argument("--kind", choices=("kw", "ibp", "all"), default="all", help="pre-activation bounds")
    parser.add_argument("--instances", type=int, default=None, help="at most this many instances of each kind")
    parser.add_argument("--no-highs", action="store_true", help="only the stored optima, no HiGHS run")
    parser.add_argument("--pdlp", type=float, nargs="?", const=1e-6, help="run PDLP too, to this relative tolerance")
    parser.add_argument("--json", type=Path, default=RESULTS / "lp_optimum.json", help="where to write the results")
    options = parser.parse_args()
    instances = select(options.kind, options.instances)
    av.solve(instances[0].problem(), "admm", settings=av.SolverSettings(max_passes=2))  # the first call loads libraries
    measurements: list[Measurement] = []
    rivals: list[Rival] = []
    pdlp: list[Rival] = []
    choices: dict[str, dict[str, Any]] = {}
    for instance in instances:  # side by side, so that another process on the machine disturbs both alike
        measurements += measure(instance)
        _say(f"{instance.name}: ours")
        if not options.no_highs:
            rivals.append(run_highs(instance, choices))
        if options.pdlp is not None:
            pdlp += run_pdlp(instance, options.pdlp)
    lines = summarise(measurements, rivals)
    report = {
        "environment": environment(),
        "summary": lines,
        "highs_choices": choices,
        "highs": [asdict(rival) for rival in rivals],
        "pdlp": [asdict(rival) for rival in pdlp],
        "instances": [record(measurement) for measurement in measurements],
    }
    write_json(options.json, report)
    print(table(lines))
    if rivals:
        print(f"HiGHS against the stored optima, largest relative difference: {max(r.from_stored for r in rivals):.1e}")
    if pdlp:
        print(pdlp_table(measurements, pdlp))


def select(kind: str, count: int | None) -> list[LpInstance]:
    """The first instances of each kind asked for."""
    stored = mnist_fc_instances()
    kinds = ("kw", "ibp") if kind == "all" else (kind,)
    return [instance for name in kinds for instance in [i for i in stored if i.kind == name][:count]]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
