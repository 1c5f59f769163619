"""Everything that a trajectory depends on: the first state and the noise of all steps, as numbers of a set."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from admm_verify.arrays import Bool, Float, gamma
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.reach.anchor import Anchor
from admm_verify.reach.chart import Chart, chart_of, product
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet, WalkableSet
from admm_verify.sets.contraction import apart
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.product import Product

_SHARE = 2.0**-40
"""Of the way to the centre, more than states are rounded by."""


@dataclass(frozen=True, eq=False)
class StartSet:
    """A set of numbers z, those of the first state and, behind them, of the noise; and boxes, the cells, that it is
    cut into.

    first: how the first numbers give the first state. all: the set. exact: the box that it stands for in exact
    numbers, None for other sets.
    Shapes: all [numbers].
    """

    first: Chart
    all: WalkableSet
    exact: ExactBox | None

    @property
    def box(self) -> Box:
        """The box around the set, [numbers]."""
        return self.all if isinstance(self.all, Box) else Box.of(*self.all.range)

    @property
    def width(self) -> Float[np.ndarray, " n"]:
        """How long the range of every number is."""
        return np.asarray(self.box.width if self.exact is None else self.exact.inside.width)

    @property
    def sides(self) -> int:
        """How many numbers, the first ones, cells are halved at: noise only where the first state is a single one."""
        return self.first.numbers if self.first.base.sides else self.all.size

    def grid(self, sides: int) -> Box:
        """Cells that cover the set, so many along each number of the first state, [cells, numbers]."""
        count = self.first.numbers
        first, rest = (self.box.at(part) for part in (slice(count), slice(count, None)))
        cells = first.grid(sides).times(rest)
        return cells.at(self.met(cells))

    def first_part(self, cells: Box) -> WalkableSet:
        """What of the set of the first state's numbers lies in each cell, or a little more of the cell."""
        return _inside(self.first.base, cells.at((slice(None), slice(self.first.numbers))))

    def part(self, cells: Box) -> WalkableSet:
        """What of the set lies in each cell, or a little more of the cell."""
        return _inside(self.all, cells)

    def met(self, cells: Box) -> Bool[np.ndarray, " cells"]:
        """Which cells the set may have points in."""
        return np.ones(cells.count, dtype=bool) if isinstance(self.all, Box) else ~apart(self.all.at(None), cells)

    def with_noise(self, noise: WalkableSet) -> "StartSet":
        """The same first states with other noise behind them."""
        return starts_of(self.first.whole, None, noise)

    def support(self, cells: Box, directions: Float[np.ndarray, "d n"]) -> Float[np.ndarray, "cells d"]:
        """Upper bounds of d'x over the first states of each cell; for boxes exact along a coordinate."""
        own, whole = self.first_part(cells), self.first.whole
        if isinstance(whole, Box):
            return cells.at((slice(None), slice(whole.size))).support(directions)
        if self.first.is_plain:
            found = upper_support(own.spread(), directions)
        else:
            anchor, numbers = Anchor.of(own)
            found = anchor.support(self.first.forms(numbers), directions)
        # What holds of the set holds of its parts.
        known = np.minimum(upper_support(whole, directions), Box.of(*whole.range).at(None).support(directions)[0])
        return np.minimum(found, known)

    def within(self, z: Float[np.ndarray, "points n"]) -> Float[np.ndarray, "points n"]:
        """Points that bounds over parts come with, where those may hold a little more than the set."""
        return z if isinstance(self.all, Box) else self.near(z)

    def holds(self, z: Float[np.ndarray, "points n"]) -> Bool[np.ndarray, " points"]:
        """Which points lie in the set, exactly; for a box, those that `around` stands for."""
        if isinstance(self.all, Box):
            return np.ones(len(z), dtype=bool)
        return np.asarray(self.all.contains(z))

    def scattered(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "points n"]:
        """Points of the set, a quarter of them extreme ones, where extremes like to be."""
        return self._drawn_in(scattered(self.all if self.exact is None else self.exact.inside, count, rng))

    def near(self, z: Float[np.ndarray, "points n"]) -> Float[np.ndarray, "points n"]:
        """The nearest points of the set, up to rounding; inside it wherever the set has room for that."""
        return self._drawn_in(nearest(self.all if self.exact is None else self.exact.inside, z))

    def _drawn_in(self, z: Float[np.ndarray, "points n"]) -> Float[np.ndarray, "points n"]:
        """A little nearer to the centre where states are images, which rounding may move out of the set."""
        return z if self.first.is_plain else z + _SHARE * (self.centre - z)

    @property
    def centre(self) -> Float[np.ndarray, " n"]:
        """A point in the middle of the set."""
        return np.asarray(self.all.centre if self.exact is None else self.exact.inside.centre)

    def around(self, z: Float[np.ndarray, "points n"]) -> Box:
        """The smallest boxes that hold an exact point of the set near each of some that it holds."""
        return Box.point(z) if self.exact is None else self.exact.around(z)


