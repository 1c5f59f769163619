"""How near the outputs of a network come to a set."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import SMALLEST, Float, Placement, gamma
from admm_verify.attacks.gradient import output_and_gradient
from admm_verify.bounds.climb import Climb
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.nearest.lengths import distance_above, unit
from admm_verify.nearest.points import enclosed, lies_inside, point_of
from admm_verify.nearest.search import Attained, NearCells, Nearness, NearPoints
from admm_verify.nearest.settings import DistanceSettings
from admm_verify.nearest.sides import chosen_sides, within_cells
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet

_LONG = 10
"""How many times as many steps the first descent takes as those in the parts."""


@dataclass(frozen=True, eq=False)
class OutputNearness(Nearness):
    """min |f(x) - s|_2 over x in a set of inputs and s in a set of outputs.

    For any v with |v|_2 <= 1, |f(x) - s|_2 >= v'f(x) - v's, so that a certified lower bound of the functional v'f over a
    part of the inputs, and the support of the target, bound the distance there. v is the direction from the target to a
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
        pre = derived_bounds(self.network, sets, "crown", self.run)
        relaxed = Relaxed(spread_region(self.network, sets, pre.lower, pre.upper))
        x, value = self._descended(sets, cells.start, self.settings.descent)
        first = unit(self._gap(self.network.evaluate(x)[-1])[0])
        lower, coefficient = self._certified(relaxed, np.repeat(first[:, None], 2, axis=1))
        side = chosen_sides(cells.boxes, coefficient)
        points = NearPoints(x, cells.disjunct, value)
        return NearCells(cells.disjunct, np.maximum(cells.bound, lower), side, cells.packed, x), points

    def attained(self, x: np.ndarray, disjunct: int) -> Attained | None:
        point = point_of(self.inputs, x)
        if point is None:
            return None
        values = enclosed(self.network, Box.point(point[None]))
        output = self.network.evaluate(point[None])[-1]
        nearest = point_of(self.target, output[0])
        if nearest is None or not np.isfinite(output).all():
            return None
        upper = 0.0 if lies_inside(self.target, values) else float(distance_above(nearest, *values.range)[0])
        return Attained(upper, point, output[0], nearest)

    def _gap(self, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way from the target's nearest point to an output, and its length as computed."""
        gap = output - self.target.project(output)
        return gap, np.sqrt(np.sum(gap * gap, axis=-1))

    def _descended(self, sets: WalkableSet, x: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Points of sets after some steps of projected descent of the squared distance, the best on the way.

        Steps are those of Barzilai and Borwein, IMA Journal of Numerical Analysis 1988; the first is Polyak's.
        """
        best, least = x, np.full(len(x), np.inf)
        before: tuple[np.ndarray, np.ndarray] | None = None
        for step in range(steps + 1):
            output, gradient = output_and_gradient(self.network, x, lambda output: self._gap(output)[0])
            value = self._gap(output)[1]
            better = value < least
            best, least = np.where(better[:, None], x, best), np.where(better, value, least)
            if step == steps or self.run.over():
                break
            square = np.sum(gradient * gradient, axis=-1)
            length = value * value / np.where(square > 0, square, 1.0)
            if before is not None:
                moved, turned = x - before[0], gradient - before[1]
                along, bent = np.sum(moved * moved, axis=-1), np.sum(moved * turned, axis=-1)
                length = np.where(bent > 0, along / np.where(bent > 0, bent, 1.0), length)
            before = x, gradient
            x = sets.project(np.nan_to_num(x - length[:, None] * gradient))
        return best, least

    def _certified(self, relaxed: Relaxed, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Certified lower bounds in every part, and coefficients of the inputs behind them, [parts, 2, n].

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
        return lower.max(axis=1), sweep.input

    def _moved(self, climb: Climb, v: np.ndarray) -> np.ndarray:
        single, output = Placement.numpy(np.float32), self.network.output
        gap: np.ndarray | None = None
        while climb.done < climb.iterations:
            self.run.check()
            values = np.asarray(climb.step().values[output], dtype=np.float64)
            response = values[:, -1] - self.target.minimiser(-v[:, 1])
            if gap is None:
                gap = response
            step = gap - response
            square = np.sum(step * step, axis=-1, keepdims=True)
            share = np.sum(gap * step, axis=-1, keepdims=True) / np.where(square > 0, square, 1.0)
            gap = gap - np.clip(share, 0.0, 1.0) * step
            there = unit(gap)
            known = np.isfinite(there).all(axis=-1) & there.any(axis=-1)
            v = np.stack([v[:, 0], np.where(known[:, None], there, v[:, 1])], axis=1)
            climb.functionals = self._rows(v).put(single)
        return v

    def _rows(self, v: np.ndarray) -> Functionals:
        """The functionals v'f(x) less the support of the target, rounded downward."""
        value, magnitude = self.target.minimum(-v)
        size = v.shape[-1]
        room = gamma(2 * size + 16) * 1.001 * magnitude + 4.0 * SMALLEST * size
        return Functionals({self.network.output: v}, np.nextafter(value - room, -np.inf))
