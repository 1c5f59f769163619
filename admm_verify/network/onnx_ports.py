"""ONNX models of several inputs, outputs and values inside as models of one input and one output.

Only copies of entries are added, so that the model computes what it did.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from typing import Any

import numpy as np

from admm_verify.errors import ModelError
from admm_verify.network.layout import is_sample
from admm_verify.network.onnx_checks import check_graph, element_type
from admm_verify.network.onnx_files import Model
from admm_verify.network.onnx_part import described, inlined, needed, sizes_of

_NAMES = {"FLOAT": "float32", "DOUBLE": "float64"}


@dataclass(frozen=True)
class Port:
    """A tensor of a model that a query speaks of.

    element_type: in NumPy's words, or "real" for any of floating point. value: its name, or of the node that computes
    it; "" for those of the model's own inputs and outputs that are meant in their order.
    """

    name: str
    element_type: str
    shape: tuple[int, ...]
    value: str = ""


def joined(model: Model, inputs: Sequence[Port], outputs: Sequence[Port]) -> Model:
    """The model of all its inputs, flat and side by side, to outputs and values inside, flat and side by side; where
    there is one of them alone, as it is.

    Raises: ModelError where the model has other inputs, outputs or values, or they have other shapes or types.
    """
    from onnx.shape_inference import infer_shapes

    check_graph(model.proto, model.name)
    proto = infer_shapes(inlined(model))
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    sources = [value for value in graph.input if value.name not in stored]
    sources = _in_order("inputs", inputs, sources, model.name)
    known = {value.name: value for value in (*graph.value_info, *graph.output)}
    values = {port.value: _inside(graph, port, model.name) for port in outputs if port.value}
    rest = [value for value in graph.output if value.name not in values.values()]
    # Outputs that the query does not name may be left out where it names all that it speaks of.
    unnamed = [port for port in outputs if not port.value]
    own = iter(_in_order("outputs", unnamed, rest, model.name) if unnamed else ())
    targets = [values[port.value] if port.value else next(own).name for port in outputs]
    shapes = [_fitting(port, value, model.name) for port, value in zip(inputs, sources, strict=True)]
    for port, target in zip(outputs, targets, strict=True):
        if target in known:
            _fitting(port, known[target], model.name)
    types = {value.type.tensor_type.elem_type for value in sources}
    if len(types) > 1:
        raise ModelError(f"The inputs of {model.name} have several types: {described(sources)}. Export it with one.")
    made = _Joined(proto, set(targets))
    made.take_inputs(sources, shapes, types.pop())
    made.give_outputs(targets, known, any("int" in port.element_type for port in outputs))
    return Model(model.name, made.proto.SerializeToString(), made.proto)


class _Joined:
    """A copy of the nodes that some values need, to which inputs and outputs are added."""

    def __init__(self, proto: Any, targets: set[str]) -> None:
        import onnx

        graph = proto.graph
        self._taken = {name for node in graph.node for name in (*node.input, *node.output)} | targets
        self._body = list(needed(graph, targets))
        self.graph = onnx.GraphProto(name=graph.name)
        self.graph.initializer.extend(graph.initializer)
        # Older versions want constants among the inputs, too.
        self.proto = onnx.ModelProto(ir_version=max(4, proto.ir_version))
        self.proto.opset_import.extend(proto.opset_import)

    def take_inputs(self, sources: Sequence[Any], shapes: Sequence[tuple[int, ...]], kind: int) -> None:
        """One flat input, of which each of the model's takes its entries; the only one as it is."""
        from onnx import helper

        if len(sources) == 1:
            self.graph.input.extend(sources)
            self.graph.node.extend(self._body)
            return
        whole, first = self._name("inputs"), 0
        self.graph.input.append(helper.make_tensor_value_info(whole, kind, [sum(map(prod, shapes))]))
        for value, shape in zip(sources, shapes, strict=True):
            places = np.arange(first, first + prod(shape), dtype=np.int64).reshape(shape)
            self.graph.node.append(helper.make_node("Gather", [whole, self._constant(places)], [value.name], axis=0))
            first += prod(shape)
        self.graph.node.extend(self._body)

    def give_outputs(self, targets: Sequence[str], known: Mapping[str, Any], whole_numbers: bool) -> None:
        """One flat output of these values, in float64, which holds them, where some are whole numbers; the only one
        as it is.
        """
        from onnx import TensorProto, helper

        if len(targets) == 1:
            self.graph.output.append(known.get(targets[0], helper.make_empty_tensor_value_info(targets[0])))
            self.proto.graph.CopyFrom(self.graph)
            return
        flat_shape, parts = self._constant(np.array([-1], dtype=np.int64)), []
        for target in targets:
            name = target
            if whole_numbers:
                name = self._name(f"{target}_double")
                self.graph.node.append(helper.make_node("Cast", [target], [name], to=TensorProto.DOUBLE))
            parts.append(self._name(f"{target}_flat"))
            self.graph.node.append(helper.make_node("Reshape", [name, flat_shape], [parts[-1]]))
        whole = self._name("outputs")
        self.graph.node.append(helper.make_node("Concat", parts, [whole], axis=0))
        kind = TensorProto.DOUBLE if whole_numbers else self.graph.input[0].type.tensor_type.elem_type
        self.graph.output.append(helper.make_tensor_value_info(whole, kind, None))
        self.proto.graph.CopyFrom(self.graph)

    def _constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = self._name("places")
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _name(self, wish: str) -> str:
        """A name that no value has."""
        name, number = wish, 0
        while name in self._taken:
            number += 1
            name = f"{wish}_{number}"
        self._taken.add(name)
        return name


