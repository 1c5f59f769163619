"""Systems with neural networks in feedback, and what is known of their reachable sets.

- Double integrator: the 2-10-5-1 ReLU controller of nfl_veripy (MIT licence, models/DoubleIntegrator/default), force
  cut to [-1, 1], from [2.5, 3] x [-0.25, 0.25]. After 6 steps the smallest box (mixed-integer program) has area
  0.00057; boxing every step with CROWN, the cut as two ReLUs, gives 26.75 (nfl_veripy measures the same).
- FitzHugh-Nagumo: x+ = f(x), a 2-w-w-2 ReLU network published with DeepSplit, from [-1, 1]^2, 5 steps. The largest x1
  is 2.284 for w = 100; the relaxation with tightened layers gives 100.83 (Gurobi, 81 s) and 1900.0 for w = 400.
- The systems of the folder data/reach of the shared data set: ARCH-COMP 2024, nfl_veripy and ReachLipBnB; provenance in
  their spec.json.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from problems.lp_instances import shared_folder

EXACT_AREA = 0.00057
PER_STEP_AREA = 26.749719680561807
"""Areas of the double integrator's box after 6 steps: the smallest one, and boxing every step with plain CROWN."""

FITZHUGH_LP = {100: 100.83, 400: 1900.0}
"""Optimum of the relaxation for the largest x1 after 5 steps."""

FITZHUGH_TRUE = {100: 2.284, 400: 2.30}

SHARED = (
    "acc",
    "cartpole",
    "double_integrator_nfl",
    "double_integrator_reachlipbnb",
    "double_pendulum_less_robust",
    "double_pendulum_more_robust",
    "ground_robot_buggy",
    "nav_point",
    "nav_set",
    "quadrotor_nfl",
    "quadrotor_reachlipbnb",
    "single_pendulum",
    "tora_relu",
    "unicycle",
)
"""Names of the shared systems."""


def double_integrator() -> av.Task:
    """Six steps of the double integrator.

    Raises: FileNotFoundError, naming the environment variable, where the shared data set is missing; alike below.
    """
    data = _arrays("double_integrator")
    limits = data["umin"], data["umax"]
    controller = av.Controller(
        network_from_layers(*_layers(data)), np.eye(2), np.zeros(2), np.ones(1), np.zeros(1), limits
    )
    system = av.LinearSystem(controller, data["A"], data["B"], data["c"])
    return av.Task("double integrator", system, _box(data), 6, names=("position", "velocity"))


def relu_limits(task: av.Task) -> av.Task:
    """The double integrator with clip(u, -1, 1) = 1 - relu(2 - relu(u + 1)), whose relaxation is looser."""
    data, system = _arrays("double_integrator"), task.system
    assert isinstance(system, av.LinearSystem), "That is what `double_integrator` gives"
    weights, biases = _layers(data)
    turn = np.array([[-1.0]])
    network = network_from_layers(
        [*weights, turn, turn], [*biases[:-1], biases[-1] + 1.0, np.array([2.0]), np.array([1.0])]
    )
    controller = replace(system.controller, network=network, limits=None)
    return replace(task, name=f"{task.name}, limits as ReLUs", system=replace(system, controller=controller))


def fitzhugh_nagumo(width: int) -> av.Task:
    """Five steps of the FitzHugh-Nagumo network with two hidden layers of 100 or 400 neurons."""
    data = _arrays(f"fhn_{width}")
    system = av.NetworkSystem(network_from_layers(*_layers(data)))
    return av.Task(f"FitzHugh-Nagumo {width}", system, _box(data), 5, names=("voltage", "recovery"))


def shared_task(name: str) -> av.Task:
    """One of the shared systems."""
    return av.read_task(shared_folder() / "data" / "reach" / name / "spec.json")


def noisy(task: av.Task, process: float, sensor: float) -> av.Task:
    """A system in discrete time with noise in every state and every sensor, of at most these sizes."""
    system = task.system
    if not isinstance(system, av.LinearSystem):
        raise ValueError(f"{task.name} has no room for noise.")
    states, sensors = system.states, system.controller.network.input_size
    controller = replace(system.controller, noise=_ball(sensors, sensor))
    changed = replace(system, controller=controller, e=np.eye(states), noise=_ball(states, process))
    return replace(task, name=f"{task.name}, noisy", system=changed, sampled=None)


def _ball(size: int, radius: float) -> av.Box:
    return av.Box(np.full(size, -radius), np.full(size, radius))


def _arrays(name: str) -> dict[str, np.ndarray]:
    path: Path = shared_folder() / "baselines" / "reach" / f"{name}.npz"
    with np.load(path) as arrays:
        return {key: np.asarray(arrays[key], dtype=np.float64) for key in arrays}


def _layers(data: dict[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    count = sum(name.startswith("W") for name in data)
    return [data[f"W{k}"] for k in range(count)], [data[f"b{k}"] for k in range(count)]


def _box(data: dict[str, np.ndarray]) -> av.Box:
    return av.Box(data["x0"][:, 0].copy(), data["x0"][:, 1].copy())
