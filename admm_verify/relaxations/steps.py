"""Hulls of increasing step functions: sign, heaviside, floor, ceil and round.

The graph is closed: a jump at t from a to b holds (t, a) and (t, b). With a tolerance e the function may take any value
of [p - e, p + e] at p, as in arithmetic that is off by e at most: the jump's lower corner is then (t + e, a) and its
upper one (t - e, b). Below, the hull has the corners of the first and the last jump, between which all others lie on or
above a line of slope 1; above likewise.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from admm_verify.arrays import namespace
from admm_verify.network.activations import ceil, floor, heaviside, round_half_even, sign
from admm_verify.relaxations.contract import Layer, Mask, Relaxation, SlopeRange
from admm_verify.relaxations.curves import along_segment, between, chord_slope, epsilon, tiniest

STEEPEST = 4.0
"""Slopes worth choosing, in those of a chord over [l, u]: the best one at the midpoint has at most 2."""


class Chain(NamedTuple):
    """One side of a hull: an end, the first and the last jump's corner, the other end."""

    left: tuple[Layer, Layer]
    first: tuple[Layer, Layer]
    last: tuple[Layer, Layer]
    right: tuple[Layer, Layer]

    @property
    def edges(self) -> tuple[tuple[Layer, Layer, Layer, Layer], ...]:
        """The three segments from left to right, as start and end."""
        return (*self.left, *self.first), (*self.first, *self.last), (*self.last, *self.right)

    @property
    def slopes(self) -> tuple[Layer, Layer, Layer]:
        """Of the segments; 0 for those without length."""
        zero = namespace(self.left[0]).zeros_like(self.left[0])
        first, second, third = (chord_slope(*edge, otherwise=zero) for edge in self.edges)
        return first, second, third

    def height(self, pre: Layer, lowest: bool) -> Layer:
        """The chain's height at pre, at vertical pieces the lowest, or the highest."""
        xp = namespace(pre)
        one, two, three = (along_segment(*edge, pre) for edge in self.edges)
        before, behind = (self.first[0], self.last[0])
        left, middle = (pre <= before, pre <= behind) if lowest else (pre < before, pre < behind)
        return xp.where(left, one, xp.where(middle, two, three))


