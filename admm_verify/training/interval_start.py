"""What makes training on intervals short: weights from which intervals neither grow nor shrink, and keeping it so."""

from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor, nn

from admm_verify.options import Nonnegative, Positive, Settings, Share
from admm_verify.training.bounds import TensorBox
from admm_verify.training.step import TrainingStep

_SMALLEST = 1e-12
"""Below it nothing is divided by."""


@dataclass(frozen=True, repr=False)
class IntervalStart(Settings):
    """Weights of dense layers and convolutions from a normal law of standard deviation sqrt(2 pi) / fan-in, no biases.

    E |W| r is then twice r, of which a rectifier leaves half: intervals are as wide at every layer.
    Reference: Shi et al., arXiv 2102.06700, section 3.
    """

    def __call__(self, module: nn.Module, generator: torch.Generator) -> None:
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
                part.weight.normal_(0.0, sqrt(2 * pi) / part.weight[0].numel(), generator=generator)
                if part.bias is not None:
                    part.bias.zero_()


@dataclass(frozen=True, repr=False)
class TightnessPenalty(Settings):
    """weight (1 - ramp) times the mean over the layers that rectifiers read of what is too wide and out of balance.

    Too wide: relu(limit - tau_0 / tau_k) / limit, with tau_k the mean radius of layer k and tau_0 that of the box. Out
    of balance: active and inactive neurons should carry alike means of their centres and alike variances, as
    relu(limit - min(r, 1 / r)) / limit says of their ratios r.

    eps: the radius at which the loss has its intervals, with the ramp.
    Reference: Shi et al., arXiv 2102.06700, section 3, with the weight 0.5 and the limit 0.5.
    """

    eps: Nonnegative
    weight: Nonnegative = 0.5
    limit: Positive = 0.5
    balance: Share = 1.0

    def __call__(self, step: TrainingStep) -> Tensor:
        total = step.images.new_zeros(())
        if not 0.0 < step.ramp < 1.0:
            return total
        bounds = step.intervals(step.ramp * self.eps)
        first = bounds.nodes[0].radius.mean()
        for box in bounds.preactivations:
            wide = torch.relu(self.limit - first / box.radius.mean().clamp(min=_SMALLEST)) / self.limit
            total = total + wide + self.balance * self._imbalance(box)
        return self.weight * (1 - step.ramp) * total / max(1, len(bounds.preactivations))

    def _imbalance(self, box: TensorBox) -> Tensor:
        middle = box.middle
        active, inactive = (box.low > 0).to(middle.dtype), (box.high < 0).to(middle.dtype)
        many = active.mean(0), inactive.mean(0)
        if not (bool(active.any()) and bool(inactive.any())):
            return middle.new_zeros(())
        total = middle.mean(0)
        means = (active * middle).sum() / len(middle), -(inactive * middle).sum() / len(middle)
        spread = (middle - total).square()
        variances = (active * spread).sum(), (inactive * spread).sum()
        shares = many[0].sum(), many[1].sum()
        return self._ratio(*means) + self._ratio(*(v / s for v, s in zip(variances, shares, strict=True)))

    def _ratio(self, first: Tensor, second: Tensor) -> Tensor:
        ratio = first / second.clamp(min=_SMALLEST)
        near = torch.minimum(ratio, 1 / ratio.clamp(min=_SMALLEST))
        return torch.relu(self.limit - near) / self.limit
