"""How near inputs come to a point of all those whose outputs fulfil a condition."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from admm_verify.arrays import Float, to_numpy
from admm_verify.attacks.gradient import output_and_gradient
from admm_verify.bounds.arithmetic import output_reach
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.bounds.there import derived_there
from admm_verify.memory import Budget
from admm_verify.nearest.planes import BelowPlanes
from admm_verify.nearest.points import PULLS, enclosed
from admm_verify.nearest.search import Attained, NearCells, Nearness, NearPoints
from admm_verify.nearest.settings import DistanceSettings
from admm_verify.nearest.sides import chosen_sides, within_cells
from admm_verify.network.graph import Network
from admm_verify.properties.property import Disjunct, Property
from admm_verify.properties.rows import atom_rows
from admm_verify.rationals import nearest_float
from admm_verify.run import Run, Stopped
from admm_verify.sets.ball import Ball
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.lengths import distance_above

_SLACK = 1e-11
"""By how much of their terms' sizes atoms are to hold at the points that are tried, so that rounding leaves them so."""

_LONG = 3
"""How many times as many steps the first descent takes as those in the parts."""

_FARTHEST = 2.0**-16
"""Of the way to the centre of its set, what points outside are moved by at most."""

_FARTHER = (0.0, 1e-9, 1e-7, 1e-5)
"""Shares of the distance by which points are moved farther away."""

_FEW = 6
"""Inputs of positive width up to which halves come at once."""

_RADII, _CLIMBED = 12, 30
"""Balls that are bounded before any part, and the steps of slope ascent for each."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """Conditions objective y + offset <= 0 for all atoms and x in a set, one such conjunction for each disjunct.

    Shapes: inputs [disjuncts, n]; objective [disjuncts, atoms, outputs]; offset, strict [disjuncts, atoms].
    """

    inputs: WalkableSet
    objective: np.ndarray
    offset: np.ndarray
    strict: np.ndarray

    @classmethod
    def of(cls, network: Network, found: Property, run: Run) -> "Atoms":
        """The atoms of a property, at most zero wherever they hold over the inputs of its disjuncts."""
        rows = atom_rows(found, Budget.of(run))
        if (rows.rounding > 0).any():
            pre = derived_bounds(network, rows.boxes, "interval", run)
            rows = rows.charged(output_reach(network, rows.boxes, pre))
        # A disjunct without atoms holds everywhere in its box.
        padded = rows.padded(range(len(rows.disjuncts)))
        objective = np.concatenate([rows.objective, np.zeros((1, network.output_size))])[padded]
        offset = np.concatenate([rows.offset, [-1.0]])[padded]
        inputs = rows.inputs.at(np.array(rows.owner))
        return cls(inputs, objective, offset, np.concatenate([rows.strict, [False]])[padded])

    def values(self, output: np.ndarray, disjunct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The atoms at outputs [points, outputs], and the sizes of their terms, [points, atoms]."""
        objective, offset = self.objective[disjunct], self.offset[disjunct]
        value = np.einsum("pjm,pm->pj", objective, output) + offset
        return value, np.einsum("pjm,pm->pj", np.abs(objective), np.abs(output)) + np.abs(offset)


