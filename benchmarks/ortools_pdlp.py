"""PDLP of OR-tools on a linear program, in a process of its own.

OR-tools brings a copy of HiGHS's library that cannot be loaded beside highspy's.
"""

from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context

import numpy as np

from benchmarks import THREADS
from benchmarks.models import Model
from benchmarks.shares import timed


def installed() -> bool:
    """Whether OR-tools can be had."""
    return find_spec("ortools") is not None


def minimise(model: Model, tolerance: float, seconds_per_row: float) -> tuple[np.ndarray, float]:
    """Optimum per row, NaN where none was found in time, and CPU seconds for all rows."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_minimise, model, tolerance, seconds_per_row).result()


def _minimise(model: Model, tolerance: float, seconds_per_row: float) -> tuple[np.ndarray, float]:
    from ortools.pdlp import solve_log_pb2, solvers_pb2
    from ortools.pdlp.python import pdlp

    parameters = solvers_pb2.PrimalDualHybridGradientParams(num_threads=THREADS)
    criteria = parameters.termination_criteria
    criteria.time_sec_limit = seconds_per_row
    criteria.simple_optimality_criteria.eps_optimal_relative = tolerance
    criteria.simple_optimality_criteria.eps_optimal_absolute = tolerance

    def batch() -> np.ndarray:
        problem = pdlp.QuadraticProgram()
        problem.resize_and_initialize(*model.matrix.shape[::-1])
        problem.constraint_matrix = model.matrix.tocsc()
        problem.constraint_lower_bounds, problem.constraint_upper_bounds = model.row_lower, model.row_upper
        problem.variable_lower_bounds, problem.variable_upper_bounds = model.column_lower, model.column_upper
        found, start = [], None
        for costs, offset in zip(model.costs, model.offsets, strict=True):
            problem.objective_vector = costs
            result = pdlp.primal_dual_hybrid_gradient(problem, parameters, start)
            solved = result.solve_log.termination_reason == solve_log_pb2.TERMINATION_REASON_OPTIMAL
            found.append(costs @ result.primal_solution + offset if solved else np.nan)
            start = pdlp.PrimalAndDualSolution()  # the next row starts from this one's solution
            start.primal_solution, start.dual_solution = result.primal_solution, result.dual_solution
        return np.array(found)

    return timed(batch, runs=1)
