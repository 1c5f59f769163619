"""The functions of activation nodes: kind -> phi of one number or several, entry by entry, in any array library."""

from collections.abc import Callable, Sequence

from admm_verify.arrays import Array, namespace
from admm_verify.network import smooth_functions
from admm_verify.network.smooth_functions import SMOOTH

Function = Callable[[Array, Sequence[Array]], Array]
"""phi(x, parameters): x [..., n], each parameter [n] or broadcasting to x; of several operands x [..., m n], one after
the other."""


def relu(x: Array, parameters: Sequence[Array]) -> Array:
    """max(x, 0)."""
    return namespace(x).maximum(x, namespace(x).zeros_like(x))


def prelu(x: Array, parameters: Sequence[Array]) -> Array:
    """x where x >= 0, else slope x; parameters (slope,) with slope <= 1. Slope -1 is |x|."""
    xp, (slope,) = namespace(x), parameters
    return xp.where(x >= 0, x, slope * x)


def clip(x: Array, parameters: Sequence[Array]) -> Array:
    """min(max(x, low), high); parameters (low, high), low < high, either maybe infinite."""
    xp, (low, high) = namespace(x), parameters
    return xp.minimum(xp.maximum(x, low), high)


def sigmoid(x: Array, parameters: Sequence[Array]) -> Array:
    """1 / (1 + exp(-x)), relatively accurate on both tails."""
    xp = namespace(x)
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, xp.ones_like(x), small) / (1.0 + small)


def tanh(x: Array, parameters: Sequence[Array]) -> Array:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return namespace(x).tanh(x)


def softplus(x: Array, parameters: Sequence[Array]) -> Array:
    """log(1 + exp(x)), relatively accurate on the left tail."""
    xp = namespace(x)
    return xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))


def elu(x: Array, parameters: Sequence[Array]) -> Array:
    """x where x >= 0, else alpha (exp(x) - 1); parameters (alpha,) with 0 < alpha <= 1, where it is convex."""
    xp, (alpha,) = namespace(x), parameters
    return xp.where(x >= 0, x, alpha * xp.expm1(xp.minimum(x, xp.zeros_like(x))))


def product(x: Array, parameters: Sequence[Array]) -> Array:
    """p q of two operands, x = [p; q]."""
    half = x.shape[-1] // 2
    return x[..., :half] * x[..., half:]


def relu_difference(x: Array, parameters: Sequence[Array]) -> Array:
    """max(n', 0) - max(n, 0) of three operands, x = [n; n' - n; n']; as accurate as these are."""
    xp, size = namespace(x), x.shape[-1] // 3
    first, between, second = x[..., :size], x[..., size : 2 * size], x[..., 2 * size :]
    return xp.where(first >= 0, xp.maximum(between, -first), xp.maximum(second, xp.zeros_like(second)))


def sigmoid_difference(x: Array, parameters: Sequence[Array]) -> Array:
    """sigmoid(n') - sigmoid(n) of three operands, x = [n; D = n' - n; n'], relatively accurate as these are.

    It is (1 - exp(-D)) sigmoid(n') sigmoid(-n) where D >= 0.
    """
    xp, size = namespace(x), x.shape[-1] // 3
    first, between, second = x[..., :size], x[..., size : 2 * size], x[..., 2 * size :]
    low, high = xp.where(between >= 0, first, second), xp.where(between >= 0, second, first)
    return xp.sign(between) * -xp.expm1(-xp.abs(between)) * sigmoid(high, ()) * sigmoid(-low, ())


def tanh_difference(x: Array, parameters: Sequence[Array]) -> Array:
    """tanh(n') - tanh(n) of three operands, x = [n; D = n' - n; n'], relatively accurate as these are."""
    return 2.0 * sigmoid_difference(2.0 * x, ())


def sign(x: Array, parameters: Sequence[Array]) -> Array:
    """-1, 0 or 1. Steps may have one more parameter, the tolerance of their relaxation."""
    return namespace(x).sign(x)


def heaviside(x: Array, parameters: Sequence[Array]) -> Array:
    """0 where x < 0, 1 where x > 0, and at 0 the number given; parameters (at_zero,) of 0 to 1."""
    xp = namespace(x)
    at_zero = parameters[0] + xp.zeros_like(x)
    return xp.where(x == 0, at_zero, xp.astype(x > 0, x.dtype))


def floor(x: Array, parameters: Sequence[Array]) -> Array:
    """The largest whole number that is not above x."""
    return namespace(x).floor(x)


def ceil(x: Array, parameters: Sequence[Array]) -> Array:
    """The least whole number that is not below x."""
    return namespace(x).ceil(x)


def round_half_even(x: Array, parameters: Sequence[Array]) -> Array:
    """The nearest whole number, of two the even one."""
    return namespace(x).round(x)


FUNCTIONS: dict[str, Function] = {
    **SMOOTH,
    "ceil": ceil,
    "clip": clip,
    "elu": elu,
    "floor": floor,
    "heaviside": heaviside,
    "prelu": prelu,
    "product": product,
    "relu": relu,
    "relu_difference": relu_difference,
    "round": round_half_even,
    "sigmoid": sigmoid,
    "sigmoid_difference": sigmoid_difference,
    "sign": sign,
    "softplus": softplus,
    "tanh": tanh,
    "tanh_difference": tanh_difference,
}
"""Every kind of activation node; each has a record in `relaxations/registry.py` too."""

OPERANDS = {"product": 2, "relu_difference": 3, "sigmoid_difference": 3, "tanh_difference": 3}
"""Kinds of several operands, with their number; all others have one."""

UNBOUNDED = {"clip"}
"""Kinds whose parameters may be infinite: a clip may have no end on one side."""

ONNX = {
    **smooth_functions.ONNX,
    "Ceil": "ceil",
    "Floor": "floor",
    "Relu": "relu",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Softplus": "softplus",
    "Tanh": "tanh",
}
"""ONNX operators that are one of these functions of their input, whatever their attributes."""

TORCH = {
    **smooth_functions.TORCH,
    "ceil": "ceil",
    "floor": "floor",
    "relu": "relu",
    "round": "round",
    "sgn": "sign",
    "sigmoid": "sigmoid",
    "sign": "sign",
    "tanh": "tanh",
}
"""ATen operators that are."""