@dataclass(frozen=True, eq=False)
class InputNearness(Nearness):
    """min |x - point|_2 over the inputs x of a disjunct whose atoms hold for f(x).

    Every part has planes a_j'x + c_j below its atoms, certified, so that the distance is at least that of the part
    below these planes; descent linearises the atoms and takes the nearest point in turn.

    Shapes: point [n]; all in float64 on NumPy.
    """

    network: Network
    atoms: Atoms
    disjuncts: tuple[Disjunct, ...]
    point: Float[np.ndarray, " n"]
    settings: DistanceSettings
    run: Run

    @property
    def inputs(self) -> WalkableSet:
        """The inputs of every disjunct, [disjuncts, n]."""
        return self.atoms.inputs

    @property
    def numbers(self) -> int:
        return 4 * self.atoms.offset.shape[1] * sum(node.size for node in self.network.nodes)

    @property
    def scale(self) -> float:
        width = to_numpy(self.inputs.width)
        width = width[(width > 0) & np.isfinite(width)]
        return float(width.min()) if width.size else 0.0

    def whole(self) -> NearCells:
        count, packed = self.inputs.count, Box.of(*self.inputs.range).packed
        start = self.inputs.project(np.broadcast_to(self.point, (count, len(self.point))))
        return NearCells(np.arange(count), np.zeros(count), np.zeros(count, np.int64), packed, start)

    def first_points(self) -> NearPoints:
        rng, most = np.random.default_rng(0), max(1, self.settings.starts // self.inputs.count)
        starts = self.inputs.sample(most, rng)
        near = self.inputs.project(np.broadcast_to(self.point, (self.inputs.count, len(self.point))))
        x = np.concatenate([starts, near[:, None]], axis=1)
        disjunct = np.repeat(np.arange(self.inputs.count), x.shape[1])
        x = x.reshape(len(disjunct), -1)
        return self._descended(self.inputs.at(disjunct), x, disjunct, _LONG * self.settings.descent)

    def bounded(self, cells: NearCells, upper: float) -> tuple[NearCells, NearPoints]:
        # Points that are farther away on one side alone do not matter.
        reach = np.nextafter(upper * (1.0 + 1e-12), np.inf)
        near = np.nextafter(self.point - reach, -np.inf), np.nextafter(self.point + reach, np.inf)
        cells, sets = within_cells(self.inputs, replace(cells, packed=cells.boxes.within(*near).packed))
        if not len(cells.bound):
            return cells, NearPoints(cells.start, cells.disjunct, cells.bound)
        atoms, settings = self.atoms, self.settings
        pre = derived_there(self.network, sets, "crown", self.run)
        relaxed = Relaxed(spread_region(self.network, sets, pre.lower, pre.upper))
        output = self.network.output
        rows = Functionals({output: atoms.objective[cells.disjunct]}, atoms.offset[cells.disjunct])
        found = relaxed.bounded(rows, None, settings.ascent, settings.iterations, self.run)
        slope, shift = map(to_numpy, relaxed.plane(rows, found.slopes))
        below = BelowPlanes(sets, slope, shift)
        x, mu = below.nearest(self.point)
        bound = np.maximum(cells.bound, below.bound(self.point, x, mu))
        # Where no plane keeps the nearest point out, all may do so once they are better.
        weight = np.where(mu.any(axis=1, keepdims=True), mu, 1.0)
        side = chosen_sides(self.network, cells.boxes, pre, found.sweep, weight)
        strict = atoms.strict[cells.disjunct]
        excluded = ((found.lower > 0) | (strict & (found.lower >= 0))).any(axis=1)
        cells = NearCells(cells.disjunct, np.where(excluded, np.inf, bound), side, cells.packed, x)
        return cells, self._descended(sets, x, cells.disjunct, settings.descent)

    def floor(self, upper: float) -> float:
        """The radius of a ball around the point where no disjunct's atoms hold, by bounds over some such balls."""
        if self.inputs.sides <= _FEW:
            return 0.0
        low, high = self.inputs.range
        clear, most = 0.0, min(upper, float(np.min(distance_above(self.point, low, high))))
        for _ in range(_RADII):
            radius = 0.5 * (clear + most)
            if not np.isfinite(radius) or self.run.over():
                break
            try:
                clear, most = (radius, most) if self._clear(radius) else (clear, radius)
            except Stopped:
                break
        return clear

    def _clear(self, radius: float) -> bool:
        """Whether no disjunct's atoms hold within a radius around the point, by bounds over the ball.

        Raises: Stopped.
        """
        balls = Ball(np.broadcast_to(self.point, self.inputs.shape), radius).within(*self.inputs.range)
        pre = derived_there(self.network, balls, "crown", self.run)
        relaxed = Relaxed(spread_region(self.network, balls, pre.lower, pre.upper))
        rows = Functionals({self.network.output: self.atoms.objective}, self.atoms.offset)
        found = relaxed.bounded(rows, None, self.settings.ascent, _CLIMBED, self.run)
        return bool((to_numpy(found.lower) > 0).any(axis=1).all())

    def attained(self, x: np.ndarray, disjunct: int) -> Attained | None:
        # A little farther away atoms hold for certain that rounding leaves open on their border.
        for farther in _FARTHER:
            found = self._admitted(x + farther * (x - self.point), disjunct)
            # Whether a point is in a flat set takes exact numbers, and time.
            if found is not None or self.run.over():
                return found
        return None

    def _admitted(self, x: np.ndarray, disjunct: int) -> Attained | None:
        """What is attained at an input of a disjunct next to x."""
        wanted, centre = self.disjuncts[disjunct], to_numpy(self.inputs.centre)[disjunct]
        for pull in (0.0, *PULLS[PULLS < _FARTHEST]):
            exact = wanted.box.nearest(x + pull * (centre - x), np.float64)
            if exact is None or self.run.over():
                return None
            if wanted.admits(exact):
                return self._attained(wanted, exact)
        return None

    def _attained(self, wanted: Disjunct, exact: tuple[Fraction, ...]) -> Attained | None:
        """The distance of an exact input of a disjunct; None where it is not certain that the atoms hold there."""
        there = ExactBox.point(exact).enclosure
        if not _hold(wanted, enclosed(self.network, there.at(None))):
            return None
        low, high = there.range
        x = np.array([nearest_float(value) for value in exact])
        size = float(np.abs([x, self.point]).max())
        return Attained(float(distance_above(self.point, low, high)), x, self.point, size)

    def _descended(self, sets: WalkableSet, x: np.ndarray, disjunct: np.ndarray, steps: int) -> NearPoints:
        """The nearest points on the way of some steps, where the atoms hold as computed; infinite values elsewhere."""
        best, least = x, np.full(len(x), np.inf)
        for step in range(steps + 1):
            value, size, gradient = self._linearised(x, disjunct)
            length = np.sqrt(np.sum((x - self.point) ** 2, axis=-1))
            better = (value <= 0).all(axis=1) & (length < least)
            best, least = np.where(better[:, None], x, best), np.where(better, length, least)
            if step == steps or self.run.over():
                break
            # Onto the atoms as they are here by the shortest way, and to the point of them nearest to ours, by turns.
            shift = value + _SLACK * size - np.einsum("pjn,pn->pj", gradient, x)
            moved = BelowPlanes(sets, gradient, shift).nearest(x if step % 2 else self.point)[0]
            x = np.where(np.isfinite(moved), moved, x)
        return NearPoints(best, disjunct, least)

    def _linearised(self, x: np.ndarray, disjunct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The atoms at points, the sizes of their terms [points, atoms], and the gradients [points, atoms, n]."""
        objective = self.atoms.objective[disjunct]
        count, atoms, outputs = objective.shape
        again = np.repeat(x, atoms, axis=0)
        found = output_and_gradient(self.network, again, lambda _: objective.reshape(-1, outputs))
        output, gradient = map(to_numpy, found)
        value, size = self.atoms.values(output.reshape(count, atoms, outputs)[:, 0], disjunct)
        return value, size, gradient.reshape(*objective.shape[:2], x.shape[1])


def _hold(wanted: Disjunct, values: Box) -> bool:
    """Whether all atoms of a disjunct hold all over a box of outputs [1, outputs], exactly."""
    low, high = (end[0] for end in values.range)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return not wanted.atoms
    for atom in wanted.atoms:
        ends = ((c, Fraction(float((high if c > 0 else low)[i]))) for i, c in atom.terms)
        largest = sum((c * end for c, end in ends), atom.constant)
        if largest > 0 or (atom.strict and largest == 0):
            return False
    return True
