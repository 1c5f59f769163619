"""Random uses of ONNX operators on constants alone: those that are folded, with whole numbers, bools and floats."""

import numpy as np

from tests.network.operator_draws import Use


def numbers(d, *shape, kinds=("float", "float", "int64", "int32")):
    """Floats of the model's type, or small whole numbers."""
    kind = d.one(*kinds)
    if kind == "float":
        return d.floats(*shape)
    return np.asarray(d.rng.integers(0 if kind.startswith("u") else -9, 10, shape), kind)


def elementwise(kind, count=1, kinds=("float", "float", "int64", "int32")):
    def draw(d):
        shape = d.shape()
        first = numbers(d, *shape, kinds=kinds)
        others = [np.asarray(numbers(d, *d.partner(shape)), first.dtype) for _ in range(count - 1)]
        if kind in ("Div", "Mod"):
            others = [np.where(other == 0, 3, other).astype(first.dtype) for other in others]
        attributes = {"fmod": 1} if kind == "Mod" and (first.dtype.kind == "f" or d.maybe(0.5)) else {}
        if kind == "Sqrt":
            first = np.abs(first)
        if kind == "Round":
            first = np.asarray(np.round(first * 4) / 2, d.dtype)
        return Use(kind, (), [first, *others], attributes)

    return draw


def logical(kind, count):
    def draw(d):
        shape = d.shape()
        return Use(kind, (), [np.asarray(d.rng.random(s) < 0.5) for s in [shape, d.partner(shape)][:count]])

    return draw


def cast(d):
    source = d.one("float32", "float64", "int64", "int32", "uint8", "int8", "bool")
    values = np.asarray(d.rng.standard_normal(d.shape()) * d.one(1, 50, 3)).astype("int64" if "int" in source else None)
    target = d.one(1, 11, 6, 7, 9, 2, 3, 10)
    if target == 2 or source == "uint8":
        values = np.abs(values)
    return Use("Cast", (), [np.asarray(values).astype(source)], {"to": target})


def constant_of_shape(d):
    value = d.one(np.float32([2.5]), np.array([3]), np.array([True]), np.array([7], np.int32))
    return Use("ConstantOfShape", (), [np.array(d.shape(), np.int64)], {"value": value} if d.maybe(0.7) else {})


def spread(d):
    kind = d.one("int64", "int32", d.dtype)
    return Use("Range", (), [np.asarray(v, kind) for v in (d.int(-4, 4), d.int(-6, 9), d.one(1, 2, -1, 3))])


def reduction(kind, since):
    def draw(d):
        shape = d.shape(0, 3)
        # Sums and products of floats are not folded.
        kinds = ("int64", "int32") if kind in ("ReduceProd", "ReduceSum") else ("float", "int64")
        use = Use(kind, (), [numbers(d, *shape, kinds=kinds)], d.attributes(0.5, keepdims=[0, 1]))
        if d.maybe(0.2):
            return use
        axes = d.axes(len(shape))
        return d.listed(use, "axes", axes if d.opset >= 11 else [a % max(len(shape), 1) for a in axes], since)

    return draw


def place(kind):
    def draw(d):
        shape = d.shape(1, 3)
        attributes = d.attributes(0.5, keepdims=[0, 1])
        attributes |= d.attributes(0.3, select_last_index=[0, 1]) if d.opset >= 12 else {}
        axis = d.axis(len(shape)) if d.opset >= 11 else d.int(0, len(shape) - 1)
        return Use(kind, (), [numbers(d, *shape)], attributes | ({"axis": axis} if d.maybe(0.7) else {}))

    return draw


def cumulative(d):
    shape = d.shape(1, 3)
    axis = np.array(d.axis(len(shape)), d.one("int32", "int64"))
    # Sums of floats are not folded.
    x = numbers(d, *shape, kinds=("int64", "int32"))
    return Use("CumSum", (), [x, axis], d.attributes(0.4, exclusive=[0, 1], reverse=[0, 1]))


def trilu(d):
    diagonal = [np.array(d.int(-2, 2))] if d.maybe(0.6) else []
    return Use("Trilu", (), [numbers(d, *d.shape(2, 3)), *diagonal], d.attributes(0.5, upper=[0, 1]))


def where(d):
    shape = d.shape()
    first = numbers(d, *d.partner(shape))
    return Use("Where", (), [np.asarray(d.rng.random(shape) < 0.5), first, first[..., :1] if first.ndim else first])


