"""`solve`: the front door of the solvers."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.memory import Budget, keep_freed_memory
from admm_verify.options import callbacks, choice, instance, number, pass_limit, timeout_seconds
from admm_verify.run import Ended
from admm_verify.settings import SolverSettings
from admm_verify.splitting.admm import Admm
from admm_verify.splitting.ascent import Ascent
from admm_verify.splitting.eliminate import Elimination, can_eliminate, eliminate, elimination_pays, elimination_work
from admm_verify.splitting.ledger import Ledger
from admm_verify.splitting.loop import ROUNDING_GAP, Clock, Progress, Run
from admm_verify.splitting.placement import iteration_placement
from admm_verify.splitting.primal import PrimalPoint, best_response
from admm_verify.splitting.primal_dual import PrimalDual
from admm_verify.splitting.problem import Problem, Rows
from admm_verify.splitting.scheme import Scheme
from admm_verify.splitting.solution import Solution
from admm_verify.splitting.sweeps import filled, slope_sweep, start_slopes
from admm_verify.threads import threads_for, workers_for

METHODS = ("auto", "admm", "primal_dual", "ascent")


def solve(
    problem: Problem,
    method: str = "auto",
    tolerance: float = 1e-4,
    max_passes: int | None = None,
    timeout: float | None = None,
    device: str | None = None,
    precision: str | None = None,
    start: Sequence[Array] | None = None,
    settings: SolverSettings | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Solution:
    """Certified lower bounds, feasible values and gaps for all rows of a problem.

    "ascent" raises the bound fastest and has a schedule planned over its passes, so it always runs them all;
    "primal_dual" also closes the gap; "admm" is the layered splitting. "auto" is ascent, then primal_dual until every
    gap is at most tolerance * max(1, |lower|). No method returns less than the CROWN bound of the same pre-activation
    bounds. Bounds are certified in float64 whatever the precision of the iterations.

    device: None (where the box lives), "cpu" or "cuda". precision: "float32" or "float64", None for float64 on the
    CPU and float32 on a GPU. start: multipliers of an earlier Solution, a warm start; any give bounds. timeout in
    seconds. stop: asked after every iteration; True ends the run with the best results so far. Rows are solved in
    blocks that fit into settings.memory.

    Raises: InputError for an option of the wrong type or range, or for "admm" on a map without a closed-form
    projection; DeviceError where the device is missing; MemoryError when not even one row fits.
    """
    began = time.monotonic()
    _check_kinds(problem, method, progress, stop)
    tolerance, timeout = number(tolerance, "The tolerance"), timeout_seconds(timeout)
    start = None if start is None else _checked_start(problem, start)
    chosen = SolverSettings() if settings is None else instance(settings, SolverSettings, "settings")
    placement = iteration_placement(problem.inputs.placement, device, precision)
    workers = workers_for(problem.rows * problem.network.weight_count) if placement.is_numpy else 1
    budget = Budget.of(chosen.memory, workers=workers)

    lock, reports = Lock(), dict[int, tuple[int, int]]()

    def ended() -> bool:
        # Blocks that run side by side ask one after the other.
        with lock:
            return budget.given_up.is_set() or (stop is not None and stop())

    clock = Clock(None if timeout is None else began + timeout, ended)
    step = _rows_at_once(problem, placement, budget, chosen)
    schemes = _schemes(method, pass_limit(max_passes), chosen)

    def work(first: int, last: int) -> Run:
        given = None if start is None else [g[first:last] for g in start]
        block = problem.block(first, last)
        told = None if progress is None else partial(_tell, progress, lock, reports, first, problem.rows)
        return _solve_block(block, schemes, placement, tolerance, clock, chosen, given, told)

    keep_freed_memory()
    with threads_for(min(step, problem.rows) * problem.network.weight_count, workers), quiet_overflow():
        runs = budget.blocks(problem.rows, step, work)
    return _solution(problem, runs, time.monotonic() - began)


def _tell(
    progress: Progress, lock: Lock, reports: dict[int, tuple[int, int]], block: int, total: int, *report: int
) -> None:
    """Progress of all blocks together: the most passes of any, and the finished rows of all."""
    passes, finished, _ = report
    with lock:
        reports[block] = passes, finished
        progress(max(p for p, _ in reports.values()), sum(f for _, f in reports.values()), total)


def _check_kinds(problem: Problem, method: str, progress: Progress | None, stop: Callable[[], bool] | None) -> None:
    instance(problem, Problem, "The problem")
    choice(method, "The method", METHODS)
    callbacks(("progress", progress), ("stop", stop))


def _rows_at_once(problem: Problem, placement: Placement, budget: Budget, settings: SolverSettings) -> int:
    numbers = settings.block_numbers if str(placement.device) == "cpu" else settings.device_block_numbers
    return max(1, budget.rows(numbers, sum(node.size for node in problem.network.nodes)))


def _checked_start(problem: Problem, start: Sequence[Array]) -> list[Array]:
    """Multipliers that were handed in, copied to where the box lives; any finite ones give a valid bound."""
    home = problem.inputs.placement
    wanted = [(problem.rows, low.shape[1]) for low in problem.preactivation.lower]
    if not isinstance(start, list | tuple):
        raise InputError(
            f"The start is a {type(start).__name__}; give the multipliers of a Solution, a tuple of arrays."
        )
    found = [float64_array(g, f"start of activation {k}", home) for k, g in enumerate(start)]
    given = [tuple(g.shape) for g in found]
    if given != wanted:
        raise InputError(
            f"The start has arrays of shapes {given}; give the multipliers of a Solution of these rows, {wanted}."
        )
    return found


def _schemes(method: str, max_passes: int | None, settings: SolverSettings) -> list[Scheme]:
    """The schemes a method runs one after the other, each with its budget of passes."""

    def budget(default: int) -> int:
        return default if max_passes is None else max_passes

    if method == "ascent":
        return [Ascent(settings.ascent, budget(settings.ascent.passes))]
    if method == "primal_dual":
        return [PrimalDual(settings.primal_dual, budget(settings.primal_dual.passes))]
    if method == "admm":
        return [Admm(settings.admm, budget(settings.admm.passes))]
    total = budget(settings.auto_passes)
    planned = min(settings.ascent.passes, total)
    return [Ascent(settings.ascent, planned), PrimalDual(settings.polish, total - planned)]


def _solve_block(
    problem: Problem,
    schemes: list[Scheme],
    placement: Placement,
    tolerance: float,
    clock: Clock,
    settings: SolverSettings,
    start: list[Array] | None,
    progress: Progress | None,
) -> Run:
    """One block of rows: the CROWN bound first, then the schemes in turn."""
    reference = Rows.of(problem, placement.double)
    ledger = Ledger(reference)
    everything = placement.put_indices(np.arange(problem.rows))
    dual = slope_sweep(reference, start_slopes(reference))
    multipliers = filled(dual.sweep.pre, ledger.multipliers)
    ledger.record(everything, multipliers, best_response(reference, dual), dual.sweep)
    if start is not None:
        point = PrimalPoint(ledger.primal, [namespace(g).zeros_like(g) for g in ledger.multipliers])
        ledger.record(everything, [placement.double.put(g) for g in start], point)
    rows = reference if placement == placement.double else Rows.of(problem, placement)
    run = Run(rows, ledger, clock, tolerance, settings.check_interval, progress)
    run.interruption = clock.interruption()
    if len(run.unfinished(ROUNDING_GAP)) and run.interruption is None:
        run.elimination = _elimination(problem, schemes)
    for scheme in schemes:
        run.run(scheme)
    return run


def _elimination(problem: Problem, schemes: list[Scheme]) -> Elimination | None:
    """Fold stable neurons away where that makes the iterations cheaper, and for ADMM always: it converges faster."""
    if not can_eliminate(problem.network):
        return None
    admm = any(isinstance(scheme, Admm) for scheme in schemes)
    passes = sum(scheme.passes for scheme in schemes)
    work = passes * problem.rows * sum(node.size for node in problem.network.nodes) * problem.network.input_size
    if not admm and elimination_work(problem) > 0.5 * work:
        return None
    reduced = eliminate(problem)
    return reduced if admm or elimination_pays(problem, reduced, passes) else None


def _solution(problem: Problem, runs: list[Run], seconds: float) -> Solution:
    home = problem.inputs.placement.double
    xp = home.xp

    def joined(parts: list[Array]) -> Array:
        return xp.concat([home.put(part) for part in parts], axis=0)

    lower = joined([run.ledger.lower for run in runs])
    primal = joined([run.ledger.primal for run in runs])
    count = len(runs[0].ledger.multipliers)
    statuses: list[Ended] = []
    for run in runs:
        ended = run.interruption or Ended.PASS_LIMIT
        for bound, converged in zip(
            to_numpy(run.ledger.lower), to_numpy(run.ledger.converged(run.tolerance)), strict=True
        ):
            statuses.append(Ended.NO_BOUND if bound == -np.inf else Ended.CONVERGED if converged else ended)
    return Solution(
        lower=lower,
        relaxation_upper=joined([run.ledger.upper for run in runs]),
        primal=xp.reshape(primal, (problem.rows, *problem.network.input_shape)),
        multipliers=tuple(joined([run.ledger.multipliers[k] for run in runs]) for k in range(count)),
        passes=xp.asarray(np.concatenate([run.passes for run in runs]), device=home.device),
        status=tuple(statuses),
        seconds=seconds,
    )
