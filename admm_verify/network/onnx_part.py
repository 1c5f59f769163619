"""The part of an ONNX model that is read: one output, the nodes it needs, and the one input that is left free."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from difflib import get_close_matches
from typing import Any

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError, ModelError
from admm_verify.given import plain_array
from admm_verify.network.onnx_checks import CLASSIC, check_graph, element_type, read_type
from admm_verify.network.onnx_files import Model

_SHOWN = 12
"""Names that a message lists at most."""


def part_of(model: Model, output: str | None = None, inputs: Mapping[str, object] | None = None) -> Model:
    """The model of one output as a function of one input: functions inlined, other inputs made constants.

    output: its name, or that of any value inside, None for the only one. inputs: a value for every input but one.
    Where there is nothing to leave out, the model itself.
    Raises: ModelError naming what there is to choose from; InputError for values that do not fit.
    """
    check_graph(model.proto, model.name)
    proto = inlined(model)
    target = _before_maps(proto.graph, _chosen(proto.graph, output, model.name))
    nodes = list(needed(proto.graph, {target}))
    read = {name for node in nodes for name in _read(node)}
    stored = {tensor.name for tensor in proto.graph.initializer}
    declared = [value for value in proto.graph.input if value.name not in stored]
    fixed = _fixed(declared, inputs or {}, model.name)
    free = [value for value in declared if value.name not in fixed]
    # An input that the output does not read counts only where there is no other.
    free = [value for value in free if value.name in read] or free
    if len(free) != 1:
        raise ModelError(_ambiguous(free, declared, model.name))
    outputs = [value.name for value in proto.graph.output]
    whole = len(nodes) == len(proto.graph.node) and outputs == [target] and len(declared) == 1
    if whole and proto is model.proto:
        return model
    made = _cut(proto, nodes, free[0], target, list(fixed.values()))
    return Model(model.name, made.SerializeToString(), made)


def inlined(model: Model) -> Any:
    """The model with its own functions, such as torch's exporter writes, replaced by what they do."""
    if not model.proto.functions:
        return model.proto
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model.proto)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"The functions that {model.name} defines cannot be inlined: {error}. Export it without them."
        ) from error


def _chosen(graph: Any, output: str | None, name: str) -> str:
    """The name of the value that is the network's output."""
    outputs = [value.name for value in graph.output]
    if output is None:
        if len(outputs) == 1:
            return outputs[0]
        # Of a pipeline's label and probabilities, the latter are the network's.
        floating = [value.name for value in graph.output if _kind(value) in ("maps", "FLOAT", "DOUBLE")]
        likely = [*floating, *outputs][0]
        raise ModelError(
            f"{name} has {len(outputs)} outputs: {described(graph.output)}. A network has one: choose it with "
            f'read_onnx(path, output="{likely}"), on the command line --output-name {likely}.'
        )
    if not isinstance(output, str):
        raise InputError(f"The output of {name} to read is of type {type(output).__name__}; give its name as text.")
    inside = [value for node in graph.node for value in node.output if value]
    if output in outputs or output in inside:
        return output
    near = get_close_matches(output, [*outputs, *inside], n=3)
    raise ModelError(
        f"{name} has no value named {output}. Its outputs are {described(graph.output)}"
        f"{f'; similar values inside are {_listed(near)}' if near else ''}. Give one of them, or the name of any value."
    )


def _before_maps(graph: Any, target: str) -> str:
    """The tensor of a classifier's output that names its numbers: the maps by ZipMap hold the same ones."""
    makers = {value: node for node in graph.node for value in node.output}
    while target in makers and (makers[target].op_type, makers[target].domain) == ("ZipMap", CLASSIC):
        target = makers[target].input[0]
    return target


def needed(graph: Any, targets: Set[str]) -> Iterator[Any]:
    """The nodes that some values need, in their order."""
    wanted, kept = set(targets), []
    for node in reversed(graph.node):
        # Whoever reads them refuses nodes without any output.
        if not any(node.output) or any(value in wanted for value in node.output):
            wanted.update(_read(node))
            kept.append(node)
    return reversed(kept)


