"""Random uses of ONNX operators that move entries or reduce axes, and of those that are read on constants only."""

import numpy as np

from tests.network.operator_draws import Use, X


def concat(d):
    shape = d.shape(1, 4)
    axis = d.axis(len(shape)) if d.opset >= 11 or d.maybe(0.3) else d.int(0, len(shape) - 1)
    inputs = [X]
    for _ in range(d.int(0, 2)):
        other = list(shape)
        if -len(shape) <= axis < len(shape) and d.maybe(0.6):
            other[axis] = d.int(1, 3)
        inputs.append(d.floats(*other) if d.maybe(0.6) else X)
    return Use("Concat", shape, [inputs[i] for i in d.rng.permutation(len(inputs))], {"axis": axis})


def expand(d):
    shape = d.shape()
    return Use("Expand", shape, [X, np.array(d.partner(shape), np.int64)])


def flatten(d):
    shape = d.shape()
    axis = d.int(-len(shape), len(shape)) if d.maybe(0.95) else d.int(-6, 6)
    return Use("Flatten", shape, [X], {"axis": axis} if d.maybe(0.8) else {})


def gather(d):
    shape = d.shape(1, 4)
    axis = d.axis(len(shape))
    length = shape[axis % len(shape)] + (1 if d.maybe(0.05) else 0)
    indices = d.rng.integers(-length, max(length, 1), d.shape(0, 2)).astype(d.one("int32", "int64"))
    return Use("Gather", shape, [X, indices], {"axis": axis} if d.maybe(0.8) else {})


def pad(d):
    shape = d.shape(1, 4)
    modes = ["constant", "reflect", "edge"] + (["wrap"] if d.opset >= 19 and d.maybe(0.1) else [])
    attributes = {"mode": d.one(*modes)} if d.maybe(0.6) else {}
    axes = d.axes(len(shape)) if d.opset >= 18 and d.maybe(0.4) else None
    count = len(shape) if axes is None else len(axes)
    widths = d.ints(2 * count, d.one(0, 0, -1), d.one(1, 2, 4))
    use = d.listed(Use("Pad", shape, [X], attributes), "pads", widths, 11)
    if d.opset < 11:
        use.attributes |= d.attributes(0.4, value=[0.5, 0.0])
    elif axes is not None or d.maybe(0.5):
        use.inputs.append(np.asarray(d.one(0.5, 0.0, -1.0), d.dtype) if d.maybe(0.7) else None)
        use.inputs += [] if axes is None else [np.array(axes, np.int64)]
    return use


def reduce(kind, since):
    def draw(d):
        shape = d.shape()
        use = Use(kind, shape, [X], d.attributes(0.5, keepdims=[0, 1]))
        if d.opset >= since:
            use.attributes |= d.attributes(0.2, noop_with_empty_axes=[0, 1])
        if d.maybe(0.2):
            use.inputs += [None] if d.opset >= since and d.maybe(0.3) else []
            return use
        axes = d.axes(len(shape)) if d.maybe(0.9) else []
        if d.opset < 11 and d.maybe(0.9):
            axes = [axis % max(len(shape), 1) for axis in axes]
        return d.listed(use, "axes", axes, since)

    return draw


def reshape(d):
    shape = d.shape()
    size = int(np.prod(shape))
    target = list(d.one(shape, (size,), (1, size), (size, 1), shape[::-1]))
    if target and d.maybe(0.4):
        target[d.int(0, len(target) - 1)] = -1
    if target and d.maybe(0.3):
        target[d.int(0, len(target) - 1)] = 0
    if d.maybe(0.05):
        target.append(d.int(-1, 2))
    attributes = d.attributes(0.4, allowzero=[0, 1]) if d.opset >= 14 else {}
    return Use("Reshape", shape, [X, np.array(target, np.int64)], attributes)


