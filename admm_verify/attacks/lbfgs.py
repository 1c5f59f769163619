"""Second-order steps on the loss, where steps of signs go round in circles: L-BFGS-B, one start at a time."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.method import Method
from admm_verify.attacks.spectral import Spectral
from admm_verify.options import AtLeastOne, Count, Nonnegative

_HUGE = 1e30
"""Stands for values and slopes where the network overflows."""


@dataclass(frozen=True)
class Lbfgs(Method):
    """L-BFGS-B on the loss over every box, from one start after another; over other sets, `Spectral` steps from all.

    Variables of L-BFGS-B are the inputs whose interval is not a point, in half-widths of the box.

    targets: how many of the open targets of a block are tried, those of least loss first. memory: pairs that stand for
    the Hessian. aim: how far below zero targets of several atoms aim, in units of the loss at the start.

    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.1; Byrd, Lu, Nocedal and
    Zhu, SIAM J. Sci. Comput. 16, 1995.
    """

    steps: Count = 30
    targets: Count = 2
    memory: AtLeastOne = 10
    aim: Nonnegative = 0.1

    def improve(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        order = np.argsort(to_numpy(hunt.found.loss)[rows], kind="stable")[: self.targets]
        if not hunt.landscape.targets.inputs.fills_range:
            some = points[Placement.of(points).put_indices(order)]
            return hunt.descend(rows[order], Spectral.start(some), 2 * self.steps)
        for k, row in zip(order, rows[order], strict=True):
            alone = hunt.landscape.take(np.array([row]))
            for j in range(points.shape[1]):
                if hunt.over():
                    return
                if row in hunt.open:
                    _descend(hunt, int(row), alone, points[k : k + 1, j : j + 1, :], self)


def _descend(hunt: Hunt, row: int, landscape: Landscape, start: Array, settings: Lbfgs) -> None:
    # SciPy's optimisers take longer to import than most searches, which end before this one.
    from scipy.optimize import minimize

    place = Placement.of(start)
    targets = landscape.targets
    centre, half = (to_numpy(end)[0].astype(np.float64) for end in (targets.inputs.centre, targets.inputs.half))
    # Half of the smallest widths is zero in the targets' dtype.
    free = half > 0
    losses = landscape.losses(start)
    hunt.record(np.array([row]), start, losses)
    if not free.any() or not np.isfinite(float(losses[0, 0])):
        return
    aim = settings.aim * max(0.0, float(losses[0, 0]))

    def loss(z: np.ndarray) -> tuple[float, np.ndarray]:
        x = centre.copy()
        x[free] += half[free] * z
        points = targets.spread.project(place.put(x[None, None, :]))
        losses, lowered, gradient = landscape.slopes(points, aim)
        hunt.record(np.array([row]), points, losses)
        slope = to_numpy(gradient)[0, 0].astype(np.float64)[free] * half[free]
        # Line searches interpolate between values and slopes, which have to be finite.
        return min(float(lowered[0, 0]), _HUGE), np.clip(slope, -_HUGE, _HUGE)

    def over(_: np.ndarray) -> None:
        if row not in hunt.open or hunt.over():
            raise StopIteration

    begin = np.clip((to_numpy(start)[0, 0].astype(np.float64) - centre)[free] / half[free], -1.0, 1.0)
    options = {"maxiter": settings.steps, "maxfun": 2 * settings.steps, "maxcor": settings.memory}
    bounds = [(-1.0, 1.0)] * len(begin)
    minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, callback=over, options=options)
