"""Trains a controller of the cart-pole together with a Lyapunov function, and writes both to `problems/data`.

    python -m problems.train_lyapunov

The plant of `problems/train_plants.py`, x+ = f(x, u) by Euler's method in steps of 0.02 s, with u = clip(pi(x) - pi(0))
for a ReLU network pi with one hidden layer of 8, and V(x) = x'(R'R + e I)x. Both start from the linear-quadratic
regulator: pi by least squares, V as the solution of Lyapunov's equation for its closed loop, at a rate between that of
the loop and 1. Then max(V(x+)/V(x) - target, 0) is descended by, on random states of all sizes and on those where
gradient ascent finds it worst. Nothing but this file is behind the weights.
Reference: Yang et al., Lyapunov-stable Neural Control for State and Output Feedback, ICML 2024, for the form.
"""

from pathlib import Path

import numpy as np
import torch
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov

TARGET = Path(__file__).parent / "data" / "cartpole_lyapunov.npz"
WIDTH, SAMPLES, HELD = 8, 512, 512
IMITATION, DESCENT = 1500, 2000
"""Steps of least squares, and of descent by the decrease."""

FORCE = 10.0
"""Largest input, in newtons."""

SHIFT = 0.01
"""e of V."""

RATIO = 0.96
"""What V(x+) is to be of V(x) at most, while training."""

ANGLE = 0.3
"""Largest angle on the set V <= 1, in radians."""

COSTS = (50.0, 5.0, 20.0, 1.0)
"""Of the regulator's states; its input's is 1."""


