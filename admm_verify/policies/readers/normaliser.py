"""Normalisations of observations: read where training has left them, and folded into a network."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError, ModelError
from admm_verify.given import float64_array
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.nonlinear import clip
from admm_verify.options import POSITIVE, brief, number
from admm_verify.policies.policy import ObservationScale
from admm_verify.policies.readers.unpickle import number_array, read_pickle

Normalisation = ObservationScale | str | os.PathLike[str] | bool | None
"""What a reader may be told of it: a record, a file of VecNormalize, False for none; None to look beside the policy."""


def found_scale(
    given: Normalisation, policy: Path | None, size: int
) -> tuple[ObservationScale | None, tuple[str, ...]]:
    """The normalisation that was given, or lies beside a policy, with a note on that.

    Raises: InputError, ModelError for one that cannot be read, or is of another number of observations than `size`.
    """
    if given is False:
        return None, ()
    if isinstance(given, ObservationScale):
        return checked_scale(given, size), ()
    if isinstance(given, str | os.PathLike):
        scale = read_scale(Path(given))
        note = f"its observations are normalised as {Path(given).name} says"
    elif given is None:
        place = None if policy is None else _beside(policy)
        if place is None:
            absent = "no vecnormalize.pkl lies beside it: its observations are taken as they are"
            return None, (absent,) if policy is not None else ()
        told = place.relative_to(policy.parent) if policy is not None else place
        scale, note = read_scale(place), f"its observations are normalised as {told} beside it says"
    else:
        raise InputError(
            f"The normalisation is {brief(given)}; give the vecnormalize.pkl that was saved with the policy, an "
            "av.ObservationScale, or False for none."
        )
    if scale is None:
        return None, (f"{note}: not at all",)
    return checked_scale(scale, size), (note,)


def _beside(policy: Path) -> Path | None:
    """The file of VecNormalize that training programs write beside a policy, or into a folder of its name.

    The latter is named after the environment, as is the last policy; the best one shares it.
    """
    places = (policy.parent / "vecnormalize.pkl", policy.with_suffix("") / "vecnormalize.pkl")
    found = next((place for place in places if place.is_file()), None)
    below = [] if found is not None else sorted(policy.parent.glob("*/vecnormalize.pkl"))
    return below[0] if len(below) == 1 else found


def read_scale(path: Path) -> ObservationScale | None:
    """The normalisation in a file that VecNormalize.save wrote; None where that leaves observations as they are.

    clip((x - mean) / sqrt(variance + epsilon), -clip, clip).
    Raises: ModelError for a file that cannot be read as such; nothing of it is run.
    """
    what = f"The normalisation {path}"
    state = read_pickle(path, what)
    statistics: Any = state.get("obs_rms")
    if "norm_obs" in state and not _number(state["norm_obs"], f"The norm_obs of {path}"):
        return None
    if isinstance(statistics, dict):
        raise ModelError(
            f"{what} is of observations that are dictionaries, of which none are read; give a policy of one array."
        )
    missing = [name for name in ("obs_rms", "clip_obs", "epsilon") if name not in state]
    if missing or not hasattr(statistics, "state"):
        raise ModelError(
            f"{what} lacks {', '.join(missing) or 'running statistics'}; give what VecNormalize.save wrote."
        )
    parts = {name: number_array(statistics.state.get(name), f"The {name} of {path}") for name in ("mean", "var")}
    epsilon, clipped = (_number(state[name], f"The {name} of {path}") for name in ("epsilon", "clip_obs"))
    variance = parts["var"].reshape(-1) + epsilon
    if not (np.isfinite(variance).all() and (variance > 0).all()):
        raise ModelError(f"{what} holds variances that are not above 0, or not finite.")
    return ObservationScale(parts["mean"].reshape(-1), np.sqrt(variance), clipped)


def _number(value: Any, what: str) -> float:
    """A single number of a pickle. Raises: ModelError."""
    found = number_array(value, what)
    if found.size != 1:
        raise ModelError(f"{what} holds {found.size} numbers, where one belongs.")
    return float(found.reshape(()))


def checked_scale(scale: ObservationScale, size: int) -> ObservationScale:
    """A normalisation for observations of a number of entries, flat and in float64.

    Raises: InputError for another number of entries, and for numbers that no normalisation has.
    """
    parts = ((scale.mean, "mean of the normalisation"), (scale.std, "deviation of the normalisation"))
    mean, std = (to_numpy(float64_array(part, what)).reshape(-1) for part, what in parts)
    clipped = number(scale.clip, "The clip of the normalisation", POSITIVE)
    if mean.shape != (size,) or std.shape != (size,):
        raise InputError(
            f"The normalisation is of {mean.size} means and {std.size} deviations, and the policy's observations have "
            f"{size} entries. Give the file that was saved with this policy."
        )
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise InputError("The means and deviations of a normalisation must be finite, and deviations above 0.")
    return ObservationScale(mean, std, clipped)


def normalise(builder: Builder, x: Tensor, scale: ObservationScale | None) -> Tensor:
    """clip((x - mean) / std, -clip, clip) in the shape of x; x itself without a scale."""
    if scale is None:
        return x
    centred = builder.add(x, -scale.mean.reshape(x.shape))
    return clip(builder, builder.divide(centred, scale.std.reshape(x.shape)), -scale.clip, scale.clip)
