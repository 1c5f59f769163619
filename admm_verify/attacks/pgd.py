"""Attacks that step along signs of the gradient: PGD with momentum, of which FGSM is one step."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, namespace
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.method import Method
from admm_verify.attacks.starts import Starts
from admm_verify.attacks.targets import Targets
from admm_verify.options import Count, Nonnegative, Share


@dataclass(frozen=True)
class Pgd(Method):
    """Projected gradient descent by signs, from many points of every box at once.

    m <- momentum m + g / |g|_1,  x <- clip(x - step half sign(m)), with g the loss's gradient in half-widths of the
    box.

    first, last: step in half-widths of the box, falling geometrically. momentum: share of the gradients before.

    Reference: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, section 2.1;
    momentum of Dong et al., Boosting Adversarial Attacks with Momentum, CVPR 2018, equations 6 and 7.
    """

    steps: Count = 20
    first: Nonnegative = 1.0
    last: Nonnegative = 0.02
    momentum: Share = 0.7

    def improve(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        fall = (self.last / self.first) ** (1.0 / max(1, self.steps - 1))
        still = namespace(points).zeros_like(points)
        hunt.descend(rows, _SignSteps(points, still, self.first, fall, self.momentum), self.steps)


FGSM = Pgd(Starts(restarts=0, most=0), steps=1, last=1.0, momentum=0.0)
"""The centre c of every box and one step of signs from it, c - half sign(gradient).

Reference: Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4.
"""


@dataclass(frozen=True, eq=False)
class _SignSteps:
    """Points, their momentum, the next step and how it falls."""

    points: Array
    mean: Array
    step: float
    fall: float
    momentum: float

    def take(self, rows: Array) -> "_SignSteps":
        return replace(self, points=self.points[rows], mean=self.mean[rows])

    def moved(self, targets: Targets, losses: Array, gradient: Array) -> "_SignSteps":
        mean = gradient * targets.spread.half
        if self.momentum:
            xp = namespace(mean)
            size = xp.sum(xp.abs(mean), axis=-1, keepdims=True)
            mean = self.momentum * self.mean + mean / xp.where(size > 0, size, xp.ones_like(size))
        points = targets.spread.stepped(self.points, -self.step, mean)
        return replace(self, points=points, mean=mean, step=self.step * self.fall)
