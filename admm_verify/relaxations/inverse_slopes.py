"""Where a curve has a given slope, piece by piece, by Chebyshev series that are fitted once for each kind.

Nothing hangs on their accuracy: a point with nearly the slope that was asked for gives a bound that is nearly as tight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np

from admm_verify.arrays import Placement, namespace
from admm_verify.relaxations.contract import Layer
from admm_verify.relaxations.curves import between, stacked

if TYPE_CHECKING:
    from admm_verify.relaxations.gates import Gate

_DEGREE, _NODES, _HALVINGS, _FAR = 14, 56, 80, 60.0
"""Higher degrees gain nothing next to inflections, where the middle's inverse is as steep as a root."""

_LONGEST = 5.8, 5.0
"""The left tail is inverted up to where the slope has come exp(-33.6) near its limit, 0, and the right one, whose limit
is 1 and takes digits, up to exp(-25)."""

Slope = Callable[[Any], Any]


@dataclass(frozen=True)
class Middle:
    """Between two inflections, where phi' grows from least to most: a series in asin of the slope's place between."""

    least: float
    most: float
    series: tuple[float, ...]

    def argument(self, slope: Layer) -> Layer:
        """Of the series, between -1 and 1."""
        xp = namespace(slope)
        place = (2.0 * slope - (self.least + self.most)) / (self.most - self.least)
        one = xp.ones_like(slope)
        return xp.asin(between(place, -one, one)) * (2.0 / pi)


@dataclass(frozen=True)
class Tail:
    """From an inflection on outward, where phi' goes from its value there to a limit: a series in the root of the
    logarithm of its distance.
    """

    inflection: float
    extreme: float
    limit: float
    end: float
    longest: float
    series: tuple[float, ...]

    def argument(self, slope: Layer) -> Layer:
        """Of the series, between -1 and 1, for slopes on this side of the limit."""
        xp = namespace(slope)
        share = (slope - self.limit) / (self.extreme - self.limit)
        near = between(share, xp.full_like(slope, np.exp(-(self.longest**2))), xp.ones_like(slope))
        return xp.sqrt(-xp.log(near)) * (2.0 / self.longest) - 1.0

    def settled(self, slope: Layer, found: Layer) -> Layer:
        """What the series gives; the end where no point has a slope beyond the limit: that of the end comes nearest."""
        xp = namespace(slope)
        ahead = (slope > self.limit) if self.extreme > self.limit else (slope < self.limit)
        return xp.where(ahead, found, xp.full_like(found, self.end))


@dataclass(frozen=True)
class InverseSlopes:
    """The inverses of phi' left of, between and right of two inflections."""

    left: Tail
    middle: Middle
    right: Tail

    @cached_property
    def _powers(self) -> np.ndarray:
        """The series' coefficients of 1, y, y^2, .., [degree + 1, 3]."""
        parts = (self.left, self.middle, self.right)
        return np.stack([np.polynomial.chebyshev.cheb2poly(part.series) for part in parts], axis=1)

    def __call__(self, slope: Layer) -> tuple[Layer, Layer, Layer]:
        """Where phi' has a slope left of, between and right of the inflections, by Horner's rule for all at once."""
        parts = (self.left, self.middle, self.right)
        y = stacked(*(part.argument(slope) for part in parts))
        factors = Placement.of(y).put(self._powers.reshape((-1, 3) + (1,) * len(slope.shape)))
        found = factors[-1, ...] + 0.0 * y
        for k in range(factors.shape[0] - 2, -1, -1):
            found = found * y + factors[k, ...]
        left, middle, right = (found[k, ...] for k in range(3))
        return self.left.settled(slope, left), middle, self.right.settled(slope, right)


@cache
def inverse_slopes(kind: "type[Gate]", left: float, right: float) -> InverseSlopes:
    """Fitted to the derivative of a kind, which goes from 0 down, up to more than 1, and down to 1."""
    slope: Slope = kind().derivative
    least, most = (float(slope(np.array([x]))[0]) for x in (left, right))
    places = np.cos((np.arange(_NODES) + 0.5) * pi / _NODES)
    middle = _solved(slope, 0.5 * (least + most) + 0.5 * (most - least) * np.sin(places * pi / 2), left, right)
    outer = [
        _solved(slope, limit + np.exp(-((0.5 * longest * (places + 1.0)) ** 2)) * (extreme - limit), end, inflection)
        for longest, limit, extreme, end, inflection in (
            (_LONGEST[0], 0.0, least, -_FAR, left),
            (_LONGEST[1], 1.0, most, _FAR, right),
        )
    ]
    return InverseSlopes(
        left=Tail(left, least, 0.0, -float("inf"), _LONGEST[0], _series(places, outer[0])),
        middle=Middle(least, most, _series(places, middle)),
        right=Tail(right, most, 1.0, float("inf"), _LONGEST[1], _series(places, outer[1])),
    )


def _solved(slope: Slope, wanted: np.ndarray, low: float, high: float) -> np.ndarray:
    """The x between low and high where phi', which is monotone there, has the wanted values."""
    start, end = np.full(wanted.shape, low), np.full(wanted.shape, high)
    rising = slope(end) > slope(start)
    for _ in range(_HALVINGS):
        middle = 0.5 * start + 0.5 * end
        before = (slope(middle) < wanted) == rising
        start, end = np.where(before, middle, start), np.where(before, end, middle)
    return 0.5 * start + 0.5 * end


def _series(places: np.ndarray, values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.polynomial.chebyshev.chebfit(places, values, _DEGREE).tolist())
