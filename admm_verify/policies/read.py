"""Policies from the files and modules that people have; nothing that a file contains is executed."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

from admm_verify.errors import InputError
from admm_verify.network.graph import Network
from admm_verify.options import Range, brief, count
from admm_verify.policies.policy import Policy
from admm_verify.policies.readers.archive import is_archive
from admm_verify.policies.readers.graphs import policy_of_network
from admm_verify.policies.readers.normaliser import Normalisation
from admm_verify.policies.readers.outcome import Actions, WantedActions, wanted_actions

_ONE_UP = Range(1)

_STATES = (".pt", ".pth", ".cleanrl_model", ".ckpt")
"""Ends of names of state dicts."""


def read_policy(
    source: Any,
    *,
    normalisation: Normalisation = None,
    actions: WantedActions = None,
    shape: tuple[int, ...] | None = None,
    output: str | int | None = None,
) -> Policy:
    """The deterministic policy of a file or module, as a network of raw observations: what `predict` gives.

    source: a zip file of stable-baselines3 or sb3-contrib (PPO, A2C, TRPO, MaskablePPO, ARS, DQN, QR-DQN, SAC, TQC,
    CrossQ, TD3, DDPG), or a model of theirs; a torch module or state dict in CleanRL's style; an ONNX model; a .npz
    file of W0, b0, W1, .. with its model.json; a Network. Nothing in a file is executed, and nothing unpickled.
    normalisation: a vecnormalize.pkl, or an ObservationScale; None for the file beside the policy, False for none.
    actions: what the outputs are, where the file does not tell: "discrete", "continuous", or (low, high), the limits
    of each action. shape: of an observation as the environment gives it. output: which of several outputs.

    Raises: ModelError for files that cannot be read, and for harmful ones, which are refused; InputError for policies
    that are not covered, such as recurrent ones, and for what does not fit.
    """
    wanted, shape = wanted_actions(actions), _shape_said(shape)
    bases = {base.__module__.partition(".")[0] for base in type(source).__mro__}
    if isinstance(source, Network):
        _one_output(output, source.name)
        return policy_of_network(_fitting(source, shape), normalisation, wanted)
    if isinstance(source, str | os.PathLike):
        return _of_file(_found(Path(source)), normalisation, wanted, shape, output)
    if {"stable_baselines3", "sb3_contrib"} & bases and hasattr(source, "save") and hasattr(source, "policy"):
        from admm_verify.policies.readers.sb3 import read_sb3

        _one_output(output, type(source).__name__)
        saved = io.BytesIO()
        source.save(saved)
        saved.seek(0)
        return read_sb3(saved, normalisation, wanted, shape)
    if "torch" in bases:
        from admm_verify.policies.readers.torch_state import is_module

        if is_module(source):
            from admm_verify.policies.readers.cleanrl import read_module

            return read_module(source, normalisation, wanted, shape, output)
    if "onnx" in bases:
        return _of_onnx(source, normalisation, wanted, shape, output)
    raise InputError(
        f"A policy was to be read of {brief(source)}; give a file, a model of stable-baselines3, a torch module, an "
        "ONNX model or an av.Network."
    )


def _of_file(
    path: Path,
    normalisation: Normalisation,
    actions: Actions | str | None,
    shape: tuple[int, ...] | None,
    output: str | int | None,
) -> Policy:
    """The policy of a file, by its name and, for archives, by what they hold."""
    if path.is_dir() or path.suffix in (".npz", ".json"):
        from admm_verify.policies.readers.stored import read_stored

        _one_output(output, path)
        return _shaped(read_stored(path, normalisation, actions), shape)
    if path.suffix in _STATES or (path.suffix != ".zip" and _is_archive(path) and not _holds_policy(path)):
        from admm_verify.policies.readers.cleanrl import read_cleanrl

        _one_output(output, path)
        return _shaped(read_cleanrl(path, normalisation, actions), shape)
    if path.suffix == ".zip" or _is_archive(path):
        from admm_verify.policies.readers.sb3 import read_sb3

        _one_output(output, path)
        return read_sb3(path, normalisation, actions, shape)
    return _of_onnx(path, normalisation, actions, shape, output)


def _of_onnx(
    source: Any,
    normalisation: Normalisation,
    actions: Actions | str | None,
    shape: tuple[int, ...] | None,
    output: str | int | None,
) -> Policy:
    from admm_verify.network.from_onnx import read_onnx

    if not isinstance(output, str | None):
        raise InputError(f"The output of an ONNX model is chosen by its name, and {brief(output)} was given.")
    return policy_of_network(_fitting(read_onnx(source, output=output), shape), normalisation, actions)


def _one_output(output: object, what: object) -> None:
    """Refuse a choice among outputs of what has one. Raises: InputError."""
    if output is not None:
        raise InputError(f"{what} has one output, the policy's, and output={brief(output)} was given; leave it out.")


def _shaped(policy: Policy, shape: tuple[int, ...] | None) -> Policy:
    """The policy, where its observations have the shape that was said. Raises: InputError."""
    _fitting(policy.network, shape)
    return policy


def _fitting(network: Network, shape: tuple[int, ...] | None) -> Network:
    """The network, where its observations have the shape that was said. Raises: InputError."""
    if shape is not None and tuple(shape) != network.input_shape:
        raise InputError(f"{network.name} takes observations of shape {network.input_shape}, and {shape} was said.")
    return network


def _shape_said(shape: object) -> tuple[int, ...] | None:
    """The shape of an observation that was said. Raises: InputError."""
    if shape is None:
        return None
    try:
        sizes: tuple[Any, ...] = tuple(shape)  # pyright: ignore[reportArgumentType]
    except TypeError:
        sizes = ()
    if not sizes or any(isinstance(size, str) for size in sizes):
        raise InputError(f"The shape of an observation is {brief(shape)}; give a tuple of its sizes, as (4,).")
    return tuple(count(size, "A size of an observation", _ONE_UP) for size in sizes)


def _is_archive(path: Path) -> bool:
    try:
        return is_archive(path)
    except OSError as error:
        raise InputError(f"The file {path} cannot be read: {error.strerror or error}.") from error


def _holds_policy(path: Path) -> bool:
    """Whether an archive is one of stable-baselines3's."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "policy.pth" in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def _found(path: Path) -> Path:
    """The file, or that of the same name with .zip, which stable-baselines3 adds. Raises: InputError."""
    try:
        for place in (path, Path(f"{path}.zip")):
            if place.exists():
                return place
    except OSError as error:
        raise InputError(f"The file {brief(str(path))} cannot be read: {error.strerror or error}.") from error
    raise InputError(f"There is no file {path}; give one that holds a policy.")
