"""Policies from the files and modules that people have; nothing that a file contains is executed."""

import io
import os
from pathlib import Path
from typing import Any

from admm_verify.errors import InputError
from admm_verify.options import brief
from admm_verify.policies.normaliser import Normalisation
from admm_verify.policies.outcome import WantedActions, wanted_actions
from admm_verify.policies.policy import Policy


def read_policy(
    source: Any,
    *,
    normalisation: Normalisation = None,
    actions: WantedActions = None,
    shape: tuple[int, ...] | None = None,
    output: str | int | None = None,
) -> Policy:
    """The deterministic policy of a file or module, a network of raw observations: what `predict` gives.

    source: a zip file of stable-baselines3 or sb3-contrib (PPO, A2C, TRPO, ARS, DQN, QR-DQN, SAC, TQC, CrossQ, TD3,
    DDPG).
    normalisation: the vecnormalize.pkl, or an ObservationScale; None for the one beside the file, False for none.
    actions: what its outputs are, where the file does not tell: "discrete", "continuous", or (low, high), the limits
    of each action. shape: of an observation as the environment gives it. output: which of several outputs.

    Raises: ModelError for files that cannot be read, and for harmful ones, which are refused; InputError for policies
    that are not covered, such as recurrent ones, and for what does not fit.
    """
    wanted = wanted_actions(actions)
    own = type(source).__module__.partition(".")[0]
    if own in ("stable_baselines3", "sb3_contrib") and hasattr(source, "save") and hasattr(source, "policy"):
        saved = io.BytesIO()
        source.save(saved)
        saved.seek(0)
        from admm_verify.policies.sb3 import read_sb3

        return read_sb3(saved, normalisation, wanted, shape)
    if isinstance(source, str | os.PathLike):
        from admm_verify.policies.sb3 import read_sb3

        return read_sb3(_found(Path(source)), normalisation, wanted, shape)
    raise InputError(f"A policy was to be read of {brief(source)}; give a file, or a torch module.")


def _found(path: Path) -> Path:
    """The file, or that of the same name with .zip, which stable-baselines3 adds. Raises: InputError."""
    for place in (path, path.with_name(f"{path.name}.zip")):
        if place.exists():
            return place
    raise InputError(f"There is no file {path}; give one that holds a policy.")
