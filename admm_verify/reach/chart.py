"""How numbers of a set give a state, or noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import gamma
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.sets.ball import Ball
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.ellipsoid import Ellipsoid
from admm_verify.sets.product import Product
from admm_verify.sets.zonotope import Zonotope

_UPWARD = 1.0 + 1e-12
"""Makes up for the rounding of norms of matrices with thousands of entries."""


@dataclass(frozen=True, eq=False)
class Chart:
    """States matrix z + shift of numbers z in a set, which hold a set of states; without a matrix, z itself.

    Cells are cut out of `base`: for a zonotope a box, whose cells are zonotopes again, and for an ellipsoid a ball, so
    that cells lie along its axes. whole: the states.
    Shapes: whole [n]; base [m]; matrix [n, m]; shift [n].
    """

    whole: WalkableSet
    base: WalkableSet
    matrix: np.ndarray | None = None
    shift: np.ndarray | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the numbers are the state itself."""
        return self.matrix is None

    @property
    def numbers(self) -> int:
        """How many numbers give a state."""
        return self.base.size

    @property
    def size(self) -> int:
        """How many numbers a state has."""
        return self.whole.size

    def applied(self, builder: Builder, z: Tensor) -> Tensor:
        """The state as a part of a network that reads the numbers."""
        if self.matrix is None or self.shift is None:
            return z
        return Tensor(builder.affine(z, DenseMap(self.matrix), self.shift), self.shift.shape)

    def states(self, z: np.ndarray) -> np.ndarray:
        """The states of numbers [..., m], up to rounding, [..., n]."""
        if self.matrix is None or self.shift is None:
            return z
        return z @ self.matrix.T + self.shift

    def forms(self, z: AffineForms) -> AffineForms:
        """The states over forms of the numbers."""
        if self.matrix is None or self.shift is None:
            return z
        return z.image(np.broadcast_to(self.matrix, (*z.lead, *self.matrix.shape)), self.shift)


def chart_of(given: WalkableSet, along_axes: bool = True) -> Chart:
    """The numbers that a set [n] is cut by: those of a ball for an ellipsoid, of a box for a zonotope, else its own.

    along_axes: whether to do so for ellipsoids, whose states are then a little more than the set.
    """
    if isinstance(given, Zonotope):
        ends = np.ones(given.symbols)
        return Chart(given, Box.of(-ends, ends), np.asarray(given.generators), np.asarray(given.center))
    if isinstance(given, Ellipsoid) and along_axes:
        radius = _ball_radius(given)
        if np.isfinite(radius):
            ball = Ball(np.zeros(given.size), radius)
            return Chart(given, ball, np.asarray(given.axes), np.asarray(given.center))
    if isinstance(given, Product):
        parts = [chart_of(factor, along_axes) for factor in given.factors]
        if not all(part.is_plain for part in parts):
            return _beside(given, parts)
    return Chart(given, given)


def product(parts: Sequence[WalkableSet]) -> WalkableSet:
    """The set of points of all parts [n_i], one behind the other; a box where they are boxes."""
    if all(isinstance(part, Box) for part in parts):
        ends = zip(*(part.range for part in parts), strict=True)
        return Box.of(*map(np.concatenate, ends))
    some = [part for part in parts if part.size]
    return some[0] if len(some) == 1 else Product(*some)


def _ball_radius(given: Ellipsoid) -> float:
    """r with the ellipsoid inside {center + U z : |z| <= r}, for its axes U; infinite where it is flat.

    c' shape c <= |U'c|^2 + |e c|^2 for its spare e, and |e c| <= t |U'c| with t = |U^-1 diag(e)|: r^2 = 1 + t^2.
    From an inverse G as computed, |U^-1 diag(e)| <= |G diag(e)| / (1 - |G U - I|).
    Error: rounded upward.
    """
    axes, inverse, spare = (np.asarray(part) for part in (given.axes, given.inverse, given.spare))
    rounding = gamma(given.size + 4) * (np.abs(inverse) @ np.abs(axes))
    off = float(np.linalg.norm(np.abs(inverse @ axes - np.eye(given.size)) + rounding)) * _UPWARD
    if not off < 0.5:
        return np.inf
    t = float(np.linalg.norm(inverse * spare)) * _UPWARD / (1.0 - off)
    return float(np.nextafter(1.0 + 0.5 * t * t * _UPWARD, np.inf))


def _beside(whole: Product, parts: list[Chart]) -> Chart:
    """The charts of a product's factors as one."""
    matrix = np.zeros((whole.size, sum(part.numbers for part in parts)))
    shift, row, column = np.zeros(whole.size), 0, 0
    for part in parts:
        rows, columns = slice(row, row + part.size), slice(column, column + part.numbers)
        plain = part.matrix is None or part.shift is None
        matrix[rows, columns] = np.eye(part.size) if plain else part.matrix
        shift[rows] = 0.0 if plain else part.shift
        row, column = rows.stop, columns.stop
    return Chart(whole, product([part.base for part in parts]), matrix, shift)
