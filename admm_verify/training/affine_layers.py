"""The affine layers of a torch module, and how much each stretches differences at most, with gradients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from admm_verify.arrays import gamma
from admm_verify.errors import InputError
from admm_verify.options import instance
from admm_verify.training.layer_shapes import GramSettings, LayerShape

_MEASURED = (nn.Linear, _ConvNd, _BatchNorm, nn.PReLU)
_NAMES = "Linear, convolutions (also transposed), batch normalisation and PReLU"


@dataclass(frozen=True, eq=False)
class AffineLayer:
    """A layer of a module where it is used, with the batch normalisation that follows at once.

    name: as in `module.named_modules()`.
    """

    name: str
    layer: nn.Module
    shape: LayerShape
    normalised: nn.Module | None = None

    def norm(self, settings: GramSettings | None = None) -> torch.Tensor:
        """An upper bound of the layer's l2 norm, in evaluation mode: max |W x|_2 / |x|_2, a number with a gradient.

        Error: rounded outward, in float64.
        Reference: Delattre et al., Efficient bound of Lipschitz constant for convolutional layers by Gram iteration,
        ICML 2023.
        """
        layer = self.layer
        if isinstance(layer, nn.PReLU):
            return layer.weight.double().abs().max().clamp(min=1.0)
        if isinstance(layer, _BatchNorm):
            return _scale(layer).abs().max() * (1.0 + gamma(8))
        assert isinstance(layer, nn.Linear | _ConvNd), "No other layer is measured"
        scale = None if self.normalised is None else _scale(self.normalised)
        return self.shape.norm(layer.weight, scale, GramSettings() if settings is None else settings)


def affine_layers(module: nn.Module, example_input: torch.Tensor) -> tuple[AffineLayer, ...]:
    """The layers of a module that linear maps are behind, in the order in which they are used.

    Batch normalisations that follow a layer at once are one layer with it, as in evaluation mode, where they scale by
    weight / sqrt(running variance). What has no parameters, such as activations and poolings, is not listed; layers of
    parametrised weights, such as those of `torch.nn.utils.parametrizations`, are, with the weights that they compute.

    Shapes: example_input [batch, ...], of which one sample is used; its values do not matter.
    Raises: InputError for what is no module, for an input that it does not take, for parameters that are in no layer
    whose norm is known, and for batch normalisation without running statistics.
    """
    instance(module, nn.Module, "The module")
    instance(example_input, torch.Tensor, "The example input")
    if not example_input.ndim:
        raise InputError("The example input is a single number; give a tensor with a leading batch axis.")
    kept = {name: part for name, part in module.named_modules() if isinstance(part, _MEASURED)}
    _check_parameters(module, kept)
    calls: list[tuple[str, nn.Module, torch.Tensor, torch.Tensor]] = []
    modes = {part: part.training for part in module.modules()}
    hooks = [part.register_forward_hook(_noting(name, calls), with_kwargs=True) for name, part in kept.items()]
    try:
        with torch.no_grad():
            module.eval()(example_input[:1].clone())
    # It runs the module's own code, which may raise anything.
    except Exception as error:
        raise InputError(
            f"{type(module).__name__} does not take the example input, of shape {list(example_input.shape)}: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for part, training in modes.items():
            part.training = training
    return _joined(calls)


def _noting(name: str, calls: list[tuple[str, nn.Module, torch.Tensor, torch.Tensor]]) -> Callable[..., None]:
    def note(part: nn.Module, given: tuple[Any, ...], named: dict[str, Any], result: torch.Tensor) -> None:
        calls.append((name, part, given[0] if given else named["input"], result))

    return note


def _joined(calls: list[tuple[str, nn.Module, torch.Tensor, torch.Tensor]]) -> tuple[AffineLayer, ...]:
    """The layers, each with the normalisation of its result."""
    found: list[AffineLayer] = []
    results: list[torch.Tensor] = []
    for name, part, given, result in calls:
        image, shape = tuple(given.shape[1:]), tuple(result.shape[1:])
        before = next((i for i, one in enumerate(results) if one is given), None)
        if isinstance(part, _BatchNorm) and before is not None:
            one = found[before]
            follows = one.normalised is None and isinstance(one.layer, nn.Linear | _ConvNd)
            if follows and (not isinstance(one.layer, nn.Linear) or len(shape) == 1):
                found[before] = AffineLayer(one.name, one.layer, one.shape, part)
                results[before] = result
                continue
        found.append(AffineLayer(name, part, LayerShape.of(part, image, shape)))
        results.append(result)
    return tuple(found)


def _check_parameters(module: nn.Module, kept: Mapping[str, nn.Module]) -> None:
    for name, part in kept.items():
        if isinstance(part, _BatchNorm) and part.running_var is None:
            raise InputError(
                f"The batch normalisation {name or 'that is given'} keeps no running statistics, so that it is not "
                "affine in evaluation mode. Make it with track_running_stats=True."
            )
    measured = {id(one) for part in kept.values() for one in part.parameters()}
    for name, part in module.named_modules():
        left = [label for label, one in part.named_parameters(recurse=False) if id(one) not in measured]
        if left:
            raise InputError(
                f"The parameter {left[0]} of {name or 'the module'} ({type(part).__name__}) is in no layer whose norm "
                f"is known: {_NAMES}. Penalise the part without it."
            )


def _scale(layer: nn.Module) -> torch.Tensor:
    """What a batch normalisation multiplies channels by in evaluation mode; the running variance is a constant."""
    assert isinstance(layer, _BatchNorm), "asked of batch normalisations alone"
    assert layer.running_var is not None, "Others are refused"
    root = torch.rsqrt(layer.running_var.detach().double() + layer.eps)
    return root if layer.weight is None else layer.weight.double() * root
