"""Functions that are not affine, rewritten exactly into the activation kinds that have a relaxation.

The rewriting holds in real numbers and is what is relaxed; the network computes the function itself.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.movement import axes_of, reduce_sum, reduced_shape
from admm_verify.network.selection import SelectionMap

UNBOUNDED = float(np.finfo(np.float32).max)
"""Ends of a clip from here on are none in float32: exporters write its largest number for a missing end."""

LARGE_END = 2.0**10
"""Constants of a maximum or minimum up to here become a shifted ReLU, whose neurons can be split; beyond, the shift and
its return would take more than x can lose in float32, and a clip with one infinite end takes nothing."""

Number = np.ndarray | float


def prelu(builder: Builder, x: Tensor, slope: Number) -> Tensor:
    """x where x >= 0, else slope x; the slope broadcasts to x and may be any number.

    A slope s > 1 is the kind's own by -s prelu_{1/s}(-x).
    """
    slope = np.asarray(slope, dtype=np.float64)
    _check_shape(x, slope)
    if np.all(slope == 0):
        return builder.activation("relu", x)
    steep = slope > 1
    if not steep.any():
        return builder.activation("prelu", x, slope)
    turned = builder.scale(x, np.where(steep, -1.0, 1.0))
    bent = builder.activation("prelu", turned, np.where(steep, 1.0 / np.where(steep, slope, 1.0), slope))
    # The reciprocal is rounded; relative to the product, that is one rounding of this scale.
    straight = builder.scale(bent, np.where(steep, -slope, 1.0), roundings=1)
    return builder.stands_for(straight, "prelu", [x], _spread(x, slope))


def absolute(builder: Builder, x: Tensor) -> Tensor:
    """|x|, a prelu of slope -1."""
    return builder.activation("prelu", x, -1.0)


def clip(builder: Builder, x: Tensor, low: Number, high: Number) -> Tensor:
    """min(max(x, low), high); either end may be infinite, and low > high gives high, as in ONNX and torch."""
    low, high = (np.asarray(end, dtype=np.float64) for end in (low, high))
    _check_shape(x, low)
    _check_shape(x, high)
    unbounded = UNBOUNDED if builder.element_type == "float32" else np.inf
    below, above = low <= -unbounded, high >= unbounded
    if np.all(below) and np.all(above):
        return x
    if np.all(above) and not np.any(below):
        return maximum(builder, x, low)
    if np.all(below) and not np.any(above):
        return minimum(builder, x, high)
    low, high = np.where(below, -np.inf, low), np.where(above, np.inf, high)
    if np.all(low >= high):
        constant = builder.add(builder.scale(x, np.array(0.0)), high)
        return builder.stands_for(constant, "clip", [x], _spread(x, low), _spread(x, high))
    if np.any(low >= high):
        raise UnsupportedUse("its ends meet for some entries and not for others")
    return builder.activation("clip", x, low, high)


def hard_sigmoid(builder: Builder, x: Tensor, slope: float, shift: float) -> Tensor:
    """min(max(slope x + shift, 0), 1)."""
    line = builder.add(builder.scale(x, np.array(slope)), np.array(shift))
    return builder.activation("clip", line, 0.0, 1.0)


def maximum(builder: Builder, first: Value, second: Value) -> Tensor:
    """The larger of two values, one of them maybe constant: b + relu(a - b)."""
    first, second = builder.aligned(first, second)
    x, end = _bounded_by(first, second)
    if x is not None and end is not None:
        return builder.activation("clip", x, end, np.inf)
    excess = builder.activation("relu", builder.add(first, second, -1.0))
    return _chosen(builder, builder.add(excess, second), "maximum", first, second)


def minimum(builder: Builder, first: Value, second: Value) -> Tensor:
    """The smaller of two values, one of them maybe constant: a - relu(a - b)."""
    first, second = builder.aligned(first, second)
    x, end = _bounded_by(first, second)
    if x is not None and end is not None:
        return builder.activation("clip", x, -np.inf, end)
    excess = builder.activation("relu", builder.add(first, second, -1.0))
    return _chosen(builder, builder.add(first, excess, -1.0), "minimum", first, second)


def _bounded_by(first: Value, second: Value) -> tuple[Tensor | None, np.ndarray | None]:
    """The value and the constant of a maximum or minimum, where the constant holds a large number."""
    for x, end in ((first, second), (second, first)):
        if isinstance(x, Tensor) and isinstance(end, np.ndarray) and np.any(np.abs(end) > LARGE_END):
            return x, end
    return None, None


def _chosen(builder: Builder, rewritten: Tensor, kind: str, *values: Value) -> Tensor:
    """The rewriting of a pairwise maximum or minimum, with what it stands for."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    return builder.stands_for(rewritten, kind, tensors, *(value for value in values if isinstance(value, np.ndarray)))


