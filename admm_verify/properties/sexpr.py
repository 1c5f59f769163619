"""The parenthesised notation of VNN-LIB files: text to nested forms, one top-level form at a time, no recursion.

Conditions of an assertion are handed on as soon as their parenthesis closes, so that a file of one huge (or ...) is
never held as nested forms.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from admm_verify.errors import QueryError
from admm_verify.memory import Budget
from admm_verify.run import Run

MAX_DEPTH = 100

_LINE_BLOCK = 4096
_SHOWN_CHARACTERS = 40

Thing = TypeVar("Thing")

_ASKED_EVERY, _ASKED_AFTER = 1024, 2**16
"""Tokens, and characters, between two looks at the clock and at the memory, some milliseconds."""

_TOKEN_BYTES = 160
"""What a word of an open form takes, with its share of the form."""

_COMMENT = r";[^\r\n]*+"  # a lone carriage return ends a line, too
_PLAIN = r"[^\s()\[\]\",;<>=!]++(?:\[[\d,]*+\])?+"
_COMPARED = rf"\(\s*+([<>=]=?|!=)\s++({_PLAIN})\s++({_PLAIN})\s*+\)"
# str.split, which takes these apart, knows more white space than VNN-LIB: words with such are read one by one.
_SPLIT = r"(?u:[^\s()\[\]\",;<>=!]++)(?:\[[\d,]*+\])?+"
_UNNAMED = rf"\(\s*+(?:[<>=]=?|!=)\s++{_SPLIT}\s++{_SPLIT}\s*+\)"
# Possessive quantifiers throughout: no text makes the matcher go back and try again. White space is taken with the
# token before it, so that long stretches of it are passed over at once.
_TOKEN = re.compile(
    rf"""
    (?:
    {_COMPARED}                                     # a comparison of two words, the bulk of most files
    |\(and\s++((?:{_UNNAMED}\s*+)++)\)              # several of them at once
    |(\()
    |(\))
    |(
        <\d++\.\d++>                                # the version, <2.0>
        |[<>=!]=?                                   # comparisons need no space after them
        |(?<=\()(?:[+*]|-(?![\d.]))                 # neither does arithmetic: (-X 1)
        |[^\s()\[\]",;<>=!]++                       # a keyword, name or number,
            (?:(?:\s|{_COMMENT}[\r\n])*+                # with the index or shape right behind it
            \[(?:[^\[\]();"]|{_COMMENT}[\r\n])*+\])?+
        |"(?:[^"\\]|\\.)*+"
    )
    |{_COMMENT}
    |(\S)
    )\s*+
    |\s++
    """,
    re.ASCII | re.VERBOSE,
)
_SIGN, _LEFT, _RIGHT, _JOINED, _OPEN, _CLOSE, _WORD, _STRAY = range(1, 9)
_COMPARISON = _RIGHT  # its last group
COMPARISON = re.compile(_COMPARED, re.ASCII)
"""A comparison of two words: its sign and both words."""


class Word(NamedTuple):
    """A keyword, name, number or string, with its bracketed index or shape if it has one, as written."""

    text: str
    offset: int


class Form(NamedTuple):
    """A parenthesised list; offset is that of its opening parenthesis."""

    items: list["Node"]
    offset: int

    @property
    def head(self) -> str:
        """The leading word, "" when there is none."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Word) else ""


Node: TypeAlias = Word | Form


class Conditions(Protocol):
    """Makes of conditions, as their parenthesis closes, what stands for them in the forms around.

    bytes: the memory that all of them take so far.
    """

    bytes: float

    def compared(self, match: re.Match[str]) -> Any:
        """What a comparison of two words becomes, whose sign and words are the groups 1 to 3 of a match."""
        ...

    def joined(self, text: str, offset: int) -> Any:
        """What a conjunction of comparisons of two words becomes; the first one's parenthesis is at the offset."""
        ...

    def reduced(self, form: Form) -> Any:
        """What any other condition becomes, its own conditions having been replaced already."""
        ...


@dataclass(frozen=True)
class Source:
    """A text, the name it goes by in messages, and what reading it may take."""

    name: str
    text: str
    budget: Budget = field(default_factory=lambda: Budget.of(Run()))

    def check(self, bytes: float, offset: int | None = None, what: str = "") -> None:
        """Raise Stopped once the budget's run is over, QueryError where so many bytes, which is taken for what is
        named, do not fit the memory.
        """
        self.budget.run.check()
        if bytes > self.budget.bytes:
            taken = f"the assertions make {what}, which take" if what else "the query takes"
            message = (
                f"{taken} more than {self.budget.bytes / 2**30:.3g} GiB, the memory allowed; allow more, or split "
            )
            raise self.error(message + "the query, one file for each alternative of an or.", offset)

    def paced(self, things: Iterable[Thing]) -> Iterator[Thing]:
        """The same things, with a look at the clock now and then."""
        for number, thing in enumerate(things, start=1):
            if not number % _ASKED_EVERY:
                self.check(0)
            yield thing

    @cached_property
    def _newlines_before_block(self) -> list[int]:
        # One count per block, not one offset per line: a text of 10^8 empty lines would need gigabytes of offsets.
        starts = range(0, len(self.text), _LINE_BLOCK)
        return list(accumulate((self.text.count("\n", i, i + _LINE_BLOCK) for i in starts), initial=0))

    def line(self, offset: int) -> int:
        """The line of a character, from 1."""
        block = offset // _LINE_BLOCK
        return self._newlines_before_block[block] + self.text.count("\n", block * _LINE_BLOCK, offset) + 1

    def error(self, message: str, offset: int | None = None, kind: type[QueryError] = QueryError) -> QueryError:
        """The exception to raise, its message led by the source and, given an offset, line and column."""
        if offset is None:
            return kind(f"{self.name}: {message}")
        column = offset - self.text.rfind("\n", 0, offset)
        return kind(f"{self.name}: line {self.line(offset)}, column {column}: {message}")


def shown(text: str) -> str:
    """A piece of a file as a message quotes it: escaped and cut."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")


def described(node: Node) -> str:
    """A node as a message names it."""
    if isinstance(node, Word):
        return shown(node.text)
    return f"the form ({node.head} ...)" if node.head else "a form without a leading word"


def read_forms(source: Source, conditions: Conditions) -> Iterator[Form]:
    """The top-level forms in order, with conditions of assertions replaced by what they become.

    Raises: QueryError for unbalanced parentheses, text outside of them, forms nested deeper than MAX_DEPTH,
        characters VNN-LIB has no use for, and what does not fit the memory; Stopped; what `conditions` raises.
    """
    enclosing: list[tuple[Form, bool]] = []  # every open form, and whether it is a condition
    top: list[Any] = []
    # Those of the innermost open form, and whether the forms among them are conditions: the hot spot of reading a file.
    items, inside = top, False
    first = ask = 0
    for number, match in enumerate(_TOKEN.finditer(source.text)):
        if not number % _ASKED_EVERY or match.start() >= ask:
            source.check(len(source.text) + conditions.bytes + _TOKEN_BYTES * (number - first), match.start())
            ask = match.start() + _ASKED_AFTER
        kind = match.lastindex
        if kind == _COMPARISON and len(enclosing) < MAX_DEPTH:
            items.append(conditions.compared(match) if inside else _compared(match))
        elif kind == _WORD and enclosing:
            if not items:
                head = match[_WORD]
                inside = head == "assert" if len(enclosing) == 1 else enclosing[-1][1] and head in ("and", "or")
            items.append(Word(match[_WORD], match.start()))
        elif kind == _JOINED and len(enclosing) < MAX_DEPTH - 1:
            text, start = match[_JOINED], match.start(_JOINED)
            items.append(conditions.joined(text, start) if inside else _joined(match))
        elif kind == _OPEN and len(enclosing) < MAX_DEPTH:
            form = Form([], match.start())
            enclosing.append((form, inside))
            items, inside = form.items, False
        elif kind == _CLOSE and enclosing:
            form, inside = enclosing.pop()
            items = enclosing[-1][0].items if enclosing else top
            items.append(conditions.reduced(form) if inside else form)
        elif kind is not None:  # None: a comment
            raise _refused(match, source, len(enclosing))
        if top:
            yield top.pop()
            first = number
    if enclosing:
        message = f"this '(' is never closed ({len(enclosing)} still open at the end); add the missing ')'."
        raise source.error(message, enclosing[0][0].offset)


def bracketed(word: Word, source: Source) -> tuple[str, tuple[int, ...] | None]:
    """A word split into its name and the whole numbers in its brackets, None when it has none.

    Raises: QueryError for anything else than whole numbers separated by commas.
    """
    name, bracket, inside = re.sub(_COMMENT, " ", word.text).partition("[")
    if not bracket:
        return name.strip(), None
    body = inside.rpartition("]")[0].strip()
    numbers = [number.strip() for number in body.split(",")] if body else []
    for number in numbers:
        if not re.fullmatch(r"\d{1,18}", number, re.ASCII):
            message = f"found {shown(number)} in the brackets of {shown(word.text)}; write whole numbers such as [0,3]."
            raise source.error(message, word.offset)
    return name.strip(), tuple(map(int, numbers))


def words(match: re.Match[str]) -> tuple[Word, Word, Word]:
    """Sign and both words of a comparison that was read at once."""
    sign, left, right = (Word(match[group], match.start(group)) for group in (_SIGN, _LEFT, _RIGHT))
    return sign, left, right


def _compared(match: re.Match[str]) -> Form:
    return Form(list(words(match)), match.start())


def _joined(match: re.Match[str]) -> Form:
    parts = COMPARISON.finditer(match.string, match.start(_JOINED), match.end(_JOINED))
    return Form([Word("and", match.start() + 1), *map(_compared, parts)], match.start())


def _refused(match: re.Match[str], source: Source, depth: int) -> QueryError:
    """Why a token cannot stand where it does."""
    kind, offset = match.lastindex, match.start()
    if kind == _JOINED and depth < MAX_DEPTH:
        offset = match.start(_JOINED)
    if kind in (_OPEN, _COMPARISON, _JOINED) and depth >= MAX_DEPTH - (kind == _JOINED):
        message = f"parentheses are nested deeper than {MAX_DEPTH}, the most read; flatten the expression."
    elif kind == _STRAY:
        hints = {
            "[": "a '[' follows a name or element type, holds whole numbers and is closed by ']', as in X[0,3]",
            "]": "it has no '[' after a name before it, as in X[0,3]",
            ",": "commas only separate the numbers in brackets, as in X[0,3]; decimals have a point, as 1.5",
            '"': "the string it opens is never closed",
        }
        text = match[_STRAY]
        message = f"found {shown(text)}; {hints.get(text, 'it has no meaning in VNN-LIB')}."
    elif kind == _CLOSE:
        message = "found ')' without a '(' before it; remove it or open the form."
    else:
        message = f"found {shown(match[0].strip())} outside of parentheses; a file is a sequence of forms such as "
        message += "(assert (<= X_0 1.0))."
    return source.error(message, offset)
