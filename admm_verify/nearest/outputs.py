"""How near the outputs of a network come to a set."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import SMALLEST, Array, Placement, gamma, to_numpy
from admm_verify.attacks.gradient import output_and_gradient
from admm_verify.bounds.backward import Backward
from admm_verify.bounds.climb import Climb
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.bounds.there import derived_there
from admm_verify.nearest.points import enclosed, lies_inside, point_of
from admm_verify.nearest.search import Attained, NearCells, Nearness, NearPoints
from admm_verify.nearest.settings import DistanceSettings
from admm_verify.nearest.sides import chosen_sides, within_cells
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.lengths import distance_above, unit

_LONG = 10
"""How many times as many steps the first descent takes as those in the parts."""

_NEAR = 1e-6
"""Distances up to this, times the size of the numbers, may be those of points next to others inside the target."""

_INWARD = 10.0 ** np.arange(-7, 1)
"""Shares of the way towards points deeper inside that are tried."""


@dataclass(frozen=True, eq=False)
class OutputNearness(Nearness):
    """min |f(x) - s|_2 over x in a set of inputs and s in a set of outputs.

    For any v with |v|_2 <= 1, |f(x) - s|_2 >= v'f(x) - v's, so that a certified lower bound of v'f over a part of
    the inputs, and the support of the target, bound the distance there. v is the direction from the target to a
    near point found by descent, and moves on towards that of the relaxation's nearest point.

    Shapes: inputs [1, n]; target [1, outputs]; network, sets in float64 on NumPy.
    Reference: the separating hyperplane; steps of v by Frank and Wolfe, 1956, with exact line search.
    """

    network: Network
    inputs: WalkableSet
    target: WalkableSet
    settings: DistanceSettings
    run: Run

    @property
    def numbers(self) -> int:
        return 4 * sum(node.size for node in self.network.nodes)

    @property
    def scale(self) -> float:
        x = self.inputs.sample(self.settings.starts, np.random.default_rng(0))[0]
        size = np.abs(to_numpy(self.network.evaluate(x)[-1]))
        return float(np.max(size, where=np.isfinite(size), initial=0.0))

    def whole(self) -> NearCells:
        box = Box.of(*self.inputs.range)
        return NearCells(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.int64), box.packed, self.inputs.centre)

    def first_points(self) -> NearPoints:
        rng = np.random.default_rng(0)
        starts = [self.inputs.centre, self.inputs.sample(self.settings.starts, rng)[0]]
        corners = self.inputs.corners(self.settings.starts)
        starts += [] if corners is None else [corners[0]]
        x, value = self._descended(self.inputs, np.concatenate(starts), _LONG * self.settings.descent)
        return NearPoints(x, np.zeros(len(x), np.int64), value)

    def bounded(self, cells: NearCells, upper: float) -> tuple[NearCells, NearPoints]:
        cells, sets = within_cells(self.inputs, cells)
        if not len(cells.bound):
            return cells, NearPoints(cells.start, cells.disjunct, cells.bound)
        pre = derived_there(self.network, sets, "crown", self.run)
        relaxed = Relaxed(spread_region(self.network, sets, pre.lower, pre.upper))
        x, value = self._descended(sets, cells.start, self.settings.descent)
        first = unit(self._gap(self.network.evaluate(x)[-1]))
        lower, sweep = self._certified(relaxed, np.repeat(first[:, None], 2, axis=1))
        side = chosen_sides(self.network, cells.boxes, pre, sweep, np.ones((len(lower), 2)))
        points = NearPoints(x, cells.disjunct, value)
        return NearCells(cells.disjunct, np.maximum(cells.bound, lower), side, cells.packed, x), points

    def attained(self, x: np.ndarray, disjunct: int) -> Attained | None:
        found = self._attained(x)
        if found is None or found.upper == 0 or found.upper > _NEAR * found.size:
            return found
        # On the target's border rounding tells nothing; inside it does.
        inner, _ = self._descended(self.inputs, found.x[None], self.settings.descent, self.target.centre)
        for share in _INWARD:
            there = self._attained(found.x + share * (inner[0] - found.x))
            if there is not None and there.upper == 0:
                return there
        return found

    def _attained(self, x: np.ndarray) -> Attained | None:
        point = point_of(self.inputs, x)
        if point is None:
            return None
        values = enclosed(self.network, Box.point(point[None]))
        output = to_numpy(self.network.evaluate(point[None])[-1])[0]
        nearest = point_of(self.target, output)
        if nearest is None or not np.isfinite(output).all():
            return None
        upper = 0.0 if lies_inside(self.target, values) else float(distance_above(nearest, *values.range)[0])
        return Attained(upper, point, nearest, float(np.abs([output, nearest]).max()))

    def _gap(self, output: Array, aim: Array | None = None) -> np.ndarray:
        """The way from the target's nearest point, or from another one, to an output."""
        return to_numpy(output - (self.target.project(output) if aim is None else aim))

    def _descended(
        self, sets: WalkableSet, x: Array, steps: int, aim: Array | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points of sets after some steps of projected descent of the squared distance, the best on the way.

        aim: a point instead of the target.

        Steps are those of Barzilai and Borwein, IMA Journal of Numerical Analysis 1988; the first is Polyak's.
        """
        x = best = to_numpy(x)
        least, unit_size = np.full(len(x), np.inf), np.ones((len(x), 1))
        before: tuple[np.ndarray, np.ndarray] | None = None
        for step in range(steps + 1):
            # Gaps and slopes are scaled apart, and steps counted in the first slope's size, so that nothing overflows.
            output, slope = output_and_gradient(self.network, x, lambda output: _scaled(self._gap(output, aim))[1])
            (size, gap), (height, slope) = _scaled(self._gap(output, aim)), _scaled(to_numpy(slope))
            square = np.sum(gap * gap, axis=-1, keepdims=True)
            value = (size * np.sqrt(square))[:, 0]
            better = value < least
            best, least = np.where(better[:, None], x, best), np.where(better, value, least)
            if step == steps or self.run.over():
                break
            if before is None:
                unit_size = size * height
                moved = x - size / height * square / np.sum(slope * slope, axis=-1, keepdims=True) * slope
                gradient = slope
            else:
                gradient = size * height / unit_size * slope
                way, turned = x - before[0], gradient - before[1]
                bent = np.sum(way * turned, axis=-1, keepdims=True)
                length = np.sum(way * way, axis=-1, keepdims=True) / np.where(bent > 0, bent, np.inf)
                moved = x - np.where(bent > 0, length, 1.0) * gradient
            before = x, gradient
            x = to_numpy(sets.project(np.where(np.isfinite(moved), moved, x)))
        return best, least

    def _certified(self, relaxed: Relaxed, v: np.ndarray) -> tuple[np.ndarray, Backward]:
        """Certified lower bounds in every part, and the sweep behind them.

        The first of two directions stays, the second moves.
        Shapes: v [parts, 2, outputs].
        """
        slopes = None
        if self.settings.iterations:
            climb = relaxed.climb(self._rows(v), None, self.settings.ascent, self.settings.iterations)
            v = self._moved(climb, v)
            slopes = climb.slopes
        lower, sweep = relaxed.certify(self._rows(v), slopes)
        if slopes is not None and np.isneginf(lower).any():
            # Iterations in float32 overflow first.
            plain, sweep = relaxed.certify(self._rows(v))
            lower = np.maximum(lower, plain)
        return to_numpy(lower).max(axis=1), sweep

    def _moved(self, climb: Climb, v: np.ndarray) -> np.ndarray:
        single, output = Placement.numpy(np.float32), self.network.output
        gap = np.full_like(v[:, 0], np.nan)
        while climb.done < climb.iterations:
            self.run.check()
            values = np.asarray(climb.step().values[output], dtype=np.float64)
            response = values[:, -1] - self.target.minimiser(-v[:, 1])
            gap = response if climb.done == 1 else gap
            step = gap - response
            square = np.sum(step * step, axis=-1, keepdims=True)
            share = np.sum(gap * step, axis=-1, keepdims=True) / np.where(square > 0, square, 1.0)
            gap = gap - np.clip(share, 0.0, 1.0) * step
            there = unit(gap)
            known = np.isfinite(there).all(axis=-1) & np.any(there, axis=-1)
            v = np.stack([v[:, 0], np.where(known[:, None], there, v[:, 1])], axis=1)
            # Constants move nothing.
            climb.functionals = Functionals({output: v}, np.zeros(v.shape[:2])).put(single)
        return v

    def _rows(self, v: np.ndarray) -> Functionals:
        """The functionals v'f(x) less the support of the target, rounded downward."""
        value, magnitude = self.target.minimum(-v)
        size = v.shape[-1]
        room = gamma(2 * size + 16) * 1.001 * magnitude + 4.0 * SMALLEST * size
        return Functionals({self.network.output: v}, np.nextafter(value - room, -np.inf))


def _scaled(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of vectors' largest entries, 1 for none, [..., 1], and the vectors divided by them."""
    size = np.abs(vectors).max(axis=-1, keepdims=True)
    size = np.where(size > 0, size, 1.0)
    return size, vectors / size
