"""What assertions are made of: bounds and couplings of inputs, atoms, and choices between them."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from admm_verify.properties.property import Atom
from admm_verify.sets.exact_cut import Inequality


@dataclass(slots=True, eq=False)
class InputBound:
    """x[entry] <= value when upper, else x[entry] >= value; without equality when strict.

    Bounds are equal that say the same, wherever they stand. offset: where it stands; of a bound that conjunctions
    share, where its text stands first.
    """

    entry: int
    upper: bool
    value: Fraction
    strict: bool
    offset: int
    _hash: int | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InputBound):
            return NotImplemented
        same = self.entry == other.entry and self.upper == other.upper and self.strict == other.strict
        return same and self.value == other.value

    def __hash__(self) -> int:
        if self._hash is None:
            # Hashing a Fraction takes a modular inverse; its two integers serve as well.
            self._hash = hash((self.entry, self.upper, self.value.numerator, self.value.denominator, self.strict))
        return self._hash

    def tighter_than(self, other: "InputBound") -> bool:
        """Whether this excludes points that the other bound of the same end admits."""
        if self.value is other.value or self.value == other.value:
            return self.strict and not other.strict
        return (self.value < other.value) == self.upper


class Coupling(NamedTuple):
    """A linear constraint on several inputs, which stands at the offset."""

    row: Inequality
    offset: int


class Never(NamedTuple):
    """A condition that a constant comparison makes false, which stands at the offset."""

    offset: int


class Branch(NamedTuple):
    """All bounds, atoms and couplings of inputs hold: a conjunction without choices."""

    bounds: tuple[InputBound, ...] = ()
    atoms: tuple[Atom, ...] = ()
    couplings: tuple[Coupling, ...] = ()

    def joined(self, other: "Branch") -> "Branch":
        """Both at once."""
        return Branch(self.bounds + other.bounds, self.atoms + other.atoms, self.couplings + other.couplings)


@dataclass(slots=True)
class Conjunction:
    """All bounds, atoms and couplings of inputs hold, and of each choice at least one alternative.

    A choice has at least two alternatives, none of them false.
    """

    bounds: list[InputBound] = field(default_factory=list)
    atoms: list[Atom] = field(default_factory=list)
    choices: "list[list[Condition]]" = field(default_factory=list)
    couplings: list[Coupling] = field(default_factory=list)

    def add(self, other: "InputBound | Atom | Coupling | Branch | Conjunction") -> None:
        """Let another condition hold, too."""
        if isinstance(other, InputBound):
            self.bounds.append(other)
        elif isinstance(other, Atom):
            self.atoms.append(other)
        elif isinstance(other, Coupling):
            self.couplings.append(other)
        else:
            self.bounds += other.bounds
            self.atoms += other.atoms
            self.couplings += other.couplings
            if isinstance(other, Conjunction):
                self.choices += other.choices


Condition: TypeAlias = InputBound | Atom | Coupling | Branch | Conjunction | Never
