"""Random graphs of all kinds of activations, traced from torch and read from ONNX, compute what these compute."""

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from tests.graph_values import computed
from tests.network.graph_models import ProgramModule, written
from tests.network.onnx_models import runtime
from tests.random_graphs import KINDS, Program, random_program
from tests.reference.graph_truth import points_of

JUMPS = {"ceil": 0.0, "floor": 0.0, "heaviside": 0.0, "round": 0.5, "sign": 0.0}
"""Where functions jump, up to whole numbers."""


def settled(program: Program, x: np.ndarray, apart: float) -> np.ndarray:
    """Which inputs keep what jumps away from its jumps, [points]."""
    values, kept = computed(program, torch.as_tensor(x)), np.ones(len(x), dtype=bool)
    for step in program.steps:
        if step.operation in JUMPS:
            shifted = values[step.sources[0]].numpy() - JUMPS[step.operation]
            kept &= (np.abs(shifted - np.rint(shifted)) > apart).all(axis=1)
    return kept


def reach(program: Program, x: np.ndarray) -> float:
    """The largest number that the program computes at inputs."""
    return max(float(value.abs().max()) for value in computed(program, torch.as_tensor(x)))


def check_torch(seed: int) -> None:
    program = random_program(seed)
    if any(step.operation == "tan" for step in program.steps):
        # The points at which a module is tried may lie at a pole, where no digit is certain.
        return
    x = points_of(program, 50, seed)
    network = av.trace(ProgramModule(program), torch.as_tensor(x[:1]))
    x = x[settled(program, x, 1e-9)]
    if not len(x):
        return
    expected = computed(program, torch.as_tensor(x))[-1].numpy()
    for found in (network(x), network.evaluate(x)[-1], program.network()(x)):
        assert np.abs(found - expected).max(initial=0) <= 1e-11 * (1.0 + reach(program, x)), program.label


def check_onnx(seed: int) -> None:
    program = random_program(seed)
    data = written(program)
    network = network_from_bytes(data, program.label)
    x = points_of(program, 20, seed).astype(np.float32)
    x = x[settled(program, x.astype(np.float64), 1e-4)]
    for one in x:
        expected = runtime(data, one[None]).reshape(-1)
        size = 1.0 + reach(program, one[None].astype(np.float64))
        for found in (
            network(one),
            network(one.astype(np.float64)),
            network.evaluate(one[None].astype(np.float64))[-1],
        ):
            assert np.abs(found.reshape(-1) - expected).max() <= 1e-5 * size, program.label


def test_traced_graphs_compute_what_torch_computes() -> None:
    for seed in range(0, len(KINDS), 3):
        check_torch(seed)


def test_read_graphs_compute_what_onnxruntime_computes() -> None:
    for seed in range(1, len(KINDS), 3):
        check_onnx(seed)


@pytest.mark.slow
def test_many_graphs_compute_what_others_compute() -> None:
    for seed in range(3000, 3040):
        check_torch(seed)
        check_onnx(seed)
