"""The in-memory property: input sets and linear atoms, in exact rational numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, TypeVar

from admm_verify.reprs import short_repr
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import ExactCut, Inequality, summed

Number = TypeVar("Number")


@dataclass(frozen=True)
class Variable:
    """A declared tensor; element_type in lower case ("real", "float32", ...), shape () for a scalar.

    node: its name in the model, which hidden ones have and others may have.
    """

    name: str
    element_type: str
    shape: tuple[int, ...]
    node: str = ""

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    @property
    def whole(self) -> bool:
        """Whether its entries are whole numbers."""
        return "int" in self.element_type


@dataclass(frozen=True)
class NetworkDeclaration:
    """The interface a query declares for one network; name is "" in VNN-LIB 1.0, which declares none.

    The flat input has the entries of all inputs in their order, the flat output those of all outputs and after them
    those of the hidden nodes. equal_to: the name of a network declared before that this one is, too; "" for none.
    isomorphic_to: that of one of the same shape with other weights.
    """

    name: str
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    hidden: tuple[Variable, ...] = ()
    equal_to: str = ""
    isomorphic_to: str = ""

    @property
    def input_size(self) -> int:
        """Entries of the flat input."""
        return sum(variable.size for variable in self.inputs)

    @property
    def output_size(self) -> int:
        """Entries of the flat output, hidden nodes included."""
        return sum(variable.size for variable in (*self.outputs, *self.hidden))

    def parted(self, x: Any, y: Any) -> Iterator[tuple[Variable, Any]]:
        """Every declared tensor, inputs before hidden nodes before outputs, with its own entries of a flat input and a
        flat output.
        """
        outputs = list(_parted(self.outputs, y, 0))
        yield from _parted(self.inputs, x, 0)
        yield from _parted(self.hidden, y, sum(variable.size for variable in self.outputs))
        yield from outputs


def _parted(
    variables: Sequence[Variable], values: Sequence[Number], first: int
) -> Iterator[tuple[Variable, Sequence[Number]]]:
    for variable in variables:
        yield variable, values[first : first + variable.size]
        first += variable.size


Factors = tuple[tuple[bool, int], ...]
"""At least two entries that are multiplied, in ascending order: whether each is an output, and its index."""

Products = tuple[tuple[Factors, Fraction], ...]
"""Products of entries, each with its coefficient."""


@dataclass(frozen=True, slots=True)
class Atom(Inequality):
    """The constraint sum of coefficient * y[index] + constant <= 0 (< 0 when strict) on the flat output y.

    inputs: terms coefficient * x[index] of the flat input that are added on the left; products: terms of several
    factors. Rows are made of outputs alone: `Query.about_outputs` makes inputs and products outputs of the network.
    """

    inputs: tuple[tuple[int, Fraction], ...] = ()
    products: Products = ()

    __hash__ = Inequality.__hash__

    def __post_init__(self) -> None:
        Inequality.__post_init__(self)
        if self.inputs:
            object.__setattr__(self, "inputs", summed(self.inputs))

    def holds(self, y: Sequence[Fraction], x: Sequence[Fraction] = ()) -> bool:
        """Whether the output y at the input x satisfies the atom, exactly; x may be left out where it reads none."""
        value = self.value(y)
        if self.inputs:
            value = sum((coefficient * x[index] for index, coefficient in self.inputs), value)
        for factors, coefficient in self.products:
            value += coefficient * prod((y if is_output else x)[index] for is_output, index in factors)
        return self.admits(value)

    @property
    def of_outputs(self) -> bool:
        """Whether it is linear in the outputs and reads nothing else."""
        return not self.inputs and not self.products


@dataclass(frozen=True, slots=True)
class Disjunct:
    """One way to satisfy a query: x in the box, and in what the cut leaves of it, and all atoms hold for f(x).

    Disjuncts may share one box and one cut object.
    """

    box: ExactBox
    atoms: tuple[Atom, ...]
    cut: ExactCut | None = None

    def admits(self, x: Sequence[Fraction]) -> bool:
        """Whether x is one of the inputs spoken of, exactly."""
        return self.box.holds(x) and (self.cut is None or self.cut.holds(x))

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Whether the pair (x, y) satisfies the disjunct, exactly."""
        return self.admits(x) and all(atom.holds(y, x) for atom in self.atoms)


@dataclass(frozen=True, repr=False)
class Property:
    """A query's meaning: satisfied by x when some disjunct holds for (x, f(x)).

    Of several networks, x is their flat inputs one after the other, in the order of their declarations, and f(x) their
    flat outputs. version is the VNN-LIB version of the file, (1, 0) or (2, n). impossible: where there is no disjunct,
    why, in words.
    """

    version: tuple[int, int]
    networks: tuple[NetworkDeclaration, ...]
    disjuncts: tuple[Disjunct, ...]

    __repr__ = short_repr

    @property
    def arithmetic(self) -> str:
        """The arithmetic the query declares: the first element type that is not "real", else "real"."""
        sides = [variable for part in self.networks for variable in (*part.inputs, *part.outputs, *part.hidden)]
        return next((side.element_type for side in sides if side.element_type != "real"), "real")

    impossible: str = ""

    @property
    def input_size(self) -> int:
        """Entries of the flat inputs of all networks."""
        return sum(declared.input_size for declared in self.networks)

    @property
    def output_size(self) -> int:
        """Entries of the flat outputs of all networks."""
        return sum(declared.output_size for declared in self.networks)

    def parted(self, x: Any, y: Any) -> Iterator[tuple[Variable, Any]]:
        """Every declared tensor, network by network in the order of `NetworkDeclaration.parted`, with its own entries
        of the flat inputs and outputs.
        """
        inputs = outputs = 0
        for declared in self.networks:
            yield from declared.parted(x[inputs:], y[outputs:])
            inputs, outputs = inputs + declared.input_size, outputs + declared.output_size
