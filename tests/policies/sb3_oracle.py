"""stable-baselines3 itself, which tells what a policy of its files does."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from admm_verify.policies.readers.spaces import read_space

CLASSES = {
    "a2c": ("stable_baselines3", "A2C", "MlpPolicy"),
    "ars": ("sb3_contrib", "ARS", "LinearPolicy"),
    "dqn": ("stable_baselines3", "DQN", "MlpPolicy"),
    "ppo": ("stable_baselines3", "PPO", "MlpPolicy"),
    "sac": ("stable_baselines3", "SAC", "MlpPolicy"),
    "trpo": ("sb3_contrib", "TRPO", "MlpPolicy"),
}
"""Package, algorithm and policy of the shared files, by the names of their folders."""


def library(name: str) -> Any:
    """An optional package, or a skipped test with the reason."""
    return pytest.importorskip(name, reason=f"{name} comes with the extra test")


def policy_of_file(path: Path) -> Any:
    """The policy of a shared file, made by the training library with the tensors of the file.

    Spaces come from the texts, as the pickles are of packages and Python versions of another time.
    """
    import torch

    package, algorithm, kind = CLASSES[path.parent.name.partition("-")[0]]
    maker = getattr(library(package), algorithm).policy_aliases[kind]
    archive = zipfile.ZipFile(path)
    saved = json.loads(archive.read("data"))
    observed, acted = (read_space(saved[f"{side}_space"]) for side in ("observation", "action"))
    observations = gymnasium.spaces.Box(-np.inf, np.inf, observed.shape, np.float32)
    if acted.count is None:
        actions: Any = gymnasium.spaces.Box(acted.low.astype(np.float32), acted.high.astype(np.float32))
    else:
        actions = gymnasium.spaces.Discrete(acted.count)
    options = {key: saved["policy_kwargs"][key] for key in ("net_arch",) if key in saved["policy_kwargs"]}
    sde = {"use_sde": True} if saved["use_sde"] else {}
    schedule = {} if algorithm == "ARS" else {"lr_schedule": lambda _: 0.0}
    policy = maker(observations, actions, **options, **sde, **schedule)
    state = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    if algorithm == "ARS":
        state = {name.replace("action_net.weight", "action_net.0.weight"): value for name, value in state.items()}
    policy.load_state_dict(state)
    return policy


def statistics_of_file(path: Path) -> Any:
    """The running statistics of a shared vecnormalize.pkl, unpickled by Python itself with the real classes."""

    class Tolerant(pickle.Unpickler):
        """Random generators of other versions of NumPy are of no interest here."""

        def find_class(self, module: str, name: str) -> Any:
            if module.startswith("numpy.random") or module.startswith("gym"):
                return Ignored
            return super().find_class(module, name)

    class Ignored:
        def __new__(cls, *arguments: Any) -> "Ignored":
            return super().__new__(cls)

        def __setstate__(self, state: Any) -> None:
            pass

    with open(path, "rb") as file:
        return Tolerant(file).load()
