"""Observations and the noise around them, checked once, in the words of policies."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array, plain_array
from admm_verify.network.layout import flatten_batch, per_entry
from admm_verify.options import shown
from admm_verify.policies.policy import Policy
from admm_verify.policies.settings import PolicySettings, RadiusUnits


@dataclass(frozen=True, eq=False)
class Noise:
    """Observations, and how far each feature may change at every radius.

    radii: one number for each, in the units that were given, the largest over the features.
    Shapes: observations [observations, inputs] in float64; radii [radii]; reach [radii, inputs] in raw units.
    Error: products of normalised radii and standard deviations are rounded to nearest; reach says what is certified.
    """

    observations: np.ndarray
    radii: np.ndarray
    reach: np.ndarray

    @classmethod
    def of(cls, policy: Policy, observations: Any, radii: Any, settings: PolicySettings) -> "Noise":
        """Checked input.

        Raises: InputError naming what does not fit.
        """
        found = checked_observations(policy, observations, settings)
        given = to_numpy(float64_array(radii, "list of radii"))
        if not given.ndim or not len(given):
            raise InputError(f"The radii {shown(radii)} are no list of numbers; give at least one, such as [0.01].")
        if not (np.isfinite(given) & (given >= 0)).all():
            raise InputError(f"The radii {given.tolist()} hold a negative, infinite or NaN number; give finite ones.")
        shape = policy.network.input_shape
        own = np.stack([per_entry(one, shape, "radius of an observation's features") for one in given])
        largest = own.max(axis=1)
        if len(np.unique(largest)) < len(largest):
            raise InputError(
                f"The radii {given.tolist()} hold the same largest number twice, which names them; give each once, or "
                "certify them one by one."
            )
        return cls(found, largest, own * _unit(policy, settings.units))


def checked_observations(policy: Policy, observations: Any, settings: PolicySettings) -> np.ndarray:
    """Observations as [observations, inputs] in float64.

    Raises: InputError for none, for a wrong size, NaN or infinite numbers, and numbers beyond the limits.
    """
    network = policy.network
    raw = to_numpy(plain_array(observations, "observations"))
    if raw.shape[:1] == (0,):
        raise InputError("There are no observations; give at least one.")
    flat = flatten_batch(raw, network.input_shape, f"the observation of {policy.name}").astype(np.float64)
    bad = np.argwhere(~np.isfinite(flat))
    if len(bad):
        value = flat[tuple(bad[0])]
        raise InputError(f"Observation {bad[0, 0]}, feature {bad[0, 1]} is {value}; give finite numbers.")
    if settings.within is not None:
        low, high = (per_entry(end, network.input_shape, "range within") for end in settings.within)
        empty = np.flatnonzero(~(low <= high))
        if len(empty):
            ends = f"[{low[empty[0]]:g}, {high[empty[0]]:g}]"
            raise InputError(f"The range within is {ends} at feature {empty[0]}; give lowest <= highest.")
        outside = np.argwhere((flat < low) | (flat > high))
        if len(outside):
            number, feature = outside[0]
            raise InputError(
                f"Observation {number}, feature {feature} is {flat[number, feature]:g}, outside the range within, "
                f"[{low[feature]:g}, {high[feature]:g}]. Give limits that hold all observations, or None for none."
            )
    return flat


def _unit(policy: Policy, units: RadiusUnits | str) -> np.ndarray | float:
    """What each feature's radius is multiplied by, for raw units."""
    if units is not RadiusUnits.NORMALISED:
        return 1.0
    if policy.scale is None:
        raise InputError(
            f"{policy.name} holds no normalisation of observations, so that normalised units mean nothing. Give the "
            "radii in raw units, or read the policy with its normalisation."
        )
    return policy.scale.std.reshape(-1)
