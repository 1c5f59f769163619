"""Gradients of linear functionals of a network: one forward pass, one backward sweep, no autograd."""

from collections.abc import Callable, Sequence

from admm_verify.arrays import Array, namespace
from admm_verify.bounds.backward import backward
from admm_verify.network.activations import Function, sigmoid
from admm_verify.network.graph import Network


def relu_slope(x: Array, parameters: Sequence[Array]) -> Array:
    """1 where x >= 0, else 0."""
    return namespace(x).astype(x >= 0, x.dtype)


def prelu_slope(x: Array, parameters: Sequence[Array]) -> Array:
    """1 where x >= 0, else slope."""
    xp, (slope,) = namespace(x), parameters
    return xp.where(x >= 0, xp.ones_like(x), slope)


def clip_slope(x: Array, parameters: Sequence[Array]) -> Array:
    """1 where low <= x < high, else 0."""
    low, high = parameters
    return namespace(x).astype((x >= low) & (x < high), x.dtype)


def sigmoid_slope(x: Array, parameters: Sequence[Array]) -> Array:
    """s (1 - s) with s the sigmoid of -|x|, relatively accurate on both tails."""
    small = sigmoid(-namespace(x).abs(x), parameters)
    return small * (1.0 - small)


def tanh_slope(x: Array, parameters: Sequence[Array]) -> Array:
    """4 s (1 - s) with s the sigmoid of 2 x, relatively accurate on both tails."""
    return 4.0 * sigmoid_slope(2.0 * x, parameters)


def elu_slope(x: Array, parameters: Sequence[Array]) -> Array:
    """1 where x >= 0, else alpha exp(x)."""
    xp, (alpha,) = namespace(x), parameters
    return xp.where(x >= 0, xp.ones_like(x), alpha * xp.exp(xp.minimum(x, xp.zeros_like(x))))


SLOPES: dict[str, Function] = {
    "clip": clip_slope,
    "elu": elu_slope,
    "prelu": prelu_slope,
    "relu": relu_slope,
    "sigmoid": sigmoid_slope,
    "softplus": sigmoid,
    "tanh": tanh_slope,
}
"""The right derivative phi' of every kind of activation node; what `activations.FUNCTIONS` has, this has."""


def output_and_gradient(network: Network, x: Array, weigh: Callable[[Array], Array]) -> tuple[Array, Array]:
    """f(x), and the gradient of c'f at x with coefficients c = weigh(f(x)) that depend on the output but stay fixed.

    gradient = D_1 W_1' ... D_n W_n' c with D the activations' derivatives at x; at a kink the derivative is the one to
    the right, an element of the subdifferential.

    Shapes: x [rows, inputs] in the network's library and dtype; weigh takes and gives [rows, outputs]
    -> [rows, outputs], [rows, inputs].
    """
    values = network.evaluate(x)

    def choose(k: int, coefficient: Array) -> Array:
        node = network.functions[k]
        return SLOPES[node.kind](values[node.source], node.parameters) * coefficient

    swept = backward(network, {network.output: weigh(values[-1])}, 0.0, choose)
    gradient = swept.nodes[0]
    # A network of constants never reaches its input.
    return values[-1], namespace(x).zeros_like(x) if gradient is None else gradient


def value_and_gradient(network: Network, x: Array, coefficient: Array) -> tuple[Array, Array]:
    """c'f(x) and its gradient, row by row.

    Shapes: x [rows, inputs]; coefficient [rows, outputs] -> [rows], [rows, inputs].
    """
    output, gradient = output_and_gradient(network, x, lambda _: coefficient)
    return namespace(x).sum(coefficient * output, axis=-1), gradient
