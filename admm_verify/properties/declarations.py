"""Declarations of VNN-LIB files: the networks they speak about, and what their words stand for."""

import re
from dataclasses import dataclass, field, replace

from admm_verify.errors import QueryError, UnsupportedQueryError
from admm_verify.properties.linear import Entry, Scope
from admm_verify.properties.property import NetworkDeclaration, Variable
from admm_verify.properties.sexpr import Form, Node, Word, bracketed, described, shown

FLOAT_TYPES = ("real", "float16", "float32", "float64", "bfloat16")

_INTEGER_TYPE = re.compile(r"u?int(?:8|16|32|64)", re.ASCII)
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_FLAT_NAME = re.compile(r"([XY])_(0|[1-9]\d{0,17})", re.ASCII)

# In the order the grammar gives them inside of declare-network.
_PARTS = ("equal-to", "isomorphic-to", "declare-input", "declare-hidden", "declare-output")


@dataclass
class FlatDeclarations:
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

    def declared(self) -> tuple[NetworkDeclaration, ...]:
        """The network the declarations add up to.

        Raises: QueryError where X or Y is missing or its indices have a gap.
        """
        return (NetworkDeclaration("", (self._variable("X"),), (self._variable("Y"),)),)

    def _variable(self, letter: str) -> Variable:
        indices = self.indices[letter]
        missing = next(index for index in range(len(indices) + 1) if index not in indices)
        if missing < max(len(indices), 1):
            found = f"the highest declared is {letter}_{max(indices)}" if indices else f"no {letter} is declared"
            message = f"{letter}_{missing} is not declared ({found}); declare {letter}_0, {letter}_1, ... without gaps."
            raise self.scope.source.error(message)
        return Variable(letter, "real", (len(indices),))


