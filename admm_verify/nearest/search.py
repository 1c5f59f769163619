"""The search for nearest points: parts of the input set, those that may hold a nearer point first."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from admm_verify.arrays import Array, Float, Int
from admm_verify.complete.pool import Nodes, Pool
from admm_verify.complete.tables import join, take
from admm_verify.memory import Budget, once_more
from admm_verify.nearest.settings import DistanceSettings
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.box import Box

_STEP = 0.2
"""Seconds that bounding a batch of parts may take."""

_NUMBERS = 2**20
"""Numbers in one array of a block of parts."""

_TRACE = 1e-5
"""Of the scale: what counts as the size of points whose numbers are all smaller, or a distance of zero never ends."""

_TRIED = 4
"""Points of a block that are looked at in exact terms, most promising first."""


@dataclass(frozen=True, eq=False)
class NearCells(Nodes):
    """Parts of input sets, each for one of several conditions.

    bound: certified lower bound of the distance there. side: the input to halve next, -1 where none is left. start:
    where a descent in the part starts.
    Shapes: side [n]; packed (the boxes around the parts) [n, 2 inputs]; start [n, inputs].
    """

    side: np.ndarray
    packed: Array
    start: Array

    @property
    def splittable(self) -> np.ndarray:
        return self.side >= 0

    @property
    def boxes(self) -> Box:
        """The boxes around the parts."""
        return Box.unpacked(self.packed)

    def halves(self) -> "NearCells":
        """The lower halves of all parts and then the upper ones, with the bounds of the whole."""
        boxes, start = self.boxes.halved(self.side), np.tile(self.start, (2, 1))
        disjunct, bound = np.tile(self.disjunct, 2), np.tile(self.bound, 2)
        return NearCells(disjunct, bound, np.tile(self.side, 2), boxes.packed, boxes.project(start))


@dataclass(frozen=True, eq=False)
class NearPoints:
    """Points that may be nearer than others, each for its condition, and how near they are as computed.

    Shapes: x [points, inputs]; disjunct, value [points].
    """

    x: Array
    disjunct: np.ndarray
    value: np.ndarray


@dataclass(frozen=True, eq=False)
class Attained:
    """A distance that is attained: a point of the input set, and what it, or its output, is so near to.

    upper: rounded upward. size: the largest number of the two points that are so near.
    """

    upper: float
    x: Float[np.ndarray, " inputs"]
    target: Float[np.ndarray, " _"]
    size: float


class Nearness(ABC):
    """A distance that is looked for."""

    @property
    @abstractmethod
    def numbers(self) -> int:
        """Numbers that bounding one part takes."""

    @property
    @abstractmethod
    def scale(self) -> float:
        """How large the numbers are that distances are made of."""

    @abstractmethod
    def whole(self) -> NearCells:
        """The input sets themselves."""

    @abstractmethod
    def first_points(self) -> NearPoints:
        """What descents over the whole sets find."""

    @abstractmethod
    def bounded(self, cells: NearCells, upper: float) -> tuple[NearCells, NearPoints]:
        """The same parts with their bounds, without those that are empty or hold no point that counts; and points.

        upper: a distance that is attained; what is farther away does not count any more either.
        """

    def floor(self, upper: float) -> float:
        """A certified lower bound of the distance that is found without parts, where these would be many.

        upper: as for `bounded`.
        """
        return 0.0

    @abstractmethod
    def attained(self, x: Float[np.ndarray, " inputs"], disjunct: int) -> Attained | None:
        """What is attained at a point or next to it; None where it does not count."""


Kind = TypeVar("Kind", bound=Nearness)


class NearSearch(Generic[Kind]):
    """Halves parts until the least bound is near the distance attained; what is known survives any interruption."""

    def __init__(self, nearness: Kind, settings: DistanceSettings, run: Run) -> None:
        self.nearness, self.settings, self.run = nearness, settings, run
        self.budget = Budget.of(run)
        self.best: Attained | None = None
        self.pool: Pool[NearCells] | None = None
        self.cells = 0
        # The least bound of the parts that nothing more is done about.
        self._left = np.inf
        self._floor = 0.0
        self._scale = 0.0
        self._batch = settings.least_batch

    @property
    def upper(self) -> float:
        """The least distance attained, infinite where none is."""
        return np.inf if self.best is None else self.best.upper

    @property
    def lower(self) -> float:
        """A certified lower bound of all distances."""
        if self.pool is None:
            return self._floor
        # What is attained is no less than the least distance, which parts that were dropped may hold.
        return float(min(self.pool.lowest, self._left, self.upper))

    def decide(self) -> Ended:
        """Search until the gap is closed, nothing is left to do, or the run is over."""
        try:
            once_more(self._begin)
            while (ended := self._ended()) is None:
                self._step()
        except Stopped:
            return self.run.ended() or Ended.TIMED_OUT
        return ended

    def _ended(self) -> Ended | None:
        assert self.pool is not None, "The whole is bounded first"
        if self.lower >= self._enough:
            return Ended.CONVERGED
        if not len(self.pool):
            # Floating point numbers cannot tell parts apart any more.
            return Ended.COMPLETE
        most = self.settings.max_cells
        return Ended.CELL_LIMIT if most is not None and self.cells >= most else self.run.ended()

    @property
    def _enough(self) -> float:
        """The bound that parts need not exceed."""
        if not np.isfinite(self.upper):
            return np.inf
        assert self.best is not None, "A finite distance is attained somewhere"
        size = max(self.best.size, _TRACE * self._scale)
        return self.upper - max(self.settings.tolerance * self.upper, self.settings.least * size)

    def _begin(self) -> None:
        self.run.say("descent")
        self._scale = self.nearness.scale
        self._try(self.nearness.first_points())
        self._floor = self.nearness.floor(self.upper)
        whole = self._bounded(self.nearness.whole())
        self._left, self.pool = self._kept(whole), Pool(take(whole, self._open(whole)))

    def _step(self) -> None:
        assert self.pool is not None, "The whole is bounded first"
        began, pool = time.monotonic(), self.pool
        deep = len(pool) * pool.bytes > self.budget.bytes / 4
        nodes = pool.pop(self._batch, best=deep)
        try:
            grown = self._bounded(nodes.halves())
            pool.push(take(grown, self._open(grown)))
        except BaseException:
            pool.put_back()
            raise
        self._left = min(self._left, self._kept(grown))
        pool.release()
        self._adapt(time.monotonic() - began)
        self.run.say(f"{self.cells} parts, {len(pool)} open, distance from {self.lower:.6g} to {self.upper:.6g}")

    def _bounded(self, cells: NearCells) -> NearCells:
        """Parts with their bounds, and with the points that are found there tried."""
        count = len(cells.bound)
        if not count:
            return cells
        step = max(1, self.budget.rows(_NUMBERS, self.nearness.numbers))
        parts = self.budget.blocks(count, step, lambda first, last: self._block(take(cells, np.arange(first, last))))
        self.cells += count
        return join(parts)

    def _block(self, cells: NearCells) -> NearCells:
        found, points = self.nearness.bounded(cells, self.upper)
        self._try(points)
        return replace(found, bound=np.maximum(found.bound, self._floor))

    def _open(self, cells: NearCells) -> np.ndarray:
        return (cells.bound < self._enough) & cells.splittable

    def _kept(self, cells: NearCells) -> float:
        """The least bound of parts that are not open."""
        return float(np.min(cells.bound, where=~self._open(cells), initial=np.inf))

    def _try(self, points: NearPoints) -> None:
        """Keep the best point, once it is proven that it counts."""
        order: Int[np.ndarray, " _"] = np.argsort(points.value)[:_TRIED]
        for i in order:
            # NaN is never less.
            if not points.value[i] < self.upper or self.run.over():
                return
            found = self.nearness.attained(points.x[i], int(points.disjunct[i]))
            if found is not None and found.upper < self.upper:
                self.best = found

    def _adapt(self, seconds: float) -> None:
        settings = self.settings
        if seconds < _STEP:
            self._batch = min(2 * self._batch, settings.most_batch)
        elif seconds > 2 * _STEP:
            self._batch = max(self._batch // 2, settings.least_batch)
