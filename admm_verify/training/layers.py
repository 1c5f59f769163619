"""Layers of a module as bounds need them: what they do to a point, to a radius, and to a functional on the way back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Scales:
    """A factor and a shift for every entry, or one that broadcasts: y = factor x + shift."""

    factor: Tensor
    shift: Tensor


class LinearStep:
    """y = W x + b of one source, by the parameters that its module has at the moment.

    Shapes: x [batch, *inputs], y [batch, *outputs].
    """

    def apply(self, x: Tensor, scales: Scales | None) -> Tensor:
        """W x + b."""
        raise NotImplementedError

    def spread(self, radius: Tensor, scales: Scales | None) -> Tensor:
        """|W| r for r >= 0."""
        raise NotImplementedError

    def transpose(self, coefficient: Tensor, inputs: Shape, scales: Scales | None) -> Tensor:
        """W' c, back to the shape of the inputs."""
        raise NotImplementedError

    def shift(self, coefficient: Tensor, scales: Scales | None) -> Tensor | float:
        """c' b, a number for every functional."""
        return 0.0


@dataclass(frozen=True)
class DenseStep(LinearStep):
    """A linear layer."""

    module: nn.Linear

    def apply(self, x: Tensor, scales: Scales | None) -> Tensor:
        return functional.linear(x, self.module.weight, self.module.bias)

    def spread(self, radius: Tensor, scales: Scales | None) -> Tensor:
        return functional.linear(radius, self.module.weight.abs())

    def transpose(self, coefficient: Tensor, inputs: Shape, scales: Scales | None) -> Tensor:
        return coefficient @ self.module.weight

    def shift(self, coefficient: Tensor, scales: Scales | None) -> Tensor | float:
        return 0.0 if self.module.bias is None else (coefficient * self.module.bias).flatten(1).sum(-1)


@dataclass(frozen=True)
class ConvolutionStep(LinearStep):
    """A convolution along one or two axes, of any stride, dilation, groups and padding."""

    module: nn.Conv1d | nn.Conv2d

    def apply(self, x: Tensor, scales: Scales | None) -> Tensor:
        return self._convolved(x, self.module.weight, self.module.bias)

    def spread(self, radius: Tensor, scales: Scales | None) -> Tensor:
        return self._convolved(radius, self.module.weight.abs(), None)

    def transpose(self, coefficient: Tensor, inputs: Shape, scales: Scales | None) -> Tensor:
        if self.module.padding_mode != "zeros" or isinstance(self.module.padding, str):
            return pulled(lambda x: self._convolved(x, self.module.weight, None), coefficient, inputs)
        module, axes = self.module, range(len(self.module.kernel_size))
        weight, dilation = module.weight, module.dilation
        reached = [
            (coefficient.shape[2 + i] - 1) * module.stride[i]
            - 2 * int(module.padding[i])
            + dilation[i] * (module.kernel_size[i] - 1)
            + 1
            for i in axes
        ]
        rest = tuple(inputs[1 + i] - reached[i] for i in axes)
        back: Any = functional.conv_transpose1d if len(rest) == 1 else functional.conv_transpose2d
        return back(coefficient, weight, None, module.stride, module.padding, rest, module.groups, dilation)

    def shift(self, coefficient: Tensor, scales: Scales | None) -> Tensor | float:
        if self.module.bias is None:
            return 0.0
        return coefficient.flatten(2).sum(-1) @ self.module.bias

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # The module's own: it knows of paddings that are no zeros.
        return self.module._conv_forward(x, weight, bias)


@dataclass(frozen=True)
class MeanStep(LinearStep):
    """A pooling by means, which has no bias and no negative weight."""

    module: nn.Module

    def apply(self, x: Tensor, scales: Scales | None) -> Tensor:
        return self.module(x)

    def spread(self, radius: Tensor, scales: Scales | None) -> Tensor:
        return self.module(radius)

    def transpose(self, coefficient: Tensor, inputs: Shape, scales: Scales | None) -> Tensor:
        return pulled(self.module, coefficient, inputs)


@dataclass(frozen=True)
class ReshapeStep(LinearStep):
    """Entries in another shape."""

    outputs: Shape

    def apply(self, x: Tensor, scales: Scales | None) -> Tensor:
        return x.reshape(len(x), *self.outputs)

    def spread(self, radius: Tensor, scales: Scales | None) -> Tensor:
        return radius.reshape(len(radius), *self.outputs)

    def transpose(self, coefficient: Tensor, inputs: Shape, scales: Scales | None) -> Tensor:
        return coefficient.reshape(len(coefficient), *inputs)


@dataclass(frozen=True)
class ScaleStep(LinearStep):
    """A factor and a shift, fixed ones or those of a batch norm.

    A batch norm that is evaluated has its running statistics; one that trains those of the clean batch, whatever is
    bounded: intervals, and attacked images, are then normalised as the images they belong to.
    """

    module: nn.BatchNorm1d | nn.BatchNorm2d | None
    fixed: Scales | None = None

    def scales(self, x: Tensor | None) -> Scales:
        """What is multiplied by and added, given clean values of the source where the layer trains."""
        if self.module is None:
            assert self.fixed is not None, "Either a module or its scales"
            return self.fixed
        module = self.module
        mean, variance = module.running_mean, module.running_var
        if module.training or mean is None or variance is None:
            assert x is not None, "A batch norm that trains is bounded beside clean values"
            axes = [i for i in range(x.ndim) if i != 1]
            mean, variance = x.mean(axes), x.var(axes, correction=0)
        factor = torch.rsqrt(variance + module.eps)
        if module.weight is not None:
            factor = factor * module.weight
        shift = -mean * factor
        if module.bias is not None:
            shift = shift + module.bias
        return Scales(factor, shift)

    def apply(self, x: Tensor, scales: Scales | None) -> Tensor:
        held = _given(scales)
        return x * self._wide(held.factor, x) + self._wide(held.shift, x)

    def spread(self, radius: Tensor, scales: Scales | None) -> Tensor:
        return radius * self._wide(_given(scales).factor.abs(), radius)

    def transpose(self, coefficient: Tensor, inputs: Shape, scales: Scales | None) -> Tensor:
        return coefficient * self._wide(_given(scales).factor, coefficient)

    def shift(self, coefficient: Tensor, scales: Scales | None) -> Tensor | float:
        return (coefficient * self._wide(_given(scales).shift, coefficient)).flatten(1).sum(-1)

    def _wide(self, numbers: Tensor, x: Tensor) -> Tensor:
        """The numbers of channels along axis 1; fixed ones broadcast as they are."""
        return numbers if self.module is None else numbers.reshape(1, -1, *(1 for _ in x.shape[2:]))


def _given(scales: Scales | None) -> Scales:
    assert scales is not None, "Scales are made before a pass"
    return scales


def pulled(function: Callable[[Tensor], Tensor], coefficient: Tensor, inputs: Shape) -> Tensor:
    """W' c of a linear function x -> W x, as torch differentiates it; gradients go on through c and the weights."""
    with torch.enable_grad():
        x = coefficient.new_zeros((len(coefficient), *inputs)).requires_grad_()
        (found,) = torch.autograd.grad(function(x), x, coefficient, create_graph=torch.is_grad_enabled())
    return found
