"""Gradients of linear functionals of a network: one forward pass, one backward sweep, no autograd."""

from collections.abc import Callable

from admm_verify.arrays import Array, namespace
from admm_verify.bounds.backward import backward
from admm_verify.network.graph import Network
from admm_verify.relaxations.registry import relaxations_of


def output_and_gradient(network: Network, x: Array, weigh: Callable[[Array], Array]) -> tuple[Array, Array]:
    """f(x), and the gradient of c'f at x with coefficients c = weigh(f(x)) that depend on the output but stay fixed.

    gradient = D_1 W_1' ... D_n W_n' c with D the activations' derivatives at x; at a kink the derivative is the one to
    the right, an element of the subdifferential.

    Shapes: x [rows, inputs] in the network's library and dtype; weigh takes and gives [rows, outputs]
    -> [rows, outputs], [rows, inputs].
    """
    values, relaxations = network.evaluate(x), relaxations_of(network)

    def choose(k: int, coefficient: Array) -> Array:
        return relaxations[k].gradient(values[network.sources[k]]) * relaxations[k].repeated(coefficient)

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
