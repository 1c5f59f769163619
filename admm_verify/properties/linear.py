"""Words to numbers and variables, arithmetic to linear forms, exactly in rational numbers."""

import re
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from admm_verify.errors import UnsupportedQueryError
from admm_verify.properties.property import Variable
from admm_verify.properties.sexpr import Form, Node, Source, Word, bracketed, described, shown
from admm_verify.properties.slips import name_advice, term_advice

MAX_DIGITS = 30
MAX_EXPONENT = 300
MAX_DEGREE, MAX_MONOMIALS = 16, 10_000

# Products of literals grow without end; 16384 bits hold a product of fifteen of the largest.
_MAX_BITS = 16_384
_LARGEST_FLOAT = int(sys.float_info.max)

_REMEMBERED = 2**14
"""Numbers that are kept by their spelling; beyond, all are forgotten."""

# What most numbers look like, within all limits; no declared name begins like one.
_DECIMAL = re.compile(rf"-?+(?=[\d.]{{1,{MAX_DIGITS}}}+\Z)\d++(?:\.\d++)?+", re.ASCII)
_POWERS = [10**digits for digits in range(MAX_DIGITS + 1)]
_NUMBER = re.compile(r"([+-]?)(\d*+)(?:\.(\d*+))?+(?:[eE]([+-]?)(\d++))?+", re.ASCII)
_LIKE_A_NUMBER = re.compile(r"[+-]?\.?\d", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)

_ZERO, _ONE = Fraction(0), Fraction(1)


class Entry(NamedTuple):
    """One entry of the flat network input or output."""

    is_output: bool
    flat: int


@dataclass
class Scope:
    """What each word of an expression stands for: an entry of a declared variable, or a number."""

    source: Source
    _entries: dict[str, Entry] = field(default_factory=dict, init=False)
    _numbers: dict[str, Fraction] = field(default_factory=dict, init=False)
    _tensors: dict[str, tuple[Variable, Entry]] = field(default_factory=dict, init=False)

    def declare_entry(self, name: str, entry: Entry) -> None:
        """Make a plain name stand for one entry (VNN-LIB 1.0)."""
        self._entries[name] = entry

    def declare_tensor(self, variable: Variable, is_output: bool) -> None:
        """Make name[i,j,...] stand for the entries of a variable (VNN-LIB 2.0), behind those of its side so far."""
        first = sum(other.size for other, start in self._tensors.values() if start.is_output == is_output)
        self._tensors[variable.name] = variable, Entry(is_output, first)

    def meaning(self, word: Word) -> Entry | Fraction:
        """The entry or number a word stands for.

        Raises: QueryError when it is neither.
        """
        value = self.known(word.text)
        if value is None:
            value = self._resolve(word)
            if isinstance(value, Entry):
                self._entries[word.text] = value
            else:
                self._remember(word.text, value)
        return value

    def known(self, text: str) -> Entry | Fraction | None:
        """What a word stands for where that is plain; None where it takes a closer look, as of `meaning`."""
        value = self._entries.get(text) or self._numbers.get(text)
        if value is None and _DECIMAL.fullmatch(text):
            whole, _, decimals = text.partition(".")
            value = Fraction(int(whole + decimals), _POWERS[len(decimals)])
            self._remember(text, value)
        return value

    def _remember(self, text: str, value: Fraction) -> None:
        if len(self._numbers) >= _REMEMBERED:
            self._numbers.clear()
        self._numbers[text] = value

    def entry_name(self, entry: Entry) -> str:
        """An entry as the file writes it."""
        for variable, first in self._tensors.values():
            if first.is_output == entry.is_output and 0 <= entry.flat - first.flat < variable.size:
                return variable.name + _index_text(variable.shape, entry.flat - first.flat)
        return f"{'Y' if entry.is_output else 'X'}_{entry.flat}"

    def _resolve(self, word: Word) -> Entry | Fraction:
        name, indices = bracketed(word, self.source)
        if name in self._tensors:
            variable, first = self._tensors[name]
            return Entry(first.is_output, first.flat + self._flat_index(word, variable, indices))
        if indices is None and (_LIKE_A_NUMBER.match(name) or _NOT_FINITE.fullmatch(name)):
            return read_number(word, self.source)
        message = f"found {shown(word.text)}, which is neither a number nor declared above; declare it before its use"
        raise self.source.error(f"{message}{name_advice(word.text, not self._tensors)}.", word.offset)

    def _flat_index(self, word: Word, variable: Variable, indices: tuple[int, ...] | None) -> int:
        shape = variable.shape
        if (indices is None) != (shape == ()) or len(indices or ()) != len(shape):
            allowed = f"{len(shape)} indices in brackets" if shape else "no brackets"
            message = f"found {shown(word.text)}; {variable.name} has shape {list(shape)}, so write it with {allowed}."
            raise self.source.error(message, word.offset)
        flat = 0
        for position, (index, size) in enumerate(zip(indices or (), shape, strict=True)):
            if index >= size:
                message = f"index {index} in {shown(word.text)} is out of range; index {position} goes to {size - 1}."
                raise self.source.error(message, word.offset)
            flat = flat * size + index
        return flat