def cartpole_step(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The next state of (position, velocity, angle, rate): x [batch, 4], u [batch, 1]."""
    step, gravity, half, pole, both = 0.02, 9.8, 0.5, 0.1, 1.1
    velocity, angle, rate = x[:, 1:2], x[:, 2:3], x[:, 3:4]
    sine, cosine = torch.sin(angle), torch.cos(angle)
    push = (u + pole * half * rate * rate * sine) / both
    turn = (gravity * sine - cosine * push) / (half * (4.0 / 3.0 - pole * cosine * cosine / both))
    rates = torch.cat([velocity, push - pole * half * turn * cosine / both, rate, turn], -1)
    return x + step * rates


class Decrease(torch.nn.Module):
    """x -> (V(x) - V(x+), V(x), x+): what the competition's networks of Lyapunov functions give.

    V(x+) - V(x) is computed as (x+ - x)'P(x+ + x), whose relaxation is closer than that of two quadratic forms.
    Shapes: x [batch, 4] -> [batch, 6]; form P [4, 4].
    """

    form: torch.Tensor

    def __init__(self, controller: torch.nn.Module, form: torch.Tensor) -> None:
        super().__init__()
        self.controller = controller
        self.register_buffer("form", form)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        following = cartpole_step(x, torch.clamp(self.controller(x), -FORCE, FORCE))
        value = (x * (x @ self.form)).sum(-1, keepdim=True)
        rise = ((following - x) * ((following + x) @ self.form)).sum(-1, keepdim=True)
        return torch.cat([-rise, value, following], -1)


def cartpole_decrease(path: Path = TARGET) -> Decrease:
    """The stored controller with its Lyapunov function, in float64."""
    with np.load(path) as arrays:
        numbers = {name: torch.tensor(arrays[name], dtype=torch.float64) for name in arrays}
    controller = _policy().double()
    for k, layer in ((0, controller[0]), (1, controller[2])):
        assert isinstance(layer, torch.nn.Linear), "the policy is linear, ReLU, linear"
        layer.weight.data, layer.bias.data = numbers[f"W{k}"], numbers[f"b{k}"]
    return Decrease(controller, numbers["form"])


def regulator() -> tuple[np.ndarray, np.ndarray]:
    """The gain of the linear-quadratic regulator, [1, 4], and V's form for its closed loop, with the wanted angle."""

    def step(point: torch.Tensor) -> torch.Tensor:
        return cartpole_step(point[None, :4], point[None, 4:])[0]

    slopes = torch.autograd.functional.jacobian(step, torch.zeros(5, dtype=torch.float64))
    assert isinstance(slopes, torch.Tensor), "of one output by one input"
    a, b = slopes.numpy()[:, :4], slopes.numpy()[:, 4:]
    cost = solve_discrete_are(a, b, np.diag(COSTS), np.eye(1))
    gain = np.linalg.solve(np.eye(1) + b.T @ cost @ b, b.T @ cost @ a)
    closed = a - b @ gain
    radius = float(np.abs(np.linalg.eigvals(closed)).max())
    form = solve_discrete_lyapunov((closed / (0.7 * radius + 0.3)).T, np.eye(4))
    return gain, form * (np.linalg.inv(form)[2, 2] / ANGLE**2)


class Trainer:
    """Controller pi(x) - pi(0) and form R'R + e I while they are trained, on states that it draws."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.gain, form = (torch.tensor(part) for part in regulator())
        self.policy = _policy().double()
        self.root = torch.nn.Parameter(torch.linalg.cholesky(form).T.contiguous())
        self.held = self.states(HELD)

    @property
    def form(self) -> torch.Tensor:
        """P."""
        return self.root.T @ self.root + SHIFT * torch.eye(4, dtype=torch.float64)

    def force(self, x: torch.Tensor) -> torch.Tensor:
        """u."""
        return torch.clamp(self.policy(x) - self.policy(torch.zeros_like(x[:1])), -FORCE, FORCE)

    def ratio(self, x: torch.Tensor) -> torch.Tensor:
        """V(x+) / V(x)."""
        following, form = cartpole_step(x, self.force(x)), self.form
        return ((following @ form) * following).sum(-1) / ((x @ form) * x).sum(-1)

    def states(self, count: int) -> torch.Tensor:
        """States of V from 0.0025 to 1, of all sizes alike."""
        sizes = torch.exp(-3.0 * torch.rand(count, 1, dtype=torch.float64))
        return _directions(torch.randn(count, 4, dtype=torch.float64)) * sizes @ self._unit.T

    @property
    def _unit(self) -> torch.Tensor:
        """What takes the unit ball to V <= 1."""
        return torch.linalg.cholesky(torch.linalg.inv(self.form.detach()))

    def imitate(self) -> None:
        """Least squares on the regulator, for the size of the state."""
        optimiser, schedule = _descent([{"params": self.policy.parameters(), "lr": 5e-3}], IMITATION)
        for _ in range(IMITATION):
            x = self.states(2 * SAMPLES)
            wanted = torch.clamp(-x @ self.gain.T, -FORCE, FORCE)
            size = torch.sqrt(((x @ self.form.detach()) * x).sum(-1, keepdim=True))
            _step(optimiser, schedule, (((self.force(x) - wanted) / size) ** 2).mean())

    def descend(self) -> None:
        """Descent by the decrease."""
        groups = [{"params": self.policy.parameters(), "lr": 2e-3}, {"params": [self.root], "lr": 5e-3}]
        optimiser, schedule = _descent(groups, DESCENT)
        for i in range(DESCENT):
            if i % 10 == 0:
                self.hold_worst()
            above = torch.relu(self.ratio(torch.cat([self.states(SAMPLES), self.held])) - RATIO)
            _step(optimiser, schedule, above.mean() + 0.3 * above.max())

    def hold_worst(self) -> None:
        """Keep the states with the largest ratios among random ones and those kept before, after some ascent."""
        unit = self._unit
        points = torch.linalg.solve(unit, torch.cat([self.states(8 * HELD), self.held]).T).T
        for _ in range(3):
            points.requires_grad_()
            (slope,) = torch.autograd.grad(self.ratio(points @ unit.T).sum(), points)
            size = torch.linalg.vector_norm(points.detach(), dim=1, keepdim=True)
            moved = _directions(points.detach() + 0.1 * size * _directions(slope))
            points = moved * torch.clamp(size, max=1.0)
        states = points @ unit.T
        with torch.no_grad():
            self.held = states[torch.topk(self.ratio(states), HELD).indices]

    def arrays(self) -> dict[str, np.ndarray]:
        """The controller, with the bias that takes it through 0, and the form with the wanted angle."""
        weights = dict(self.policy.named_parameters())
        form = self.form.detach()
        form = form * (torch.linalg.inv(form)[2, 2] / ANGLE**2)
        found = {"W0": weights["0.weight"], "b0": weights["0.bias"], "W1": weights["2.weight"]}
        found |= {"b1": -found["W1"] @ torch.relu(found["b0"]), "form": (form + form.T) / 2}
        return {name: array.detach().numpy() for name, array in found.items()}


def _policy() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(4, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 1))


def _directions(x: torch.Tensor) -> torch.Tensor:
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-12)


def _descent(groups: list, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = torch.optim.Adam(groups)
    return optimiser, torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)


def _step(optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, loss: torch.Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()


def write(path: Path = TARGET, seed: int = 0) -> Path:
    """Train and write; the path."""
    trainer = Trainer(seed)
    trainer.imitate()
    trainer.descend()
    arrays = trainer.arrays()
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return path


def main() -> None:
    """Train, and say what the worst of many states decreases by."""
    path = write()
    module = cartpole_decrease(path)
    unit = torch.linalg.cholesky(torch.linalg.inv(module.form))
    points = _directions(torch.randn(200_000, 4, dtype=torch.float64)) @ unit.T
    with torch.no_grad():
        decrease, value = module(points).T[:2]
    print(f"{path}: V(x+) <= {float((1.0 - decrease / value).max()):.4f} V(x) on {len(points)} points of V = 1")


if __name__ == "__main__":
    main()
