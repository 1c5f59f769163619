"""Hulls of piecewise linear activations with at most one convex and one concave kink: PReLU, |x| and clipping."""

from abc import abstractmethod
from dataclasses import dataclass

from admm_verify.arrays import namespace
from admm_verify.network.activations import clip, prelu
from admm_verify.relaxations.contract import Layer, Mask, Relaxation, SlopeLimits, SlopeRange
from admm_verify.relaxations.curves import along_segment, between, chord_slope, nearest_on_line, tiniest


@dataclass(frozen=True, eq=False)
class Quadrangle:
    """The hull conv{(l, phi(l)), (a, phi(a)), (b, phi(b)), (u, phi(u))}: a chain l, a, u below and l, b, u above.

    Valid when: l <= a, b <= u, and a chain without a kink repeats an end.
    """

    left: tuple[Layer, Layer]
    below: tuple[Layer, Layer]
    above: tuple[Layer, Layer]
    right: tuple[Layer, Layer]

    @property
    def corners(self) -> tuple[tuple[Layer, Layer], ...]:
        """The vertices (p, phi(p))."""
        return self.left, self.below, self.above, self.right

    @property
    def edges(self) -> tuple[tuple[Layer, Layer, Layer, Layer], ...]:
        """The boundary's segments, as start and end."""
        return (
            (*self.left, *self.below),
            (*self.below, *self.right),
            (*self.left, *self.above),
            (*self.above, *self.right),
        )


