"""ONNX operators on constants alone, where every runtime computes the same number.

Folded are movements of entries, comparisons, whole numbers, and single operations on floats, whose results IEEE 754
prescribes to the last bit. Sums, products of matrices, curves and the like end in bits that depend on the runtime:
the reader turns their constants into values of the graph, where rounding is accounted for, or refuses them.
"""

from collections.abc import Callable

import numpy as np

from admm_verify.network.builder import Builder, UnsupportedUse, Value
from admm_verify.network.movement import axes_of, reduced_shape
from admm_verify.network.onnx_activations import clip_ends
from admm_verify.network.onnx_entries import FOLDERS
from admm_verify.network.onnx_inputs import (
    Attributes,
    Handler,
    Inputs,
    axes_given,
    axis_given,
    broadcasting,
    constant,
    integers,
)
from admm_verify.network.onnx_movement import MOVEMENT, MOVES
from admm_verify.network.onnx_operators import OPERATORS
from admm_verify.network.onnx_quantised import dequantised, quantised

RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
"""Operators whose result is drawn anew at every run."""

TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
"""NumPy's names of ONNX element types."""

_Folder = Callable[[Inputs, Attributes, int], np.ndarray]


def _arrays(inputs: Inputs) -> list[np.ndarray]:
    return [constant(value, "input") for value in inputs]


