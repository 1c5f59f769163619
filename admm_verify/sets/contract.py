"""What an input set is: everything that bounds, solvers, attacks and searches ask of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from admm_verify.arrays import Array, Placement, namespace

Finder = Callable[[Array], tuple[Array, Array]]
"""find(coefficient) -> a minimiser of c'x and the value there, as `InputSet.best`."""

VertexVerb = Callable[[Array, Array, Array, Array], tuple[Array, Array]]
"""vertex(coefficient, lower, upper, owner) -> the best vertex of boxes, and the value there, fused."""


class InputSet(ABC):
    """A batch of convex, compact sets of inputs x: leading axes count the sets, the last one the inputs.

    Functionals c and points x have shape [..., n], and their leading axes broadcast against those of the sets. Whoever
    needs a minimum, a point, a projection or a range asks the set.
    """

    @abstractmethod
    def minimum(self, coefficient: Array) -> tuple[Array, Array]:
        """min over the set of c'x as computed, and a magnitude: the value is off by at most gamma_N times that.

        N counts the n products, their sum, and a few roundings more; c itself may be off by a relative error that the
        same magnitude, at least sum |c_i| max|x_i|, accounts for.
        Shapes: [..., n] -> value, magnitude [...].
        """

    @abstractmethod
    def minimiser(self, coefficient: Array) -> Array:
        """A point of the set where c'x is least, up to rounding, [..., n]."""

    @abstractmethod
    def project(self, x: Array) -> Array:
        """The nearest point of the set, up to rounding, [..., n]."""

    @property
    @abstractmethod
    def range(self) -> tuple[Array, Array]:
        """Ends of an interval around every coordinate, [..., n]; rounded outward."""

    @property
    @abstractmethod
    def reach(self) -> Array:
        """max |x_i| over the set, [..., n]; rounded upward."""

    @property
    def width(self) -> Array:
        """How long the range of every coordinate is, as computed, [..., n]."""
        lower, upper = self.range
        return upper - lower

    @abstractmethod
    def take(self, rows: Array) -> Self:
        """The sets of the given rows only; one set that all rows share stays as it is."""

    @abstractmethod
    def put(self, placement: Placement) -> Self:
        """The sets as numbers of another placement, rounded to nearest: for iterations, not for bounds."""

    @abstractmethod
    def spread(self) -> Self:
        """Sets [sets, n] with an axis for rows that share each of them, [sets, 1, n]."""

    @abstractmethod
    def covers(self, other: "InputSet") -> bool:
        """Whether sets of the same rows, or one of them shared by all rows, lie inside these."""

    @property
    def placement(self) -> Placement:
        """Where the numbers of the set live."""
        return Placement.of(self.reach)

    @property
    def lead(self) -> tuple[int, ...]:
        """The leading axes."""
        return tuple(self.reach.shape[:-1])

    @property
    def size(self) -> int:
        """The number n of inputs."""
        return self.reach.shape[-1]

    def best(self, coefficient: Array) -> tuple[Array, Array]:
        """A minimiser of c'x and the value there, as computed: what an iteration needs. Shapes: [..., n], [...]."""
        x = self.minimiser(coefficient)
        return x, namespace(x).sum(coefficient * x, axis=-1)

    def finder(self, vertex: VertexVerb, owner: Array) -> Finder:
        """`best` for many coefficients [..., n] one after the other, by a fused verb where the set has one.

        Shapes: owner [rows], the set of each of the flattened rows.
        """
        return self.best
