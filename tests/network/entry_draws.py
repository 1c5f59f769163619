"""Random uses of ONNX operators that move single entries to constant places, add them up or order them."""

import numpy as np

from tests.network.movement_draws import reduce
from tests.network.operator_draws import Use, X


def where(d):
    shape = d.shape()
    mask = np.asarray(d.rng.random(d.partner(shape)) < 0.5)
    other = X if d.maybe(0.2) else d.floats(*d.partner(shape))
    return Use("Where", shape, [mask, X, other] if d.maybe(0.5) else [mask, other, X])


def trilu(d):
    diagonal = [np.array(d.int(-2, 2))] if d.maybe(0.6) else []
    return Use("Trilu", d.shape(2, 3), [X, *diagonal], d.attributes(0.5, upper=[0, 1]))


def compress(d):
    shape = d.shape(1, 3)
    axis = d.axis(len(shape)) if d.opset >= 11 else d.int(0, len(shape) - 1)
    attributes = {"axis": axis} if d.maybe(0.6) else {}
    length = shape[axis % len(shape)] if attributes else int(np.prod(shape))
    return Use("Compress", shape, [X, np.asarray(d.rng.random(d.int(1, max(length, 1))) < 0.6)], attributes)


def blocks(kind):
    def draw(d):
        size = d.int(1, 3)
        depth, height, width = d.ints(3, 1, 2)
        extra = d.maybe(0.05)
        if kind == "SpaceToDepth":
            shape = (d.int(1, 2), depth, height * size + extra, width * size)
            return Use(kind, shape, [X], {"blocksize": size})
        attributes = d.attributes(0.6, mode=["DCR", "CRD"]) if d.opset >= 11 else {}
        return Use(kind, (d.int(1, 2), depth * size**2 + extra, height, width), [X], {"blocksize": size} | attributes)

    return draw


def reverse_sequence(d):
    time, batch = d.ints(2, 1, 3)
    attributes = d.one({}, {"batch_axis": 1, "time_axis": 0}, {"batch_axis": 0, "time_axis": 1})
    shape = (batch, time) if attributes.get("batch_axis") == 0 else (time, batch)
    lengths = np.array([d.int(1, time) for _ in range(batch)], np.int64)
    return Use("ReverseSequence", (*shape, *d.shape(0, 2)), [X, lengths], attributes)


def gather_elements(d):
    shape = d.shape(1, 3)
    axis = d.axis(len(shape))
    length = shape[axis % len(shape)]
    places = d.rng.integers(-length, max(length, 1), [d.int(1, size) if size else 0 for size in shape])
    return Use("GatherElements", shape, [X, places], {"axis": axis} if d.maybe(0.8) else {})


def gather_nd(d):
    shape = tuple(d.ints(d.int(1, 4), 1, 3))
    shared = d.int(0, 1) if d.opset >= 12 and len(shape) > 1 else 0
    depth = d.int(1, len(shape) - shared)
    lead = (*shape[:shared], *d.ints(d.int(0, 1), 1, 3))
    parts = [d.rng.integers(-size, size, lead) for size in shape[shared : shared + depth]]
    attributes = {"batch_dims": shared} if shared or (d.opset >= 12 and d.maybe(0.3)) else {}
    return Use("GatherND", shape, [X, np.stack(parts, axis=-1)], attributes)


def scattered(d, use, updates):
    """x or what is written, or both, depend on the input."""
    if d.opset >= 16 and d.maybe(0.4):
        use.attributes["reduction"] = d.one("add", "add", "none")
    if d.maybe(0.5) and updates.shape:
        use.inputs = [d.floats(*use.shape), use.inputs[1], X]
        use.shape = updates.shape
    return use


def scatter_elements(d):
    shape = tuple(d.ints(d.int(1, 3), 1, 3))
    axis = d.int(-len(shape), len(shape) - 1)
    length = shape[axis % len(shape)]
    line = np.moveaxis(np.broadcast_to(d.rng.permutation(length), (*np.delete(shape, axis), length)), -1, axis)
    places = np.array(line[tuple(slice(0, d.int(1, size)) for size in shape)], np.int64)
    kind, updates = "Scatter" if d.opset < 11 else "ScatterElements", d.floats(*places.shape)
    places -= length if d.opset >= 11 and d.maybe(0.3) else 0
    return scattered(d, Use(kind, shape, [X, places, updates], {"axis": axis % len(shape)}), updates)


def scatter_nd(d):
    shape = tuple(d.ints(d.int(1, 3), 1, 3))
    depth = d.int(1, len(shape))
    chosen = np.argwhere(np.ones(shape[:depth]))
    chosen = chosen[d.rng.permutation(len(chosen))[: d.int(1, 2)]]
    updates = d.floats(len(chosen), *shape[depth:])
    return scattered(d, Use("ScatterND", shape, [X, chosen, updates]), updates)


def cumulative(d):
    shape = d.shape(1, 3)
    axis = np.array(d.axis(len(shape)), d.one("int32", "int64"))
    return Use("CumSum", shape, [X, axis], d.attributes(0.4, exclusive=[0, 1], reverse=[0, 1]))


def einsum(d):
    """Products, diagonals, transpositions, sums and ellipses, with the result said or not."""
    sizes = dict(zip("bijk", d.ints(4, 1, 3), strict=True))
    equation = d.one(
        "bi,ij->bj", "bij,kj->bik", "ij,bjk->bik", "bij,bjk->bik", "bij->bji", "bij->b", "bii->bi", "bi,ij", "ij,ij->"
    )
    terms = [[sizes[letter] for letter in term] for term in equation.partition("->")[0].split(",")]
    if equation == "bi,ij->bj" and d.maybe(0.5):
        equation, terms[0] = "...i,ij->...j", [*d.ints(d.int(0, 2), 1, 2), sizes["i"]]
    place = d.int(0, len(terms) - 1)
    inputs = [X if i == place else d.floats(*term) for i, term in enumerate(terms)]
    return Use("Einsum", tuple(terms[place]), inputs, {"equation": equation})


def top(d):
    shape = d.shape(1, 3)
    axis = d.axis(len(shape))
    count = d.int(1, max(shape[axis % len(shape)], 1) + d.maybe(0.03))
    attributes = {"axis": axis} if d.maybe(0.7) else {}
    if not attributes:
        count = d.int(1, max(shape[-1], 1))
    if d.opset < 10:
        return Use("TopK", shape, [X], attributes | {"k": count}, 2)
    attributes |= d.attributes(0.5, largest=[0, 1], sorted=[1, 1, 0]) if d.opset >= 11 else {}
    return Use("TopK", shape, [X, np.array([count], np.int64)], attributes, 2)


ENTRIES = {
    "Compress": compress,
    "CumSum": cumulative,
    "DepthToSpace": blocks("DepthToSpace"),
    "Einsum": einsum,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ReduceL1": reduce("ReduceL1", 18),
    "ReverseSequence": reverse_sequence,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "SpaceToDepth": blocks("SpaceToDepth"),
    "TopK": top,
    "Trilu": trilu,
    "Where": where,
}
