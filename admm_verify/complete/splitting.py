"""What a search asks of a way of splitting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from admm_verify.complete.pool import Nodes, join

Kind = TypeVar("Kind", bound=Nodes)


@dataclass(frozen=True, eq=False)
class Grown(Generic[Kind]):
    """What became of some subproblems: those that stay open, and inputs at which their bounds are attained.

    Shapes: points [points, inputs]; goal [points], the goal each point is to satisfy.
    """

    open: Kind
    points: np.ndarray
    goal: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["Grown[Kind]"]) -> "Grown[Kind]":
        """All parts as one."""
        return cls(
            join([part.open for part in parts]),
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.goal for part in parts]),
        )


class Splitter(Protocol[Kind]):
    """Makes subproblems and bounds them. Raises: Stopped once asked to."""

    def root(self) -> Grown[Kind]:
        """The goals as they are."""
        ...

    def expand(self, nodes: Kind) -> Grown[Kind]:
        """The parts of some open subproblems."""
        ...
