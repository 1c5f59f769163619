"""Weights to begin a training with: orthogonal matrices, also in convolutions."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from admm_verify.errors import InputError
from admm_verify.options import Positive, Settings, instance


@dataclass(frozen=True, repr=False)
class OrthogonalStart(Settings):
    """Weights W with W W' = gain^2 I or W'W = gain^2 I, so that no layer stretches by more than gain, and biases of 0.

    Convolutions are delta-orthogonal: an orthogonal matrix of channels at the middle of the kernel, zeros around it, so
    that their norm is gain, too, for every stride, dilation and number of groups, unless the middle of the kernel never
    meets the image; they keep lengths where no pixels are skipped. gain: sqrt(2) keeps lengths through rectifiers on
    average.

    Reference: Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks, ICLR 2014; Xiao et al., Dynamical isometry and a mean field theory of CNNs, ICML 2018.
    """

    gain: Positive = 1.0

    def __call__(self, module: nn.Module, generator: torch.Generator) -> None:
        """Overwrite the weights and biases of all dense and convolutional layers of a module.

        Raises: InputError for what is no module, has no such layer, or computes a weight by a parametrisation.
        """
        instance(module, nn.Module, "The module")
        named = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Linear | _ConvNd)]
        if not named:
            raise InputError(f"{type(module).__name__} has no dense or convolutional layers to begin with.")
        for name, part in named:
            if is_parametrized(part):
                raise InputError(
                    f"The weight of {name or 'the module'} is computed by a parametrisation. Take the orthogonal start "
                    "first, and parametrise then."
                )
        with torch.no_grad():
            for _, part in named:
                self._overwrite(part, generator)

    def _overwrite(self, part: nn.Linear | _ConvNd, draws: torch.Generator) -> None:
        weight = part.weight
        if isinstance(part, nn.Linear):
            weight.copy_(self.gain * _orthogonal(weight.shape[0], weight.shape[1], draws))
        else:
            weight.zero_()
            middle = tuple((side - 1) // 2 for side in weight.shape[2:])
            # Weights of transposed convolutions have their inputs first; a transposed matrix is orthogonal, too.
            first = part.in_channels if isinstance(part, _ConvTransposeNd) else part.out_channels
            size = first // part.groups
            for start in range(0, first, size):
                block = self.gain * _orthogonal(size, weight.shape[1], draws)
                weight[(slice(start, start + size), slice(None), *middle)] = block.to(weight)
        if part.bias is not None:
            part.bias.zero_()


def _orthogonal(rows: int, columns: int, draws: torch.Generator) -> torch.Tensor:
    """A matrix of orthonormal rows or columns, drawn uniformly."""
    normal = torch.randn(max(rows, columns), min(rows, columns), dtype=torch.float64, generator=draws)
    matrix, triangle = torch.linalg.qr(normal)
    matrix = matrix * torch.sign(torch.diagonal(triangle))
    return matrix if rows >= columns else matrix.T
