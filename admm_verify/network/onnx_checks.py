"""Whether an ONNX model is well formed, as far as the standard's own schemas say, before anything in it is believed."""

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from admm_verify.errors import ModelError

DOMAINS = ("", "ai.onnx")
"""The two names of the standard's domain of operators."""

CLASSIC = "ai.onnx.ml"
"""The domain of the standard's operators for what is no neural network, such as scalers and linear classifiers."""

ENTRIES = 2**22
"""Entries of the largest input that is read, 27 times those of a colour image of 224 x 224 pixels."""

_NUMBERS = "FLOAT DOUBLE FLOAT16 BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64".split()
"""Element types of the tensors that are read."""


def element_type(code: int) -> str:
    """The standard's name of an element type, also of none and of one that it does not know."""
    from onnx import TensorProto

    names = {value: name for name, value in TensorProto.DataType.items()}
    return "no element type" if code == 0 else names.get(code, f"the unknown element type {code}")


def check_graph(model: Any, name: str) -> None:
    """Raise ModelError unless a ModelProto has one graph of nodes whose values are each defined once."""
    graph = model.graph
    if not graph.node or not graph.output:
        raise ModelError(f"{name} is not an ONNX model with a graph: it has no nodes or no output.")
    if graph.sparse_initializer:
        raise ModelError(f"{name} holds sparse tensors, which are not read. Store them as dense ones.")
    _check_texts(graph, name)
    for function in model.functions:
        if function.domain in DOMAINS:
            raise ModelError(
                f"{name} defines the operator {function.name} of the standard's domain by a function of its own, which "
                "is not read. Inline its functions, or export it without them."
            )
    versions = {entry.version for entry in model.opset_import if entry.domain in DOMAINS}
    if len(versions) != 1:
        given = f"{len(versions)} versions" if versions else "no version"
        raise ModelError(f"{name} names {given} of the standard's operators (opset); it must name one.")
    initializers = [tensor.name for tensor in graph.initializer]
    _check_unique(initializers, f"{name} stores", "tensors")
    _check_unique([value.name for value in graph.input], f"{name} declares", "inputs")
    outputs = [output for node in graph.node for output in node.output if output]
    _check_unique([*{*initializers, *(value.name for value in graph.input)}, *outputs], f"{name} defines", "values")


def check_branch(graph: Any, outputs: int, what: str) -> None:
    """Raise ModelError unless a branch, a graph without inputs, has as many outputs and defines each value once."""
    if graph.input or graph.sparse_initializer or len(graph.output) != outputs:
        raise ModelError(f"{what} has inputs, sparse tensors or another number of outputs than it. Export it again.")
    _check_texts(graph, what)
    names = [tensor.name for tensor in graph.initializer]
    names += [output for node in graph.node for output in node.output if output]
    _check_unique(names, f"{what} defines", "values")


def _check_texts(graph: Any, name: str) -> None:
    for node in graph.node:
        texts = (node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute))
        # What is no UTF-8 is handed out as bytes.
        if not all(isinstance(text, str) for text in texts):
            raise ModelError(f"{name} holds names that are no text, in the node {node.name!r}. Export it again.")


def _check_unique(names: Iterable[str], what: str, kind: str) -> None:
    seen: set[str] = set()
    for name in names:
        if not name or not isinstance(name, str):
            raise ModelError(f"{what} {kind} without a name. Export the network again.")
        if name in seen:
            raise ModelError(f"{what} two {kind} of the name {name}. Export the network again.")
        seen.add(name)


def read_type(code: int, where: str) -> np.dtype:
    """NumPy's name of an element type that is read; `where` names what has it.

    Raises: ModelError for any other.
    """
    from onnx.helper import tensor_dtype_to_np_dtype

    found = element_type(code)
    if found not in _NUMBERS:
        raise ModelError(f"{where} is {found}; read are {', '.join(_NUMBERS)}.")
    return np.dtype(tensor_dtype_to_np_dtype(code))


def read_tensor(tensor: Any, where: str) -> np.ndarray:
    """The array of a TensorProto that holds its data; `where` names it.

    Raises: ModelError where its numbers do not fit its type and shape, or are of a type that is not read.
    """
    from onnx import numpy_helper

    found = read_type(tensor.data_type, where)
    sizes = list(tensor.dims)
    if any(size < 0 for size in sizes) or prod(sizes) > 2**31:
        raise ModelError(f"{where} has the shape {sizes}, which is negative or larger than an ONNX file.")
    try:
        return np.array(numpy_helper.to_array(tensor)).reshape(sizes)
    except Exception as error:
        # onnx has no error type of its own for this; whatever it raises, there is no array.
        raise ModelError(f"{where} cannot be read as {found} of shape {sizes}: {error}") from error


def tensor_bytes(array: np.ndarray, name: str) -> bytes:
    """An array as the bytes of a serialised ONNX TensorProto."""
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name).SerializeToString()
