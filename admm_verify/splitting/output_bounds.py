"""`output_bounds`: a certified range of every output of a network, by the solvers."""

import time
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.bounds.preactivation import input_rows, output_interval, preactivation_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network
from admm_verify.network.layout import is_single
from admm_verify.options import instance, member
from admm_verify.run import Ended, Run
from admm_verify.sets.contract import WalkableSet
from admm_verify.settings import SolverSettings
from admm_verify.splitting.problem import Problem
from admm_verify.splitting.solution import Solution
from admm_verify.splitting.solve import solve

_NUMBERS = 2**22
"""Coefficients of the rows that are solved in one call, and numbers of their own sets."""


@dataclass(frozen=True, eq=False, repr=False)
class OutputBounds:
    """lower <= f(x) <= upper for every x of the input set, both certified, in float64 and in the library of the set.

    status: of the row that ended first for another reason than a closed gap, else CONVERGED; the bounds hold whatever
    it is. seconds: of the call.
    Shapes: lower, upper [*output_shape] for one set, [rows, *output_shape] for a batch.
    """

    lower: Array
    upper: Array
    status: Ended
    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", member(self.status, "The status of the bounds", Ended))

    def __repr__(self) -> str:
        """Both ends, and what they are."""
        head = f"Output bounds, certified: lower <= f(x) <= upper over the whole set ({self.status.value})"
        return "\n".join([head, f"lower: {to_numpy(self.lower)}", f"upper: {to_numpy(self.upper)}"])


@memory_errors()
def output_bounds(
    network: Network,
    inputs: WalkableSet,
    method: str = "auto",
    *,
    preactivation: PreactivationBounds | None = None,
    settings: SolverSettings | None = None,
    run: Run | None = None,
) -> OutputBounds:
    """Certified lower and upper bounds of every output over the input set.

    `solve` minimises f_i and -f_i for every output i; no bound is looser than interval arithmetic's over the
    pre-activation bounds. Method, settings and run are those of `solve`; max_passes=0 gives the CROWN bounds alone.
    preactivation: as in `Problem`, by default CROWN's.

    Shapes: inputs of numbers [*input_shape] or [rows, *input_shape] -> [*output_shape] or [rows, *output_shape].
    Raises: what `Problem` and `solve` raise.
    Error: rounded outward.
    """
    began, run = time.monotonic(), Run.of(run)
    rows = input_rows(network, inputs)
    chosen = SolverSettings() if settings is None else instance(settings, SolverSettings, "settings")
    if preactivation is None:
        preactivation = preactivation_bounds(network, inputs, run=run)
    bounds, ranges = output_interval(network, preactivation, rows)
    solutions, outputs = [], network.output_size
    each = max(outputs, rows.burden if rows.count > 1 else 0)
    count, step = rows.count * 2 * outputs, max(1, _NUMBERS // each)
    for first in range(0, count, step):
        owner, row = np.divmod(np.arange(first, min(first + step, count)), 2 * outputs)
        problem = _problem(network, rows, bounds, owner, row)
        solutions.append(solve(problem, method, settings=chosen, run=run))
    found = Solution.join(solutions, time.monotonic() - began)
    return _joined(network, ranges, found, is_single(inputs.shape, network.input_shape), rows.placement)


def _problem(
    network: Network, inputs: WalkableSet, bounds: PreactivationBounds, owner: np.ndarray, row: np.ndarray
) -> Problem:
    """Rows f_i (row i) and -f_i (row outputs + i) over the sets of their owners; one set alone is shared."""
    outputs = network.output_size
    objective = np.zeros((len(row), outputs))
    objective[np.arange(len(row)), row % outputs] = np.where(row < outputs, 1.0, -1.0)
    if inputs.count == 1:
        return Problem(network, inputs, objective, preactivation=bounds)
    pick = inputs.placement.put_indices(owner)
    return Problem(network, inputs.take(pick), objective, preactivation=bounds.take(pick))


def _joined(
    network: Network, ranges: tuple[Array, Array], solution: Solution, single: bool, home: Placement
) -> OutputBounds:
    xp = home.xp
    found = xp.reshape(solution.lower, (-1, 2, network.output_size))
    lower, upper = xp.maximum(found[:, 0], ranges[0]), xp.minimum(-found[:, 1], ranges[1])
    shape = network.output_shape if single else (lower.shape[0], *network.output_shape)
    status = next((one for one in solution.status if one is not Ended.CONVERGED), Ended.CONVERGED)
    return OutputBounds(xp.reshape(lower, shape), xp.reshape(upper, shape), status, solution.seconds)
