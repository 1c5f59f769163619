"""Products of values that both depend on the input: of matrices, Einstein sums, quotients and products over axes.

Each entry of a result is a sum of products of entries, which are drawn by one selection per factor: what a relaxation
sees is one product per pair of entries that meet, however often a result holds it, and the sums behind them.
"""

from collections.abc import Sequence

import numpy as np

from admm_verify.network import nonlinear
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.einsum import einsum, letters, spread_letters
from admm_verify.network.graph import Activation
from admm_verify.network.movement import axes_in, axes_of, reduced_shape, sum_at

PRODUCTS = 2**24
"""Products of entries that one operator may be written as."""

MATRIX = 2**16
"""Entries of a matrix that a product with a computed constant may be written as; larger ones are one by one."""


def times(builder: Builder, first: Value, second: Value) -> Tensor:
    """The product entry by entry, with broadcasting."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return builder.product(first, second)
    x, factor = (first, second) if isinstance(first, Tensor) else (second, first)
    assert isinstance(x, Tensor) and isinstance(factor, np.ndarray), "one of them depends on the input"
    return builder.scale(x, factor)


def matmul(builder: Builder, first: Value, second: Value) -> Tensor:
    """The matrix product with NumPy's rules."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return builder.matmul(first, second)
    x = builder.reshape(first, (1, *first.shape)) if len(first.shape) == 1 else first
    y = builder.reshape(second, (*second.shape, 1)) if len(second.shape) == 1 else second
    if x.shape[-1] != y.shape[-2]:
        raise UnsupportedUse(f"its factors of shapes {first.shape} and {second.shape} do not fit")
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    left = np.broadcast_to(x.labels, (*batch, *x.shape[-2:]))[..., :, None, :]
    right = np.broadcast_to(y.labels, (*batch, *y.shape[-2:])).swapaxes(-1, -2)[..., None, :, :]
    found = _by_computed(builder, x, y) or _summed(builder, (x, y), (left, right))
    wide = tuple((1,) * (len(batch) + 2 - len(part.shape)) + part.shape for part in (x, y))
    found = builder.stands_for(found, "matmul", [x, y], shapes=wide)
    rows, columns = x.shape[-2:-1] * (len(first.shape) > 1), y.shape[-1:] * (len(second.shape) > 1)
    return builder.reshape(found, (*batch, *rows, *columns))


def _by_computed(builder: Builder, x: Tensor, y: Tensor) -> Tensor | None:
    """The matrix product of which one factor is a constant that was computed; None where none is, or none small."""
    for factor, other in ((y, x), (x, y)):
        constant = builder.computed(factor)
        shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1])
        if constant is None or other.size * int(np.prod(shape)) > MATRIX:
            continue
        units = np.eye(other.size).reshape(other.size, *other.shape)
        weight, magnitude = (
            np.matmul(*((units, part.reshape(y.shape)) if factor is y else (part.reshape(x.shape), units)))
            for part in (constant.value, constant.magnitude)
        )
        weight, magnitude = (part.reshape(other.size, -1).T for part in (weight, magnitude))
        return Tensor(builder.weighted(other, weight, magnitude, constant), shape)
    return None


def einstein(builder: Builder, equation: str, operands: list[Value]) -> Tensor:
    """The sum over all letters that the result does not have of the product of the operands' entries."""
    tensors = [value for value in operands if isinstance(value, Tensor)]
    if len(operands) > 2:
        return _pairwise(builder, equation, operands)
    if len(tensors) < 2:
        return einsum(builder, equation, operands)
    terms, result, sizes = letters(equation, [value.shape for value in operands])
    summed = "".join(sorted(set("".join(terms)) - set(result)))
    places = [
        spread_letters(value.labels, term, result + summed, sizes) for value, term in zip(tensors, terms, strict=True)
    ]
    shape = tuple(sizes[letter] for letter in result)
    return _summed(builder, tensors, [place.reshape(*shape, -1) for place in places])


def _pairwise(builder: Builder, equation: str, operands: list[Value]) -> Tensor:
    """An Einstein sum of three or more operands as sums of two, from the left."""
    terms, result, _ = letters(equation, [value.shape for value in operands])
    total, term = operands[0], terms[0]
    for i, (value, other) in enumerate(zip(operands[1:], terms[1:], strict=True), start=2):
        needed = set(result).union(*terms[i:])
        kept = "".join(sorted((set(term) | set(other)) & needed)) if i < len(terms) else result
        if isinstance(total, np.ndarray) and isinstance(value, np.ndarray):
            raise UnsupportedUse("it multiplies constants with each other, whose rounding is unknown; store the result")
        total, term = einstein(builder, f"{term},{other}->{kept}", [total, value]), kept
    assert isinstance(total, Tensor), "of two constants nothing is made"
    return total


