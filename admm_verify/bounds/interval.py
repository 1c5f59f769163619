"""Interval bounds of all nodes, forward."""

from admm_verify.arrays import SMALLEST, Array, gamma, namespace
from admm_verify.bounds.region import largest, node_magnitude
from admm_verify.network.graph import Affine, Network


def affine_interval(network: Network, node: Affine, lower: list[Array], upper: list[Array]) -> tuple[Array, Array]:
    """The interval of an affine node from the intervals of the nodes before it.

    W c + b -/+ |W| r with centre c and radius r of the sources, minus and plus a bound on the rounding.

    Shapes: lower[i], upper[i] [..., n_i] -> [..., n].
    Error: rounded outward.
    """
    xp = namespace(lower[0])
    middle: Array = node.bias
    spread: Array = xp.zeros_like(node.bias)
    for term in node.terms:
        low, high = lower[term.source], upper[term.source]
        centre = low / 2 + high / 2
        radius = xp.maximum(high - centre, centre - low)
        middle = term.map.apply(centre) + middle
        spread = term.map.absolute_apply(radius) + spread
    reach = {term.source: largest(lower[term.source], upper[term.source]) for term in node.terms}
    # Twice the reach covers |centre| + radius, the magnitudes behind the two products.
    count = network.roundings
    error = 4.0 * gamma(count) * 2.0 * node_magnitude(node, reach) + 8.0 * count * SMALLEST
    low, high = middle - spread - error, middle + spread + error
    # Overflow leaves no bound: inf - inf is NaN.
    infinite = xp.full_like(low, float("inf"))
    return xp.where(xp.isnan(low), -infinite, low), xp.where(xp.isnan(high), infinite, high)
