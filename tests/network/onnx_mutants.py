"""Malformed ONNX models: seeds of many operators, with bytes or fields of theirs changed at random."""

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, numpy_helper

from tests.network.onnx_models import model, node

RNG = np.random.default_rng(5)
FLOATS = (0.0, -1.0, 1e-45, 3e38, float("inf"), float("nan"))
INTEGERS = (-1, 0, 1, 2, 3, 7, 11, 64, 2**20, 2**31 - 1, 2**31, 2**62, -(2**31), -(2**63), 2**63 - 1)
TEXTS = (
    "",
    "x",
    "y",
    "w",
    "SAME_UPPER",
    "linear",
    "Relu",
    "Constant",
    "If",
    "ai.onnx",
    "com.other",
    "\u00e9\n\t" * 3,
    "n" * 300,
)


def _image(nodes, constants=None, shape=(1, 2, 4, 4), opset=13, **options):
    return model(nodes, shape, constants, opset, **options)


def _w(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


SEEDS = [
    model(
        [
            node("Gemm", ["x", "w", "b"], ["h"], transB=1, alpha=0.5),
            node("Relu", ["h"], ["r"]),
            node("Flatten", ["r"], ["f"], axis=1),
            node("MatMul", ["f", "v"], ["y"]),
        ],
        ("batch", 4),
        {"w": _w(3, 4), "b": _w(3), "v": _w(3, 2)},
    ),
    _image(
        [
            node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1], group=1),
            node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"], epsilon=1e-3),
            node("MaxPool", ["n"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", ["p"], ["g"]),
            node("Reshape", ["g", "shape"], ["y"]),
        ],
        {"w": _w(3, 2, 3, 3), "b": _w(3), "s": _w(3), "t": _w(3), "m": _w(3), "v": np.abs(_w(3)),
         "shape": np.array([1, -1])},
    ),
    _image(
        [
            node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2], output_padding=[1, 1]),
            node("AveragePool", ["c"], ["p"], kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
            node("Clip", ["p", "low", "high"], ["k"]),
            node("LeakyRelu", ["k"], ["l"], alpha=0.1),
            node("ReduceMean", ["l"], ["y"], axes=[2, 3], keepdims=0),
        ],
        {"w": _w(2, 1, 2, 2), "low": np.float32(-1), "high": np.float32(6)},
    ),
    _image(
        [
            node("Constant", [], ["shift"], value=numpy_helper.from_array(_w(2, 1, 1))),
            node("Add", ["x", "shift"], ["a"]),
            node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
            node("Slice", ["t", "starts", "ends", "axes", "steps"], ["s"]),
            node("Split", ["s"], ["p", "q"], axis=3),
            node("Concat", ["q", "p"], ["c"], axis=1),
            node("Pad", ["c", "pads"], ["d"], mode="constant"),
            node("Squeeze", ["d", "last"], ["e"]),
            node("Gather", ["e", "places"], ["g"], axis=1),
            node("Unsqueeze", ["g", "last"], ["y"]),
        ],
        {"starts": np.array([0, 3]), "ends": np.array([3, -9]), "axes": np.array([1, 2]),
         "steps": np.array([2, -1]), "pads": np.array([0, 1, 0, 0, 0, 0, 1, 0]), "last": np.array([3]),
         "places": np.array([0, 2])},
    ),
    _image(
        [
            node("Resize", ["x", "", "scales"], ["r"], mode="nearest", nearest_mode="floor",
                 coordinate_transformation_mode="asymmetric"),
            node("PRelu", ["r", "slope"], ["p"]),
            node("Max", ["p", "zero"], ["m"]),
            node("Sigmoid", ["m"], ["s"]),
            node("Mul", ["s", "two"], ["t"]),
            node("Sub", ["t", "x0"], ["u"]),
            node("ReduceSum", ["u", "axes"], ["y"], keepdims=1),
        ],
        {"scales": np.float32([1, 1, 2, 2]), "slope": _w(2, 1, 1), "zero": np.float32([0]), "two": np.float32([2]),
         "x0": _w(1), "axes": np.array([2])},
    ),
    model(
        [
            node("Shape", ["c"], ["size"]),
            node("ConstantOfShape", ["size"], ["ones"], value=numpy_helper.from_array(np.float32([1]))),
            node("Cast", ["ones"], ["cast"], to=TensorProto.FLOAT),
            node("Expand", ["cast", "wide"], ["many"]),
            node("Where", ["flag", "many", "many"], ["chosen"]),
            node("Div", ["x", "chosen"], ["d"]),
            node("HardSigmoid", ["d"], ["h"], alpha=0.2, beta=0.5),
            node("Softplus", ["h"], ["s"]),
            node("Elu", ["s"], ["e"], alpha=1.0),
            node("Pow", ["e", "one"], ["y"]),
        ],
        (1, 4),
        {"c": _w(4), "wide": np.array([1, 4]), "flag": np.array([True]), "one": np.float32([1])},
    ),
    model([node("Tanh", ["x"], ["t"]), node("Neg", ["t"], ["n"]), node("Sum", ["n", "x"], ["y"])], (1, 4),
          element=TensorProto.DOUBLE, opset=21),
    _image([node("Upsample", ["x", "s"], ["u"], mode="nearest"), node("Abs", ["u"], ["y"])],
           {"s": np.float32([1, 1, 2, 2])}, opset=9),
]  # fmt: skip
"""Valid models, as bytes."""


