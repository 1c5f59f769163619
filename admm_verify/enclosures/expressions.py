"""Arithmetic text as a graph of operations, evaluated over any type of number.

Text is read by Python's own parser and never executed. Equal subexpressions become one node, so that each is computed
once. Numbers are the decimals as written, held exactly; whoever evaluates decides how to enclose them.
"""

import ast
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeVar

from admm_verify.enclosures.arithmetic import FUNCTIONS, PAIRED, Arithmetic, Operand, Operation
from admm_verify.enclosures.decimals import decimal, read_decimal
from admm_verify.errors import InputError
from admm_verify.options import brief
from admm_verify.rationals import MAX_BITS

T = TypeVar("T")

_LARGEST_POWER = 64
_DEEPEST = 200
_LONGEST = 20_000
"""Characters of one text."""


@dataclass(frozen=True, eq=False)
class Number:
    """A number, exactly as written."""

    value: Fraction


@dataclass(frozen=True, eq=False)
class Pi:
    """The circle's number."""


@dataclass(frozen=True, eq=False)
class Name:
    """A variable."""

    name: str


@dataclass(frozen=True, eq=False)
class Applied:
    """An operation on one or two operands."""

    operation: Operation
    operands: tuple["Expression", ...]


Expression = Number | Pi | Name | Applied

_BINARY = {
    ast.Add: Operation.ADD,
    ast.Sub: Operation.SUBTRACT,
    ast.Mult: Operation.MULTIPLY,
    ast.Div: Operation.DIVIDE,
}
_FUNCTIONS = {operation.value: operation for operation in FUNCTIONS}
_ALLOWED = (
    f"numbers, pi, names, + - * /, ** with a whole number from -{_LARGEST_POWER} to {_LARGEST_POWER}, unary minus and "
    f"{', '.join(_FUNCTIONS)}"
)


