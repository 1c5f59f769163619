"""The best results so far of every row; the only place where results are kept, all of them in float64."""

from dataclasses import dataclass, field, replace

from admm_verify.arrays import Array, Placement, namespace, scattered, select_rows, take_rows
from admm_verify.bounds.backward import Backward
from admm_verify.bounds.functionals import certify
from admm_verify.bounds.region import Region
from admm_verify.splitting.anchors import Anchors
from admm_verify.splitting.primal import PrimalPoint, evaluation_errors, feasible_value
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.restore import restored
from admm_verify.splitting.state import Duals
from admm_verify.splitting.sweeps import DualPoint, filled, objectives, slope_sweep

INFINITY = float("inf")

_RESTORING = 40
"""Steps towards the constraints from the last point of a scheme."""

_DEEP, _NEAR = 1e-2, 1e-4
"""By how much constraints are to hold, in their units, where feasibility is asked for, and where a value is."""


@dataclass(eq=False)
class Ledger:
    """Certified bounds and feasible values of a block of rows, improved at check points and never made worse.

    The lower bound of rows whose constraints are certified to hold nowhere is +inf. anchors: what feasible points of
    constrained rows are made with; None where nothing is constrained. records: how often it was told of multipliers, of
    which the first are CROWN's. settled [rows]: finished rows that come along and whose results stay; None for none.
    """

    rows: Rows
    region: Region = field(init=False)
    errors: list[Array] = field(init=False)
    lower: Array = field(init=False)
    upper: Array = field(init=False)
    primal: Array = field(init=False)
    multipliers: Duals = field(init=False)
    anchors: Anchors | None = field(init=False)
    records: int = 0
    settled: Array | None = None

    def __post_init__(self) -> None:
        rows = self.rows
        xp, count = namespace(rows.offset), rows.offset.shape[0]
        self.region = rows.region()
        self.errors = evaluation_errors(rows, self.region)
        self.lower = xp.full_like(rows.offset, -float("inf"))
        self.upper = xp.full_like(rows.offset, float("inf"))
        self.primal = xp.broadcast_to(rows.inputs.centre, (count, rows.inputs.size))
        self.multipliers = Duals.zero(rows)
        self.anchors = Anchors.none(rows) if rows.constrained else None

    def record(
        self,
        active: Array,
        multipliers: Duals,
        point: PrimalPoint,
        sweep: Backward | None = None,
        aims: bool = True,
        restore: bool = False,
    ) -> None:
        """Certify multipliers and evaluate a primal point for the active rows; keep what is better.

        sweep: the multipliers' backward sweep in float64, where the caller has it already. aims: False for multipliers
        of the constraints alone, which prove that these hold nowhere or say nothing. restore: move the point first
        until the constraints hold.
        """
        rows, region, errors = self.rows, self.region, self.errors
        self.records += 1
        everything = active.shape[0] == rows.offset.shape[0]
        if not everything:
            rows, region = self.taken(active), region.take(active)
            errors = errors if rows.held.owner is not None else [take_rows(error, active) for error in errors]
        put = Placement.of(rows.offset).put
        moved = multipliers.mapped(put)
        rows = rows.tilted(moved.residual)
        # Iterations can leave the sets by a rounding error.
        xp = namespace(rows.offset)
        point = PrimalPoint(rows.inputs.drawn_in(put(point.x)), [put(share) for share in point.shares])
        if not aims:
            empty = _certified(rows.aimless(), region, moved) > 0
            bound = xp.where(empty, xp.full_like(rows.offset, INFINITY), xp.full_like(rows.offset, -INFINITY))
        else:
            bound = _certified(rows, region, moved) if sweep is None else region.concretise(sweep)
            if rows.constrained:
                moved, bound = _refuted(rows, region, moved, bound)
        x = point.x
        if self.anchors is None:
            value = feasible_value(rows, errors, point)
        else:
            anchors = self.anchors if everything else self.anchors.take(active)
            if restore:
                margin = _NEAR if aims else _DEEP
                point = restored(rows, point, margin, _RESTORING)
            anchors, x, value = anchors.drawn(rows, errors, point)
            self.anchors = anchors if everything else self.anchors.with_rows(active, anchors)
        if not everything:
            count = self.rows.offset.shape[0]
            bound, value = scattered(bound, active, count, -INFINITY), scattered(value, active, count, INFINITY)
            moved = moved.mapped(lambda g: scattered(g, active, count))
            x = scattered(x, active, count)
        raised, sunk = bound > self.lower, value < self.upper
        if self.settled is not None:
            moving = xp.logical_not(self.settled)
            raised, sunk = raised & moving, sunk & moving
        self.lower = xp.where(raised, bound, self.lower)
        self.upper = xp.where(sunk, value, self.upper)
        self.primal = select_rows(sunk, x, self.primal)
        self.multipliers = moved.where(raised, self.multipliers)

    def taken(self, active: Array) -> Rows:
        """The active rows."""
        return self.rows if active.shape[0] == self.rows.offset.shape[0] else self.rows.take(active)

    def settle(self) -> None:
        """Of squares no multipliers at all say that they are not negative."""
        squares = self.rows.squares
        if squares is not None:
            below = ~(self.lower > squares.offset)
            self.lower = namespace(self.lower).where(below, squares.offset, self.lower)
            self.multipliers = Duals.zero(self.rows).where(below, self.multipliers)

    @property
    def empty(self) -> Array:
        """Rows whose constraints are certified to hold nowhere: the least value over nothing."""
        return self.lower >= INFINITY

    def converged(self, tolerance: float) -> Array:
        """Rows whose gap is at most tolerance * max(1, |lower|), and those whose constraints hold nowhere."""
        xp = namespace(self.lower)
        scale = xp.maximum(xp.abs(self.lower), xp.ones_like(self.lower))
        return self.empty | (xp.isfinite(self.lower) & (self.upper - self.lower <= tolerance * scale))


def _certified(rows: Rows, region: Region, duals: Duals) -> Array:
    """Certified bounds from multipliers of the rows and of their constraints."""
    functionals = objectives(rows)
    if rows.couplings is not None:
        error = rows.couplings.lost(functionals, duals.coupled, region)
        functionals = replace(rows.couplings.added(functionals, duals.coupled), error=error)
    return certify(region, functionals, lambda k, _: duals.layers[k])[0]


def _refuted(rows: Rows, region: Region, duals: Duals, bound: Array) -> tuple[Duals, Array]:
    """+inf where the constraints alone, weighted, are certified to be positive everywhere, with multipliers of that.

    They would be at most zero where all constraints hold (Farkas).
    """
    xp, point = rows.xp, DualPoint.behind(rows, duals)
    aimless = rows.aimless()
    sweep = slope_sweep(aimless, point).sweep
    alone = Duals(filled(sweep.pre, rows.neurons(0.0)), duals.coupled)
    empty = _certified(aimless, region, alone) > 0
    return alone.where(empty, duals), xp.where(empty, xp.full_like(bound, INFINITY), bound)
