"""What `certify_policy` tells of policies with discrete actions."""

from dataclasses import dataclass

import numpy as np

from admm_verify.options import member
from admm_verify.policies.settings import RadiusUnits
from admm_verify.robustness.certification import Certification, radius_name
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.sets.norm_names import NormName
from admm_verify.text_tables import table
from admm_verify.verdict import Answer


@dataclass(frozen=True, eq=False)
class ChangedAction:
    """An input near an observation at which another action scores at least as much as that of the observation.

    observation: its number; action: what the policy does there; other: the action that scores most besides.
    Shapes: original (the observation as the policy takes it), input [*observation] in the policy's element type; scores
    [actions].
    Error: exact; the input is within the radius in real numbers, the scores are computed in the policy's element type.
    """

    observation: int
    action: int
    other: int
    original: np.ndarray
    input: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, found: Counterexample) -> "ChangedAction":
        """A counterexample of the network of scores."""
        return cls(found.image, found.label, found.prediction, found.original, found.input, found.output)

    def __repr__(self) -> str:
        """In one line."""
        return f"observation {self.observation}: action {self.action} gives way to {self.other}"


@dataclass(frozen=True, eq=False, repr=False)
class PolicyCertification:
    """Whether the action stays the same, observation by observation and radius by radius.

    policy: its name. actions: what it does at the observations themselves. status: verified where the action at the
    observation scores strictly more than every other one all over the ball, falsified where some input of the ball is
    known at which it does not, which is in `changes`, else None there; a tie counts as a change. lower: certified lower
    bound of the gap, min over b != a of Q_a - Q_b over the ball, -inf where none was computed; 0 where all that branch
    and bound has shown is that it is above. radii: one number for each, in `units`, the largest over the features where
    these have their own; reach: how far each feature may change, in raw units. seconds: of this call, without what a
    file held. unwritten: why the file of finished observations lacks some of them, None where it does not. note: what
    was left out of the policy, such as a softmax at its end. norm: of the balls.

    Shapes: radii [radii], in the order given; reach [radii, inputs]; actions [observations]; status (of `Answer`),
    lower, changes (of `ChangedAction`) [observations, radii].
    Error: lower is rounded downward.
    """

    policy: str
    radii: np.ndarray
    reach: np.ndarray
    actions: np.ndarray
    status: np.ndarray
    lower: np.ndarray
    changes: np.ndarray
    seconds: float
    norm: NormName = "linf"
    units: RadiusUnits = RadiusUnits.RAW
    unwritten: str | None = None
    note: str | None = None

    @classmethod
    def of(
        cls,
        policy: str,
        found: Certification,
        actions: np.ndarray,
        radii: np.ndarray,
        reach: np.ndarray,
        units: RadiusUnits,
    ) -> "PolicyCertification":
        """The certification of a network of scores, told of the policy."""
        changes = np.full(found.status.shape, None, dtype=object)
        for place, one in np.ndenumerate(found.counterexamples):
            changes[place] = None if one is None else ChangedAction.of(one)
        answers = actions, found.status, found.lower, changes, found.seconds
        return cls(policy, radii, reach, *answers, found.norm, units, found.unwritten, found.note)

    @property
    def certified_ratio(self) -> np.ndarray:
        """Share of all observations at which the action is certified, [radii]."""
        return self.count(Answer.VERIFIED) / len(self.actions)

    @property
    def certified_radius(self) -> np.ndarray:
        """The largest of the radii at which each action is certified, 0 where there is none, [observations]."""
        return np.max(np.where(self.status == Answer.VERIFIED, self.radii, 0.0), axis=1)

    @property
    def falsified_radius(self) -> np.ndarray:
        """The smallest of the radii at which each action changes, infinite where there is none, [observations]."""
        return np.min(np.where(self.status == Answer.FALSIFIED, self.radii, np.inf), axis=1)

    def count(self, answer: Answer | str) -> np.ndarray:
        """How many observations have this answer, given as itself or as its word, [radii].

        Raises: InputError for an unknown answer.
        """
        return np.sum(self.status == member(answer, "The answer", Answer), axis=0)

    def __repr__(self) -> str:
        """A line per radius."""
        counts = {answer.value: self.count(answer) for answer in Answer}
        rows = [
            [f"{radius:g}", *(str(int(found[k])) for found in counts.values()), f"{self.certified_ratio[k]:.2%}"]
            for k, radius in enumerate(self.radii)
        ]
        head = f"{self.policy}: {len(self.actions)} observations, {self.seconds:.1f} s"
        head += "" if self.note is None else f"\n{self.note}"
        words = " (standard deviations)" if self.units is RadiusUnits.NORMALISED else ""
        return f"{head}\n{table([radius_name(self.norm) + words, *counts, 'certified ratio'], rows)}"