def _elementwise(function: Callable[..., np.ndarray], kinds: str = "fiu") -> _Folder:
    """One operation per entry, with broadcasting, of inputs of one type: floats (f), integers (i, u) or bools (b)."""

    def folder(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
        arrays = _arrays(inputs)
        types = {array.dtype for array in arrays}
        if len(types) != 1 or arrays[0].dtype.kind not in kinds or arrays[0].dtype == np.float16:
            raise UnsupportedUse(f"its constants are of type {' and '.join(sorted(map(str, types)))}")
        if any(np.isnan(array).any() for array in arrays if array.dtype.kind == "f"):
            raise UnsupportedUse("its constants hold NaN")
        return np.asarray(function(*arrays))

    return folder


def _chain(function: Callable[..., np.ndarray]) -> _Folder:
    def of_all(first: np.ndarray, *others: np.ndarray) -> np.ndarray:
        for other in others:
            first = function(first, other)
        return first

    folded = _elementwise(of_all)

    def folder(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
        return folded(broadcasting(inputs, opset), attributes, opset)

    return folder


def _quotient(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if first.dtype.kind == "f":
        return first / second
    if not np.all(second):
        raise UnsupportedUse("it divides a whole number by zero")
    down = first // second
    # Whole numbers lose their fraction towards zero.
    return np.where((first % second != 0) & ((first < 0) != (second < 0)), down + 1, down).astype(first.dtype)


def _modulo(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    if not np.all(constant(inputs[1], "divisor")):
        raise UnsupportedUse("its divisor holds a zero")
    # Of floats only the C way, fmod, is defined.
    remainder = np.fmod if attributes.get("fmod", 0) else np.mod
    return _elementwise(remainder, "fiu" if attributes.get("fmod", 0) else "iu")(inputs, attributes, opset)


def _clip(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x = constant(inputs[0], "input")
    low, high = (None if end is None else end.astype(x.dtype) for end in clip_ends(inputs, attributes, opset))
    if low is not None:
        x = _elementwise(np.maximum)([x, low], attributes, opset)
    return x if high is None else _elementwise(np.minimum)([x, high], attributes, opset)


def _cast_to(x: np.ndarray, target: np.dtype) -> np.ndarray:
    if x.dtype == target:
        return x
    if x.dtype == np.float64 and target == np.float16:
        raise UnsupportedUse("it rounds float64 to float16")
    if x.dtype.kind not in "fiub":
        raise UnsupportedUse(f"it casts constants of type {x.dtype}")
    if x.dtype.kind == "f" and target.kind in "iu":
        limits = np.iinfo(target)
        whole = np.trunc(x.astype(np.float64))
        # The largest integers of 64 bits round up to a power of two as floats.
        if not np.all((whole >= limits.min) & (whole < float(limits.max) + (limits.bits < 64))):
            raise UnsupportedUse(f"some of its numbers do not fit {target}")
        return whole.astype(target)
    return x.astype(target)


def _cast(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    if attributes["to"] not in TYPES:
        raise UnsupportedUse(f"it casts to the type of code {attributes['to']}; folded are {', '.join(TYPES.values())}")
    return _cast_to(constant(inputs[0], "input"), np.dtype(TYPES[attributes["to"]]))


def _cast_like(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x, like = _arrays(inputs)
    return _cast_to(x, like.dtype)


def _constant(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    kinds = {"value": None, "value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    (name,) = [key for key in attributes if key != "outputs"]
    if name not in kinds:
        raise UnsupportedUse(f"it is given by {name}; read are {', '.join(kinds)}")
    return np.asarray(attributes[name], kinds[name])


def _constant_of_shape(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    value = np.asarray(attributes.get("value", np.zeros(1, np.float32)))
    return np.full(integers(inputs[0], "shape"), value.item(), value.dtype)


def _range(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    start, limit, delta = (array.item() for array in _arrays(inputs))
    dtype = constant(inputs[0], "start").dtype
    if delta == 0:
        raise UnsupportedUse("its step is zero")
    if any(part != int(part) or abs(part) > 2**24 for part in (start, limit, delta)):
        raise UnsupportedUse("its ends or its step are not whole numbers of moderate size")
    return np.arange(int(start), int(limit), int(delta)).astype(dtype)


def _reduction(function: Callable[..., np.ndarray], kinds: str) -> _Folder:
    def folder(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
        x, axes = constant(inputs[0], "input"), axes_given(inputs, attributes)
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return x
        chosen = axes_of(x, axes or None)

        def reduce(entries: np.ndarray) -> np.ndarray:
            reduced = function(entries, axis=chosen).astype(entries.dtype)
            return reduced.reshape(reduced_shape(x, chosen, bool(attributes.get("keepdims", 1))))

        return _elementwise(reduce, kinds)([x], attributes, opset)

    return folder


def _place(function: Callable[..., np.ndarray]) -> _Folder:
    """The places of the largest or smallest entries along an axis; of equal ones the first, or the last."""

    def folder(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
        x, last = constant(inputs[0], "input"), attributes.get("select_last_index", 0)
        axis = axis_given(attributes, len(x.shape), 0)
        keep = bool(attributes.get("keepdims", 1))

        def place(entries: np.ndarray) -> np.ndarray:
            found = function(np.flip(entries, axis) if last else entries, axis=axis, keepdims=keep)
            return (x.shape[axis] - 1 - found if last else found).astype(np.int64)

        return _elementwise(place)([x], attributes, opset)

    return folder


def _cumulative_sum(inputs: Inputs, attributes: Attributes, opset: int) -> np.ndarray:
    x = constant(inputs[0], "input")
    axis = axis_given({"axis": constant(inputs[1], "axis").item()}, len(x.shape), 0)
    turned = np.flip(x, axis) if attributes.get("reverse", 0) else x
    sums = np.cumsum(turned, axis=axis, dtype=x.dtype)
    if attributes.get("exclusive", 0):
        sums = sums - turned
    return np.flip(sums, axis) if attributes.get("reverse", 0) else sums


EXACT: dict[str, _Folder] = {
    **FOLDERS,
    "Abs": _elementwise(np.abs),
    "Add": _elementwise(np.add),
    "And": _elementwise(np.logical_and, "b"),
    "ArgMax": _place(np.argmax),
    "ArgMin": _place(np.argmin),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _elementwise(np.ceil, "f"),
    "Clip": _clip,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cumulative_sum,
    "DequantizeLinear": dequantised,
    "Div": _elementwise(_quotient),
    "Equal": _elementwise(np.equal, "fiub"),
    "Floor": _elementwise(np.floor, "f"),
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Identity": lambda inputs, attributes, opset: constant(inputs[0], "input"),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Max": _chain(np.maximum),
    "Min": _chain(np.minimum),
    "Mod": _modulo,
    "Mul": _elementwise(np.multiply),
    "Neg": _elementwise(np.negative, "fi"),
    "NonZero": lambda inputs, attributes, opset: np.stack(np.nonzero(constant(inputs[0], "input"))).astype(np.int64),
    "Not": _elementwise(np.logical_not, "b"),
    "Or": _elementwise(np.logical_or, "b"),
    "QuantizeLinear": quantised,
    "Range": _range,
    "ReduceMax": _reduction(np.max, "fiu"),
    "ReduceMin": _reduction(np.min, "fiu"),
    "ReduceProd": _reduction(np.prod, "iu"),
    "ReduceSum": _reduction(np.sum, "iu"),
    "Relu": _elementwise(lambda x: np.maximum(x, x.dtype.type(0)), "fi"),
    "Round": _elementwise(np.rint, "f"),
    "Sign": _elementwise(np.sign),
    "Sqrt": _elementwise(np.sqrt, "f"),
    "Sub": _elementwise(np.subtract),
    "Xor": _elementwise(np.logical_xor, "b"),
}
"""How operators on constants are computed, beside those that move entries."""


def on_constants(kind: str, inputs: Inputs) -> Handler | None:
    """What computes an operator whose inputs are all constants; None where nothing does.

    Its results are constants where they are the same in every runtime, otherwise values of the graph.
    """
    exact = exactly_on_constants(kind, inputs)
    if exact is not None:
        return exact
    return as_value(kind) if inputs else None


def exactly_on_constants(kind: str, inputs: Inputs) -> Handler | None:
    """What computes an operator whose inputs are all constants to the last bit in every runtime; None where nothing
    does.
    """
    floats = inputs and isinstance(inputs[0], np.ndarray) and inputs[0].dtype.kind == "f"
    if kind == "ReduceSum" and floats and _adds_exactly(np.asarray(inputs[0])):
        return _exactly(_reduction(np.sum, "f"))
    if kind in EXACT and not (floats and kind in ("CumSum", "ReduceProd", "ReduceSum")):
        return _exactly(EXACT[kind])
    return MOVEMENT[kind] if kind in MOVES else None


_ROUNDING = (
    "Add",
    "Cast",
    "CastLike",
    "CumSum",
    "DequantizeLinear",
    "Div",
    "Mul",
    "QuantizeLinear",
    "ReduceSum",
    "Sqrt",
)
_ROUNDING += ("Sub", "Scatter", "ScatterElements", "ScatterND")
"""Folded operators whose floats may be rounded."""


def may_round(kind: str, found: np.ndarray) -> bool:
    """Whether an operator is one that may have rounded what was found, or what that whole number was made of."""
    return kind in _ROUNDING and (found.dtype.kind == "f" or kind == "QuantizeLinear")


def is_rounded(kind: str, inputs: Inputs, found: np.ndarray) -> bool:
    """Whether what was found may be another number than in real arithmetic.

    Factors, terms and quotients in float32 are looked at in float64, which holds products; all others count as exact
    where nothing but small whole numbers is involved.
    """
    if not may_round(kind, found):
        return False
    given = [np.asarray(value) for value in inputs if isinstance(value, np.ndarray)]
    wide, result = [value.astype(np.float64) for value in given], found.astype(np.float64)
    if kind == "Cast" and given[0].dtype.kind == "f":
        return not np.array_equal(wide[0], result)
    whole = all(bool(np.all((part == np.rint(part)) & (np.abs(part) < 2.0**24))) for part in (*wide, result))
    if not whole and (kind not in ("Add", "Sub", "Mul", "Div") or {value.dtype.name for value in given} != {"float32"}):
        return True
    return not _is_exact(kind, wide, result)


def _is_exact(kind: str, wide: list[np.ndarray], result: np.ndarray) -> bool:
    """Whether a result is that of one operation, looked at in float64."""
    if kind in ("Add", "Sub"):
        first, second = wide[0], wide[1] if kind == "Add" else -wide[1]
        total = first + second
        part = total - first
        # What the sum in float64 leaves (Knuth's two-sum).
        rest = (first - (total - part)) + (second - part)
        return bool(np.all((total == result) & (rest == 0)))
    if kind == "Mul":
        return np.array_equal(wide[0] * wide[1], result)
    if kind == "Div":
        return np.array_equal(result * wide[1], np.broadcast_to(wide[0], result.shape))
    return kind != "Sqrt" or np.array_equal(result * result, wide[0])


def as_value(kind: str) -> Handler | None:
    """An operator on constants whose result is a value of the graph; None where there is none."""
    return _lifted(OPERATORS[kind]) if kind in OPERATORS else None


def _adds_exactly(x: np.ndarray) -> bool:
    """Whether sums of some floats are exact in any order: they are whole numbers, and few."""
    return x.dtype != np.float16 and bool(np.all(x == np.rint(x)) and np.sum(np.abs(x), dtype=np.float64) < 2.0**24)


def _exactly(folder: _Folder) -> Handler:
    def handler(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
        with np.errstate(all="ignore"):
            return [np.asarray(folder(inputs, attributes, opset))]

    return handler


def _lifted(operator: Handler) -> Handler:
    """The operator on its first input as a value of the graph."""

    def handler(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
        first = constant(inputs[0], "first input")
        if first.dtype != builder.element_type:
            raise UnsupportedUse(f"its first constant is of type {first.dtype}, the network's {builder.element_type}")
        if not np.isfinite(first).all():
            raise UnsupportedUse("its first constant holds NaN or infinite numbers")
        return operator(builder, [builder.lift(first), *inputs[1:]], attributes, opset)

    return handler
