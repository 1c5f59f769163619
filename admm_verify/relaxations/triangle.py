"""The triangle (Planet) relaxation of ReLU: conv{(l, max(l, 0)), (0, 0) if l < 0 < u, (u, max(u, 0))}.

Reference: Ehlers, Formal Verification of Piece-Wise Linear Feed-Forward Neural Networks (Planet), ATVA 2017.
"""

from dataclasses import dataclass

from admm_verify.arrays import Array, namespace
from admm_verify.relaxations.contract import SlopeRange


@dataclass(frozen=True)
class Triangle:
    """The relaxation of ReLU; stable neurons are exact."""

    evaluation_roundings: float = 0.0

    def image(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        xp = namespace(lower)
        zero = xp.zeros_like(lower)
        return xp.maximum(lower, zero), xp.maximum(upper, zero)

    def slopes(self, lower: Array, upper: Array) -> SlopeRange:
        """Unstable (l < 0 < u): chord u / (u - l) above, any slope in [0, 1] below. Stable: the function itself.

        Reference: Zhang et al., Efficient Neural Network Robustness Certification with General Activation Functions,
        NeurIPS 2018, section 3.3 (the adaptive choice: 1 where u > -l, else 0).
        """
        xp = namespace(lower, upper)
        zero, one = xp.zeros_like(lower), xp.ones_like(lower)
        unstable = (lower < 0) & (upper > 0)
        active = xp.where(lower >= 0, one, zero)
        chord = xp.where(unstable, upper / xp.where(unstable, upper - lower, one), active)
        return SlopeRange(
            lower_min=active,
            lower_max=xp.where(unstable, one, active),
            upper_min=chord,
            upper_max=chord,
            lower=xp.where(unstable, xp.where(upper > -lower, one, zero), active),
            upper=chord,
        )

    def touch(self, lower: Array, upper: Array, slope: Array, above: Array) -> tuple[Array, Array]:
        xp = namespace(lower, upper, slope)
        sign = xp.where(above, -xp.ones_like(lower), xp.ones_like(lower))
        best, best_value = lower, sign * (xp.maximum(lower, xp.zeros_like(lower)) - slope * lower)
        for p in (xp.clip(xp.zeros_like(lower), lower, upper), upper):
            value = sign * (xp.maximum(p, xp.zeros_like(p)) - slope * p)
            best = xp.where(value < best_value, p, best)
            best_value = xp.minimum(value, best_value)
        return best, xp.maximum(best, xp.zeros_like(best))

    def support(self, lower: Array, upper: Array, post_weight: Array, pre_weight: Array) -> Array:
        return support(lower, upper, post_weight, pre_weight)

    def hull(self, lower: Array, upper: Array, pre: Array) -> tuple[Array, Array]:
        xp = namespace(lower, upper, pre)
        zero = xp.zeros_like(lower)
        unstable = (lower < 0) & (upper > 0)
        floor = xp.maximum(pre, xp.zeros_like(pre))
        chord = xp.where(unstable, upper / xp.where(unstable, upper - lower, xp.ones_like(lower)), zero)
        return floor, xp.maximum(floor, chord * (pre - lower))

    def project(self, lower: Array, upper: Array, pre: Array, post: Array) -> tuple[Array, Array]:
        return project(lower, upper, pre, post)

    def gain(self, lower: Array, upper: Array) -> Array:
        xp = namespace(lower)
        return xp.where(upper > 0, xp.ones_like(upper), xp.zeros_like(upper))


def support(lower: Array, upper: Array, post_weight: Array, pre_weight: Array) -> Array:
    """min over (p, q) in the relaxation of post_weight q - pre_weight p, attained at a vertex.

    Shapes: [..., n] each, broadcasting.
    Error: a few roundings of |post_weight| max|q| + |pre_weight| max|p|.
    """
    xp = namespace(lower, upper, post_weight, pre_weight)
    zero = xp.zeros_like(lower)
    left = post_weight * xp.maximum(lower, zero) - pre_weight * lower
    right = post_weight * xp.maximum(upper, zero) - pre_weight * upper
    least = xp.minimum(left, right)
    return xp.where((lower < 0) & (upper > 0), xp.minimum(least, xp.zeros_like(least)), least)


def project(lower: Array, upper: Array, pre: Array, post: Array) -> tuple[Array, Array]:
    """The nearest point of the relaxation: argmin (p - pre)^2 + (q - post)^2.

    The point lies on one of the triangle's three edges, or is the given point itself when that is inside; a stable
    neuron's relaxation is the single edge between its two vertices.

    Shapes: [..., n] each, broadcasting.
    """
    xp = namespace(lower, upper, pre, post)
    zero = xp.zeros_like(lower)
    foot, top = xp.maximum(lower, zero), xp.maximum(upper, zero)
    unstable = (lower < 0) & (upper > 0)
    corner = xp.where(unstable, zero, lower)
    corner_post = xp.where(unstable, zero, foot)
    best = _nearest_on_edge(lower, foot, upper, top, pre, post)
    for start, start_post, end, end_post in ((lower, foot, corner, corner_post), (corner, corner_post, upper, top)):
        other = _nearest_on_edge(start, start_post, end, end_post, pre, post)
        closer = unstable & (other[2] < best[2])
        best = tuple(xp.where(closer, new, old) for new, old in zip(other, best, strict=True))
    slope = xp.where(unstable, upper / xp.where(unstable, upper - lower, xp.ones_like(lower)), zero)
    inside = unstable & (post >= 0) & (post >= pre) & (post <= slope * (pre - lower))
    return xp.where(inside, pre, best[0]), xp.where(inside, post, best[1])


def _nearest_on_edge(
    start: Array, start_post: Array, end: Array, end_post: Array, pre: Array, post: Array
) -> tuple[Array, Array, Array]:
    """The nearest point of a segment and its distance; a segment of no length is its start."""
    xp = namespace(start, end, pre, post)
    along, along_post = end - start, end_post - start_post
    # Directions are normalised before they are squared: a segment of length 1e-30 would underflow in float32.
    length = xp.maximum(xp.abs(along), xp.abs(along_post))
    safe = xp.where(length > 0, length, xp.ones_like(length))
    unit, unit_post = along / safe, along_post / safe
    dot = (pre - start) / safe * unit + (post - start_post) / safe * unit_post
    share = xp.clip(dot / xp.where(length > 0, unit * unit + unit_post * unit_post, xp.ones_like(length)), 0.0, 1.0)
    p = xp.minimum(xp.maximum(start + share * (end - start), xp.minimum(start, end)), xp.maximum(start, end))
    q = start_post + share * (end_post - start_post)
    # Not the squared distance: squares of 1e-25 underflow in float32.
    return p, q, xp.hypot(p - pre, q - post)
