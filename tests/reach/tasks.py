"""System files as `read_task` takes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

PENDULUM: dict[str, Any] = {
    "id": "pendulum",
    "controller": {"npz": "net.npz", "activations": ["tanh", "linear"], "output_scale": 0.5},
    "dynamics": {"kind": "continuous", "equations": ["x2", "g*sin(x1) - d*x2 + u1"], "params": {"g": -1.0, "d": 0.4}},
    "initial_set": {"lower": [0.3, -0.1], "upper": [0.4, 0.1]},
    "control_period": 0.1,
    "horizon_steps": 10,
    "property": [{"kind": "always_in", "box": {"lower": [-0.5, None], "upper": [0.6, None]}}],
}
INTEGRATOR: dict[str, Any] = {
    "id": "integrator",
    "controller": {"npz": "net.npz", "activations": ["relu", "linear"], "clip": [[-1, 1]]},
    "dynamics": {"kind": "discrete_linear", "A": [[1, 1], [0, 1]], "B": [[0.5], [1.0]]},
    "initial_set": {"lower": [0.3, -0.1], "upper": [0.4, 0.1]},
    "horizon_steps": 4,
    "property": [{"kind": "always_in", "box": {"lower": [-9, -9], "upper": [9, 9]}}],
}


def write(folder: Path, data: dict[str, Any]) -> Path:
    """The file of a system, beside a small controller that pulls to the origin."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 2))
    arrays = {"W0": weight, "b0": np.zeros(6), "W1": -0.15 * weight.sum(axis=1)[None], "b1": np.zeros(1)}
    np.savez(folder / "net.npz", **arrays)
    path = folder / "system.json"
    path.write_text(json.dumps(data))
    return path
