"""Conditions to disjunctive normal form: one alternative of every choice is picked, in all ways.

Disjuncts with the same input bounds share their box, and those with the same couplings of inputs their cut.
"""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

from admm_verify.errors import UnsupportedQueryError
from admm_verify.properties.boxes import Boxes, Contradiction
from admm_verify.properties.conditions import Assertions, Condition, Conjunction, Coupling, InputBound
from admm_verify.properties.cuts import Cuts
from admm_verify.properties.linear import MAX_DIGITS, Entry
from admm_verify.properties.property import Atom, Disjunct
from admm_verify.properties.sexpr import Source
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox

MAX_DISJUNCTS = 100_000
# Memory, at eight bytes each: constraints over all disjuncts.
MAX_CONSTRAINTS = 20_000_000

# Counts are products of as many factors as a file has `or`; beyond this they only need to be large.
_COUNTED_TO = 10**15

_DISJUNCT_BYTES, _CONSTRAINT_BYTES = 600, 16
"""A disjunct with its box, and every time it names a bound or an atom."""


def disjuncts(
    assertions: Assertions, inputs: int, within: WalkableSet | None = None
) -> tuple[tuple[Disjunct, ...], str]:
    """The assertions on a network of so many input entries as disjuncts, and where there is none, why.

    within: a set that inputs lie in besides, [1, inputs].

    Raises: QueryError for an input without finite bounds, for boxes that are all empty, and for what does not fit the
        memory; UnsupportedQueryError beyond MAX_DISJUNCTS, MAX_CONSTRAINTS or MAX_BOX_ENTRIES; Stopped.
    """
    top, source = assertions.conjunction, assertions.scope.source
    if assertions.never is not None:
        return (), f"the assertions are false whatever the network: {_false(assertions.never.offset, source)}"
    count, constraints = _measure(top.choices, (0, len(top.atoms), len(top.couplings)), source)
    if count > MAX_DISJUNCTS or constraints > MAX_CONSTRAINTS:
        made = f"{_counted(count)} disjuncts with {_counted(constraints)} constraints"
        message = f"the assertions make {made}; supported are at most {MAX_DISJUNCTS} and {MAX_CONSTRAINTS}. Split the "
        message += "query, one file for each alternative of an or."
        raise source.error(message, kind=UnsupportedQueryError)
    held = len(source.text) + assertions.bytes + count * _DISJUNCT_BYTES + constraints * _CONSTRAINT_BYTES
    source.check(held)
    # The bounds outside of any `or` make the base box; only those inside multiply.
    shared_atoms = tuple(top.atoms)
    boxes, cuts = Boxes(assertions.scope, inputs, top.bounds, held), Cuts(top.couplings, within)
    found: list[Disjunct] = []
    contradiction: Contradiction | None = None
    nowhere: Coupling | None = None
    for branch in source.paced(_expanded(Conjunction(choices=top.choices), source)):
        box = boxes.box(branch.bounds)
        if not isinstance(box, ExactBox):
            contradiction = contradiction or box
            continue
        cut = cuts.cut(box, branch.couplings)
        if isinstance(cut, Coupling):
            nowhere = nowhere or cut
        else:
            found.append(Disjunct(box, shared_atoms + branch.atoms, cut))
    if nowhere is not None and not found:
        line = source.line(nowhere.offset)
        return (), f"no input satisfies the assertions: the constraint on line {line} holds nowhere in the box"
    if found or contradiction is None:
        return tuple(found), ""
    empty = _empty(contradiction, assertions)
    if assertions.dropped is None:
        message = f"no input satisfies the assertions, the input set is empty: {empty}; correct one of them."
        raise source.error(message, max(end.offset for end in contradiction))
    dropped = _false(assertions.dropped.offset, source)
    return (), f"no alternative is left, whatever the network: {dropped}, and in the others {empty}"


def _measure(choices: Sequence[Sequence[Condition]], own: tuple[int, ...], source: Source) -> tuple[int, int]:
    """Number of branches, and of constraints in all of them together; both saturate.

    own: numbers of bounds, atoms and couplings beside the choices.
    """
    count, constraints = 1, sum(own)
    for choice in choices:
        alternatives, inside = 0, 0
        for alternative in source.paced(choice):
            if isinstance(alternative, Conjunction):
                sizes = len(alternative.bounds), len(alternative.atoms), len(alternative.couplings)
                ways, parts = _measure(alternative.choices, sizes, source) if alternative.choices else (1, sum(sizes))
            else:
                ways, parts = 1, 1
            alternatives, inside = alternatives + ways, inside + parts
        constraints = min(_COUNTED_TO, constraints * alternatives + count * inside)
        count = min(_COUNTED_TO, count * alternatives)
    return count, constraints


def _counted(number: int) -> str:
    return str(number) if number < _COUNTED_TO else f"more than {_COUNTED_TO}"


class _Branch(NamedTuple):
    """The bounds, atoms and couplings picked by one way to choose."""

    bounds: tuple[InputBound, ...] = ()
    atoms: tuple[Atom, ...] = ()
    couplings: tuple[Coupling, ...] = ()

    def joined(self, other: "_Branch") -> "_Branch":
        """Both at once."""
        return _Branch(self.bounds + other.bounds, self.atoms + other.atoms, self.couplings + other.couplings)


def _expanded(condition: Condition, source: Source) -> list[_Branch]:
    if isinstance(condition, InputBound):
        return [_Branch(bounds=(condition,))]
    if isinstance(condition, Atom):
        return [_Branch(atoms=(condition,))]
    if isinstance(condition, Coupling):
        return [_Branch(couplings=(condition,))]
    assert isinstance(condition, Conjunction), "False alternatives are dropped as they are read"
    branches = [_Branch(tuple(condition.bounds), tuple(condition.atoms), tuple(condition.couplings))]
    for choice in condition.choices:
        alternatives = [branch for alternative in source.paced(choice) for branch in _expanded(alternative, source)]
        pairs = ((left, right) for left in branches for right in alternatives)
        branches = [left.joined(right) for left, right in source.paced(pairs)]
    return branches


def _false(offset: int, source: Source) -> str:
    return f"the constant comparison on line {source.line(offset)} does not hold"


def _empty(contradiction: Contradiction, assertions: Assertions) -> str:
    lower, upper = contradiction
    name, source = assertions.scope.entry_name(Entry(False, lower.entry)), assertions.scope.source
    reason = "lower > upper" if lower.value > upper.value else "equal bounds, of which one is strict"
    ends = f"lower bound {_decimal(lower.value)} on line {source.line(lower.offset)}, "
    ends += f"upper bound {_decimal(upper.value)} on line {source.line(upper.offset)}"
    return f"{name} has {reason} ({ends})"


def _decimal(value: Fraction) -> str:
    with localcontext(prec=MAX_DIGITS + 1):
        return str(Decimal(value.numerator) / Decimal(value.denominator))