@dataclass
class NetworkDeclarations:
    """VNN-LIB 2.0: one (declare-network name ...)."""

    scope: Scope
    commands: tuple[str, ...] = ("declare-network",)
    networks: dict[str, NetworkDeclaration] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def read(self, form: Form) -> None:
        """Add one network.

        Raises: QueryError for what is malformed; UnsupportedQueryError for networks of different element types,
            initialized inputs and inputs of integer types.
        """
        name = self._new_name(form, 1)
        references: list[tuple[str, NetworkDeclaration]] = []
        inputs: list[Variable] = []
        hidden: list[Variable] = []
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
                outputs.append(self._named(part))
            elif part.head == "declare-hidden":
                hidden.append(self._hidden(part))
            else:
                references.append((part.head, self._reference(part)))
        self._check_counts(form, name, len(inputs), len(outputs))
        kinds = {variable.element_type for variable in (*inputs, *hidden, *outputs)}
        if "real" in kinds and len(kinds) > 1:
            message = f"the network {name} mixes {' and '.join(sorted(kinds))}; a query over real uses no other type."
            raise self._error(message, form)
        own = NetworkDeclaration(name, tuple(inputs), tuple(outputs), tuple(hidden))
        if references:
            own = self._related(own, references, form)
        self._check_types(own, form)
        for is_output, variables in ((False, inputs), (True, [*outputs, *hidden])):
            for variable in variables:
                self.scope.declare_tensor(variable, is_output)
        self.networks[name] = own

    def declared(self) -> tuple[NetworkDeclaration, ...]:
        """The networks declared, in their order.

        Raises: QueryError when there is none.
        """
        if self.networks:
            return tuple(self.networks.values())
        raise self.scope.source.error("the file declares no network; add (declare-network ...) before the assertions.")

    def _check_counts(self, form: Form, name: str, inputs: int, outputs: int) -> None:
        if not inputs or not outputs:
            message = f"the network {name} declares {inputs} inputs and {outputs} outputs; it has one of each at least."
            raise self._error(message, form)

    def _related(
        self, own: NetworkDeclaration, references: list[tuple[str, NetworkDeclaration]], form: Form
    ) -> NetworkDeclaration:
        """A network with what is said of it and one that it is like, whose inputs and outputs it has to have."""
        keyword, other = references[0]
        if len(references) > 1:
            found = " and ".join(f"{word} {network.name}" for word, network in references)
            message = f"the network {own.name} is declared {found}; say one of them, as equal networks are isomorphic."
            raise self._error(message, form)
        for side, mine, theirs in (("input", own.inputs, other.inputs), ("output", own.outputs, other.outputs)):
            shapes = [[list(variable.shape) for variable in part] for part in (mine, theirs)]
            if shapes[0] != shapes[1]:
                found, wanted = (" and ".join(map(str, part)) for part in shapes)
                message = f"the network {own.name} is {keyword} {other.name}, but its {side} shape is {found} and that "
                message += f"of {other.name} is {wanted}; declare the same shapes, or leave {keyword} out."
                raise self._error(message, form)
        if keyword == "equal-to":
            return replace(own, equal_to=other.name)
        return replace(own, isomorphic_to=other.name)

    def _check_types(self, own: NetworkDeclaration, form: Form) -> None:
        """Refuse networks of different element types: numbers of one are not numbers of the other."""
        for other in self.networks.values():
            first, second = other.inputs[0].element_type, own.inputs[0].element_type
            if first != second:
                message = f"the network {other.name} is declared over {first} and {own.name} over {second}; supported "
                message += "are networks of one type. Declare all of them as real, or convert one of the models."
                raise self._error(message, form, UnsupportedQueryError)

    def _input(self, part: Form) -> Variable:
        options = [item for item in part.items[3:] if isinstance(item, Word) and item.text == "initialized"]
        plain = Form([item for item in part.items if item not in options], part.offset)
        variable = self._named(plain)
        if _INTEGER_TYPE.fullmatch(variable.element_type):
            message = f"the input {variable.name} has the integer type {variable.element_type}; supported are "
            raise self._error(message + f"{', '.join(FLOAT_TYPES)}.", part, UnsupportedQueryError)
        if options:
            message = f"the input {variable.name} is marked initialized, which is not supported; fix it by assertions."
            raise self._error(message, options[0], UnsupportedQueryError)
        return variable

    def _variable(self, part: Form, length: int) -> Variable:
        """The variable of a declaration (keyword name type[shape] ...) of so many items."""
        kind = part.items[2] if len(part.items) == length else None
        if not isinstance(kind, Word):
            message = f"found {len(part.items) - 1} parts in {part.head}; write ({part.head} name type [sizes]"
            raise self._error(message + (' "node").' if part.head == "declare-hidden" else ' ["node"]).'), part)
        name = self._new_name(part, 1)
        written, shape = bracketed(kind, self.scope.source)
        element_type = written.lower()
        if element_type not in FLOAT_TYPES and not _INTEGER_TYPE.fullmatch(element_type):
            allowed = f"{', '.join(FLOAT_TYPES)}, and whole numbers such as int64"
            raise self._error(f"found the type {shown(written)}; allowed are {allowed}.", kind)
        if shape is None or 0 in shape:
            found = "without a shape" if shape is None else f"with the empty shape {list(shape)}"
            message = f"{name} is declared {found}; write positive sizes such as [1,5], or [] for a scalar."
            raise self._error(message, kind)
        return Variable(name, element_type, shape)

    def _named(self, part: Form) -> Variable:
        """A variable whose name in the model may stand behind its shape."""
        return self._hidden(part) if len(part.items) == 4 else self._variable(part, 3)

    def _hidden(self, part: Form) -> Variable:
        variable = self._variable(part, 4)
        node = part.items[3]
        if not isinstance(node, Word) or not node.text.startswith('"') or len(node.text) < 3:
            message = f"found {described(node)} as the node of {variable.name}; write its ONNX name in double quotes."
            raise self._error(message, node)
        return replace(variable, node=re.sub(r"\\(.)", r"\1", node.text[1:-1]))

    def _reference(self, part: Form) -> NetworkDeclaration:
        other = part.items[1] if len(part.items) == 2 else None
        if not isinstance(other, Word) or other.text not in self.networks:
            found = described(other) if other else f"{len(part.items) - 1} names"
            raise self._error(f"found {found} in {part.head}; name one network declared before.", part)
        return self.networks[other.text]

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
