"""What `solve` returns."""

from dataclasses import dataclass
from enum import Enum

from admm_verify.arrays import Array
from admm_verify.options import member


class Status(Enum):
    """Why a row's iterations ended."""

    CONVERGED = "converged"
    """The gap is at most tolerance * max(1, |lower|)."""
    PASS_LIMIT = "pass-limit"
    """The budget of passes was used up; lower and upper are valid."""
    TIMED_OUT = "timed-out"
    """The time was up; lower and upper are valid."""
    STOPPED = "stopped"
    """The caller asked to stop; lower and upper are valid."""
    NO_BOUND = "no-bound"
    """Numbers overflowed: lower is -inf, which claims nothing."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Results per row of a problem, in float64, in the library of the problem's box.

    lower: certified lower bound of the relaxation's optimum, and so of the true minimum. upper: value of a feasible
    point of the relaxation, +inf where none was found; it bounds the relaxation's optimum, *not* the true minimum.
    gap = upper - lower. primal: the input of that point, inside the box. multipliers: what `lower` was certified from,
    usable as a warm start. passes: iteration passes per row (one pass is one product with every W, or every W'; check
    points come on top).

    Shapes: lower, upper, gap, passes [rows]; primal [rows, *input_shape]; multipliers[k] [rows, n_k].
    """

    lower: Array
    upper: Array
    primal: Array
    multipliers: tuple[Array, ...]
    passes: Array
    status: tuple[Status, ...]
    seconds: float

    def __post_init__(self) -> None:
        status = tuple(member(one, "The status of a row", Status) for one in self.status)
        object.__setattr__(self, "status", status)

    @property
    def gap(self) -> Array:
        """upper - lower: how far the relaxation's optimum can be from the bound."""
        return self.upper - self.lower
