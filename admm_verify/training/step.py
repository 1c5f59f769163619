"""What losses and penalties are given: one batch of a training, with what is found out about it only once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from admm_verify.training.bounds import LayerBounds, TensorBox, interval_bounds
from admm_verify.training.layers import Scales
from admm_verify.training.reading import LayerGraph, read_layers


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """A batch on its way through the loss.

    module: what is trained. images [batch, *input_shape] and labels [batch]. ramp: from 0 to 1 as the training goes on,
    the share of its radius that a loss uses. within: the numbers that pixels may have. generator: all randomness.
    """

    module: nn.Module
    images: Tensor
    labels: Tensor
    ramp: float
    within: tuple[float, float] | None
    generator: torch.Generator
    shared: dict[str, LayerGraph] = field(default_factory=dict)
    """The graph of the module, read once for all steps where somebody asks."""
    _intervals: dict[float, LayerBounds] = field(default_factory=dict)

    @cached_property
    def outputs(self) -> Tensor:
        """The module's outputs at the images, [batch, classes]."""
        # A layer may work in place, and bounds are of the images as they are.
        return self.module(self.images.clone())

    @property
    def graph(self) -> LayerGraph:
        """The layers of the module.

        Raises: UnsupportedOperatorError, ModelError as `read_layers`.
        """
        if "graph" not in self.shared:
            self.shared["graph"] = read_layers(self.module, self.images)
        return self.shared["graph"]

    @cached_property
    def scales(self) -> Mapping[int, Scales]:
        """Those of the batch norms, from the images of this batch where they train, as their running statistics are
        then: by the module's own pass, which no loss that only bounds would make.
        """
        if self.graph.trains_statistics:
            self.outputs.detach()
        return self.graph.scales(self.images)

    def box(self, eps: float) -> TensorBox:
        """Everything within the radius of the images."""
        return TensorBox.around(self.images, eps, self.within)

    def intervals(self, eps: float) -> LayerBounds:
        """Interval bounds of all layers at a radius; whoever asks again gets the same."""
        if eps not in self._intervals:
            self._intervals[eps] = interval_bounds(self.graph, self.box(eps), self.scales)
        return self._intervals[eps]

    @contextmanager
    def evaluated(self) -> Iterator[nn.Module]:
        """The module in evaluation mode, in which a forward pass leaves its statistics alone."""
        modes = [(part, part.training) for part in self.module.modules()]
        self.module.eval()
        try:
            yield self.module
        finally:
            for part, mode in modes:
                part.training = mode


@runtime_checkable
class Loss(Protocol):
    """What a training minimises: a frozen record of its parameters that is called with every batch.

    eps: the radius at which it wants the network robust in the end, 0 where it does not.
    """

    @property
    def eps(self) -> float:
        """The radius."""
        ...

    def __call__(self, step: TrainingStep) -> Tensor:
        """The mean over the batch, a number with gradients."""
        ...


class Penalty(Protocol):
    """What is added to any loss: a frozen record that is called with every batch."""

    def __call__(self, step: TrainingStep) -> Tensor:
        """A number with gradients."""
        ...


class Initialiser(Protocol):
    """What sets the weights before a training begins: a frozen record."""

    def __call__(self, module: nn.Module, generator: torch.Generator) -> None:
        """Change the parameters in place; all randomness from the generator."""
        ...
