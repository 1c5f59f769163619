"""The linear bounds a scheme chooses from: slopes in, multipliers, intercepts and ascent directions out.

A neuron with coefficient a > 0 is bounded from below, one with a < 0 from above. Where only the lower line can be
chosen (ReLU and other convex functions with one kink at 0) a neuron has one slope, else two: lower, then upper.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from admm_verify.arrays import SMALLEST, Array, Float, Placement, inner, namespace, take_rows
from admm_verify.relaxations.contract import Hull, Layer, Mask, Relaxation, SlopeRange

Slopes = Float[Array, "*#sides"]
"""The slopes of a layer's neurons: the lower ones, then, where they can be chosen, the upper ones."""


@dataclass(frozen=True, eq=False)
class Contact:
    """Lines in use: their slopes g / a, of every operand, and where they touch the graph, or their intercepts; neither
    for kinks, whose lines pass through fixed points.
    """

    slope: Layer
    p: Layer | None = None
    q: Layer | None = None
    intercept: Array | None = None

    @property
    def height(self) -> Layer:
        """The lines at zero."""
        if self.intercept is not None:
            return self.intercept
        assert self.p is not None and self.q is not None, "Lines through kinks know their intercepts themselves"
        return self.q - self.slope * self.p


class Lines(Protocol):
    """Linear bounds of a layer as functions of its slopes."""

    def contact(self, a: Layer, slopes: Slopes) -> "Contact":
        """The lines in use: the lower ones where a > 0, else the upper ones."""
        ...

    def multiplier(self, a: Layer, contact: "Contact") -> Layer:
        """The multipliers g of the operands, slope a."""
        ...

    @property
    def minimum(self) -> Slopes:
        """Least slopes worth choosing."""
        ...

    @property
    def maximum(self) -> Slopes:
        """Largest slopes worth choosing."""
        ...

    @property
    def start(self) -> Slopes:
        """CROWN's slopes."""
        ...

    @property
    def pace(self) -> Slopes:
        """(maximum - minimum) / (u - l), or 0 where there is nothing to choose."""
        ...

    @property
    def parallel(self) -> Slopes:
        """Slopes of lines below and above that are parallel, and as near to each other as such lines get."""
        ...

    @property
    def middle(self) -> Layer:
        """The slopes of the parallel lines, of every operand."""
        ...

    @property
    def bent(self) -> Mask:
        """Where the relaxation is not a line."""
        ...

    def loss(self, a: Layer) -> Layer:
        """What the relaxation takes from a bound, at most, for each of its operands."""
        ...

    def value(self, a: Layer, contact: "Contact") -> Float[Array, "*#rows"]:
        """sum over neurons of a times the intercept in use."""
        ...

    def post(self, a: Layer, contact: "Contact", pre: Layer) -> Layer:
        """The line in use at pre."""
        ...

    def direction(self, a: Layer, contact: "Contact", pre: Layer) -> Slopes:
        """The slopes' direction of ascent: pre minus the touching point, turned where the line is above."""
        ...

    def nearest(self, a: Layer, multiplier: Layer) -> Layer:
        """The nearest multiplier that belongs to a slope in range."""
        ...

    def recover(self, a: Layer, multiplier: Layer) -> Slopes:
        """Slopes that give the multiplier back where a is not 0, else CROWN's."""
        ...

    def take(self, rows: Array) -> "Lines":
        """The lines of the given rows only."""
        ...


class MovedLines(Lines, Protocol):
    """Linear bounds with slopes on both sides, each of which moves by itself."""

    @property
    def span(self) -> Slopes:
        """The unit of a step."""
        ...

    def gradient(self, a: Layer, contact: "Contact", pre: Layer) -> Slopes:
        """The supergradient of D in the slopes."""
        ...


class PlaneHull(Hull):
    """The hull of a function of several operands, whose linear bounds are planes."""

    sides: int
    """Slopes of each value."""

    @abstractmethod
    def planes(self, lower: Layer, upper: Layer) -> MovedLines:
        """The linear bounds over ranges of all operands."""


