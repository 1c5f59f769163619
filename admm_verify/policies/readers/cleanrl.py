"""Policies of single-file training programs in CleanRL's style: torch modules, and the state dicts of these.

PPO: an agent with `actor` (scores) or `actor_mean` (actions), on images behind `network`; DQN: Q values by its
`forward`; DDPG and TD3: fc1, fc2, fc_mu; SAC: fc1, fc2, fc_mean; then tanh(..) action_scale + action_bias.
"""

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from admm_verify.errors import InputError, ModelError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.policies.policy import ContinuousActions, Policy
from admm_verify.policies.readers.curves import curve
from admm_verify.policies.readers.graphs import policy_of_network
from admm_verify.policies.readers.normaliser import Normalisation, found_scale, normalise
from admm_verify.policies.readers.outcome import CONTINUOUS, DISCRETE, Actions, RawOutputs, taken
from admm_verify.policies.readers.structure import StateDict, dense, sequential

_ASIDE = ("actor_logstd", "critic", "fc_logstd.", "log_std", "target_network.", "value")
"""Starts of names of tensors that deterministic actions do not depend on."""

_NOISE = ("action_var", "actor_logstd", "actor_log_std", "log_std", "logstd")
"""Starts of names of the spread of continuous actions."""

_RECURRENT = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")


def read_module(
    module: Any,
    normalisation: Normalisation,
    actions: Actions | str | None,
    shape: tuple[int, ...] | None,
    output: str | int | None,
) -> Policy:
    """The policy that a torch module is, traced in evaluation mode.

    Raises: InputError for modules of whole numbers or with a state, images of unknown shape, and where nothing tells
    what the outputs are; ModelError for what torch cannot export.
    """
    from admm_verify.policies.readers.torch_state import traced

    kinds = {type(part).__name__ for part in module.modules()}
    name = type(module).__name__
    if "Embedding" in kinds:
        raise InputError(
            f"{name} looks its observations up in a table (Embedding): they are whole numbers, and no radius around "
            "one means anything. Trace the part behind the table by av.trace, whose inputs are its rows."
        )
    parts = hasattr(module, "actor_mean") or hasattr(module, "actor")
    if parts and kinds & set(_RECURRENT):
        raise InputError(
            f"{name} is recurrent: its action depends on a state that it carries from step to step, so that no set of "
            "observations alone bounds it. Trace a module of observation and state by av.trace, the state as inputs."
        )
    _check_library(module, name)
    forward, meaning, limits = _roles(module, kinds)
    chosen = actions or limits or meaning
    network = traced(module, forward, shape or _shape(module, kinds, name), output)
    return policy_of_network(network, normalisation, chosen)


def _check_library(module: Any, name: str) -> None:
    """Refuse modules of stable-baselines3 whose forward draws actions, or gives them in other units than predict."""
    bases = {base.__module__.partition(".")[0] for base in type(module).__mro__}
    if not {"stable_baselines3", "sb3_contrib"} & bases or not hasattr(module, "action_space"):
        return
    if type(module.action_space).__name__ != "Discrete" or hasattr(module, "mlp_extractor"):
        raise InputError(
            f"{name} is a part of a model of stable-baselines3, whose forward draws actions or leaves their limits to "
            "the model. Give the model itself, av.read_policy(model); of one with classes of your own, the layers of "
            "its scores or actions as a torch module: torch.nn.Sequential(*policy.mlp_extractor.policy_net, "
            "policy.action_net)."
        )


def _check_parts(module: Any, part: str, beside: Iterable[str]) -> None:
    """Refuse modules that may do more to observations than the part that is read.

    beside: children that are known to be read with it.
    """
    others = [key for key, child in module.named_children() if any(True for _ in child.parameters())]
    known = (part, *beside, "actor_logstd", "actor_log_std")
    more = [key for key in others if key not in known and not key.startswith(("critic", "log", "target", "value"))]
    more += [key for key in ("action_scale", "action_bias") if hasattr(module, key)]
    if any("forward" in vars(base) for base in type(module).__mro__ if not base.__module__.startswith("torch.")):
        more.append("a forward of its own")
    if more:
        raise InputError(
            f"{type(module).__name__} has {part} and beside it {', '.join(more)}, so that it is not known what happens "
            f"to observations. Give {part} alone, av.read_policy(module.{part}, ...), or a module whose forward is the "
            "whole policy and that has no part of this name."
        )


