"""What an input set is: everything that bounds, solvers, attacks and searches ask of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from typing import Any, Self

import numpy as np

from admm_verify.arrays import Array, Bool, Float, Placement, gamma, namespace, take_rows, to_numpy

Vectors = Float[Array, "... n"]
"""Functionals of inputs, points, or a number for each input of every set."""

Numbers = Float[Array, "..."]
"""A number for each of some functionals."""

Finder = Callable[[Array], tuple[Array, Array]]
"""find(coefficient) -> a minimiser of c'x and the value there, as `InputSet.best`."""

VertexVerb = Callable[[Array, Array, Array, Array], tuple[Array, Array]]
"""vertex(coefficient, lower, upper, owner) -> the best vertex of boxes, and the value there, fused."""

_GRIDS = (40, 30, 20, 10)
"""Binary digits that coordinates of points of flat sets keep."""


class InputSet(ABC):
    """A batch of convex, compact sets of inputs x, as far as bounds ask: leading axes count the sets, the last one the
    inputs.

    Functionals c and points x have shape [..., n], and their leading axes broadcast against those of the sets. Whoever
    needs a minimum, a point or a range asks the set.
    """

    @abstractmethod
    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        """min over the set of c'x as computed, or less, and a magnitude: the value exceeds the true one by at most
        gamma_N times that.

        N counts the n products, their sum, and a few roundings more; c itself may be off by a relative error that the
        same magnitude, at least sum |c_i| max|x_i|, accounts for.
        """

    @abstractmethod
    def minimiser(self, coefficient: Vectors) -> Vectors:
        """A point of the set where c'x is least, up to rounding."""

    @property
    @abstractmethod
    def range(self) -> tuple[Any, Any]:
        """Ends of an interval around every coordinate, [..., n]; rounded outward."""

    @property
    @abstractmethod
    def reach(self) -> Vectors:
        """max |x_i| over the set, rounded upward."""

    @cached_property
    def width(self) -> Vectors:
        """How long the range of every coordinate is, as computed."""
        lower, upper = self.range
        return upper - lower

    @cached_property
    def half(self) -> Vectors:
        """Half of that; no overflow even for the widest sets."""
        lower, upper = self.range
        return 0.5 * upper - 0.5 * lower

    @property
    def fills_range(self) -> bool:
        """Whether every set is all of its range, so that whoever knows the range knows the set."""
        return False

    @property
    def surrounding(self) -> tuple[Vectors, Numbers]:
        """Center [..., n] and radius [..., 1] of a Euclidean ball that holds the set; the radius is rounded upward."""
        (lower, upper), xp = self.range, namespace(self.numbers[0])
        center = 0.5 * lower + 0.5 * upper
        away = xp.maximum(upper - center, center - lower)
        most = xp.max(away, axis=-1, keepdims=True)
        scale = xp.where(most > 0, most, xp.ones_like(most))
        length = scale * xp.sqrt(xp.sum((away / scale) ** 2, axis=-1, keepdims=True))
        return center, length * (1.0 + 4.0 * gamma(self.size + 8))

    @property
    def sides(self) -> int:
        """The largest number of coordinates of positive width that one of the sets has."""
        lower, upper = self.range
        return int(np.max(np.sum(to_numpy(lower < upper), axis=-1)))

    @property
    @abstractmethod
    def numbers(self) -> tuple[Array, ...]:
        """The arrays that say which sets these are; leading axes count the sets, and the first array is [..., n]."""

    @property
    def burden(self) -> int:
        """How many more numbers each of the sets is made of than a box: what copies of it take."""
        first = len(self.lead)
        return max(0, sum(prod(part.shape[first:]) for part in self.numbers) - 2 * self.size)

    @classmethod
    @abstractmethod
    def of(cls, *numbers: Array) -> Self:
        """The sets of such `numbers`, which are not checked."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All sets of some batches, one batch after the other."""
        numbers = zip(*(part.numbers for part in parts), strict=True)
        return cls.of(*(namespace(*some).concat(some, axis=0) for some in numbers))

    def mapped(self, change: Callable[[Array], Array]) -> Self:
        """The sets with each of their `numbers` changed."""
        return self.of(*map(change, self.numbers))

    def take(self, rows: Array) -> Self:
        """The sets of the given rows only; one set that all rows share stays as it is."""
        return self.mapped(lambda part: take_rows(part, rows))

    def at(self, index: Any) -> Self:
        """The sets at an index of the leading axes, as arrays take it: numbers, a mask, slices, or new axes."""
        return self.mapped(lambda part: part[index])

    def part(self, first: int, last: int) -> Self:
        """Sets first..last; one set that all rows share stays as it is."""
        return self if self.count == 1 else self.at(slice(first, last))

    def spread(self) -> Self:
        """Sets [sets, n] with an axis for rows that share each of them, [sets, 1, n]."""
        return self.at((slice(None), None))

    def put(self, placement: Placement) -> Self:
        """The sets as numbers of another placement, rounded to nearest: for iterations, not for bounds."""
        return self.mapped(placement.put)

    @abstractmethod
    def seen(self, crop: Callable[[Array], Array]) -> "InputSet":
        """Sets that hold what is left of the points where crop takes some entries of every vector, zero for others."""

    @abstractmethod
    def covers(self, other: "InputSet") -> bool:
        """Whether sets of the same rows, or one of them shared by all rows, lie inside these."""

    @property
    def supersets(self) -> tuple["InputSet", ...]:
        """Sets that hold these: themselves, and what they are known to be parts of."""
        return (self,)

    @property
    def placement(self) -> Placement:
        """Where the numbers of the set live."""
        return Placement.of(self.numbers[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """The leading axes and the number n of inputs."""
        return tuple(self.numbers[0].shape)

    @property
    def lead(self) -> tuple[int, ...]:
        """The leading axes."""
        return self.shape[:-1]

    @property
    def count(self) -> int:
        """The number of sets along the first axis."""
        return self.shape[0]

    @property
    def size(self) -> int:
        """The number n of inputs."""
        return self.shape[-1]

    def best(self, coefficient: Vectors) -> tuple[Vectors, Numbers]:
        """A minimiser of c'x and the value there, as computed: what an iteration needs."""
        x = self.minimiser(coefficient)
        return x, namespace(x).sum(coefficient * x, axis=-1)

    def finder(self, vertex: VertexVerb, owner: Array) -> Finder:
        """`best` for many coefficients [..., n] one after the other, by a fused verb where the set has one.

        Shapes: owner [rows], the set of each of the flattened rows.
        """
        return self.best


class WalkableSet(InputSet):
    """An input set that solvers and attacks can move in: nearest points and steps have a closed form."""

    @abstractmethod
    def flattened(self, flatten: Callable[[Array], Array]) -> "WalkableSet":
        """The sets of tensors as sets of vectors [rows, n], where callers hand them in.

        flatten(array) brings a number for each entry of a tensor, or of each of some tensors, to [rows, n].
        Raises: InputError where the shapes do not fit, for empty sets, and for those that are not bounded.
        """

    @abstractmethod
    def within(self, lower: Vectors, upper: Vectors) -> "WalkableSet":
        """The parts of the sets inside boxes of float64 numbers, or sets that hold these parts and lie in the boxes.

        A part may be empty; then any bounds hold there.
        """

    def shared_with(
        self, ends: tuple[Vectors, Vectors], coefficient: Vectors
    ) -> tuple[Vectors, Vectors, Bool[Array, "..."]] | None:
        """The part d of functionals for which min over the sets of (c - d)'x + min over a box of d'x is greatest, up to
        rounding, points of the box near to minimisers over what it leaves of the sets, and whether both were found.

        None for sets that know no such way.
        """
        return None

    @abstractmethod
    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        """Whether points of float64 numbers lie in the sets, exactly: no rounding changes an answer."""

    def surely(self, x: Vectors) -> Bool[Array, "..."]:
        """Whether points of float64 numbers lie in the sets for certain; no, where that takes exact numbers to tell."""
        return self.contains(x)

    def found_inside(self, x: Vectors) -> Bool[Array, "..."]:
        """Whether points of float64 numbers lie in the sets, exactly where that is told soon; else if they `surely` do.

        Rational numbers tell on which side of a border a point lies, but of many dimensions they may take hours.
        """
        return self.contains(x)

    @abstractmethod
    def project(self, x: Vectors) -> Vectors:
        """The nearest point of the set, up to rounding."""

    def drawn_in(self, x: Vectors) -> Vectors:
        """Points near x that lie in the sets for certain, as float64 numbers; NaN where none is found.

        Nearest points are drawn towards the centre, a little at first, until they are there `surely`. Flat sets have no
        such points: there numbers of fewer and fewer digits are tried, which solve equations of few digits exactly.
        """
        xp, near = namespace(x), self.project(x)
        x = near
        out, centre = xp.ones_like(x[..., 0], dtype=xp.bool), xp.broadcast_to(self.centre, x.shape)
        # First by more than the roundings of a distance.
        for share in (max(2.0**-40, 8.0 * gamma(self.size)), 2.0**-30, 2.0**-20, 1.0):
            nearer = x + share * (centre - x) if share < 1.0 else centre
            x = xp.where(out[..., None], nearer, x)
            out = xp.logical_not(self.surely(x))
            if not bool(xp.any(out)):
                return x
        unit = xp.max(xp.abs(near), axis=-1, keepdims=True)
        unit = 2.0 ** xp.ceil(xp.log2(xp.where(unit > 0, unit, xp.ones_like(unit))))
        for digits in (None, *_GRIDS):
            short = near if digits is None else xp.round(near / unit * 2.0**digits) * (unit * 2.0**-digits)
            tried = xp.where(out[..., None], short, x)
            found = xp.logical_and(out, self.found_inside(tried))
            x, out = xp.where(found[..., None], tried, x), xp.logical_and(out, xp.logical_not(found))
            if not bool(xp.any(out)):
                return x
        out = xp.logical_and(out, xp.logical_not(self.found_inside(x)))
        return xp.where(out[..., None], xp.full_like(x, float("nan")), x)

    @property
    @abstractmethod
    def centre(self) -> Vectors:
        """A point in the middle of the set."""

    @cached_property
    def stride(self) -> Vectors:
        """How far splittings go in a unit step: a length of the sets, shared out evenly among the coordinates.

        It is a number [..., 1] of each set where coordinates have to take alike steps for the nearest point to be the
        right one; sets that are products of intervals have one for each coordinate, [..., n].
        """
        xp = namespace(self.numbers[0])
        # Some functional that no face of a set is likely to be orthogonal to.
        share = self.placement.put(np.cos(1.0 + np.arange(self.size)))
        along = xp.broadcast_to(share, self.shape)
        across = self.minimiser(along) - self.minimiser(-along)
        return xp.sqrt(xp.mean(across * across, axis=-1, keepdims=True))

    @abstractmethod
    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        """The points of the set nearest to where a step from x along a direction's steepest ascent leads.

        Steepest is meant in the set's own norm, in which a step of 1 goes from the centre to the border. Where the
        direction is NaN, it does not move.
        Shapes: step a number or [..., 1].
        """

    @abstractmethod
    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        """Uniform points of every set."""

    def corners(self, most: int) -> Float[Array, "... corners n"] | None:
        """All corners of every set, some of them several times; None where there are more."""
        return None

    @abstractmethod
    def inward(self, placement: Placement) -> Self:
        """The sets as numbers of another placement, without points that these lack.

        A set without any such point becomes one next to it.
        """
