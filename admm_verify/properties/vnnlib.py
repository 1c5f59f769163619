"""VNN-LIB 1.0 and 2.0 files to properties."""

import gzip
import os
import re
import zlib
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from admm_verify.errors import QueryError, UnsupportedQueryError
from admm_verify.memory import Budget, collector_paused
from admm_verify.properties.conditions import Assertions
from admm_verify.properties.dnf import PlacesUnknown, disjuncts
from admm_verify.properties.linear import Entry, Scope
from admm_verify.properties.property import NetworkDeclaration, Property, Variable
from admm_verify.properties.sexpr import Form, Node, Source, Word, bracketed, described, read_forms, shown
from admm_verify.properties.slips import command_advice
from admm_verify.run import Run

FLOAT_TYPES = ("real", "float16", "float32", "float64", "bfloat16")

_CHUNK_BYTES = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_BARE_VERSION = re.compile(r'"?<?\d+(?:\.\d+)?>?"?', re.ASCII)
_VERSION = re.compile(r"<(\d{1,9})\.(\d{1,9})>", re.ASCII)

_INTEGER_TYPE = re.compile(r"u?int\d+", re.ASCII)
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_FLAT_NAME = re.compile(r"([XY])_(0|[1-9]\d{0,17})", re.ASCII)

# In the order the grammar gives them inside of declare-network.
_PARTS = ("equal-to", "isomorphic-to", "declare-input", "declare-hidden", "declare-output")