def _in_order(side: str, ports: Sequence[Port], values: Sequence[Any], name: str) -> list[Any]:
    """The values that the ports mean: those of their names, and the others in their order."""
    named = {port.value for port in ports if port.value}
    missing = named - {value.name for value in values}
    if len(ports) != len(values) or missing:
        wanted = ", ".join(port.name + (f' "{port.value}"' if port.value else "") for port in ports)
        raise ModelError(
            f"The query declares {len(ports)} {side} ({wanted}), but {name} has {len(values)}: {described(values)}. "
            "Declare all of them, by their names or in their order."
        )
    known = {value.name: value for value in values}
    rest = iter([value for value in values if value.name not in named])
    return [known[port.value] if port.value else next(rest) for port in ports]


def _inside(graph: Any, port: Port, name: str) -> str:
    """The value that is meant by its own name, or by its node's."""
    values = [value for node in graph.node for value in node.output if value]
    if port.value in values:
        return port.value
    by_node = [node.output[0] for node in graph.node if node.name == port.value and node.output]
    if len(by_node) == 1:
        return by_node[0]
    near = get_close_matches(port.value, [*values, *(node.name for node in graph.node)], n=3)
    similar = f"; similar names are {', '.join(near)}" if near else ""
    raise ModelError(f"{name} has no value named {port.value}, which {port.name} is declared to be{similar}.")


def _fitting(port: Port, value: Any, name: str) -> tuple[int, ...]:
    """The model's shape of a value, axes without a length having those of the port."""
    sizes = sizes_of(value)
    code = value.type.tensor_type.elem_type
    kind = _NAMES.get(element_type(code), element_type(code).lower())
    if code and port.element_type != kind and not (port.element_type == "real" and kind in _NAMES.values()):
        raise ModelError(
            f"The query declares {port.name} as {port.element_type}, but {value.name} of {name} is {kind}. Declare "
            "that type."
        )
    if sizes is None:
        return port.shape
    if len(sizes) == len(port.shape) and _all_fit(sizes, port.shape):
        return port.shape
    shape = tuple(1 if size is None else size for size in sizes)
    if not is_sample(port.shape, shape):
        raise ModelError(
            f"The query declares {port.name} with shape {list(port.shape)}, but it is {described([value])} of {name}. "
            "Declare that shape."
        )
    return shape


def _all_fit(sizes: Iterable[int | None], shape: Iterable[int]) -> bool:
    return all(size in (None, own) for size, own in zip(sizes, shape, strict=True))
