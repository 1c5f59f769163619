"""What a policy is: a network of observations, and what its outputs mean to an environment."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array, plain_array
from admm_verify.network.graph import Network
from admm_verify.network.layout import flatten_batch


@dataclass(frozen=True)
class DiscreteActions:
    """One of `count` actions, numbered from 0: that of the largest output, the first of equal ones."""

    count: int


@dataclass(frozen=True, eq=False)
class ContinuousActions:
    """A vector of numbers, [low, high] each, in the environment's units; infinite where nothing limits them.

    Shapes: low, high [actions] in float64.
    """

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class ObservationScale:
    """The normalisation of observations that a policy was trained with: clip((x - mean) / std, -clip, clip).

    Shapes: mean, std [observation] in float64; clip a number, infinite for none.
    """

    mean: np.ndarray
    std: np.ndarray
    clip: float


@dataclass(frozen=True, eq=False, repr=False)
class Policy:
    """A deterministic policy pi: what it does, and how it got here.

    network: of raw observations, a normalisation included. With discrete actions its outputs are scores (Q values or
    logits), of which the largest names the action; with continuous ones they are the actions themselves, in the
    environment's units, squashing and limits included. scale: the normalisation inside the network, None for none.
    notes: what the reader left out or took for granted, in words. memory: how many of the network's last inputs are the
    state of a recurrent policy, 0 for none; `joined` puts states behind observations. as_trained: what gives the
    network's outputs [batch, outputs] for flat observations with the roundings of the library that trained it; None for
    the network itself.
    """

    network: Network
    actions: DiscreteActions | ContinuousActions
    scale: ObservationScale | None = None
    notes: tuple[str, ...] = ()
    memory: int = 0
    as_trained: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def name(self) -> str:
        """Where it came from."""
        return self.network.name

    @property
    def is_discrete(self) -> bool:
        return isinstance(self.actions, DiscreteActions)

    def __call__(self, observations: Any) -> np.ndarray:
        """pi(x) for a batch of observations, computed as where it was trained, else in the network's element type.

        Shapes: observations [batch, *observation] or [batch, inputs] -> [batch] whole numbers with discrete actions,
        [batch, actions] otherwise.
        Raises: InputError for observations of another shape, and for NaN or infinite numbers.
        """
        network = self.network
        flat = flatten_batch(to_numpy(plain_array(observations, "observations")), network.input_shape, "observation")
        if not np.isfinite(flat).all():
            raise InputError("The observations hold NaN or infinite numbers; give finite ones.")
        if self.as_trained is not None:
            values = self.as_trained(flat)
        else:
            values = to_numpy(network(flat.astype(network.element_type))).reshape(len(flat), -1)
        return np.argmax(values, axis=1) if self.is_discrete else values

    def joined(self, observations: Any, states: Any = 0.0) -> np.ndarray:
        """Observations with the state of a recurrent policy behind each, as its network takes them.

        Radii are joined alike: a state that is known has radius 0.

        Shapes: observations [batch, ...] of as many numbers as the network takes without the state; states [memory] or
        [batch, memory], or a number for all -> [batch, inputs] in float64.
        Raises: InputError for other shapes.
        """
        seen, state = (
            to_numpy(float64_array(part, what)) for part, what in ((observations, "observations"), (states, "states"))
        )
        size = self.network.input_size - self.memory
        if seen.ndim < 2 or prod(seen.shape[1:]) != size:
            raise InputError(f"The observations have shape {seen.shape}; give a batch of {size} numbers each.")
        shape = (len(seen), self.memory)
        if state.shape not in ((), shape[1:], shape):
            raise InputError(f"The states have shape {state.shape}; give a number, {shape[1:]} or {shape}.")
        return np.concatenate([seen.reshape(len(seen), -1), np.broadcast_to(state, shape)], axis=1)

    def __repr__(self) -> str:
        actions = self.actions
        if isinstance(actions, DiscreteActions):
            what = f"{actions.count} actions"
        else:
            what = f"{len(actions.low)} numbers"
        seen = f"observations {self.network.input_shape}"
        if self.memory:
            seen = f"observations of {self.network.input_size - self.memory} numbers with a state of {self.memory}"
        return "\n".join([f"{self.name}: {seen}, {what}", *self.notes])
