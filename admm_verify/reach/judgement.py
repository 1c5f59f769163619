"""What was found out about a requirement."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from admm_verify.reach.systems import Requirement


class Outcome(Enum):
    """Whether a requirement holds."""

    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True, eq=False)
class Judgement:
    """Verified by certified bounds, falsified by a trajectory whose violation is certified too, or neither.

    trajectory: states at every step of a violating one. parts: cells or subproblems that were looked at.
    Shapes: trajectory [steps + 1, n].
    """

    requirement: Requirement
    outcome: Outcome
    seconds: float
    parts: int
    trajectory: np.ndarray | None = None
