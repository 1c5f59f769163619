"""`solve`: the front door of the solvers."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow, to_numpy
from admm_verify.backends.device import full_precision
from admm_verify.backends.placement import iteration_placements
from admm_verify.backends.several import Devices
from admm_verify.backends.transfers import brought
from admm_verify.errors import InputError
from admm_verify.memory import Budget, keep_freed_memory, memory_errors
from admm_verify.network.placed import unchanging
from admm_verify.options import choice, instance
from admm_verify.run import Ended, Run, Stopped
from admm_verify.settings import AscentSettings, SolverSettings
from admm_verify.splitting.admm import Admm
from admm_verify.splitting.ascent import Ascent
from admm_verify.splitting.eliminate import Elimination, can_eliminate, eliminate, elimination_pays, elimination_work
from admm_verify.splitting.feasibility import Feasibility
from admm_verify.splitting.graphs import can_project
from admm_verify.splitting.joint import raise_jointly
from admm_verify.splitting.ledger import Ledger
from admm_verify.splitting.loop import ROUNDING_GAP, Solving
from admm_verify.splitting.primal import PrimalPoint, best_response
from admm_verify.splitting.primal_dual import PrimalDual
from admm_verify.splitting.problem import Problem, Rows
from admm_verify.splitting.quadratic import Quadratic
from admm_verify.splitting.scheme import Scheme
from admm_verify.splitting.solution import Solution
from admm_verify.splitting.state import Duals
from admm_verify.splitting.sweeps import DualPoint, filled, slope_sweep
from admm_verify.threads import threads_for, workers_for

_BEYOND = {-np.inf: Ended.NO_BOUND, np.inf: Ended.INFEASIBLE}
"""What bounds that are no numbers say of their rows."""

METHODS = ("auto", "admm", "primal_dual", "ascent")

_QUADRATIC = ("auto", "admm")
"""Methods for quadratic objectives."""


@memory_errors()
def solve(
    problem: Problem,
    method: str = "auto",
    *,
    tolerance: float | None = None,
    max_passes: int | None = None,
    timeout: float | None = None,
    device: str | None = None,
    settings: SolverSettings | None = None,
    run: Run | None = None,
) -> Solution:
    """Certified lower bounds, feasible values and gaps for all rows of a problem.

    "ascent" raises the bound fastest and has a schedule planned over its passes, so it always runs them all;
    "primal_dual" also closes the gap; "admm" is the layered splitting. "auto" is ascent, then primal_dual until every
    gap is at most tolerance * max(1, |lower|). No method returns less than the CROWN bound of the same pre-activation
    bounds. Bounds are certified in float64 whatever the precision of the iterations. Quadratic objectives are for
    "admm", which "auto" is for them.

    tolerance, max_passes and device come before the same fields of settings and run; of two time limits the first one
    counts. device: None (where the box lives; NumPy computes for tensors on the host), "cpu", "cuda" or "auto"; blocks
    of rows go round several GPUs, as in "cuda:0,cuda:1" or "cuda:all". timeout in seconds. run: asked after every
    iteration; once it is over the best results so far come back. Rows are solved in blocks that fit into its memory; of
    several, all get their CROWN bounds first where there is a timeout, and those whose turn does not come have no
    bound.

    Raises: InputError for an option of the wrong type or range, or for "admm" on a map without a closed-form
    projection; DeviceError where the device is missing; MemoryError when not even one row fits.
    """
    began = time.monotonic()
    instance(problem, Problem, "The problem", ": av.Problem(network, box, objective)")
    choice(method, "The method", METHODS)
    if isinstance(problem.objective, Quadratic) and method not in _QUADRATIC:
        names = " or ".join(_QUADRATIC)
        raise InputError(f"The method {method!r} takes linear objectives alone; for a quadratic one choose {names}.")
    run = Run.of(run, timeout, device)
    chosen = SolverSettings.of(settings, tolerance, max_passes)
    work = problem.rows * problem.network.weight_count
    places = iteration_placements(problem.inputs.placement, run.device, chosen.precision, work, run.left)
    workers = workers_for(work, run.threads) if places[0].is_numpy else 1
    # Every block is begun, and ends with what it has.
    devices = Devices.of(places, run.endless(), workers)
    step = devices.step(lambda place, budget: _rows_at_once(problem, place, budget, chosen))
    block = Block(problem, method, devices.home, chosen, run.unless(devices.given_up))
    keep_freed_memory()
    pass_work = min(step, problem.rows) * problem.network.weight_count
    # Who gives no time at all waits for CROWN's bounds of the first block.
    in_time = run.deadline is None or began < run.deadline
    watched = run.watching() if in_time else nullcontext()
    kept = unchanging(problem.network)
    with threads_for(pass_work, workers, run.threads), full_precision(devices.home), quiet_overflow(), watched, kept:
        if run.deadline is not None and step < problem.rows and chosen.max_passes != 0:
            # The first blocks may take all the time there is.
            quick = replace(block, settings=replace(chosen, max_passes=0), run=block.run.silent())
            block = replace(block, known=Solution.join(devices.blocks(problem.rows, step, quick.solved_at), 0.0))
        return Solution.join(devices.blocks(problem.rows, step, block.solved_at), time.monotonic() - began)


@dataclass(frozen=True, eq=False)
class Block:
    """How blocks of a problem's rows are solved, here or in another process; they tell together how far they are.

    known: of all rows, for blocks whose turn does not come; None for nothing.
    """

    problem: Problem
    method: str
    placement: Placement
    settings: SolverSettings
    run: Run
    known: Solution | None = None
    reports: dict[int, tuple[int, int]] = field(default_factory=dict)

    def solved_at(self, place: Placement, first: int, last: int) -> Solution:
        """The rows first..last, solved in a place."""
        return (self if place == self.placement else replace(self, placement=place)).solved(first, last)

    def solved(self, first: int, last: int) -> Solution:
        """The rows first..last: their CROWN bounds first, then the schemes in turn.

        What is known already, of rows behind the first block whose turn comes when the run is over, or that then take
        long.
        """
        began, problem = time.monotonic(), self.problem.block(first, last)
        ended = self.run.ended() if first else None
        if ended is None:
            try:
                return self._solved(problem, first, began)
            except Stopped:
                ended = Ended.TIMED_OUT
        if self.known is not None:
            return self.known.part(first, last, ended)
        count = sum(one.offset.shape[1] for one in problem.constraints)
        found = Solution.unknown(problem.network, problem.inputs, problem.rows, ended, time.monotonic() - began, count)
        if isinstance(problem.objective, Quadratic):
            return replace(found, residual=namespace(found.lower).zeros_like(problem.objective.target))
        return found

    def _solved(self, problem: Problem, first: int, began: float) -> Solution:
        """Raises: Stopped before anything is known."""
        settings = self.settings
        reference = Rows.of(problem, self.placement.double)
        ledger = _first_bounds(reference, problem.start)
        rows = reference
        if self.placement != self.placement.double:
            # What crosses to a GPU crosses once.
            rows = reference.put(self.placement) if reference.squares is None else Rows.of(problem, self.placement)
        solving = Solving(rows, ledger, settings, self.run, partial(self._note, first))
        solving.interruption = self.run.ended()
        schemes = _schemes(self.method, settings, rows)
        try:
            if len(solving.unfinished(ROUNDING_GAP)) and solving.interruption is None:
                solving.elimination = _elimination(problem, schemes, self.placement)
            for scheme in schemes:
                solving.iterate(scheme)
            if settings.joint.iterations and solving.interruption is None:
                raise_jointly(solving, None if settings.joint.local else self.problem.network.gains, settings.joint)
        except Stopped:
            # The ledger holds what is known.
            solving.interruption = Ended.TIMED_OUT
        return _solution(problem, solving, time.monotonic() - began)

    def _note(self, first: int, passes: int, finished: int) -> None:
        """Tell the most passes of any block, and the finished rows of all."""
        self.reports[first] = passes, finished
        known, rows = list(self.reports.values()), self.problem.rows
        most, done = max(p for p, _ in known), sum(f for _, f in known)
        self.run.say(f"{most} passes, {done} of {rows} rows finished", done, rows)


def _rows_at_once(problem: Problem, placement: Placement, budget: Budget, settings: SolverSettings) -> int:
    numbers = settings.block_numbers if str(placement.device) == "cpu" else settings.device_block_numbers
    own = problem.inputs.burden if problem.inputs.count > 1 else 0
    if problem.couplings is not None:
        own += problem.couplings.burden
    return max(1, budget.rows(numbers, sum(node.size for node in problem.network.nodes) + own))


def _schemes(method: str, settings: SolverSettings, rows: Rows) -> list[Scheme]:
    """The schemes a method runs one after the other, each with its budget of passes.

    Where constraints have to hold, a part of them goes to whether they can, and more where that stays open.
    """
    defaults = {
        "ascent": settings.ascent.passes,
        "primal_dual": settings.primal_dual.passes,
        "admm": settings.admm.passes,
        "auto": settings.auto_passes,
    }
    constrained, method = rows.constrained, method if rows.squares is None else "admm"
    total = defaults[method] if settings.max_passes is None else settings.max_passes
    if not constrained or total == 0:
        return _aimed(method, settings, total, settings.ascent)
    first = Feasibility(settings.ascent, min(settings.ascent.passes, total // 10))
    # Multipliers of constraints take longer than slopes.
    climbing = replace(settings.constrained, passes=2 * settings.constrained.passes)
    found = [first, *_aimed(method, settings, total - first.passes, climbing)]
    if can_project(rows.network):
        found.append(Admm(settings.admm, settings.deciding_passes, aims=False))
    return found


def _aimed(method: str, settings: SolverSettings, total: int, climbing: AscentSettings) -> list[Scheme]:
    """The schemes of a method for so many passes, of which "auto" takes the climbing's own for climbing."""
    if method == "ascent":
        return [Ascent(climbing, total)]
    if method == "primal_dual":
        return [PrimalDual(settings.primal_dual, total)]
    if method == "admm":
        return [Admm(settings.admm, total)]
    planned = min(climbing.passes, total)
    return [Ascent(climbing, planned), PrimalDual(settings.polish, total - planned)]


