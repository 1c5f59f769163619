"""The loop that all gradient attacks share: best points, targets still open, and when to end."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow, to_numpy
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.targets import Found, Targets
from admm_verify.run import Run

_ARRAYS = 8
"""Arrays of one number per point and input that a method holds at once."""


_TARGETS, _MULTIPLICATIONS = 64, 2e8
"""Targets in a block, and where it has more, multiplications of one pass over it: a moment between two questions."""


class Moving(Protocol):
    """A method's state: points [targets, points, inputs] inside the sets, and how they move."""

    @property
    def points(self) -> Array: ...

    def take(self, rows: Array) -> "Moving":
        """The state of some of the targets."""
        ...

    def moved(self, targets: Targets, losses: Array, gradient: Array) -> "Moving":
        """The next state, from what it is to lower [targets, points] and the gradient of that at the points."""
        ...


class Hunt:
    """The best point of every target so far, over all methods that take part.

    open: numbers of the targets not hit yet; a hit by less than rounding may take back stays open.
    """

    def __init__(self, landscape: Landscape, run: Run, any_suffices: bool) -> None:
        self.landscape, self.any_suffices = landscape, any_suffices
        self._run, self._stopped = run, False
        xp, centre = landscape.targets.inputs.placement.xp, landscape.targets.inputs.centre
        self._x = xp.asarray(centre, copy=True)
        self._loss = xp.full_like(self._x[:, 0], float("inf"))
        self.open = np.arange(len(landscape.targets))

    @property
    def found(self) -> Found:
        """Best points and losses; both change as the hunt goes on."""
        return Found(self._x, self._loss)

    @property
    def settled(self) -> bool:
        """Whether enough targets are hit."""
        return not len(self.open) or (self.any_suffices and len(self.open) < len(self.landscape.targets))

    def over(self) -> bool:
        """Whether enough targets are hit or the run, asked here, is over."""
        if not self._stopped and not self.settled:
            self._stopped = self._run.over()
        return self._stopped or self.settled

    def blocks(self, each: int) -> Iterator[np.ndarray]:
        """The open targets in blocks whose states of so many points per target fit the memory and take a moment."""
        inputs = self.landscape.targets.inputs
        numbers = 8 * (_ARRAYS * each * inputs.size + inputs.burden)
        quick = max(_TARGETS, _MULTIPLICATIONS // (max(1, each) * max(1, self.landscape.network.weight_count)))
        step = int(max(1, min(quick, self.landscape.budget.bytes // numbers)))
        opened = self.open
        for first in range(0, len(opened), step):
            yield opened[first : first + step]

    def record(self, rows: np.ndarray, points: Array, losses: Array) -> np.ndarray:
        """Keep what is better for the targets `rows`; the positions in rows of those that stay open.

        Shapes: points [rows, points, inputs]; losses [rows, points].
        """
        xp, place = namespace(points), Placement.of(points)
        index = place.put_indices(rows)
        flat = place.put_indices(np.arange(len(rows)) * points.shape[1]) + xp.argmin(losses, axis=1)
        x = xp.take(xp.reshape(points, (-1, points.shape[-1])), flat, axis=0)
        loss = xp.take(xp.reshape(losses, (-1,)), flat, axis=0)
        better = to_numpy(loss < self._loss[index])
        if not better.any():
            return np.arange(len(rows))
        chosen = place.put_indices(np.flatnonzero(better))
        self._x[index[chosen]], self._loss[index[chosen]] = x[chosen], loss[chosen]
        hit = np.flatnonzero(to_numpy(self.landscape.targets.take(rows).hit(loss)) & better)
        if not len(hit):
            return np.arange(len(rows))
        clear = to_numpy(self.landscape.take(rows[hit]).clear(x[place.put_indices(hit)]))
        self.open = np.setdiff1d(self.open, rows[hit[clear]])
        return np.setdiff1d(np.arange(len(rows)), hit[clear])

    def descend(self, rows: np.ndarray, state: Moving, steps: int, aim: Array | None = None) -> None:
        """Move the points of the targets `rows` for so many steps; targets that are hit drop out.

        aim: how far below zero the atoms of targets of several atoms aim, [rows, points]; by default not at all.
        """
        landscape = self.landscape.take(rows)
        place = Placement.of(state.points)
        for _ in range(steps):
            if self.over():
                return
            losses, lowered, gradient = landscape.slopes(state.points, aim)
            keep = self.record(rows, state.points, losses)
            if self.settled or not len(keep):
                return
            if len(keep) < len(rows):
                index = place.put_indices(keep)
                rows, landscape, state = rows[keep], landscape.take(keep), state.take(index)
                lowered, gradient, aim = lowered[index], gradient[index], None if aim is None else aim[index]
            with quiet_overflow():
                state = state.moved(landscape.targets, lowered, gradient)
        self.record(rows, state.points, landscape.losses(state.points))