@dataclass(frozen=True, eq=False)
class KinkLines:
    """One chord above; below, any line through the origin with a slope between minimum and maximum.

    Stable neurons have minimum = maximum = upper_slope and no intercept. For multipliers g = slope(a) a in floating
    point, `support` differs from the exact support of the relaxation by a few roundings of |g| max|p| at most.
    """

    upper_slope: Layer
    upper_intercept: Layer
    minimum: Layer
    maximum: Layer
    start: Layer
    pace: Layer

    @classmethod
    def of(cls, slopes: SlopeRange, lower: Layer, upper: Layer) -> "KinkLines":
        """From the slopes' ranges."""
        xp = namespace(lower)
        span = slopes.lower_max - slopes.lower_min
        width = upper - lower
        # What underflow takes from slope and product, at most the smallest number times 1 + |p|, is given back: however
        # large the coefficient is that multiplies the intercept, the chord stays above.
        spare = xp.finfo(lower.dtype).smallest_normal * (1.0 + width)
        chord = slopes.lower_min * lower - slopes.upper * lower + spare
        intercept = xp.where(span > 0, chord, xp.zeros_like(lower))
        # Where u - l overflows the chord is lost, and with it every bound that would use it.
        intercept = xp.where(xp.isfinite(width), intercept, xp.full_like(lower, -float("inf")))
        pace = span / _positive(width)
        return cls(slopes.upper, intercept, slopes.lower_min, slopes.lower_max, slopes.lower, pace)

    def put(self, placement: Placement) -> "KinkLines":
        """The same lines elsewhere, rounded where the precision is lower."""
        put = placement.put
        return KinkLines(
            put(self.upper_slope),
            put(self.upper_intercept),
            put(self.minimum),
            put(self.maximum),
            put(self.start),
            put(self.pace),
        )

    @property
    def parallel(self) -> Slopes:
        xp = namespace(self.minimum)
        return xp.minimum(xp.maximum(self.upper_slope, self.minimum), self.maximum)

    @property
    def middle(self) -> Layer:
        return self.parallel

    def multiplier(self, a: Layer, contact: Contact) -> Layer:
        return contact.slope * a

    @property
    def bent(self) -> Mask:
        return self.maximum > self.minimum

    def loss(self, a: Layer) -> Layer:
        # A line through the kink takes nothing at the kink; the chord takes its intercept.
        return namespace(a).maximum(-a, namespace(a).zeros_like(a)) * self.upper_intercept

    def contact(self, a: Layer, slopes: Slopes) -> Contact:
        return Contact(namespace(a).where(a > 0, slopes, self.upper_slope))

    def value(self, a: Layer, contact: Contact) -> Float[Array, "*#rows"]:
        return self.support(a)

    def support(self, a: Layer) -> Float[Array, "*#rows"]:
        """`value`, which needs no contact: sum over neurons of min(a, 0) times the chord's intercept."""
        # Only the chord has an intercept, and only neurons with a < 0 use it.
        return inner(namespace(a).minimum(a, namespace(a).zeros_like(a[..., :1])), self.upper_intercept)

    def post(self, a: Layer, contact: Contact, pre: Layer) -> Layer:
        intercept = namespace(a).where(a > 0, namespace(a).zeros_like(self.upper_intercept), self.upper_intercept)
        return contact.slope * pre + intercept

    def direction(self, a: Layer, contact: Contact, pre: Layer) -> Slopes:
        return namespace(a).where(a > 0, pre, namespace(a).zeros_like(pre))

    def nearest(self, a: Layer, multiplier: Layer) -> Layer:
        xp = namespace(a)
        inside = xp.minimum(xp.maximum(multiplier, self.minimum * a), self.maximum * a)
        return xp.where(a > 0, inside, self.upper_slope * a)

    def recover(self, a: Layer, multiplier: Layer) -> Slopes:
        xp = namespace(a)
        ratio = multiplier / xp.where(a > 0, a, xp.ones_like(a))
        # Coefficients near the smallest number leave nothing of a quotient; any slope in range will do.
        return xp.where(a > 0, xp.minimum(xp.maximum(ratio, self.minimum), self.maximum), self.start)

    def take(self, rows: Array) -> "KinkLines":
        return KinkLines(
            take_rows(self.upper_slope, rows),
            take_rows(self.upper_intercept, rows),
            take_rows(self.minimum, rows),
            take_rows(self.maximum, rows),
            take_rows(self.start, rows),
            take_rows(self.pace, rows),
        )