class StepFunction(Relaxation):
    """What step functions share; a subclass says which jumps are within [l, u].

    Shapes: tolerance, a number or broadcasting to [..., n].
    """

    tolerance: Layer | float

    jumps = True
    evaluation_roundings = 0.0
    widest: float
    """A tolerance with which images still say something."""

    @abstractmethod
    def value(self, pre: Layer) -> Layer:
        """phi(pre), exact."""

    @abstractmethod
    def below(self, lower: Layer, upper: Layer) -> Chain:
        """The floor of the hull."""

    @abstractmethod
    def above(self, lower: Layer, upper: Layer) -> Chain:
        """The ceiling of the hull."""

    @abstractmethod
    def jump(self, lower: Layer, upper: Layer) -> Layer:
        """The jump within [l, u] that is next to its middle; any number where there is none."""

    def tolerant(self, tolerance: Layer) -> tuple[Layer, ...]:
        """The parameters of the node with a tolerance."""
        return (tolerance,)

    def halves(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """Before and behind a jump, with the jump itself in the part whose value it has: both are flat there.

        Arguments between the last float before the jump and the jump have the value of the lower part, whose end is one
        rounding away from them. With a tolerance any value may come out near the jump: what is that near is cut off on
        one side after the other, and no further.
        """
        xp = namespace(lower, upper)
        # A little more, so that rounding reaches nothing across.
        error = (1.0 + 1e-9) * (xp.zeros_like(lower) + self.tolerance)
        jump = self.jump(lower - error, upper + error)
        infinity = xp.full_like(jump, float("inf"))
        before, behind = xp.nextafter(jump - error, -infinity), xp.nextafter(jump + error, infinity)
        # Where lower parts end: at the jump, where it has their value or is all that is left of them.
        closed = (self.value(jump) == self.value(before)) | (before < lower)
        below, above = xp.where(closed, jump, before), xp.where(closed, behind, jump)
        wide = xp.where((lower < behind) & (behind < upper), behind, lower)
        wide = xp.where((lower < before) & (before < upper), before, wide)
        exact, open, middle = error == 0, self.open(lower, upper), lower / 2 + upper / 2
        below, above = xp.where(exact, below, wide), xp.where(exact, above, wide)
        return xp.where(open, below, middle), xp.where(open, above, middle)

    def rounded(self, ends: tuple[Layer, Layer], low: Layer, high: Layer) -> tuple[Layer, Layer]:
        """Ends [low, high] in another precision, moved inward by one spacing where they hold values that [l, u] has
        not: what climbs by them would see jumps that are cut off.
        """
        xp, (least, most) = namespace(low, high), self.image(*ends)
        infinity = xp.full_like(low + high, float("inf"))
        found = self.image(low, high)
        low = xp.where(found[0] < least, xp.nextafter(low, infinity), low)
        return low, xp.where(found[1] > most, xp.nextafter(high, -infinity), high)

    def open(self, lower: Layer, upper: Layer) -> Mask:
        low, high = self.image(lower, upper)
        return low < high

    def gradient(self, x: Layer) -> Layer:
        """1 / (1 + (x / s)^2) with s the mean |x| of the layer: where a small change of x may move a jump.

        The derivative itself is zero and leads no attack anywhere.
        """
        xp = namespace(x)
        scale = xp.mean(xp.abs(x), axis=-1, keepdims=True)
        share = x / xp.where(scale > 0, scale, xp.ones_like(scale))
        return 1.0 / (1.0 + share * share)

    def image(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """[phi(l - e), phi(u + e)], exact."""
        return self.value(self.lowered(lower)), self.value(self.raised(upper))

    def lowered(self, p: Layer) -> Layer:
        """p - e, rounded downward."""
        xp = namespace(p)
        tolerance = xp.zeros_like(p) + self.tolerance
        moved = p - tolerance
        return xp.where(tolerance == 0, p, xp.nextafter(moved, xp.full_like(moved, -float("inf"))))

    def raised(self, p: Layer) -> Layer:
        """p + e, rounded upward."""
        return -self.lowered(-p)

    def slopes(self, lower: Layer, upper: Layer) -> SlopeRange:
        """The slopes of the chains' edges, as far as they are worth choosing; by default the edge over (l + u) / 2."""
        xp = namespace(lower, upper)
        middle, width = 0.5 * lower + 0.5 * upper, upper - lower
        low, high = self.image(lower, upper)
        some = width > 0
        most = STEEPEST * xp.where(
            some, (high - low) / xp.where(some, width, xp.ones_like(width)), xp.zeros_like(width)
        )
        floor, ceiling = self.below(lower, upper), self.above(lower, upper)
        flat, rising, steep = floor.slopes
        last = between(xp.maximum(xp.maximum(flat, rising), steep), flat, most)
        below = xp.where(middle <= floor.first[0], flat, xp.where(middle <= floor.last[0], rising, steep))
        has_flat = floor.first[0] > floor.left[0]
        has_rising = floor.last[0] > floor.first[0]
        least = xp.where(has_flat, flat, xp.where(has_rising, rising, last))
        steep, rising, flat = ceiling.slopes
        first = between(xp.maximum(xp.maximum(flat, rising), steep), flat, most)
        above = xp.where(middle >= ceiling.last[0], flat, xp.where(middle >= ceiling.first[0], rising, steep))
        has_flat = ceiling.right[0] > ceiling.last[0]
        has_rising = ceiling.last[0] > ceiling.first[0]
        lowest = xp.where(has_flat, flat, xp.where(has_rising, rising, first))
        return SlopeRange(
            lower_min=least,
            lower_max=xp.maximum(last, least),
            upper_min=lowest,
            upper_max=xp.maximum(first, lowest),
            lower=between(below, least, xp.maximum(last, least)),
            upper=between(above, lowest, xp.maximum(first, lowest)),
        )

    def touch(self, lower: Layer, upper: Layer, slope: Layer, above: Mask) -> tuple[Layer, Layer]:
        """The corner where q - slope p is least, or greatest."""
        xp = namespace(lower, upper, slope)
        corners = [
            (xp.where(above, p, r), xp.where(above, q, s))
            for (p, q), (r, s) in zip(self.above(lower, upper), self.below(lower, upper), strict=True)
        ]
        best, *others = corners
        for other in others:
            gain = (other[1] - slope * other[0]) - (best[1] - slope * best[0])
            better = xp.where(above, -gain, gain) < 0
            best = xp.where(better, other[0], best[0]), xp.where(better, other[1], best[1])
        return best

    def support(self, lower: Layer, upper: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
        """min over the corners of post_weight q - pre_weight p.

        Error: 4 roundings of |post_weight| max|phi| + |pre_weight| max|p|, and those of the corners.
        """
        xp = namespace(lower, upper, post_weight, pre_weight)
        corners = (*self.below(lower, upper), *self.above(lower, upper))
        least, *others = (post_weight * q - pre_weight * p for p, q in corners)
        for other in others:
            least = xp.minimum(least, other)
        return least

    def hull(self, lower: Layer, upper: Layer, pre: Layer) -> tuple[Layer, Layer]:
        """The chains' heights at pre."""
        xp = namespace(lower, upper, pre)
        value = self.value(pre)
        floor, ceiling = self.below(lower, upper).height(pre, True), self.above(lower, upper).height(pre, False)
        # The graph itself is in the hull, and rounding must not exclude it.
        return xp.minimum(floor, value), xp.maximum(ceiling, value)

    def project(self, lower: Layer, upper: Layer, pre: Layer, post: Layer) -> tuple[Layer, Layer]:
        """The point itself inside and beside an end, else the nearest one of the chain on whose side it is.

        All edges of a chain run to the right or upwards, so that no two are more than a right angle apart: the nearest
        point is on the last one from whose start the way to the point leads along it.
        """
        xp = namespace(lower, upper, pre, post)
        near = between(pre, lower, upper)
        floor, ceiling = self.hull(lower, upper, near)
        above = post > ceiling
        best = near, post
        pairs = zip(self.above(lower, upper).edges, self.below(lower, upper).edges, strict=True)
        for number, (over, under) in enumerate(pairs):
            a, b, c, d = (xp.where(above, *pair) for pair in zip(over, under, strict=True))
            p, q, onward = _nearest(a, b, c, d, pre, post)
            chosen = (above | (post < floor)) & (onward if number else xp.ones_like(onward))
            best = xp.where(chosen, p, best[0]), xp.where(chosen, q, best[1])
        return between(best[0], lower, upper), best[1]

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        """The steepest edge of floor and ceiling, infinite where one is vertical; phi itself has no such constant."""
        xp = namespace(lower, upper)
        steepest = xp.zeros_like(lower + upper)
        for chain in (self.below(lower, upper), self.above(lower, upper)):
            for (start, low, end, high), slope in zip(chain.edges, chain.slopes, strict=True):
                upright = (end <= start) & (high > low)
                raised = slope * (1.0 + 4.0 * epsilon(slope)) + tiniest(slope)
                steepest = xp.maximum(steepest, xp.where(upright, xp.full_like(raised, float("inf")), raised))
        return steepest

    def carried(self, lower: Layer, upper: Layer, error: Layer) -> Layer:
        """Nothing within the tolerance, which the hull has taken in; else all jumps that the error may reach."""
        xp = namespace(lower, upper, error)
        infinity = xp.full_like(lower + error, float("inf"))
        low, high = xp.nextafter(lower - error, -infinity), xp.nextafter(upper + error, infinity)
        rise = self.value(self.raised(high)) - self.value(self.lowered(low))
        return xp.where(error <= self.tolerance, xp.zeros_like(rise), rise * (1.0 + 1e-9))


class Jump(StepFunction):
    """One jump, at 0."""

    widest = float("inf")

    def jump(self, lower: Layer, upper: Layer) -> Layer:
        return namespace(lower).zeros_like(lower)

    def below(self, lower: Layer, upper: Layer) -> Chain:
        least = self.value(self.lowered(lower))
        corner = between(self.tolerance + namespace(lower).zeros_like(lower), lower, upper), least
        return Chain((lower, least), corner, corner, (upper, self.value(self.lowered(upper))))

    def above(self, lower: Layer, upper: Layer) -> Chain:
        most = self.value(self.raised(upper))
        corner = between(-self.tolerance + namespace(lower).zeros_like(lower), lower, upper), most
        return Chain((lower, self.value(self.raised(lower))), corner, corner, (upper, most))


@dataclass(frozen=True, eq=False)
class Sign(Jump):
    """-1 where x < 0, 0 at 0, 1 where x > 0."""

    tolerance: Layer | float = 0.0

    zero_at_zero = True

    def value(self, pre: Layer) -> Layer:
        """phi(pre)."""
        return sign(pre, ())


@dataclass(frozen=True, eq=False)
class Heaviside(Jump):
    """0 where x < 0, at_zero at 0, 1 where x > 0; 0 <= at_zero <= 1."""

    at_zero: Layer
    tolerance: Layer | float = 0.0

    def value(self, pre: Layer) -> Layer:
        """phi(pre)."""
        return heaviside(pre, (self.at_zero,))

    def tolerant(self, tolerance: Layer) -> tuple[Layer, ...]:
        return self.at_zero, tolerance


class Stairs(StepFunction):
    """Whole numbers, with a jump of 1 from each to the next."""

    zero_at_zero = True
    widest = 1.0
    starts: float
    """Where the step of 0 begins; it is 1 long."""

    def jump(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower, upper)
        first, last = xp.ceil(lower - self.starts), xp.floor(upper - self.starts)
        found = self.starts + between(xp.round(lower / 2 + upper / 2 - self.starts), first, last)
        infinity = xp.full_like(found, float("inf"))
        # At an end phi may have the value of the inside already.
        inside = self.value(found) == self.value(xp.nextafter(found, -infinity))
        found = xp.where((found >= upper) & inside, found - 1.0, found)
        inside = self.value(found) == self.value(xp.nextafter(found, infinity))
        return xp.where((found <= lower) & inside, found + 1.0, found)

    def below(self, lower: Layer, upper: Layer) -> Chain:
        xp = namespace(lower, upper)
        least, last = self.value(self.lowered(lower)), self.value(self.lowered(upper))
        first = between(least + (self.starts + 1.0) + self.tolerance, lower, upper)
        corner = xp.maximum(first, between(last + self.starts + self.tolerance, lower, upper))
        return Chain((lower, least), (first, least), (corner, xp.maximum(last - 1.0, least)), (upper, last))

    def above(self, lower: Layer, upper: Layer) -> Chain:
        xp = namespace(lower, upper)
        first, most = self.value(self.raised(lower)), self.value(self.raised(upper))
        last = between(most + self.starts - self.tolerance, lower, upper)
        corner = xp.minimum(last, between(first + (self.starts + 1.0) - self.tolerance, lower, upper))
        return Chain((lower, first), (corner, xp.minimum(first + 1.0, most)), (last, most), (upper, most))

    def gradient(self, x: Layer) -> Layer:
        """1, the mean slope."""
        return namespace(x).ones_like(x)


@dataclass(frozen=True, eq=False)
class Floor(Stairs):
    """The largest whole number that is not above x."""

    tolerance: Layer | float = 0.0

    starts = 0.0

    def value(self, pre: Layer) -> Layer:
        """phi(pre)."""
        return floor(pre, ())


@dataclass(frozen=True, eq=False)
class Ceil(Stairs):
    """The least whole number that is not below x."""

    tolerance: Layer | float = 0.0

    starts = -1.0

    def value(self, pre: Layer) -> Layer:
        """phi(pre)."""
        return ceil(pre, ())


@dataclass(frozen=True, eq=False)
class Round(Stairs):
    """The nearest whole number, of two the even one."""

    tolerance: Layer | float = 0.0

    starts = -0.5

    def value(self, pre: Layer) -> Layer:
        """phi(pre)."""
        return round_half_even(pre, ())


def _nearest(
    start: Layer, start_post: Layer, end: Layer, end_post: Layer, pre: Layer, post: Layer
) -> tuple[Layer, Layer, Mask]:
    """The nearest point of a segment of any direction, and whether the way to the point leads along it from its start.

    Measured along the axis that the segment is longer in.
    """
    xp = namespace(start, pre)
    run, rise = end - start, end_post - start_post
    steep = xp.abs(rise) > xp.abs(run)
    long, short = xp.where(steep, rise, run), xp.where(steep, run, rise)
    ratio = short / xp.where(long == 0, xp.ones_like(long), long)
    far, off = pre - start, post - start_post
    shift = (xp.where(steep, off, far) + xp.where(steep, far, off) * ratio) / (1.0 + ratio * ratio)
    along = between(shift, xp.zeros_like(long), long)
    beside = along * ratio
    place = start + xp.where(steep, beside, along), start_post + xp.where(steep, along, beside)
    return *place, (shift > 0) & (long > 0)


KINDS: dict[str, type[Relaxation]] = {
    "ceil": Ceil,
    "floor": Floor,
    "heaviside": Heaviside,
    "round": Round,
    "sign": Sign,
}
