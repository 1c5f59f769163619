"""What `policy` tells."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from admm_verify.policies.certification import PolicyCertification
from admm_verify.policies.deviation_bounds import DeviationBounds
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
class CertifiedDeviation:
    """How far continuous actions move, in the environment's units: the average and the largest over all observations,
    in the largest entry; attacked <= the true one <= certified.
    """

    average_attacked: float
    average_certified: float
    largest_attacked: float
    largest_certified: float


@dataclass(frozen=True)
class AttackReturns:
    """The return of each episode under an attack, "nan" for those that were not finished: estimates, never bounds."""

    attack: str
    returns: list[float]


@dataclass(frozen=True)
class PolicyRadius:
    """Noise of one radius: clean and attacked return, what is certified of the actions, and of the return.

    attacked_return: the mean over episodes of the least return that any attack found, an estimate. certified_return:
    the mean of certified_returns, lower bounds under all noise of each episode, "nan" for none. Null stands for what
    was not asked for, not played, or is not certified.
    """

    radius: float
    clean_return: float | None
    attacked_return: float | None
    actions: CertifiedActions | None
    deviation: CertifiedDeviation | None
    certified_return: float | None
    certified_returns: list[float]
    attacks: list[AttackReturns]


@dataclass(frozen=True)
class CertifiedObservation:
    """An observation: its number, the policy's action there, and an answer and a certified gap of scores per radius."""

    observation: int
    action: int
    status: list[Answer]
    lower: list[float]


@dataclass(frozen=True)
class ObservedDeviation:
    """An observation: its number, the action there, and per radius how far it moves, and the ends of every entry."""

    observation: int
    action: list[float]
    attacked: list[float]
    certified: list[float]
    lower: list[list[float]]
    upper: list[list[float]]


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

    environment: null where observations were given. observations: of discrete actions, deviations: of continuous ones.
    notes: what was left out of the policy, or taken for granted.
    """

    SCHEMA = "admm_verify/policy"

    policy: str
    environment: str | None
    norm: NormName
    units: RadiusUnits
    radii: list[PolicyRadius]
    episodes: list[PlayedEpisode]
    observations: list[CertifiedObservation]
    deviations: list[ObservedDeviation]
    ended: Ended
    seconds: float
    notes: list[str]

    @classmethod
    def of_evaluation(cls, found: PolicyEvaluation, seed: int) -> "PolicyRecord":
        """The record of a policy in an environment."""
        radii = []
        for k, radius in enumerate(found.radii.tolist()):
            pairs = zip(found.attacks, found.attacked.returns[:, k].tolist(), strict=True)
            attacks = [AttackReturns(*one) for one in pairs]
            returns = _known(found.clean_return), _known(found.attacked_return[k])
            certified = _known(found.certified_return[k]), found.certified[k].tolist()
            radii.append(PolicyRadius(radius, *returns, *_at_radius(found.certification, k), *certified, attacks))
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
            *_of_observations(found.certification),
            found.ended,
            found.seconds,
            list(found.notes),
        )

    @classmethod
    def of_actions(cls, policy: Policy, found: PolicyCertification | DeviationBounds, ended: Ended) -> "PolicyRecord":
        """The record of a policy's actions at given observations."""
        numbers = enumerate(found.radii.tolist())
        radii = [PolicyRadius(r, None, None, *_at_radius(found, k), None, [], []) for k, r in numbers]
        note = found.note if isinstance(found, PolicyCertification) else None
        notes = [*policy.notes, *([] if note is None else [note])]
        text = "\n".join([repr(found), *policy.notes])
        parts = _of_observations(found)
        return cls(text, found.policy, None, found.norm, found.units, radii, [], *parts, ended, found.seconds, notes)


def _at_radius(
    found: PolicyCertification | DeviationBounds | None, k: int
) -> tuple[CertifiedActions | None, CertifiedDeviation | None]:
    """What is certified at the radius of a number."""
    if isinstance(found, PolicyCertification):
        counts = (int(found.count(answer)[k]) for answer in Answer)
        return CertifiedActions(float(found.certified_ratio[k]), *counts), None
    if isinstance(found, DeviationBounds):
        return None, CertifiedDeviation(*found.adiv[:, k].tolist(), *found.mad[:, k].tolist())
    return None, None


def _of_observations(
    found: PolicyCertification | DeviationBounds | None,
) -> tuple[list[CertifiedObservation], list[ObservedDeviation]]:
    """What is certified at every observation."""
    if isinstance(found, PolicyCertification):
        rows = zip(found.actions.tolist(), found.status.tolist(), found.lower.tolist(), strict=True)
        return [CertifiedObservation(i, *row) for i, row in enumerate(rows)], []
    if isinstance(found, DeviationBounds):
        arrays = found.actions, found.attacked, found.certified, found.low, found.high
        rows = zip(*(array.tolist() for array in arrays), strict=True)
        return [], [ObservedDeviation(i, *row) for i, row in enumerate(rows)]
    return [], []


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
