"""Properties made in memory: whether their boxes and atoms are ones of the network they speak about."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import prod
from sys import float_info
from typing import Any, TypeVar

from admm_verify.errors import QueryError
from admm_verify.network.graph import Network
from admm_verify.network.layout import frozen_batch, is_sample
from admm_verify.options import brief
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import ExactCut, Inequality

Kind = TypeVar("Kind")

_LARGEST = int(float_info.max)


def check_networks(found: Property, networks: Sequence[Network]) -> None:
    """Refuse networks that are not those that a property declares, in number, layout or element type.

    Raises: QueryError.
    """
    check_layouts(found, networks)
    first = networks[0]
    for declared, network in zip(found.networks, networks, strict=True):
        _check_types(declared, network)
        if network.element_type != first.element_type:
            raise QueryError(
                f"{first.name} computes in {first.element_type} and {network.name} in {network.element_type}. Convert "
                "one of the models, so that both have one element type."
            )


def check_layouts(found: Property, networks: Sequence[Network]) -> None:
    """Refuse networks that have other inputs or outputs than a property declares, or are not as many.

    Raises: QueryError.
    """
    if len(networks) != len(found.networks):
        raise QueryError(
            f"The property declares {len(found.networks)} networks and {len(networks)} were given. Give one for each."
        )
    for declared, network in zip(found.networks, networks, strict=True):
        try:
            _check_layout(declared, network)
        except QueryError as error:
            raise QueryError(f"{error}{_other_way_round(found, networks)}") from None


def check_whole(found: Property, network: Network) -> None:
    """Refuse a network that has other inputs or outputs than a property declares: all of them side by side, flat, where
    it declares several networks.

    Raises: QueryError.
    """
    if len(found.networks) == 1:
        check_layouts(found, [network])
        return
    sizes, wanted = (network.input_size, network.output_size), (found.input_size, found.output_size)
    if sizes != wanted:
        names = ", ".join(declared.name for declared in found.networks)
        raise QueryError(
            f"The query declares the networks {names} with {wanted[0]} inputs and {wanted[1]} outputs together, and "
            f"{network.name} has {sizes[0]} and {sizes[1]}. Give all of them side by side, in this order."
        )


def _other_way_round(found: Property, networks: Sequence[Network]) -> str:
    """What to do where two networks only fit as one another; else nothing."""
    if len(networks) != 2:
        return ""
    first, second = networks
    try:
        _check_layout(found.networks[0], second)
        _check_layout(found.networks[1], first)
    except QueryError:
        return ""
    names = [declared.name for declared in found.networks]
    return f" The other way round they fit: give {names[0]}={second.name} and {names[1]}={first.name}."


def _check_layout(declared: NetworkDeclaration, network: Network) -> None:
    """Refuse a network that has other inputs or outputs than are declared."""
    sides: tuple[tuple[str, tuple[Variable, ...], tuple[int, ...]], ...] = (
        ("input", declared.inputs, network.input_shape),
        ("output", (*declared.outputs, *declared.hidden), network.output_shape),
    )
    for side, variables, shape in sides:
        if len(variables) > 1:
            size = sum(variable.size for variable in variables)
            if size != prod(shape):
                names = ", ".join(variable.name for variable in variables)
                raise QueryError(
                    f"The query declares {names} with {size} entries, but the {side} of {network.name} has "
                    f"{prod(shape)}. Give the model the query was written for, as a file."
                )
            continue
        variable = next(iter(variables))
        # One number has no layout, whatever the axes around it.
        if not (is_sample(variable.shape, shape) or variable.size == prod(shape) == 1):
            advice = frozen_batch(variable.shape, shape) or "Give the network the query was written for."
            raise QueryError(
                f"The query declares the {side} {variable.name} with shape {list(variable.shape)}, but the {side} of "
                f"{network.name} has shape {list(shape)}. {advice}".rstrip()
            )


def _check_types(declared: NetworkDeclaration, network: Network) -> None:
    """Refuse a network that computes in another type than is declared; outputs may be whole numbers."""
    sides = (("input", declared.inputs), ("output", declared.outputs), ("hidden node", declared.hidden))
    for side, variables in sides:
        for variable in variables:
            if not (variable.whole and side != "input") and variable.element_type not in ("real", network.element_type):
                raise QueryError(
                    f"The query declares the {side} {variable.name} as {variable.element_type}, but {network.name} "
                    f"computes in {network.element_type}. Declare {network.element_type} or real."
                )


def check_property(given: object) -> Property:
    """A property whose boxes have two ends per input, exact and not empty, and whose atoms read declared outputs.

    Boxes and atoms that several disjuncts share are looked at once.
    Raises: QueryError naming what is wrong, and where.
    """
    found = _one(given, Property, "The property of a query")
    declarations = tuple(_several(found.networks, NetworkDeclaration, "the property's networks"))
    if not declarations:
        raise QueryError("The property declares no networks; declare those it speaks about.")
    for declared in declarations:
        sides = (declared.inputs, "inputs"), (declared.outputs, "outputs"), (declared.hidden, "hidden nodes")
        for side, name in sides:
            if not _several(side, Variable, f"the property's {name}") and name != "hidden nodes":
                raise QueryError(f"the property's {name} are no variables; declare one at least.")
    inputs, outputs = found.input_size, found.output_size
    seen: set[int] = set()
    for number, disjunct in enumerate(_several(found.disjuncts, Disjunct, "its disjuncts")):
        try:
            if id(disjunct.box) not in seen:
                seen.add(id(disjunct.box))
                _check_box(_one(disjunct.box, ExactBox, "the box"), inputs)
            if disjunct.cut is not None and id(disjunct.cut) not in seen:
                seen.add(id(disjunct.cut))
                _check_cut(_one(disjunct.cut, ExactCut, "the cut"), inputs)
            for atom in _several(disjunct.atoms, Atom, "the atoms"):
                if id(atom) not in seen:
                    seen.add(id(atom))
                    _check_row(atom, outputs, "an atom", "outputs")
                    _check_terms(atom.inputs, inputs, "an atom", "inputs")
                    _check_products(atom, (inputs, outputs))
        except QueryError as error:
            raise QueryError(f"Disjunct {number} of the property: {error}") from None
    return found


def _check_box(box: ExactBox, size: int) -> None:
    for name, ends in (("lower", box.lower), ("upper", box.upper)):
        _check_numbers(_listed(ends, f"the {name} ends of its box"), "its box")
        if len(ends) != size:
            raise QueryError(f"its box has {len(ends)} {name} ends; the property declares {size} inputs.")
    for i, (low, high) in enumerate(zip(box.lower, box.upper, strict=True)):
        if low > high:
            raise QueryError(f"its box is empty at input {i}, so that it holds nowhere; leave it out.")
    for strict in (box.strict_lower, box.strict_upper):
        _check_indices(strict, size, "the strict ends of its box")
        for i in strict:
            if box.lower[i] == box.upper[i]:
                raise QueryError(f"its box is empty at input {i}, so that it holds nowhere; leave it out.")


def _check_cut(cut: ExactCut, size: int) -> None:
    for row in _several(cut.rows, Inequality, "the rows of its cut"):
        _check_row(row, size, "a row of its cut", "inputs")
    if cut.within is not None:
        within = _one(cut.within, WalkableSet, "the set of its cut")
        if within.shape != (1, size):
            raise QueryError(f"the set of its cut has shape {within.shape}; give one of {size} inputs, (1, {size}).")


def _check_row(row: Inequality, size: int, what: str, side: str) -> None:
    _check_terms(row.terms, size, what, side)
    _check_numbers([row.constant], what)
    if type(row.strict) is not bool:
        raise QueryError(f"the entry strict of {what} is {brief(row.strict)}; give True or False.")


def _check_terms(terms: Sequence[tuple[int, Fraction]], size: int, what: str, side: str) -> None:
    _check_indices([index for index, _ in terms], size, f"the {side} of {what}")
    _check_numbers([value for _, value in terms], what)


def _check_products(atom: Atom, sizes: tuple[int, int]) -> None:
    _check_numbers([value for _, value in atom.products], "an atom")
    for factors, _ in atom.products:
        if len(factors) < 2:
            raise QueryError("a product of an atom has fewer than two factors; give it as a term.")
        for is_output, index in factors:
            _check_indices([index], sizes[bool(is_output)], "the products of an atom")


def _check_numbers(given: Sequence[object], what: str) -> None:
    for value in given:
        if type(value) is not Fraction and type(value) is not int:
            raise QueryError(f"{what} holds {brief(value)}; give exact numbers, as Fraction or int.")
        # Quotients below 2^1024 alone need no closer look.
        if value.numerator.bit_length() - value.denominator.bit_length() > 1022 and abs(value) > _LARGEST:
            raise QueryError(f"{what} holds a number beyond the largest float64 (about 1.8e308); rescale it.")


def _check_indices(given: Iterable[object], size: int, what: str) -> None:
    for index in given:
        if type(index) is not int or not 0 <= index < size:
            raise QueryError(f"{what} name {brief(index)}; give whole numbers from 0 to {size - 1}.")


def _several(given: object, kind: type[Kind], what: str) -> Sequence[Kind]:
    found = _listed(given, what)
    for value in found:
        if not isinstance(value, kind):
            _one(value, kind, f"one of {what}")
    return found


def _listed(given: object, what: str) -> Sequence[Any]:
    if isinstance(given, list | tuple):
        return given
    raise QueryError(f"{what} are {brief(given)}; give a tuple.")


def _one(value: object, kind: type[Kind], what: str) -> Kind:
    if isinstance(value, kind):
        return value
    raise QueryError(f"{what} is {brief(value)}; give an instance of {kind.__name__}.")
