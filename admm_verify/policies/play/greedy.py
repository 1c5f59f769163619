"""Greedy worst-case play: of what a policy can be made to do, what ends worst in copies of the environment."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.errors import InputError
from admm_verify.policies.play.disturbance import Disturbance, Moment, Weigh, descend, distance_to, ends_of, towards
from admm_verify.policies.play.environments import EnvironmentSource, Transition, copied
from admm_verify.policies.policy import ContinuousActions, Policy


@dataclass(frozen=True)
class Greedy(Disturbance):
    """In each step, the least return over the steps ahead, of the actions that descents make the policy take.

    Every candidate action is taken in a copy of the environment, in which the policy goes on undisturbed for some
    steps. It is an attack like others: what it finds bounds the worst return from above.
    """

    name = "greedy"

    steps: int
    ahead: int

    def __call__(self, moment: Moment) -> np.ndarray:
        candidates = [moment.near.observations, *self._candidates(moment)]
        points = np.stack([moment.near.inside(one) for one in candidates])
        shape = points.shape
        actions = moment.policy(points.reshape(-1, shape[-1])).reshape(*shape[:2], -1)
        worst = np.zeros(shape[1], dtype=int)
        trials = [
            _Trial(row, k, moment.environments[row]) for row in range(shape[1]) for k in _different(actions[:, row])
        ]
        self._tried(moment, trials, actions)
        for row in range(shape[1]):
            own = [one for one in trials if one.row == row]
            if own:
                # Of equal ones, what the policy would not have done.
                worst[row] = min(own, key=lambda one: (one.total, one.candidate == 0)).candidate
        return points[worst, np.arange(shape[1])]

    def _candidates(self, moment: Moment) -> list[np.ndarray]:
        """Points at which the policy does something else, one array for each aim."""
        own, actions = moment.outputs, moment.policy.actions
        if isinstance(actions, ContinuousActions):
            low, high = ends_of(own, actions)
            aims: list[Weigh] = []
            for k in range(own.shape[-1]):
                for end in (low, high):
                    aim = own.copy()
                    aim[:, k] = end[:, k]
                    aims.append(distance_to(aim, actions, 1.0))
        else:
            best, count = np.argmax(own, axis=-1), own.shape[-1]
            aims = [towards(best, (best + k) % count) for k in range(1, count)]
        sets = moment.near.sets
        return [descend(moment, sets, aim, self.steps) for aim in aims]

    def _tried(self, moment: Moment, trials: list["_Trial"], actions: np.ndarray) -> None:
        """Play all trials, each in its own copy."""
        source, interface = moment.source, moment.source.interface
        for one in trials:
            one.environment = copied(one.environment)
            if one.environment is None:
                raise InputError(f"{source.name} cannot be copied any more; leave out the attack 'greedy'.")
            one.take(source, interface.action(_one(actions[one.candidate, one.row], moment)))
        for _ in range(self.ahead):
            going = [one for one in trials if not one.over]
            if not going:
                break
            chosen = moment.policy(interface.observations([one.observation for one in going]))
            for one, action in zip(going, chosen, strict=True):
                one.take(source, interface.action(action))


@dataclass
class _Trial:
    """A candidate of a row, and what has become of it in a copy of the environment."""

    row: int
    candidate: int
    environment: Any
    observation: Any = None
    total: float = 0.0
    over: bool = False

    def take(self, source: EnvironmentSource, action: Any) -> None:
        """One step."""
        taken = source.step(self.environment, action)
        self.observation, self.total, self.over = taken.observation, self.total + taken.reward, taken.over or taken.cut


def _one(action: np.ndarray, moment: Moment) -> Any:
    return action if isinstance(moment.policy.actions, ContinuousActions) else action[0]


def _different(actions: np.ndarray) -> list[int]:
    """The first candidate of every different action; none where all are the same, and there is nothing to choose."""
    _, first = np.unique(actions, axis=0, return_index=True)
    return sorted(first.tolist()) if len(first) > 1 else []


_BEFORE = 2
"""Steps after which copies are tried: some environments are copied as they were made, not as they stand."""


def copies_alike(source: EnvironmentSource, policy: Policy, seed: int) -> bool:
    """Whether copies of an environment on its way go where it goes, one after the other: they share nothing."""
    begun, observation = source.begin(0, seed)

    def step(one: Any, seen: Any) -> Transition:
        return source.step(one, source.interface.action(policy(source.interface.observations([seen]))[0]))

    for _ in range(_BEFORE):
        taken = step(begun, observation)
        observation = taken.observation
        if taken.over or taken.cut:
            break
    ways = []
    for one in (copied(begun), copied(begun), begun):
        if one is None:
            return False
        try:
            taken = step(one, observation)
        except InputError:
            return False
        ways.append((source.interface.observations([taken.observation]).tobytes(), taken.reward, taken.over))
    return ways[0] == ways[1] == ways[2]
