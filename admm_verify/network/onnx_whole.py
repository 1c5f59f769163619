"""The part of an ONNX model that is computed from inputs cut off to whole numbers, which is looked up for each of them.

A Cast of inputs to an integer type is constant wherever these lie between the same whole numbers. What is computed of
such casts and of constants alone is therefore a table, whose values are inputs of the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from admm_verify.errors import InputError, UnsupportedOperatorError
from admm_verify.network.builder import Builder, UnsupportedUse
from admm_verify.network.onnx_checks import DOMAINS, read_tensor
from admm_verify.network.onnx_folding import TYPES, exactly_on_constants, is_rounded, may_round
from admm_verify.network.onnx_form import attributes_of
from admm_verify.network.onnx_movement import MOVES
from admm_verify.network.whole import Lookup

_INTEGERS = {code: name for code, name in TYPES.items() if "int" in name}

_EXACT = 2.0**53

_LEFT = ("Add", "Div", "Mul", "Sub")
"""Operators on what whole numbers decide that are left to the rest, which accounts for their rounding."""

_SMOOTH = (
    *_LEFT,
    "Concat",
    "Conv",
    "Flatten",
    "Gemm",
    "Identity",
    "MatMul",
    "Neg",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Squeeze",
)
_SMOOTH += ("Tanh", "Transpose", "Unsqueeze")
"""Operators of the rest that choose nothing by the values they read."""

_IDLE = Builder((1,))
"""Operators on constants alone append no nodes."""

_REFUSED = (UnsupportedUse, ValueError, KeyError, IndexError, TypeError, OverflowError)


@dataclass(frozen=True, eq=False)
class _DecidedNode:
    """A node that is computed from whole numbers and constants. reads: the inputs behind it."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    reads: tuple[int, ...]

    def run(self, values: Mapping[str, np.ndarray], opset: int) -> dict[str, np.ndarray]:
        """Its outputs by name. Raises: UnsupportedUse and the like."""
        given = [values[name] if name else None for name in self.inputs]
        handler = exactly_on_constants(self.kind, given)
        if handler is None:
            raise UnsupportedUse(f"{self.kind} is not computed exactly of whole numbers")
        found = handler(_IDLE, given, self.attributes, opset)
        return {name: np.asarray(value) for name, value in zip(self.outputs, found, strict=False)}


@dataclass(eq=False)
class WholeNumbers(Lookup):
    """The nodes of a model that whole numbers and constants decide, and which of their values the rest reads.

    casts: the type and the inputs' positions of every value that is an input cut off. extras: names of the values that
    the rest reads, with their shapes. skipped: positions of the nodes that the rest is to leave out. constants: values
    that the rest reads and that are known by fixed inputs. real: inputs that the rest reads.
    used: the fixed inputs behind the constants. factors: inputs by which the rest multiplies or divides.
    """

    name: str
    opset: int
    known: dict[str, np.ndarray] = field(default_factory=dict)
    casts: dict[str, tuple[np.dtype, np.ndarray]] = field(default_factory=dict)
    steps: list[_DecidedNode] = field(default_factory=list)
    extras: dict[str, tuple[int, ...]] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    real: set[int] = field(default_factory=set)
    used: dict[int, float] = field(default_factory=dict)
    factors: set[int] = field(default_factory=set)
    _kept: dict[tuple[int, tuple[int, ...]], dict[str, np.ndarray]] = field(default_factory=dict)
    _latest: tuple[dict[int, int], dict[str, np.ndarray]] | None = None

    @property
    def whole(self) -> set[int]:
        """Positions of the inputs that are cut off."""
        return {int(i) for _, places in self.casts.values() for i in places.flat}

    @property
    def size(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.extras.values())

    def at(self, numbers: Mapping[int, int]) -> np.ndarray:
        found = self.values(numbers)
        for name, shape in self.extras.items():
            if found[name].shape != shape:
                raise InputError(f"{name} of {self.name} has another shape for other whole numbers, {dict(numbers)}.")
            if found[name].dtype.kind in "iu" and (np.abs(found[name].astype(np.float64)) > _EXACT).any():
                raise InputError(
                    f"{name} of {self.name} holds whole numbers beyond 2^53, which no float64 tells apart."
                )
        parts = [found[name].astype(np.float64).reshape(-1) for name in self.extras]
        return np.concatenate(parts) if parts else np.zeros(0)

    def rounds(self, numbers: Mapping[int, int]) -> bool:
        found = self.values(numbers)
        return any(
            is_rounded(step.kind, [found[name] for name in step.inputs if name], found[name])
            for step in self.steps
            for name in step.outputs
            if name in found and may_round(step.kind, found[name])
        )

    def values(self, numbers: Mapping[int, int]) -> dict[str, np.ndarray]:
        """All values that whole numbers decide, by name.

        Raises: InputError where some operator has no result.
        """
        if self._latest is not None and self._latest[0] == numbers:
            return self._latest[1]
        found, everything = dict(self.known), tuple(sorted(self.whole))
        for name, (dtype, places) in self.casts.items():
            limits, own = np.iinfo(dtype), [numbers[int(i)] for i in places.flat]
            if not all(limits.min <= number <= limits.max for number in own):
                raise InputError(f"{self.name} cuts inputs off to {own}, which do not all fit {dtype}.")
            found[name] = np.array(own, dtype).reshape(places.shape)
        for number, step in enumerate(self.steps):
            key = number, tuple(numbers[i] for i in step.reads)
            made = self._kept.get(key)
            if made is None:
                try:
                    made = step.run(found, self.opset)
                except _REFUSED as error:
                    raise InputError(
                        f"{self.name} has no value of its operator {step.kind} where its inputs "
                        f"{list(everything)} are {[numbers[i] for i in everything]}, cut off: {error}"
                    ) from error
                if step.reads != everything:
                    # What all of them decide is asked for once.
                    self._kept[key] = made
            found |= made
        self._latest = dict(numbers), found
        return found


