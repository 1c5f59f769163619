"""How far each scheme gets with a number of passes, on the instances with Fast-Lin pre-activation bounds.

    python -m benchmarks.convergence [--json FILE] [--plot FILE]

One pass is one product with every W, or with every W'. Ascent plans its steps over its passes, so every budget is a
run of its own; the gap stops nothing.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import admm_verify as av
from admm_verify.report.plots import COLOURS, MARKERS
from benchmarks.shares import RESULTS, closed, crown_bound, environment, write_json
from problems.lp_instances import LpInstance, mnist_fc_instances

SCHEMES = ("ascent", "primal_dual", "admm")
BUDGETS = (10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Entry:
    """Shares closed over all rows by one scheme with one budget of passes."""

    scheme: str
    passes: int
    rows: int
    mean_share: float
    worst_share: float


def entries(instances: Sequence[LpInstance]) -> list[Entry]:
    """Every scheme with every budget on all rows."""
    problems = [(instance, instance.problem()) for instance in instances]
    crowns = [crown_bound(problem) for _, problem in problems]
    found = []
    for scheme in SCHEMES:
        for passes in BUDGETS:
            parts = [
                closed(
                    instance,
                    crown,
                    av.solve(problem, scheme, settings=av.SolverSettings(tolerance=0.0, max_passes=passes)).lower,
                )
                for (instance, problem), crown in zip(problems, crowns, strict=True)
            ]
            shares = np.concatenate(parts)
            found.append(Entry(scheme, passes, len(shares), float(np.mean(shares)), float(np.min(shares))))
    return found


def table(found: Sequence[Entry]) -> str:
    """Mean (worst) share in percent, a line per scheme."""
    lines = [f"{'scheme':12}" + "".join(f"{passes:>22}" for passes in BUDGETS)]
    for scheme in SCHEMES:
        cells = [f"{100 * e.mean_share:.3f} ({100 * e.worst_share:.3f})" for e in found if e.scheme == scheme]
        lines.append(f"{scheme:12}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def plot(found: Sequence[Entry], path: Path) -> None:
    """What is left of the distance, 1 - share closed, over passes."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for scheme in SCHEMES:
        part = [entry for entry in found if entry.scheme == scheme]
        passes = [entry.passes for entry in part]
        colour, marker = COLOURS[scheme], MARKERS[scheme]
        mean = [1.0 - entry.mean_share for entry in part]
        worst = [1.0 - entry.worst_share for entry in part]
        axes.loglog(passes, mean, color=colour, marker=marker, markersize=6, linewidth=2, label=f"{scheme}, mean")
        axes.loglog(passes, worst, color=colour, linewidth=1, linestyle=":", label=f"{scheme}, worst row")
    axes.set_xticks(BUDGETS, [str(passes) for passes in BUDGETS])
    axes.minorticks_off()
    axes.set_xlabel("passes (one product with every weight matrix each)")
    axes.set_ylabel("share of the CROWN-to-LP distance left")
    axes.set_title(f"Certified bounds of {found[0].rows} rows, MNIST 784-600-400-200-100-10", fontsize=11)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description="Share of the CROWN-to-LP distance closed, passes by scheme.")
    parser.add_argument("--json", type=Path, default=RESULTS / "convergence.json", help="where to write the results")
    parser.add_argument("--plot", type=Path, default=RESULTS / "convergence.png", help="where to write the plot")
    options = parser.parse_args()
    found = entries([instance for instance in mnist_fc_instances() if instance.kind == "kw"])
    write_json(options.json, {"environment": environment(), "entries": [asdict(entry) for entry in found]})
    plot(found, options.plot)
    print(table(found))


if __name__ == "__main__":
    main()
