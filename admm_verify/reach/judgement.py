"""What was found out about a requirement."""

from dataclasses import dataclass

import numpy as np

from admm_verify.options import member
from admm_verify.reach.inputs import set_field
from admm_verify.reach.requirements import Requirement
from admm_verify.reprs import short_repr
from admm_verify.verdict import Answer


@dataclass(frozen=True, eq=False, repr=False)
class Judgement:
    """Verified by certified bounds, falsified by a trajectory whose violation is certified too, or neither.

    trajectory: states at every step of a violating one. parts: cells or subproblems that were looked at. remarks: what
    the verdict leaves out, as sentences. reason: why neither was shown, in sentences; empty where one was.
    Shapes: trajectory [steps + 1, n].
    Raises: InputError for an unknown outcome.
    """

    requirement: Requirement
    outcome: Answer
    seconds: float
    parts: int
    trajectory: np.ndarray | None = None
    remarks: tuple[str, ...] = ()
    reason: str = ""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        set_field(self, "outcome", member(self.outcome, "The outcome of a judgement", Answer))

    @property
    def text(self) -> str:
        """The verdict in words: the outcome, the requirement, and in brackets what the verdict leaves out."""
        about = f" [{' '.join(self.remarks)}]" if self.remarks else ""
        return f"{self.outcome.value}: {self.requirement.text or self.requirement.kind.value}{about}"
