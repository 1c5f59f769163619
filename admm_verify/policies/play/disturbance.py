"""Attacks on what a policy sees, one step at a time: noise, a constant error, and descent along gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.attacks.gradient import output_and_gradient
from admm_verify.network.graph import Network
from admm_verify.policies.play.environments import EnvironmentSource
from admm_verify.policies.play.perturbations import Near
from admm_verify.policies.policy import ContinuousActions, Policy
from admm_verify.sets.contract import WalkableSet

Weigh = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of outputs [batch, outputs]: losses [batch] that descent lowers, and their gradients there [batch, outputs]."""


@dataclass(frozen=True, eq=False)
class Moment:
    """Where episodes stand when an attack changes what their policy sees.

    near: the balls around the observations. variants: of the attack, [batch]. environments: to be copied, not stepped.
    """

    policy: Policy
    near: Near
    variants: np.ndarray
    rng: np.random.Generator
    source: EnvironmentSource
    environments: Sequence[Any]

    @cached_property
    def network(self) -> Network:
        """The network whose gradients lead, in the observations' type."""
        return self.policy.network.scores.put(Placement.numpy(self.near.observations.dtype))

    @cached_property
    def outputs(self) -> np.ndarray:
        """What the network gives without an attack, [batch, outputs]."""
        return to_numpy(self.network.evaluate(self.near.observations)[-1])


class Disturbance(ABC):
    """One attack. name: of `ATTACKS`. variants: in how many ways each episode is played; the worst one counts."""

    name: ClassVar[str]
    variants = 1

    @abstractmethod
    def __call__(self, moment: Moment) -> np.ndarray:
        """What the policy sees instead, [batch, inputs]; it is then moved into the balls."""


class Uniform(Disturbance):
    """Noise: uniform points of the balls."""

    name = "random"

    def __call__(self, moment: Moment) -> np.ndarray:
        return to_numpy(moment.near.sets.sample(1, moment.rng))[:, 0]


