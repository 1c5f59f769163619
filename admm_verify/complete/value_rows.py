"""Rows whose least value is looked for: what is asked, what is known, and from when on parts do not matter any more."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.complete.scores import Scores, scores_of
from admm_verify.network.graph import Network
from admm_verify.sets.contract import WalkableSet

_EXPONENT = 300
"""Scales are powers of two up to this one, times which nothing of a usual size leaves the normal numbers."""


@dataclass(frozen=True, eq=False)
class ValueRows:
    """Rows c'f(x) + d over the sets of their groups; the least value of all rows of a group is what counts.

    network: f as it is bounded. alike: numbers that groups over one and the same set share, 0, 1, .. in the order of
    their first groups.
    Shapes: inputs [groups, n]; objective [rows, outputs]; offset, group [rows]; alike [groups].
    """

    network: Network
    inputs: WalkableSet
    objective: np.ndarray
    offset: np.ndarray
    group: np.ndarray
    alike: np.ndarray

    @classmethod
    def of(cls, network: Network, sets: WalkableSet, objective: np.ndarray, offset: np.ndarray) -> "ValueRows":
        """Groups over some sets, as many for each of them, one set's after the other's.

        Shapes: sets [sets, n]; objective [groups, rows of each, outputs]; offset [groups, rows of each].
        """
        groups, each, outputs = objective.shape
        group, alike = np.repeat(np.arange(groups), each), np.repeat(np.arange(sets.count), groups // sets.count)
        inputs = sets if sets.count == groups else sets.at(alike)
        return cls(network, inputs, objective.reshape(-1, outputs), offset.reshape(-1), group, alike)

    def __len__(self) -> int:
        return len(self.group)

    @property
    def sets(self) -> WalkableSet:
        """The sets that are not alike, [sets, n]."""
        return self.inputs.at(np.unique(self.alike, return_index=True)[1])

    @cached_property
    def scores(self) -> Scores:
        """What is bounded in place of the values."""
        return scores_of(self.network, self.objective, self.offset)

    def values(self, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The rows' values at a point each, as computed in float64; infinite where that is no number.

        Shapes: points [m, n]; rows [m] -> [m].
        """
        with quiet_overflow():
            y = to_numpy(self.network(points.reshape(-1, *self.network.input_shape))).reshape(len(points), -1)
            found = np.sum(self.objective[rows] * y, axis=1) + self.offset[rows]
        return np.where(np.isnan(found), np.inf, found)

    def least(self, values: np.ndarray) -> np.ndarray:
        """The least number of every group, [rows] -> [groups]."""
        found = np.full(self.inputs.count, np.inf)
        np.minimum.at(found, self.group, values)
        return found


class Incumbents:
    """The best point of every group so far, and the value there, as computed.

    near: the least value at points that are in the sets up to rounding alone, as far as no better ones are known; sets
    without room, such as a part of a plane, may hold no others.
    Shapes: value, near [groups]; x [groups, n], NaN where there is none.
    """

    def __init__(self, rows: ValueRows) -> None:
        self.rows = rows
        self.value, self.near = np.full(rows.inputs.count, np.inf), np.full(rows.inputs.count, np.inf)
        self.x = np.full(rows.inputs.shape, np.nan)

    @property
    def known(self) -> np.ndarray:
        """The values that bounds are compared with, [groups]: attained ones, or those near the sets where none are."""
        return np.where(self.value < np.inf, self.value, self.near)

    def offer(self, points: np.ndarray, rows: np.ndarray) -> None:
        """Keep what is better among some points of the sets of the rows' groups.

        Points that rounding has put beside their sets are drawn in. Shapes: points [m, n]; rows [m].
        """
        if not len(points):
            return
        group = self.rows.group[rows]
        inside = to_numpy(self.rows.inputs.at(group).drawn_in(points))
        missed = np.asarray(np.isnan(inside).any(axis=1))
        value = self.rows.values(np.where(missed[:, None], points, inside), rows)
        np.minimum.at(self.near, group[missed], value[missed])
        value = np.where(missed, np.inf, value)
        order = np.argsort(value, kind="stable")
        _, first = np.unique(group[order], return_index=True)
        best = order[first]
        better = best[value[best] < self.value[group[best]]]
        self.value[group[better]], self.x[group[better]] = value[better], inside[better]


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Values from which on parts of the sets do not matter, and units in which rows are searched.

    Row r is searched as (score - level) / unit, which is at least zero only where its value is at least the floor of
    its group. Units are powers of two, so that only the rounding of `shift` = -level / unit is one.
    Shapes: floor [groups]; unit, shift [rows].
    """

    rows: ValueRows
    floor: np.ndarray
    unit: np.ndarray
    shift: np.ndarray

    @classmethod
    def below(
        cls, incumbents: Incumbents, allowed: np.ndarray, start: np.ndarray, before: "Thresholds | None" = None
    ) -> "Thresholds":
        """The values of some incumbents less what they may be off by.

        before: those of the search so far, None at its start; parts that it has left out are known to be above these,
        which never rise therefore. Shapes: allowed [groups]; start (scores below) [rows].
        """
        rows, unit = incumbents.rows, None if before is None else before.unit
        floor = incumbents.known - allowed
        if unit is None:
            size = np.maximum(allowed, 2.0**-40 * np.abs(floor))[rows.group]
            exponent = np.round(np.log2(np.where((size > 0) & np.isfinite(size), size, 1.0)))
            unit = np.exp2(np.clip(exponent, -_EXPONENT, _EXPONENT))
        shift = -rows.scores.level(floor[rows.group], start) / unit
        return cls(rows, floor, unit, shift if before is None else np.maximum(shift, before.shift))

    def score(self, bound: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The bounds of the rows' scores behind bounds of what is searched. Shapes: bound, rows [m] -> [m].

        Error: rounded downward.
        """
        return np.nextafter(self.unit[rows] * np.nextafter(bound - self.shift[rows], -np.inf), -np.inf)
