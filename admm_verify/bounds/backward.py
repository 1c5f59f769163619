"""The backward sweep: coefficients of a linear functional, carried from outputs to the input."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from array_api_compat import is_torch_array

from admm_verify.arrays import Array, inner, namespace
from admm_verify.bounds.matrix_products import PassedProduct
from admm_verify.network.graph import Network
from admm_verify.network.maps import transposed
from admm_verify.run import paced

Choose = Callable[[int, Array], Array]
"""choose(k, a) -> g: the multiplier g of activation k's pre-activation, given the coefficient a of its output."""


@dataclass(frozen=True, eq=False)
class Backward:
    """Result of a sweep over f's graph.

    For multipliers g_k the functional equals constant + input' x + sum over k of (post_k' q_k - pre_k' p_k) on the
    graph, where p_k, q_k are input and output of activation k.

    Shapes: nodes[i] [..., n_i] the coefficient of node i, None where the functional does not reach it but for the
    input; pre[k] and
    post[k] [..., n_k] or None; constant [...]. Products that were passed in one step have neither: the constant holds
    what their relaxation takes, and passed [...] the magnitude behind their multipliers' roundings.
    """

    nodes: tuple[Array | None, ...]
    pre: tuple[Array | None, ...]
    post: tuple[Array | None, ...]
    constant: Array
    passed: Array | float = 0.0

    @property
    def input(self) -> Array:
        """The coefficient of the input, zero where the functional does not reach it."""
        coefficient = self.nodes[0]
        assert coefficient is not None, "A sweep ends with a coefficient of the input"
        return coefficient


def backward(
    network: Network,
    start: Mapping[int, Array],
    constant: Any,
    choose: Choose,
    products: Mapping[int, PassedProduct] | None = None,
) -> Backward:
    """One transposed pass: W' for every affine node, choose for every activation.

    products: by the nodes of their sums, which are passed in one step from there to the factors.
    Shapes: start[i] [..., n_i] coefficients at nodes; constant [...].
    Reference: DESIGN of DeepSplit's dual (arXiv 2106.09117, section 3) with one multiplier per pre-activation.
    """
    coefficients: list[Array | None] = [start.get(i) for i in range(len(network.nodes))]
    pre: list[Array | None] = [None] * len(network.activations)
    post: list[Array | None] = [None] * len(network.activations)
    steps, passed = {} if products is None else products, 0.0
    for i, affine, k in paced(reversed(network.steps)):
        coefficient = coefficients[i]
        if coefficient is None:
            continue
        if affine is None:
            post[k], pre[k] = coefficient, (multiplier := choose(k, coefficient))
            _accumulate(coefficients, network.sources[k], multiplier)
            continue
        if affine.shifts:
            constant = _shifted(constant, coefficient, affine.bias)
        if i in steps:
            constant = steps[i].support(coefficient) + constant
            passed = steps[i].magnitude(coefficient) + passed
            for source, part in steps[i].multipliers(coefficient):
                _accumulate(coefficients, source, part)
            continue
        for term in affine.terms:
            coefficients[term.source] = transposed(term.map, coefficient, coefficients[term.source])
    if coefficients[0] is None:
        some = next(iter(start.values()))
        size = network.nodes[0].size
        coefficients[0] = namespace(some).zeros((*some.shape[:-1], size), dtype=some.dtype, device=some.device)
    return Backward(tuple(coefficients), tuple(pre), tuple(post), constant, passed)


def _shifted(constant: Any, coefficient: Array, bias: Array) -> Any:
    """constant + coefficient'bias, in one launch where the library has one."""
    lead = tuple(coefficient.shape[:-1])
    if len(lead) == len(bias.shape) == 1 and is_torch_array(constant) and tuple(constant.shape) == lead:
        return constant.addmv(coefficient, bias)  # pyright: ignore[reportArgumentType]
    return inner(coefficient, bias) + constant


def _accumulate(coefficients: list[Array | None], index: int, part: Array) -> None:
    present = coefficients[index]
    assert present is None or present.shape[-1] == part.shape[-1], "A coefficient has one entry per entry of its node"
    coefficients[index] = part if present is None else present + part