class PiecewiseLinear(Relaxation):
    """What piecewise linear relaxations share; a subclass says where phi bends."""

    @abstractmethod
    def value(self, pre: Layer) -> Layer:
        """phi(pre)."""

    @abstractmethod
    def kinks(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """The convex and the concave kink, each moved to the nearest point of [l, u]."""

    @abstractmethod
    def piece_slope(self, lower: Layer, upper: Layer) -> Layer:
        """The slope of phi where it has no kink inside [l, u]; any number elsewhere."""

    def slopes(self, lower: Layer, upper: Layer) -> SlopeRange:
        """The slopes of the chains' edges; by default the edge over (l + u) / 2.

        Among lines on one side of phi the one of least area is best at the midpoint of [l, u]; for ReLU that is CROWN's
        adaptive choice.
        """
        xp = namespace(lower, upper)
        shape = self._quadrangle(lower, upper)
        (low, _), (a, _), (b, _), (high, _) = shape.corners
        inside = ((a > low) & (a < high)) | ((b > low) & (b < high))
        chord = chord_slope(*shape.left, *shape.right, otherwise=self.piece_slope(lower, upper))
        parts = [
            xp.where(inside, chord_slope(*edge, otherwise=chord), self.piece_slope(lower, upper))
            for edge in shape.edges
        ]
        # An edge without length leaves the chord between the ends as the whole chain.
        first, second, left, right = parts
        return SlopeRange(
            lower_min=xp.minimum(first, second),
            lower_max=xp.maximum(first, second),
            upper_min=xp.minimum(left, right),
            upper_max=xp.maximum(left, right),
            lower=xp.where(high - a > a - low, second, first),
            upper=xp.where(high - b > b - low, right, left),
        )

    def touch(self, lower: Layer, upper: Layer, slope: Layer, above: Mask) -> tuple[Layer, Layer]:
        """The vertex where phi(p) - slope p is least, or greatest."""
        xp = namespace(lower, upper, slope)
        best, *others = self._quadrangle(lower, upper).corners
        for other in others:
            gain = (other[1] - slope * other[0]) - (best[1] - slope * best[0])
            better = xp.where(above, -gain, gain) < 0
            best = xp.where(better, other[0], best[0]), xp.where(better, other[1], best[1])
        return best

    def support(self, lower: Layer, upper: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
        """min over the vertices of post_weight q - pre_weight p.

        Error: at most 4 roundings of |post_weight| max|phi| + |pre_weight| max|p|.
        """
        xp = namespace(lower, upper, post_weight, pre_weight)
        first, *others = (post_weight * q - pre_weight * p for p, q in self._quadrangle(lower, upper).corners)
        for other in others:
            first = xp.minimum(first, other)
        return first

    def hull(self, lower: Layer, upper: Layer, pre: Layer) -> tuple[Layer, Layer]:
        """The chains' heights at pre."""
        xp = namespace(lower, upper, pre)
        heights = [along_segment(*edge, pre) for edge in self._quadrangle(lower, upper).edges]
        a, b = self.kinks(lower, upper)
        value = self.value(pre)
        floor, ceiling = xp.where(pre <= a, heights[0], heights[1]), xp.where(pre <= b, heights[2], heights[3])
        # The graph itself is in the hull, and rounding must not exclude it.
        return xp.minimum(floor, value), xp.maximum(ceiling, value)

    def project(self, lower: Layer, upper: Layer, pre: Layer, post: Layer) -> tuple[Layer, Layer]:
        """The point itself inside, else the nearest one of the chain on whose side it is, left or right of the kink."""
        xp = namespace(lower, upper, pre, post)
        near = between(pre, lower, upper)
        floor, ceiling = self.hull(lower, upper, near)
        above = post > ceiling
        inside = (pre == near) & (post >= floor) & ~above
        shape = self._quadrangle(lower, upper)
        (left, left_post), (right, right_post) = shape.left, shape.right
        kink, kink_post = (
            xp.where(above, shape.above[0], shape.below[0]),
            xp.where(above, shape.above[1], shape.below[1]),
        )
        zero = xp.zeros_like(kink)
        slope = chord_slope(kink, kink_post, right, right_post, otherwise=zero)
        p, q, shift = nearest_on_line(kink, kink_post, right, slope, pre, post)
        slope = chord_slope(left, left_post, kink, kink_post, otherwise=zero)
        other, other_post, _ = nearest_on_line(kink, kink_post, left, slope, pre, post)
        # Left of the kink of |x| a point may see the right piece across the hull, but is never nearest to it.
        onward = (shift > 0) & (pre > kink) & (right > kink)
        p, q = xp.where(onward, p, other), xp.where(onward, q, other_post)
        return xp.where(inside, pre, p), xp.where(inside, post, q)

    def _quadrangle(self, lower: Layer, upper: Layer) -> Quadrangle:
        low, a, b, high = ((p, self.value(p)) for p in (lower, *self.kinks(lower, upper), upper))
        return Quadrangle(low, a, b, high)


@dataclass(frozen=True, eq=False)
class PReLU(PiecewiseLinear):
    """x where x >= 0, else slope x; slope <= 1, so that it is convex; -1 is |x|.

    Shapes: slope [n] or broadcasting to [..., n].
    """

    slope: Layer

    kinked = zero_at_zero = True
    evaluation_roundings = 2.0
    """One product, or max(x, 0) + slope min(x, 0)."""

    def value(self, pre: Layer) -> Layer:
        """phi(pre); one rounding."""
        return prelu(pre, (self.slope,))

    def gradient(self, x: Layer) -> Layer:
        return namespace(x).where(x >= 0, namespace(x).ones_like(x), self.slope)

    def kinks(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """0 below, none above."""
        return between(namespace(lower, upper).zeros_like(lower), lower, upper), upper

    def piece_slope(self, lower: Layer, upper: Layer) -> Layer:
        """1 on the right, the slope on the left."""
        xp = namespace(lower, upper)
        return xp.where(lower >= 0, xp.ones_like(lower), self.slope)

    def image(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """The least and the greatest value at l, 0 if inside, and u; products go outward unless they are exact.

        The smallest normal number makes max|phi| of an image a measure of underflow in the product, too.
        """
        xp = namespace(lower, upper)
        down, up = [], []
        for end, value in ((lower, self.value(lower)), (upper, self.value(upper))):
            exact = (end >= 0) | (self.slope == 0) | (xp.abs(self.slope) == 1)
            infinity, tiny = xp.full_like(value, float("inf")), tiniest(value)
            down.append(xp.where(exact, value, xp.nextafter(value, -infinity) - tiny))
            up.append(xp.where(exact, value, xp.nextafter(value, infinity) + tiny))
        least, greatest = xp.minimum(*down), xp.maximum(*up)
        return xp.where((lower < 0) & (upper > 0), xp.minimum(least, xp.zeros_like(least)), least), greatest

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        """max |slope| over the pieces met; both at 0."""
        xp = namespace(lower, upper)
        zero, one = xp.zeros_like(lower), xp.ones_like(lower)
        left = xp.where((lower < 0) | (upper <= 0), xp.abs(self.slope), zero)
        return xp.maximum(left, xp.where((upper > 0) | (lower >= 0), one, zero))

    def slope_limits(self) -> SlopeLimits:
        """The slope on the left is at most 1."""
        return self.slope, 1.0

    def slopes_over(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        xp = namespace(lower, upper)
        one, left = xp.ones_like(lower), self.slope + xp.zeros_like(lower)
        return xp.where(lower >= 0, one, left), xp.where(upper > 0, one, left)


@dataclass(frozen=True, eq=False)
class Clip(PiecewiseLinear):
    """min(max(x, low), high), with low < high, either of which may be infinite.

    Shapes: low, high [n] or broadcasting to [..., n].
    """

    low: Layer
    high: Layer

    evaluation_roundings = 0.0

    def value(self, pre: Layer) -> Layer:
        """phi(pre), exact."""
        return clip(pre, (self.low, self.high))

    def gradient(self, x: Layer) -> Layer:
        return namespace(x).astype((x >= self.low) & (x < self.high), x.dtype)

    def kinks(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """low below and high above."""
        return between(self.low, lower, upper), between(self.high, lower, upper)

    def piece_slope(self, lower: Layer, upper: Layer) -> Layer:
        """1 between low and high, else 0."""
        return self.gain(lower, upper)

    def image(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """[phi(l), phi(u)], exact."""
        return self.value(lower), self.value(upper)

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        """1 where [l, u] enters (low, high), else 0."""
        xp = namespace(lower, upper)
        one = xp.ones_like(lower)
        return xp.where((upper > self.low) & (lower < self.high), one, xp.zeros_like(one))

    def slope_limits(self) -> SlopeLimits:
        return 0.0, 1.0

    def slopes_over(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        inside = (lower >= self.low) & (upper <= self.high)
        return namespace(lower).astype(inside, lower.dtype), self.gain(lower, upper)


KINDS: dict[str, type[Relaxation]] = {"clip": Clip, "prelu": PReLU}
