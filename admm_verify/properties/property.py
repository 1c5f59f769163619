"""The in-memory property: input boxes and linear output atoms, in exact rational numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

from admm_verify.reprs import short_repr
from admm_verify.sets.exact import ExactBox


@dataclass(frozen=True)
class Variable:
    """A declared tensor; element_type in lower case ("real", "float32", ...), shape () for a scalar."""

    name: str
    element_type: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)


@dataclass(frozen=True)
class NetworkDeclaration:
    """The interface a query declares for one network; name is "" in VNN-LIB 1.0, which declares none."""

    name: str
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]


@dataclass(frozen=True, slots=True)
class Atom:
    """The constraint sum of coefficient * y[index] + constant <= 0 (< 0 when strict) on the flat output y.

    line is where it stands in the file and makes no difference. Coefficients of one output are added up.
    """

    terms: tuple[tuple[int, Fraction], ...]
    constant: Fraction
    strict: bool
    line: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if len(dict(self.terms)) < len(self.terms):
            total: dict[int, Fraction] = {}
            for index, coefficient in self.terms:
                total[index] = total.get(index, Fraction(0)) + coefficient
            object.__setattr__(self, "terms", tuple(total.items()))

    def __hash__(self) -> int:
        # Hashing a Fraction takes a modular inverse; its two integers serve as well.
        numbers = [(index, value.numerator, value.denominator) for index, value in self.terms]
        return hash((*numbers, self.constant.numerator, self.constant.denominator, self.strict))

    def value(self, y: Sequence[Fraction]) -> Fraction:
        """The left-hand side at y, exactly."""
        return sum((coefficient * y[index] for index, coefficient in self.terms), self.constant)

    def holds(self, y: Sequence[Fraction]) -> bool:
        """Whether y satisfies the atom, exactly."""
        value = self.value(y)
        return value < 0 if self.strict else value <= 0


@dataclass(frozen=True, slots=True)
class Disjunct:
    """One way to satisfy a query: x in the box and all atoms hold for f(x). Disjuncts may share one box object."""

    box: ExactBox
    atoms: tuple[Atom, ...]

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Whether the pair (x, y) satisfies the disjunct, exactly."""
        return self.box.holds(x) and all(atom.holds(y) for atom in self.atoms)


@dataclass(frozen=True, repr=False)
class Property:
    """A query's meaning: satisfied by x when some disjunct holds for (x, f(x)).

    version is the VNN-LIB version of the file, (1, 0) or (2, n). impossible: where there is no disjunct, why, in words.
    """

    version: tuple[int, int]
    networks: tuple[NetworkDeclaration, ...]
    disjuncts: tuple[Disjunct, ...]

    __repr__ = short_repr

    @property
    def arithmetic(self) -> str:
        """The arithmetic the query declares: the first element type that is not "real", else "real"."""
        sides = [variable for part in self.networks for variable in (*part.inputs, *part.outputs)]
        return next((side.element_type for side in sides if side.element_type != "real"), "real")

    impossible: str = ""
