"""Second-order steps on the loss, where steps of signs go in circles: L-BFGS in boxes, from all starts at once."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.method import Method
from admm_verify.attacks.quasi_newton import QuasiNewton
from admm_verify.attacks.spectral import Spectral
from admm_verify.attacks.targets import Targets
from admm_verify.options import AtLeastOne, Count, Nonnegative

_ARRAYS = 12
"""Arrays of one number per point and input beside the pairs."""


@dataclass(frozen=True)
class Lbfgs(Method):
    """L-BFGS on the loss over every box, from all starts at once; over other sets, `Spectral` steps.

    steps: a step may take two evaluations. targets: how many of the open targets of a block are tried, those of least
    loss first. memory: pairs that stand for the Hessian. aim: how far below zero targets of several atoms aim, in units
    of the loss at the start.

    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.1; Bertsekas, Projected
    Newton methods for optimization problems with simple constraints, SIAM J. Control Optim. 20, 1982; Liu and Nocedal,
    On the limited memory BFGS method, Math. Program. 45, 1989.
    """

    steps: Count = 30
    targets: Count = 2
    memory: AtLeastOne = 10
    aim: Nonnegative = 0.1

    def improve(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        order = np.argsort(to_numpy(hunt.found.loss)[rows], kind="stable")[: self.targets]
        some, rows = points[Placement.of(points).put_indices(order)], rows[order]
        if not hunt.landscape.targets.inputs.fills_range:
            return hunt.descend(rows, Spectral.start(some), 2 * self.steps)
        count, each, inputs = some.shape
        step = int(max(1, hunt.landscape.budget.bytes // (8 * (2 * self.memory + _ARRAYS) * count * inputs)))
        for first in range(0, each, step):
            left = np.flatnonzero(np.isin(rows, hunt.open))
            if not len(left):
                return
            part = some[Placement.of(some).put_indices(left), first : first + step, :]
            self._descend(hunt, rows[left], part)

    def _descend(self, hunt: Hunt, rows: np.ndarray, points: Array) -> None:
        xp, losses = namespace(points), hunt.landscape.take(rows).losses(points)
        zero = xp.zeros_like(losses)
        above = xp.where(xp.isfinite(losses), xp.maximum(losses, zero), zero)
        hunt.descend(rows, _Downhill(QuasiNewton.start(points, self.memory)), 2 * self.steps, self.aim * above)


@dataclass(frozen=True, eq=False)
class _Downhill:
    """The points of a hunt on their way by L-BFGS."""

    state: QuasiNewton

    @property
    def points(self) -> Array:
        return self.state.points

    def take(self, rows: Array) -> "_Downhill":
        return _Downhill(self.state.take(rows))

    def moved(self, targets: Targets, losses: Array, gradient: Array) -> "_Downhill":
        return _Downhill(self.state.moved(targets.spread, losses, gradient))
