"""Trains the controllers of two vehicles that steer round an obstacle, and writes the systems to `problems/data`.

    python -m problems.train_avoidance

Vehicles: a robot in the plane (4 states) and a flying one (6 states), position and velocity, pushed by a bounded
acceleration, sampled with a period. Expert: the velocity of an ideal fluid round a disc, which is followed in
proportion; the disc lies beside the obstacle's middle, so that all ways from the start pass on one side. Pupil: ReLU
network with two hidden layers of 20, least squares on random states along the way. Nothing but this file is behind the
weights.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

TARGET = Path(__file__).parent / "data"
WIDTH, SAMPLES, BATCHES, RATE = 20, 2048, 3000, 4e-3
LIMIT = 4.0
"""Of every acceleration."""
CLIMB = 0.3
"""Of the flying vehicle: its largest vertical speed is some 0.4 of this times the disc's radius."""


@dataclass(frozen=True, eq=False)
class Vehicle:
    """Where it starts, what it flies round, and how it is sampled.

    disc: the middle of the disc that the fluid flows round, of this radius. first: the initial box's middle and
    half-width. period and steps: of control.
    """

    name: str
    disc: tuple[float, float]
    radius: float
    first: tuple[np.ndarray, np.ndarray]
    obstacle: tuple[np.ndarray, np.ndarray]
    period: float
    steps: int

    @property
    def axes(self) -> int:
        """Dimensions of space."""
        return len(self.first[0]) // 2

    @property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """a and b of x+ = a x + b u for masses under constant acceleration in every period."""
        unit, none = np.eye(self.axes), np.zeros((self.axes, self.axes))
        a = np.block([[unit, self.period * unit], [none, unit]])
        return a, np.concatenate([0.5 * self.period**2 * unit, self.period * unit])

    def expert(self, states: np.ndarray) -> np.ndarray:
        """Acceleration towards the fluid's velocity: [points, 2 axes] -> [points, axes].

        In the plane of the first two axes, the potential flow of speed 1 round a disc, inside as on its edge; along the
        third one, up before the disc and down behind it.
        """
        offset = states[:, :2] - np.array(self.disc)
        distance = np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-9)
        along, stream = offset / distance, np.array([1.0, 0.0])
        share = np.minimum(self.radius / distance, 1.0) ** 2
        velocity = stream + share * (stream - 2.0 * along[:, :1] * along)
        climb = -CLIMB * offset[:, :1] * np.exp(-((offset[:, :1] / self.radius) ** 2))
        velocity = np.concatenate([velocity, np.repeat(climb, self.axes - 2, axis=1)], axis=1)
        rate = min(1.0 / self.period, 2.0)
        return np.clip(rate * (velocity - states[:, self.axes :]), -LIMIT, LIMIT)

    def drawn(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Random states along the way."""
        low, high = -4.0 * np.ones(self.axes), 4.0 * np.ones(self.axes)
        low[0], high[0] = -7.0, 7.0
        positions = rng.uniform(low, high, (count, self.axes)) + self.first[0][: self.axes] * (np.arange(self.axes) > 0)
        return np.concatenate([positions, rng.uniform(-1.5, 1.5, (count, self.axes))], axis=1)


def robot(period: float = 0.25, steps: int = 44, shift: float = 0.0, size: float = 1.0) -> Vehicle:
    """The robot in the plane. shift: of the obstacle; size: of the initial box, as a factor."""
    return Vehicle(
        "avoid_robot",
        (shift, -1.0 + shift),
        2.3,
        (np.array([-5.0, 0.0, 0.95, 0.0]), size * np.array([0.25, 0.25, 0.01, 0.01])),
        (np.array([-1.0, -1.0]) + shift, np.array([1.0, 1.0]) + shift),
        period,
        steps,
    )


def flyer(period: float = 0.25, steps: int = 44, shift: float = 0.0, size: float = 1.0) -> Vehicle:
    """The flying one; arguments as the robot's."""
    return Vehicle(
        "avoid_flyer",
        (shift, -1.0 + shift),
        2.3,
        (np.array([-5.0, 0.0, 2.5, 0.95, 0.0, 0.0]), size * np.array([0.25, 0.25, 0.25, 0.01, 0.01, 0.01])),
        (np.array([-1.0, -1.0, 1.5]) + shift, np.array([1.0, 1.0, 3.5]) + shift),
        period,
        steps,
    )


def train(vehicle: Vehicle, seed: int = 0) -> torch.nn.Sequential:
    """The pupil."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    module = torch.nn.Sequential(
        torch.nn.Linear(2 * vehicle.axes, WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, vehicle.axes),
    )
    optimiser = torch.optim.Adam(module.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, BATCHES)
    for _ in range(BATCHES):
        states = vehicle.drawn(rng, SAMPLES)
        wanted = torch.tensor(vehicle.expert(states), dtype=torch.float32)
        loss = torch.mean((module(torch.tensor(states, dtype=torch.float32)) - wanted) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return module


def system(vehicle: Vehicle) -> dict[str, Any]:
    """The system as `admm-verify reach` reads it."""
    (a, b), (middle, half) = vehicle.matrices, vehicle.first
    anything: list[float | None] = [None] * vehicle.axes
    return {
        "id": vehicle.name,
        "source": "trained by problems/train_avoidance.py",
        "state_names": [*"xyz"[: vehicle.axes], *("v" + axis for axis in "xyz"[: vehicle.axes])],
        "controller": {
            "npz": f"{vehicle.name}.npz",
            "activations": ["relu", "relu", "linear"],
            "clip": [[-LIMIT, LIMIT]] * vehicle.axes,
        },
        "dynamics": {"kind": "discrete_linear", "A": a.tolist(), "B": b.tolist(), "c": [0] * len(a)},
        "initial_set": {"lower": (middle - half).tolist(), "upper": (middle + half).tolist()},
        "control_period": vehicle.period,
        "horizon_steps": vehicle.steps,
        "property": [
            {
                "kind": "never_in",
                "box": {"lower": [*vehicle.obstacle[0], *anything], "upper": [*vehicle.obstacle[1], *anything]},
            },
            {"kind": "reach_at_end", "box": {"lower": [3.0, *anything[1:], *anything], "upper": [None] * len(a)}},
        ],
    }


def write(vehicle: Vehicle, folder: Path, seed: int = 0) -> Path:
    """Train and write the system's two files; the path of the JSON one."""
    layers = [layer for layer in train(vehicle, seed) if isinstance(layer, torch.nn.Linear)]
    arrays = {}
    for k, layer in enumerate(layers):
        arrays |= {f"W{k}": layer.weight.detach().numpy(), f"b{k}": layer.bias.detach().numpy()}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{vehicle.name}.npz", **arrays)
    path = folder / f"{vehicle.name}.json"
    path.write_text(json.dumps(system(vehicle), indent=1) + "\n")
    return path


def main() -> None:
    """Both vehicles."""
    for vehicle in (robot(), flyer()):
        print(write(vehicle, TARGET))


if __name__ == "__main__":
    main()
