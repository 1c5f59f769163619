"""Hulls of increasing activations convex left of an inflection point and concave right of it, or convex everywhere.

On [l, u] the hull's floor follows phi on [l, t] and then the chord to u, where t is the point whose tangent meets
(u, phi(u)), moved into [l, u]; the ceiling is the chord from l to some s and phi on [s, u].
"""

from abc import abstractmethod
from dataclasses import dataclass

from admm_verify.arrays import namespace
from admm_verify.network.activations import elu, sigmoid, softplus, tanh
from admm_verify.relaxations.contract import Layer, Mask, Relaxation, SlopeLimits, SlopeRange
from admm_verify.relaxations.curves import (
    along_segment,
    between,
    chord_slope,
    epsilon,
    nearest_on_curve,
    nearest_on_line,
    tangent_point,
    tiniest,
)

INFINITY = float("inf")


class SShaped(Relaxation):
    """What these relaxations share; a subclass gives phi, its derivatives and the inverse of phi' where phi is convex.

    Computed phi, phi' and phi'' are taken to be within 8 roundings, relatively, unless they underflow.
    """

    inflection: float
    """Where phi turns concave: 0, with phi(-x) = 2 phi(0) - phi(x), or infinity."""
    values: tuple[float, float]
    """The infimum and supremum of phi."""
    steepest: float
    """The supremum of phi'."""
    straight_from: float
    """Where a convex phi becomes a line, up to rounding in float64; infinity for others."""

    @abstractmethod
    def value(self, x: Layer) -> Layer:
        """phi(x)."""

    @abstractmethod
    def derivative(self, x: Layer) -> Layer:
        """phi'(x), relatively accurate; at a kink the left one."""

    @abstractmethod
    def bend(self, x: Layer) -> Layer:
        """phi''(x) / phi'(x)."""

    @abstractmethod
    def inverse_derivative(self, slope: Layer) -> Layer:
        """The x on the convex branch where phi'(x) comes nearest to the slope, for any finite slope."""

    def gradient(self, x: Layer) -> Layer:
        return self.derivative(x)

    def subgradient(self, x: Layer, slope: Layer) -> Layer:
        """The slope of a tangent at x, at a kink the one nearest to the slope given."""
        return self.derivative(x)

    def contacts(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """The points t and s: the floor is a chord on [t, u] and the ceiling on [l, s]."""
        xp = namespace(lower, upper)
        if self.inflection == INFINITY:
            return between(xp.full_like(lower, self.straight_from), lower, upper), upper
        middle = between(xp.zeros_like(lower), lower, upper)
        t = between(tangent_point(self, upper), lower, middle)
        return t, between(-tangent_point(self, -lower), middle, upper)

    def image(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """[phi(l), phi(u)], 32 roundings and one smallest normal number outward, within phi's values.

        The smallest normal number makes max|phi| of an image a measure of underflow errors in phi too.
        """
        xp = namespace(lower, upper)
        low, high = self.value(lower), self.value(upper)
        down = low - (16.0 * epsilon(low) * xp.abs(low) + tiniest(low))
        up = high + (16.0 * epsilon(high) * xp.abs(high) + tiniest(high))
        least, greatest = self.values
        return xp.maximum(down, xp.full_like(down, least)), xp.minimum(up, xp.full_like(up, greatest))

    def slopes(self, lower: Layer, upper: Layer) -> SlopeRange:
        """phi' on the curved part of floor and ceiling, the chord's on the rest; by default that at m = (l + u) / 2.

        Among lines on one side of phi the one of least area is best at m, so it touches the hull's boundary there: the
        tangent at m where the boundary is curved, the chord elsewhere.
        """
        xp = namespace(lower, upper)
        t, s = self.contacts(lower, upper)
        left, right = self.derivative(lower), self.derivative(upper)
        floor_chord = self._chord(t, upper)
        ceiling_chord = self._chord(lower, s)
        lower_min = xp.where(t > lower, xp.minimum(left, floor_chord), floor_chord)
        upper_min = xp.where(s < upper, xp.minimum(right, ceiling_chord), ceiling_chord)
        middle = 0.5 * lower + 0.5 * upper
        tangent = self.derivative(middle)
        return SlopeRange(
            lower_min=lower_min,
            lower_max=floor_chord,
            upper_min=upper_min,
            upper_max=ceiling_chord,
            lower=xp.where(middle < t, between(tangent, lower_min, floor_chord), floor_chord),
            upper=xp.where(middle > s, between(tangent, upper_min, ceiling_chord), ceiling_chord),
        )

    def touch(self, lower: Layer, upper: Layer, slope: Layer, above: Mask) -> tuple[Layer, Layer]:
        """The best of l, u and the point of that derivative on the convex, or the concave, branch."""
        xp = namespace(lower, upper, slope)
        inner = self._stationary(lower, upper, slope, above)[2]
        best = (lower, self.value(lower))
        for p in (inner, upper):
            q = self.value(p)
            gain = (q - best[1]) - slope * (p - best[0])
            better = xp.where(above, -gain, gain) < 0
            best = xp.where(better, p, best[0]), xp.where(better, q, best[1])
        return best

    def support(self, lower: Layer, upper: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
        """A lower bound of min over [l, u] of h(p) = a phi(p) - g p, which is the minimum over the hull.

        On the piece [x, y] where h is convex, h(p) >= h(t) + h'(t) (p - t) >= h(t) + min(h'(t) (x - t), h'(t) (y - t))
        for any t: with t near the stationary point the bound is tight, and sound however t was found. On the rest h is
        concave, so its minimum there is at the far end or at the piece's end. The computed h'(t) is charged 16
        roundings and one smallest normal number of |a| phi'(t).

        Error: the sum of those products and values, fewer than 32 roundings of |a| max|phi| + |g| max|p|.
        """
        xp = namespace(lower, upper, post_weight, pre_weight)
        # Beyond 4 the ratio g / a is steeper than any phi' and only its sign matters; so nothing overflows.
        moderate = xp.abs(pre_weight) < 4.0 * xp.abs(post_weight)
        steep = xp.where((pre_weight < 0) == (post_weight < 0), 4.0 * xp.ones_like(post_weight), -4.0)
        ratio = xp.where(moderate, pre_weight / xp.where(moderate, post_weight, xp.ones_like(post_weight)), steep)
        falling = post_weight < 0
        start, end, t = self._stationary(lower, upper, ratio, falling)
        slope = self.subgradient(t, ratio)
        charge = xp.abs(post_weight) * (8.0 * epsilon(slope) * slope + tiniest(slope))
        tilt = post_weight * slope - pre_weight
        zero = xp.zeros_like(tilt)
        drop = xp.minimum((tilt + charge) * (start - t), (tilt - charge) * (end - t))
        bound = post_weight * self.value(t) - pre_weight * t + xp.minimum(drop, zero)
        far = xp.where(falling, lower, upper)
        return xp.minimum(bound, post_weight * self.value(far) - pre_weight * far)

    def hull(self, lower: Layer, upper: Layer, pre: Layer) -> tuple[Layer, Layer]:
        """phi on the curved parts and chords between points of the graph elsewhere: from inside for any t and s."""
        return self._heights(lower, upper, self.contacts(lower, upper), pre)

    def project(self, lower: Layer, upper: Layer, pre: Layer, post: Layer) -> tuple[Layer, Layer]:
        """The point itself inside, else the nearest one on the chord or on the curve, on whichever side of their kink.

        A point above the hull at the p in [l, u] next to it belongs on the ceiling, a point below on the floor.
        """
        xp = namespace(lower, upper, pre, post)
        near = between(pre, lower, upper)
        t, s = self.contacts(lower, upper)
        floor, ceiling = self._heights(lower, upper, (t, s), near)
        above = post > ceiling
        inside = (pre == near) & (post >= floor) & ~above
        kink, far = xp.where(above, s, t), xp.where(above, lower, upper)
        slope = self._chord(xp.minimum(kink, far), xp.maximum(kink, far))
        p, q, shift = nearest_on_line(kink, self.value(kink), far, slope, pre, post)
        straight = xp.where(above, -shift, shift) > 0
        start, end = xp.where(above, s, lower), xp.where(above, upper, t)
        curved = nearest_on_curve(self, start, end, pre, post, above)
        p, q = xp.where(straight, p, curved[0]), xp.where(straight, q, curved[1])
        return xp.where(inside, pre, p), xp.where(inside, post, q)

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        """phi' where [l, u] comes nearest to the steepest point, 32 roundings and one smallest normal number upward."""
        xp = namespace(lower, upper)
        center = xp.full_like(lower, self.inflection)
        here = self.derivative(between(center, lower, upper))
        raised = here * (1.0 + 16.0 * epsilon(here)) + tiniest(here)
        return xp.minimum(raised, xp.full_like(raised, self.steepest))

    def slope_limits(self) -> SlopeLimits:
        return 0.0, self.steepest

    def slopes_over(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """phi' at one of the ends, with as much room as `gain` has, and that."""
        xp = namespace(lower, upper)
        here = xp.minimum(self.derivative(lower), self.derivative(upper))
        lowered = here * (1.0 - 16.0 * epsilon(here)) - tiniest(here)
        return xp.maximum(lowered, xp.zeros_like(lowered)), self.gain(lower, upper)

    def _heights(self, lower: Layer, upper: Layer, contacts: tuple[Layer, Layer], pre: Layer) -> tuple[Layer, Layer]:
        """Floor and ceiling at pre, given the points where they turn straight."""
        xp = namespace(lower, upper, pre)
        t, s = contacts
        value = self.value(pre)
        floor = along_segment(t, self.value(t), upper, self.value(upper), pre)
        ceiling = along_segment(lower, self.value(lower), s, self.value(s), pre)
        # The graph itself is in the hull, and rounding must not exclude it.
        return xp.where(pre > t, xp.minimum(floor, value), value), xp.where(pre < s, xp.maximum(ceiling, value), value)

    def _chord(self, start: Layer, end: Layer) -> Layer:
        """The slope of a chord, phi' if it has no length; the mean value theorem bounds it against cancellation."""
        xp = namespace(start, end)
        slopes = self.derivative(start), self.derivative(end)
        slope = chord_slope(start, self.value(start), end, self.value(end), otherwise=slopes[0])
        least = xp.minimum(*slopes)
        center = xp.full_like(slope, self.inflection)
        return between(slope, least, self.derivative(between(center, start, end)))

    def _stationary(self, lower: Layer, upper: Layer, slope: Layer, falling: Mask) -> tuple[Layer, Layer, Layer]:
        """The piece of [l, u] where phi is convex (concave where falling), and the point of that slope next to it."""
        xp = namespace(lower, upper, slope)
        center = between(xp.full_like(lower, self.inflection), lower, upper)
        start, end = xp.where(falling, center, lower), xp.where(falling, upper, center)
        point = self.inverse_derivative(slope)
        return start, end, between(xp.where(falling, -point, point), start, end)


def _logistic_derivative(x: Layer) -> Layer:
    """The derivative e / (1 + e)^2 of the sigmoid, with e = exp(-|x|), relatively accurate on both tails."""
    xp = namespace(x)
    small = xp.exp(-xp.abs(x))
    return small / ((1.0 + small) * (1.0 + small))


def _logistic_inverse(ratio: Layer) -> Layer:
    """The x <= 0 where the sigmoid's derivative is ratio / 4: log(ratio) - 2 log(1 + sqrt(1 - ratio))."""
    xp = namespace(ratio)
    one = xp.ones_like(ratio)
    ratio = between(ratio, tiniest(ratio) * one, one)
    return xp.log(ratio) - 2.0 * xp.log1p(xp.sqrt(1.0 - ratio))


@dataclass(frozen=True, eq=False)
class Sigmoid(SShaped):
    """1 / (1 + exp(-x))."""

    inflection = 0.0
    values = (0.0, 1.0)
    steepest = 0.25
    straight_from = INFINITY

    def value(self, x: Layer) -> Layer:
        return sigmoid(x, ())

    def derivative(self, x: Layer) -> Layer:
        return _logistic_derivative(x)

    def bend(self, x: Layer) -> Layer:
        return -namespace(x).tanh(0.5 * x)

    def inverse_derivative(self, slope: Layer) -> Layer:
        return _logistic_inverse(4.0 * slope)


@dataclass(frozen=True, eq=False)
class Tanh(SShaped):
    """tanh(x) = 2 sigmoid(2 x) - 1."""

    zero_at_zero = True
    inflection = 0.0
    values = (-1.0, 1.0)
    steepest = 1.0
    straight_from = INFINITY

    def value(self, x: Layer) -> Layer:
        return tanh(x, ())

    def derivative(self, x: Layer) -> Layer:
        return 4.0 * _logistic_derivative(2.0 * x)

    def bend(self, x: Layer) -> Layer:
        return -2.0 * namespace(x).tanh(x)

    def inverse_derivative(self, slope: Layer) -> Layer:
        return 0.5 * _logistic_inverse(slope)


@dataclass(frozen=True, eq=False)
class Softplus(SShaped):
    """log(1 + exp(x)), convex, with the sigmoid as its derivative."""

    inflection = INFINITY
    values = (0.0, INFINITY)
    steepest = 1.0
    straight_from = 40.0

    def value(self, x: Layer) -> Layer:
        return softplus(x, ())

    def derivative(self, x: Layer) -> Layer:
        return sigmoid(x, ())

    def bend(self, x: Layer) -> Layer:
        return sigmoid(-x, ())

    def inverse_derivative(self, slope: Layer) -> Layer:
        xp = namespace(slope)
        one = xp.ones_like(slope)
        slope = between(slope, tiniest(slope) * one, (1.0 - epsilon(slope)) * one)
        return xp.log(slope) - xp.log1p(-slope)


@dataclass(frozen=True, eq=False)
class Elu(SShaped):
    """x where x >= 0, else alpha (exp(x) - 1); convex, with a kink at 0 unless alpha is 1.

    Shapes: alpha [n] or broadcasting to [..., n], 0 < alpha <= 1.
    """

    alpha: Layer

    zero_at_zero = True
    inflection = INFINITY
    values = (-1.0, INFINITY)
    steepest = 1.0
    straight_from = 0.0

    def value(self, x: Layer) -> Layer:
        return elu(x, (self.alpha,))

    def derivative(self, x: Layer) -> Layer:
        xp = namespace(x)
        return xp.where(x > 0, xp.ones_like(x), self.alpha * xp.exp(xp.minimum(x, xp.zeros_like(x))))

    def bend(self, x: Layer) -> Layer:
        xp = namespace(x)
        return xp.where(x > 0, xp.zeros_like(x), xp.ones_like(x))

    def inverse_derivative(self, slope: Layer) -> Layer:
        xp = namespace(slope)
        ratio = between(slope, tiniest(slope) * xp.ones_like(slope), self.alpha) / self.alpha
        return xp.minimum(xp.log(ratio), xp.zeros_like(ratio))

    def gradient(self, x: Layer) -> Layer:
        return namespace(x).where(x >= 0, namespace(x).ones_like(x), self.derivative(x))

    def subgradient(self, x: Layer, slope: Layer) -> Layer:
        xp = namespace(x, slope)
        return xp.where(x == 0, between(slope, self.alpha, xp.ones_like(slope)), self.derivative(x))


KINDS: dict[str, type[Relaxation]] = {"elu": Elu, "sigmoid": Sigmoid, "softplus": Softplus, "tanh": Tanh}
