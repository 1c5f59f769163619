"""Losses of standard, adversarial and certified training, one contract for all: `Loss` in `training/step.py`."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from admm_verify.options import AtLeastOne, Nonnegative, Positive, Settings, Share
from admm_verify.training.bounds import (
    TensorBox,
    backward_bounds,
    class_rows,
    crown_bounds,
    interval_bounds,
    parallel,
)
from admm_verify.training.step import TrainingStep


def worst_case_loss(margins: Tensor, labels: Tensor) -> Tensor:
    """The cross entropy of the worst logits that lower bounds of f_t - f_j allow: log sum_j exp(-margin_j).

    Shapes: margins [batch, classes], 0 for the label itself; labels [batch].
    Reference: Wong and Kolter, arXiv 1711.00851, theorem 2.
    """
    return functional.cross_entropy(-margins, labels)


def projected_gradient(step: TrainingStep, box: TensorBox, steps: int, size: float) -> Tensor:
    """Images of the box that the module finds hard: a random start, then signs of gradients of the cross entropy.

    size: of a step, in radii. The module is evaluated, so that its statistics do not move.
    Shapes: [batch, *input_shape].
    Reference: Madry et al., arXiv 1706.06083.
    """
    drawn = torch.rand(box.low.shape, generator=step.generator, dtype=box.low.dtype)
    moved = (box.low + (box.high - box.low) * drawn).detach()
    with step.evaluated() as module:
        for _ in range(steps):
            moved.requires_grad_()
            value = functional.cross_entropy(module(moved), step.labels, reduction="sum")
            (gradient,) = torch.autograd.grad(value, moved)
            moved = (moved + size * box.radius * gradient.sign()).detach()
            moved = torch.minimum(torch.maximum(moved, box.low), box.high).detach()
    return moved


@dataclass(frozen=True, repr=False)
class StandardLoss(Settings):
    """The cross entropy at the images themselves."""

    @property
    def eps(self) -> float:
        """No radius."""
        return 0.0

    def __call__(self, step: TrainingStep) -> Tensor:
        return functional.cross_entropy(step.outputs, step.labels)


@dataclass(frozen=True, repr=False)
class AdversarialLoss(Settings):
    """The cross entropy at attacked images: projected gradient of `steps` steps of `size` radii from a random start.

    clean: the share of the cross entropy at the images themselves.
    Reference: Madry et al., arXiv 1706.06083.
    """

    eps: Nonnegative
    steps: AtLeastOne = 5
    size: Positive = 0.5
    clean: Share = 0.0

    def __call__(self, step: TrainingStep) -> Tensor:
        moved = projected_gradient(step, step.box(step.ramp * self.eps), self.steps, self.size)
        attacked = functional.cross_entropy(step.module(moved), step.labels)
        if not self.clean:
            return attacked
        return self.clean * functional.cross_entropy(step.outputs, step.labels) + (1 - self.clean) * attacked


@dataclass(frozen=True, repr=False)
class IntervalLoss(Settings):
    """kappa times the cross entropy at the images, and 1 - kappa times the worst one that intervals allow.

    The radius grows to eps with the ramp, and kappa falls from 1 to `kappa`.
    Reference: Gowal et al., arXiv 1810.12715, section 3.
    """

    eps: Nonnegative
    kappa: Share = 0.0

    def __call__(self, step: TrainingStep) -> Tensor:
        kappa = 1 - step.ramp * (1 - self.kappa)
        worst = worst_case_loss(step.intervals(step.ramp * self.eps).margins(step.labels), step.labels)
        return worst if not kappa else kappa * functional.cross_entropy(step.outputs, step.labels) + (1 - kappa) * worst


@dataclass(frozen=True, repr=False)
class CrownIntervalLoss(Settings):
    """As IntervalLoss, of margins beta CROWN + (1 - beta) interval: CROWN's last sweep over intervals of all layers.

    beta falls from 1 to `beta` as the radius grows.
    Reference: Zhang et al., arXiv 1906.06316 (CROWN-IBP).
    """

    eps: Nonnegative
    kappa: Share = 0.0
    beta: Share = 0.0

    def __call__(self, step: TrainingStep) -> Tensor:
        kappa, beta = (1 - step.ramp * (1 - end) for end in (self.kappa, self.beta))
        bounds = step.intervals(step.ramp * self.eps)
        margins = (1 - beta) * bounds.margins(step.labels)
        if beta:
            rows = class_rows(step.labels, step.graph.outputs, step.images.dtype)
            margins = margins + beta * backward_bounds(bounds, rows)
        worst = worst_case_loss(margins, step.labels)
        return worst if not kappa else kappa * functional.cross_entropy(step.outputs, step.labels) + (1 - kappa) * worst


@dataclass(frozen=True, repr=False)
class SmallBoxLoss(Settings):
    """The worst cross entropy that intervals allow over a small box around an attacked image (SABR).

    The small box has the radius `share` eps and lies within the whole one; its centre is looked for by projected
    gradient among those for which it does.
    Reference: Mueller et al., arXiv 2210.04871, section 3.
    """

    eps: Nonnegative
    share: Share = 0.4
    steps: AtLeastOne = 5
    size: Positive = 0.5

    def __call__(self, step: TrainingStep) -> Tensor:
        radius = step.ramp * self.eps
        whole, small = step.box(radius), self.share * radius
        # As far from the ends of the whole box as the small one reaches, or in the middle of what is narrower.
        middle = whole.middle
        inside = TensorBox(torch.minimum(whole.low + small, middle), torch.maximum(whole.high - small, middle))
        centre = projected_gradient(step, inside, self.steps, self.size)
        box = TensorBox(torch.maximum(centre - small, whole.low), torch.minimum(centre + small, whole.high))
        bounds = interval_bounds(step.graph, box, step.scales)
        return worst_case_loss(bounds.margins(step.labels), step.labels)


@dataclass(frozen=True, repr=False)
class MixedLoss(Settings):
    """alpha times the worst cross entropy that intervals allow, and 1 - alpha times that of attacked images (MTL-IBP).

    Reference: De Palma et al., arXiv 2305.13991.
    """

    eps: Nonnegative
    alpha: Share = 0.5
    steps: AtLeastOne = 1
    size: Positive = 1.25

    def __call__(self, step: TrainingStep) -> Tensor:
        radius = step.ramp * self.eps
        worst = worst_case_loss(step.intervals(radius).margins(step.labels), step.labels)
        moved = projected_gradient(step, step.box(radius), self.steps, self.size)
        return self.alpha * worst + (1 - self.alpha) * functional.cross_entropy(step.module(moved), step.labels)


@dataclass(frozen=True, repr=False)
class DualLoss(Settings):
    """The worst cross entropy that the dual network allows: CROWN with the slopes u / (u - l) on both sides, for the
    layers in between as for the margins.

    Its cost grows with the neurons of the layers: one backward pass for each.
    Reference: Wong and Kolter, arXiv 1711.00851, theorems 1 and 2.
    """

    eps: Nonnegative

    def __call__(self, step: TrainingStep) -> Tensor:
        bounds = crown_bounds(step.graph, step.box(step.ramp * self.eps), step.scales, parallel)
        rows = class_rows(step.labels, step.graph.outputs, step.images.dtype)
        return worst_case_loss(backward_bounds(bounds, rows, parallel), step.labels)
