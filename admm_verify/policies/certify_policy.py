"""`certify_policy`: does a policy do the same under all noise of an observation?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.backends.device import budget_at
from admm_verify.errors import InputError
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network
from admm_verify.network.onnx_files import ModelSource
from admm_verify.policies.certification import PolicyCertification
from admm_verify.policies.noise import Noise
from admm_verify.policies.policy import DiscreteActions, Policy
from admm_verify.policies.settings import PolicySettings, RadiusUnits
from admm_verify.robustness.certify import certified, compared, scores_of
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.settings import CertifySettings
from admm_verify.run import Run


@memory_errors()
def certify_policy(
    policy: Policy | Network | ModelSource,
    observations: Any,
    radii: Sequence[Any] | np.ndarray,
    *,
    norm: str | float | None = None,
    settings: PolicySettings | None = None,
    run: Run | None = None,
) -> PolicyCertification:
    """For every observation x and every radius r: does the policy do at all inputs near x what it does at x?

    What is near x is the ball {z : |(z - x) / r|_p <= 1}, cut with `settings.within`: |z - x|_p <= r where r is one
    number, and with "linf" the box [x - r, x + r]. With a the action at x, certified is that min over b != a of
    Q_a - Q_b over the ball is above 0: differences of scores are bounded, which is tighter than the scores alone. Cheap
    bounds come first, all observations in one batch; what they leave open gets better ones, and in the end halves of
    its ball, each bounded anew. Inputs at which another action scores as much are kept as `ChangedAction`.

    policy: also a Network of scores, one per action, or an ONNX file of one. norm: comes before that of settings, which
    is "linf" by default. run: asked between blocks and inside the solver, and told of what is finished so far.

    Shapes: observations [observations, *observation] or [observations, inputs], rounded to the policy's element type;
    radii [radii], or [radii, inputs] where features may change by different amounts, those of r = 0 not at all.
    RadiusUnits: radii as `settings.units` say: raw, or in standard deviations of the policy's normalisation.
    Raises: InputError for anything that does not fit; DeviceError; MemoryError when not even one observation fits.
    Reference: Zhang et al., NeurIPS 2020 (SA-MDP), who bound scores one by one.
    """
    chosen = PolicySettings.of(settings, norm)
    given, note = discrete_policy(policy, chosen.certifying)
    noise = Noise.of(given, observations, radii, chosen)
    instances = own_actions(given.network, noise.observations, noise.reach, chosen.certifying)
    found = certified(instances, chosen.certifying, run, note)
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


def discrete_policy(given: Policy | Network | ModelSource, settings: CertifySettings) -> tuple[Policy, str | None]:
    """A policy of scores, without a head, and what was left out of the one that was given, in words."""
    whole = given.network if isinstance(given, Policy) else given
    scores, note = scores_of(whole, settings)
    scores.check_finite()
    size = scores.output_size
    actions = given.actions if isinstance(given, Policy) else DiscreteActions(size)
    if not isinstance(actions, DiscreteActions):
        raise InputError(
            f"{scores.name} has continuous actions, of which certify_policy has no bounds; give a policy with discrete "
            "actions."
        )
    if actions.count != size:
        raise InputError(f"{scores.name} has {size} outputs and {actions.count} actions; give one score per action.")
    if size < 2:
        raise InputError(f"{scores.name} has one action, which never changes; give a policy with two or more.")
    return Policy(scores, actions, given.scale if isinstance(given, Policy) else None), note
