"""Policies of stable-baselines3's zip files: structure from names and shapes of tensors, the rest from JSON texts.

Of the archive two members are read: policy.pth, the tensors, and data, JSON with pickles inside that stay unread.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from admm_verify.errors import InputError, ModelError
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.graph import Network
from admm_verify.network.movement import reduce_mean
from admm_verify.network.nonlinear import clip
from admm_verify.options import brief
from admm_verify.policies.policy import ContinuousActions, DiscreteActions, ObservationScale, Policy
from admm_verify.policies.readers.archive import read_members
from admm_verify.policies.readers.curves import Curve, curve, curve_of_text
from admm_verify.policies.readers.normaliser import Normalisation, found_scale, normalise
from admm_verify.policies.readers.outcome import CONTINUOUS, DISCRETE, Actions, RawOutputs, taken
from admm_verify.policies.readers.spaces import Space, check_actions, check_observations, read_space
from admm_verify.policies.readers.structure import StateDict, dense, is_nature_cnn, nature_cnn, sequential

_MOST_JSON = 2**26
"""Bytes of the member data."""

_PACKAGES = ("stable_baselines3", "sb3_contrib")

_ASIDE = (
    "actor.log_std",
    "actor.sde_features_extractor",
    "actor_target.",
    "critic",
    "features_extractor.",
    "log_std",
    "mlp_extractor.value_net.",
    "q_net_target.",
    "quantile_net_target.",
    "sde_features_extractor.",
    "value_net.",
    "vf_features_extractor.",
)
"""Starts of names of tensors that deterministic actions do not depend on: critics, targets, noise, copies."""


def read_sb3(
    source: str | os.PathLike[str] | IO[bytes],
    normalisation: Normalisation,
    actions: Actions | str | None,
    shape: tuple[int, ...] | None,
) -> Policy:
    """The deterministic policy of a zip file that stable-baselines3 or sb3-contrib saved.

    Raises: ModelError for a file that cannot be read, or is refused; InputError for observations and actions that are
    not covered, recurrent policies, and images without a known order of channels.
    """
    from admm_verify.policies.readers.torch_state import TorchEvaluation, read_state

    path = Path(os.fspath(source)) if isinstance(source, str | os.PathLike) else None
    name = path.stem if path is not None else "policy"
    what = f"The file {path}" if path is not None else "The model"
    members = read_members(source, ("data", "policy.pth"), what)
    if "policy.pth" not in members:
        raise ModelError(f"{what} holds no policy.pth; give a zip file that stable-baselines3's model.save wrote.")
    saved = _json(members.get("data", b"{}"), what)
    weights = StateDict(read_state(members["policy.pth"], f"policy.pth in {what}"), f"policy.pth in {what}")
    reader = _SavedPolicy(name, saved, weights)
    reader.check()
    observed = reader.observed(shape)
    scale, notes = found_scale(normalisation, path, observed.size)
    bare, meaning, more = reader.network(observed, None, actions)
    network = bare if scale is None else reader.network(observed, scale, actions)[0]
    weights.check_rest(_ASIDE)
    return Policy(network, meaning, scale, (*notes, *reader.notes, *more), 0, TorchEvaluation(bare, scale))


def _json(content: bytes, what: str) -> dict[str, Any]:
    """The member data, whose texts are read and whose pickles are not."""
    if len(content) > _MOST_JSON:
        raise ModelError(f"The member data of {what} has {len(content)} bytes, and at most {_MOST_JSON} are read.")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The member data of {what} is no JSON that can be read: {error}.") from error
    if not isinstance(found, dict):
        raise ModelError(f"The member data of {what} is no JSON object.")
    return found


class _Observed:
    """The shape of observations as the environment gives them, and what is done before the first layer."""

    def __init__(self, given: tuple[int, ...], to_first: bool, divided: bool) -> None:
        self.given, self.to_first, self.divided = (1, *given), to_first, divided

    @property
    def size(self) -> int:
        return int(np.prod(self.given))

    def features(self, builder: Builder, x: Tensor) -> Tensor:
        """The observation as layers see it: channels first, bytes divided by 255."""
        if self.to_first:
            x = builder.select(x, np.moveaxis(x.labels, -1, 1))
        return builder.divide(x, np.array(255.0)) if self.divided else x


class _SavedPolicy:
    """One zip file's contents on the way to a graph."""

    def __init__(self, name: str, saved: Mapping[str, Any], weights: StateDict) -> None:
        self.name, self.saved, self.weights = name, saved, weights
        options = saved.get("policy_kwargs")
        self.options: Mapping[str, Any] = options if isinstance(options, dict) else {}
        self.observations = read_space(saved.get("observation_space"))
        self.action_space = read_space(saved.get("action_space"))
        self.notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what is not covered, before any work."""
        check_observations(self.observations, self.name)
        check_actions(self.action_space, self.name)
        if any("lstm" in tensor or "gru" in tensor for tensor in self.weights.tensors):
            raise InputError(
                f"The policy {self.name} is recurrent: its action depends on a state that it carries from step to "
                "step, so that no set of observations alone bounds it. Policies without a state are read; of a "
                "recurrent one, trace a module of observation and state by av.trace, the state as more inputs."
            )
        made_by = self.saved.get("policy_class")
        module = made_by.get("__module__") if isinstance(made_by, dict) else None
        own = [self.options.get(key) for key in ("features_extractor_class",)]
        foreign = [str(one) for one in own if one is not None and not str(one).startswith("<class 'stable_baselines3.")]
        if isinstance(module, str) and module.partition(".")[0] not in _PACKAGES:
            foreign.append(f"a class of {module}")
        if foreign:
            raise ModelError(
                f"The policy {self.name} is made by {foreign[0]}, whose code says what its tensors mean and is not run "
                "here. Give the torch module itself, av.read_policy(module, shape=...), or its ONNX export."
            )

    def observed(self, shape: tuple[int, ...] | None) -> _Observed:
        """The observations' shape, of the file or as given, and the order of channels of images."""
        space = self.observations
        found = space.shape if space is not None else None
        if found is None and shape is None and not self._convolves():
            found = (self._inputs(),)
        given = shape or found
        if given is None:
            raise InputError(
                f"The policy {self.name} takes images, and its file does not tell their shape, hence neither the order "
                "of their axes. Say it as the environment gives them: shape=(4, 84, 84), or shape=(84, 84, 4)."
            )
        whole = self.options.get("normalize_images", True) is not False
        divided = whole and self._convolves()
        if space is not None:
            divided = whole and Space("Box", given, None, space.low, space.high, space.dtype).image
        elif divided:
            self.notes = ("its file does not tell what its images hold: bytes, which are divided by 255, are taken",)
        return _Observed(given, self._channels_last(given), divided)

    def network(
        self, observed: _Observed, scale: ObservationScale | None, actions: Actions | str | None
    ) -> tuple[Network, Actions, tuple[str, ...]]:
        """The policy as a network, what its outputs are, and notes; actions: what is said of them.

        Raises: ModelError, InputError.
        """
        # Training normalises in float64, whatever the layers compute in.
        builder = Builder(observed.given, "float32" if scale is None else "float64")
        try:
            outputs = self.outputs(builder, observed.features(builder, normalise(builder, builder.input, scale)))
            result, meaning, notes = taken(builder, outputs, actions or self.actions(outputs))
        except UnsupportedUse as error:
            raise ModelError(f"The policy {self.name} is built in a way that is not read: {error}.") from error
        return builder.finish(result, self.name), meaning, notes

    def outputs(self, builder: Builder, x: Tensor) -> RawOutputs:
        """What the policy's layers give for an observation."""
        holds = self.weights.holds
        if holds("quantile_net.quantile_net."):
            return self._quantiles(builder, self._features(builder, x, "quantile_net."))
        if holds("q_net.q_net."):
            layers = self.weights.numbered("q_net.q_net")
            features = self._features(builder, x, "q_net.")
            return RawOutputs(sequential(builder, features, layers, self._curve("ReLU"), False))
        if holds("actor.mu."):
            return self._squashed(builder, self._features(builder, x, "actor."))
        if holds("action_net.") and (holds("value_net.") or holds("mlp_extractor.")):
            return self._actor_critic(builder, x)
        if holds("action_net."):
            return self._random_search(builder, self._features(builder, x, ""))
        raise ModelError(
            f"{self.weights.source} holds tensors such as {min(self.weights.tensors, default='none')!r}; policies of "
            "PPO, A2C, TRPO, MaskablePPO, ARS, DQN, QR-DQN, SAC, TQC, CrossQ, TD3 and DDPG are read."
        )

    def actions(self, outputs: RawOutputs) -> Actions | str:
        """What the file tells of the actions."""
        space = self.action_space
        if space is None:
            squashed = outputs.squashed or self.weights.holds("log_std")
            scored = (
                self.weights.holds("q_net.") or self.weights.holds("quantile_net.") or self.weights.holds("value_net.")
            )
            if not squashed and not scored:
                raise InputError(
                    f"The file of {self.name} does not tell whether its actions are discrete or a vector of numbers; "
                    "say actions='discrete', or actions=(low, high)."
                )
            return CONTINUOUS if squashed else DISCRETE
        if space.kind == "Discrete":
            return DISCRETE if space.count is None else DiscreteActions(space.count)
        if space.low is None or space.high is None:
            return CONTINUOUS
        if not (space.low <= space.high).all():
            raise ModelError(
                f"The file of {self.name} says that actions are from {brief(space.low.tolist())} to "
                f"{brief(space.high.tolist())}, and low ends lie above high ones. Say actions=(low, high)."
            )
        return ContinuousActions(space.low, space.high)

    def _actor_critic(self, builder: Builder, x: Tensor) -> RawOutputs:
        found = self._curve("Tanh")
        own = "pi_" if self.weights.holds("pi_features_extractor.") else ""
        x = self._features(builder, x, own)
        for part in ("mlp_extractor.shared_net", "mlp_extractor.policy_net"):
            x = sequential(builder, x, self.weights.numbered(part), found, True)
        x = dense(builder, x, self.weights.layer("action_net"))
        return RawOutputs(x, _is_true(self.options.get("squash_output")))

    def _random_search(self, builder: Builder, x: Tensor) -> RawOutputs:
        layers = self.weights.numbered("action_net")
        if layers:
            x = sequential(builder, x, layers, self._curve("ReLU"), False)
        else:
            x = dense(builder, x, self.weights.layer("action_net"))
        made_by = self.saved.get("policy_class")
        text = str(made_by.get("__doc__", "")) if isinstance(made_by, dict) else ""
        squash = self.options.get("squash_output", not text.lstrip().startswith("Linear"))
        box = self.action_space is not None and self.action_space.kind == "Box"
        return RawOutputs(x, box and _is_true(squash))

    def _quantiles(self, builder: Builder, x: Tensor) -> RawOutputs:
        layers = self.weights.numbered("quantile_net.quantile_net")
        x = sequential(builder, x, layers, self._curve("ReLU"), False)
        count = self.action_space.count if self.action_space is not None else None
        quantiles = int(self._number("n_quantiles", 200)) if count is None else x.size // count
        if not quantiles or x.size % quantiles:
            raise ModelError(f"The {x.size} quantiles of {self.name} are no multiple of the number of its actions.")
        table = builder.reshape(x, (1, quantiles, x.size // quantiles))
        return RawOutputs(
            reduce_mean(builder, table, [1], False), notes=(f"its scores are means of {quantiles} quantiles",)
        )

    def _squashed(self, builder: Builder, x: Tensor) -> RawOutputs:
        """The actors of SAC, TQC and CrossQ, whose mean is squashed, and of TD3 and DDPG."""
        noisy = self.weights.holds("actor.log_std")
        found = self._curve("ReLU")
        epsilon = self._number("batch_norm_eps", 1e-3)
        x = sequential(builder, x, self.weights.numbered("actor.latent_pi"), found, True, epsilon)
        last = self.weights.numbered("actor.mu")
        if not last:
            return RawOutputs(dense(builder, x, self.weights.layer("actor.mu")), True)
        x = sequential(builder, x, last, found, False)
        if noisy:
            end = self._number("clip_mean", 2.0)
            x = clip(builder, x, -end, end)
        return RawOutputs(x, True)

    def _number(self, name: str, usual: float) -> float:
        """A positive number of the options. Raises: ModelError."""
        found = self.options.get(name, usual)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < np.inf:
            raise ModelError(f"The file of {self.name} says {name}={found!r:.50}, where a positive number belongs.")
        return float(found)

    def _curve(self, usual: str) -> Curve:
        """The activation function that the file names, or the training library's own."""
        named = self.options.get("activation_fn")
        if named is not None:
            return curve_of_text(str(named))
        told = f"its file names no activation function: {usual}, the training library's own, is taken"
        self.notes = tuple(dict.fromkeys((*self.notes, told)))
        return curve(usual)

    def _features(self, builder: Builder, x: Tensor, owner: str) -> Tensor:
        """The features that the first dense layer reads: all entries, or what a NatureCNN makes of an image."""
        prefix = f"{owner}features_extractor"
        if not self.weights.holds(f"{prefix}."):
            return builder.reshape(x, (1, x.size))
        layers = self.weights.numbered(f"{prefix}.cnn")
        if not is_nature_cnn(layers):
            raise ModelError(
                f"The policy {self.name} has a features extractor that is not stable-baselines3's NatureCNN; give the "
                "torch module itself, or its ONNX export."
            )
        return nature_cnn(builder, x, layers, self.weights.layer(f"{prefix}.linear.0"))

    def _convolves(self) -> bool:
        return any(tensor.ndim == 4 for tensor in self.weights.tensors.values())

    def _inputs(self) -> int:
        """The number of observations that the policy's first matrix reads."""
        starts = ("mlp_extractor.shared_net", "mlp_extractor.policy_net", "action_net", "q_net.q_net", "actor")
        for start in (*starts, "quantile_net.quantile_net"):
            for name, tensor in self.weights.tensors.items():
                if name.startswith(start) and tensor.ndim == 2:
                    return tensor.shape[1]
        raise ModelError(f"{self.weights.source} holds no matrix of a policy.")

    def _channels_last(self, shape: tuple[int, ...]) -> bool:
        """Whether images have their channels at the end, as the first convolution's weight tells."""
        if not self._convolves():
            return False
        channels = next(tensor.shape[1] for tensor in self.weights.tensors.values() if tensor.ndim == 4)
        places = [place for place in (0, 2) if len(shape) == 3 and shape[place] == channels]
        if len(places) != 1:
            raise InputError(
                f"The policy {self.name} takes images of {channels} channels, and the shape {shape} does not tell "
                "which axis holds them: either end is to have that length, and one alone. Say shape=(channels, height, "
                "width), or shape=(height, width, channels), as the environment gives them."
            )
        return places == [2]


def _is_true(value: Any) -> bool:
    return value is True or value == "True"
