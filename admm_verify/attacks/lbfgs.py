"""Second-order steps on the loss, one start at a time, where steps of signs go round in circles."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.method import Method
from admm_verify.attacks.spectral import descend
from admm_verify.options import AtLeastOne, Count, Nonnegative

_HUGE = 1e30
"""Stands for values and slopes where the network overflows."""


@dataclass(frozen=True)
class Lbfgs(Method):
    """L-BFGS-B on the loss over every box, from one start after another; over other sets, spectral projected gradients.

    Variables of L-BFGS-B are the inputs whose interval is not a point, in half-widths of the box.

    targets: how many of the open targets of a block are tried, those of least loss first. memory: pairs that stand for
    the Hessian. aim: how far below zero targets of several atoms aim, in units of the loss at the start.

    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.1; Byrd, Lu, Nocedal and
    Zhu, SIAM J. Sci. Comput. 16, 1995. For other sets, see `spectral.descend`.
    """

    steps: Count = 30
    targets: Count = 2
    memory: AtLeastOne = 10
    aim: Nonnegative = 0.1

    def improve(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        order = np.argsort(to_numpy(hunt.found.loss)[rows], kind="stable")[: self.targets]
        for k, row in zip(order, rows[order], strict=True):
            alone = hunt.landscape.take(np.array([row]))
            for j in range(points.shape[1]):
                if hunt.over():
                    return
                if row in hunt.open:
                    _Descent(hunt, int(row), alone, points[k : k + 1, j : j + 1, :], self).run()


class _Descent:
    """The loss of one target as descents from one of its starts see it, in float64; the hunt keeps what is better."""

    def __init__(self, hunt: Hunt, row: int, landscape: Landscape, start: Array, settings: Lbfgs) -> None:
        self.hunt, self.row, self.landscape, self.settings = hunt, row, landscape, settings
        self.place, self.inputs = Placement.of(start), landscape.targets.spread
        self.start = to_numpy(start)[0, 0].astype(np.float64)
        losses = landscape.losses(start)
        hunt.record(np.array([row]), start, losses)
        self.first = float(losses[0, 0])
        self.aim = settings.aim * max(0.0, self.first)

    def run(self) -> None:
        if not np.isfinite(self.first):
            return
        if self.inputs.fills_range:
            self._within_bounds()
        else:
            length = float(np.linalg.norm(np.broadcast_to(to_numpy(self.inputs.stride)[0, 0], self.start.shape)))
            with quiet_overflow():
                descend(self.loss, self.project, self.project(self.start), length, self.settings.steps, self.over)

    def _within_bounds(self) -> None:
        # SciPy's optimisers take longer to import than most searches, which end before this one.
        from scipy.optimize import minimize

        centre, half = (to_numpy(part)[0, 0].astype(np.float64) for part in (self.inputs.centre, self.inputs.half))
        # Half of the smallest widths is zero in the targets' dtype.
        free = half > 0
        if not free.any():
            return

        def loss(z: np.ndarray) -> tuple[float, np.ndarray]:
            x = centre.copy()
            x[free] += half[free] * z
            value, slope = self.loss(x)
            return value, np.clip(slope[free] * half[free], -_HUGE, _HUGE)

        def over(_: np.ndarray) -> None:
            if self.over():
                raise StopIteration

        begin = np.clip((self.start - centre)[free] / half[free], -1.0, 1.0)
        steps, bounds = self.settings.steps, [(-1.0, 1.0)] * len(begin)
        options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": self.settings.memory}
        minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, callback=over, options=options)

    def loss(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """What is to be lowered at the set's point nearest to x, and the gradient there."""
        points = self.inputs.project(self.place.put(x[None, None, :]))
        losses, lowered, gradient = self.landscape.slopes(points, self.aim)
        self.hunt.record(np.array([self.row]), points, losses)
        # Line searches interpolate between values and slopes, which have to be finite.
        return min(float(lowered[0, 0]), _HUGE), np.clip(to_numpy(gradient)[0, 0].astype(np.float64), -_HUGE, _HUGE)

    def project(self, x: np.ndarray) -> np.ndarray:
        """The set's point nearest to x."""
        return to_numpy(self.inputs.project(self.place.put(x[None, None, :])))[0, 0].astype(np.float64)

    def over(self) -> bool:
        """Whether the target is hit or the hunt over."""
        return self.row not in self.hunt.open or self.hunt.over()
