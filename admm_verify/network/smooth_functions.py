"""Smooth functions of one number, elementwise, in any array library: what activation nodes of their kinds compute."""

from collections.abc import Sequence

from admm_verify.arrays import Array, namespace


def exp(x: Array, parameters: Sequence[Array]) -> Array:
    """The exponential function."""
    return namespace(x).exp(x)


def log(x: Array, parameters: Sequence[Array]) -> Array:
    """The natural logarithm."""
    return namespace(x).log(x)


def power(x: Array, parameters: Sequence[Array]) -> Array:
    """x^e; parameters (e,)."""
    return namespace(x).pow(x, parameters[0])


def reciprocal(x: Array, parameters: Sequence[Array]) -> Array:
    """1 / x."""
    return 1.0 / x


def sqrt(x: Array, parameters: Sequence[Array]) -> Array:
    """The square root."""
    return namespace(x).sqrt(x)


def square(x: Array, parameters: Sequence[Array]) -> Array:
    """x^2."""
    return x * x


SMOOTH = {
    "exp": exp,
    "log": log,
    "power": power,
    "reciprocal": reciprocal,
    "sqrt": sqrt,
    "square": square,
}
"""These functions by kind."""

ONNX = {"Exp": "exp", "Log": "log", "Reciprocal": "reciprocal", "Sqrt": "sqrt"}
"""ONNX operators that are one of these functions of their input."""

TORCH = {kind: kind for kind in ("exp", "log", "reciprocal", "sqrt", "square")}
"""ATen operators that are."""
