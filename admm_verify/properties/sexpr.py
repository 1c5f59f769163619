"""The parenthesised notation of VNN-LIB files: text to nested forms, one top-level form at a time, no recursion."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from typing import NamedTuple, TypeAlias

from admm_verify.errors import QueryError

MAX_DEPTH = 100
# Ten million words in one form take a gigabyte; a query on an image of 150 000 inputs has three million tokens.
MAX_TOKENS = 10_000_000

_LINE_BLOCK = 4096
_SHOWN_CHARACTERS = 40

_COMMENT = r";[^\n]*+"
# Possessive quantifiers throughout: no text makes the matcher go back and try again.
_TOKEN = re.compile(
    rf"""
    (\()
    |(\))
    |(
        <\d++\.\d++>                                # the version, <2.0>
        |[<>=!]=?                                   # comparisons need no space after them
        |(?<=\()(?:[+*]|-(?![\d.]))                 # neither does arithmetic: (-X 1)
        |[^\s()\[\]",;<>=!]++                       # a keyword, name or number,
            (?:(?:\s|{_COMMENT}\n)*+                # with the index or shape right behind it
            \[(?:[^\[\]();"]|{_COMMENT}\n)*+\])?+
        |"(?:[^"\\]|\\.)*+"
    )
    |{_COMMENT}
    |(\S)
    """,
    re.ASCII | re.VERBOSE,
)
_OPEN, _CLOSE, _WORD, _STRAY = 1, 2, 3, 4


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


@dataclass(frozen=True)
class Source:
    """A text and the name it goes by in messages."""

    name: str
    text: str

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


def read_forms(source: Source) -> Iterator[Form]:
    """The top-level forms in order.

    Raises: QueryError for unbalanced parentheses, text outside of them, forms nested deeper than MAX_DEPTH,
        characters VNN-LIB has no use for, more than MAX_TOKENS tokens.
    """
    tokens = _TOKEN.finditer(source.text)
    enclosing: list[Form] = []
    items: list[Node] | None = None  # those of the innermost open form; the loop is the hot spot of reading a file
    for match in islice(tokens, MAX_TOKENS):
        kind = match.lastindex
        if kind == _WORD and items is not None:
            items.append(Word(match[0], match.start()))
        elif kind == _OPEN:
            form = Form([], match.start())
            if items is not None:
                items.append(form)
            items = form.items
            enclosing.append(form)
            if len(enclosing) > MAX_DEPTH:
                message = f"parentheses are nested deeper than {MAX_DEPTH}, the most read; flatten the expression."
                raise source.error(message, match.start())
        elif kind == _CLOSE and enclosing:
            form = enclosing.pop()
            items = enclosing[-1].items if enclosing else None
            if not enclosing:
                yield form
        elif kind is not None:  # None: a comment
            raise source.error(_refusal(kind, match[0]), match.start())
    for match in tokens:
        message = f"the file holds more than {MAX_TOKENS} words and parentheses, the most read; split the query."
        raise source.error(message, match.start())
    if enclosing:
        message = f"this '(' is never closed ({len(enclosing)} still open at the end); add the missing ')'."
        raise source.error(message, enclosing[0].offset)


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


def _refusal(kind: int, text: str) -> str:
    """Why a token cannot stand where it does."""
    if kind == _STRAY:
        hints = {
            "[": "a '[' follows a name or element type, holds whole numbers and is closed by ']', as in X[0,3]",
            "]": "it has no '[' after a name before it, as in X[0,3]",
            ",": "commas only separate the numbers in brackets, as in X[0,3]",
            '"': "the string it opens is never closed",
        }
        return f"found {shown(text)}; {hints.get(text, 'it has no meaning in VNN-LIB')}."
    if kind == _CLOSE:
        return "found ')' without a '(' before it; remove it or open the form."
    return f"found {shown(text)} outside of parentheses; a file is a sequence of forms such as (assert (<= X_0 1.0))."
