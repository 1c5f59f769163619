"""Where a policy and an environment meet: observations as the network reads them, actions as the environment does."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from admm_verify.errors import InputError
from admm_verify.options import brief
from admm_verify.policies.policy import ContinuousActions, DiscreteActions, Policy


@dataclass(frozen=True, eq=False)
class Interface:
    """How a policy meets an environment.

    name: of the environment. shape: of a policy's observation. start: the number of the first of discrete actions. low,
    high, form, dtype: what continuous actions are cut to, their shape and type. notes: what is not as the policy says.
    Shapes: low, high [actions] in float64.
    """

    name: str
    shape: tuple[int, ...]
    element: str
    start: int
    low: np.ndarray
    high: np.ndarray
    form: tuple[int, ...]
    dtype: Any
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, environment: Any, policy: Policy) -> "Interface":
        """How a policy meets an environment, as far as the environment's spaces tell.

        Raises: InputError where it does not.
        """
        if policy.memory:
            raise InputError(
                f"{policy.name} is recurrent: it remembers {policy.memory} numbers from step to step, which files do "
                "not tell how to go on with, so that it cannot be played here. Certify its actions at observations "
                "with their states instead: av.certify_policy(policy, policy.joined(observations, states), radii)."
            )
        if hasattr(environment, "num_envs"):
            raise InputError(
                f"{name} is a vector of {environment.num_envs} environments; give a single one, or a function that "
                "makes one: episodes are run side by side here."
            )
        _check_observations(name, getattr(environment, "observation_space", None), policy)
        network, actions = policy.network, policy.actions
        space = getattr(environment, "action_space", None)
        shape, element = network.input_shape, network.element_type
        if isinstance(actions, DiscreteActions):
            none = np.zeros(0)
            return cls(name, shape, element, _first_action(name, space, actions), none, none, (), None)
        return cls(name, shape, element, 0, *_continuous(name, space, actions))

    def observations(self, given: Sequence[Any]) -> np.ndarray:
        """Observations as flat numbers of the network's type, [batch, inputs].

        Raises: InputError for other shapes and kinds, and for NaN or infinite numbers.
        """
        batch, size = _batched(given), prod(self.shape)
        if batch is None or batch.dtype.kind not in "fiub" or prod(batch.shape[1:]) != size or not self._fits(batch):
            raise InputError(self._refusal(next((one for one in given if not self._alone(one)), given[0])))
        with np.errstate(over="ignore"):
            flat = batch.reshape(len(given), size).astype(self.element)
        if not np.isfinite(flat).all():
            raise InputError(
                f"{self.name} returned an observation with NaN or infinite numbers: "
                f"{brief(given[int(np.argmin(np.isfinite(flat).all(axis=1)))])}. Mend the environment, or limit its "
                "observations."
            )
        return flat

    def action(self, chosen: Any) -> Any:
        """What the environment is given: a whole number, or numbers within its limits."""
        if self.dtype is None:
            return int(chosen) + self.start
        return np.clip(chosen, self.low, self.high).astype(self.dtype).reshape(self.form)

    def _fits(self, batch: np.ndarray) -> bool:
        """Whether an observation is in the network's order: of its shape, or flattened as it stands."""
        return len(self.shape) == 1 or _short(batch.shape[1:]) == _short(self.shape)

    def _alone(self, given: Any) -> bool:
        array = _batched([given])
        return array is not None and array.dtype.kind in "fiub" and prod(array.shape[1:]) == prod(self.shape)

    def _refusal(self, given: Any) -> str:
        if isinstance(given, dict):
            return _of_parts(self.name, "dictionaries")
        array = _batched([given])
        if array is None or array.dtype.kind not in "fiub":
            return (
                f"{self.name} returned the observation {brief(given)}, which is no array of numbers; policies take "
                f"{self.shape} of them. Wrap the environment so that it returns such arrays."
            )
        return _other_size(self.name, array.shape[1:], self.shape)


def _batched(given: Sequence[Any]) -> np.ndarray | None:
    """Observations as one array, None where they are no arrays of one shape."""
    try:
        return np.asarray([np.asarray(one) for one in given])
    except (ValueError, TypeError):
        return None


def _short(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _check_observations(name: str, space: Any, policy: Policy) -> None:
    """Refuse observations that networks of real numbers do not read."""
    kind, network = type(space).__name__, policy.network
    if kind in ("Discrete", "MultiDiscrete"):
        raise InputError(
            f"The observations of {name} are whole numbers ({space}), which policies look up (an Embedding, or one "
            "number of each) instead of computing with them: between two of them there is nothing that noise of a "
            "radius could reach. Give an environment whose observations are real numbers."
        )
    if kind in ("Dict", "Tuple"):
        raise InputError(_of_parts(name, "dictionaries" if kind == "Dict" else "tuples"))
    shape = getattr(space, "shape", None)
    if shape is None:
        return
    own = network.input_shape
    if prod(shape) != prod(own):
        raise InputError(_other_size(name, tuple(shape), own))
    if len(own) > 1 and _short(tuple(shape)) != _short(own):
        raise InputError(
            f"The observations of {name} are images of shape {tuple(shape)}, and {policy.name} reads {own}: the same "
            "numbers in another order. Wrap the environment so that its axes stand in the network's order, as by "
            "gymnasium.wrappers.TransformObservation(environment, lambda x: x.transpose(2, 0, 1), space)."
        )


def _of_parts(name: str, what: str) -> str:
    return (
        f"The observations of {name} are {what} of parts, and policies here read one array. Flatten them, as by "
        "gymnasium.wrappers.FlattenObservation(environment), in the order that the policy was trained with."
    )


def _other_size(name: str, shape: tuple[int, ...], own: tuple[int, ...]) -> str:
    return (
        f"The observations of {name} have shape {shape} and the policy reads {own}: it was trained in another "
        "environment, or behind wrappers (stacked frames, flattening, an added clock). Give the environment that it "
        "was trained in, wrapped alike."
    )


def _first_action(name: str, space: Any, actions: DiscreteActions) -> int:
    """The number of the first action."""
    if space is None:
        return 0
    if type(space).__name__ != "Discrete":
        raise InputError(
            f"The actions of {name} are {brief(space)}, and the policy chooses one of {actions.count}: it was trained "
            "in another environment, or its outputs were taken for scores of actions where they are numbers."
        )
    if int(space.n) != actions.count:
        raise InputError(
            f"{name} has {int(space.n)} actions, and the policy chooses one of {actions.count}. Give the environment "
            "that it was trained in."
        )
    return int(getattr(space, "start", 0))


def _continuous(
    name: str, space: Any, actions: ContinuousActions
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], Any, tuple[str, ...]]:
    """Ends, shape and type of continuous actions, and notes."""
    count = len(actions.low)
    if space is None:
        return actions.low, actions.high, (count,), np.dtype(np.float64), ()
    if type(space).__name__ != "Box":
        raise InputError(
            f"The actions of {name} are {brief(space)}, and the policy gives {count} numbers. Give the environment "
            "that it was trained in."
        )
    if prod(space.shape) != count:
        raise InputError(
            f"The actions of {name} have shape {tuple(space.shape)}, and the policy gives {count} numbers. Give the "
            "environment that it was trained in."
        )
    low, high = (np.asarray(end, dtype=np.float64).reshape(-1) for end in (space.low, space.high))
    inner = (low > actions.low) | (high < actions.high)
    notes = (
        (f"{name} takes actions from {brief(low.tolist())} to {brief(high.tolist())}: the policy's are cut to that.",)
        if inner.any()
        else ()
    )
    return low, high, tuple(space.shape), np.dtype(space.dtype), notes
