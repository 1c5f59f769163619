"""Certified actions: does a policy with discrete actions do the same under all noise of an observation?"""

import re
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.backends.device import budget_at
from admm_verify.errors import InputError
from admm_verify.network.graph import Network
from admm_verify.network.onnx_files import ModelSource, is_model
from admm_verify.policies.certification import PolicyCertification
from admm_verify.policies.noise import Noise
from admm_verify.policies.policy import ContinuousActions, DiscreteActions, Policy
from admm_verify.policies.read import read_policy
from admm_verify.policies.settings import PolicySettings, RadiusUnits
from admm_verify.robustness.certify import certified, compared, scores_of
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.settings import CertifySettings
from admm_verify.run import Run

_ONNX = re.compile(r"\.onnx(\.gz)?$")


def certify_actions(
    policy: Any,
    observations: Any,
    radii: Sequence[Any] | np.ndarray,
    *,
    norm: str | float | None = None,
    settings: PolicySettings | None = None,
    run: Run | None = None,
) -> PolicyCertification:
    """`certify_policy` of policies with discrete actions only.

    Raises: InputError also for policies with continuous actions.
    """
    chosen = PolicySettings.of(settings, norm)
    given, note = discrete_policy(policy, chosen)
    noise = Noise.of(given, observations, radii, chosen)
    certifying = chosen.certifying(given.network.input_size)
    instances = own_actions(given.network, noise.observations, noise.reach, certifying)
    found = certified(instances, certifying, run, note)
    units = RadiusUnits(chosen.units)
    return PolicyCertification.of(given.name, found, instances.labels, noise.radii, noise.reach, units)


def own_actions(scores: Network, observations: np.ndarray, reach: np.ndarray, settings: CertifySettings) -> Instances:
    """Observations, each with what the policy does there as its label, and the inputs near them.

    Shapes: observations [observations, inputs]; reach [radii, inputs].
    """
    network = compared(scores, settings)
    instances = Instances.of(network, observations, np.zeros(len(observations), dtype=np.int64), reach, settings)
    budget = budget_at(Placement.numpy(), Run())

    def actions(first: int, last: int) -> np.ndarray:
        with quiet_overflow():
            return np.argmax(to_numpy(network(instances.images[first:last])).reshape(last - first, -1), axis=1)

    step = max(1, budget.block(sum(node.size for node in network.nodes)))
    return instances.labelled(np.concatenate(budget.blocks(len(observations), step, actions)))


def discrete_policy(given: Any, settings: PolicySettings) -> tuple[Policy, str | None]:
    """A policy of scores, without a head, and what was left out of the one that was given, in words.

    Raises: InputError for policies with continuous actions, and for scores that are not those of two actions or more.
    """
    whole = policy_of(given)
    known = whole if isinstance(whole, Policy) else None
    actions = None if known is None else known.actions
    if known is not None and isinstance(actions, ContinuousActions):
        raise InputError(
            f"{known.name} has continuous actions, which change under all noise: av.certify_deviation says by how much."
        )
    scores, note = scores_of(whole.network if isinstance(whole, Policy) else whole, settings.certifying(0))
    scores.check_finite()
    size = scores.output_size
    if isinstance(actions, DiscreteActions) and actions.count != size:
        raise InputError(f"{scores.name} has {size} outputs and {actions.count} actions; give one for each.")
    if size < 2:
        raise InputError(f"{scores.name} has one action, which never changes; give a policy with two or more.")
    return Policy(scores, DiscreteActions(size), None if known is None else known.scale), note


def policy_of(given: Any) -> Policy | Network | ModelSource:
    """A policy, or a network of scores as it was given; anything else is read as a policy.

    Raises: InputError and ModelError as `read_policy`.
    """
    if isinstance(given, Policy | Network) or is_model(given):
        return given
    if isinstance(given, str | PathLike) and _ONNX.search(fspath(given)):
        return given
    return read_policy(given)
