"""What `policy` tells."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from admm_verify.policies.certification import PolicyCertification
from admm_verify.policies.evaluation import PolicyEvaluation
from admm_verify.policies.policy import Policy
from admm_verify.policies.settings import RadiusUnits
from admm_verify.report.records.record import Record
from admm_verify.run import Ended
from admm_verify.sets.norm_names import NormName
from admm_verify.verdict import Answer


@dataclass(frozen=True)
class CertifiedActions:
    """At how many observations the action is certified, known to change, or neither; the share that is certified."""

    certified_ratio: float
    verified: int
    falsified: int
    unknown: int
    timed_out: int = field(metadata={"key": "timed-out"})


@dataclass(frozen=True)
class AttackReturns:
    """The return of each episode under an attack, "nan" for those that were not finished: estimates, never bounds."""

    attack: str
    returns: list[float]


@dataclass(frozen=True)
class PolicyRadius:
    """Noise of one radius: clean and attacked return, what is certified of the actions, and of the return.

    attacked_return: the mean over episodes of the least return that any attack found, an estimate. Null stands for what
    was not asked for, not played, or is not certified.
    """

    radius: float
    clean_return: float | None
    attacked_return: float | None
    actions: CertifiedActions | None
    certified_return: float | None
    attacks: list[AttackReturns]


@dataclass(frozen=True)
class CertifiedObservation:
    """An observation: its number, the policy's action there, and an answer and a certified gap of scores per radius."""

    observation: int
    action: int
    status: list[Answer]
    lower: list[float]


@dataclass(frozen=True)
class PlayedEpisode:
    """An episode without noise: its return, "nan" where it was not finished, steps, and whether a limit ended it."""

    seed: int
    clean_return: float = field(metadata={"key": "return"})
    steps: int
    limited: bool


@dataclass(frozen=True)
class PolicyRecord(Record):
    """Radius by radius, episode by episode, and observation by observation.

    environment: null where observations were given. notes: what was left out of the policy, or taken for granted.
    """

    SCHEMA = "admm_verify/policy"

    policy: str
    environment: str | None
    norm: NormName
    units: RadiusUnits
    radii: list[PolicyRadius]
    episodes: list[PlayedEpisode]
    observations: list[CertifiedObservation]
    ended: Ended
    seconds: float
    notes: list[str]

    @classmethod
    def of_evaluation(cls, found: PolicyEvaluation, seed: int) -> "PolicyRecord":
        """The record of a policy in an environment."""
        actions = found.certification
        radii = []
        for k, radius in enumerate(found.radii.tolist()):
            attacks = zip(found.attacks, found.attacked.returns[:, k].tolist(), strict=True)
            own = None if actions is None else _counts(actions, k)
            estimate = _known(found.attacked_return[k])
            radii.append(
                PolicyRadius(
                    radius, _known(found.clean_return), estimate, own, None, [AttackReturns(*one) for one in attacks]
                )
            )
        clean = found.clean
        columns = zip(clean.returns.tolist(), clean.steps.tolist(), clean.limited.tolist(), strict=True)
        return cls(
            repr(found),
            found.policy,
            found.environment,
            found.norm,
            found.units,
            radii,
            [PlayedEpisode(seed + e, *one) for e, one in enumerate(columns)],
            [] if actions is None else _observations(actions),
            found.ended,
            found.seconds,
            list(found.notes),
        )

    @classmethod
    def of_actions(cls, policy: Policy, found: PolicyCertification, ended: Ended) -> "PolicyRecord":
        """The record of a policy's actions at given observations."""
        radii = [PolicyRadius(r, None, None, _counts(found, k), None, []) for k, r in enumerate(found.radii.tolist())]
        head = found.norm, found.units, radii
        notes = [*policy.notes, *([] if found.note is None else [found.note])]
        text = "\n".join([repr(found), *policy.notes])
        return cls(text, found.policy, None, *head, [], _observations(found), ended, found.seconds, notes)


def _counts(found: PolicyCertification, k: int) -> CertifiedActions:
    return CertifiedActions(float(found.certified_ratio[k]), *(int(found.count(answer)[k]) for answer in Answer))


def _observations(found: PolicyCertification) -> list[CertifiedObservation]:
    rows = zip(found.actions.tolist(), found.status.tolist(), found.lower.tolist(), strict=True)
    return [CertifiedObservation(i, *row) for i, row in enumerate(rows)]


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
