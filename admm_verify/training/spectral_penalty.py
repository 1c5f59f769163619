"""A penalty on how much the layers of a network stretch differences."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from admm_verify.errors import InputError
from admm_verify.options import Nonnegative, Positive, Settings, choice
from admm_verify.training.affine_layers import affine_layers
from admm_verify.training.layer_shapes import GramSettings
from admm_verify.training.step import TrainingStep

_LEAST = 1e-30
"""Norms below, such as those of layers of zeros, have no logarithm to descend."""


def _logs(norms: torch.Tensor, target: float) -> torch.Tensor:
    return torch.log(norms.clamp(min=_LEAST) / target).sum()


def _product(norms: torch.Tensor, target: float) -> torch.Tensor:
    return torch.exp(_logs(norms, target))


def _excess(norms: torch.Tensor, target: float) -> torch.Tensor:
    return (norms - target).clamp(min=0.0).square().sum()


_MEASURES: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "logs": _logs,
    "product": _product,
    "excess": _excess,
}


@dataclass(frozen=True, repr=False)
class SpectralPenalty(Settings):
    """weight times a measure of the l2 norms s_1, .., s_n of a module's affine layers, bounded from above.

    of: "logs" for sum log(s_k / target), whose pull does not depend on the scales of the layers; "product" for
    prod s_k / target, the Lipschitz constant of a chain whose activations are 1-Lipschitz; "excess" for
    sum max(0, s_k - target)^2, which leaves layers alone that are below. gram: how close the norms are bounded.

    Reference: section 4.3 of Szegedy et al., Intriguing properties of neural networks, ICLR 2014; Yoshida and Miyato,
    Spectral norm regularization for improving the generalizability of deep learning, 2017, with power iteration, whose
    values are below the norms.
    """

    weight: Nonnegative = 0.01
    of: str = "logs"
    target: Positive = 1.0
    gram: GramSettings = field(default_factory=GramSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        choice(self.of, "SpectralPenalty.of", tuple(_MEASURES))

    def __call__(self, step: TrainingStep) -> torch.Tensor:
        """The penalty of a step's module, a number with a gradient.

        Raises: InputError where it has no affine layers, or others with parameters.
        """
        # A pass of one image, so that layers are those that are used now.
        layers = affine_layers(step.module, step.images)
        if not layers:
            raise InputError("The module has no affine layers, so that there is nothing to penalise.")
        norms = torch.stack([layer.norm(self.gram) for layer in layers])
        return self.weight * _MEASURES[self.of](norms, self.target)
