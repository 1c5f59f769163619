"""Closed loop of a double integrator and a neural controller, all steps as one network.

Source: nfl_veripy (MIT licence), models/DoubleIntegrator/default: a 2-10-5-1 ReLU controller pi with
x+ = A x + B clip(pi(x), -1, 1), started in [2.5, 3] x [-0.25, 0.25]; the standard example of the papers on reachable
sets of neural feedback loops. After 6 steps the exact box of the reachable set (mixed-integer program) has the area
0.00057; boxing every step with CROWN gives 26.75.
"""

from dataclasses import dataclass

import numpy as np

import admm_verify as av
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from problems.lp_instances import shared_folder

EXACT_AREA = 0.00057
"""Area of the smallest box around the states after 6 steps, to two digits."""


@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """x+ = state x + control clip(pi(x), low, high), the controller pi a chain of dense layers and ReLUs.

    Shapes: state [n, n]; control [n, m]; low, high [m]; weights[k] [n_{k+1}, n_k]; biases[k] [n_{k+1}]; start the box
    of the first states, [n].
    """

    state: np.ndarray
    control: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    start: av.Box

    def unrolled(self, steps: int) -> av.Network:
        """The state after so many steps as a network of the first state."""
        builder = Builder((len(self.state),), "float64")
        x = builder.input
        for _ in range(steps):
            u = x
            for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                u = Tensor(builder.affine(u, DenseMap(weight), bias), (len(bias),))
                if k < len(self.weights) - 1:
                    u = builder.activation("relu", u)
            u = builder.activation("clip", u, self.low, self.high)
            moved, pushed = (
                Tensor(builder.affine(value, DenseMap(part)), x.shape)
                for value, part in ((x, self.state), (u, self.control))
            )
            x = builder.add(moved, pushed)
        return builder.finish(x, f"double integrator, {steps} steps")

    def simulate(self, x: np.ndarray, steps: int) -> np.ndarray:
        """The states [points, n] after so many steps from x [points, n]."""
        for _ in range(steps):
            u = x
            for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                u = u @ weight.T + bias
                u = np.maximum(u, 0.0) if k < len(self.weights) - 1 else u
            x = x @ self.state.T + np.clip(u, self.low, self.high) @ self.control.T
        return x


def double_integrator() -> ClosedLoop:
    """The closed loop.

    Raises: FileNotFoundError, naming the environment variable, where the shared data set is missing.
    """
    with np.load(shared_folder() / "baselines" / "reach" / "double_integrator.npz") as arrays:
        data = {name: np.asarray(arrays[name], dtype=np.float64) for name in arrays}
    if data["c"].any():
        raise ValueError("The dynamics have a constant term, which is not modelled.")
    layers = sum(name.startswith("W") for name in data)
    return ClosedLoop(
        state=data["A"],
        control=data["B"],
        low=data["umin"],
        high=data["umax"],
        weights=tuple(data[f"W{k}"] for k in range(layers)),
        biases=tuple(data[f"b{k}"] for k in range(layers)),
        start=av.Box(data["x0"][:, 0], data["x0"][:, 1]),
    )
