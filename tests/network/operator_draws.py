"""Random uses of single ONNX operators: ranks, broadcasts, attributes absent, contradictory and empty, all opsets."""

from dataclasses import dataclass, field

import numpy as np

X = "x"
"""The input that is the model's own."""


@dataclass
class Use:
    """One operator: inputs are X of some shape, constants, or None where left out; `read` is the output looked at."""

    kind: str
    shape: tuple[int, ...]
    inputs: list
    attributes: dict = field(default_factory=dict)
    outputs: int = 1
    read: int = 0


class Draw:
    """Random choices for one model of some opset, whose floats are of one type."""

    def __init__(self, rng: np.random.Generator, opset: int, dtype: str) -> None:
        self.rng, self.opset, self.dtype = rng, opset, dtype

    def maybe(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one(self, *values):
        return values[int(self.rng.integers(len(values)))]

    def int(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def ints(self, count: int, low: int, high: int) -> list[int]:
        return [self.int(low, high) for _ in range(count)]

    def shape(self, low: int = 0, high: int = 4) -> tuple[int, ...]:
        shape = self.ints(self.int(low, high), 1, 3)
        if shape and self.maybe(0.02):
            shape[self.int(0, len(shape) - 1)] = 0
        return tuple(shape)

    def floats(self, *shape: int) -> np.ndarray:
        return np.asarray(np.round(self.rng.standard_normal(shape), 3), self.dtype)

    def nonzero(self, *shape: int) -> np.ndarray:
        numbers = self.floats(*shape)
        return np.asarray(numbers + np.where(numbers >= 0, 0.25, -0.25), self.dtype)

    def partner(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts with another one, in either direction, and seldom one that does not."""
        if self.maybe(0.03):
            return self.shape()
        other = [self.one(size, size, 1) if size != 1 else self.one(1, 1, 2) for size in shape]
        if self.maybe(0.4):
            other = other[self.int(0, len(other)) :]
        elif self.maybe(0.3):
            other = [self.int(1, 2), *other]
        return tuple(other)

    def axis(self, rank: int) -> int:
        return self.int(-rank, max(rank - 1, 0)) if self.maybe(0.95) else self.int(-rank - 1, rank + 1)

    def axes(self, rank: int) -> list[int]:
        if self.maybe(0.05):
            return [self.axis(rank) for _ in range(self.int(0, 2))]
        chosen = self.rng.permutation(rank)[: self.int(1, max(rank, 1))]
        return [int(axis) - (rank if self.maybe(0.4) else 0) for axis in chosen]

    def listed(self, use: Use, name: str, values: list[int], since: int) -> Use:
        """Numbers given by an input from some opset on, by an attribute before, and seldom the other way."""
        if (self.opset >= since) != self.maybe(0.02):
            use.inputs.append(np.asarray(values, dtype=np.int64))
        else:
            use.attributes[name] = values
        return use

    def attributes(self, share: float, **choices) -> dict:
        """Some of the attributes, one value of each."""
        return {name: self.one(*values) for name, values in choices.items() if self.maybe(share)}


def unary(kind):
    return lambda d: Use(kind, d.shape(), [X])


def curve(kind, **choices):
    return lambda d: Use(kind, d.shape(), [X], d.attributes(0.6, **choices))


def prelu(d):
    shape = d.shape()
    return Use("PRelu", shape, [X, np.asarray(d.one(0.25, 1.0, 2.0, -1.0) * d.floats(*d.partner(shape)), d.dtype)])


def clip(d):
    low, high = d.one(-0.5, 0.0, 0.3), d.one(0.5, 0.3, -1.0, 1.0)
    if d.opset < 11:
        return Use("Clip", d.shape(), [X], d.attributes(0.7, min=[low], max=[high]))
    ends = [np.asarray(end, d.dtype).reshape(d.one((), (), (), (1,))) if d.maybe(0.7) else None for end in (low, high)]
    return Use("Clip", d.shape(), [X, *ends][: d.one(3, 3, 3, 2)])


def binary(kind):
    def draw(d):
        shape = d.shape()
        other = d.floats(*d.partner(shape)) if kind != "Div" else d.nonzero(*d.partner(shape))
        if kind == "Pow":
            exponent = d.one(1, 1, 1, 1, 2, 0)
            other = np.full(other.shape, exponent, d.one(d.dtype, "int64") if d.opset >= 12 else d.dtype)
        twice = d.maybe(0.1) and kind != "Pow"
        inputs = [X, X] if twice else [other, X] if d.maybe(0.4) else [X, other]
        return Use(kind, shape, inputs)

    return draw


def variadic(kind):
    def draw(d):
        shape = d.shape()
        inputs = [X, *(d.floats(*d.partner(shape)) if d.maybe(0.7) else X for _ in range(d.int(0, 3)))]
        return Use(kind, shape, [inputs[i] for i in d.rng.permutation(len(inputs))])

    return draw


def gemm(d):
    attributes = d.attributes(0.4, transA=[1], transB=[1]) | d.attributes(
        0.4, alpha=[0.5, -2.0, 0.0], beta=[0.5, -1.0, 0.0]
    )
    rows, shared, columns = d.ints(3, 1, 3)
    first = (shared, rows) if "transA" in attributes else (rows, shared)
    second = (columns, shared) if "transB" in attributes else (shared, columns)
    if d.maybe(0.04):
        first, second = d.shape(1, 3), d.shape(1, 3)
    third = d.one((), (1,), (columns,), (rows, columns), (rows, 1), (1, columns), (2, rows, columns), (rows,))
    inputs = [d.floats(*first), d.floats(*second), *d.one([], [None], [d.floats(*third)], [d.floats(*third)])]
    place = d.one(0, 0, 0, 1, 2) if len(inputs) == 3 and inputs[2] is not None else d.one(0, 0, 1)
    shape, inputs[place] = inputs[place].shape, X
    return Use("Gemm", shape, inputs, attributes)


def matmul(d):
    rows, shared, columns = d.ints(3, 1, 3)
    first, second = d.one((rows, shared), (shared,), (rows, shared)), d.one((shared, columns), (shared,))
    if d.maybe(0.5) and len(first) == 2:
        first = (*d.shape(1, 2), *first)
    if d.maybe(0.3) and len(second) == 2:
        second = (*d.one(first[:-2], d.shape(1, 1)), *second)
    return (
        Use("MatMul", first, [X, d.floats(*second)]) if d.maybe(0.6) else Use("MatMul", second, [d.floats(*first), X])
    )


def cast(d):
    return Use("Cast", d.shape(), [X], {"to": d.one(1, 11, 1, 11, 6, 7, 9, 10)})


def dropout(d):
    if d.opset < 12:
        return Use("Dropout", d.shape(), [X], d.attributes(0.5, ratio=[0.3, 0.0]), d.one(1, 2))
    ratio = np.asarray(0.3, d.dtype) if d.maybe(0.5) else None
    training = [np.array(d.one(True, False, False))] if d.maybe(0.5) else []
    return Use("Dropout", d.shape(), [X, ratio, *training], d.attributes(0.3, seed=[3]), d.one(1, 1, 2))


def windows(d, axes, kernel):
    """Strides, pads, dilations and auto_pad of a window."""
    found = {}
    if d.maybe(0.5):
        found["strides"] = d.ints(axes, 1, 3)
    if d.maybe(0.25):
        found["dilations"] = d.ints(axes, 1, 2)
    if d.maybe(0.5):
        found["pads"] = d.ints(2 * axes, 0, d.one(1, 1, max(kernel)))
    if d.maybe(0.35):
        found["auto_pad"] = d.one("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    if d.maybe(0.02):
        found[d.one("strides", "dilations")] = d.ints(axes + 1, 1, 2)
    return found


def image(d, channels):
    axes = d.one(1, 2, 2, 2, 3) if d.maybe(0.3) else d.one(1, 2)
    shape = (d.int(1, 2), channels, *d.ints(axes, 1, 6))
    return axes, shape if d.maybe(0.97) else shape[1:]


def window(d, share):
    """Sizes of the weight, then axes, image and kernel, and the attributes that convolutions share."""
    groups, per, out = d.one(1, 1, 1, 2), d.int(1, 2), d.int(1, 2)
    axes, shape = image(d, groups * per)
    kernel = d.ints(axes, 1, 3)
    attributes = windows(d, axes, kernel) | d.attributes(share, kernel_shape=[kernel])
    if groups > 1 or d.maybe(0.3):
        attributes["group"] = groups
    return (groups, per, out), (axes, shape, kernel), attributes


def conv(d):
    (groups, per, out), (axes, shape, kernel), attributes = window(d, 0.5)
    if d.maybe(0.02):
        attributes["kernel_shape"] = d.ints(axes, 1, 3)
    bias = d.one([], [None], [d.floats(groups * out)], [d.floats(groups * out)])
    return Use("Conv", shape, [X, d.floats(groups * out, per, *kernel), *bias], attributes)


def conv_transpose(d):
    (groups, per, out), (axes, shape, kernel), attributes = window(d, 0.3)
    if d.maybe(0.25):
        attributes["output_padding"] = d.ints(axes, 0, 1)
    if d.maybe(0.25):
        attributes["output_shape"] = d.ints(axes if d.maybe(0.95) else axes + 2, 1, 9)
    bias = d.one([], [None], [d.floats(groups * out)], [d.floats(groups * out)])
    return Use("ConvTranspose", shape, [X, d.floats(groups * per, out, *kernel), *bias], attributes)


def pool(kind):
    def draw(d):
        axes, shape = image(d, d.int(1, 2))
        kernel = d.ints(axes, 1, 3)
        attributes = windows(d, axes, kernel) | {"kernel_shape": kernel} | d.attributes(0.3, ceil_mode=[0, 1])
        if kind == "AveragePool":
            attributes |= d.attributes(0.4, count_include_pad=[0, 1])
            if d.opset < 19:
                attributes.pop("dilations", None)
            return Use(kind, shape, [X], attributes)
        if d.opset < 10:
            attributes.pop("dilations", None)
        return Use(kind, shape, [X], attributes | d.attributes(0.1, storage_order=[0, 1]), d.one(1, 1, 2))

    return draw


def batch_norm(d):
    channels = d.int(1, 3)
    shape = (d.int(1, 2), channels, *d.ints(d.int(0, 3), 1, 3)) if d.maybe(0.95) else d.shape(1, 4)
    lengths = [channels] * 4 if d.maybe(0.95) else d.ints(4, 1, 3)
    parts = [d.floats(lengths[i]) for i in range(3)] + [np.abs(d.nonzero(lengths[3]))]
    attributes = d.attributes(0.4, epsilon=[1e-3, 1e-5, 0.0], momentum=[0.5])
    attributes |= d.attributes(0.1, spatial=[0, 1]) if d.opset < 9 else {}
    attributes |= d.attributes(0.2, training_mode=[0, 1]) if d.opset >= 14 else {}
    return Use("BatchNormalization", shape, [X, *parts], attributes, d.one(1, 1, 1, 3 if d.opset >= 14 else 5))


LAYERS = {
    "AveragePool": pool("AveragePool"),
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "GlobalAveragePool": lambda d: Use("GlobalAveragePool", image(d, 2)[1], [X]),
    "GlobalMaxPool": lambda d: Use("GlobalMaxPool", image(d, 2)[1], [X]),
    "MaxPool": pool("MaxPool"),
}
ARITHMETIC = {
    **{
        kind: unary(kind)
        for kind in ("Abs", "Ceil", "Floor", "Identity", "Neg", "Relu", "Sigmoid", "Sign", "Softplus", "Tanh")
    },
    **{kind: binary(kind) for kind in ("Add", "Div", "Mul", "Pow", "Sub")},
    **{kind: variadic(kind) for kind in ("Max", "Mean", "Min", "Sum")},
    "Cast": cast,
    "Celu": curve("Celu", alpha=[1.0, 0.3, 2.5]),
    "Clip": clip,
    "Dropout": dropout,
    "Elu": curve("Elu", alpha=[1.0, 0.3, 2.5]),
    "Gemm": gemm,
    "HardSigmoid": curve("HardSigmoid", alpha=[0.3, -1.0, 0.0], beta=[0.1, -0.5, 2.0]),
    "LeakyRelu": curve("LeakyRelu", alpha=[0.3, 0.0, 1.0, 2.5, -0.7]),
    "MatMul": matmul,
    "PRelu": prelu,
    "Selu": curve("Selu", alpha=[1.0, 0.3, 2.5], gamma=[1.5, -0.5]),
}
