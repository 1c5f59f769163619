"""Conditions as people write them, `0 <= y0 - y1 and (x2 > 0.5 or y0 < 2*y2)`, to the property of a VNN-LIB file."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, NoReturn

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.errors import InputError, QueryError, UnsupportedQueryError
from admm_verify.network.graph import Network
from admm_verify.network.layout import flatten_batch
from admm_verify.properties.alternatives import Condition, Conjunction, Coupling, InputBound
from admm_verify.properties.conditions import Assertions
from admm_verify.properties.dnf import disjuncts
from admm_verify.properties.linear import MAX_DEGREE, Entry, Scope
from admm_verify.properties.property import NetworkDeclaration, Property, Variable
from admm_verify.properties.sexpr import MAX_DEPTH, Form, Node, Source, Word, shown
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import Inequality
from admm_verify.sets.polytope import Polytope
from admm_verify.sets.sparse import Sparse

MAX_CHARACTERS = 2**20

_MOST_BOUNDS = 2**16
"""Of boxes that take the place of a set that is not convex."""

_FORMS = "y0, Y_0 or y[0] for an output, x0, X_0 or x[0] for an input, as y[0,3] where it has several axes"
_SIGNS: dict[type[ast.AST], str] = {
    ast.LtE: "<=",
    ast.Lt: "<",
    ast.GtE: ">=",
    ast.Gt: ">",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
}
_INDEX = re.compile(r"\d{1,18}(?:,\d{1,18})*", re.ASCII)
_NAME = re.compile(r"([xyXY])(?:_?(0|[1-9]\d{0,17}))?", re.ASCII)


def property_of(network: Network, region: WalkableSet | None, condition: str) -> Property:
    """The property that x satisfies when it lies in the region and the condition holds for x and y = f(x).

    A float of the region is the very number it is, a number of the condition the decimal that is written.
    Raises: InputError for no text and for a region that is not one of the network's inputs; QueryError and
        UnsupportedQueryError as `read_property`, with the column.
    """
    if not isinstance(condition, str):
        given = type(condition).__name__
        raise InputError(f"The condition is of type {given}; give text, such as 'y0 <= y1 and y2 > 0.5'.")
    source = Source("the condition", condition)
    assertions = Assertions(Scope(source))
    within = None if region is None else _region(region, network)
    boxes = within.supports(_MOST_BOUNDS // within.size) if isinstance(within, Sparse) else within
    if boxes is not None and boxes.count > 1:
        assertions.conjunction.choices.append([Conjunction(list(_sides(one))) for one in _each(boxes)])
    elif within is not None:
        assertions.conjunction.bounds += _sides(within if boxes is None else boxes)
    if isinstance(region, Polytope):
        assertions.conjunction.couplings += _rows(region)
    reading = _Reading(source, assertions, (network.input_shape, network.output_shape))
    assertions.add(reading.condition(_parsed(source)))
    sides = [
        Variable(name, "real", (prod(shape),))
        for name, shape in (("X", network.input_shape), ("Y", network.output_shape))
    ]
    declared = NetworkDeclaration("", (sides[0],), (sides[1],))
    # Boxes and polytopes, and a few boxes that together are the set, say all of it.
    inside = None if isinstance(boxes, Box) or isinstance(region, Polytope) else within
    ways, impossible = disjuncts(assertions, sides[0].size, inside)
    return Property((1, 0), (declared,), ways, impossible)


def _region(region: WalkableSet, network: Network) -> WalkableSet:
    """One set of flat inputs of a network, [1, inputs], in float64 on the host."""
    if not isinstance(region, WalkableSet):
        raise InputError(
            f"A set of inputs is wanted here, and a {type(region).__name__} was given; make one, such as "
            "av.Box(lower, upper)."
        )
    flat = region.flattened(lambda end: flatten_batch(end, network.input_shape, f"the input of {network.name}"))
    if flat.lead != (1,):
        kind = type(region).__name__
        raise InputError(
            f"The {kind} has {flat.lead[0]} rows; a query speaks of one {kind}, so make a query of each row."
        )
    return flat.put(Placement.numpy())


def _each(boxes: WalkableSet) -> Iterator[WalkableSet]:
    return (boxes.at(slice(number, number + 1)) for number in range(boxes.count))


def _sides(region: WalkableSet) -> Iterator[InputBound]:
    """The bounds of all inputs."""
    exact = ExactBox.of(Box.of(*(end[0] for end in region.range)))
    for entry, (lower, upper) in enumerate(zip(exact.lower, exact.upper, strict=True)):
        yield InputBound(entry, False, lower, False, 0)
        yield InputBound(entry, True, upper, False, 0)


def _rows(region: Polytope) -> Iterator[Coupling]:
    """The rows of one polytope, exactly."""
    single = region.normals.ndim == 2
    limits = region.limits if single else region.limits[0]
    for row, limit in zip(region.normals if single else region.normals[0], limits, strict=True):
        terms = tuple((int(i), Fraction(float(row[i]))) for i in np.flatnonzero(row))
        yield Coupling(Inequality(terms, -Fraction(limit), False), 0)


def _parsed(source: Source) -> ast.expr:
    """The text by Python's own grammar, which knows the precedence everybody knows."""
    # Line breaks and other white space end nothing; leading blanks would be an indentation.
    text = re.sub(r"\s", " ", source.text)
    for odd in re.finditer(r"[^ -~]|[#\\]", text, re.ASCII):
        message = f"found {shown(odd[0])}; write <=, <, >=, >, == and != between sums, joined by and, or, parentheses."
        raise source.error(message, odd.start())
    if len(text) > MAX_CHARACTERS:
        raise source.error(f"it has more than {MAX_CHARACTERS} characters; write a VNN-LIB file of it.")
    try:
        with warnings.catch_warnings():
            # Whoever turns warnings into errors reads the same conditions, such as 'y0 < 1or y1 < 2'.
            warnings.simplefilter("ignore")
            return ast.parse(text.lstrip(), mode="eval").body
    except SyntaxError as error:
        hint = "; to compare, write == instead of =" if re.search(r"(?<![<>=!])=(?!=)", text) else ""
        message = f"this is no condition{hint}. Write one such as 'y0 <= y1 and (y2 > 0.5 or 2*y0 != y1)'."
        place = len(text) - len(text.lstrip()) + (error.offset or 1) - 1
        raise source.error(message, max(min(place, len(text) - 1), 0)) from None
    except (RecursionError, MemoryError):
        raise source.error(
            f"it is nested deeper than {MAX_DEPTH}, or has a sum of thousands of terms, which is not read; flatten "
            "it, and write parts of long sums in parentheses."
        ) from None


