"""Conditions to disjunctive normal form: one alternative of every choice is picked, in all ways.

Disjuncts with the same input bounds share their box, and those with the same couplings of inputs their cut.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

from admm_verify.properties.alternatives import Branch, Condition, Conjunction, Coupling, InputBound
from admm_verify.properties.boxes import Boxes, Contradiction
from admm_verify.properties.conditions import Assertions
from admm_verify.properties.cuts import Cuts
from admm_verify.properties.implied import implied_bounds
from admm_verify.properties.linear import MAX_DIGITS, Entry
from admm_verify.properties.property import Atom, Disjunct
from admm_verify.properties.sexpr import Source
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox

# Counts are products of as many factors as a file has `or`; beyond this they only need to be large.
_COUNTED_TO = 10**15

_DISJUNCT_BYTES, _CONSTRAINT_BYTES = 600, 16
"""A disjunct with its box, and every time it names a bound or an atom."""


class PlacesUnknown(Exception):
    """A message needs the places of bounds that conjunctions share."""


def disjuncts(
    assertions: Assertions, inputs: int, within: WalkableSet | None = None
) -> tuple[tuple[Disjunct, ...], str]:
    """The assertions on a network of so many input entries as disjuncts, and where there is none, why.

    within: a set that inputs lie in besides, [1, inputs].

    Raises: QueryError for an input without finite bounds, for boxes that are all empty, and for what does not fit the
        memory; PlacesUnknown where these are to be told and bounds are shared; Stopped.
    """
    top, source = assertions.conjunction, assertions.scope.source
    if assertions.never is not None:
        return (), f"the assertions are false whatever the network: {_false(assertions.never.offset, source)}"
    count, constraints = _measure(top.choices, (0, len(top.atoms), len(top.couplings)), source)
    held = len(source.text) + assertions.bytes + count * _DISJUNCT_BYTES + constraints * _CONSTRAINT_BYTES
    source.check(held, what=f"{_counted(count)} disjuncts with {_counted(constraints)} constraints")
    # The bounds outside of any `or` make the base box; only those inside multiply.
    shared_atoms = tuple(top.atoms)
    base = [*top.bounds, *implied_bounds(top.bounds, top.couplings, inputs)]
    boxes, cuts = Boxes(assertions.scope, inputs, base, held), Cuts(top.couplings, within)
    found: list[Disjunct] = []
    contradiction: Contradiction | None = None
    nowhere: Coupling | None = None
    for branch in source.paced(_expanded(Conjunction(choices=top.choices))):
        box = boxes.box(branch.bounds, (*top.couplings, *branch.couplings))
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
    if assertions.shared:
        raise PlacesUnknown
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
            if isinstance(alternative, Conjunction | Branch):
                sizes = len(alternative.bounds), len(alternative.atoms), len(alternative.couplings)
                further = alternative.choices if isinstance(alternative, Conjunction) else ()
                ways, parts = _measure(further, sizes, source) if further else (1, sum(sizes))
            else:
                ways, parts = 1, 1
            alternatives, inside = alternatives + ways, inside + parts
        constraints = min(_COUNTED_TO, constraints * alternatives + count * inside)
        count = min(_COUNTED_TO, count * alternatives)
    return count, constraints


def _counted(number: int) -> str:
    return str(number) if number < _COUNTED_TO else f"more than {_COUNTED_TO}"


def _expanded(condition: Condition) -> Iterator[Branch]:
    """All ways to choose, one after the other."""
    if isinstance(condition, Branch):
        yield condition
    elif isinstance(condition, InputBound):
        yield Branch(bounds=(condition,))
    elif isinstance(condition, Atom):
        yield Branch(atoms=(condition,))
    elif isinstance(condition, Coupling):
        yield Branch(couplings=(condition,))
    else:
        assert isinstance(condition, Conjunction), "False alternatives are dropped as they are read"
        own = Branch(tuple(condition.bounds), tuple(condition.atoms), tuple(condition.couplings))
        yield from _chosen(own, condition.choices)


def _chosen(own: Branch, choices: Sequence[Sequence[Condition]]) -> Iterator[Branch]:
    """A branch joined with one alternative of each choice, in all ways."""
    # One generator for each choice, so that many of them need no recursion.
    levels, joined = [(_alternatives(choices[0]))] if choices else [], [own]
    if not choices:
        yield own
    while levels:
        branch = next(levels[-1], None)
        if branch is None:
            levels.pop()
            joined.pop()
        elif len(levels) == len(choices):
            yield joined[-1].joined(branch)
        else:
            joined.append(joined[-1].joined(branch))
            levels.append(_alternatives(choices[len(levels)]))


def _alternatives(choice: Sequence[Condition]) -> Iterator[Branch]:
    return (branch for alternative in choice for branch in _expanded(alternative))


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
