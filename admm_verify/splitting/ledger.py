"""The best results so far of every row; the only place where results are kept, all of them in float64."""

from dataclasses import dataclass, field

from admm_verify.arrays import Array, Placement, namespace, select_rows, spread, take_rows, to_numpy
from admm_verify.bounds.backward import Backward
from admm_verify.bounds.functionals import certify
from admm_verify.bounds.region import Region
from admm_verify.splitting.primal import PrimalPoint, evaluation_errors, feasible_value
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import objectives

INFINITY = float("inf")


@dataclass(eq=False)
class Ledger:
    """Certified bounds and feasible values of a block of rows, improved at check points and never made worse."""

    rows: Rows
    region: Region = field(init=False)
    errors: list[Array] = field(init=False)
    lower: Array = field(init=False)
    upper: Array = field(init=False)
    primal: Array = field(init=False)
    multipliers: list[Array] = field(init=False)

    def __post_init__(self) -> None:
        rows = self.rows
        xp, count = namespace(rows.offset), rows.offset.shape[0]
        self.region = rows.region()
        self.errors = evaluation_errors(rows, self.region)
        self.lower = xp.full_like(rows.offset, -float("inf"))
        self.upper = xp.full_like(rows.offset, float("inf"))
        self.primal = xp.broadcast_to(rows.inputs.centre, (count, rows.inputs.size))
        self.multipliers = [xp.zeros((count, low.shape[1]), dtype=low.dtype, device=low.device) for low in rows.lower]

    def record(
        self, active: Array, multipliers: list[Array], point: PrimalPoint, sweep: Backward | None = None
    ) -> None:
        """Certify multipliers and evaluate a primal point for the active rows; keep what is better.

        sweep: the multipliers' backward sweep in float64, where the caller has it already.
        """
        rows, region, errors = self.rows, self.region, self.errors
        everything = active.shape[0] == rows.offset.shape[0]
        if not everything:
            rows, region = rows.take(active), region.take(active)
            errors = [take_rows(error, active) for error in errors]
        put = Placement.of(rows.offset).put
        moved = [put(g) for g in multipliers]
        # Iterations can leave the sets by a rounding error.
        xp = namespace(rows.offset)
        point = PrimalPoint(rows.inputs.drawn_in(put(point.x)), [put(share) for share in point.shares])
        if sweep is None:
            bound, _ = certify(region, objectives(rows), lambda k, _: moved[k])
        else:
            bound = region.concretise(sweep)
        value = feasible_value(rows, errors, point)
        if not everything:
            places, count = to_numpy(active), self.rows.offset.shape[0]
            bound, value = spread(bound, places, count, -INFINITY), spread(value, places, count, INFINITY)
            moved = [spread(g, places, count) for g in moved]
            point = PrimalPoint(spread(point.x, places, count), [])
        raised, sunk = bound > self.lower, value < self.upper
        self.lower = xp.where(raised, bound, self.lower)
        self.upper = xp.where(sunk, value, self.upper)
        self.primal = select_rows(sunk, point.x, self.primal)
        self.multipliers = [select_rows(raised, g, old) for g, old in zip(moved, self.multipliers, strict=True)]

    def converged(self, tolerance: float) -> Array:
        """Rows whose gap is at most tolerance * max(1, |lower|)."""
        xp = namespace(self.lower)
        scale = xp.maximum(xp.abs(self.lower), xp.ones_like(self.lower))
        return xp.isfinite(self.lower) & (self.upper - self.lower <= tolerance * scale)
