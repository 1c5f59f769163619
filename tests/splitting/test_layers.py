"""Every method on convolutions, residual sums, pooling and curves: close to the reference, whatever the arrays."""

from functools import cache

import numpy as np
import pytest
import torch

import admm_verify as av
from tests.random_networks import random_case

DEVICES = [None, "cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
METHODS = ["ascent", "primal_dual", "admm", "auto"]


class Small(torch.nn.Module):
    """A convolution, a residual block with a pre-activation read twice, max pooling, and a head of curves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.stem = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.inner = torch.nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Linear(16, 6)
        self.last = torch.nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.inner(torch.nn.functional.leaky_relu(self.norm(x), 0.1))
        x = torch.nn.functional.max_pool2d(torch.relu(x), 2)
        return self.last(torch.tanh(self.head(x.flatten(1))))


@cache
def small_layers() -> tuple[av.Network, av.Box]:
    generator = np.random.default_rng(3)
    network = av.trace(Small(), torch.zeros(1, 2, 4, 4))
    return network, av.Box.around(generator.uniform(0, 1, (2, 4, 4)), radius=0.2)


@cache
def solved() -> tuple[av.Problem, av.Solution, av.Solution]:
    """All outputs of the layers from both sides, their bounds after many passes of ascent, and before any."""
    network, box = small_layers()
    problem = av.Problem(network, box, np.vstack([np.eye(3), -np.eye(3)]))
    reference = av.solve(problem, "ascent", settings=av.SolverSettings(tolerance=1e-6, max_passes=2000))
    return problem, reference, av.solve(problem, settings=av.SolverSettings(max_passes=0))


def has_device(device: str | None) -> bool:
    return device != "cuda" or torch.cuda.is_available()


@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_methods_agree_on_layers_of_all_kinds(method: str, device: str | None, precision: str) -> None:
    if not has_device(device):
        pytest.skip("torch finds no CUDA device")
    problem, reference, crown = solved()
    found = av.solve(problem, method, device=device, settings=av.SolverSettings(precision=precision, max_passes=600))
    assert (found.lower <= reference.relaxation_upper).all() and (found.relaxation_upper >= reference.lower).all()
    closed = (found.lower - crown.lower) / np.maximum(reference.lower - crown.lower, 1e-9)
    assert closed.min() >= 0.9


@pytest.mark.parametrize("seed", [694, 764, 1002, 1072])
def test_admm_takes_networks_with_neurons_that_nobody_reads(seed: int) -> None:
    """Elimination drops matrices that are zero; an activation none of which is left must keep its copy."""
    case = random_case(seed)
    problem = av.Problem(case.network, case.box, np.eye(case.network.output_size))
    reference = av.solve(problem, "primal_dual", settings=av.SolverSettings(max_passes=2000))
    found = av.solve(problem, "admm", settings=av.SolverSettings(max_passes=200))
    assert (found.lower <= reference.relaxation_upper).all() and (found.relaxation_upper >= reference.lower).all()
