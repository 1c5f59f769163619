"""Reachable sets: what is known of the states at every step, direction by direction."""

from dataclasses import dataclass

import numpy as np

from admm_verify.errors import InputError
from admm_verify.options import Range, count, member
from admm_verify.reach.inputs import set_field
from admm_verify.reprs import short_repr
from admm_verify.run import Ended


@dataclass(frozen=True, eq=False, repr=False)
class ReachSets:
    """For every step t and direction d, inner <= max d'x_t over all trajectories <= upper.

    upper is certified, infinite from the step on from which sets are too loose to go on; inner is attained by a
    simulated trajectory, up to the rounding of the simulation. during: upper bounds over the whole control period from
    step t on, for systems in continuous time. ending: why there are no bounds up to the last step, where that is known.
    cells: the boxes that the initial set and, behind it, the noise of all
    steps are cut with, with bounds over each part; those of a zonotope are boxes of its generators' coefficients.
    Shapes: directions [d, n]; upper, inner [steps + 1, d]; during [steps, d]; cells_lower, cells_upper [cells, n ..];
    cells_bound [cells, steps + 1, d]; samples [points, steps + 1, n]. Times: t * period.
    """

    directions: np.ndarray
    upper: np.ndarray
    inner: np.ndarray
    cells_lower: np.ndarray
    cells_upper: np.ndarray
    cells_bound: np.ndarray
    samples: np.ndarray
    seconds: float
    ended: Ended
    period: float = 1.0
    during: np.ndarray | None = None
    ending: str = ""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        set_field(self, "ended", member(self.ended, "The end of the work", Ended))

    @property
    def steps(self) -> int:
        """How many steps there are after the first state."""
        return len(self.upper) - 1

    @property
    def valid_steps(self) -> int:
        """The last step with finite bounds."""
        loose = np.flatnonzero(~np.isfinite(self.upper).all(axis=1))
        return int(loose[0]) - 1 if len(loose) else self.steps

    def box(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of the states after a step, [n] each.

        Raises: InputError unless the directions hold those of a box, and for a step that is none.
        """
        return _box(self.directions, self.upper[self._step(step)])

    def cell_boxes(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The boxes of all cells after a step, [cells, n] each.

        Raises: InputError as `box` does.
        """
        ends = [_box(self.directions, bound) for bound in self.cells_bound[:, self._step(step)]]
        return np.array([low for low, _ in ends]), np.array([high for _, high in ends])

    @property
    def sampled_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest simulated states at every step, [steps + 1, n] each."""
        return -most(-self.samples), most(self.samples)

    def volume(self, step: int) -> float:
        """Volume of the box after a step."""
        low, high = self.box(step)
        return float(np.prod(high - low))

    @property
    def gap(self) -> float:
        """The largest share of a direction's sampled width by which a bound may be too large."""
        width = self.inner + np.array([self._opposite(bound) for bound in self.inner])
        some = width > 0
        share = (self.upper - self.inner) / np.where(some, width, 1.0)
        return float(np.where(some, share, 0.0)[1:].max(initial=0.0))

    def _step(self, step: int) -> int:
        return count(step, "The step", Range(0, most=self.steps))

    def _opposite(self, values: np.ndarray) -> np.ndarray:
        """The values of the opposite directions, NaN where there is none."""
        rows = [_row(self.directions, -direction) for direction in self.directions]
        return np.array([np.nan if row is None else values[row] for row in rows])


def most(values: np.ndarray) -> np.ndarray:
    """The largest number along the first axis, -inf where there is none: simulations may overflow."""
    return np.where(np.isnan(values), -np.inf, values).max(axis=0)


def _box(directions: np.ndarray, bound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unit = np.eye(directions.shape[1])
    rows = [row for wanted in (*-unit, *unit) if (row := _row(directions, wanted)) is not None]
    if len(rows) < 2 * len(unit):
        raise InputError("The directions do not hold those of a box; add +-e_i to them.")
    ends = bound[rows]
    return -ends[: len(unit)], ends[len(unit) :]


def _row(directions: np.ndarray, wanted: np.ndarray) -> int | None:
    same = np.flatnonzero((directions == wanted).all(axis=1))
    return int(same[0]) if len(same) else None