def read_property(path: str | os.PathLike[str], budget: Budget | None = None) -> Property:
    """The property in a VNN-LIB file, plain or gzip-compressed whatever its name.

    budget: the memory that reading may take, by default half of what is free, and a question that ends it.
    Raises: QueryError for a file that cannot be read, is no text, or beyond the memory; otherwise as `parse_vnnlib`.
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
    del data
    return parse_vnnlib(text, name, allowed)


def parse_vnnlib(text: str, source: str = "query", budget: Budget | None = None) -> Property:
    """The property in a VNN-LIB text: 2.x when it opens by (vnnlib-version <2.x>), else 1.0.

    budget: as for `read_property`.
    Raises: QueryError, its message led by the source's name, line and column, for what is malformed, leaves an input
        without bounds or values, or does not fit the memory; UnsupportedQueryError for what is well formed but not
        covered; Stopped once the budget's run is over.
    """
    origin = Source(source, text, Budget.of(Run()) if budget is None else budget)
    if "\0" in text:
        raise origin.error("not a VNN-LIB text file: it holds NUL characters.", text.index("\0"))
    with collector_paused():
        try:
            return _parsed(origin, True)
        except PlacesUnknown:
            return _parsed(origin, False)


def _parsed(origin: Source, sharing: bool) -> Property:
    scope = Scope(origin)
    assertions = Assertions(scope, sharing)
    forms = read_forms(origin, assertions)
    first = next(forms, None)
    if first is None:
        raise _no_assertion(origin)
    declarations: _FlatDeclarations | _NetworkDeclarations
    if first.head == "vnnlib-version":
        version, declarations = _version(first, origin), _NetworkDeclarations(scope)
    else:
        version, declarations = (1, 0), _FlatDeclarations(scope)
        forms = chain((first,), forms)
    asserted = False
    for form in forms:
        if form.head == "assert":
            assertions.read(form)
            asserted = True
        elif form.head not in declarations.commands:
            raise _unknown_command(form, declarations.commands[0], origin)
        elif asserted and isinstance(declarations, _NetworkDeclarations):
            message = "found declare-network after an assertion; put all declarations before the first assertion."
            raise origin.error(message, form.offset)
        else:
            declarations.read(form)
    if not asserted:
        raise _no_assertion(origin)
    network = declarations.network()
    found, impossible = disjuncts(assertions, network.inputs[0].size)
    return Property(version, (network,), found, impossible)


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
        if word is not None and _BARE_VERSION.fullmatch(word.text):
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


@dataclass
class _FlatDeclarations:
    """VNN-LIB 1.0: one (declare-const X_i Real) for each entry of the flat input, Y_i of the flat output.

    In SMT-LIB's other spelling, (declare-fun X_i () Real).
    """

    scope: Scope
    commands: tuple[str, ...] = ("declare-const", "declare-fun")
    indices: dict[str, set[int]] = field(default_factory=lambda: {"X": set(), "Y": set()})

    def read(self, form: Form) -> None:
        """Add one declaration.

        Raises: QueryError for other names, other types than Real, and repeated names.
        """
        items = form.items
        if form.head == "declare-fun" and len(items) == 4 and isinstance(items[2], Form) and not items[2].items:
            items = [*items[:2], items[3]]
        words = [item.text for item in items if isinstance(item, Word)]
        match = _FLAT_NAME.fullmatch(words[1]) if len(words) == len(items) == 3 else None
        if match is None or words[2] != "Real":
            message = "this declaration is neither (declare-const X_i Real) nor (declare-const Y_i Real) with a whole "
            raise self.scope.source.error(message + "number i; VNN-LIB 1.0 has no other.", form.offset)
        letter, index = match[1], int(match[2])
        if index in self.indices[letter]:
            raise self.scope.source.error(f"{words[1]} is declared twice; declare it once.", form.offset)
        self.indices[letter].add(index)
        self.scope.declare_entry(words[1], Entry(letter == "Y", index))

    def network(self) -> NetworkDeclaration:
        """The network the declarations add up to.

        Raises: QueryError where X or Y is missing or its indices have a gap.
        """
        return NetworkDeclaration("", (self._variable("X"),), (self._variable("Y"),))

    def _variable(self, letter: str) -> Variable:
        indices = self.indices[letter]
        missing = next(index for index in range(len(indices) + 1) if index not in indices)
        if missing < max(len(indices), 1):
            found = f"the highest declared is {letter}_{max(indices)}" if indices else f"no {letter} is declared"
            message = f"{letter}_{missing} is not declared ({found}); declare {letter}_0, {letter}_1, ... without gaps."
            raise self.scope.source.error(message)
        return Variable(letter, "real", (len(indices),))


@dataclass
class _NetworkDeclarations:
    """VNN-LIB 2.0: one (declare-network name ...) with one input and one output."""

    scope: Scope
    commands: tuple[str, ...] = ("declare-network",)
    networks: dict[str, NetworkDeclaration] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def read(self, form: Form) -> None:
        """Add one network.

        Raises: QueryError for what is malformed; UnsupportedQueryError for a second network, several inputs or outputs,
            hidden nodes, initialized inputs and integer types.
        """
        name = self._new_name(form, 1)
        inputs: list[Variable] = []
        outputs: list[Variable] = []
        reached = 0
        for part in form.items[2:]:
            if not isinstance(part, Form) or part.head not in _PARTS:
                message = f"found {described(part)} in the network {name}; allowed are {', '.join(_PARTS)}."
                raise self._error(message, part)
            if _PARTS.index(part.head) < reached:
                raise self._error(f"{part.head} comes too late; the order is {', '.join(_PARTS)}.", part)
            reached = _PARTS.index(part.head)
            if part.head == "declare-input":
                inputs.append(self._input(part))
            elif part.head == "declare-output":
                outputs.append(self._variable(part, 3))
            elif part.head == "declare-hidden":
                self._refuse_hidden(part)
            else:
                self._check_reference(part)
        self._check_counts(form, name, len(inputs), len(outputs))
        kinds = {variable.element_type for variable in (*inputs, *outputs)}
        if "real" in kinds and len(kinds) > 1:
            message = f"the network {name} mixes {' and '.join(sorted(kinds))}; a query over real uses no other type."
            raise self._error(message, form)
        self.scope.declare_tensor(inputs[0], False)
        self.scope.declare_tensor(outputs[0], True)
        self.networks[name] = NetworkDeclaration(name, tuple(inputs), tuple(outputs))

    def network(self) -> NetworkDeclaration:
        """The network declared.

        Raises: QueryError when there is none.
        """
        for network in self.networks.values():
            return network
        raise self.scope.source.error("the file declares no network; add (declare-network ...) before the assertions.")

    def _check_counts(self, form: Form, name: str, inputs: int, outputs: int) -> None:
        if not inputs or not outputs:
            message = f"the network {name} declares {inputs} inputs and {outputs} outputs; declare one of each."
            raise self._error(message, form)
        if self.networks:
            message = f"{name} is a second network; supported are queries over a single one (theory SNET)."
            raise self._error(message, form, UnsupportedQueryError)
        if inputs > 1 or outputs > 1:
            message = f"the network {name} declares {inputs} inputs and {outputs} outputs; supported is "
            raise self._error(message + "one of each (theory SIO).", form, UnsupportedQueryError)

    def _input(self, part: Form) -> Variable:
        options = [item for item in part.items[3:] if isinstance(item, Word) and item.text == "initialized"]
        variable = self._variable(part, 3 + len(options))
        if options:
            message = f"the input {variable.name} is marked initialized, which is not supported; fix it by assertions."
            raise self._error(message, options[0], UnsupportedQueryError)
        return variable

    def _variable(self, part: Form, length: int) -> Variable:
        """The variable of a declaration (keyword name type[shape] ...) of so many items."""
        kind = part.items[2] if len(part.items) == length else None
        if not isinstance(kind, Word):
            message = f"found {len(part.items) - 1} parts in {part.head}; write ({part.head} name type [sizes]"
            raise self._error(message + (' "node").' if part.head == "declare-hidden" else ")."), part)
        name = self._new_name(part, 1)
        written, shape = bracketed(kind, self.scope.source)
        element_type = written.lower()
        if _INTEGER_TYPE.fullmatch(element_type):
            message = f"{name} has the integer type {written}; supported are {', '.join(FLOAT_TYPES)}."
            raise self._error(message, kind, UnsupportedQueryError)
        if element_type not in FLOAT_TYPES:
            raise self._error(f"found the type {shown(written)}; allowed are {', '.join(FLOAT_TYPES)}.", kind)
        if shape is None or 0 in shape:
            found = "without a shape" if shape is None else f"with the empty shape {list(shape)}"
            message = f"{name} is declared {found}; write positive sizes such as [1,5], or [] for a scalar."
            raise self._error(message, kind)
        return Variable(name, element_type, shape)

    def _refuse_hidden(self, part: Form) -> None:
        variable = self._variable(part, 4)
        node = part.items[3]
        if not isinstance(node, Word) or not node.text.startswith('"'):
            message = f"found {described(node)} as the node of {variable.name}; write its ONNX name in double quotes."
            raise self._error(message, node)
        message = f"{variable.name} is a hidden node; supported are inputs and outputs only (theory NH)."
        raise self._error(message, part, UnsupportedQueryError)

    def _check_reference(self, part: Form) -> None:
        other = part.items[1] if len(part.items) == 2 else None
        if not isinstance(other, Word) or other.text not in self.networks:
            found = described(other) if other else f"{len(part.items) - 1} names"
            raise self._error(f"found {found} in {part.head}; name one network declared before.", part)

    def _new_name(self, form: Form, position: int) -> str:
        word = form.items[position] if position < len(form.items) else form
        if not isinstance(word, Word) or not _NAME.fullmatch(word.text):
            message = f"found {described(word)} as a name in {form.head}; names are letters, digits and underscores, a "
            raise self._error(message + "letter first.", word)
        if word.text in self.names:
            raise self._error(f"{word.text} is declared twice; names must be unique in a file.", word)
        self.names.add(word.text)
        return word.text

    def _error(self, message: str, node: Node, kind: type[QueryError] = QueryError) -> QueryError:
        return self.scope.source.error(message, node.offset, kind)
