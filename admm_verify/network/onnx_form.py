"""Whether an ONNX node is a use of its operator as the standard defines it in one opset."""

from collections.abc import Sequence
from typing import Any

from admm_verify.network.onnx_checks import CLASSIC, read_tensor

_TYPES = {"float32": "float", "float64": "double"}
"""ONNX's names of element types, by NumPy's, where they differ."""

_FIELDS = {
    "FLOAT": "f",
    "INT": "i",
    "STRING": "s",
    "TENSOR": "t",
    "GRAPH": "g",
    "SPARSE_TENSOR": "sparse_tensor",
    "TYPE_PROTO": "tp",
    "FLOATS": "floats",
    "INTS": "ints",
    "STRINGS": "strings",
    "TENSORS": "tensors",
    "GRAPHS": "graphs",
    "SPARSE_TENSORS": "sparse_tensors",
    "TYPE_PROTOS": "type_protos",
}
"""The field that holds an attribute's value, by type."""


def misuse(node: Any, opset: int, types: Sequence[str | None]) -> str | None:
    """What is wrong with a NodeProto of a standard domain, as the end of a sentence; None where nothing is.

    types: NumPy's name of every input's element type, None for inputs left out.
    """
    from onnx import defs

    try:
        schema = defs.get_schema(node.op_type, opset, node.domain if node.domain == CLASSIC else "")
    except defs.SchemaError:
        return "is no operator of this opset"
    if schema.deprecated:
        return "is no longer part of this opset"
    if not schema.min_input <= len(types) <= schema.max_input or len(node.output) > schema.max_output:
        return "has too many or too few inputs or outputs"
    if len(node.output) < schema.min_output or not any(node.output):
        return "has too few outputs"
    return _wrong_attribute(node, schema) or _wrong_input(types, schema)


def _wrong_attribute(node: Any, schema: Any) -> str | None:
    names = [attribute.name for attribute in node.attribute]
    for name, known in schema.attributes.items():
        if known.required and name not in names:
            return f"lacks its attribute {name}"
    for attribute in node.attribute:
        known = schema.attributes.get(attribute.name)
        if known is None or attribute.type not in (0, known.type.value) or not _holds(attribute, known.type.name):
            return f"has an attribute {attribute.name} that is unknown or of another type"
        if names.count(attribute.name) > 1:
            return f"has two attributes {attribute.name}"
    return None


def _holds(attribute: Any, kind: str) -> bool:
    """Whether an attribute has the one field of its type, or none where that is an empty list."""
    held = {field.name for field, _ in attribute.ListFields()} - {"name", "type", "doc_string"}
    return held == {_FIELDS[kind]} or (not held and kind.endswith("S"))


def _wrong_input(types: Sequence[str | None], schema: Any) -> str | None:
    # The last one stands for all further inputs where their number is free.
    formals = [*schema.inputs, *schema.inputs[-1:] * len(types)]
    for formal, name in zip(formals, types, strict=False):
        if name is None and formal.option.name == "Single":
            return f"lacks its input {formal.name}"
        if name is not None and f"tensor({_TYPES.get(name, name)})" not in formal.types:
            return f"has an input {formal.name} of type {name}"
    return None


def attributes_of(node: Any, name: str) -> dict[str, Any]:
    """The attributes of a node of a model by their names, and how many outputs it has."""
    from onnx.helper import get_attribute_value

    found: dict[str, Any] = {"outputs": len(node.output)}
    for attribute in node.attribute:
        tensor = attribute.HasField("t")
        where = f"The attribute {attribute.name} of a node of {name}"
        found[attribute.name] = read_tensor(attribute.t, where) if tensor else get_attribute_value(attribute)
    return found
