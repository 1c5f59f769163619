"""Trains the controllers of three plants in discrete time, and writes the systems to `problems/data`.

    python -m problems.train_plants

- Pendulum: upright, pushed by a torque, by Euler's method in steps of 0.05 s.
- Bilinear: an input that multiplies the states, x+ = A x + (b + N x) u.
- Cart-pole: the equations of Barto, Sutton and Anderson (IEEE Transactions on Systems, Man, and Cybernetics 13, 1983),
  by Euler's method in steps of 0.02 s.

Teacher: the linear-quadratic regulator of the plant around the origin, its inputs cut to limits. Pupil: ReLU network
with two hidden layers of 16, least squares on random states. Nothing but this file is behind the weights.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import solve_discrete_are

import admm_verify as av
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import evaluate

TARGET = Path(__file__).parent / "data"
WIDTH, SAMPLES, BATCHES, RATE = 16, 512, 1500, 5e-3
_PUSH = 1e-6


@dataclass(frozen=True, eq=False)
class PlantProblem:
    """A plant with one input, where it starts, and what its states cost.

    limit: of the input. reach: half the sides of the box of training states.
    """

    name: str
    dynamics: dict[str, Any]
    names: tuple[str, ...]
    first: tuple[tuple[float, ...], tuple[float, ...]]
    steps: int
    period: float
    costs: tuple[float, ...]
    limit: float
    reach: tuple[float, ...]
    requirements: tuple[dict[str, Any], ...]

    @property
    def plant(self) -> av.Plant:
        """Its equations."""
        own = self.dynamics
        return av.Plant.read(own["equations"], 1, own.get("params", {}), own.get("let", ()))

    @property
    def gain(self) -> np.ndarray:
        """The regulator's, [1, n]."""
        columns = [(self._next(end) - self._next(-end)) / (2.0 * _PUSH) for end in _PUSH * np.eye(len(self.names) + 1)]
        a, b = np.stack(columns[:-1], axis=1), columns[-1][:, None]
        cost = solve_discrete_are(a, b, np.diag(self.costs), np.eye(1))
        return np.linalg.solve(np.eye(1) + b.T @ cost @ b, b.T @ cost @ a)

    def teacher(self, states: np.ndarray) -> np.ndarray:
        """[points, n] -> [points, 1]."""
        return np.clip(-states @ self.gain.T, -self.limit, self.limit)

    def _next(self, point: np.ndarray) -> np.ndarray:
        values = self.plant.values(list(point[:-1]), list(point[-1:]))
        return np.array(evaluate(self.plant.rates, values, FLOATS), dtype=float)


def pendulum() -> PlantProblem:
    """From 0.7 to 0.8 rad beside the upright position, back to within 0.1 rad after 2 s."""
    return PlantProblem(
        "pendulum",
        {
            "kind": "discrete",
            "equations": ["x1 + h*x2", "x2 + h*(g/l*sin(x1) - c*x2 + u1/(m*l**2))"],
            "params": {"h": 0.05, "g": 9.81, "l": 1.0, "c": 0.1, "m": 0.5},
        },
        ("angle", "rate"),
        ((0.7, -0.1), (0.8, 0.1)),
        40,
        0.05,
        (10.0, 1.0),
        8.0,
        (1.2, 4.0),
        (
            {"kind": "always_in", "box": {"lower": [-0.3, None], "upper": [0.9, None]}},
            {"kind": "reach_at_end", "box": {"lower": [-0.1, -0.5], "upper": [0.1, 0.5]}},
        ),
    )


def bilinear() -> PlantProblem:
    """Two coupled states whose input acts through them; the product of both stays below a limit."""
    return PlantProblem(
        "bilinear",
        {"kind": "discrete", "equations": ["x1 + 0.1*x2 + 0.1*x1*u1", "x2 - 0.1*x1 + 0.1*(1 + 0.5*x2)*u1"]},
        ("p", "q"),
        ((0.8, 0.4), (1.0, 0.6)),
        30,
        1.0,
        (1.0, 1.0),
        2.0,
        (1.5, 1.5),
        ({"kind": "always_in", "box": {"lower": [-1.0, -1.5], "upper": [1.2, 1.0]}},),
    )


def cartpole() -> PlantProblem:
    """A pole on a cart, leaning by some 0.1 rad, kept from falling."""
    return PlantProblem(
        "cartpole",
        {
            "kind": "discrete",
            "equations": ["x1 + h*x2", "x2 + h*(push - m*l*turn*cos(x3)/mass)", "x3 + h*x4", "x4 + h*turn"],
            "params": {"h": 0.02, "g": 9.8, "l": 0.5, "m": 0.1, "mass": 1.1},
            "let": [
                ["push", "(u1 + m*l*x4**2*sin(x3))/mass"],
                ["turn", "(g*sin(x3) - cos(x3)*push)/(l*(4/3 - m*cos(x3)**2/mass))"],
            ],
        },
        ("position", "velocity", "angle", "rate"),
        ((-0.1, -0.05, 0.08, -0.05), (0.1, 0.05, 0.12, 0.05)),
        50,
        0.02,
        (1.0, 1.0, 20.0, 1.0),
        10.0,
        (1.0, 1.5, 0.4, 1.5),
        ({"kind": "always_in", "box": {"lower": [-2.4, None, -0.2, None], "upper": [2.4, None, 0.2, None]}},),
    )


PROBLEMS = pendulum, bilinear, cartpole


def train(problem: PlantProblem, seed: int = 0) -> list[torch.nn.Linear]:
    """The pupil's layers."""
    torch.manual_seed(seed)
    rng, sizes = np.random.default_rng(seed), (len(problem.names), WIDTH, WIDTH, 1)
    layers = [torch.nn.Linear(*pair) for pair in pairwise(sizes)]
    module = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimiser = torch.optim.Adam(module.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, BATCHES)
    for _ in range(BATCHES):
        states = rng.uniform(-1, 1, (SAMPLES, sizes[0])) * problem.reach
        wanted = torch.tensor(problem.teacher(states), dtype=torch.float32)
        loss = torch.mean((module(torch.tensor(states, dtype=torch.float32)) - wanted) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return layers


def system(problem: PlantProblem) -> dict[str, Any]:
    """The system as `admm-verify reach` reads it."""
    return {
        "id": problem.name,
        "source": "trained by problems/train_plants.py",
        "state_names": list(problem.names),
        "controller": {
            "npz": f"{problem.name}.npz",
            "activations": ["relu", "relu", "linear"],
            "clip": [[-problem.limit, problem.limit]],
        },
        "dynamics": problem.dynamics,
        "initial_set": {"lower": list(problem.first[0]), "upper": list(problem.first[1])},
        "control_period": problem.period,
        "horizon_steps": problem.steps,
        "property": list(problem.requirements),
    }


def write(problem: PlantProblem, folder: Path, seed: int = 0) -> Path:
    """Train and write the system's two files; the path of the JSON one."""
    arrays = {}
    for k, layer in enumerate(train(problem, seed)):
        arrays |= {f"W{k}": layer.weight.detach().numpy(), f"b{k}": layer.bias.detach().numpy()}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{problem.name}.npz", **arrays)
    path = folder / f"{problem.name}.json"
    path.write_text(json.dumps(system(problem), indent=1) + "\n")
    return path


def main() -> None:
    """All three."""
    for problem in PROBLEMS:
        print(write(problem(), TARGET))


if __name__ == "__main__":
    main()
