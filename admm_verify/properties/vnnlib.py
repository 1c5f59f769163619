"""VNN-LIB 1.0 and 2.0 files to properties."""

import gzip
import os
import re
import zlib
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from admm_verify.errors import QueryError, UnsupportedQueryError
from admm_verify.memory import Budget, collector_paused
from admm_verify.properties.conditions import Assertions
from admm_verify.properties.declarations import FlatDeclarations, NetworkDeclarations
from admm_verify.properties.dnf import PlacesUnknown, disjuncts
from admm_verify.properties.linear import Scope
from admm_verify.properties.property import NetworkDeclaration, Property
from admm_verify.properties.sexpr import Form, Source, Word, described, read_forms, shown
from admm_verify.properties.slips import command_advice
from admm_verify.run import Run

_CHUNK_BYTES = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_BARE_VERSION = re.compile(r'"?<?\d+(?:\.\d+)?>?"?', re.ASCII)
_VERSION = re.compile(r"<(\d{1,9})\.(\d{1,9})>", re.ASCII)


def read_property(path: str | os.PathLike[str], budget: Budget | None = None) -> Property:
    """The property in a VNN-LIB file, as `read_text` and `property_in`."""
    return property_in(read_text(path, budget))


def parse_vnnlib(text: str, source: str = "query", budget: Budget | None = None) -> Property:
    """The property in a VNN-LIB text, as `property_in`. budget: as for `read_text`."""
    return property_in(Source(source, text, Budget.of(Run()) if budget is None else budget))


def read_text(path: str | os.PathLike[str], budget: Budget | None = None) -> Source:
    """The text in a VNN-LIB file, plain or gzip-compressed whatever its name.

    budget: the memory that reading may take, by default half of what is free, and a question that ends it.
    Raises: QueryError for a file that cannot be read, is no text, or beyond the memory; Stopped.
    """
    allowed = Budget.of(Run()) if budget is None else budget
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            compressed = file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
            data = _bounded(gzip.GzipFile(fileobj=file) if compressed else file, name, allowed)
    except FileNotFoundError as error:
        raise QueryError(f"{name}: there is no such file; give the path of a .vnnlib or .vnnlib.gz file.") from error
    except IsADirectoryError as error:
        raise QueryError(f"{name}: this is a folder; give the path of a .vnnlib or .vnnlib.gz file.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise QueryError(f"{name}: the gzip data is truncated or corrupt ({error}); fetch the file again.") from error
    except (OSError, ValueError) as error:
        raise QueryError(f"{name}: the file cannot be read ({error}).") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{name}: not a VNN-LIB text file (byte {error.start} is not UTF-8); give a .vnnlib file or its gzip."
        raise QueryError(message) from error
    return Source(name, text, allowed)


def property_in(origin: Source) -> Property:
    """The property in a VNN-LIB text: 2.x when it opens by (vnnlib-version <2.x>), else 1.0.

    Raises: QueryError, its message led by the source's name, line and column, for what is malformed, leaves an input
        without bounds or values, or does not fit the memory; UnsupportedQueryError for what is well formed but not
        covered; Stopped once the budget's run is over.
    """
    _check_text(origin)
    with collector_paused():
        try:
            return _parsed(origin, True)
        except PlacesUnknown:
            return _parsed(origin, False)


def declared_in(origin: Source) -> tuple[NetworkDeclaration, ...]:
    """The networks that a text of version 2.x declares before its assertions, which are not read; none of 1.0.

    Raises: as `property_in`.
    """
    _check_text(origin)
    declarations = None
    try:
        for form in read_forms(origin, _NoConditions()):
            if declarations is None:
                if form.head != "vnnlib-version":
                    return ()
                _version(form, origin)
                declarations = NetworkDeclarations(Scope(origin))
            elif form.head in declarations.commands:
                declarations.read(form)
            else:
                break
    except _AssertionReached:
        pass
    return () if declarations is None else declarations.declared()


class _AssertionReached(Exception):
    """The first condition was found."""


class _NoConditions:
    """Ends the reading at the first condition."""

    bytes = 0.0

    def compared(self, match: re.Match[str]) -> None:
        """Raise."""
        raise _AssertionReached

    def joined(self, text: str, offset: int) -> None:
        """Raise."""
        raise _AssertionReached

    def reduced(self, form: Form) -> None:
        """Raise."""
        raise _AssertionReached


def _check_text(origin: Source) -> None:
    if "\0" in origin.text:
        raise origin.error("not a VNN-LIB text file: it holds NUL characters.", origin.text.index("\0"))


def _parsed(origin: Source, sharing: bool) -> Property:
    scope = Scope(origin)
    assertions = Assertions(scope, sharing)
    forms = read_forms(origin, assertions)
    first = next(forms, None)
    if first is None:
        raise _no_assertion(origin)
    declarations: FlatDeclarations | NetworkDeclarations
    if first.head == "vnnlib-version":
        version, declarations = _version(first, origin), NetworkDeclarations(scope)
    else:
        version, declarations = (1, 0), FlatDeclarations(scope)
        forms = chain((first,), forms)
    asserted = False
    for form in forms:
        if form.head == "assert":
            assertions.read(form)
            asserted = True
        elif form.head not in declarations.commands:
            raise _unknown_command(form, declarations.commands[0], origin)
        elif asserted and isinstance(declarations, NetworkDeclarations):
            message = "found declare-network after an assertion; put all declarations before the first assertion."
            raise origin.error(message, form.offset)
        else:
            declarations.read(form)
    if not asserted:
        raise _no_assertion(origin)
    networks = declarations.declared()
    found, impossible = disjuncts(assertions, sum(network.input_size for network in networks))
    return Property(version, networks, found, impossible)


def _bounded(file: gzip.GzipFile | BinaryIO, name: str, budget: Budget) -> bytearray:
    """All bytes of a file, read in chunks so that a small file that unpacks to terabytes fails early."""
    data, origin = bytearray(), Source(name, "", budget)
    while chunk := file.read(_CHUNK_BYTES):
        data += chunk
        # As bytes and as text at once.
        origin.check(2.0 * len(data))
    return data


def _version(form: Form, source: Source) -> tuple[int, int]:
    word = form.items[1] if len(form.items) == 2 else None
    match = _VERSION.fullmatch(word.text) if isinstance(word, Word) else None
    if match is None:
        found = "a version of another form"
        if isinstance(word, Word) and _BARE_VERSION.fullmatch(word.text):
            found = f"the version {shown(word.text)} without its brackets"
        raise source.error(f"found {found}; write (vnnlib-version <2.0>).", form.offset)
    version = int(match[1]), int(match[2])
    if version[0] != 2:
        message = f"found the version {version[0]}.{version[1]}; read are 2.x, and 1.0 without a version form."
        raise source.error(message, form.offset, UnsupportedQueryError)
    return version


def _unknown_command(form: Form, declaration: str, source: Source) -> QueryError:
    message = f"found {described(form)}; allowed here are (assert ...) and ({declaration} ...)"
    if form.head == "vnnlib-version":
        message += ", and one vnnlib-version as the very first form"
    elif form.head == "declare-network":
        message += "; a VNN-LIB 2.0 file opens by (vnnlib-version <2.0>)"
    elif form.head in ("declare-const", "declare-fun"):
        message += "; a VNN-LIB 1.0 file has no version form"
    else:
        message += command_advice(form.head)
    return source.error(message + ".", form.offset)


def _no_assertion(source: Source) -> QueryError:
    return source.error("the file is empty or holds no assertion; write at least one (assert ...).")