def resize(d):
    shape = d.shape(1, 4)
    scales = [d.one(1.0, 2.0, 2.0, 3.0, 1.5, 0.5) if d.maybe(0.5) else 1.0 for _ in shape]
    if d.opset < 11:
        kind = "Upsample" if d.opset < 10 else "Resize"
        mode = d.attributes(0.5, mode=["nearest", "nearest", "linear"])
        if d.opset < 9:
            return Use(kind, shape, [X], mode | {"scales": scales})
        return Use(kind, shape, [X, np.array(scales, np.float32)], mode)
    attributes = d.attributes(
        0.6,
        coordinate_transformation_mode=["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"],
        nearest_mode=["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"],
    ) | d.attributes(0.3, mode=["nearest", "nearest", "linear", "cubic"])
    if d.opset >= 18:
        attributes |= d.attributes(0.2, keep_aspect_ratio_policy=["stretch", "not_larger"], antialias=[0, 1])
    roi = d.one(None, np.zeros(0, np.float32))
    if d.maybe(0.6):
        return Use("Resize", shape, [X, roi, np.array(scales, np.float32)], attributes)
    sizes = np.array([max(1, int(size * scale)) for size, scale in zip(shape, scales, strict=True)], np.int64)
    empty = d.one(None, np.zeros(0, np.float32)) if d.opset < 13 else None
    return Use("Resize", shape, [X, roi, empty, sizes], attributes)


def slices(d):
    shape = d.shape(1, 4)
    axes = d.axes(len(shape))
    bounds = [d.ints(len(axes), -4, 4), [d.one(-4, -1, 1, 2, 3, 2**31 - 1, -(2**31)) for _ in axes]]
    if d.opset < 10:
        attributes = {"starts": bounds[0], "ends": bounds[1]} | ({"axes": axes} if d.maybe(0.7) else {})
        return Use("Slice", shape, [X], attributes)
    kind = d.one(np.int64, np.int64, np.int32)
    inputs = [X, *(np.array(part, kind) for part in bounds)]
    rest = d.int(0, 3)
    if rest:
        inputs.append(np.array(axes, kind) if rest > 1 else None)
    if rest == 3:
        inputs.append(np.array([d.one(1, 1, 2, -1, -2) for _ in axes], kind))
    return Use("Slice", shape, inputs)


def split(d):
    shape = d.shape(1, 4)
    axis, outputs = d.axis(len(shape)), d.int(1, 3)
    length = shape[axis % len(shape)]
    use = Use("Split", shape, [X], {"axis": axis} if axis or d.maybe(0.5) else {}, outputs, d.int(0, outputs - 1))
    if d.maybe(0.5):
        cuts = sorted(d.ints(outputs - 1, 0, length))
        sizes = [b - a for a, b in zip([0, *cuts], [*cuts, length + (1 if d.maybe(0.03) else 0)], strict=True)]
        d.listed(use, "split", sizes, 13)
    if d.opset >= 18 and ("split" not in use.attributes and len(use.inputs) == 1) != d.maybe(0.03):
        use.attributes["num_outputs"] = outputs
    return use


def squeeze(d):
    shape = tuple(d.one(1, 1, 2) for _ in range(d.int(0, 4)))
    use = Use("Squeeze", shape, [X])
    ones = [i - (len(shape) if d.maybe(0.4) else 0) for i, size in enumerate(shape) if size == 1]
    if d.maybe(0.25):
        return use
    axes = d.axes(len(shape)) if d.maybe(0.15) else ones[: d.int(0, len(ones))]
    return d.listed(use, "axes", [a % max(len(shape), 1) for a in axes] if d.opset < 11 else axes, 13)


def unsqueeze(d):
    shape, count = d.shape(0, 3), d.int(1, 2)
    axes = [int(a) for a in d.rng.permutation(len(shape) + count)[:count]]
    axes = [a - (len(shape) + count if d.opset >= 11 and d.maybe(0.4) else 0) for a in axes]
    if d.maybe(0.05):
        axes = d.ints(count, -3, 4)
    return d.listed(Use("Unsqueeze", shape, [X]), "axes", axes, 13)


def tile(d):
    shape = d.shape()
    return Use("Tile", shape, [X, np.array(d.ints(len(shape) + d.one(*[0] * 20, 1), d.one(1, 1, 0), 2), np.int64)])


def transpose(d):
    shape = d.shape()
    perm = [int(a) for a in d.rng.permutation(len(shape))]
    return Use("Transpose", shape, [X], {"perm": perm} if shape and d.maybe(0.7) else {})


MOVEMENT = {
    "Concat": concat,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Pad": pad,
    "ReduceMax": reduce("ReduceMax", 18),
    "ReduceMean": reduce("ReduceMean", 18),
    "ReduceMin": reduce("ReduceMin", 18),
    "ReduceSum": reduce("ReduceSum", 13),
    "Reshape": reshape,
    "Resize": resize,
    "Slice": slices,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