@dataclass(frozen=True)
class Bias(Disturbance):
    """A constant error of the sensors: in every step the same corner, another one in each variant.

    Corners of small observations are all tried, pairs of opposite ones drawn for others.
    """

    name = "bias"

    inputs: int
    most: int
    seed: int

    @property
    def variants(self) -> int:
        return len(self.signs)

    @cached_property
    def signs(self) -> np.ndarray:
        """Of the corners, [variants, inputs]."""
        if 2**self.inputs <= self.most:
            return 1.0 - 2.0 * ((np.arange(2**self.inputs)[:, None] >> np.arange(self.inputs)) & 1)
        drawn = np.random.default_rng(self.seed).choice((-1.0, 1.0), (max(1, self.most // 2), self.inputs))
        return np.concatenate([drawn, -drawn])

    def __call__(self, moment: Moment) -> np.ndarray:
        sets, observations = moment.near.sets, moment.near.observations
        return to_numpy(sets.stepped(observations, 1.0, self.signs[moment.variants].astype(observations.dtype)))


@dataclass(frozen=True)
class Descent(Disturbance):
    """Projected gradient descent from a uniform point; steps fall from the radius on, and the best point counts."""

    steps: int

    def __call__(self, moment: Moment) -> np.ndarray:
        return descend(moment, moment.near.sets, self.aim(moment), self.steps)

    @abstractmethod
    def aim(self, moment: Moment) -> Weigh:
        """What is lowered."""


class MaximalDifference(Descent):
    """The maximal action difference: as far from the own action as can be.

    Discrete actions: KL(softmax f(x) | softmax f(x')) is raised, continuous ones: |pi(x') - pi(x)|^2 in units of the
    actions' range.
    Reference: Zhang et al., Robust Deep Reinforcement Learning against Adversarial Perturbations on State Observations,
    NeurIPS 2020, section 3.5 and appendix D.2.
    """

    name = "mad"

    def aim(self, moment: Moment) -> Weigh:
        own, actions = moment.outputs, moment.policy.actions
        if isinstance(actions, ContinuousActions):
            return distance_to(own, actions, -1.0)
        before = _softmax(own)

        def weigh(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            after = _softmax(found)
            tiny = np.finfo(found.dtype).tiny
            return np.sum(before * np.log(np.maximum(after, tiny)), axis=-1), before - after

        return weigh


class LeastPreferred(Descent):
    """Towards the action that the policy likes least; of continuous ones, to the farther end of each range.

    Reference: Lin et al., Tactics of Adversarial Attack on Deep Reinforcement Learning Agents, IJCAI 2017, section 3.
    """

    name = "least"

    def aim(self, moment: Moment) -> Weigh:
        own, actions = moment.outputs, moment.policy.actions
        if isinstance(actions, ContinuousActions):
            return distance_to(_end(own, actions, far=True), actions, 1.0)
        return towards(np.argmax(own, axis=-1), np.argmin(own, axis=-1))


class AnyOther(Descent):
    """Away from the policy's own action, to whichever other one is nearest; of continuous ones, to the nearer ends."""

    name = "other"

    def aim(self, moment: Moment) -> Weigh:
        own, actions = moment.outputs, moment.policy.actions
        if isinstance(actions, ContinuousActions):
            return distance_to(_end(own, actions, far=False), actions, 1.0)
        best = np.argmax(own, axis=-1)

        def weigh(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            others = found.copy()
            others[np.arange(len(found)), best] = -np.inf
            return towards(best, np.argmax(others, axis=-1))(found)

        return weigh


def towards(best: np.ndarray, target: np.ndarray) -> Weigh:
    """f_best - f_target, lowered: below zero the other action is taken."""

    def weigh(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, slope = np.arange(len(found)), np.zeros_like(found)
        slope[rows, best] += 1.0
        slope[rows, target] -= 1.0
        return found[rows, best] - found[rows, target], slope

    return weigh


def descend(moment: Moment, sets: WalkableSet, weigh: Weigh, steps: int) -> np.ndarray:
    """The point of least loss on the way of a projected gradient descent, [batch, inputs]."""
    points = to_numpy(sets.sample(1, moment.rng))[:, 0]
    best, least = points, np.full(len(points), np.inf)
    for k in range(steps + 1):
        losses: list[np.ndarray] = []

        def weighed(found: Array, losses: list[np.ndarray] = losses) -> Array:
            loss, slope = weigh(to_numpy(found))
            losses.append(loss)
            return slope

        with quiet_overflow():
            _, gradient = output_and_gradient(moment.network, points, weighed)
        better = losses[0] < least
        best, least = np.where(better[:, None], points, best), np.where(better, losses[0], least)
        # From the whole radius down to a tenth of it.
        points = to_numpy(sets.stepped(points, -(0.1 ** (k / max(1, steps))), gradient))
    return best


def distance_to(aim: np.ndarray, actions: ContinuousActions, sign: float) -> Weigh:
    """sign |(f - aim) / range|^2, lowered; actions without a range count in their own unit."""
    width = actions.high - actions.low
    scale = np.where(np.isfinite(width) & (width > 0), width, 1.0).astype(aim.dtype)

    def weigh(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = (found - aim) / scale
        return sign * np.sum(off * off, axis=-1), 2.0 * sign * off / scale

    return weigh


def ends_of(own: np.ndarray, actions: ContinuousActions) -> tuple[np.ndarray, np.ndarray]:
    """Ends of every action; where nothing limits it, what lies as far as the action is large, and one more."""
    spread = np.abs(own) + 1.0
    low = np.where(np.isfinite(actions.low), actions.low, own - spread)
    high = np.where(np.isfinite(actions.high), actions.high, own + spread)
    return low.astype(own.dtype), high.astype(own.dtype)


def _end(own: np.ndarray, actions: ContinuousActions, *, far: bool) -> np.ndarray:
    """The farther or the nearer end of every action."""
    low, high = ends_of(own, actions)
    return np.where((own - low > high - own) == far, low, high)


def _softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return exponentials / np.sum(exponentials, axis=-1, keepdims=True)
