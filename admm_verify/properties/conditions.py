"""Assertions to conditions: bounds and couplings of inputs, atoms, and choices between them, with constants folded."""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from admm_verify.errors import QueryError, UnsupportedQueryError
from admm_verify.properties.linear import Entry, Scope, check_range, difference
from admm_verify.properties.property import Atom
from admm_verify.properties.sexpr import Form, Node, Word, described, words
from admm_verify.sets.exact_cut import Inequality, Terms

_BYTES = 400
"""What a bound or an atom takes, with its number and its place in the property and its rows."""

_ZERO, _ONE = Fraction(0), Fraction(1)
_COMPARISONS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
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


class Coupling(NamedTuple):
    """A linear constraint on several inputs, which stands at the offset."""

    row: Inequality
    offset: int


class Never(NamedTuple):
    """A condition that a constant comparison makes false, which stands at the offset."""

    offset: int


@dataclass(slots=True)
class Conjunction:
    """All bounds, atoms and couplings of inputs hold, and of each choice at least one alternative.

    A choice has at least two alternatives, none of them false.
    """

    bounds: list[InputBound] = field(default_factory=list)
    atoms: list[Atom] = field(default_factory=list)
    choices: "list[list[Condition]]" = field(default_factory=list)
    couplings: list[Coupling] = field(default_factory=list)

    def add(self, other: "InputBound | Atom | Coupling | Conjunction") -> None:
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
            self.choices += other.choices
            self.couplings += other.couplings


Condition: TypeAlias = InputBound | Atom | Coupling | Conjunction | Never


