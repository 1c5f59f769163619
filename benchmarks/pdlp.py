"""PDLP on the triangle relaxation, HiGHS's and OR-tools's where installed: a first-order rival of the exact solvers.

Both stop at a relative tolerance on residuals and gap, so that their optimum is one within it, on either side; neither
is a bound. Each runs in the formulation that is fastest for it on the first row of an instance.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import ortools_pdlp
from benchmarks.highs_triangle import FORMULATIONS, Highs
from benchmarks.models import Model
from benchmarks.shares import timed
from problems.lp_instances import LpInstance

SECONDS = 60.0
"""Limit per row; a row that reaches it has no optimum."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Optimum per row, NaN where none was found in time, and CPU seconds for all rows without writing the model."""

    solver: str
    formulation: str
    values: np.ndarray
    seconds: float


def of_highs(model: Model, tolerance: float) -> tuple[np.ndarray, float]:
    """HiGHS's PDLP, every row anew: optimum per row and CPU seconds."""

    def batch() -> np.ndarray:
        highs = Highs(model, "pdlp")
        for name, value in (("kkt_tolerance", tolerance), ("run_crossover", "off")):
            highs.solver.setOptionValue(name, value)
        return np.array([_row(highs, row) for row in range(len(model.costs))])

    return timed(batch, runs=1)


def _row(highs: Highs, row: int) -> float:
    # HiGHS's clock counts all runs of one solver.
    highs.solver.setOptionValue("time_limit", highs.solver.getRunTime() + SECONDS)
    try:
        return highs.minimise(row)
    except RuntimeError:
        return float("nan")


def of_ortools(model: Model, tolerance: float) -> tuple[np.ndarray, float]:
    """OR-tools's PDLP, every row from the solution of the row before: optimum per row and CPU seconds."""
    return ortools_pdlp.minimise(model, tolerance, SECONDS)


def answers(instance: LpInstance, tolerance: float) -> list[Answer]:
    """Every solver installed on one instance."""
    solvers: dict[str, Callable[[Model, float], tuple[np.ndarray, float]]] = {"HiGHS": of_highs}
    if ortools_pdlp.installed():
        solvers["OR-tools"] = of_ortools
    models = {name: write(instance) for name, write in FORMULATIONS.items()}
    found = []
    for solver, minimise in solvers.items():
        costs = {name: _first_row(minimise, model, tolerance) for name, model in models.items()}
        formulation = min(costs, key=lambda name: costs[name])
        found.append(Answer(solver, formulation, *minimise(models[formulation], tolerance)))
    return found


def _first_row(
    minimise: Callable[[Model, float], tuple[np.ndarray, float]], model: Model, tolerance: float
) -> tuple[bool, float]:
    """Whether the first row fails, and its seconds."""
    values, seconds = minimise(replace(model, costs=model.costs[:1], offsets=model.offsets[:1]), tolerance)
    return bool(np.isnan(values[0])), seconds
