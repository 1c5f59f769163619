"""`certify_policy`: what does a policy do under all noise of an observation?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from admm_verify.errors import InputError
from admm_verify.memory import memory_errors
from admm_verify.options import instance
from admm_verify.policies.certification import PolicyCertification
from admm_verify.policies.certify_actions import certify_actions, policy_of
from admm_verify.policies.deviation import certify_deviation
from admm_verify.policies.deviation_bounds import DeviationBounds
from admm_verify.policies.deviation_settings import DeviationSettings
from admm_verify.policies.policy import Policy
from admm_verify.policies.settings import PolicySettings
from admm_verify.run import Run


@memory_errors()
def certify_policy(
    policy: Any,
    observations: Any,
    radii: Sequence[Any] | np.ndarray,
    *,
    norm: str | float | None = None,
    settings: PolicySettings | DeviationSettings | None = None,
    run: Run | None = None,
) -> PolicyCertification | DeviationBounds:
    """For every observation x and every radius r: does the policy do at all inputs near x what it does at x?

    What is near x is the ball {z : |(z - x) / r|_p <= 1}, cut with `settings.within`: |z - x|_p <= r where r is one
    number, and with "linf" the box [x - r, x + r]. With discrete actions and a the one at x, certified is that min over
    b != a of Q_a - Q_b over the ball is above 0: differences of scores are bounded, which is tighter than the scores
    alone. Cheap bounds come first, all observations in one batch; what they leave open gets better ones, and in the end
    halves of its ball, each bounded anew. Inputs at which another action scores as much are kept as `ChangedAction`.
    With continuous actions, which change with all noise, the answer is by how much: `certify_deviation`.

    policy: a Policy; what `read_policy` reads, such as a zip file of stable-baselines3; a Network of scores, one per
    action, or an ONNX file of one. norm: comes before that of settings, which is "linf" by default. settings: with
    continuous actions also DeviationSettings. run: asked between blocks and inside the solver, and told of what is
    finished so far.

    Shapes: observations [observations, *observation] or [observations, inputs], rounded to the policy's element type;
    radii [radii], or [radii, inputs] where features may change by different amounts, those of r = 0 not at all.
    Units: radii as `settings.units` say: raw, or in standard deviations of the policy's normalisation.
    Raises: InputError for anything that does not fit; ModelError for files; DeviceError; MemoryError when not even one
    observation fits.
    Reference: Zhang et al., NeurIPS 2020 (SA-MDP), who bound scores one by one.
    """
    given = policy_of(policy)
    if isinstance(given, Policy) and not given.is_discrete:
        moved = settings if isinstance(settings, DeviationSettings) else _moved(PolicySettings.of(settings, None))
        return certify_deviation(given, observations, radii, norm=norm, settings=moved, run=run)
    if isinstance(settings, DeviationSettings):
        raise InputError(
            "DeviationSettings are for policies with continuous actions, and this one has discrete ones; give "
            "PolicySettings."
        )
    chosen = None if settings is None else instance(settings, PolicySettings, "settings")
    return certify_actions(given, observations, radii, norm=norm, settings=chosen, run=run)


def _moved(settings: PolicySettings) -> DeviationSettings:
    """What the settings say of noise and arithmetic, for actions that move."""
    return DeviationSettings(
        units=settings.units, within=settings.within, norm=settings.norm, arithmetic=settings.arithmetic
    )
