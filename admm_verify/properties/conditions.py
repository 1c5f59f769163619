"""Assertions to conditions: bounds and couplings of inputs, atoms, and choices between them, with constants folded."""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

from admm_verify.errors import QueryError
from admm_verify.properties.alternatives import Branch, Condition, Conjunction, Coupling, InputBound, Never
from admm_verify.properties.linear import Entry, Scope, check_range, difference
from admm_verify.properties.property import Atom, Products
from admm_verify.properties.sexpr import COMPARISON, Form, Node, Word, described, words
from admm_verify.properties.slips import chain_advice, condition_advice, infix_advice
from admm_verify.sets.exact_cut import Inequality, Terms

_BYTES = 400
"""What a bound or an atom takes, with its number and its place in the property and its rows."""

_SHARED_BYTES = 8
"""What one more conjunction with a bound takes."""

_REMEMBERED = 2**14
"""Bounds whose text is kept with them; beyond, all are forgotten."""

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


@dataclass
class Assertions:
    """The conjunction of the assertions read so far.

    never: the first false one, if there is one. dropped: a false alternative of an `or` with others. bytes: what all
    conditions take in memory. sharing: whether conjunctions may share bounds of the same text, which then tell the
    place of the first one; shared: whether some do.
    """

    scope: Scope
    sharing: bool = True
    shared: bool = False
    conjunction: Conjunction = field(default_factory=Conjunction)
    never: Never | None = None
    dropped: Never | None = None
    bytes: float = 0.0
    # The last line asked for: offsets come in ascending order.
    _place: tuple[int, int] = (0, 1)
    _bounds: dict[str, InputBound] = field(default_factory=dict)
    # The terms of single outputs, which most atoms have.
    _alone: dict[tuple[int, bool], Terms] = field(default_factory=dict)
    _last: tuple[InputBound, ...] = ()

    def read(self, form: Form) -> None:
        """Add (assert condition), the condition reduced already.

        Raises: QueryError for what is malformed.
        """
        if len(form.items) != 2:
            message = f"found an assert of {len(form.items) - 1} conditions; write one, joining several by (and ...)"
            raise self._error(f"{message}{infix_advice(form.items[1:])}.", form)
        self._take(form.items[1:])

    def add(self, condition: Condition) -> None:
        """Add a condition that is reduced already."""
        self._take([condition])

    def reduced(self, form: Form) -> Condition:
        """What a condition becomes, its own conditions reduced already.

        Raises: QueryError for what is malformed, UnsupportedQueryError for polynomials of too many terms.
        """
        operands = form.items[1:]
        if form.head in _COMPARISONS:
            if len(operands) != 2:
                message = f"found {form.head!r} with {len(operands)} operands; comparisons take exactly two"
                raise self._error(f"{message}{chain_advice(form.head, operands)}.", form)
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
                return self._limited(sign, first, second, match.start())
            if first.is_output and second.is_output and first.flat != second.flat:
                terms = ((first.flat, _ONE), (second.flat, -_ONE))
                return self._atoms(sign, terms if first < second else terms[::-1], _ZERO, match.start())
        word, left_word, right_word = words(match)
        return self._compared(word.text, left_word, right_word, match.start())

    def joined(self, text: str, offset: int) -> Condition:
        """What a conjunction of comparisons of two words becomes, the first of which stands at the offset.

        Files of many alternatives write the same bounds again and again: a known text is not read again.
        """
        pieces = text.split(")")
        pieces.pop()
        found: list[InputBound | None] = list(map(self._bounds.get, pieces))
        self.shared = self.shared or any(found)
        rest: list[Condition] = []
        if not all(found):
            for number, (piece, known) in enumerate(zip(pieces, found, strict=True)):
                if known is None:
                    found[number] = self._new(piece, offset, rest)
                offset += len(piece) + 1
        # Without a rest all are there, and nothing is left out.
        bounds = tuple(bound for bound in found if bound is not None) if rest else cast(Any, tuple(found))
        return self._united(bounds, rest)

    def _new(self, piece: str, offset: int, rest: list[Condition]) -> InputBound | None:
        """A bound by its text up to the closing parenthesis; None for any other condition, which joins the rest."""
        offset += len(piece) - len(piece.lstrip())
        head, *sides = piece.split()
        left, right = map(self.scope.known, sides) if len(sides) == 2 else (None, None)
        if isinstance(left, Entry) and isinstance(right, Fraction):
            condition = self._limited(head[1:], left, right, offset)
        else:
            match = COMPARISON.match(self.scope.source.text, offset)
            assert match is not None, "the text was matched before"
            condition = self.compared(match)
        if not isinstance(condition, InputBound):
            rest.append(condition)
            return None
        if self.sharing:
            if len(self._bounds) >= _REMEMBERED:
                self._bounds.clear()
            self._bounds[piece] = condition
        return condition

    def _united(self, bounds: tuple[InputBound, ...], rest: list[Condition]) -> Condition:
        """Bounds and other conditions as one; neighbours that have the same bounds share them."""
        self._last = bounds = self._last if bounds == self._last else bounds
        self.bytes += _SHARED_BYTES * len(bounds)
        atoms = tuple(condition for condition in rest if isinstance(condition, Atom))
        if len(atoms) == len(rest):
            return Branch(bounds, atoms)
        found = Conjunction(list(bounds))
        never = self._add(rest, found)
        return found if never is None else never

    def _take(self, operands: Iterable[object]) -> None:
        never = self._add(operands, self.conjunction)
        self.never = self.never or never

    def _possible(
        self, operands: Iterable[object]
    ) -> tuple[list[InputBound | Atom | Coupling | Branch | Conjunction], Never | None]:
        """The conditions among operands, and the first of those that nothing satisfies."""
        found: list[InputBound | Atom | Coupling | Branch | Conjunction] = []
        never = None
        for operand in operands:
            if isinstance(operand, Word):
                raise self._no_condition(operand)
            if isinstance(operand, Never):
                never = never or operand
            elif isinstance(operand, InputBound | Atom | Coupling | Branch | Conjunction):
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
        products = tuple(sorted((factors, value) for factors, value in total.products.items() if value))
        inputs = [entry for entry in terms if not entry.is_output]
        if not terms and not products:
            return Conjunction() if _COMPARISONS[sign](total.constant, _ZERO) else Never(offset)
        if len(terms) > 1 or not inputs or products:
            for number in (*terms.values(), *(value for _, value in products)):
                check_range(number, self.scope.source, offset)
            ordered = sorted((entry.flat, coefficient) for entry, coefficient in terms.items() if entry.is_output)
            coupled = sorted((entry.flat, terms[entry]) for entry in inputs)
            if len(inputs) < len(terms) or products:
                beside: Any = tuple(coupled), tuple((tuple(map(tuple, factors)), value) for factors, value in products)
                return self._atoms(sign, tuple(ordered), total.constant, offset, beside)
            return self._couplings(sign, tuple(coupled), total.constant, offset)
        coefficient = terms[inputs[0]]
        sign = sign if coefficient > 0 else _MIRRORED.get(sign, sign)
        return self._bound(sign, inputs[0].flat, -total.constant / coefficient, offset)

    def _limited(self, sign: str, entry: Entry, value: Fraction, offset: int) -> Condition:
        """An entry against a number."""
        if not entry.is_output:
            return self._bound(sign, entry.flat, value, offset)
        if sign in ("!=", "==", "="):
            return self._atoms(sign, ((entry.flat, _ONE),), -value, offset)
        check_range(value, self.scope.source, offset)
        self.bytes += _BYTES
        below = sign in ("<=", "<")
        key = entry.flat, below
        if key not in self._alone:
            self._alone[key] = ((entry.flat, _ONE if below else -_ONE),)
        return Atom(self._alone[key], -value if below else value, sign in ("<", ">"), self._line(offset))

    def _bound(self, sign: str, flat: int, value: Fraction, offset: int) -> Condition:
        check_range(value, self.scope.source, offset)
        self.bytes += _BYTES
        if sign in ("<=", "<"):
            return InputBound(flat, True, value, sign == "<", offset)
        if sign in (">=", ">"):
            return InputBound(flat, False, value, sign == ">", offset)
        if sign == "!=":
            sides: list[Condition] = [InputBound(flat, upper, value, True, offset) for upper in (True, False)]
            return Conjunction(choices=[sides])
        return Conjunction([InputBound(flat, upper, value, False, offset) for upper in (True, False)])

    def _atoms(
        self, sign: str, terms: Terms, constant: Fraction, offset: int, beside: tuple[Terms, Products] = ((), ())
    ) -> Condition:
        """An atom of outputs, or several, beside inputs and products."""
        check_range(constant, self.scope.source, offset)
        self.bytes += _BYTES + 16 * (len(terms) + len(beside[0])) + _BYTES * len(beside[1])
        strict, line = sign in ("<", ">", "!="), self._line(offset)
        if sign in ("<", "<="):
            return Atom(terms, constant, strict, line, *beside)
        at_least = Atom(_negative(terms), -constant, strict, line, *map(_negative, beside))
        if sign in (">", ">="):
            return at_least
        both = [Atom(terms, constant, strict, line, *beside), at_least]
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
        return self._error(f"{message}comparisons by <=, <, >=, >, == or !={condition_advice(node)}.", node)

    def _error(self, message: str, node: Node) -> QueryError:
        return self.scope.source.error(message, node.offset)


def _negative(terms: tuple[tuple[Any, Fraction], ...]) -> tuple[tuple[Any, Fraction], ...]:
    return tuple((index, -coefficient) for index, coefficient in terms)