def mutant(rng, pool):
    """The bytes of a model of the pool, changed in one to four ways."""
    data = pool[rng.integers(len(pool))]
    if rng.random() < 0.15:
        return _bytes_changed(rng, data, pool)
    proto = onnx.load_model_from_string(data)
    for _ in range(rng.integers(1, 5)):
        try:
            _field_changed(rng, proto)
        except (ValueError, TypeError, DecodeError, EncodeError):
            # The field does not hold that value.
            continue
    return proto.SerializePartialToString()


def _bytes_changed(rng, data, pool):
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place, size = int(rng.integers(len(changed) + 1)), int(rng.integers(1, 9))
        kind = rng.integers(5)
        if kind == 0:
            changed[place : place + 1] = bytes([rng.integers(256)])
        elif kind == 1:
            del changed[place : place + size]
        elif kind == 2:
            changed[place:place] = rng.bytes(size)
        elif kind == 3:
            del changed[place:]
        else:
            other = pool[rng.integers(len(pool))]
            start = int(rng.integers(len(other)))
            changed[place:place] = other[start : start + 8 * size]
    return bytes(changed)


def _messages(message):
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if _is_list(value) else [value]:
                yield from _messages(part)


def _field_changed(rng, proto):
    """Change one field of one message anywhere in the model."""
    messages = list(_messages(proto))
    message = messages[rng.integers(len(messages))]
    there = [field for field, _ in message.ListFields()]
    fields = there if there and rng.random() < 0.8 else list(message.DESCRIPTOR.fields)
    field = fields[rng.integers(len(fields))]
    if rng.random() < 0.2:
        message.ClearField(field.name)
    elif _is_list(getattr(message, field.name)):
        _list_changed(rng, getattr(message, field.name), field, messages)
    elif field.message_type is not None:
        _replace(rng, getattr(message, field.name), messages)
    else:
        setattr(message, field.name, _scalar(rng, field))


def _list_changed(rng, values, field, messages):
    kind, place = rng.integers(4), int(rng.integers(len(values))) if len(values) else 0
    if kind == 0 and len(values):
        del values[place]
    elif kind == 1 and len(values) > 1:
        parts = list(values)
        parts = [*parts[place:], *parts[:place]]
        if field.message_type is not None:
            parts = [type(part).FromString(part.SerializePartialToString()) for part in parts]
        del values[:]
        values.extend(parts)
    elif field.message_type is not None:
        _replace(rng, values.add(), messages)
    elif kind == 2 and len(values):
        values[place] = _scalar(rng, field)
    else:
        values.append(_scalar(rng, field))


def _replace(rng, message, messages):
    """Make a message like one of its type from elsewhere in the model, or empty."""
    same = [other for other in messages if other.DESCRIPTOR is message.DESCRIPTOR]
    if same and rng.random() < 0.9:
        # Through bytes, because it may hold the message itself.
        message.ParseFromString(same[rng.integers(len(same))].SerializePartialToString())
    else:
        message.SetInParent()


def _is_list(value):
    return hasattr(value, "extend")


def _scalar(rng, field):
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = TEXTS[rng.integers(len(TEXTS))]
        return (
            (rng.bytes(int(rng.integers(20))) if rng.random() < 0.5 else text.encode())
            if (field.type == FieldDescriptor.TYPE_BYTES)
            else text
        )
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return FLOATS[rng.integers(len(FLOATS))]
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return int(rng.integers(-1, 30))
    return INTEGERS[rng.integers(len(INTEGERS))]
