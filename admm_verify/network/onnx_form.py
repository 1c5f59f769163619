"""Whether an ONNX node is a use of its operator as the standard defines it in one opset."""

from collections.abc import Sequence
from typing import Any

_TYPES = {"float32": "float", "float64": "double"}
"""ONNX's names of element types, by NumPy's, where they differ."""


def misuse(node: Any, opset: int, types: Sequence[str | None]) -> str | None:
    """What is wrong with a NodeProto of the default domain, as the end of a sentence; None where nothing is.

    types: NumPy's name of every input's element type, None for inputs left out.
    """
    from onnx import defs

    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError:
        return "is no operator of this opset"
    if schema.deprecated:
        return "is no longer part of this opset"
    if not schema.min_input <= len(types) <= schema.max_input or len(node.output) > schema.max_output:
        return "has too many or too few inputs or outputs"
    return _unknown_attribute(node, schema) or _wrong_input(types, schema)


def _unknown_attribute(node: Any, schema: Any) -> str | None:
    for attribute in node.attribute:
        known = schema.attributes.get(attribute.name)
        if known is None or (attribute.type and known.type != type(known.type)(attribute.type)):
            return f"has an attribute {attribute.name} that is unknown or of another type"
    return None


def _wrong_input(types: Sequence[str | None], schema: Any) -> str | None:
    # The last one stands for all further inputs where their number is free.
    formals = [*schema.inputs, *schema.inputs[-1:] * len(types)]
    for formal, name in zip(formals, types, strict=False):
        if name is None and formal.option.name == "Single":
            return f"lacks its input {formal.name}"
        if name is not None and f"tensor({_TYPES.get(name, name)})" not in formal.types:
            return f"has an input {formal.name} of type {name}"
    return None
