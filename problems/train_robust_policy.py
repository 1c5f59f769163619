"""Trains policies of CartPole by proximal policy optimisation, with or without certified margins of their actions.

The robust loss adds the mean over states of max(0, MARGIN - m), where m is a lower bound of the score of the policy's
own action over that of the other one, over all observations within a radius in the largest norm. m is CROWN's, by torch
with gradients; the radius grows from 0. Environments: gymnasium's own, many side by side. All draws are seeded.

References: Schulman et al., arXiv 1707.06347 (PPO); Oikarinen et al., NeurIPS 2021 (RADIAL: bounds in the loss of
reinforcement learning); Zhang et al., NeurIPS 2018 (CROWN).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import gymnasium
import numpy as np
import torch
from torch import nn

OBSERVED, ACTIONS = 4, 2
ENVIRONMENTS, STEPS = 32, 64
"""Of one rollout."""

EPOCHS, BATCH = 6, 512
DISCOUNT, SMOOTHING, CLIP = 0.99, 0.95, 0.2
RATE, ENTROPY, VALUE, LARGEST_GRADIENT = 2e-3, 0.003, 0.5, 0.5
CERTIFIED = 128
"""States of a batch whose margins are bounded."""

MARGIN = 0.1
"""Of scores, above which the bound of a state costs nothing."""


@dataclass(frozen=True)
class Training:
    """How a policy is trained: rollouts; the weight of the certified margin, 0 for none, its radius in the
    observation's units, and the shares of training between which the radius grows.
    """

    rollouts: int = 80
    width: int = 32
    weight: float = 0.0
    radius: float = 0.05
    ramp: tuple[float, float] = (0.2, 0.7)

    def radius_at(self, share: float) -> float:
        """The radius behind a share of the training."""
        first, last = self.ramp
        return self.radius * min(1.0, max(0.0, (share - first) / (last - first)))


@dataclass(frozen=True, eq=False)
class Rollout:
    """What was seen and done in all environments, flat; advantage and value as generalised advantages estimate them."""

    seen: torch.Tensor
    action: torch.Tensor
    likelihood: torch.Tensor
    advantage: torch.Tensor
    value: torch.Tensor


class Agent:
    """Two networks: the scores of both actions, and the value of a state."""

    def __init__(self, width: int) -> None:
        self.scores, self.value = self._network(width, ACTIONS), self._network(width, 1)
        last = self.scores[-1]
        assert isinstance(last, nn.Linear), "networks end in a matrix"
        # Both actions are nearly as likely at first.
        last.weight.data *= 0.01

    @staticmethod
    def _network(width: int, outputs: int) -> nn.Sequential:
        sizes = (OBSERVED, width, width, outputs)
        layers: list[nn.Module] = []
        for inputs, size in pairwise(sizes):
            layers += [nn.Linear(inputs, size), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def parameters(self) -> list[nn.Parameter]:
        return [*self.scores.parameters(), *self.value.parameters()]


def certified_margin(scores: nn.Sequential, centre: torch.Tensor, radius: float, own: torch.Tensor) -> torch.Tensor:
    """CROWN's lower bound of the score of an action over the other one's around each of some observations.

    Differentiable, and without the rounding terms that make it a certificate. Shapes: centre [n, 4], own [n] -> [n].
    """
    weights = [layer.weight for layer in scores if isinstance(layer, nn.Linear)]
    biases = [layer.bias for layer in scores if isinstance(layer, nn.Linear)]
    middle, spread = nn.functional.linear(centre, weights[0], biases[0]), radius * weights[0].abs().sum(dim=1)
    bounds = [(middle - spread, middle + spread)]
    rows = torch.cat([weights[1], -weights[1]])
    both = _below(
        rows.expand(len(centre), -1, -1), torch.cat([biases[1], -biases[1]]), weights, biases, bounds, centre, radius
    )
    low, high = both[:, : len(biases[1])], -both[:, len(biases[1]) :]
    bounds.append((low, high))
    sign = 1.0 - 2.0 * own.to(centre.dtype)[:, None]
    difference, shift = weights[2][0] - weights[2][1], biases[2][0] - biases[2][1]
    return _below((sign * difference)[:, None], sign * shift, weights, biases, bounds, centre, radius)[:, 0]


def _below(
    rows: torch.Tensor,
    constant: torch.Tensor,
    weights: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor],
    bounds: Sequence[tuple[torch.Tensor, torch.Tensor]],
    centre: torch.Tensor,
    radius: float,
) -> torch.Tensor:
    """Lower bounds of rows times the outputs of the last bounded layer's ReLUs, plus a constant.

    Shapes: rows [n, rows, width] -> [n, rows].
    """
    total = constant
    for (low, high), weight, bias in reversed(list(zip(bounds, weights, biases, strict=False))):
        below, above = low.clamp(max=0.0), high.clamp(min=0.0)
        slope = above / (above - below).clamp(min=1e-12)
        chord = (slope * -below)[:, None]
        flat = (above > -below).to(rows.dtype)
        up, down = rows.clamp(min=0.0), rows.clamp(max=0.0)
        total = total + (down * chord).sum(dim=-1)
        rows = up * flat[:, None] + down * slope[:, None]
        total = total + rows @ bias
        rows = rows @ weight
    return total + torch.einsum("nri,ni->nr", rows, centre) - radius * rows.abs().sum(dim=-1)


def train(training: Training, seed: int = 0) -> nn.Sequential:
    """The scores of a trained policy."""
    torch.manual_seed(seed)
    agent = Agent(training.width)
    world = gymnasium.make_vec("CartPole-v1", ENVIRONMENTS, vectorization_mode="vector_entry_point")
    seen, _ = world.reset(seed=seed)
    over = np.zeros(ENVIRONMENTS, dtype=bool)
    optimiser = torch.optim.Adam(agent.parameters(), RATE)
    for k in range(training.rollouts):
        share = k / training.rollouts
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1.0 - share)
        rollout, seen, over = played(agent, world, seen, over)
        improve(agent, rollout, optimiser, training.weight, training.radius_at(share))
    world.close()
    return agent.scores


def played(
    agent: Agent, world: gymnasium.vector.VectorEnv, seen: np.ndarray, over: np.ndarray
) -> tuple[Rollout, np.ndarray, np.ndarray]:
    """A rollout from where the environments are, and where they are then: what is seen, and which episodes are over.

    The step behind the end of an episode only starts the next one, and is left out.
    """
    frames, actions, likelihoods, rewards, ends, begun, dead = [], [], [], [], [], [], []
    for _ in range(STEPS):
        x = torch.as_tensor(seen)
        with torch.no_grad():
            choice = torch.distributions.Categorical(logits=agent.scores(x))
            action = choice.sample()
        frames.append(x)
        actions.append(action)
        likelihoods.append(choice.log_prob(action))
        begun.append(over)
        seen, reward, terminated, truncated, _ = world.step(action.numpy())
        over = terminated | truncated
        rewards.append(reward)
        dead.append(terminated)
        ends.append(over)
    with torch.no_grad():
        value = agent.value(torch.stack([*frames, torch.as_tensor(seen)]))[..., 0]
    advantage, later = torch.zeros(STEPS, ENVIRONMENTS), torch.zeros(ENVIRONMENTS)
    for t in reversed(range(STEPS)):
        lives, goes_on = (1.0 - torch.as_tensor(part[t], dtype=torch.float32) for part in (dead, ends))
        surprise = torch.as_tensor(rewards[t], dtype=torch.float32) + DISCOUNT * lives * value[t + 1] - value[t]
        later = surprise + DISCOUNT * SMOOTHING * goes_on * later
        advantage[t] = later
    kept = ~torch.as_tensor(np.stack(begun)).reshape(-1)
    x, action, likelihood = (torch.stack(part).flatten(0, 1)[kept] for part in (frames, actions, likelihoods))
    wanted = (advantage + value[:-1]).reshape(-1)[kept]
    return Rollout(x, action, likelihood, advantage.reshape(-1)[kept], wanted), seen, over


def improve(agent: Agent, rollout: Rollout, optimiser: torch.optim.Optimizer, weight: float, radius: float) -> None:
    """The policy's and the value's steps on a rollout."""
    count = len(rollout.action)
    for _ in range(EPOCHS):
        for some in torch.randperm(count).split(BATCH):
            seen, advantage = rollout.seen[some], rollout.advantage[some]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            scores = agent.scores(seen)
            choice = torch.distributions.Categorical(logits=scores)
            ratio = torch.exp(choice.log_prob(rollout.action[some]) - rollout.likelihood[some])
            gain = torch.minimum(ratio * advantage, ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * advantage).mean()
            error = ((agent.value(seen)[:, 0] - rollout.value[some]) ** 2).mean()
            loss = -gain + VALUE * error / 100.0 - ENTROPY * choice.entropy().mean()
            if weight:
                own = scores[:CERTIFIED].argmax(dim=1)
                margin = certified_margin(agent.scores, seen[:CERTIFIED], radius, own)
                loss = loss + weight * (MARGIN - margin).clamp(min=0.0).mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), LARGEST_GRADIENT)
            optimiser.step()
