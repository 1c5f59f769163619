"""Trains the controller of `admm-verify reach`'s embedded system and writes both to the library's data folder.

    python -m problems.train_double_integrator

Plant: a unit mass pushed by a force of at most 1, sampled every second: position + velocity + force / 2, velocity +
force. Teacher: the linear-quadratic regulator u = -K x for the costs below, cut to [-1, 1]; K from the discrete Riccati
equation. Pupil: 2-16-16-1 ReLU network, least squares on random states. Nothing but this file is behind the weights.
"""

import json
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import solve_discrete_are

import admm_verify as av

TARGET = Path(av.__file__).parent / "report" / "data"
NAME = "double_integrator"
A, B = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.5], [1.0]])
STATE_COST, FORCE_COST = np.eye(2), np.array([[1.0]])
REACH = np.array([4.0, 2.0])
"""Training states lie within +-REACH."""
WIDTH, SAMPLES, BATCHES, RATE = 16, 4096, 4000, 3e-3


def teacher(states: np.ndarray) -> np.ndarray:
    """The regulator's force, cut to what the motor can do: [points, 2] -> [points, 1]."""
    cost = solve_discrete_are(A, B, STATE_COST, FORCE_COST)
    gain = np.linalg.solve(FORCE_COST + B.T @ cost @ B, B.T @ cost @ A)
    return np.clip(-states @ gain.T, -1.0, 1.0)


def train() -> torch.nn.Sequential:
    """The pupil."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(2, WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, 1),
    )
    optimiser = torch.optim.Adam(module.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, BATCHES)
    for _ in range(BATCHES):
        states = rng.uniform(-REACH, REACH, (SAMPLES, 2))
        wanted = torch.tensor(teacher(states), dtype=torch.float32)
        loss = torch.mean((module(torch.tensor(states, dtype=torch.float32)) - wanted) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return module


def system() -> dict[str, object]:
    """The system as `admm-verify reach` reads it."""
    return {
        "id": NAME,
        "source": "trained by problems/train_double_integrator.py",
        "state_names": ["position", "velocity"],
        "controller": {
            "npz": f"{NAME}.npz",
            "activations": ["relu", "relu", "linear"],
            "clip": [[-1, 1]],
        },
        "dynamics": {"kind": "discrete_linear", "A": A.tolist(), "B": B.tolist(), "c": [0, 0]},
        "initial_set": {"lower": [2.5, -0.25], "upper": [3.0, 0.25]},
        "control_period": 1,
        "horizon_steps": 6,
        "property": [
            {"kind": "always_in", "box": {"lower": [-1.0, -1.5], "upper": [3.5, 1.0]}},
            {"kind": "never_in", "box": {"lower": [1.0, 0.0], "upper": [2.0, 1.0]}},
            {"kind": "reach_at_end", "box": {"lower": [-0.25, -0.25], "upper": [0.25, 0.25]}},
        ],
    }


def main() -> None:
    """Train and write."""
    module = train()
    layers = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    arrays = {}
    for k, layer in enumerate(layers):
        arrays |= {f"W{k}": layer.weight.detach().numpy(), f"b{k}": layer.bias.detach().numpy()}
    np.savez_compressed(TARGET / f"{NAME}.npz", **arrays)
    (TARGET / f"{NAME}.json").write_text(json.dumps(system(), indent=1) + "\n")
    states = np.random.default_rng(1).uniform(-REACH, REACH, (10_000, 2))
    error = module(torch.tensor(states, dtype=torch.float32)).detach().numpy() - teacher(states)
    print(f"largest error {np.abs(error).max():.3f}, root mean square {np.sqrt(np.mean(error**2)):.4f}")


if __name__ == "__main__":
    main()
