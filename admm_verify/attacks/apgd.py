"""Auto-PGD: steepest steps with momentum, halved and restarted from the best point where it stalls."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, namespace
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.method import Method
from admm_verify.attacks.targets import Targets
from admm_verify.options import Nonnegative, Share


@dataclass(frozen=True)
class Apgd(Method):
    """Auto-PGD on the atoms' loss; the defaults but for the number of steps are those of the paper.

    z = project(x_k - step steepest(gradient)),  x_k+1 = project(x_k + alpha (z - x_k) + (1 - alpha) (x_k - x_k-1)) with
    the steepest direction in the set's own norm, half sign(gradient) in boxes; at check points the step is halved, and
    the point set back to the best one, where the loss fell in too few iterations or neither step nor least loss changed
    since the check point before.

    step: the first one, in radii of the set, half-widths of a box. share: of the iterations between two check points in
    which the loss has to fall. momentum: share alpha of the new step.

    Reference: Croce and Hein, Reliable evaluation of adversarial robustness, ICML 2020, algorithm 1 and section 3.1.
    """

    step: Nonnegative = 2.0
    share: Share = 0.75
    momentum: Share = 0.75

    def improve(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        hunt.descend(rows, _start(points, self), self.steps)


def check_points(steps: int) -> tuple[int, ...]:
    """The iterations ceil(p_j steps) after which steps are reviewed.

    p_0 = 0, p_1 = 0.22, p_j+1 = p_j + max(p_j - p_j-1 - 0.03, 0.06), as far as p_j <= 1.

    Reference: Croce and Hein 2020, section 3.1.
    """
    # In hundredths, which add up without rounding.
    shares = [0, 22]
    while shares[-1] <= 100:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 3, 6))
    return tuple(-(-share * steps // 100) for share in shares[:-1])


@dataclass(frozen=True, eq=False)
class _Auto:
    """Where the points are and were, the best of each with its gradient, and what happened since the check point.

    Shapes: points, before, best, slope [targets, points, inputs]; least, last, step, falls, least_checked and
    step_checked [targets, points]: best and last loss, step, number of falls, best loss and step at the check point.
    """

    settings: Apgd
    done: int
    points: Array
    before: Array
    best: Array
    slope: Array
    least: Array
    last: Array
    step: Array
    falls: Array
    least_checked: Array
    step_checked: Array

    def take(self, rows: Array) -> "_Auto":
        arrays = {name: value[rows] for name, value in vars(self).items() if name not in ("settings", "done")}
        return replace(self, **arrays)

    def moved(self, targets: Targets, losses: Array, gradient: Array) -> "_Auto":
        noted = self._noted(losses, gradient)
        checks = check_points(self.settings.steps)
        if self.done in checks[1:]:
            length = self.done - checks[checks.index(self.done) - 1]
            noted, halved = noted._reviewed(length)
            gradient = _chosen(halved, noted.slope, gradient)
        return noted._advanced(targets, gradient)

    def _noted(self, losses: Array, gradient: Array) -> "_Auto":
        """The state with the loss at its points taken note of."""
        xp = namespace(losses)
        better = losses < self.least
        # The first point has none before it that it could be better than.
        fell = (losses < self.last) & xp.isfinite(self.last)
        return replace(
            self,
            best=_chosen(better, self.points, self.best),
            slope=_chosen(better, gradient, self.slope),
            least=xp.where(better, losses, self.least),
            falls=self.falls + xp.astype(fell, losses.dtype),
            last=losses,
        )

    def _reviewed(self, length: int) -> tuple["_Auto", Array]:
        """The state after a check point that ends so many iterations, and which of its points were set back."""
        xp = namespace(self.step)
        stuck = (self.step_checked == self.step) & (self.least_checked == self.least)
        halved = (self.falls < self.settings.share * length) | stuck
        reviewed = replace(
            self,
            points=_chosen(halved, self.best, self.points),
            before=_chosen(halved, self.best, self.before),
            last=xp.where(halved, self.least, self.last),
            step=xp.where(halved, 0.5 * self.step, self.step),
            falls=xp.zeros_like(self.falls),
            least_checked=self.least,
            step_checked=self.step,
        )
        return reviewed, halved

    def _advanced(self, targets: Targets, gradient: Array) -> "_Auto":
        # The first step has no momentum, as there is no step before it.
        share = 1.0 if self.done == 0 else self.settings.momentum
        ahead = targets.spread.stepped(self.points, -self.step[..., None], gradient)
        inertia = (1.0 - share) * (self.points - self.before)
        points = targets.spread.project(self.points + share * (ahead - self.points) + inertia)
        return replace(self, points=points, before=self.points, done=self.done + 1)


def _start(points: Array, settings: Apgd) -> _Auto:
    xp = namespace(points)
    endless = xp.full_like(points[..., 0], float("inf"))
    step = xp.full_like(endless, settings.step)
    return _Auto(
        settings=settings,
        done=0,
        points=points,
        before=points,
        best=points,
        slope=xp.zeros_like(points),
        least=endless,
        last=endless,
        step=step,
        falls=xp.zeros_like(endless),
        least_checked=endless,
        step_checked=step,
    )


def _chosen(condition: Array, chosen: Array, otherwise: Array) -> Array:
    return namespace(chosen).where(condition[..., None], chosen, otherwise)
