"""Whether a torch module computes what was read from it; imports torch, so only the torch reader loads it.

What torch draws is seen in the graph. Whatever else Python code does beside its operations is not: numbers drawn
elsewhere, state kept from call to call, and branches taken only while a module is exported enter a graph as constants.
"""

import random
from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate

from admm_verify.errors import ModelError, UnsupportedOperatorError
from admm_verify.network.graph import Network

SCALES = (0.0, 1.0, 10.0)
"""The size of the normally distributed numbers at each of the points that are tried."""

_SINGLE = float(torch.finfo(torch.float32).eps)


def check_function(module: torch.nn.Module, network: Network, sample: torch.Tensor, name: str) -> None:
    """Try a module at a few points: it must repeat its values, which must be those of the network read from it.

    Both are compared up to what the network itself loses by float32, so that neither threads, which add up in another
    order, nor steep functions make a difference.

    Shapes: sample is one input of the module, whose values do not matter.
    Raises: UnsupportedOperatorError where the values differ, or Python's or NumPy's generators were used for them;
    ModelError where the module cannot be run, or returns anything but one tensor.
    """
    generator = torch.Generator(sample.device).manual_seed(0)
    normal = (torch.randn(sample.shape, dtype=sample.dtype, device=sample.device, generator=generator) for _ in SCALES)
    points = [scale * x for scale, x in zip(SCALES, normal, strict=True)]
    with torch.random.fork_rng(devices=[]):
        before = _generators()
        first, second = ([_values(module, x, name) for x in points] for _ in range(2))
        drawn = before != _generators()
    batch = torch.stack([x.reshape(network.input_shape) for x in points])
    narrow, wide = (network(x).reshape(len(points), -1) for x in (batch.float(), batch.double()))
    read = list(narrow if sample.dtype == torch.float32 else wide)
    roundoff = float(torch.finfo(sample.dtype).eps)
    wobble = _largest([narrow.double() - wide]) * roundoff / _SINGLE
    repeats = all(
        _close(y, again, 16 * roundoff * _largest([y]) + 4 * wobble) for y, again in zip(first, second, strict=True)
    )
    if drawn or not repeats:
        raise UnsupportedOperatorError(
            f"{name} gives other values each time it is called with one input, such as by random numbers, so that it "
            "is no function of its input. Take the noise out."
        )
    slack = 1024 * roundoff * _largest(first) + 64 * wobble
    for values, ours in zip(first, read, strict=True):
        if not _close(values, ours, slack):
            raise UnsupportedOperatorError(
                f"{name} gives other values than the operations that torch.export reads from it, so that they do not "
                "tell what it computes. Its Python code keeps state from call to call, or acts on values, on types or "
                "on being exported: write it with tensor operations alone."
            )


def _values(module: torch.nn.Module, x: torch.Tensor, name: str) -> torch.Tensor:
    """The flat output of a module, whose buffers stay as they are."""
    state = {key: value.clone() for key, value in module.named_buffers()}
    try:
        output = torch.func.functional_call(module, state, (x.clone(),))
    except Exception as error:
        # A module's code may raise anything.
        raise ModelError(f"{name} cannot be run on inputs of shape {tuple(x.shape)}: {error}") from error
    found: list[Any] = []
    map_aggregate(output, found.append)
    if len(found) != 1 or not isinstance(found[0], torch.Tensor):
        raise ModelError(f"{name} returns {len(found)} values; modules that return exactly one tensor are read.")
    return found[0].reshape(-1)


def _generators() -> tuple[Any, ...]:
    """The state of the generators that Python and NumPy share between all their callers."""
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    return random.getstate(), numpy["state"]["key"].tobytes(), numpy["state"]["pos"], numpy["has_gauss"]


def _close(first: torch.Tensor, second: torch.Tensor, slack: float) -> bool:
    same = first.shape == second.shape
    return same and torch.allclose(first.double(), second.double(), rtol=0.0, atol=slack, equal_nan=True)


def _largest(values: list[torch.Tensor]) -> float:
    """The largest finite size among some values."""
    return max(float(value.abs().nan_to_num(0.0, 0.0, 0.0).max()) for value in values)