def starts_of(initial: WalkableSet, exact: ExactBox | None, noise: WalkableSet) -> StartSet:
    """The numbers of first states in a set [n], and behind them of noise.

    exact: what a box stands for in exact numbers, None where it stands for itself.
    """
    first = chart_of(initial)
    every = product([first.base, noise])
    if not isinstance(first.base, Box) or not isinstance(noise, Box):
        return StartSet(first, every, None)
    own = exact if first.is_plain and exact is not None else ExactBox.of(first.base)
    return StartSet(first, every, own.times(ExactBox.of(noise)))


def _inside(inputs: WalkableSet, cells: Box) -> WalkableSet:
    """What of a set [n] lies in each cell, or a little more of the cell."""
    if isinstance(inputs, Box):
        return cells
    if isinstance(inputs, Product):
        ends = np.cumsum([0, *(factor.size for factor in inputs.factors)])
        own = (cells.at((slice(None), slice(*pair))) for pair in pairwise(ends))
        return Product.of_parts(*map(_inside, inputs.factors, own))
    every = inputs.at(None).at(np.zeros(cells.count, dtype=int))
    # Bounds over the set itself are tighter than those over cuts, and take less time.
    return every if cells.covers(Box.of(*inputs.range)) else every.within(*cells.range)


def first_forms(cells: Box, states: int, starts: StartSet | None) -> tuple[Anchor, AffineForms, int]:
    """Forms of the first states of each cell, what their symbols stand for, and how many numbers give a state.

    starts: what the cells are parts of, None for boxes of that many states, with noise behind them.
    """
    if starts is None:
        return *Anchor.of(cells.at((slice(None), slice(states)))), states
    anchor, numbers = Anchor.of(starts.first_part(cells))
    return anchor, starts.first.forms(numbers), starts.first.numbers


def scattered(inputs: WalkableSet, count: int, rng: np.random.Generator) -> Float[np.ndarray, "points n"]:
    """Points of a set [n], a quarter of them extreme ones, where extremes like to be."""
    if isinstance(inputs, Box):
        return inputs.scattered(count, rng)
    points = np.array(inputs.sample(count, rng))
    points[: count // 4] = inputs.minimiser(rng.standard_normal(points[: count // 4].shape))
    return nearest(inputs, points)


def nearest(inputs: WalkableSet, x: Float[np.ndarray, "points n"]) -> Float[np.ndarray, "points n"]:
    """The nearest points of a set [n], up to rounding; inside it wherever the set has room for that."""
    inside = drawn_inside(inputs, x)
    # Sets without room, such as part of a plane, may hold no float64 numbers.
    return np.where(np.isnan(inside), np.asarray(inputs.project(x)), inside)


def drawn_inside(inputs: WalkableSet, x: Float[np.ndarray, "points n"]) -> Float[np.ndarray, "points n"]:
    """Points of a set [n] near some, for certain: those that it holds as they are; NaN where none is found."""
    held = np.asarray(inputs.found_inside(x))[:, None]
    if held.all():
        return x
    near = x + _SHARE * (np.asarray(inputs.centre) - x)
    close = np.where(np.asarray(inputs.found_inside(near))[:, None], near, np.asarray(inputs.drawn_in(x)))
    return np.where(held, x, close)


def upper_support(inputs: InputSet, directions: Float[np.ndarray, "d n"]) -> Float[np.ndarray, "... d"]:
    """max d'x over sets whose leading axes broadcast against the directions, rounded upward."""
    least, size = inputs.minimum(-directions)
    return np.nextafter(gamma(inputs.size + 16) * size - least, np.inf)