def window_maximum(builder: Builder, x: Tensor, axis: int, index: np.ndarray) -> Tensor:
    """Maxima over windows along one axis, as a tree of pairwise maxima.

    Shapes: index [windows, width], the positions in each window; the axis gets length `windows`.
    """
    # What is paired comes first and leaves the other axes in place: pairs of entries of an image are images again.
    parts = builder.select(x, np.stack([np.take(x.labels, places, axis) for places in index.T]))
    unpaired = []
    while parts.shape[0] > 1:
        labels, half = parts.labels, parts.shape[0] // 2
        if parts.shape[0] % 2:
            unpaired.append(builder.select(parts, labels[-1:]))
        first, second = builder.select(parts, labels[:half]), builder.select(parts, labels[half : 2 * half])
        parts = maximum(builder, first, second)
    for part in unpaired:
        parts = maximum(builder, parts, part)
    return builder.select(parts, parts.labels[0])


def reduce_max(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """The maximum over axes, all of them for None."""
    chosen = axes_of(x, axes)
    shape = reduced_shape(x, chosen, keep)
    for axis in chosen:
        x = window_maximum(builder, x, axis, np.arange(x.shape[axis])[None])
    return builder.reshape(x, shape)


def reduce_min(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """The minimum over axes, all of them for None: -max(-x)."""
    negative = builder.scale(x, np.array(-1.0))
    return builder.scale(reduce_max(builder, negative, axes, keep), np.array(-1.0))


def largest(builder: Builder, x: Tensor, axis: int, count: int) -> Tensor:
    """The `count` largest entries along an axis, from the largest down: a sorting network of maxima and minima."""
    length = x.shape[axis]
    if count == 1:
        return reduce_max(builder, x, [axis], True)
    values = builder.select(x, np.moveaxis(x.labels, axis, -1))
    needed, kept = np.arange(length) < count, []
    for first, second in reversed(list(_exchanges(length))):
        used = needed[first] | needed[second]
        kept.append((first[used], second[used]))
        needed[first[used]] = needed[second[used]] = True
    for first, second in reversed(kept):
        labels = values.labels
        pair = [builder.select(values, labels[..., side]) for side in (first, second)]
        ends = [maximum(builder, *pair), minimum(builder, *pair)]
        rest = np.setdiff1d(np.arange(length), [*first, *second])
        if rest.size:
            ends.append(builder.select(values, labels[..., rest]))
        joined = builder.concat([*ends], -1)
        values = builder.select(joined, joined.labels[..., np.argsort([*first, *second, *rest])])
    return builder.select(values, np.moveaxis(values.labels[..., :count], -1, axis))


def _exchanges(length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Steps that sort `length` entries by exchanging disjoint pairs: Batcher's merge exchange.

    Source: D. Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2M.
    """
    top = 1 << max(length - 1, 1).bit_length() - 1
    step = top
    while step > 0:
        far, rest, distance = top, 0, step
        while True:
            first = np.array([i for i in range(length - distance) if i & step == rest], dtype=np.int64)
            if first.size:
                yield first, first + distance
            if far == step:
                break
            distance, far, rest = far - step, far // 2, step
        step //= 2


def norm(builder: Builder, x: Tensor, order: float, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """The norm of an order from 1 on, maybe infinite, over axes, all of them for None; of order -inf the least size."""
    if order == 2:
        return builder.activation("sqrt", sum_of_squares(builder, x, axes, keep))
    size = absolute(builder, x)
    if order == 1:
        return reduce_sum(builder, size, axes, keep)
    if np.isinf(order):
        return (reduce_max if order > 0 else reduce_min)(builder, size, axes, keep)
    if order < 1:
        raise UnsupportedUse(f"its order is {order:g}; numbers from 1 on, inf and -inf are supported")
    return power(builder, reduce_sum(builder, power(builder, size, order), axes, keep), 1.0 / order)


def sum_of_squares(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """The sum of squares over axes, all of them for None."""
    return reduce_sum(builder, builder.activation("square", x), axes, keep)


def expm1(builder: Builder, x: Tensor) -> Tensor:
    """exp(x) - 1."""
    less = builder.add(builder.activation("exp", x), np.array(-1.0))
    return builder.stands_for(less, "expm1", [x])


def log1p(builder: Builder, x: Tensor) -> Tensor:
    """log(1 + x)."""
    shifted = builder.activation("log", builder.add(x, np.array(1.0)))
    return builder.stands_for(shifted, "log1p", [x])


def exponential(builder: Builder, x: Tensor, base: float) -> Tensor:
    """base^x."""
    return builder.activation("exp", builder.scale(x, np.log(np.array(base)), roundings=1))


def logarithm(builder: Builder, x: Tensor, base: float) -> Tensor:
    """The logarithm to a base."""
    return builder.scale(builder.activation("log", x), 1.0 / np.log(np.array(base)), roundings=2)


def erfc(builder: Builder, x: Tensor) -> Tensor:
    """1 - erf(x)."""
    return builder.add(np.array(1.0), builder.activation("erf", x), -1.0)


def acos(builder: Builder, x: Tensor) -> Tensor:
    """The angle between 0 and pi whose cosine is x: pi / 2 - asin(x)."""
    turned = builder.scale(builder.activation("asin", x), np.array(-1.0))
    quarter = np.full(x.size, np.pi / 2)
    # The constant is rounded.
    identity = SelectionMap.identity(x.size)
    return Tensor(builder.affine(turned, identity, quarter, np.nextafter(quarter, np.inf)), x.shape)


def truncated(builder: Builder, x: Tensor) -> Tensor:
    """The whole number next to x on the side of 0."""
    high, low = builder.activation("clip", x, 0.0, np.inf), builder.activation("clip", x, -np.inf, 0.0)
    return builder.add(builder.activation("floor", high), builder.activation("ceil", low))


def swish(builder: Builder, x: Tensor, rate: float) -> Tensor:
    """x sigmoid(rate x)."""
    if rate == 1:
        return builder.activation("silu", x)
    if rate == 0:
        return builder.scale(x, np.array(0.5))
    curve = builder.activation("silu", builder.scale(x, np.array(rate)))
    return builder.scale(curve, np.array(1.0 / rate), roundings=1)


def elu(builder: Builder, x: Tensor, alpha: float) -> Tensor:
    """x where x >= 0, else alpha (exp(x) - 1).

    alpha > 1 is not convex and becomes alpha elu_1(x) - (alpha - 1) relu(x), the same function.
    """
    if not 0 < alpha < np.inf:
        raise UnsupportedUse(f"its alpha is {alpha}; positive numbers are supported")
    if alpha <= 1:
        return builder.activation("elu", x, alpha)
    curve = builder.scale(builder.activation("elu", x, 1.0), np.array(alpha))
    both = builder.add(curve, builder.scale(builder.activation("relu", x), np.array(1.0 - alpha), roundings=1))
    return builder.stands_for(both, "elu", [x], np.array(alpha))


def celu(builder: Builder, x: Tensor, alpha: float) -> Tensor:
    """x where x >= 0, else alpha (exp(x / alpha) - 1), which is alpha elu_1(x / alpha)."""
    if not 0 < alpha < np.inf:
        raise UnsupportedUse(f"its alpha is {alpha}; positive numbers are supported")
    narrow = builder.scale(x, np.array(1.0 / alpha), roundings=1)
    wide = builder.scale(builder.activation("elu", narrow, 1.0), np.array(alpha))
    return builder.stands_for(wide, "celu", [x], np.array(alpha))


def selu(builder: Builder, x: Tensor, alpha: float, gamma: float) -> Tensor:
    """gamma elu_alpha(x)."""
    scaled = builder.scale(elu(builder, x, alpha), np.array(gamma))
    return builder.stands_for(scaled, "selu", [x], np.array(alpha), np.array(gamma))


def softplus(builder: Builder, x: Tensor, beta: float = 1.0, threshold: float = np.inf) -> Tensor:
    """log(1 + exp(beta x)) / beta, or x itself where beta x > threshold; bounds cover the difference like rounding."""
    if not 0 < beta < np.inf:
        raise UnsupportedUse(f"its beta is {beta}; positive numbers are supported")
    if beta == 1 and threshold == np.inf:
        return builder.activation("softplus", x)
    wide = builder.scale(x, np.array(beta))
    curve = builder.scale(builder.activation("softplus", wide), np.array(1.0 / beta), roundings=1)
    jump = 1.001 * np.log1p(np.exp(-threshold)) / beta
    if jump > 0:
        # Every bound charges a magnitude with more than 16 roundings; this one makes that the jump at the threshold.
        cover = np.full(x.size, jump / (16 * DOUBLE_ROUNDOFF))
        curve = Tensor(builder.affine(curve, SelectionMap.identity(x.size), None, cover), x.shape)
    return builder.stands_for(curve, "softplus", [x], np.array(beta), np.array(threshold))


_POWERS = {-1.0: "reciprocal", 0.5: "sqrt", 2.0: "square"}
"""Powers with a kind of their own, by exponent."""


def power(builder: Builder, x: Tensor, exponent: Number) -> Tensor:
    """x^e for constant exponents, which broadcast with x; where some are 0 or 1, all must be the same."""
    exponents = np.asarray(exponent, dtype=np.float64)
    shape = np.broadcast_shapes(x.shape, exponents.shape)
    if np.all(exponents == 1):
        return builder.scale(x, np.ones(shape))
    if np.all(exponents == 0):
        return builder.add(builder.scale(x, np.zeros(shape)), np.ones(shape))
    if not np.isfinite(exponents).all() or np.any((exponents == 0) | (exponents == 1)):
        raise UnsupportedUse("its exponents are not finite, or are 0 or 1 among others")
    wide = x if shape == x.shape else builder.scale(x, np.ones(shape))
    first = float(exponents.flat[0]) if exponents.size else 1.0
    if first in _POWERS and np.all(exponents == first):
        return builder.activation(_POWERS[first], wide)
    return builder.activation("power", wide, exponents)


def _spread(x: Tensor, parameter: np.ndarray) -> np.ndarray:
    """A parameter with one number per entry of x."""
    return np.broadcast_to(parameter, x.shape)


def _check_shape(x: Tensor, parameter: np.ndarray) -> None:
    try:
        np.broadcast_to(parameter, x.shape)
    except ValueError:
        raise UnsupportedUse(f"its parameter of shape {parameter.shape} does not fit the shape {x.shape}") from None
    if np.isnan(parameter).any():
        raise UnsupportedUse("its parameter holds NaN")
