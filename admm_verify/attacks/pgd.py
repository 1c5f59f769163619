"""Attacks that step along the steepest descent: PGD with momentum, of which FGSM is one step."""

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
    """Projected gradient descent along steepest directions in the set's own norm, from many points of each at once.

    m <- momentum m + g / |half g|_1 with g the loss's gradient,  x <- project(x - step steepest(m)); steepest(m) is
    half sign(m) in boxes, radius m / |m|_2 in l2 balls.

    first, last: step in radii of the set, half-widths of a box, falling geometrically. momentum: share of the
    gradients before.

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
        hunt.descend(rows, _Momentum(points, still, self.first, fall, self.momentum), self.steps)


FGSM = Pgd(Starts(restarts=0, most=0), steps=1, last=1.0, momentum=0.0)
"""The centre c of every set and one step along the steepest descent from it, in boxes c - half sign(gradient).

Reference: Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4.
"""


@dataclass(frozen=True, eq=False)
class _Momentum:
    """Points, their momentum, the next step and how it falls."""

    points: Array
    mean: Array
    step: float
    fall: float
    momentum: float

    def take(self, rows: Array) -> "_Momentum":
        return replace(self, points=self.points[rows], mean=self.mean[rows])

    def moved(self, targets: Targets, losses: Array, gradient: Array) -> "_Momentum":
        xp, half = namespace(gradient), targets.spread.half
        mean = xp.where(half > 0, gradient, xp.zeros_like(gradient))
        if self.momentum:
            size = xp.sum(xp.abs(mean) * half, axis=-1, keepdims=True)
            mean = self.momentum * self.mean + mean / xp.where(size > 0, size, xp.ones_like(size))
        points = targets.spread.stepped(self.points, -self.step, mean)
        return replace(self, points=points, mean=mean, step=self.step * self.fall)