def whole_numbers(model: Any, name: str, fixed: Mapping[int, float]) -> WholeNumbers | None:
    """What of a model whole numbers decide; None where it cuts none of its inputs off.

    fixed: numbers of the model's type that inputs have by their positions, taken as constants where whole values hold
    nothing else.
    Raises: UnsupportedOperatorError where they decide more than numbers.
    """
    if not fixed and not any(_cuts(node) for node in model.graph.node):
        return None
    found = _Discovery(model, name, fixed).run()
    return found if found.casts or found.constants else None


def factor_inputs(model: Any, name: str) -> set[int]:
    """Positions of the inputs of which, or of whose sums, other values are multiples or quotients."""
    return _Discovery(model, name, {}).run().factors


def _cuts(node: Any) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i in _INTEGERS for a in node.attribute)


def _choosing(model: Any) -> set[str]:
    """Values that decide, on some way, whole numbers or which entries are taken, or that are in an operator's way of
    which that is not ruled out.
    """
    found: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type not in _SMOOTH or not found.isdisjoint(node.output):
            found.update(name for name in node.input if name)
    return found


class _Discovery:
    """One pass over a model's nodes; a value is known, an input or several in another order, decided by whole numbers,
    or anything else.
    """

    def __init__(self, model: Any, name: str, fixed: Mapping[int, float]) -> None:
        opset = next(entry.version for entry in model.opset_import if entry.domain in DOMAINS)
        self.model, self.name, self.fixed = model, name, fixed
        self.found = WholeNumbers(name, opset)
        for initializer in model.graph.initializer:
            self.found.known[initializer.name] = read_tensor(initializer, f"The tensor {initializer.name} of {name}")
        source = next(value for value in model.graph.input if value.name not in self.found.known)
        shape = [max(1, dim.dim_value) for dim in source.type.tensor_type.shape.dim]
        self.moved = {source.name: np.arange(int(np.prod(shape))).reshape(shape)}
        self.decided: dict[str, tuple[int, ...]] = {}
        self.sums: dict[str, np.ndarray] = {}
        # Values that fixed inputs decide: numbers of the question, which are rounded nowhere.
        self.given: set[str] = set()
        self.choosing = _choosing(model)
        # All values as they are where every input is cut off to zero.
        self.sample: dict[str, np.ndarray] = {}

    def run(self) -> WholeNumbers:
        for position, node in enumerate(self.model.graph.node):
            self._look(position, node)
        # Those that are handed out alone may be whole numbers.
        chosen = set(self.found.extras)
        for value in self.model.graph.output:
            self._read_by_rest([value.name])
        for extra in self.found.extras:
            if extra in chosen and self.sample[extra].dtype.kind != "f":
                raise UnsupportedOperatorError(
                    f"{self.name} uses its value {extra}, which whole numbers among its inputs decide, to choose "
                    "entries of values that other inputs decide. Read are models where they decide numbers alone."
                )
            self.found.extras[extra] = self.sample[extra].shape
        return self.found

    def _look(self, position: int, node: Any) -> None:
        found, reads = self.found, [name for name in node.input if name]
        plain = node.domain in DOMAINS and all(self._is_simple(name) for name in reads)
        deciding = sorted({i for name in reads for i in self.decided.get(name, ())})
        moving = [name for name in reads if name in self.moved]
        attributes = attributes_of(node, self.name) if plain else {}
        self._weigh(node, reads)
        if plain and moving and _cuts(node):
            places, made = self.moved[moving[0]], node.output[0]
            found.casts[made] = np.dtype(_INTEGERS[attributes["to"]]), places
            self.decided[made] = tuple(sorted({int(i) for i in places.flat}))
            self.sample[made] = np.zeros(places.shape, found.casts[made][0])
            found.skipped.add(position)
        elif not plain or (moving and (deciding or node.op_type not in MOVES)):
            self._read_by_rest(reads)
        else:
            step = _DecidedNode(node.op_type, tuple(node.input), tuple(node.output), attributes, tuple(deciding))
            try:
                values = step.run(found.known | self.moved | self.sample, found.opset)
                places = bool(moving) and node.op_type != "Shape"
                if places and not self._only_moves(step, values):
                    return self._read_by_rest(reads)
            except _REFUSED:
                # What not all runtimes compute alike is left to the rest, whose rounding is accounted for.
                return self._read_by_rest(reads)
            if not self.given.isdisjoint(reads):
                held = [found.known.get(name) for name in reads]
                # What whole numbers decide differs from cell to cell.
                rounded = (
                    any(may_round(node.op_type, value) for value in values.values())
                    if deciding
                    else any(is_rounded(node.op_type, held, value) for value in values.values())
                )
                if rounded:
                    return self._read_by_rest(reads)
                self.given.update(values)
            floats = all(value.dtype.kind == "f" for value in values.values())
            if deciding and floats and node.op_type in _LEFT and self.choosing.isdisjoint(node.output):
                # Rounded here, it would be another number than in real arithmetic.
                return self._read_by_rest(reads)
            if deciding:
                found.steps.append(step)
                found.skipped.add(position)
                self.sample |= values
                self.decided.update(dict.fromkeys(node.output, tuple(deciding)))
            for name, value in values.items() if not deciding else ():
                self._keep(name, value, places)
            if all(name in found.constants for name in node.output if name):
                found.skipped.add(position)
        return None

    def _only_moves(self, step: _DecidedNode, values: Mapping[str, np.ndarray]) -> bool:
        """Whether all that an operator makes of inputs is inputs, without constants between them or means of several.

        Positions are followed under other names, which none of them has and which no mean keeps.
        """
        size = next(iter(self.moved.values())).size
        renamed = {name: size + places**2 for name, places in self.moved.items()}
        other = step.run(self.found.known | renamed | self.sample, self.found.opset)
        return all(
            value.dtype.kind == "i"
            and value.shape == other[name].shape
            and bool((other[name] == size + value**2).all())
            for name, value in values.items()
        )

    def _weigh(self, node: Any, reads: list[str]) -> None:
        """Note inputs that are factors of values, or sums of inputs that may be."""
        if node.op_type in ("ReduceSum", "ReduceMean") and reads and reads[0] in self.moved:
            self.sums[node.output[0]] = self.moved[reads[0]]
        if node.op_type in ("Mul", "Div") and not any(name in self.found.known for name in reads):
            for name in reads:
                places = self.moved.get(name, self.sums.get(name))
                if places is not None:
                    self.found.factors.update(int(i) for i in places.flat)

    def _keep(self, name: str, value: np.ndarray, moved: bool) -> None:
        """What became of constants, or of inputs that are moved."""
        if not moved:
            self.found.known[name] = value
        elif value.size and all(int(i) in self.fixed for i in value.flat):
            numbers = np.array([self.fixed[int(i)] for i in value.flat], self._dtype).reshape(value.shape)
            self.found.known[name] = self.found.constants[name] = numbers
            self.given.add(name)
            self.found.used.update({int(i): self.fixed[int(i)] for i in value.flat})
        else:
            self.moved[name] = value

    @property
    def _dtype(self) -> np.dtype:
        source = self.model.graph.input[0].type.tensor_type.elem_type
        return np.dtype(TYPES[source])

    def _is_simple(self, name: str) -> bool:
        return name in self.found.known or name in self.moved or name in self.decided

    def _read_by_rest(self, names: list[str]) -> None:
        for name in names:
            if name in self.decided:
                self.found.extras[name] = ()
            elif name in self.moved:
                self.found.real.update(int(i) for i in self.moved[name].flat)
