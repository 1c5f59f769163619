"""Plants written in torch: functions of a state, inputs and noise as networks of all three; imports torch."""

from collections.abc import Callable
from typing import Any

import torch

from admm_verify.errors import InputError
from admm_verify.network.from_torch import trace
from admm_verify.network.graph import Network
from admm_verify.options import Range, count

MOST = 2**24
"""States, inputs and noises of a plant, together."""


def trace_plant(
    step: Callable[..., torch.Tensor], states: int, inputs: int = 0, noises: int = 0, *, element_type: str = "float64"
) -> Network:
    """The network of (x, u, w), one after the other, that gives the next state x+ = step(x, u, w).

    step: a module or function in torch of x, of u where there are inputs, and of w where there is noise.
    element_type: what step is run in; that of a module's parameters, where it has any.

    Shapes: x [batch, states], u [batch, inputs], w [batch, noises] -> [batch, states].
    Raises: InputError for what cannot be called and for counts that are none; ModelError and UnsupportedOperatorError
    as `trace`; InputError for a next state of another size.
    """
    if not callable(step):
        raise InputError(f"The plant is {type(step).__name__}; give a torch.nn.Module or a function of x and u.")
    sizes = [count(states, "The number of states", Range(1))]
    sizes += [count(number, f"The number of {what}") for number, what in ((inputs, "inputs"), (noises, "noises"))]
    if element_type not in ("float32", "float64"):
        raise InputError(f"The element type is {element_type!r}; give 'float32' or 'float64'.")
    if sum(sizes) > MOST:
        raise InputError(
            f"The plant is to have {sum(sizes)} states, inputs and noises; at most {MOST} are read. Give the numbers "
            "of entries of x, u and w."
        )
    network = trace(_OfParts(step, sizes), torch.zeros(1, sum(sizes), dtype=getattr(torch, element_type)))
    if network.output_size != states:
        raise InputError(f"The plant gives {network.output_size} numbers for {states} states; give the next state.")
    return network


class _OfParts(torch.nn.Module):
    """A function of several tensors as one of all, side by side."""

    def __init__(self, step: Callable[..., torch.Tensor], sizes: list[int]) -> None:
        super().__init__()
        # A module is registered here, so that its parameters are found.
        self.step, self.sizes = step, sizes

    def forward(self, z: torch.Tensor) -> Any:
        """What the function gives."""
        return self.step(*(part for part in torch.split(z, self.sizes, dim=1) if part.shape[1]))
