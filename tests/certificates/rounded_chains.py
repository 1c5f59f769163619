"""Networks whose merged weights lose much to rounding, with their exact values at a point beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from admm_verify import Network
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.movement import reduce_mean, reduce_sum
from admm_verify.network.nonlinear import absolute, maximum, prelu
from admm_verify.network.spatial import Window, average_pool, batch_norm, convolution, max_pool

Rng = np.random.Generator
Exact = np.ndarray
"""Fractions in an array of objects."""


@dataclass
class Value:
    """A value of the graph, [1, channels, length], and what it is exactly at the point."""

    tensor: Tensor
    exact: Exact


Layer = Callable[[Builder, Value, Rng], Value]


def fractions(array: np.ndarray) -> Exact:
    """The exact values of floats."""
    found = np.empty(array.shape, dtype=object)
    found.reshape(-1)[:] = [Fraction(float(number)) for number in array.reshape(-1)]
    return found


def drawn(rng: Rng, *shape: int) -> np.ndarray:
    """float32 numbers that lose what is small beside what is large once they are summed or multiplied."""
    scale = rng.choice([1.0, 1.0, 1.0, 1e-3, 1e6, 1e20, 3e-20], shape)
    found = (rng.standard_normal(shape) * scale).astype(np.float32)
    plain = rng.choice([0.0, 1.0, -1.0, 1e20, -1e20, 2.0**30, -(2.0**30), 0.1], shape).astype(np.float32)
    return np.where(rng.random(shape) < rng.choice([0.0, 0.5, 1.0]), plain, found).astype(np.float64)


def dense(builder: Builder, x: Value, rng: Rng) -> Value:
    size, wide = x.exact.size, int(rng.integers(1, 5))
    weight, bias = drawn(rng, size, wide), drawn(rng, wide)
    flat = builder.reshape(x.tensor, (1, size))
    found = builder.add(builder.matmul(flat, weight), bias[None])
    exact = fractions(weight).T @ x.exact.reshape(-1) + fractions(bias)
    return Value(builder.reshape(found, (1, 1, wide)), exact.reshape(1, 1, wide))


def scaled(builder: Builder, x: Value, rng: Rng) -> Value:
    factor = drawn(rng, x.exact.shape[1])[None, :, None]
    return Value(builder.scale(x.tensor, factor), x.exact * fractions(factor))


def shifted(builder: Builder, x: Value, rng: Rng) -> Value:
    shift = drawn(rng, *x.exact.shape)
    return Value(builder.add(x.tensor, shift, -1.0), x.exact - fractions(shift))


def divided(builder: Builder, x: Value, rng: Rng) -> Value:
    divisor = drawn(rng, x.exact.shape[1])[None, :, None]
    divisor = np.where(divisor == 0, 3.0, divisor)
    return Value(builder.divide(x.tensor, divisor), x.exact / fractions(divisor))


def normed(builder: Builder, x: Value, rng: Rng) -> Value:
    size, epsilon = x.exact.shape[1], 2.0**-10
    # A root that floats hold, under a quotient that they do not.
    root = rng.integers(1, 40, size) / 8
    gamma, beta, mean = (drawn(rng, size) for _ in range(3))
    found = batch_norm(builder, x.tensor, gamma, beta, mean, root**2 - epsilon, epsilon)
    wide = (fractions(part)[None, :, None] for part in (gamma, beta, mean, root))
    g, b, m, r = wide
    return Value(found, g * (x.exact - m) / r + b)


def doubled(builder: Builder, x: Value, rng: Rng) -> Value:
    """x and a layer of x, added or subtracted."""
    part = (scaled, shifted, divided, normed, turned)[int(rng.integers(5))](builder, x, rng)
    sign = float(rng.choice([1.0, -1.0]))
    return Value(builder.add(part.tensor, x.tensor, sign), part.exact + Fraction(sign) * x.exact)


def turned(builder: Builder, x: Value, rng: Rng) -> Value:
    order = rng.permutation(x.exact.size).reshape(x.exact.shape)
    return Value(builder.select(x.tensor, order), x.exact.reshape(-1)[order])


def convolved(builder: Builder, x: Value, rng: Rng) -> Value:
    _, channels, length = x.exact.shape
    size, outputs = int(rng.integers(1, min(length, 3) + 1)), int(rng.integers(1, 3))
    weight, bias = drawn(rng, outputs, channels, size), drawn(rng, outputs)
    window = Window((size,), (1,), (0,), (0,), (1,))
    found = convolution(builder, x.tensor, weight, bias, window)
    seen = np.stack([x.exact[0, :, i : i + size].reshape(-1) for i in range(length - size + 1)], axis=1)
    exact = fractions(weight).reshape(outputs, -1) @ seen + fractions(bias)[:, None]
    return Value(found, exact[None])


def pooled(builder: Builder, x: Value, rng: Rng) -> Value:
    length = x.exact.shape[2]
    size = int(rng.integers(1, min(length, 3) + 1))
    window, parts = (
        Window((size,), (1,), (0,), (0,), (1,)),
        [x.exact[..., i : i + size] for i in range(length - size + 1)],
    )
    if rng.random() < 0.5:
        exact = np.stack([part.sum(axis=2) / size for part in parts], axis=2)
        return Value(average_pool(builder, x.tensor, window, True), exact)
    return Value(max_pool(builder, x.tensor, window), np.stack([part.max(axis=2) for part in parts], axis=2))


def summed(builder: Builder, x: Value, rng: Rng) -> Value:
    exact = x.exact.sum(axis=1, keepdims=True)
    if rng.random() < 0.5:
        return Value(reduce_sum(builder, x.tensor, [1], True), exact)
    return Value(reduce_mean(builder, x.tensor, [1], True), exact / x.exact.shape[1])


def relu(builder: Builder, x: Value, rng: Rng) -> Value:
    return Value(builder.activation("relu", x.tensor), np.maximum(x.exact, Fraction(0)))


def bent(builder: Builder, x: Value, rng: Rng) -> Value:
    """A leaky ReLU of any slope, also beyond 1, or |x|."""
    if rng.random() < 0.3:
        return Value(absolute(builder, x.tensor), abs(x.exact))
    slope = float(np.float32(rng.choice([0.1, 0.3, 1.7, 3.0, -2.0])))
    return Value(prelu(builder, x.tensor, slope), np.where(x.exact >= 0, x.exact, Fraction(slope) * x.exact))


def larger(builder: Builder, x: Value, rng: Rng) -> Value:
    other = drawn(rng, *x.exact.shape)
    return Value(maximum(builder, x.tensor, other), np.maximum(x.exact, fractions(other)))


LINEAR: tuple[Layer, ...] = (
    dense, dense, scaled, shifted, divided, normed, doubled, turned, convolved, pooled, summed,
)  # fmt: skip
BENT: tuple[Layer, ...] = (relu, bent, larger)


def rounded_case(seed: int, deepest: int = 6) -> tuple[Network, np.ndarray, list[Fraction]]:
    """A network of some linear layers in a row, a point, and the exact outputs there."""
    rng = np.random.default_rng([seed, 21])
    shape = (1, int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    builder = Builder(shape)
    x = drawn(rng, *shape)
    value = Value(builder.input, fractions(x))
    for _ in range(int(rng.integers(1, deepest + 1))):
        layers = BENT if rng.random() < 0.2 else LINEAR
        value = layers[int(rng.integers(len(layers)))](builder, value, rng)
    network = builder.finish(value.tensor, "rounded")
    return network, x.reshape(-1), list(value.exact.reshape(-1))