@dataclass(frozen=True, eq=False)
class CurveLines:
    """A line below and a line above, each with its own slope; intercepts come from where the lines touch."""

    relaxation: Relaxation
    lower: Layer
    upper: Layer
    slopes: SlopeRange

    @property
    def minimum(self) -> Slopes:
        return _both(self.slopes.lower_min, self.slopes.upper_min)

    @property
    def maximum(self) -> Slopes:
        return _both(self.slopes.lower_max, self.slopes.upper_max)

    @property
    def start(self) -> Slopes:
        return _both(self.slopes.lower, self.slopes.upper)

    @property
    def span(self) -> Slopes:
        """The unit of a step: maximum - minimum."""
        return self.maximum - self.minimum

    @property
    def pace(self) -> Slopes:
        positive = _positive(self.upper - self.lower)
        return (self.maximum - self.minimum) / _both(positive, positive)

    @property
    def parallel(self) -> Slopes:
        # The flattest slope that both sides allow touches at one end each.
        return _both(self.middle, self.middle)

    @property
    def middle(self) -> Layer:
        return namespace(self.lower).maximum(self.slopes.lower_min, self.slopes.upper_min)

    def multiplier(self, a: Layer, contact: Contact) -> Layer:
        return contact.slope * a

    @property
    def bent(self) -> Mask:
        ranges = self.slopes
        chosen = (ranges.lower_max > ranges.lower_min) | (ranges.upper_max > ranges.upper_min)
        return chosen | (ranges.lower_max != ranges.upper_max)

    def loss(self, a: Layer) -> Layer:
        return namespace(a).abs(a) * (self.upper - self.lower)

    def contact(self, a: Layer, slopes: Slopes) -> Contact:
        below, above = _sides(slopes)
        slope = namespace(a).where(a > 0, below, above)
        return Contact(slope, *self._toucher(slope, a <= 0))

    @cached_property
    def _toucher(self) -> Callable[[Layer, Mask], tuple[Layer, Layer]]:
        return self.relaxation.toucher(self.lower, self.upper)

    def value(self, a: Layer, contact: Contact) -> Float[Array, "*#rows"]:
        return namespace(a).sum(a * contact.height, axis=-1)

    def post(self, a: Layer, contact: Contact, pre: Layer) -> Layer:
        return contact.slope * pre + contact.height

    def direction(self, a: Layer, contact: Contact, pre: Layer) -> Slopes:
        xp, gap = namespace(a), pre - contact.p
        zero = xp.zeros_like(gap)
        return _both(xp.where(a > 0, gap, zero), xp.where(a < 0, -gap, zero))

    def gradient(self, a: Layer, contact: Contact, pre: Layer) -> Slopes:
        """The supergradient of D in the slopes, |a| direction."""
        size = namespace(a).abs(a)
        return _both(size, size) * self.direction(a, contact, pre)

    def nearest(self, a: Layer, multiplier: Layer) -> Layer:
        xp, ranges = namespace(a), self.slopes
        below = xp.minimum(xp.maximum(multiplier, ranges.lower_min * a), ranges.lower_max * a)
        above = xp.minimum(xp.maximum(multiplier, ranges.upper_max * a), ranges.upper_min * a)
        return xp.where(a > 0, below, above)

    def recover(self, a: Layer, multiplier: Layer) -> Slopes:
        xp, ranges = namespace(a), self.slopes
        ratio = multiplier / xp.where(a == 0, xp.ones_like(a), a)
        below = xp.minimum(xp.maximum(ratio, ranges.lower_min), ranges.lower_max)
        above = xp.minimum(xp.maximum(ratio, ranges.upper_min), ranges.upper_max)
        return _both(xp.where(a > 0, below, ranges.lower), xp.where(a < 0, above, ranges.upper))

    def take(self, rows: Array) -> "CurveLines":
        lower, upper = take_rows(self.lower, rows), take_rows(self.upper, rows)
        return CurveLines(self.relaxation, lower, upper, self.slopes.take(rows))


@dataclass(frozen=True, eq=False)
class FixedLines:
    """A line below and a line above of the same slopes for all rows, with what phi and -phi are at least over them.

    floor <= phi(p) - below p and ceiling <= above p - phi(p) on [l, u], so that sum(max(a, 0) floor + max(-a, 0)
    ceiling) is the support for multipliers g = slope(a) a. In floating point `support` is off by fewer than 40
    roundings of |g| max|p| + |a| max|phi|, which bounds charge; spare [...]: what underflow takes from g p.
    """

    below: Layer
    above: Layer
    floor: Layer
    ceiling: Layer
    spare: Array

    @classmethod
    def of(cls, lines: CurveLines) -> "FixedLines | None":
        """CROWN's lines; none where some of them have no intercept, as over ranges without an end."""
        lower, upper, ranges = lines.lower, lines.upper, lines.slopes
        xp, one = namespace(lower), namespace(lower).ones_like(lower)
        # What supports lose to underflow is multiplied by a here.
        floor = lines.relaxation.support(lower, upper, one, ranges.lower) - 64.0 * SMALLEST
        ceiling = lines.relaxation.support(lower, upper, -one, -ranges.upper) - 64.0 * SMALLEST
        reach = xp.maximum(xp.abs(lower), xp.abs(upper))
        spare = xp.sum(2.0 * SMALLEST * (1.0 + reach), axis=-1)
        if not bool(xp.all(xp.isfinite(floor)) & xp.all(xp.isfinite(ceiling)) & xp.all(xp.isfinite(spare))):
            return None
        return cls(ranges.lower, ranges.upper, floor, ceiling, spare)

    def multiplier(self, a: Layer) -> Layer:
        """g, for coefficients a of phi."""
        return namespace(a).where(a > 0, self.below, self.above) * a

    def support(self, a: Layer) -> Float[Array, "*#rows"]:
        """The sum over neurons of the least of a q - g p over the hull, with those multipliers g."""
        xp, zero = namespace(a), namespace(a).zeros_like(a[..., :1])
        return inner(xp.maximum(a, zero), self.floor) + inner(xp.maximum(-a, zero), self.ceiling) - self.spare


def _positive(width: Layer) -> Layer:
    """Widths to divide by: not below the smallest normal number, whose inverse is still finite."""
    xp = namespace(width)
    return xp.maximum(width, xp.full_like(width, xp.finfo(width.dtype).smallest_normal))


def _both(below: Layer, above: Layer) -> Slopes:
    xp = namespace(below, above)
    return xp.concat(list(xp.broadcast_arrays(below, above)), axis=-1)


def _sides(slopes: Slopes) -> tuple[Layer, Layer]:
    size = slopes.shape[-1] // 2
    return slopes[..., :size], slopes[..., size:]
