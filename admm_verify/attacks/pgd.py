"""Attacks that step along signs of the gradient: FGSM, and PGD with momentum."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, namespace
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.settings import PgdSettings
from admm_verify.attacks.starts import check_starts, started
from admm_verify.attacks.targets import Found, Targets
from admm_verify.network.graph import Network


def fgsm(network: Network, targets: Targets) -> Found:
    """The centre c of every box and one step of signs from it, x = c - half sign(gradient), whichever is better.

    Raises: InputError where the targets' sizes are not the network's.
    Reference: Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4.
    """
    hunt = Hunt(Landscape.of(network, targets), None, False)
    fgsm_hunt(hunt)
    return hunt.found


def fgsm_hunt(hunt: Hunt) -> None:
    """`fgsm` on the open targets of a hunt."""
    for rows in hunt.blocks(1):
        centre = hunt.landscape.targets.take(rows).centre[:, None, :]
        hunt.descend(rows, _SignSteps(centre, namespace(centre).zeros_like(centre), 1.0, 1.0, 0.0), 1)


def pgd(
    network: Network,
    targets: Targets,
    settings: PgdSettings | None = None,
    starts: Array | None = None,
    stop: Callable[[], bool] | None = None,
    seed: int = 0,
    any_suffices: bool = False,
) -> Found:
    """Projected gradient descent by signs, from many points of every box at once.

    m <- momentum m + g / |g|_1,  x <- clip(x - step half sign(m)), with g the loss's gradient in half-widths of the box
    and a step that falls geometrically. Targets that are hit drop out; with any_suffices the first one ends the search.

    Shapes: starts [targets, points, inputs], used beside the restarts and the centre.
    Raises: InputError for sizes that do not fit.
    Reference: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, section 2.1;
    momentum of Dong et al., Boosting Adversarial Attacks with Momentum, CVPR 2018, equations 6 and 7.
    """
    chosen = PgdSettings() if settings is None else settings
    hunt = Hunt(Landscape.of(network, targets), stop, any_suffices)
    pgd_hunt(hunt, chosen, check_starts(targets, starts), np.random.default_rng(seed))
    return hunt.found


def pgd_hunt(hunt: Hunt, settings: PgdSettings, starts: Array | None, rng: np.random.Generator) -> None:
    """`pgd` on the open targets of a hunt; starts [targets, points, inputs] of all its targets."""
    fall = (settings.last / settings.first) ** (1.0 / max(1, settings.steps - 1))
    for rows, points in started(hunt, settings.starts, starts, rng):
        still = namespace(points).zeros_like(points)
        hunt.descend(rows, _SignSteps(points, still, settings.first, fall, settings.momentum), settings.steps)


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
        mean = gradient * targets.half[:, None, :]
        if self.momentum:
            xp = namespace(mean)
            size = xp.sum(xp.abs(mean), axis=-1, keepdims=True)
            mean = self.momentum * self.mean + mean / xp.where(size > 0, size, xp.ones_like(size))
        points = targets.stepped(self.points, -self.step, mean)
        return replace(self, points=points, mean=mean, step=self.step * self.fall)
