"""Records of sine, cosine and tangent.

Where phi turns is a multiple of pi / 2, which is rounded: off by d <= 4 eps |p|. On the slivers between the
computed and the true place phi'' has the wrong sign and is at most d, or 2 d for the tangent, which changes minima over
a piece of length up to pi by at most 8 d^2; extrema that are missed by d differ by d^2 / 2. These are charged.
"""

from abc import abstractmethod
from dataclasses import dataclass
from math import pi

from admm_verify.arrays import namespace
from admm_verify.relaxations.contract import Layer, Mask, Relaxation, SlopeLimits
from admm_verify.relaxations.curves import between, epsilon
from admm_verify.relaxations.smooth import Piece, Smooth

_PERIOD = 2.0 * pi


def _missed(*x: Layer) -> Layer:
    """What computed multiples of pi / 2 can be off by next to any of these numbers."""
    xp = namespace(*x)
    size = xp.abs(x[0])
    for other in x[1:]:
        size = xp.maximum(size, xp.abs(other))
    return 4.0 * epsilon(size) * size


class Periodic(Smooth):
    """What the three share."""

    inside = 0.0
    argument_roundings = 4.0

    @property
    def bends(self) -> bool:
        return True

    def flaw(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower, upper)
        off = _missed(lower, upper)
        return xp.minimum(8.0 * off * off, xp.full_like(off, 2.0))


class Wave(Periodic):
    """sin(x + phase)."""

    phase: float
    values = (-1.0, 1.0)

    @abstractmethod
    def value(self, x: Layer) -> Layer:
        """sin(x + phase)."""

    def second(self, x: Layer) -> Layer:
        return -self.value(x)

    def value_error(self, x: Layer, value: Layer) -> Layer:
        off = _missed(x)
        return super().value_error(x, value) + off * off

    def slope_error(self, x: Layer, slope: Layer) -> Layer:
        off = _missed(x)
        return 8.0 * epsilon(slope) + off * off

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        """Convex pieces end and concave ones begin at a multiple e of 2 pi less the phase; there e -/+ acos(slope)."""
        xp = namespace(slope, start)
        one = xp.ones_like(slope)
        angle = xp.acos(between(slope, -one, one))
        first = self._first_end(above, start)
        last = first + _PERIOD * xp.ceil((0.5 * start + 0.5 * end - first) / _PERIOD)
        return xp.where(above, last - pi + angle, last - angle)

    def pieces(self, lower: Layer, upper: Layer, above: Mask) -> tuple[Piece, ...]:
        """The first and the last piece in which phi is -1, where there is one, else the first and the last at all.

        No line touches from below elsewhere: at a lowest point b, phi(b) - s b is less than at any p from which s b is
        uphill, and as much as at other lowest points where s = 0. So it is from above.
        """
        xp = namespace(lower, upper)
        origin = self._first_end(above, lower)
        lowest = xp.ceil((lower - origin + 0.5 * pi) / _PERIOD), xp.floor((upper - origin + 0.5 * pi) / _PERIOD)
        first, last = xp.ceil((lower - origin) / _PERIOD), xp.floor((upper - origin + pi) / _PERIOD)
        some = lowest[0] <= lowest[1]
        first, last = xp.where(some, lowest[0], first), xp.where(some, lowest[1], last)
        ends = origin + _PERIOD * first, origin + _PERIOD * last
        found = [(between(end - pi, lower, upper), between(end, lower, upper)) for end in ends]
        single = last <= first
        return found[0], (xp.where(single, upper, found[1][0]), xp.where(single, upper, found[1][1]))

    def tops(self, lower: Layer, upper: Layer) -> tuple[Layer, ...]:
        quarters = (0.5 * pi - self.phase, -0.5 * pi - self.phase)
        return lower, upper, *(_next(lower, upper, place, _PERIOD) for place in quarters)

    def turns(self, lower: Layer, upper: Layer) -> tuple[Layer, ...]:
        halves = (-self.phase, pi - self.phase)
        return lower, upper, *(_next(lower, upper, place, _PERIOD) for place in halves)

    def slope_range(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        xp = namespace(lower, upper)
        least, most = super().slope_range(lower, upper)
        one, spare = xp.ones_like(least), self.flaw(lower, upper)
        return xp.maximum(least - spare, -one), xp.minimum(most + spare, one)

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower, upper)
        one = xp.ones_like(lower)
        return xp.minimum(super().gain(lower, upper), one)

    def slope_limits(self) -> SlopeLimits:
        return -1.0, 1.0

    def _first_end(self, above: Mask, like: Layer) -> Layer:
        """Where a convex piece ends, a concave one where above."""
        xp = namespace(like)
        zero = xp.zeros_like(like)
        return xp.where(above, zero + (pi - self.phase), zero - self.phase)


@dataclass(frozen=True, eq=False)
class Sin(Wave):
    """sin(x)."""

    zero_at_zero = True
    phase = 0.0

    def value(self, x: Layer) -> Layer:
        return namespace(x).sin(x)

    def derivative(self, x: Layer) -> Layer:
        return namespace(x).cos(x)


@dataclass(frozen=True, eq=False)
class Cos(Wave):
    """cos(x)."""

    phase = 0.5 * pi

    def value(self, x: Layer) -> Layer:
        return namespace(x).cos(x)

    def derivative(self, x: Layer) -> Layer:
        return -namespace(x).sin(x)


@dataclass(frozen=True, eq=False)
class Tan(Periodic):
    """tan(x) between two of its poles, concave on the left half and convex on the right one."""

    domain = "numbers between two odd multiples of pi / 2"
    steep = True
    zero_at_zero = True

    def value(self, x: Layer) -> Layer:
        return namespace(x).tan(x)

    def derivative(self, x: Layer) -> Layer:
        value = self.value(x)
        return 1.0 + value * value

    def second(self, x: Layer) -> Layer:
        value = self.value(x)
        return 2.0 * value * (1.0 + value * value)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        xp = namespace(slope, start)
        angle = xp.atan(xp.sqrt(xp.maximum(slope - 1.0, xp.zeros_like(slope))))
        centre = pi * xp.round((0.5 * start + 0.5 * end) / pi)
        return xp.where(above, centre - angle, centre + angle)

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        xp = namespace(lower, upper)
        left, right = lower / pi + 0.5, upper / pi + 0.5
        off = _missed(lower, upper) + epsilon(lower)
        return (xp.floor(left - off) == xp.floor(right + off)) & (upper - lower < pi)

    def turns(self, lower: Layer, upper: Layer) -> tuple[Layer, ...]:
        return lower, upper, self._centre(lower, upper)

    def pieces(self, lower: Layer, upper: Layer, above: Mask) -> tuple[Piece, ...]:
        xp = namespace(lower, upper)
        centre = self._centre(lower, upper)
        return ((xp.where(above, lower, centre), xp.where(above, centre, upper)),)

    def _centre(self, lower: Layer, upper: Layer) -> Layer:
        return between(pi * namespace(lower).round((0.5 * lower + 0.5 * upper) / pi), lower, upper)


def _next(lower: Layer, upper: Layer, place: float, period: float) -> Layer:
    """The first number from l on that is a multiple of a period away from a place, or u."""
    xp = namespace(lower, upper)
    return between(place + period * xp.ceil((lower - place) / period), lower, upper)


KINDS: dict[str, type[Relaxation]] = {"cos": Cos, "sin": Sin, "tan": Tan}
