"""Policies trained with certified margins: the bound in the loss, its gradients, rollouts, and the whole experiment."""

import json
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import admm_verify as av
from experiments import robust_policy
from problems import train_robust_policy as training
from problems.train_robust_policy import Agent, Training, certified_margin, played, train

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium comes with the extra rl")


def drawn(seed: int) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """A network of scores, observations, and the actions there."""
    torch.manual_seed(seed)
    scores = Agent(8).scores.double()
    with torch.no_grad():
        for layer in scores:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, 0.7)
    x = torch.randn(6, 4, dtype=torch.float64)
    return scores, x, scores(x).argmax(dim=1).detach()


def gaps(scores: nn.Sequential, x: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Score of the own action less that of the other, [..., n]."""
    found = scores(x)
    return (found[..., 0] - found[..., 1]) * (1.0 - 2.0 * own)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("radius", [0.02, 0.3])
def test_the_loss_bounds_the_gap_as_crown_does(seed, radius):
    scores, x, own = drawn(seed)
    found = certified_margin(scores, x, radius, own).detach().numpy()
    noise = radius * (2.0 * torch.rand(400, 1, 4, dtype=torch.float64) - 1.0)
    corners = radius * torch.sign(torch.randn(400, 1, 4, dtype=torch.float64))
    for part in (noise, corners):
        # It is no certificate: where the gap is linear in the box, both are the same up to rounding.
        assert (found <= gaps(scores, x + part, own).min(dim=0).values.detach().numpy() + 1e-12).all()
    network = av.trace(scores, x[:1])
    sides = np.where(own.numpy()[:, None] == 0, [1.0, -1.0], [-1.0, 1.0])
    ours = [
        float(av.solve(av.Problem(network, av.Box.around(point, radius), row[None]), max_passes=0).lower[0])
        for point, row in zip(x.numpy(), sides, strict=True)
    ]
    # Ours are cut with intervals besides, and rounded down.
    assert (found <= np.array(ours) + 1e-9).all()
    assert np.mean(np.abs(found - ours) < 1e-9) >= 0.5


def test_without_noise_the_bound_is_the_gap_and_has_its_gradient():
    scores, x, own = drawn(0)
    torch.testing.assert_close(certified_margin(scores, x, 0.0, own), gaps(scores, x, own))
    first = torch.autograd.grad(certified_margin(scores, x, 0.0, own).sum(), list(scores.parameters()))
    second = torch.autograd.grad(gaps(scores, x, own).sum(), list(scores.parameters()))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)


class Counting:
    """Environments whose episodes last so many steps each, and then start anew in a step that does nothing else.

    Every step is worth its number. Those with an odd number die at the end, the others run out of time.
    """

    def __init__(self, lengths: list[int]) -> None:
        self.lengths, self.at = np.array(lengths), np.zeros(len(lengths), dtype=np.int64)

    @property
    def seen(self) -> np.ndarray:
        return np.repeat(0.01 * self.at[:, None], 4, axis=1).astype(np.float32)

    def step(self, _action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        begins = self.at == self.lengths
        self.at = np.where(begins, 0, self.at + 1)
        reward = np.where(begins, 0.0, self.at).astype(np.float32)
        over = ~begins & (self.at == self.lengths)
        dies = over & (self.lengths % 2 == 1)
        return self.seen, reward, dies, over & ~dies, {}


def test_advantages_are_those_of_each_episode_alone(monkeypatch):
    monkeypatch.setattr(training, "ENVIRONMENTS", 3)
    monkeypatch.setattr(training, "STEPS", 12)
    torch.manual_seed(0)
    agent, world = Agent(8), Counting([3, 4, 50])
    rollout, _, _ = played(agent, world, world.seen, np.zeros(3, dtype=bool))  # pyright: ignore[reportArgumentType]

    def value(at: int) -> float:
        with torch.no_grad():
            return float(agent.value(torch.full((1, 4), 0.01 * at))[0, 0])

    def episode(length: int, steps: int, dies: bool) -> list[float]:
        """Advantages of the first steps of an episode; by their definition, a sum of discounted surprises."""
        rewards = [float(at + 1) for at in range(steps)]
        after = [0.0 if dies and at + 1 == length else value(at + 1) for at in range(steps)]
        surprise = [r + training.DISCOUNT * v - value(at) for at, (r, v) in enumerate(zip(rewards, after, strict=True))]
        rate = training.DISCOUNT * training.SMOOTHING
        return [sum(rate ** (t - at) * surprise[t] for t in range(at, steps)) for at in range(steps)]

    # Of 12 steps, every episode's beginning takes one: 3 x 4, 2 x 5 and 2 more, 12.
    wanted = [[*episode(3, 3, True)] * 3, [*episode(4, 4, False) * 2, *episode(4, 2, False)], episode(50, 12, False)]
    seen, advantage = rollout.seen.numpy()[:, 0], rollout.advantage.numpy()
    assert len(seen) == sum(map(len, wanted))
    np.testing.assert_allclose(np.sort(advantage), np.sort(np.concatenate(wanted)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(rollout.value - rollout.advantage, [value(round(100 * x)) for x in seen], atol=1e-4)


def test_training_is_seeded():
    first, second, other = (
        train(Training(rollouts=2, width=8, weight=0.1, ramp=(0.0, 0.5)), seed) for seed in (3, 3, 4)
    )
    x = torch.linspace(-1.0, 1.0, 20).reshape(5, 4)
    assert torch.equal(first(x), second(x)) and not torch.equal(first(x), other(x))


def test_the_radius_grows_with_training():
    radii = [Training(radius=0.2, ramp=(0.25, 0.75)).radius_at(share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    np.testing.assert_allclose(radii, [0.0, 0.0, 0.1, 0.2, 0.2])


def test_the_experiment_tells_both_policies(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(robust_policy, "STATES", 40)
    monkeypatch.setattr(robust_policy, "RADII", (0.01, 0.05))
    monkeypatch.setattr(robust_policy, "ATTACKS", ("random",))
    arguments = ["robust_policy", "--rollouts", "2", "--episodes", "2", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    threads = torch.get_num_threads()
    robust_policy.main()
    torch.set_num_threads(threads)
    found = json.loads((tmp_path / "robust_policy.json").read_text())["policies"]
    assert [one["policy"] for one in found] == ["plain", "robust"] and (tmp_path / "robust_policy.png").exists()
    for one in found:
        assert len(one["returns"]) == 2 and len(one["certified_ratio"]) == len(one["attacked_return"]) == 2
        assert one["mean_return"] == np.mean(one["returns"]) and max(one["attacked_return"]) <= one["mean_return"]
        assert 0.0 <= one["certified_ratio"][1] <= one["certified_ratio"][0] <= 1.0
    assert "certified ratio" in capsys.readouterr().out


@pytest.mark.slow
def test_margins_in_the_loss_certify_more_actions_at_no_loss_of_return(monkeypatch):
    monkeypatch.setattr(robust_policy, "ATTACKS", ("random",))
    monkeypatch.setattr(robust_policy, "RADII", (0.05,))
    began = time.process_time()
    plain, robust = (
        robust_policy.measured(name, Training(weight=weight), 0, 20) for name, weight in robust_policy.TRAININGS.items()
    )
    assert time.process_time() - began < 200
    assert min(plain["mean_return"], robust["mean_return"]) >= 475
    assert robust["certified_ratio"][0] >= 1.3 * plain["certified_ratio"][0] > 0
