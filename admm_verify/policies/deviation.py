"""`certify_deviation`: how far noise of an observation can move the action of a policy with continuous actions."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.errors import InputError
from admm_verify.memory import memory_errors
from admm_verify.network.layout import per_entry
from admm_verify.options import instance
from admm_verify.policies.deviation_bounds import DeviationBounds
from admm_verify.policies.deviation_search import Balls, largest_moves
from admm_verify.policies.deviation_settings import DeviationSettings
from admm_verify.policies.noise import Noise
from admm_verify.policies.policy import Policy
from admm_verify.policies.settings import RadiusUnits
from admm_verify.run import Run
from admm_verify.sets.ball import Ball
from admm_verify.sets.box import Box
from admm_verify.sets.norm_names import norm_name


@memory_errors()
def certify_deviation(
    policy: Policy,
    observations: Any,
    radii: Sequence[Any] | np.ndarray,
    *,
    norm: str | float | None = None,
    settings: DeviationSettings | None = None,
    run: Run | None = None,
) -> DeviationBounds:
    """For every observation x and every radius r: how far can the action move at inputs near x?

    What is near x is the ball {z : |(z - x) / r|_p <= 1}, cut with `settings.within`, as for `certify_policy`. All
    observations go in one batch. Bounds of all entries of the action, through its squashing and limits, and attacks on
    the deviation come first; then the balls are split, the worst gap first, until certified <= ratio * attacked
    everywhere or the run is over. What is known by then counts.

    norm: of the noise; comes before that of settings, which is "linf" by default.
    Shapes: observations [observations, *observation] or [observations, inputs]; radii [radii], or [radii, inputs] where
    features may change by different amounts.
    Units: radii as `settings.units` say: raw, or in standard deviations of the policy's normalisation.
    Raises: InputError for policies with discrete actions and anything that does not fit; DeviceError; MemoryError.
    """
    began, run = time.monotonic(), Run.of(run)
    chosen = DeviationSettings() if settings is None else instance(settings, DeviationSettings, "settings")
    chosen = chosen if norm is None else replace(chosen, norm=norm_name(norm))
    if instance(policy, Policy, "The policy", ", such as av.read_policy(path)").is_discrete:
        raise InputError(
            f"{policy.name} has discrete actions, of which there is no deviation: av.certify_policy says where they "
            "stay the same."
        )
    noise = Noise.of(policy, observations, radii, chosen.noise)
    balls = _balls(noise, chosen, policy.network.input_shape)
    with quiet_overflow():
        moved = largest_moves(policy.network, balls, chosen, run)
    shape = len(noise.observations), len(noise.radii)
    seen = policy.network.input_shape

    def spread(array: np.ndarray, *entry: int) -> np.ndarray:
        return array.reshape(*shape, *entry)

    return DeviationBounds(
        policy.name,
        noise.radii,
        noise.reach,
        spread(moved.actions, -1)[:, 0],
        spread(moved.low, -1),
        spread(moved.high, -1),
        spread(moved.entries.certified),
        spread(moved.entries.attacked),
        spread(moved.entries.worst, *seen),
        spread(moved.length.certified),
        spread(moved.length.attacked),
        spread(moved.length.worst, *seen),
        spread(np.array(moved.status, dtype=object)),
        chosen.least,
        moved.subproblems,
        time.monotonic() - began,
        RadiusUnits(chosen.units),
        norm_name(chosen.norm),
    )


def _balls(noise: Noise, settings: DeviationSettings, shape: tuple[int, ...]) -> Balls:
    """The inputs near every observation at every radius, one set for each."""
    centres = np.repeat(noise.observations, len(noise.radii), axis=0)
    reach = np.tile(noise.reach, (len(noise.observations), 1))
    kind, limits = norm_name(settings.norm), None
    if settings.within is not None:
        floor, ceiling = (per_entry(end, shape, "range within") for end in settings.within)
        limits = floor, ceiling
    if kind == "linf":
        inner = limits or (np.full(1, -np.inf), np.full(1, np.inf))
        return Balls(centres, Box.around(centres, reach, limits), Box.inside(centres, reach, inner))
    return Balls(centres, Ball(centres, reach, kind, limits), None)
