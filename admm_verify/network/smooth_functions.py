"""Smooth functions of one number, elementwise, in any array library: what activation nodes of their kinds compute."""

from collections.abc import Sequence
from math import pi, sqrt as root

from admm_verify.arrays import Array, SameArray, namespace
from admm_verify.network.error_function import erf as error_function, normal_cdf

GELU_SCALE, GELU_CUBE = root(2.0 / pi), 0.044715
"""The constants of GELU's form with tanh."""


def acosh(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The number from 0 on whose cosh is x."""
    return namespace(x).acosh(x)


def asin(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The angle between -pi / 2 and pi / 2 whose sine is x."""
    return namespace(x).asin(x)


def asinh(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The number whose sinh is x."""
    return namespace(x).asinh(x)


def atan(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The angle whose tangent is x."""
    return namespace(x).atan(x)


def atanh(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The number whose tanh is x."""
    return namespace(x).atanh(x)


def cos(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The cosine."""
    return namespace(x).cos(x)


def cosh(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """(exp(x) + exp(-x)) / 2."""
    return namespace(x).cosh(x)


def erf(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The error function."""
    return error_function(x)


def exp(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The exponential function."""
    return namespace(x).exp(x)


def gelu(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """x Phi(x) with the normal distribution Phi."""
    return x * normal_cdf(x)


def gelu_tanh(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """x (1 + tanh(k (x + c x^3))) / 2 = x / (1 + exp(-2 k (x + c x^3))), relatively accurate on the left tail."""
    xp = namespace(x)
    # Beyond, the other factor is 0 or 1 and cubes may overflow.
    near = xp.minimum(xp.maximum(x, xp.full_like(x, -32.0)), xp.full_like(x, 32.0))
    return x * _sigmoid(2.0 * GELU_SCALE * near * (1.0 + GELU_CUBE * near * near))


def hardswish(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """x min(max(x + 3, 0), 6) / 6."""
    xp = namespace(x)
    return x * (xp.minimum(xp.maximum(x + 3.0, xp.zeros_like(x)), xp.full_like(x, 6.0)) / 6.0)


def log(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The natural logarithm."""
    return namespace(x).log(x)


def mish(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """x tanh(log(1 + exp(x))), by rational functions of exp(-|x|)."""
    xp = namespace(x)
    small = xp.exp(-xp.abs(x))
    left, right = small * (small + 2.0), 1.0 + 2.0 * small
    return x * xp.where(x < 0, left / (left + 2.0), right / (right + 2.0 * small * small))


def power(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """x^e; parameters (e,)."""
    return namespace(x).pow(x, parameters[0])


def reciprocal(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """1 / x."""
    return 1.0 / x


def silu(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """x / (1 + exp(-x))."""
    return x * _sigmoid(x)


def sin(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The sine."""
    return namespace(x).sin(x)


def sinh(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """(exp(x) - exp(-x)) / 2."""
    return namespace(x).sinh(x)


def softsign(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """x / (1 + |x|)."""
    return x / (1.0 + namespace(x).abs(x))


def sqrt(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The square root."""
    return namespace(x).sqrt(x)


def square(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """x^2."""
    return x * x


def tan(x: SameArray, parameters: Sequence[Array]) -> SameArray:
    """The tangent."""
    return namespace(x).tan(x)


def _sigmoid(x: SameArray) -> SameArray:
    xp = namespace(x)
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, xp.ones_like(x), small) / (1.0 + small)


SMOOTH = {
    "acosh": acosh,
    "asin": asin,
    "asinh": asinh,
    "atan": atan,
    "atanh": atanh,
    "cos": cos,
    "cosh": cosh,
    "erf": erf,
    "exp": exp,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "hardswish": hardswish,
    "log": log,
    "mish": mish,
    "power": power,
    "reciprocal": reciprocal,
    "silu": silu,
    "sin": sin,
    "sinh": sinh,
    "softsign": softsign,
    "sqrt": sqrt,
    "square": square,
    "tan": tan,
}
"""These functions by kind."""

ONNX = {
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "HardSwish": "hardswish",
    "Log": "log",
    "Mish": "mish",
    "Reciprocal": "reciprocal",
    "Sin": "sin",
    "Sinh": "sinh",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Tan": "tan",
}
"""ONNX operators that are one of these functions of their input."""

TORCH = {kind: kind for kind in SMOOTH if kind not in ("gelu", "gelu_tanh", "power")}
"""ATen operators that are."""
