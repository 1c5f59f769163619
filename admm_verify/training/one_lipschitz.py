"""Layers that stretch nothing, whatever training makes of their parameters."""

from collections.abc import Callable
from importlib import import_module
from math import sqrt
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from admm_verify.errors import InputError, MissingPackageError
from admm_verify.options import choice, instance
from admm_verify.training.affine_layers import AffineLayer, affine_layers
from admm_verify.training.layer_shapes import GramSettings, LayerShape

_BOUNDED = {"orthogonal": nn.Linear, "spectral": nn.Linear, "torchlip": nn.Linear | nn.Conv1d | nn.Conv2d}
"""Layers that a way is for, where it is not for all."""


class GramRescaling(nn.Module):
    """W / max(1, b) of a weight W, with the upper bound b of its layer's norm by Gram iteration: a parametrisation.

    Reference: Delattre, Araujo, Barthelemy and Allauzen, The Lipschitz-variance-margin tradeoff for enhanced randomized
    smoothing, ICLR 2024, with power iteration there.
    """

    def __init__(self, shape: LayerShape, settings: GramSettings | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.settings = GramSettings() if settings is None else settings

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight of a layer whose norm is at most 1, also once it is rounded to its type."""
        # Each entry is rounded by half a unit in its last place, and |W|_F is at most sqrt(n) |W|_2.
        spare = 1.0 + 2.0 * torch.finfo(weight.dtype).eps * sqrt(max(1, self.shape.side))
        bound = self.shape.norm(weight, None, self.settings)
        return (weight.double() / (bound * spare).clamp(min=1.0)).to(weight.dtype)


def one_lipschitz(
    module: nn.Module,
    example_input: torch.Tensor,
    by: Literal["gram", "orthogonal", "spectral", "torchlip"] = "gram",
) -> nn.Module:
    """Parametrise the weights of all dense and convolutional layers of a module, in place, by one of four ways.

    - "gram": W / max(1, b) with b >= |W|_2 by Gram iteration, in convolutions with their strides and borders: every
      layer is 1-Lipschitz.
    - "orthogonal": torch's own orthogonal matrices; dense layers alone, 1-Lipschitz up to roundings of the weights.
    - "spectral": torch's own W / (power iteration's estimate of |W|_2), which lies below |W|_2: dense layers alone, and
      nearly 1-Lipschitz, while training only once the iteration has caught up.
    - "torchlip": the package deel-torchlip's spectral and Bjorck normalisations, and its factor for convolutions of one
      and two axes, of weights that begin orthogonal.

    Torch's two take the kernel of a convolution for one or many matrices, which bounds the convolution by no more than
    the root of the number of taps, or not at all. `av.layer_norms` certifies what a traced module does, and
    `torch.nn.utils.parametrize.remove_parametrizations` makes plain weights.

    Shapes: example_input [batch, ...], of which one sample is used.
    Raises: InputError for other modules with parameters, such as batch normalisation, weights that are parametrised
    already, and layers that a way is not for; MissingPackageError without deel-torchlip.
    """
    ways: dict[str, Callable[[AffineLayer], None]] = {
        "gram": _by_gram,
        "orthogonal": lambda one: _kept(parametrizations.orthogonal, one),
        "spectral": lambda one: _kept(parametrizations.spectral_norm, one),
        "torchlip": _by_torchlip,
    }
    way = ways[choice(by, "The way to bound layers", tuple(ways))]
    layers = affine_layers(instance(module, nn.Module, "The module"), example_input)
    if not layers:
        raise InputError(f"{type(module).__name__} has no dense or convolutional layers to bound.")
    if len({id(one.layer) for one in layers}) < len(layers):
        raise InputError("A layer is used twice, maybe for images of two sizes; give every use a layer of its own.")
    for one in layers:
        if one.normalised is not None or not isinstance(one.layer, nn.Linear | _ConvNd):
            kind = type(one.layer if one.normalised is None else one.normalised).__name__
            raise InputError(f"A {kind} at {one.name or 'the module'} is not bounded by its weight; leave it out.")
        if is_parametrized(one.layer):
            raise InputError(f"The weight of {one.name or 'the module'} is parametrised already.")
        if not isinstance(one.layer, _BOUNDED.get(by, nn.Module)):
            kind = type(one.layer).__name__
            raise InputError(f'"{by}" does not bound a {kind}, which is at {one.name or "the module"}: choose "gram".')
    for one in layers:
        way(one)
    return module


def _by_gram(one: AffineLayer) -> None:
    register_parametrization(one.layer, "weight", GramRescaling(one.shape))


def _kept(parametrise: Callable[[nn.Module], nn.Module], one: AffineLayer) -> None:
    parametrise(one.layer)


def _by_torchlip(one: AffineLayer) -> None:
    try:
        torchlip = import_module("deel.torchlip.utils")
    except ImportError as error:
        raise MissingPackageError(
            'Layers "torchlip" need deel-torchlip: pip install "admm-verify[torchlip]". "gram" needs torch alone.'
        ) from error
    # As the package's own layers do: its Bjorck iteration diverges from singular values above sqrt(3).
    assert isinstance(one.layer, nn.Linear | _ConvNd), "Others are refused"
    nn.init.orthogonal_(one.layer.weight)
    parametrizations.spectral_norm(one.layer)
    torchlip.bjorck_norm(one.layer)
    if isinstance(one.layer, _ConvNd):
        torchlip.lconv_norm(one.layer)
