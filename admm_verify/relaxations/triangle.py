"""The triangle (Planet) relaxation of ReLU: conv{(l, max(l, 0)), (0, 0) if l < 0 < u, (u, max(u, 0))}.

Reference: Ehlers, Formal Verification of Piece-Wise Linear Feed-Forward Neural Networks (Planet), ATVA 2017.
"""

from dataclasses import dataclass

from admm_verify.arrays import namespace
from admm_verify.relaxations.contract import Layer, Mask, Relaxation, SlopeLimits, SlopeRange


@dataclass(frozen=True)
class Triangle(Relaxation):
    """The relaxation of ReLU; stable neurons are exact."""

    kinked = rectifies = zero_at_zero = True
    evaluation_roundings = 0.0

    def open(self, lower: Layer, upper: Layer) -> Mask:
        return (lower < 0) & (upper > 0)

    def gradient(self, x: Layer) -> Layer:
        return namespace(x).astype(x >= 0, x.dtype)

    def image(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        xp = namespace(lower)
        zero = xp.zeros_like(lower)
        return xp.maximum(lower, zero), xp.maximum(upper, zero)

    def slopes(self, lower: Layer, upper: Layer) -> SlopeRange:
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

    def touch(self, lower: Layer, upper: Layer, slope: Layer, above: Mask) -> tuple[Layer, Layer]:
        xp = namespace(lower, upper, slope)
        sign = xp.where(above, -xp.ones_like(lower), xp.ones_like(lower))
        best, best_value = lower, sign * (xp.maximum(lower, xp.zeros_like(lower)) - slope * lower)
        for p in (xp.clip(xp.zeros_like(lower), lower, upper), upper):
            value = sign * (xp.maximum(p, xp.zeros_like(p)) - slope * p)
            best = xp.where(value < best_value, p, best)
            best_value = xp.minimum(value, best_value)
        return best, xp.maximum(best, xp.zeros_like(best))

    def support(self, lower: Layer, upper: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
        return support(lower, upper, post_weight, pre_weight)

    def hull(self, lower: Layer, upper: Layer, pre: Layer) -> tuple[Layer, Layer]:
        xp = namespace(lower, upper, pre)
        zero = xp.zeros_like(lower)
        unstable = (lower < 0) & (upper > 0)
        floor = xp.maximum(pre, xp.zeros_like(pre))
        chord = xp.where(unstable, upper / xp.where(unstable, upper - lower, xp.ones_like(lower)), zero)
        return floor, xp.maximum(floor, chord * (pre - lower))

    def project(self, lower: Layer, upper: Layer, pre: Layer, post: Layer) -> tuple[Layer, Layer]:
        return project(lower, upper, pre, post)

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower)
        return xp.where(upper > 0, xp.ones_like(upper), xp.zeros_like(upper))

    def slope_limits(self) -> SlopeLimits:
        return 0.0, 1.0

    def slopes_over(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        return namespace(lower).astype(lower >= 0, lower.dtype), self.gain(lower, upper)


def support(lower: Layer, upper: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
    """min over (p, q) in the relaxation of post_weight q - pre_weight p, attained at a vertex.

    Error: a few roundings of |post_weight| max|q| + |pre_weight| max|p|.
    """
    xp = namespace(lower, upper, post_weight, pre_weight)
    zero = xp.zeros_like(lower)
    left = post_weight * xp.maximum(lower, zero) - pre_weight * lower
    right = post_weight * xp.maximum(upper, zero) - pre_weight * upper
    least = xp.minimum(left, right)
    return xp.where((lower < 0) & (upper > 0), xp.minimum(least, xp.zeros_like(least)), least)


def project(lower: Layer, upper: Layer, pre: Layer, post: Layer) -> tuple[Layer, Layer]:
    """The nearest point of the relaxation: argmin (p - pre)^2 + (q - post)^2.

    With s = u / (u - l): above the chord, (l + t, s t) at t = clip(((pre - l) + s post) / (1 + s^2), 0, u - l); below
    ReLU, on its graph at clip(pre, l, 0) where pre <= 0, else at clip((pre + post) / 2, 0, u); inside, the point
    itself. A stable neuron's relaxation is the single edge between its two vertices.
    """
    xp = namespace(lower, upper, pre, post)
    zero = xp.zeros_like(lower)
    unstable = (lower < 0) & (upper > 0)
    width = xp.where(unstable, upper - lower, xp.ones_like(lower))
    slope = xp.where(unstable, upper / width, zero)
    # The graph of ReLU: its right edge from max(l, 0) to max(u, 0), its left edge from l to min(u, 0).
    right = xp.minimum(xp.maximum(0.5 * pre + 0.5 * post, xp.maximum(lower, zero)), xp.maximum(upper, zero))
    left = xp.minimum(xp.maximum(pre, xp.minimum(lower, zero)), xp.minimum(upper, zero))
    on_left = (upper <= 0) | ((lower < 0) & (pre <= 0))
    p, q = xp.where(on_left, left, right), xp.where(on_left, zero, right)
    rise = pre - lower
    above = unstable & (post > slope * rise)
    t = xp.minimum(xp.maximum((rise + slope * post) * (1.0 / (1.0 + slope * slope)), zero), width)
    p, q = xp.where(above, xp.minimum(lower + t, upper), p), xp.where(above, slope * t, q)
    inside = unstable & (post >= xp.maximum(pre, xp.zeros_like(pre))) & ~above
    return xp.where(inside, pre, p), xp.where(inside, post, q)