def _summed(builder: Builder, factors: Sequence[Tensor], places: Sequence[np.ndarray]) -> Tensor:
    """Sums along the last axis of products of entries; every product is made once.

    Shapes: places[i] numbers of entries of flat factors[i], broadcasting to [.., k] -> [..].
    """
    shape = np.broadcast_shapes(*(place.shape for place in places))
    if np.prod(shape) > PRODUCTS:
        raise UnsupportedUse(f"it takes {int(np.prod(shape))} products; up to {PRODUCTS} are supported")
    (x, y), (left, right) = factors, (np.broadcast_to(place, shape).reshape(-1) for place in places)
    if x.node == y.node:
        # A product does not depend on the order.
        left, right = np.minimum(left, right), np.maximum(left, right)
    codes, which = np.unique(left * y.size + right, return_inverse=True)
    left, right = np.divmod(codes, y.size)
    made = _multiplied(builder, (x, y), (left, right))
    results = np.arange(int(np.prod(shape[:-1]))).reshape(*shape[:-1], 1)
    if len(codes) == len(which):
        places_of_sums = np.empty(len(codes), dtype=np.int64)
        places_of_sums[which] = np.broadcast_to(results, shape).reshape(-1)
        return sum_at(builder, made, places_of_sums, shape[:-1])
    drawn = builder.select(made, which.reshape(shape))
    return sum_at(builder, drawn, np.broadcast_to(results, shape), shape[:-1])


def _multiplied(builder: Builder, factors: Sequence[Tensor], places: Sequence[np.ndarray]) -> Tensor:
    """Products of pairs of entries, those of an entry with itself as squares."""
    (x, y), (left, right) = factors, places
    same = (left == right) & (x.node == y.node)
    if not same.any():
        return builder.product(builder.select(x, left), builder.select(y, right))
    squares = builder.activation("square", builder.select(x, left[same]))
    if same.all():
        return squares
    others = builder.product(builder.select(x, left[~same]), builder.select(y, right[~same]))
    joined = builder.concat([squares, others], 0)
    order = np.argsort(np.concatenate([np.flatnonzero(same), np.flatnonzero(~same)]))
    return builder.select(joined, order)


def quotient(builder: Builder, x: Value, y: Value) -> Tensor:
    """x / y with broadcasting, x (1 / y) where y depends on the input: y of one sign, which bounds look at."""
    if isinstance(y, np.ndarray):
        if not np.all(np.abs(y) > 0):
            raise UnsupportedUse("its divisor holds a zero")
        assert isinstance(x, Tensor), "one of them depends on the input"
        return builder.divide(x, y)
    whole = times(builder, x, _reciprocal(builder, y))
    if isinstance(x, Tensor):
        return builder.stands_for(whole, "ratio", [*_together(builder, x, y)])
    spread = np.array(np.broadcast_to(x, whole.shape), dtype=np.float64)
    (y,) = _together(builder, y, spread)[:1]
    return builder.stands_for(whole, "ratio", [y], spread)


def _together(builder: Builder, *values: Value) -> list[Tensor]:
    """The tensors among two values, broadcast to one shape."""
    return [value for value in builder.aligned(*values) if isinstance(value, Tensor)]


def _reciprocal(builder: Builder, y: Tensor) -> Tensor:
    """1 / y; of a square root one power, which has a closer relaxation than two functions one after the other."""
    node = builder.node(y.node)
    if isinstance(node, Activation) and node.kind == "sqrt":
        return builder.activation("power", Tensor(node.source, y.shape), -0.5)
    return builder.activation("reciprocal", y)


def power(builder: Builder, x: Value, exponent: Value) -> Tensor:
    """x to a constant power; a positive constant to the power x; or x^y as exp(y log x)."""
    if isinstance(exponent, Tensor):
        return _exponential(builder, x, exponent)
    assert isinstance(x, Tensor), "one of them depends on the input"
    return nonlinear.power(builder, x, exponent)


def _exponential(builder: Builder, base: Value, exponent: Tensor) -> Tensor:
    """base^exponent = exp(exponent log base)."""
    if isinstance(base, Tensor):
        size: Value = builder.activation("log", base)
    elif np.all(base > 0):
        size = np.log(base.astype(np.float64))
    else:
        raise UnsupportedUse("it takes powers of a constant that is not positive")
    if isinstance(size, Tensor):
        return builder.activation("exp", builder.product(exponent, size))
    # The logarithm is rounded.
    return builder.activation("exp", builder.scale(exponent, size, roundings=1))


def reduce_product(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """The product over axes, all of them for None, as a tree of products of two."""
    chosen = axes_of(x, axes)
    shape = reduced_shape(x, chosen, keep)
    kept = [axis for axis in range(len(x.shape)) if axis not in chosen]
    parts = builder.select(x, np.transpose(x.labels, [*chosen, *kept]).reshape(-1, int(np.prod(shape))))
    while parts.shape[0] > 1:
        labels, half = parts.labels, parts.shape[0] // 2
        made: Tensor = builder.product(
            builder.select(parts, labels[:half]), builder.select(parts, labels[half : 2 * half])
        )
        parts = builder.concat([made, builder.select(parts, labels[2 * half :])], 0) if len(labels) % 2 else made
    return builder.reshape(parts, shape)


def cumulative_product(builder: Builder, x: Tensor, axis: int) -> Tensor:
    """Products of all entries up to each one along an axis."""
    (axis,) = axes_in(len(x.shape), [axis])
    lines = np.moveaxis(x.labels, axis, 0)
    parts: list[Value] = [builder.select(x, lines[:1])]
    for k in range(1, len(lines)):
        before = parts[-1]
        assert isinstance(before, Tensor), "a selection of a value is one"
        parts.append(builder.product(before, builder.select(x, lines[k : k + 1])))
    whole = builder.concat(parts, 0)
    return builder.select(whole, np.moveaxis(whole.labels, 0, axis))
