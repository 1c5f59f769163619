"""Assertions to disjunctive normal form.

Reading makes of the assertions a conjunction of input bounds, output atoms, and choices between further conjunctions.
Expanding picks one alternative of every choice; disjuncts with the same input bounds share their box.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from admm_verify.errors import QueryError, UnsupportedQueryError
from admm_verify.properties.linear import MAX_DIGITS, Entry, Scope, check_range, difference
from admm_verify.properties.property import Atom, Disjunct, InputBox
from admm_verify.properties.sexpr import Form, Node, Word, described

MAX_DISJUNCTS = 100_000
# Memory, at eight bytes each: constraints over all disjuncts, and entries over all distinct boxes.
MAX_CONSTRAINTS = 20_000_000
MAX_BOX_ENTRIES = 20_000_000

# Counts are products of as many factors as a file has `or`; beyond this they only need to be large.
_COUNTED_TO = 10**15
_ZERO = Fraction(0)
_COMPARISONS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
_CONDITIONS = {"and", "or", *_COMPARISONS}
_MIRRORED = {"<=": ">=", "<": ">", ">=": "<=", ">": "<"}


class InputBound(NamedTuple):
    """x[entry] <= value when upper, else x[entry] >= value; without equality when strict."""

    entry: int
    upper: bool
    value: Fraction
    strict: bool
    offset: int

    def tighter_than(self, other: "InputBound") -> bool:
        """Whether this excludes points that the other bound of the same end admits."""
        if self.value == other.value:
            return self.strict and not other.strict
        return (self.value < other.value) == self.upper


@dataclass(slots=True)
class Conjunction:
    """All bounds and atoms hold, and of each choice at least one alternative.

    A choice has at least two alternatives and none of them is impossible; impossible: a constant in it is false.
    """

    bounds: list[InputBound] = field(default_factory=list)
    atoms: list[Atom] = field(default_factory=list)
    choices: list[list["Conjunction"]] = field(default_factory=list)
    impossible: bool = False


@dataclass
class Assertions:
    """The conjunction of the assertions read so far.

    dropped_alternative: whether an `or` lost an alternative because a constant comparison in it is false.
    """

    scope: Scope
    conjunction: Conjunction = field(default_factory=Conjunction)
    dropped_alternative: bool = False

    def read(self, form: Form) -> None:
        """Add (assert condition).

        Raises: QueryError for what is malformed, UnsupportedQueryError for what is not linear, couples inputs with each
            other or with outputs, or excludes a single input value.
        """
        if len(form.items) != 2:
            message = f"found an assert of {len(form.items) - 1} conditions; write one, joining several by (and ...)."
            raise self._error(message, form)
        self._add(form.items[1], self.conjunction)

    def _add(self, condition: Node, into: Conjunction) -> None:
        if isinstance(condition, Word) or condition.head not in _CONDITIONS:
            message = f"found {described(condition)} where a condition belongs; conditions are (and ...), (or ...) and "
            raise self._error(message + "comparisons by <=, <, >=, >, == or !=.", condition)
        operands = condition.items[1:]
        if condition.head in _COMPARISONS:
            self._add_comparison(condition, into)
        elif not operands:
            raise self._error(f"found an empty ({condition.head}); give it at least one condition.", condition)
        elif condition.head == "and":
            for operand in operands:
                self._add(operand, into)
        else:
            self._add_choice(operands, into)

    def _add_choice(self, operands: list[Node], into: Conjunction) -> None:
        alternatives: list[Conjunction] = []
        for operand in operands:
            alternative = Conjunction()
            self._add(operand, alternative)
            if alternative.impossible:
                self.dropped_alternative = True
            else:
                alternatives.append(alternative)
        if not alternatives:
            into.impossible = True
        elif len(alternatives) == 1:
            into.bounds += alternatives[0].bounds
            into.atoms += alternatives[0].atoms
            into.choices += alternatives[0].choices
        else:
            into.choices.append(alternatives)

    def _add_comparison(self, form: Form, into: Conjunction) -> None:
        if len(form.items) != 3:
            message = f"found {form.head!r} with {len(form.items) - 1} operands; comparisons take exactly two."
            raise self._error(message, form)
        _, left, right = form.items
        # An input entry against a number, the bulk of most files, needs no arithmetic.
        if isinstance(left, Word) and isinstance(right, Word):
            subject, limit = self.scope.meaning(left), self.scope.meaning(right)
            if isinstance(subject, Entry) and isinstance(limit, Fraction) and not subject.is_output:
                self._add_bound(form, form.head, subject.flat, limit, into)
                return
        total = difference(left, right, self.scope)
        terms = total.nonzero()
        inputs = [entry for entry in terms if not entry.is_output]
        if not terms:
            into.impossible |= not _COMPARISONS[form.head](total.constant, _ZERO)
        elif not inputs:
            self._add_atoms(form, terms, total.constant, into)
        elif len(terms) == 1:
            coefficient = terms[inputs[0]]
            sign = form.head if coefficient > 0 else _MIRRORED.get(form.head, form.head)
            self._add_bound(form, sign, inputs[0].flat, -total.constant / coefficient, into)
        else:
            raise self._coupling(form, inputs, len(terms) > len(inputs))

    def _add_bound(self, form: Form, sign: str, flat: int, value: Fraction, into: Conjunction) -> None:
        check_range(value, self.scope.source, form.offset)
        if sign == "!=":
            name = self.scope.entry_name(Entry(False, flat))
            message = f"!= on the input {name} is not supported; write an or of < and >."
            raise self._error(message, form, UnsupportedQueryError)
        strict = sign in ("<", ">")
        if sign not in (">", ">="):
            into.bounds.append(InputBound(flat, True, value, strict, form.offset))
        if sign not in ("<", "<="):
            into.bounds.append(InputBound(flat, False, value, strict, form.offset))

    def _add_atoms(self, form: Form, terms: dict[Entry, Fraction], constant: Fraction, into: Conjunction) -> None:
        for number in (constant, *terms.values()):
            check_range(number, self.scope.source, form.offset)
        line = self.scope.source.line(form.offset)
        strict = form.head in ("<", ">", "!=")
        ordered = sorted((entry.flat, coefficient) for entry, coefficient in terms.items())
        at_most = Atom(tuple(ordered), constant, strict, line)
        at_least = Atom(tuple((index, -coefficient) for index, coefficient in ordered), -constant, strict, line)
        if form.head in ("<", "<="):
            into.atoms.append(at_most)
        elif form.head in (">", ">="):
            into.atoms.append(at_least)
        elif form.head == "!=":
            into.choices.append([Conjunction(atoms=[at_most]), Conjunction(atoms=[at_least])])
        else:
            into.atoms += (at_most, at_least)

    def _coupling(self, form: Form, inputs: list[Entry], has_outputs: bool) -> QueryError:
        names = ", ".join(self.scope.entry_name(entry) for entry in inputs[:3])
        coupled = f"inputs ({names}) with outputs" if has_outputs else f"several inputs ({names})"
        message = f"this comparison couples {coupled}; supported are bounds on single inputs and linear constraints on "
        return self._error(message + "outputs.", form, UnsupportedQueryError)

    def _error(self, message: str, node: Node, kind: type[QueryError] = QueryError) -> QueryError:
        return self.scope.source.error(message, node.offset, kind)


class _Branch(NamedTuple):
    """The bounds and atoms picked by one way to choose."""

    bounds: tuple[InputBound, ...]
    atoms: tuple[Atom, ...]


class _Contradiction(NamedTuple):
    lower: InputBound
    upper: InputBound


def disjuncts(assertions: Assertions, inputs: int) -> tuple[Disjunct, ...]:
    """The assertions on a network of so many input entries as disjuncts; empty when constants make them all false.

    Raises: QueryError for an input without finite bounds and for boxes that are all empty; UnsupportedQueryError beyond
        MAX_DISJUNCTS, MAX_CONSTRAINTS or MAX_BOX_ENTRIES.
    """
    top, source = assertions.conjunction, assertions.scope.source
    if top.impossible:
        return ()
    # The bounds outside of any `or` make the base box; only those inside multiply.
    choices = Conjunction(choices=top.choices)
    count, constraints = _measure(choices)
    constraints += count * len(top.atoms)
    if count > MAX_DISJUNCTS or constraints > MAX_CONSTRAINTS:
        made = f"{_counted(count)} disjuncts with {_counted(constraints)} constraints"
        message = f"the assertions make {made}; supported are at most {MAX_DISJUNCTS} and {MAX_CONSTRAINTS}. Split the "
        message += "query, one file for each alternative of an or."
        raise source.error(message, kind=UnsupportedQueryError)
    shared_atoms = tuple(top.atoms)
    boxes = _Boxes(assertions.scope, inputs, top.bounds)
    found: list[Disjunct] = []
    contradiction: _Contradiction | None = None
    for branch in _expanded(choices):
        box = boxes.box(branch.bounds)
        if isinstance(box, InputBox):
            found.append(Disjunct(box, shared_atoms + branch.atoms))
        else:
            contradiction = contradiction or box
    if not found and contradiction and not assertions.dropped_alternative:
        raise _empty(contradiction, assertions.scope)
    return tuple(found)


def _measure(conjunction: Conjunction) -> tuple[int, int]:
    """Number of branches, and of constraints in all of them together; both saturate."""
    count, constraints = 1, len(conjunction.bounds) + len(conjunction.atoms)
    for choice in conjunction.choices:
        sizes = [_measure(alternative) for alternative in choice]
        alternatives = sum(size[0] for size in sizes)
        constraints = min(_COUNTED_TO, constraints * alternatives + count * sum(size[1] for size in sizes))
        count = min(_COUNTED_TO, count * alternatives)
    return count, constraints


def _counted(number: int) -> str:
    return str(number) if number < _COUNTED_TO else f"more than {_COUNTED_TO}"


def _expanded(conjunction: Conjunction) -> list[_Branch]:
    branches = [_Branch(tuple(conjunction.bounds), tuple(conjunction.atoms))]
    for choice in conjunction.choices:
        alternatives = [branch for alternative in choice for branch in _expanded(alternative)]
        branches = [
            _Branch(left.bounds + right.bounds, left.atoms + right.atoms) for left in branches for right in alternatives
        ]
    return branches


@dataclass
class _Ends:
    """The tightest lower and upper bound of each entry that has one."""

    lower: dict[int, InputBound] = field(default_factory=dict)
    upper: dict[int, InputBound] = field(default_factory=dict)

    def tighten(self, bound: InputBound) -> None:
        ends = self.upper if bound.upper else self.lower
        present = ends.get(bound.entry)
        if present is None or bound.tighter_than(present):
            ends[bound.entry] = bound

    def admits(self, bound: InputBound) -> bool:
        """Whether the bound would change these ends."""
        present = (self.upper if bound.upper else self.lower).get(bound.entry)
        return present is None or bound.tighter_than(present)


class _Boxes:
    """Input boxes: those of the base bounds, cut by the bounds of a branch."""

    def __init__(self, scope: Scope, inputs: int, base: list[InputBound]) -> None:
        self._scope = scope
        self._inputs = inputs
        self._base = _Ends()
        for bound in base:
            self._base.tighten(bound)
        self._built: dict[frozenset[tuple[int, ...]], InputBox | _Contradiction] = {}
        # By identity: the branches of a product share the very tuple of bounds when only one factor has any.
        self._by_tuple: dict[int, InputBox | _Contradiction] = {}

    def box(self, bounds: tuple[InputBound, ...]) -> InputBox | _Contradiction:
        """The base box cut by the bounds; the same object for the same bounds. The tuple must outlive this object."""
        box = self._by_tuple.get(id(bounds))
        if box is None:
            cut = _Ends()
            for bound in bounds:
                if self._base.admits(bound):
                    cut.tighten(bound)
            changes = (*cut.lower.values(), *cut.upper.values())
            # Hashing a Fraction takes a modular inverse; its two integers serve as well.
            key = frozenset(
                (change.entry, change.upper, change.value.numerator, change.value.denominator, change.strict)
                for change in changes
            )
            box = self._built.get(key)
            if box is None:
                box = self._built[key] = self._build(cut)
            self._by_tuple[id(bounds)] = box
        return box

    def _build(self, cut: _Ends) -> InputBox | _Contradiction:
        self._require_complete(cut)
        contradiction = self._base_contradiction or self._contradiction(cut)
        if contradiction:
            return contradiction
        if (len(self._built) + 1) * self._inputs > MAX_BOX_ENTRIES:
            message = f"the assertions make more than {len(self._built)} different boxes of {self._inputs} inputs, too "
            message += "many to hold. Split the query, one file for each alternative of an or."
            raise self._scope.source.error(message, kind=UnsupportedQueryError)
        lower, upper = list(self._base_lower), list(self._base_upper)
        for index, bound in cut.lower.items():
            lower[index] = bound.value
        for index, bound in cut.upper.items():
            upper[index] = bound.value
        return InputBox(
            tuple(lower),
            tuple(upper),
            _strict(self._base.lower).difference(cut.lower) | _strict(cut.lower),
            _strict(self._base.upper).difference(cut.upper) | _strict(cut.upper),
        )

    def _require_complete(self, cut: _Ends) -> None:
        for end, base, own in (("lower", self._base.lower, cut.lower), ("upper", self._base.upper, cut.upper)):
            if len(base) + sum(index not in base for index in own) < self._inputs:
                # The first gap comes early: no file holds as many bounds as a shape can claim entries.
                missing = next(index for index in range(self._inputs) if index not in base and index not in own)
                name = self._scope.entry_name(Entry(False, missing))
                message = f"the input {name} has no {end} bound; give every input a finite lower and upper bound, in "
                raise self._scope.source.error(message + "every alternative of an or.")

    @cached_property
    def _base_lower(self) -> list[Fraction]:
        return self._filled(self._base.lower)

    @cached_property
    def _base_upper(self) -> list[Fraction]:
        return self._filled(self._base.upper)

    def _filled(self, ends: dict[int, InputBound]) -> list[Fraction]:
        # Where the base has no bound, the branch does: `_require_complete` comes first.
        return [ends[index].value if index in ends else _ZERO for index in range(self._inputs)]

    @cached_property
    def _base_contradiction(self) -> _Contradiction | None:
        return self._contradiction(self._base)

    def _contradiction(self, cut: _Ends) -> _Contradiction | None:
        """The first entry of the cut without a value between its ends."""
        for index in sorted(cut.lower.keys() | cut.upper.keys()):
            lower = cut.lower.get(index) or self._base.lower.get(index)
            upper = cut.upper.get(index) or self._base.upper.get(index)
            if lower and upper and lower.value >= upper.value:
                if lower.value > upper.value or lower.strict or upper.strict:
                    return _Contradiction(lower, upper)
        return None


def _strict(ends: dict[int, InputBound]) -> frozenset[int]:
    return frozenset(index for index, bound in ends.items() if bound.strict)


def _empty(contradiction: _Contradiction, scope: Scope) -> QueryError:
    lower, upper = contradiction
    name, source = scope.entry_name(Entry(False, lower.entry)), scope.source
    reason = "lower > upper" if lower.value > upper.value else "equal bounds, of which one is strict"
    ends = f"lower bound {_decimal(lower.value)} on line {source.line(lower.offset)}, "
    ends += f"upper bound {_decimal(upper.value)} on line {source.line(upper.offset)}"
    message = f"no input satisfies the assertions: {name} has {reason} ({ends}); correct one of them."
    return source.error(message, max(lower.offset, upper.offset))


def _decimal(value: Fraction) -> str:
    with localcontext(prec=MAX_DIGITS + 1):
        return str(Decimal(value.numerator) / Decimal(value.denominator))