class Reader:
    """Reads texts over one set of names into one graph with shared nodes.

    names: the variables. params: names that stand for numbers; a fraction is exact, a float stands for its shortest
    decimal. let: pairs
    (name, text) of abbreviations, each over what comes before it.
    Raises: InputError for a name that is taken, and for text as `read` does.
    """

    def __init__(
        self,
        names: Iterable[str],
        params: Mapping[str, float | Fraction] | None = None,
        let: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._nodes: dict[tuple[Any, ...], Expression] = {}
        self._used: set[str] = set()
        self._known: dict[str, Expression] = {"pi": self._shared((Pi,), Pi())}
        for name in names:
            self._define(name, self._shared((Name, name), Name(name)))
        for name, value in ({} if params is None else params).items():
            self._define(name, self._number(decimal(value, f"parameter {name!r}")))
        for name, text in let:
            self._define(name, self.read(text))

    @property
    def used(self) -> frozenset[str]:
        """The names that some text has asked for."""
        return frozenset(self._used)

    def read(self, text: str) -> Expression:
        """The expression that a text stands for.

        Raises: InputError that names what was found, where, and what is allowed.
        """
        if not isinstance(text, str) or len(text) > _LONGEST:
            kind = f"has {len(text)} characters" if isinstance(text, str) else f"is {type(text).__name__}"
            raise InputError(f"The expression {brief(text)} {kind}; write at most {_LONGEST} characters: {_ALLOWED}.")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            column = getattr(error, "offset", None)
            place = f" at column {column}" if column else ""
            raise InputError(f"The expression {brief(text)} cannot be read{place}; write {_ALLOWED}.") from None
        return self._convert(tree, text.strip(), 0)

    def _define(self, name: str, node: Expression) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(f"The name {brief(name)} is none that a text could use; give letters and digits.")
        if name in self._known or name in _FUNCTIONS:
            raise InputError(f"The name {name!r} is taken already; give every variable and abbreviation its own name.")
        self._known[name] = node

    def _convert(self, tree: ast.expr, text: str, depth: int) -> Expression:
        if depth > _DEEPEST:
            raise InputError(f"The expression {text[:80]!r}... is nested more than {_DEEPEST} deep; use let.")

        def convert(part: ast.expr) -> Expression:
            return self._convert(part, text, depth + 1)

        found: Expression | None = None
        match tree:
            case ast.Constant(value=int() | float()) if not isinstance(tree.value, bool):
                found = self._number(_literal(tree, text))
            case ast.Name(id=name):
                found = self._named(name, tree, text)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = convert(operand)
                constant = isinstance(inner, Number)
                found = self._number(-inner.value) if constant else self._apply(Operation.NEGATE, inner)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                found = convert(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                found = self._power(convert(left), convert(right), tree, text)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                found = self._apply(_BINARY[type(op)], convert(left), convert(right))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                operation = _function(name, _place(tree, text))
                found = self._called(operation, [convert(one) for one in arguments], _place(tree, text))
        if found is None:
            part = ast.get_source_segment(text, tree) or type(tree).__name__
            hint = _hint(tree)
            raise InputError(f"The part {brief(part)} at {_place(tree, text)} is not allowed; {hint}write {_ALLOWED}.")
        return found

    def _named(self, name: str, tree: ast.expr, text: str) -> Expression:
        if name not in self._known:
            known = textwrap.shorten(", ".join(sorted(self._known)), 300, placeholder=" ..")
            call = f" {name} is a function: write {name}(...)." if name in _FUNCTIONS else ""
            raise InputError(f"The name {brief(name)} at {_place(tree, text)} is unknown; known are {known}.{call}")
        self._used.add(name)
        return self._known[name]

    def _called(self, operation: Operation, operands: list[Expression], place: str) -> Expression:
        if operation in PAIRED and len(operands) > 1:
            first, *others = operands
            for one in others:
                first = self._apply(operation, first, one)
            return first
        if operation in PAIRED or len(operands) != 1:
            wanted = "two or more" if operation in PAIRED else "one"
            raise InputError(
                f"The function {operation.value} at {place} is given {len(operands)} arguments; write {wanted}."
            )
        return self._apply(operation, operands[0])

    def _power(self, base: Expression, exponent: Expression, tree: ast.expr, text: str) -> Expression:
        whole = exponent.value if isinstance(exponent, Number) else Fraction(1, 2)
        if whole.denominator != 1 or not abs(whole) <= _LARGEST_POWER:
            raise InputError(
                f"The power at {_place(tree, text)} has an exponent that is not allowed; write {_ALLOWED}."
            )
        result: Expression | None = None
        square = base
        count = abs(int(whole))
        while count:
            if count & 1:
                result = square if result is None else self._apply(Operation.MULTIPLY, result, square)
            count >>= 1
            if count:
                square = self._apply(Operation.MULTIPLY, square, square)
        one = self._number(Fraction(1))
        result = one if result is None else result
        return self._apply(Operation.DIVIDE, one, result) if whole < 0 else result

    def _number(self, value: Fraction) -> Expression:
        return self._shared((Number, value), Number(value))

    def _apply(self, operation: Operation, *operands: Expression) -> Expression:
        return self._shared((operation, *map(id, operands)), Applied(operation, operands))

    def _shared(self, key: tuple[Any, ...], node: Expression) -> Expression:
        return self._nodes.setdefault(key, node)


def _function(name: str, place: str) -> Operation:
    if name not in _FUNCTIONS:
        near = get_close_matches(name, _FUNCTIONS, 1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise InputError(f"The function {brief(name)} at {place} is unknown; write {', '.join(_FUNCTIONS)}{hint}")
    return _FUNCTIONS[name]


def _hint(tree: ast.expr) -> str:
    """What is often written instead of what is read."""
    match tree:
        case ast.BinOp(op=ast.BitXor()):
            return "a power is x**2; "
        case ast.Call(func=ast.Attribute(attr=name)) if name in _FUNCTIONS:
            return f"{name} stands without a module's name; "
        case _:
            return ""


def _place(tree: ast.expr, text: str) -> str:
    return f"column {tree.col_offset + 1} of {brief(text)}"


def _literal(tree: ast.Constant, text: str) -> Fraction:
    """The decimal as written, not the float nearest to it."""
    return read_decimal((ast.get_source_segment(text, tree) or "").replace("_", ""))


def in_order(expressions: Sequence[Expression]) -> tuple[Expression, ...]:
    """All nodes below the expressions, each once and after its operands."""
    seen: dict[int, Expression] = {}
    stack = list(reversed(expressions))
    while stack:
        node = stack[-1]
        waiting = [] if not isinstance(node, Applied) else [part for part in node.operands if id(part) not in seen]
        if waiting:
            stack.extend(reversed(waiting))
        else:
            seen.setdefault(id(node), stack.pop())
    return tuple(seen.values())


@lru_cache(maxsize=64)
def _ordered(expressions: tuple[Expression, ...]) -> tuple[Expression, ...]:
    """The same for expressions that are evaluated again and again."""
    return in_order(expressions)


def evaluate(expressions: Sequence[Expression], values: Mapping[str, T], arithmetic: Arithmetic[T]) -> list[T]:
    """The values of expressions of one Reader; shared nodes are computed once.

    Raises: InputError for a name without a value.
    """
    found: dict[int, T] = {}
    for node in _ordered(tuple(expressions)):
        if isinstance(node, Number):
            found[id(node)] = arithmetic.number(node.value)
        elif isinstance(node, Pi):
            found[id(node)] = arithmetic.pi
        elif isinstance(node, Name):
            if node.name not in values:
                raise InputError(f"The variable {node.name!r} has no value; given are {', '.join(sorted(values))}.")
            found[id(node)] = values[node.name]
        else:
            found[id(node)] = _applied(node, [found[id(operand)] for operand in node.operands], arithmetic)
    return [found[id(expression)] for expression in expressions]


def _applied(node: Applied, operands: Sequence[T], arithmetic: Arithmetic[T]) -> T:
    if node.operation is Operation.MULTIPLY and node.operands[0] is node.operands[1]:
        return arithmetic.square(operands[0])
    return arithmetic.apply(node.operation, *operands)


def affine(expression: Expression, names: Sequence[str]) -> tuple[tuple[Fraction, ...], Fraction]:
    """Coefficients and constant of an expression coefficients'names + constant, exactly.

    Raises: InputError where the expression is not affine in the names, or holds another name.
    """
    units = {name: _Combination({name: Fraction(1)}, Fraction(0)) for name in names}
    if any(isinstance(node, Pi) for node in in_order([expression])):
        raise _not_affine("pi, which is no fraction,")
    exact = Arithmetic(
        _Combination.of, _Combination.of(Fraction(0)), lambda x: x * x, dict.fromkeys(FUNCTIONS, _refuse)
    )
    found = evaluate([expression], units, exact)[0]
    return tuple(found.slopes.get(name, Fraction(0)) for name in names), found.constant


class NotAffineError(InputError):
    """An expression is no sum of numbers times variables."""


def _not_affine(what: str) -> NotAffineError:
    return NotAffineError(f"The expression holds {what} where only sums of numbers times variables are allowed.")


@dataclass(frozen=True)
class _Combination(Operand):
    """slopes'names + constant."""

    slopes: Mapping[str, Fraction]
    constant: Fraction

    def __post_init__(self) -> None:
        # Powers of powers would take all memory; a product has at most as many bits as both factors.
        for value in (self.constant, *self.slopes.values()):
            if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
                raise InputError(f"The expression holds a number of more than {MAX_BITS} bits; make it simpler.")

    @classmethod
    def of(cls, value: Fraction) -> "_Combination":
        return cls({}, value)

    def __add__(self, other: "_Combination") -> "_Combination":
        names = {**self.slopes, **other.slopes}
        slopes = {name: self.slopes.get(name, Fraction(0)) + other.slopes.get(name, Fraction(0)) for name in names}
        return _Combination(slopes, self.constant + other.constant)

    def __neg__(self) -> "_Combination":
        return self._scaled(Fraction(-1))

    def __mul__(self, other: "_Combination") -> "_Combination":
        if any(self.slopes.values()) and any(other.slopes.values()):
            raise _not_affine("a product of two variables")
        return other._scaled(self.constant) if any(other.slopes.values()) else self._scaled(other.constant)

    def __truediv__(self, other: "_Combination") -> "_Combination":
        if any(other.slopes.values()):
            raise _not_affine("a division by a variable")
        if not other.constant:
            raise InputError("The expression divides by zero.")
        return self._scaled(1 / other.constant)

    def _scaled(self, factor: Fraction) -> "_Combination":
        return _Combination({name: factor * slope for name, slope in self.slopes.items()}, factor * self.constant)


def _refuse(*arguments: _Combination) -> _Combination:
    raise _not_affine("a function")
