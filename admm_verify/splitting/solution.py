"""What `solve` returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NoReturn

from admm_verify.arrays import Array, Float, Int, namespace, to_numpy
from admm_verify.errors import MissingNameError
from admm_verify.network.graph import Network
from admm_verify.options import instance, member
from admm_verify.run import Ended
from admm_verify.sets.contract import WalkableSet
from admm_verify.text_tables import table

_FINAL = (Ended.CONVERGED, Ended.INFEASIBLE)
"""What more time does not change."""

_SHOWN = 20
"""Rows of a solution that its text shows."""


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """Results per row of a problem, in float64, in the library of the problem's inputs.

    lower: certified lower bound of the relaxation's optimum, and so of the true minimum. relaxation_upper: value of a
    feasible point of the relaxation, +inf where none was found; it bounds the relaxation's optimum, *not* the true
    minimum, and no output of the network, for which there is `output_bounds`. gap = relaxation_upper - lower. primal:
    the input of that point, inside the set. multipliers: what `lower` was certified from, usable as a warm start, with
    constraint_multipliers >= 0 of the problem's constraints, one after the other. Where constraints are certified to
    hold nowhere the status is INFEASIBLE and both values are +inf, their gap 0: the multipliers are then those of the
    constraints alone, which they prove to be positive (Farkas).
    passes: iteration passes per row (one pass is one product with every W, or every W'; check points come on top).
    residual: of a quadratic objective, the w behind `lower`, whose plane 2 w'(y - target) - |w|^2 lies below it; None
    for a linear one.
    Shapes: primal [rows, *input_shape]; gap [rows]; constraint_multipliers [rows, m], m = 0 without constraints;
    residual [rows, m].
    """

    lower: Float[Array, " rows"]
    relaxation_upper: Float[Array, " rows"]
    primal: Float[Array, "..."]
    multipliers: tuple[Float[Array, "rows _"], ...]
    passes: Int[Array, " rows"]
    status: tuple[Ended, ...]
    seconds: float
    constraint_multipliers: Float[Array, "rows m"]
    residual: Float[Array, "rows m"] | None = None

    def __post_init__(self) -> None:
        status = tuple(
            member(one, "The status of a row", Ended) for one in instance(self.status, (tuple, list), "The status")
        )
        object.__setattr__(self, "status", status)

    @classmethod
    def unknown(
        cls, network: Network, inputs: WalkableSet, rows: int, ended: Ended, seconds: float, constraints: int = 0
    ) -> "Solution":
        """Rows of which nothing is known, over [1 or rows, n] inputs, with so many constraints each."""
        home = inputs.placement.double
        xp, like = home.xp, {"dtype": home.dtype, "device": home.device}
        centre = xp.broadcast_to(home.put(inputs.centre), (rows, inputs.size))
        infinity = xp.full((rows,), float("inf"), **like)
        return cls(
            -infinity,
            infinity,
            xp.reshape(centre, (rows, *network.input_shape)),
            tuple(xp.zeros((rows, network.nodes[source].size), **like) for source in network.sources),
            xp.zeros((rows,), dtype=xp.int64, device=home.device),
            (ended,) * rows,
            seconds,
            xp.zeros((rows, constraints), **like),
        )

    def part(self, first: int, last: int, ended: Ended) -> "Solution":
        """The rows first..last, with how they ended where they have not converged."""
        return Solution(
            self.lower[first:last],
            self.relaxation_upper[first:last],
            self.primal[first:last],
            tuple(layer[first:last] for layer in self.multipliers),
            self.passes[first:last],
            tuple(one if one in _FINAL else ended for one in self.status[first:last]),
            self.seconds,
            self.constraint_multipliers[first:last],
            None if self.residual is None else self.residual[first:last],
        )

    @classmethod
    def join(cls, parts: Sequence["Solution"], seconds: float) -> "Solution":
        """All rows of consecutive blocks."""
        joined, columns = namespace(parts[0].lower).concat, zip(*(part.multipliers for part in parts), strict=True)
        lower, upper, primal, passes, coupled = (
            joined([getattr(part, name) for part in parts], axis=0)
            for name in ("lower", "relaxation_upper", "primal", "passes", "constraint_multipliers")
        )
        multipliers = tuple(joined(list(column), axis=0) for column in columns)
        return cls(
            lower,
            upper,
            primal,
            multipliers,
            passes,
            tuple(chain.from_iterable(part.status for part in parts)),
            seconds,
            coupled,
            None if any(part.residual is None for part in parts) else joined([part.residual for part in parts], axis=0),
        )

    @property
    def gap(self) -> Array:
        """relaxation_upper - lower: how far the relaxation's optimum can be from the bound; 0 where infeasible."""
        xp = namespace(self.lower)
        empty = self.lower == float("inf")
        return xp.where(empty, xp.zeros_like(self.lower), self.relaxation_upper - xp.where(empty, 0.0, self.lower))

    @property
    def upper(self) -> NoReturn:
        """What other libraries call so, an upper bound of an output, is in `output_bounds`.

        Raises: MissingNameError.
        """
        raise MissingNameError(
            "A Solution has no upper bounds of outputs: a feasible value of the relaxation, relaxation_upper, may lie "
            "below what the network attains. For certified lower and upper bounds of every output take "
            "av.output_bounds(network, box); for those of rows, -av.solve(av.Problem(network, box, -objective)).lower."
        )

    def table(self, most: int | None = None) -> str:
        """A line per row, for the first `most` rows."""
        columns = (to_numpy(part)[:most].tolist() for part in (self.lower, self.relaxation_upper, self.gap))
        cells = [
            [str(row), f"{low:.9g}", f"{high:.9g}", f"{gap:.3g}", status.value]
            for row, (low, high, gap, status) in enumerate(zip(*columns, self.status[:most], strict=True))
        ]
        return table(["row", "lower", "relaxation_upper", "gap", "status"], cells)

    def __repr__(self) -> str:
        """A line per row, and what the columns are."""
        rows = len(self.status)
        lines = [
            f"Solution of {rows} rows in {self.seconds:.2f} s",
            "lower: certified, no input in the set has a smaller value",
            "relaxation_upper: value of a point of the relaxation; it bounds nothing of the network",
            self.table(_SHOWN),
        ]
        return "\n".join(lines if rows <= _SHOWN else [*lines, f"... {rows - _SHOWN} more rows"])