def gather_elements(d):
    x = numbers(d, *d.shape(1, 3))
    axis = d.axis(x.ndim)
    length = x.shape[axis % x.ndim]
    return Use("GatherElements", (), [x, d.rng.integers(-length, max(length, 1), x.shape)], {"axis": axis})


def scatter_elements(d):
    x = numbers(d, *d.shape(1, 3))
    axis = d.int(-x.ndim, x.ndim - 1)
    length = x.shape[axis % x.ndim]
    shape = list(x.shape)
    shape[axis % x.ndim] = d.int(1, max(length, 1))
    index = np.moveaxis(np.broadcast_to(d.rng.permutation(length), np.moveaxis(x, axis % x.ndim, -1).shape), -1, axis)
    index = np.array(index[tuple(slice(0, size) for size in shape)], np.int64)
    kind = "Scatter" if d.opset < 11 else "ScatterElements"
    return Use(kind, (), [x, index - (length if d.maybe(0.3) else 0), np.full(index.shape, 5, x.dtype)], {"axis": axis})


def scatter_nd(d):
    x = numbers(d, *d.shape(1, 3))
    depth = d.int(1, x.ndim)
    places = np.argwhere(np.ones(x.shape[:depth]))
    chosen = places[d.rng.permutation(len(places))[: d.int(1, 2)]]
    return Use("ScatterND", (), [x, chosen, np.full((len(chosen), *x.shape[depth:]), 5, x.dtype)])


def _steps(d, kind, shape):
    """Scale and, or not, zero point: for all, along an axis, or for blocks of one."""
    blocked = d.opset >= 21 and len(shape) > 1 and min(shape) > 1 and d.maybe(0.4)
    axis = d.axis(len(shape)) if blocked or (d.opset >= 13 and d.maybe(0.5)) else None
    lengths, more = (() if axis is None else (shape[axis % len(shape)],)), {}
    if blocked:
        more = {"block_size": 2}
        lengths = tuple(-(-n // 2) if i == axis % len(shape) else n for i, n in enumerate(shape))
    scale = np.asarray(np.abs(d.rng.standard_normal(lengths)) + 0.1, np.float32)
    zero = [np.asarray(d.rng.integers(0, 9, lengths) * (kind != "int32"), kind)] if d.maybe(0.6) else []
    return scale, zero, ({} if axis is None else {"axis": axis}) | more


def dequantize(d):
    shape, kind = d.shape(1, 3), d.one("uint8", "int8", "int32")
    x = np.asarray(d.rng.integers(0, 100, shape), kind)
    scale, zero, attributes = _steps(d, kind, shape)
    return Use("DequantizeLinear", (), [x, scale, *zero], attributes)


def quantize(d):
    shape, kind = d.shape(1, 3), d.one("uint8", "int8")
    scale, zero, attributes = _steps(d, kind, shape)
    # Also far outside, and in the middle between two steps.
    x = np.float32(0.5) * np.asarray(d.rng.integers(-600, 600, shape), np.float32)
    return Use("QuantizeLinear", (), [x, scale, *zero], attributes)


FOLDED = {
    **{kind: elementwise(kind) for kind in ("Abs", "Neg", "Sign", "NonZero")},
    **{kind: elementwise(kind, kinds=("float",)) for kind in ("Ceil", "Floor", "Round", "Sqrt")},
    **{kind: elementwise(kind, 2) for kind in ("Add", "Div", "Equal", "Greater", "Less", "Mod", "Mul", "Sub")},
    **{kind: elementwise(kind, 2) for kind in ("GreaterOrEqual", "LessOrEqual")},
    **{kind: elementwise(kind, 3) for kind in ("Max", "Min")},
    **{kind: logical(kind, 2) for kind in ("And", "Or", "Xor")},
    "Not": logical("Not", 1),
    "ArgMax": place("ArgMax"),
    "ArgMin": place("ArgMin"),
    "Cast": cast,
    "ConstantOfShape": constant_of_shape,
    "CumSum": cumulative,
    "DequantizeLinear": dequantize,
    "QuantizeLinear": quantize,
    "GatherElements": gather_elements,
    "Range": spread,
    "ReduceMax": reduction("ReduceMax", 18),
    "ReduceMin": reduction("ReduceMin", 18),
    "ReduceProd": reduction("ReduceProd", 18),
    "ReduceSum": reduction("ReduceSum", 13),
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Trilu": trilu,
    "Where": where,
}