@dataclass
class Assertions:
    """The conjunction of the assertions read so far.

    never: the first false one, if there is one. dropped: a false alternative of an `or` with others. bytes: what all
    conditions take in memory.
    """

    scope: Scope
    conjunction: Conjunction = field(default_factory=Conjunction)
    never: Never | None = None
    dropped: Never | None = None
    bytes: float = 0.0
    # The last line asked for: offsets come in ascending order.
    _place: tuple[int, int] = (0, 1)

    def read(self, form: Form) -> None:
        """Add (assert condition), the condition reduced already.

        Raises: QueryError for what is malformed.
        """
        if len(form.items) != 2:
            message = f"found an assert of {len(form.items) - 1} conditions; write one, joining several by (and ...)."
            raise self._error(message, form)
        self._take(form.items[1:])

    def add(self, condition: Condition) -> None:
        """Add a condition that is reduced already."""
        self._take([condition])

    def reduced(self, form: Form) -> Condition:
        """What a condition becomes, its own conditions reduced already.

        Raises: QueryError for what is malformed, UnsupportedQueryError for what is not linear, or excludes a single
            input value.
        """
        operands = form.items[1:]
        if form.head in _COMPARISONS:
            if len(operands) != 2:
                message = f"found {form.head!r} with {len(operands)} operands; comparisons take exactly two."
                raise self._error(message, form)
            left, right = operands
            return self._compared(form.head, left, right, form.offset)
        if form.head not in ("and", "or"):
            raise self._no_condition(form)
        if not operands:
            raise self._error(f"found an empty ({form.head}); give it at least one condition.", form)
        if form.head == "or":
            return self._choice(operands)
        found = Conjunction()
        never = self._add(operands, found)
        return found if never is None else never

    def compared(self, match: re.Match[str]) -> Condition:
        """What a comparison of two words becomes, whose sign and words are the groups 1 to 3 of a match."""
        sign, left, right = match.group(1, 2, 3)
        known = self.scope.known
        first, second = known(left), known(right)
        if first is None or second is None:
            first, second = map(self.scope.meaning, words(match)[1:])
        # A variable against a number or another output, the bulk of most files, needs no arithmetic.
        if isinstance(first, Fraction) and isinstance(second, Entry):
            first, second, sign = second, first, _MIRRORED.get(sign, sign)
        if isinstance(first, Entry):
            if isinstance(second, Fraction):
                if first.is_output:
                    return self._atoms(sign, ((first.flat, _ONE),), -second, match.start())
                return self._bound(sign, first.flat, second, match.start())
            if first.is_output and second.is_output and first.flat != second.flat:
                terms = ((first.flat, _ONE), (second.flat, -_ONE))
                return self._atoms(sign, terms if first < second else terms[::-1], _ZERO, match.start())
        word, left_word, right_word = words(match)
        return self._compared(word.text, left_word, right_word, match.start())

    def _take(self, operands: Iterable[object]) -> None:
        never = self._add(operands, self.conjunction)
        self.never = self.never or never

    def _possible(
        self, operands: Iterable[object]
    ) -> tuple[list[InputBound | Atom | Coupling | Conjunction], Never | None]:
        """The conditions among operands, and the first of those that nothing satisfies."""
        found: list[InputBound | Atom | Coupling | Conjunction] = []
        never = None
        for operand in operands:
            if isinstance(operand, Word):
                raise self._no_condition(operand)
            if isinstance(operand, Never):
                never = never or operand
            elif isinstance(operand, InputBound | Atom | Coupling | Conjunction):
                found.append(operand)
        return found, never

    def _add(self, operands: Iterable[object], into: Conjunction) -> Never | None:
        conditions, never = self._possible(operands)
        for condition in conditions:
            into.add(condition)
        return never

    def _choice(self, operands: list[Node]) -> Condition:
        alternatives, never = self._possible(operands)
        if not alternatives:
            return never or Never(0)
        self.dropped = self.dropped or never
        return alternatives[0] if len(alternatives) == 1 else Conjunction(choices=[[*alternatives]])

    def _compared(self, sign: str, left: Node, right: Node, offset: int) -> Condition:
        total = difference(left, right, self.scope)
        terms = total.nonzero()
        inputs = [entry for entry in terms if not entry.is_output]
        if not terms:
            return Conjunction() if _COMPARISONS[sign](total.constant, _ZERO) else Never(offset)
        if len(terms) > 1 or not inputs:
            for number in terms.values():
                check_range(number, self.scope.source, offset)
            ordered = sorted((entry.flat, coefficient) for entry, coefficient in terms.items() if entry.is_output)
            coupled = sorted((entry.flat, terms[entry]) for entry in inputs)
            if len(inputs) < len(terms):
                return self._atoms(sign, tuple(ordered), total.constant, offset, tuple(coupled))
            return self._couplings(sign, tuple(coupled), total.constant, offset)
        coefficient = terms[inputs[0]]
        sign = sign if coefficient > 0 else _MIRRORED.get(sign, sign)
        return self._bound(sign, inputs[0].flat, -total.constant / coefficient, offset)

    def _bound(self, sign: str, flat: int, value: Fraction, offset: int) -> Condition:
        check_range(value, self.scope.source, offset)
        self.bytes += _BYTES
        if sign in ("<=", "<"):
            return InputBound(flat, True, value, sign == "<", offset)
        if sign in (">=", ">"):
            return InputBound(flat, False, value, sign == ">", offset)
        if sign == "!=":
            name = self.scope.entry_name(Entry(False, flat))
            message = f"!= on the input {name} is not supported; write an or of < and >."
            raise self.scope.source.error(message, offset, UnsupportedQueryError)
        return Conjunction([InputBound(flat, upper, value, False, offset) for upper in (True, False)])

    def _atoms(self, sign: str, terms: Terms, constant: Fraction, offset: int, inputs: Terms = ()) -> Condition:
        check_range(constant, self.scope.source, offset)
        self.bytes += _BYTES + 16 * (len(terms) + len(inputs))
        strict, line = sign in ("<", ">", "!="), self._line(offset)
        if sign in ("<", "<="):
            return Atom(terms, constant, strict, line, inputs)
        at_least = Atom(_negative(terms), -constant, strict, line, _negative(inputs))
        if sign in (">", ">="):
            return at_least
        both = [Atom(terms, constant, strict, line, inputs), at_least]
        return Conjunction(choices=[[*both]]) if sign == "!=" else Conjunction(atoms=both)

    def _couplings(self, sign: str, terms: Terms, constant: Fraction, offset: int) -> Condition:
        check_range(constant, self.scope.source, offset)
        self.bytes += 2 * (_BYTES + 16 * len(terms))
        strict, line = sign in ("<", ">", "!="), self._line(offset)
        below, above = (
            Coupling(Inequality(own, value, strict, line), offset)
            for own, value in ((terms, constant), (_negative(terms), -constant))
        )
        if sign in ("<", "<="):
            return below
        if sign in (">", ">="):
            return above
        return Conjunction(choices=[[below, above]]) if sign == "!=" else Conjunction(couplings=[below, above])

    def _line(self, offset: int) -> int:
        known, line = self._place
        if offset < known:
            return self.scope.source.line(offset)
        self._place = offset, line + self.scope.source.text.count("\n", known, offset)
        return self._place[1]

    def _no_condition(self, node: Node) -> QueryError:
        message = f"found {described(node)} where a condition belongs; conditions are (and ...), (or ...) and "
        return self._error(message + "comparisons by <=, <, >=, >, == or !=.", node)

    def _error(self, message: str, node: Node) -> QueryError:
        return self.scope.source.error(message, node.offset)


def _negative(terms: Terms) -> Terms:
    return tuple((index, -coefficient) for index, coefficient in terms)
