"""From ONNX models to networks; onnx is imported only when a model is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.errors import ModelError, UnsupportedOperatorError
from admm_verify.network.builder import Builder, Result, Scored, Tensor, UnsupportedUse, sample_shape
from admm_verify.network.graph import Network
from admm_verify.network.head_nodes import can_be_written, written_out
from admm_verify.network.masks import Masked
from admm_verify.network.onnx_advice import advice
from admm_verify.network.onnx_checks import CLASSIC, DOMAINS, ENTRIES, check_branch, element_type, read_tensor
from admm_verify.network.onnx_classic import CLASSICAL
from admm_verify.network.onnx_conditions import COMPARISONS, CONDITIONAL
from admm_verify.network.onnx_files import Model, ModelSource, model_from_bytes, read_model
from admm_verify.network.onnx_folding import RANDOM, as_value, is_rounded, on_constants
from admm_verify.network.onnx_form import attributes_of, misuse
from admm_verify.network.onnx_heads import GOES_ON, STARTS
from admm_verify.network.onnx_masks import on_masks
from admm_verify.network.onnx_operators import OPERATORS
from admm_verify.network.onnx_part import part_of
from admm_verify.network.onnx_quantised import QUANTISED, Quantised, on_quantised
from admm_verify.network.onnx_sequences import SEQUENCES
from admm_verify.network.onnx_whole import WholeNumbers, whole_numbers
from admm_verify.network.refusals import nearest
from admm_verify.network.stepped import placed, step
from admm_verify.network.switch import Comparison
from admm_verify.network.whole import WholeNetwork
from admm_verify.run import Run, paced

OPSETS = (7, 26)
"""Lowest and highest opset version of the default domain that is read."""

_ENDS = {".".join(filter(None, name)) for name in STARTS}

_DEFAULT = {
    *OPERATORS,
    *COMPARISONS,
    *CONDITIONAL,
    *SEQUENCES,
    *QUANTISED,
    "Constant",
    "ConstantOfShape",
    "If",
    "Range",
}

SUPPORTED = tuple(sorted({*_DEFAULT, *_ENDS, *(f"{CLASSIC}.{name}" for name in CLASSICAL)}))
"""Names of the operators that are read, in full where they are of another domain than the default one."""

_ELEMENT_TYPES = {"FLOAT": "float32", "DOUBLE": "float64"}
_KNOWN = ("", CLASSIC)
_UNBOUNDED_INPUTS = ("Clip",)
"""Operators whose constants may be infinite."""

_Held = Result | Comparison | Masked | Quantised | tuple[Result, ...]
"""What a name in a graph stands for."""

_AnyHandler = Callable[..., Sequence[_Held | None]]


def read_onnx(path: ModelSource, *, output: str | None = None, inputs: Mapping[str, object] | None = None) -> Network:
    """A network from an ONNX model: a ModelProto, or a file (.onnx, or gzip-compressed) with all of its external data.
    A file named .nnet or .nnet.gz is read as by `read_nnet`. Of quantised models the QDQ format is read, and meant as
    the standard defines it, each operator by itself; runtimes may merge several (see network/onnx_quantised.py).

    One input, one output; a symbolic batch dimension counts as one sample. External data is in the file's folder or
    below it. output: which of several, or any value inside, by name; what only others need is not looked at. inputs:
    {name: array}, constants for all inputs but one. The result is simplified: affine chains are merged, with the
    rounding of the merge accounted for in every bound.

    Raises: ModelError for a file that cannot be read, holds NaN or infinite weights, or has several inputs or outputs
    of which none was chosen; InputError for constants that do not fit; UnsupportedOperatorError, naming operator, node
    and opset, for anything outside `supports --onnx-operators`.
    """
    return network_from_model(part_of(read_model(path), output, inputs))


def network_from_bytes(data: bytes, name: str) -> Network:
    """A network from the bytes of an ONNX model; `name` is for messages. Raises as `read_onnx`."""
    return network_from_model(part_of(model_from_bytes(data, name)))


def network_from_model(model: Model, run: Run | None = None, fixed: Mapping[int, float] | None = None) -> Network:
    """A network from a parsed ONNX model, as `part_of` leaves it.

    fixed: numbers of the model's type that its inputs have, by their positions. Values that hold nothing else are
    constants, and the network is what it is for such inputs alone.
    Raises: as `read_onnx`; Stopped once the run, asked at every node, is over.
    """
    try:
        # Whatever overflows here is found where it is used, or at the end.
        with quiet_overflow():
            whole = whole_numbers(model.proto, model.name, fixed or {})
            network = _Walker(model.proto, model.name, whole).walk(run)
        network.check_finite()
    except MemoryError as error:
        raise ModelError(f"{model.name} does not fit into memory: {error}. Give a smaller network.") from error
    return network


class _Walker:
    """One pass over a model's nodes in order; each value is a tensor of the builder or a constant."""

    def __init__(self, model: Any, name: str, whole: WholeNumbers | None = None) -> None:
        """whole: what whole numbers among the inputs decide, whose values are more inputs."""
        self.model, self.name, self.whole = model, name, whole
        self.opset = next(entry.version for entry in model.opset_import if entry.domain in DOMAINS)
        self.classic = next((entry.version for entry in model.opset_import if entry.domain == CLASSIC), 1)
        if not OPSETS[0] <= self.opset <= OPSETS[1]:
            raise UnsupportedOperatorError(
                f"{name} uses ONNX opset {self.opset}; versions {OPSETS[0]} to {OPSETS[1]} are read. "
                "Convert it with onnx.version_converter or export it again."
            )
        self.values: dict[str, _Held] = {}
        for initializer in paced(model.graph.initializer):
            self.values[initializer.name] = read_tensor(initializer, f"The tensor {initializer.name} of {name}")
        self.unfollowed: set[str] = set()
        self.computed: set[str] = set()
        self.given: set[str] = set() if whole is None else set(whole.constants)
        self.shape = self._input()
        shape = self.shape if whole is None else (prod(self.shape) + whole.size,)
        self.builder = Builder(shape, self._input_info()[1])

    def walk(self, run: Run | None) -> Network:
        """The whole graph as a simplified network. Raises: Stopped."""
        source, _ = self._input_info()
        self.values[source.name] = self.builder.input
        skipped: set[int] = set()
        if self.whole is not None:
            first, skipped, own = 0, self.whole.skipped, {source.name: self.shape}
            self.values |= self.whole.constants
            for name, shape in (own | self.whole.extras).items():
                places = np.arange(first, first + prod(shape))
                self.values[name] = self.builder.select(self.builder.input, places.reshape(shape))
                first += prod(shape)
        nodes = [node for position, node in enumerate(self.model.graph.node) if position not in skipped]
        self._take(nodes, run)
        name = self.model.graph.output[0].name
        output = self._stepped(self.values.get(name))
        if isinstance(output, np.ndarray) and output.dtype.kind in "fiu" and output.size:
            output = self.builder.lift(output)
        if not isinstance(output, Tensor | Scored):
            what = "is minus infinity somewhere" if isinstance(output, Masked) else "is no array of numbers"
            what = "is true or false" if isinstance(output, Comparison) else what
            raise ModelError(
                f"The output {name} of {self.name} {what}. Choose another value of it by its name, such as the numbers "
                "behind it: output=..., on the command line --output-name."
            )
        made = self.builder.finish(output, self.name, run)
        if self.whole is None:
            return made
        if not self.whole.casts:
            shape, read = sample_shape(self.shape), made.as_read or made
            return replace(made, input_shape=shape, as_read=replace(read, input_shape=shape))
        if made.head is not None:
            raise UnsupportedOperatorError(
                f"{self.name} reads whole numbers and ends in {made.head.words}; choose the scores before it as output."
            )
        reads = self.whole.whole, self.whole.real
        return WholeNetwork.of(made, self.whole, sample_shape(self.shape), reads, self.whole.used)

    def _take(self, nodes: Any, run: Run | None) -> None:
        """Read nodes in their order. Raises: Stopped."""
        for position, node in paced(enumerate(nodes)):
            if run is not None:
                run.check()
            label = node.name or f"number {position}"
            choice = node.op_type == "If" and node.domain in DOMAINS
            values = self._branch(node, label, run) if choice else self._outputs(node, label)
            self.unfollowed.update(node.output[len(values) :])
            for output, value in zip(node.output, values, strict=False):
                if value is None:
                    self.unfollowed.add(output)
                elif self.whole is None or output not in self.whole.constants:
                    self.values[output] = value

    def _branch(self, node: Any, label: str, run: Run | None) -> list[_Held | None]:
        """The outputs of an If with a constant condition: those of one of its graphs, which reads what is around it."""
        self._check_reads(node, label)
        condition = self.values[node.input[0]] if len(node.input) == 1 and node.input[0] else None
        self._check_form(node, [condition], label)
        if not isinstance(condition, np.ndarray) or condition.size != 1:
            raise UnsupportedOperatorError(
                f"Operator If (node {label} of {self.name}, opset {self.opset}) chooses by a value that depends on the "
                "input, or by several; it must be one constant. Export the branch that is taken."
            )
        wanted = "then_branch" if condition.item() else "else_branch"
        graph = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
        check_branch(graph, len(node.output), f"A branch of {label} in {self.name}")
        around = dict(self.values)
        for initializer in graph.initializer:
            self.values[initializer.name] = read_tensor(initializer, f"The tensor {initializer.name} of {self.name}")
        self._take(graph.node, run)
        missing = [value.name for value in graph.output if value.name not in self.values]
        if missing:
            raise ModelError(f"A branch of {label} in {self.name} does not define its output {missing[0]}.")
        values: list[_Held | None] = [self.values[value.name] for value in graph.output]
        self.values = around
        return values

    def _input_info(self) -> tuple[Any, str]:
        source = next(value for value in self.model.graph.input if value.name not in self.values)
        found = element_type(source.type.tensor_type.elem_type)
        if found not in _ELEMENT_TYPES:
            raise ModelError(
                f"The input {source.name} of {self.name} is {found}; float32 and float64 are read. Export the network "
                "in one of these, or cut off what turns its input into floating point numbers: "
                "onnx.utils.extract_model(path, part, [first float value], [output])."
            )
        return source, _ELEMENT_TYPES[found]

    def _input(self) -> tuple[int, ...]:
        source, _ = self._input_info()
        if not source.type.tensor_type.HasField("shape"):
            raise ModelError(f"The input {source.name} of {self.name} has no shape. Export it with one.")
        shape = []
        for axis, dim in enumerate(source.type.tensor_type.shape.dim):
            if dim.dim_value <= 0 and axis > 0:
                raise ModelError(
                    f"Axis {axis} of the input {source.name} of {self.name} has no fixed length "
                    f"({dim.dim_param or 'unnamed'}); only the first, the batch, may be symbolic. Export the network "
                    "for inputs of one size, or fix it with onnxruntime.tools.make_dynamic_shape_fixed."
                )
            shape.append(dim.dim_value if dim.dim_value > 0 else 1)
        if prod(shape) > ENTRIES:
            raise ModelError(f"The input of {self.name} has {prod(shape)} entries; at most {ENTRIES} are read.")
        return tuple(shape)

    def _check_finite(self, node: Any) -> None:
        """Raise ModelError naming the first constant input with NaN or infinite numbers."""
        for name in node.input:
            value = self.values.get(name)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ModelError(
                    f"The tensor {name} of {self.name} holds NaN or infinite numbers, for which no bound exists. "
                    "Check the training run or the export that produced it."
                )

    def _outputs(self, node: Any, label: str) -> list[_Held | None]:
        """The values of one node's outputs, None for one that is not followed."""
        self._check_reads(node, label)
        inputs = [self._read(name, node) if name else None for name in node.input]
        if node.op_type not in CONDITIONAL:
            inputs = [self._stepped(value) for value in inputs]
        kind = "" if node.domain in DOMAINS else node.domain, node.op_type
        if kind not in GOES_ON and node.op_type != "Equal":
            inputs = [placed(self.builder, value) for value in inputs]
        if node.domain in (*DOMAINS, CLASSIC):
            self._check_form(node, inputs, label)
        folded = node.domain in DOMAINS and all(value is None or isinstance(value, np.ndarray) for value in inputs)
        own = None if folded else on_masks(kind, inputs) or on_quantised(kind, inputs)
        handler = own or self._handler(node, inputs, label, folded)
        if node.op_type not in _UNBOUNDED_INPUTS and not folded and own is None:
            self._check_finite(node)
        try:
            values = handler(self.builder, inputs, attributes_of(node, self.name), self.opset)
            if folded and not self.given.isdisjoint(node.input):
                values = self._unrounded(node, inputs, [*values])
        except (UnsupportedUse, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            raise UnsupportedOperatorError(
                f"Operator {node.op_type} (node {label} of {self.name}, opset {self.opset}) is used in a way that is "
                f"not supported: {error}.{self._hint(node)}"
            ) from error
        if folded or any(name in self.computed for name in node.input):
            sources = [name for name in node.input if name and isinstance(self.values[name], Tensor)]
            if all(name in self.computed for name in sources):
                self.computed.update(node.output)
        return [_named(value, node.input[0], inputs[0]) if isinstance(value, Scored) else value for value in values]

    def _unrounded(self, node: Any, inputs: list[Any], values: list[Any]) -> list[Any]:
        """What an operator makes of inputs that a query fixes: constants, or values of the graph where these are
        rounded. Raises: UnsupportedUse.
        """
        rounded = any(isinstance(value, np.ndarray) and is_rounded(node.op_type, inputs, value) for value in values)
        if not rounded:
            self.given.update(name for name in node.output if name)
            return values
        handler = as_value(node.op_type)
        if handler is None:
            raise UnsupportedUse("it rounds numbers that a query fixes")
        return handler(self.builder, inputs, attributes_of(node, self.name), self.opset)

    def _read(self, name: str, node: Any) -> _Held:
        """What a node reads: a softmax or the like as nodes of its own, unless it stands at the end with this node."""
        value = self.values[name]
        kind = "" if node.domain in DOMAINS else node.domain, node.op_type
        if isinstance(value, Scored) and kind not in GOES_ON and can_be_written(value):
            self.values[name] = value = written_out(self.builder, value)
        return value

    def _check_reads(self, node: Any, label: str) -> None:
        missing = [name for name in node.input if name and name not in self.values]
        if missing and missing[0] in self.unfollowed:
            raise UnsupportedOperatorError(
                f"Node {label} of {self.name} reads {missing[0]}, an output that is not followed, such as the places "
                "of a maximum, or labels that are text. Use the values only."
            )
        if missing:
            raise ModelError(f"Node {label} of {self.name} reads {missing[0]}, which nothing before it defines.")
        if node.op_type in RANDOM:
            raise UnsupportedOperatorError(
                f"Operator {node.op_type} (node {label} of {self.name}) draws random numbers at every run, so that the "
                "model is no function of its input. Export the network in evaluation mode, without noise."
            )

    def _handler(self, node: Any, inputs: list[_Held | None], label: str, folded: bool) -> _AnyHandler:
        """What computes a node's outputs of these inputs; folded: they are all constants."""
        kind = "" if node.domain in DOMAINS else node.domain, node.op_type
        name = ".".join(filter(None, kind))
        ended = next((value for value in inputs if isinstance(value, Scored)), None)
        ended = None if ended is not None and node.op_type == "Equal" and ended.head.places else ended
        conditional = any(isinstance(value, Comparison) for value in inputs)
        found: _AnyHandler | None
        if ended is not None:
            found = GOES_ON.get(kind)
        elif conditional:
            found = CONDITIONAL.get(name)
        elif name in SEQUENCES:
            found = SEQUENCES[name]
        elif folded:
            found = on_constants(node.op_type, [value for value in inputs if isinstance(value, np.ndarray | None)])
        else:
            known = CLASSICAL if kind[0] == CLASSIC else OPERATORS | COMPARISONS
            found = STARTS.get(kind) or (known.get(node.op_type) if kind[0] in _KNOWN else None)
        if found is not None:
            return found
        where = f"Operator {name} (node {label} of {self.name}, opset {self.opset})"
        if ended is not None:
            raise UnsupportedOperatorError(
                f"{where} reads the result of {ended.head.words}, which is supported at the end of a classifier alone. "
                "Choose the scores before it as the network's output"
                f"{f': output={ended.head.source!r}' if ended.head.source else ''}."
            )
        if conditional:
            raise UnsupportedOperatorError(
                f"{where} reads a comparison of values that depend on the input. Read are casts of it to numbers, and "
                "Where, whose sides must be constants or meet, as x where x > 0 and 0.1 x else."
            )
        if folded and node.op_type in SUPPORTED:
            raise UnsupportedOperatorError(f"{where} is not supported on constants; store its result as a constant.")
        raise UnsupportedOperatorError(
            f"{where} is not supported{' on constants; store its result as a constant' if folded else ''}."
            f"{advice(*kind)}{self._part_before(node)} {nearest(node.op_type, SUPPORTED)} "
            "All of them: admm-verify supports --onnx-operators."
        )

    def _stepped(self, value: _Held | None) -> _Held | None:
        """A comparison as numbers as what it is: a step."""
        return step(self.builder, value) if isinstance(value, Comparison) and value.numeric else value

    def _check_form(self, node: Any, inputs: list[_Held | None], label: str) -> None:
        if any(isinstance(value, tuple) for value in inputs):
            # Operators on sequences look at them themselves.
            return
        types = [None if value is None else self._type(value) for value in inputs]
        wrong = misuse(node, self.classic if node.domain == CLASSIC else self.opset, types)
        if wrong is not None:
            raise UnsupportedOperatorError(
                f"Operator {node.op_type} (node {label} of {self.name}, opset {self.opset}) {wrong}; runtimes refuse "
                "such a model or disagree on it. Export the network again."
            )

    def _type(self, value: _Held) -> str:
        """NumPy's name of the element type."""
        if isinstance(value, np.ndarray | Quantised):
            return value.dtype.name
        if isinstance(value, Comparison) and not value.numeric:
            return "bool"
        return "int64" if isinstance(value, Scored) and value.head.places else self.builder.element_type

    def _part_before(self, node: Any) -> str:
        """How to read the model up to a node, where it does something to the network's input until then."""
        names = [name for name in node.input if name and isinstance(self.values[name], Tensor)]
        own = [name for name in names if self.values[name] is not self.builder.input]
        return f" The part before it is read by output={own[0]!r}." if own else ""

    def _hint(self, node: Any) -> str:
        """What to do about inputs that are constant but not taken as constants."""
        names = [name for name in node.input if name in self.computed and isinstance(self.values[name], Tensor)]
        if not names:
            return ""
        return (
            f" {names[0]} is computed from constants by operators whose last digits depend on the runtime, so that it "
            "is taken as a value, not as a constant; store it as a constant, as onnxruntime's optimizer does."
        )


def _named(value: Scored, source: str, first: _Held | None) -> Scored:
    """A head's result that knows the name of its scores in the model."""
    if value.head.source or value.scores is not first:
        return value
    return replace(value, head=replace(value.head, source=source))