def _first_bounds(reference: Rows, start: Sequence[Array] | None) -> Ledger:
    """CROWN's bounds, or better ones from the multipliers of a warm start."""
    ledger, placement = Ledger(reference), Placement.of(reference.offset)
    everything = placement.put_indices(np.arange(reference.offset.shape[0]))
    dual, zero = slope_sweep(reference, DualPoint.start(reference)), ledger.multipliers
    residual = None if reference.squares is None else 0.5 * reference.objective
    multipliers = replace(zero, layers=filled(dual.sweep.pre, zero.layers), residual=residual)
    ledger.record(everything, multipliers, best_response(reference, dual), dual.sweep)
    if start is not None:
        layers = [placement.put(g) for g in start[: len(zero.layers)]]
        mu = [placement.put(g) for g in start[len(layers) :]]
        residual = None if reference.squares is None else mu.pop()
        coupled = namespace(*mu).maximum(mu[0], 0.0 * mu[0]) if mu else zero.coupled
        ledger.record(everything, Duals(layers, coupled, residual), PrimalPoint(ledger.primal, zero.layers))
    return ledger


def _elimination(problem: Problem, schemes: list[Scheme], place: Placement) -> Elimination | None:
    """Fold stable neurons away where that makes the iterations cheaper, and for ADMM always: it converges faster."""
    if not can_eliminate(problem):
        return None
    admm = any(isinstance(scheme, Admm) for scheme in schemes)
    passes = sum(scheme.passes for scheme in schemes)
    work = passes * problem.rows * sum(node.size for node in problem.network.nodes) * problem.network.input_size
    if not admm and elimination_work(problem) > 0.5 * work:
        return None
    reduced = eliminate(problem, place.double if place.on_gpu else Placement.numpy())
    return reduced if admm or elimination_pays(problem, reduced, passes) else None


def _solution(problem: Problem, solving: Solving, seconds: float) -> Solution:
    """What is known of a block's rows, where the problem's box lives."""
    home, ledger = problem.inputs.placement.double, solving.ledger
    ended = solving.interruption or Ended.PASS_LIMIT
    ledger.settle()
    converged = to_numpy(ledger.converged(solving.settings.tolerance))
    duals = ledger.multipliers
    squares = [] if duals.residual is None else [duals.residual]
    found = brought([ledger.lower, ledger.upper, ledger.primal, duals.coupled, *duals.layers, *squares], home)
    lower, upper, primal, coupled, *layers = found
    residual = layers.pop() if squares else None
    return Solution(
        lower=lower,
        relaxation_upper=upper,
        primal=home.xp.reshape(primal, (problem.rows, *problem.network.input_shape)),
        multipliers=tuple(layers),
        passes=home.xp.asarray(solving.passes, device=home.device),
        status=tuple(
            _BEYOND.get(bound, Ended.CONVERGED if done else ended)
            for bound, done in zip(to_numpy(lower).tolist(), converged, strict=True)
        ),
        seconds=seconds,
        constraint_multipliers=coupled,
        residual=residual,
    )