def read_number(word: Word, source: Source) -> Fraction:
    """The value of a literal.

    Raises: QueryError for nan and inf, malformed literals, more than MAX_DIGITS digits before the exponent, exponents
        beyond MAX_EXPONENT.
    """
    if _NOT_FINITE.fullmatch(word.text):
        raise source.error(f"found {shown(word.text)}; numbers must be finite.", word.offset)
    match = _NUMBER.fullmatch(word.text)
    sign, whole, decimals, exponent_sign, exponent = match.groups(default="") if match else ("",) * 5
    digits = whole + decimals
    if not digits:
        message = f"found {shown(word.text)}, which is no number; write decimals such as -0.5 or 1.5e-3."
        raise source.error(message, word.offset)
    if len(digits) > MAX_DIGITS:
        message = f"{shown(word.text)} has {len(digits)} digits; at most {MAX_DIGITS} are read (a float64 carries 17). "
        raise source.error(message + "Shorten it.", word.offset)
    exponent = exponent.lstrip("0") or "0"
    if len(exponent) > len(str(MAX_EXPONENT)) or int(exponent) > MAX_EXPONENT:
        message = f"the exponent of {shown(word.text)} is beyond {MAX_EXPONENT} in size, the largest read."
        raise source.error(message, word.offset)
    power = int(exponent_sign + exponent) - len(decimals)
    numerator = int(sign + digits)
    return Fraction(numerator * 10**power) if power >= 0 else Fraction(numerator, 10**-power)


def check_range(value: Fraction, source: Source, offset: int) -> None:
    """Refuse what no float64 holds.

    Raises: QueryError for sizes beyond the largest float64.
    """
    numerator, denominator = value.numerator, value.denominator
    if numerator.bit_length() - denominator.bit_length() < sys.float_info.max_exp - 1:
        return
    if abs(numerator) > _LARGEST_FLOAT * denominator:
        message = "this comparison holds a number beyond the largest float64 (about 1.8e308); rescale it."
        raise source.error(message, offset)


@dataclass
class Polynomial:
    """The running total: sum of coefficient * entry + constant, and of coefficients times products of several entries
    in ascending order; coefficients may cancel to zero.
    """

    terms: dict[Entry, Fraction] = field(default_factory=dict)
    constant: Fraction = _ZERO
    products: dict[tuple[Entry, ...], Fraction] = field(default_factory=dict)

    def nonzero(self) -> dict[Entry, Fraction]:
        """The terms that did not cancel."""
        return {entry: coefficient for entry, coefficient in self.terms.items() if coefficient}

    def monomials(self) -> list[tuple[tuple[Entry, ...], Fraction]]:
        """All parts that did not cancel, as factors and their coefficient."""
        parts = [((), self.constant), *(((entry,), value) for entry, value in self.terms.items())]
        return [(factors, value) for factors, value in (*parts, *self.products.items()) if value]

    def add(self, factors: tuple[Entry, ...], coefficient: Fraction) -> None:
        """Add a coefficient times a product of entries."""
        if not factors:
            self.constant += coefficient
        elif len(factors) == 1:
            self.terms[factors[0]] = self.terms.get(factors[0], _ZERO) + coefficient
        else:
            self.products[factors] = self.products.get(factors, _ZERO) + coefficient


def difference(left: Node, right: Node, scope: Scope) -> Polynomial:
    """The polynomial left - right.

    Raises: QueryError for malformed arithmetic, UnsupportedQueryError beyond MAX_DEGREE and MAX_MONOMIALS.
    """
    total = Polynomial()
    _accumulate(left, _ONE, total, scope)
    _accumulate(right, -_ONE, total, scope)
    return total


def _accumulate(node: Node, factor: Fraction, total: Polynomial, scope: Scope) -> None:
    """Add factor * node to the total."""
    if isinstance(node, Word):
        meaning = scope.meaning(node)
        if isinstance(meaning, Entry):
            total.terms[meaning] = total.terms.get(meaning, _ZERO) + factor
        else:
            total.constant += factor * meaning
        return
    operands = node.items[1:]
    if node.head not in ("+", "-", "*") or not operands:
        message = f"found {described(node)} where a number, a variable, or (+ ...), (- ...), (* ...) of those belongs"
        raise scope.source.error(f"{message}{term_advice(node)}.", node.offset)
    if node.head == "*":
        _accumulate_product(node, factor, total, scope)
        return
    for position, operand in enumerate(operands):
        negated = node.head == "-" and (position > 0 or len(operands) == 1)
        _accumulate(operand, -factor if negated else factor, total, scope)


def _accumulate_product(product: Form, factor: Fraction, total: Polynomial, scope: Scope) -> None:
    found: list[tuple[tuple[Entry, ...], Fraction]] = [((), factor)]
    for operand in product.items[1:]:
        part = Polynomial()
        _accumulate(operand, _ONE, part, scope)
        expanded = Polynomial()
        for entries, coefficient in part.monomials():
            for others, value in found:
                expanded.add(tuple(sorted(entries + others)), coefficient * value)
        found = expanded.monomials()
        _check_product(found, product, scope.source)
    for factors, coefficient in found:
        total.add(factors, coefficient)


def _check_product(found: list[tuple[tuple[Entry, ...], Fraction]], product: Form, source: Source) -> None:
    numbers = [number for _, value in found for number in (value.numerator, value.denominator)]
    if max(map(int.bit_length, numbers), default=0) > _MAX_BITS:
        raise source.error("this product of numbers is too large to be read exactly.", product.offset)
    degree = max((len(factors) for factors, _ in found), default=0)
    if degree > MAX_DEGREE or len(found) > MAX_MONOMIALS:
        message = f"this polynomial has degree {degree} and {len(found)} terms when it is multiplied out; read are "
        message += f"degrees up to {MAX_DEGREE} and {MAX_MONOMIALS} terms."
        raise source.error(message, product.offset, UnsupportedQueryError)


def _index_text(shape: tuple[int, ...], flat: int) -> str:
    indices: list[int] = []
    for size in reversed(shape):
        flat, index = divmod(flat, size)
        indices.append(index)
    return f"[{','.join(map(str, reversed(indices)))}]" if shape else ""