def _roles(module: Any, kinds: Collection[str]) -> tuple[Any, str | None, ContinuousActions | None]:
    """What stands for the module's forward, None for its own; what that gives; and the limits, where it holds some."""
    scaled = all(hasattr(module, name) for name in ("action_scale", "action_bias"))
    limits = None
    if scaled:
        half, middle = (
            np.asarray(end.detach().cpu(), dtype=np.float64).reshape(-1)
            for end in (module.action_scale, module.action_bias)
        )
        limits = ContinuousActions(middle - half, middle + half)
    if hasattr(module, "actor_mean"):
        _check_parts(module, "actor_mean", ())
        return module.actor_mean, CONTINUOUS, None
    if hasattr(module, "actor") and hasattr(module, "network"):
        _check_parts(module, "actor", ("network",) if any(kind.startswith("Conv") for kind in kinds) else ())
        # Frames of bytes, as CleanRL's agents divide them.
        return (lambda x: module.actor(module.network(x / 255.0))), DISCRETE, None
    if hasattr(module, "actor"):
        _check_parts(module, "actor", ())
        noisy = any(key.startswith(_NOISE) for key, _ in (*module.named_parameters(), *module.named_buffers()))
        ends = [type(part).__name__ for part in module.actor.modules()][-1]
        return module.actor, CONTINUOUS if noisy else None if ends in ("Tanh", "Sigmoid") else DISCRETE, None
    if hasattr(module, "fc_mean") and scaled:
        return (lambda x: module(x)[0].tanh() * module.action_scale + module.action_bias), CONTINUOUS, limits
    return None, None, limits


def _shape(module: Any, kinds: set[str], name: str) -> tuple[int, ...]:
    """The shape of an observation, as the first Linear layer tells it."""
    if any(kind.startswith("Conv") for kind in kinds):
        raise InputError(
            f"{name} takes images, whose shape and order of axes it does not tell; say them as it takes them, without "
            "the batch: shape=(4, 84, 84)."
        )
    for part in module.modules():
        if hasattr(part, "in_features"):
            return (int(part.in_features),)
    raise InputError(
        f"{name} has no Linear layer that tells how long its observations are; say shape=(4,), or the like."
    )


def read_cleanrl(path: Path, normalisation: Normalisation, actions: Actions | str | None) -> Policy:
    """The policy of a state dict that a program in CleanRL's style saved; dense layers only.

    Raises: ModelError for files that cannot be read, or hold other tensors; InputError for what does not fit.
    """
    from admm_verify.policies.readers.torch_state import read_state_file

    what = f"The file {os.fspath(path)}"
    weights = StateDict(read_state_file(path, what), what)
    first = next((value for value in weights.tensors.values() if value.ndim == 2), None)
    if first is None or any(value.ndim > 2 for value in weights.tensors.values()):
        raise ModelError(
            f"{what} holds no policy of dense layers: strides and paddings of convolutions are in no file of weights. "
            "Give the torch module: av.read_policy(module, shape=...)."
        )
    rows = [value for name, value in weights.tensors.items() if value.ndim == 2 and not name.startswith(_ASIDE)]
    if not rows:
        raise ModelError(f"{what} holds no layers of a policy, only a critic's. Give the file of the actor.")
    size = rows[0].shape[1]
    scale, notes = found_scale(normalisation, None, size)
    builder = Builder((1, size), "float32" if scale is None else "float64")
    outputs, meaning = _outputs(builder, normalise(builder, builder.input, scale), weights)
    weights.check_rest(_ASIDE)
    result, known, more = taken(builder, outputs, actions or meaning)
    return Policy(builder.finish(result, path.stem), known, scale, (*notes, *more))


def _outputs(builder: Builder, x: Tensor, weights: StateDict) -> tuple[RawOutputs, Actions | str]:
    """What the layers of a state dict give, and what that is."""
    for prefix, kind, meaning in (
        ("actor_mean", "Tanh", CONTINUOUS),
        ("actor", "Tanh", DISCRETE),
        ("network", "ReLU", DISCRETE),
        ("q_network", "ReLU", DISCRETE),
    ):
        layers = weights.numbered(prefix)
        if layers:
            note = f"its file names no activation function: {kind}, CleanRL's own, is taken"
            noisy = any(weights.holds(name) for name in _NOISE)
            return RawOutputs(
                sequential(builder, x, layers, curve(kind), False), notes=(note,)
            ), CONTINUOUS if noisy else meaning
    last = next((name for name in ("fc_mu", "fc_mean") if weights.holds(f"{name}.")), None)
    if last is None or not weights.holds("fc1."):
        raise ModelError(
            f"{weights.source} holds tensors such as {min(weights.tensors, default='none')!r}; state dicts with the "
            "names of CleanRL's programs are read: actor.0, actor_mean.0, network.0, or fc1, fc2, fc_mu. Give the "
            "torch module itself."
        )
    k = 1
    while weights.holds(f"fc{k}."):
        x = builder.activation("relu", dense(builder, x, weights.layer(f"fc{k}")))
        k += 1
    x = dense(builder, x, weights.layer(last))
    note = ("its file names no activation function: ReLU, CleanRL's own, is taken",)
    ends = [weights.tensors[name] for name in ("action_scale", "action_bias") if name in weights.tensors]
    weights.used |= {"action_scale", "action_bias"}
    if not ends:
        return RawOutputs(x, True, note), CONTINUOUS
    if len(ends) != 2 or any(end.size not in (1, x.size) for end in ends) or not (ends[0] > 0).all():
        raise ModelError(
            f"{weights.source} holds action_scale and action_bias of shapes {[end.shape for end in ends]}; both are "
            f"read, of one number or {x.size}, with scales above 0."
        )
    half, middle = (np.broadcast_to(end.astype(np.float64).reshape(-1), (x.size,)) for end in ends)
    return RawOutputs(x, True, note), ContinuousActions(middle - half, middle + half)
