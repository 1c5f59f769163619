"""Exported graphs of torch: what their nodes are called, where they come from, and writing unknown ones out."""

import os
import re
from typing import Any

import torch

_FRAME = re.compile(r'File "(?P<file>[^"]*)", line (?P<line>\d+), in .*\n(?P<text>.*)')
_TORCH = os.path.dirname(torch.__file__)


def operation_name(node: Any) -> str:
    """The name of a node's ATen operator without its overload, or of another function."""
    return _packet_name(node.target)


def _packet_name(operation: Any) -> str:
    name = getattr(operation, "__name__", str(operation))
    return str(getattr(operation, "overloadpacket", name)).removeprefix("aten.")


def asked_for(node: Any) -> str:
    """The name of the operation in the module, of which the node may be a part."""
    called = node.meta.get("torch_fn")
    name = called[1].rpartition(".")[2].strip("_") if called else ""
    return name or operation_name(node)


def source_line(node: Any) -> tuple[str, str] | None:
    """The innermost line outside torch that calls a node, and its file with the line's number; None if not known."""
    frames = _FRAME.finditer(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not frame["file"].startswith(_TORCH)]
    if not own:
        return None
    return own[-1]["text"].strip(), f"{os.path.basename(own[-1]['file'])}, line {own[-1]['line']}"


def decomposed(exported: Any, known: frozenset[str]) -> Any:
    """An exported program whose operations on the input are known ones, as far as torch can write the others out."""
    dependent = {node.target for node in _dependent(exported)}
    if all(operation_name(node) in known for node in _dependent(exported)):
        return exported
    # Torch would write out what draws numbers as well; and numbers that it computes itself stay those of its kernels.
    constant = {node.target for node in exported.graph.nodes if node.op == "call_function"} - dependent
    table = {
        operation: rule
        for operation, rule in torch.export.default_decompositions().items()
        if _packet_name(operation) not in known
        and operation not in constant
        and torch.Tag.nondeterministic_seeded not in getattr(operation, "tags", ())
    }
    return exported.run_decompositions(table)


def _dependent(exported: Any) -> list[Any]:
    """The calls whose values depend on the input."""
    found = set(exported.graph_signature.user_inputs)
    calls = []
    for node in exported.graph.nodes:
        if any(source.name in found for source in node.all_input_nodes):
            found.add(node.name)
            if node.op == "call_function":
                calls.append(node)
    return calls