def _too_deep(source: Source, place: int) -> QueryError:
    return source.error(f"it is nested deeper than {MAX_DEPTH}, the most read; flatten it.", place)


@dataclass
class _Reading:
    """Python's tree to the forms of VNN-LIB; conditions become what they mean as soon as they are complete.

    shapes: of the network's input and output.
    """

    source: Source
    assertions: Assertions
    shapes: tuple[tuple[int, ...], tuple[int, ...]]

    def condition(self, node: ast.expr, depth: int = 0) -> Condition:
        """What a comparison, or several joined by and, or, becomes."""
        if isinstance(node, ast.BoolOp):
            head = "and" if isinstance(node.op, ast.And) else "or"
            return self._reduced(head, [self.condition(part, self._below(depth, node)) for part in node.values], node)
        if not isinstance(node, ast.Compare):
            self._refuse(node, " where a condition belongs; conditions are comparisons, joined by and, or")
        sums = [self._sum(part, self._below(depth, node)) for part in (node.left, *node.comparators)]
        links: list[Condition] = []
        for sign, left, right in zip(node.ops, sums[:-1], sums[1:], strict=True):
            if type(sign) not in _SIGNS:
                self._refuse(node, "; comparisons are <=, <, >=, >, == and !=")
            links.append(self._reduced(_SIGNS[type(sign)], [left, right], node))
        return links[0] if len(links) == 1 else self._reduced("and", links, node)

    def _reduced(self, head: str, operands: Sequence[Any], node: ast.expr) -> Condition:
        # As where a file is read: conditions stand in the forms around them as what they have become.
        place = self._place(node)
        return self.assertions.reduced(Form([Word(head, place), *operands], place))

    def _sum(self, node: ast.expr, depth: int) -> Node:
        """An expression as a form; long sums, which Python nests, are one form."""
        place, inner = self._place(node), self._below(depth, node)
        later: list[Node] = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            term = self._sum(node.right, inner)
            later.append(term if isinstance(node.op, ast.Add) else Form([Word("-", place), term], place))
            node = node.left
        first = self._product(node, inner)
        return Form([Word("+", place), first, *reversed(later)], place) if later else first

    def _product(self, node: ast.expr, depth: int) -> Node:
        place = self._place(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return Form([Word("*", place), self._sum(node.left, depth), self._sum(node.right, depth)], place)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            return Form([Word("*", place), *[self._sum(node.left, depth)] * self._exponent(node)], place)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign = "-" if isinstance(node.op, ast.USub) else "+"
            return Form([Word(sign, place), self._sum(node.operand, depth)], place)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return Word(self._text(node), place)
        if isinstance(node, ast.Name | ast.Subscript):
            return self._entry(node)
        self._refuse(node, " where a number, a variable, or a sum or multiple of those belongs")

    def _exponent(self, node: ast.BinOp) -> int:
        power = node.right
        if isinstance(power, ast.Constant) and type(power.value) is int and 1 <= power.value <= MAX_DEGREE:
            return power.value
        self._refuse(node, f"; exponents are whole numbers from 1 to {MAX_DEGREE}")

    def _entry(self, node: ast.Name | ast.Subscript) -> Word:
        """One entry of the input or output, declared under its flat name."""
        name, bracket, inside = re.sub(r"\s", "", self._text(node)).partition("[")
        match, numbers = _NAME.fullmatch(name), inside.removesuffix("]")
        if match is None or (bracket and (match[2] or not _INDEX.fullmatch(numbers))):
            self._refuse(node, f" as a variable; write {_FORMS}")
        is_output = match[1] in "yY"
        shape = self.shapes[is_output]
        index = tuple(map(int, numbers.split(","))) if bracket else (int(match[2]),) if match[2] else (0,) * len(shape)
        # Flat, or by all axes; a name alone stands for the only entry there is.
        sizes = shape if len(index) == len(shape) > 1 else (prod(shape),)
        alone = bool(bracket or match[2]) or prod(shape) == 1
        if not alone or len(index) != len(sizes) or any(i >= size for i, size in zip(index, sizes, strict=True)):
            side = "output" if is_output else "input"
            self._refuse(node, f"; the network's {side} has shape {list(shape)}, counted from 0: write {_FORMS}")
        flat = 0
        for i, size in zip(index, sizes, strict=True):
            flat = flat * size + i
        plain = f"{'Y' if is_output else 'X'}_{flat}"
        self.assertions.scope.declare_entry(plain, Entry(is_output, flat))
        return Word(plain, self._place(node))

    def _below(self, depth: int, node: ast.expr) -> int:
        if depth >= MAX_DEPTH:
            raise _too_deep(self.source, self._place(node))
        return depth + 1

    def _text(self, node: ast.expr) -> str:
        length = (node.end_col_offset or node.col_offset) - node.col_offset
        return self.source.text[self._place(node) : self._place(node) + length]

    def _place(self, node: ast.expr) -> int:
        """Where a node begins: the text was parsed without the blanks it begins with."""
        return len(self.source.text) - len(self.source.text.lstrip()) + node.col_offset

    def _refuse(self, node: ast.expr, why: str) -> NoReturn:
        kind: type[QueryError] = QueryError
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            kind, why = UnsupportedQueryError, "; there is no division: multiply by a decimal, as in 0.5*y0"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            why = "; write the opposite comparison instead of not"
        elif any(
            isinstance(part, ast.BinOp) and isinstance(part.op, ast.BitAnd | ast.BitOr) for part in ast.walk(node)
        ):
            why = "; join conditions by and, or (& and | bind closer than <=)"
        raise self.source.error(f"found {shown(self._text(node))}{why}.", self._place(node), kind)
