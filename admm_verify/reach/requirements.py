"""What trajectories must do."""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import ceil, floor
from typing import assert_never

import numpy as np

from admm_verify.enclosures.decimals import decimal
from admm_verify.errors import InputError
from admm_verify.options import brief, instance, member
from admm_verify.reach.inputs import set_field
from admm_verify.reach.quantities import Quantities
from admm_verify.reprs import short_repr
from admm_verify.sets.polytope import Polytope


class Kind(Enum):
    """What trajectories must do with a set; reach_some_time means one time for each trajectory."""

    ALWAYS_IN = "always_in"
    NEVER_IN = "never_in"
    REACH_AT_END = "reach_at_end"
    REACH_SOME_TIME = "reach_some_time"


@dataclass(frozen=True, eq=False, repr=False)
class Requirement:
    """What trajectories must do between two times, counted in steps or control periods; the last is the end.

    kind: also as its word. first, last: also as floats, which stand for their shortest decimals. of: functions of the
    state that the set is about, None for the state itself.
    Raises: InputError for an unknown kind, a set of other numbers than it is about, times that are negative or the
    wrong way round, an end between steps, and a first time that an end has no use for.
    """

    kind: Kind
    set: Polytope
    first: Fraction
    last: Fraction
    text: str = ""
    of: Quantities | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        set_field(self, "kind", member(self.kind, "The kind of a requirement", Kind))
        instance(self.set, Polytope, "The set of a requirement")
        instance(self.text, str, "The text of a requirement")
        if self.of is not None and instance(self.of, Quantities, "The quantities of a requirement").count != self.size:
            raise InputError(f"A requirement's set is about {self.size} numbers; it has {self.of.count} quantities.")
        for name in ("first", "last"):
            set_field(self, name, decimal(getattr(self, name), f"{name} time of a requirement"))
        first, last = brief(self.first), brief(self.last)
        if not 0 <= self.first <= self.last:
            raise InputError(f"A requirement is for the times {first} to {last}, in periods; give 0 <= first <= last.")
        if self.kind is Kind.REACH_AT_END and self.last.denominator != 1:
            raise InputError(f"The end of a requirement is at {last} periods; give a whole number.")
        if self.kind is Kind.REACH_AT_END and self.first not in (0, self.last):
            raise InputError(f"What is to be reached at the end, {last}, has a first time of {first}; leave it at 0.")

    @property
    def size(self) -> int:
        """How many numbers the set is about."""
        return self.set.normals.shape[1]

    @property
    def states(self) -> int:
        """How many states it is about."""
        return self.size if self.of is None else self.of.states

    def control_times(self, steps: int) -> range:
        """The steps of its time that are within a horizon."""
        first = self.last if self.kind is Kind.REACH_AT_END else self.first
        return range(ceil(first), min(steps, floor(self.last)) + 1)

    def room(self, paths: np.ndarray) -> np.ndarray:
        """How far simulated states at steps 0, 1, .. are from breaking it, at these times; negative where they do.

        Shapes: paths [points, steps + 1, n] -> [points].
        """
        times = self.control_times(paths.shape[1] - 1)
        if not len(times):
            return np.full(len(paths), np.inf)
        states = paths[:, times.start : times.stop]
        values = (states if self.of is None else self.of.values(states)) @ self.set.normals.T
        # The distance from leaving the set; negative outside.
        limits = np.array([float(limit) for limit in self.set.limits])
        inside = np.min(limits - values, axis=-1, initial=np.inf)
        match self.kind:
            case Kind.NEVER_IN:
                return -inside.max(axis=1)
            case Kind.REACH_SOME_TIME:
                return inside.max(axis=1)
            case Kind.ALWAYS_IN | Kind.REACH_AT_END:
                return inside.min(axis=1)
            case _:
                assert_never(self.kind)