def _read(node: Any) -> Iterator[str]:
    """The values that a node reads, those that its subgraphs read from around it among them."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from _read(inner)


def _fixed(declared: Sequence[Any], inputs: Mapping[str, object], name: str) -> dict[str, Any]:
    """The inputs that are given a value, as tensors."""
    if not isinstance(inputs, Mapping):
        raise InputError(f"The inputs of {name} that are constant are no mapping; give {{name: array}}.")
    known = {value.name: value for value in declared}
    for key in inputs:
        if key not in known:
            raise InputError(f"{name} has no input named {key}. Its inputs are {described(declared)}.")
    return {key: _tensor(known[key], value, name) for key, value in inputs.items()}


def _tensor(declared: Any, value: object, name: str) -> Any:
    """A constant in place of an input, as a TensorProto."""
    from onnx import numpy_helper

    what = f"the input {declared.name} of {name}"
    array = _numbers(value, f"value given for {what}")
    wanted = read_type(declared.type.tensor_type.elem_type, what)
    with np.errstate(all="ignore"):
        cast = array.astype(wanted) if array.dtype.kind in "fiub" else None
    # Numbers of floating point are rounded to the input's type, as whoever runs the model rounds them.
    if cast is None or not (wanted.kind == array.dtype.kind == "f" or np.array_equal(cast, array)):
        raise InputError(f"The value given for {what} is of type {array.dtype}, but {wanted} is needed.")
    sizes = sizes_of(declared)
    if sizes is not None and cast.ndim == len(sizes) - 1 and sizes[0] in (1, None):
        cast = cast[None]
    fits = sizes is None or (
        cast.ndim == len(sizes) and all(size in (None, own) for size, own in zip(sizes, cast.shape, strict=True))
    )
    if not fits:
        raise InputError(f"The value given for {what} has shape {array.shape}, but it is {described([declared])}.")
    return numpy_helper.from_array(np.ascontiguousarray(cast).reshape(cast.shape), declared.name)


def _numbers(value: object, what: str) -> np.ndarray:
    """What was given as an array, truth values as 0 and 1."""
    try:
        found: Any = np.asarray(value) if isinstance(value, bool | list | tuple) else value
    except ValueError as error:
        raise InputError(f"The {what} is no array of numbers: {error}") from error
    if str(getattr(found, "dtype", "")).removeprefix("torch.") == "bool":
        found = found * 1
    return to_numpy(plain_array(found, what))


def _cut(proto: Any, nodes: list[Any], free: Any, target: str, fixed: list[Any]) -> Any:
    """A copy that has these nodes alone, the free input, the target as its output, and more constants."""
    import onnx

    graph = proto.graph
    read = {name for node in nodes for name in _read(node)} | {target}
    known = {value.name: value for value in (*graph.value_info, *graph.output)}
    part = onnx.GraphProto(name=graph.name)
    part.node.extend(nodes)
    part.input.append(free)
    part.output.append(known.get(target, onnx.ValueInfoProto(name=target)))
    part.initializer.extend(tensor for tensor in (*graph.initializer, *fixed) if tensor.name in read)
    # Older versions want constants among the inputs, too.
    made = onnx.ModelProto(ir_version=max(4, proto.ir_version), graph=part)
    made.opset_import.extend(proto.opset_import)
    return made


def _ambiguous(free: Sequence[Any], declared: Sequence[Any], name: str) -> str:
    if not declared:
        return f"{name} has no input: all of its values are constant. Export the network itself."
    if not free:
        return f"All inputs of {name} were given a value ({described(declared)}). Leave one of them free."
    other = free[-1].name
    return (
        f"{name} has {len(free)} inputs: {described(free)}. A network has one: give the others their values with "
        f'read_onnx(path, inputs={{"{other}": array}}), on the command line --fix {other}=FILE.npy.'
    )


def described(values: Iterable[Any]) -> str:
    """Names, types and shapes."""
    texts = []
    for value in values:
        sizes = sizes_of(value)
        shape = "" if sizes is None else f" [{', '.join('N' if size is None else str(size) for size in sizes)}]"
        texts.append(f"{value.name} ({_kind(value)}{shape})")
    return _listed(texts) or "none"


def _kind(value: Any) -> str:
    """The element type of a declared value, or that it is a list of maps by which ZipMap names classes."""
    return "maps" if value.type.HasField("sequence_type") else element_type(value.type.tensor_type.elem_type)


def sizes_of(value: Any) -> list[int | None] | None:
    """The lengths of a declared value's axes, None where one is free; None where no shape is declared."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
