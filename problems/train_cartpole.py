"""Trains the policy that `admm-verify policy` shows without a file, and writes it to the library's data folder.

    python -m problems.train_cartpole

Environment: CartPole-v1 of gymnasium. Teacher: pushes right where k'x > 0, with k the linear-quadratic regulator's gain
of the pole upright, for the costs below. Pupil: 4-16-16-2 ReLU network whose two scores are to be -s and s, s = k'x cut
to [-1, 1], least squares on random states near those that the teacher meets. Beside the weights stand observations that
the pupil meets in episodes, a few each. Nothing but this file is behind the numbers.
"""

from pathlib import Path

import gymnasium
import numpy as np
import torch
from scipy.linalg import solve_discrete_are

import admm_verify as av

TARGET = Path(av.__file__).parent / "report" / "data" / "cartpole.npz"
GRAVITY, CART, POLE, HALF, FORCE, TICK = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
"""Of the environment: m/s2, kg, kg, m, N, s."""
COSTS, FORCE_COST = np.diag([1.0, 0.1, 10.0, 0.1]), np.array([[1e-3]])
REACH = np.array([2.0, 2.0, 0.2, 2.0])
"""Training states lie within +-REACH."""
WIDTH, SAMPLES, BATCHES, RATE = 16, 4096, 3000, 5e-3
SCALE = 0.05
"""By which k'x is multiplied before it is cut."""
EPISODES, KEPT = 5, 20


def gain() -> np.ndarray:
    """The regulator's gain k, [4]: the force that it asks for is k'x."""
    total, length = CART + POLE, HALF
    swing = length * (4.0 / 3.0 - POLE / total)
    lean, push = GRAVITY / swing, -1.0 / (total * swing)
    a = np.eye(4)
    a[0, 1] = a[2, 3] = TICK
    a[3, 2] = TICK * lean
    a[1, 2] = -TICK * POLE * length * lean / total
    b = np.array([[0.0], [TICK * (1.0 / total - POLE * length * push / total)], [0.0], [TICK * push]])
    cost = solve_discrete_are(a, b, COSTS, FORCE_COST)
    return -np.linalg.solve(FORCE_COST + b.T @ cost @ b, b.T @ cost @ a)[0]


def train() -> torch.nn.Sequential:
    """The pupil."""
    torch.manual_seed(0)
    rng, own = np.random.default_rng(0), gain()
    linear = torch.nn.Linear
    relu = torch.nn.ReLU
    module = torch.nn.Sequential(linear(4, WIDTH), relu(), linear(WIDTH, WIDTH), relu(), linear(WIDTH, 2))
    optimiser = torch.optim.Adam(module.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, BATCHES)
    for _ in range(BATCHES):
        states = rng.uniform(-REACH, REACH, (SAMPLES, 4)) * rng.uniform(0.05, 1.0, (SAMPLES, 1))
        score = np.clip(SCALE * states @ own, -1.0, 1.0)
        wanted = torch.tensor(np.stack([-score, score], axis=1), dtype=torch.float32)
        loss = torch.mean((module(torch.tensor(states, dtype=torch.float32)) - wanted) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return module


def observations(module: torch.nn.Sequential) -> tuple[np.ndarray, list[float]]:
    """What the pupil sees in some episodes, and their returns."""
    environment, kept, returns = gymnasium.make("CartPole-v1"), [], []
    for episode in range(EPISODES):
        seen, _ = environment.reset(seed=1000 + episode)
        met, over = [], False
        while not over:
            met.append(seen)
            with torch.no_grad():
                action = int(module(torch.tensor(seen)[None]).argmax())
            seen, _, ended, cut, _ = environment.step(action)
            over = ended or cut
        returns.append(float(len(met)))
        kept += [met[i] for i in np.linspace(0, len(met) - 1, KEPT).astype(int)]
    environment.close()
    return np.stack(kept).astype(np.float32), returns


def main() -> None:
    """Train, play, write."""
    module = train()
    seen, returns = observations(module)
    layers = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    arrays = {f"W{k}": layer.weight.detach().numpy() for k, layer in enumerate(layers)}
    arrays |= {f"b{k}": layer.bias.detach().numpy() for k, layer in enumerate(layers)}
    np.savez(TARGET, allow_pickle=False, observations=seen, **arrays)
    print(f"{TARGET}: returns {returns}, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
