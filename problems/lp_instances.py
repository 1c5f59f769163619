"""Triangle relaxations with known optima: the MNIST network of DeepSplit, 9 rows (true minus other class) each.

Source: ShaoruChen/DeepSplit, examples/mnist/mnist_fc.pth; MNIST test images 0..4. The input box is not cut with
[0, 1]. Optima: HiGHS 1.15.1, interior point with crossover, equal to an independent dual certificate to 1e-13.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.network.layers import network_from_layers

VARIABLE = "ADMM_VERIFY_SHARED"
"""Environment variable with the folder of the shared data set."""


@dataclass(frozen=True, eq=False)
class LpInstance:
    """Rows min objective f(x) over a box, relaxed with given pre-activation bounds, and the exact optimum.

    kind: "kw" for Fast-Lin bounds, "ibp" for interval ones.

    Shapes: lower, upper [*input_shape]; preactivation one pair ([n_k], [n_k]) per activation; objective
    [rows, outputs]; lp_optimum [rows].
    """

    name: str
    eps: float
    kind: str
    network: av.Network
    lower: np.ndarray
    upper: np.ndarray
    preactivation: tuple[tuple[np.ndarray, np.ndarray], ...]
    objective: np.ndarray
    lp_optimum: np.ndarray

    def problem(self) -> av.Problem:
        """The instance as a problem to solve."""
        bounds = av.PreactivationBounds.from_arrays(self.network, self.preactivation)
        return av.Problem(self.network, av.Box(self.lower, self.upper), self.objective, preactivation=bounds)


def shared_folder() -> Path:
    """The folder of the shared data set: ADMM_VERIFY_SHARED, else `shared` next to the repository.

    Raises: FileNotFoundError where it is missing.
    """
    given = os.environ.get(VARIABLE)
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The shared data set is not at {folder}; set the environment variable {VARIABLE} to its folder."
        )
    return folder


def mnist_fc_instances() -> tuple[LpInstance, ...]:
    """The 30 instances: 5 images, 3 radii, 2 kinds of pre-activation bounds.

    Raises: FileNotFoundError, naming the environment variable, where the shared data set is missing.
    """
    root = shared_folder()
    folder = root / "baselines" / "mnist_fc_lp"
    network = _mnist_fc(root)
    entries = json.loads((folder / "baseline.json").read_text(encoding="utf-8"))["instances"]
    return tuple(_instance(folder, entry, network) for entry in entries)


@cache
def _mnist_fc(root: Path) -> av.Network:
    with np.load(root / "data" / "classifiers" / "mnist_fc_deepsplit" / "weights.npz") as arrays:
        weights = [arrays[f"{k}.weight"] for k in (1, 3, 5, 7, 9)]
        biases = [arrays[f"{k}.bias"] for k in (1, 3, 5, 7, 9)]
    return replace(network_from_layers(weights, biases, "mnist_fc"), input_shape=(1, 28, 28))


def _instance(folder: Path, entry: Mapping[str, Any], network: av.Network) -> LpInstance:
    with np.load(folder / entry["npz"]) as arrays:
        return LpInstance(
            name=f"mnist_fc image {entry['image']} eps {entry['eps']} {entry['bounds']}",
            eps=entry["eps"],
            kind=entry["bounds"],
            network=network,
            lower=arrays["l0"].reshape(network.input_shape),
            upper=arrays["u0"].reshape(network.input_shape),
            preactivation=tuple((arrays[f"lb{k}"], arrays[f"ub{k}"]) for k in range(4)),
            objective=arrays["C"],
            lp_optimum=np.asarray(entry["lp_optimum"]),
        )
