"""Batched affine forms: centre + generators z + [-radius, radius] with z in [-1, 1]^m shared by all forms of a cell.

Linear parts are carried exactly up to rounding, so that forms of one cell stay correlated; what is not linear, and
every rounding error, goes into the radius.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, gamma, to_numpy
from admm_verify.enclosures.arithmetic import Operand
from admm_verify.enclosures.intervals import Interval, above
from admm_verify.sets.contract import InputSet
from admm_verify.sets.zonotopes import Zonotopes, rounded_up


@dataclass(frozen=True, eq=False)
class AffineForms(Zonotopes, Operand):
    """One form per entry: the arithmetic of zonotopes, entry by entry.

    Forms that are combined share z; their radii are independent of each other and of z. Results hold every value that
    the operation takes for values of the operands at one z.
    Shapes: centre, radius [..., ]; generators [..., m], with one m for all forms that are combined.
    Error: rounding errors of centre and generators are in the radius, which is rounded upward. A form that is not
    finite knows nothing: its range is the whole line.
    Reference: Stolfi and de Figueiredo, Self-Validated Numerical Methods and Applications (1997), chapter 3.
    """

    centre: np.ndarray
    generators: np.ndarray
    radius: np.ndarray

    @classmethod
    def around(cls, inputs: InputSet) -> "AffineForms":
        """The boxes around input sets with one symbol per coordinate, [cells, n] -> m = n."""
        sides = Interval(*inputs.range)
        generators = sides.radius[..., :, None] * np.eye(inputs.size)
        return cls(sides.middle, generators, np.zeros_like(sides.middle))

    @cached_property
    def interval(self) -> Interval:
        """The interval of all values; the whole line where the form is not finite."""
        return Interval(*self.range)

    def coordinate(self, index: int) -> "AffineForms":
        """The forms of one coordinate, [..., n] -> [...]."""
        return AffineForms(self.centre[..., index], self.generators[..., index, :], self.radius[..., index])

    def coordinates(self) -> list["AffineForms"]:
        """The forms of every coordinate."""
        return [self.coordinate(i) for i in range(self.size)]

    @classmethod
    def stack(cls, parts: Sequence["AffineForms"]) -> "AffineForms":
        """Forms [...] side by side, [..., n]."""
        return cls(
            np.stack([part.centre for part in parts], axis=-1),
            np.stack([part.generators for part in parts], axis=-2),
            np.stack([part.radius for part in parts], axis=-1),
        )

    def image(self, slope: np.ndarray, shift: np.ndarray | float = 0.0) -> "AffineForms":
        """The values of functionals slope'x + shift: forms [..., n] and slopes [..., rows, n] -> [..., rows]."""
        inputs, size = slope.shape[-1], np.abs(slope)
        centre = (slope @ self.centre[..., None])[..., 0] + shift
        reach = np.abs(self.centre) + np.abs(self.generators).sum(axis=-1)
        ends = size @ np.stack([reach, self.radius], axis=-1)
        slack = gamma(inputs + 2) * (ends[..., 0] + np.abs(shift))
        count = self.symbols + inputs + 8
        radius = (ends[..., 1] + slack) * (1.0 + 4.0 * gamma(count)) + SMALLEST * (inputs + 2) * count
        return AffineForms(centre, slope @ self.generators, radius)

    def support(self, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'x for directions [d, n], [..., n] -> [..., d]; infinite where the forms are not finite."""
        return self.image(directions).range[1]

    def __add__(self, other: "AffineForms | Interval | float") -> "AffineForms":
        right = self._operand(other)
        if right is None:
            return NotImplemented
        return _rounded(
            self.centre + right.centre, self.generators + right.generators, self.radius + right.radius, roundings=1
        )

    def __neg__(self) -> "AffineForms":
        return AffineForms(-self.centre, -self.generators, self.radius)

    def __mul__(self, other: "AffineForms | Interval | float") -> "AffineForms":
        if isinstance(other, AffineForms):
            return self._product(other)
        right = Interval.of(other)
        if right is None:
            return NotImplemented
        exact = right.lower is right.upper
        middle, spare = (right.lower, 0.0) if exact else (right.middle, right.radius)
        radius = self.radius * np.abs(middle)
        if np.any(spare):
            radius = radius + spare * (np.abs(self.centre) + self.deviation)
        return _rounded(self.centre * middle, self.generators * middle[..., None], radius, roundings=1)

    def __truediv__(self, other: "AffineForms | Interval | float") -> "AffineForms":
        if isinstance(other, AffineForms):
            return self * other.reciprocal()
        right = Interval.of(other)
        return NotImplemented if right is None else self * (Interval.point(1.0) / right)

    def __rtruediv__(self, other: "Interval | float") -> "AffineForms":
        return self.reciprocal() * other

    def reciprocal(self) -> "AffineForms":
        """1 / x; not finite where x can be 0."""
        at = 1.0 / Interval.point(self.centre)
        over = 1.0 / self.interval
        return self._expanded(at, -at.square(), over.square() * over * 2.0)

    def sin(self) -> "AffineForms":
        """sin x."""
        at = Interval.point(self.centre)
        return self._expanded(at.sin(), at.cos(), -self.interval.sin())

    def cos(self) -> "AffineForms":
        """cos x."""
        at = Interval.point(self.centre)
        return self._expanded(at.cos(), -at.sin(), -self.interval.cos())

    def exp(self) -> "AffineForms":
        """e^x."""
        at = Interval.point(self.centre).exp()
        return self._expanded(at, at, self.interval.exp())

    def tanh(self) -> "AffineForms":
        """tanh x, whose second derivative is -2 t (1 - t^2) with t = tanh x."""
        at, over = Interval.point(self.centre).tanh(), self.interval.tanh()
        return self._expanded(at, 1.0 - at.square(), over * (1.0 - over.square()) * -2.0)

    def sqrt(self) -> "AffineForms":
        """The square root r, whose second derivative is -1 / (4 r^3); not finite where x can be 0 or less."""
        at, over = Interval.point(self.centre).sqrt(), self.interval.sqrt()
        return self._expanded(at, 0.5 / at, -0.25 / (over.square() * over))

    def tan(self) -> "AffineForms":
        """tan x, whose second derivative is 2 t (1 + t^2) with t = tan x; not finite where there may be a pole."""
        at, over = Interval.point(self.centre).tan(), self.interval.tan()
        return self._expanded(at, at.square() + 1.0, over * (over.square() + 1.0) * 2.0)

    def abs(self) -> "AffineForms":
        """|x|: the chord's slope s times x, plus what lies between 0 and the largest of |x| - s x, at an end."""
        lower, upper = self.range
        width = upper - lower
        # Any slope from -1 to 1 will do, since |x| - s x is never below 0 then.
        slope = np.clip((np.abs(upper) - np.abs(lower)) / np.where(width > 0, width, 1.0), -1.0, 1.0)
        slope = np.where(lower >= 0, 1.0, np.where(upper <= 0, -1.0, slope))
        ends = [(Interval.point(end).abs() - Interval.point(end) * slope).upper for end in (lower, upper)]
        sure = np.abs(slope) == 1.0
        most = np.where(sure & ((lower >= 0) | (upper <= 0)), 0.0, np.maximum(*ends))
        return self * slope + Interval(np.zeros_like(most), np.maximum(most, 0.0))

    def max(self, other: "AffineForms | Interval | float") -> "AffineForms":
        """The larger of x and y, (x + y + |x - y|) / 2, or the one that is known to be."""
        right = self._operand(other)
        if right is None:
            return NotImplemented
        gap = self - right
        low, high = gap.range
        both = (self + right + gap.abs()) * 0.5
        chosen = both
        for one, sure in ((self, low >= 0), (right, high <= 0)):
            chosen = AffineForms(
                np.where(sure, one.centre, chosen.centre),
                np.where(sure[..., None], one.generators, chosen.generators),
                np.where(sure, one.radius, chosen.radius),
            )
        return chosen

    def min(self, other: "AffineForms | Interval | float") -> "AffineForms":
        """The smaller of x and y."""
        return -(-self).max(-other)

    def _expanded(self, value: Interval, slope: Interval, bend: Interval) -> "AffineForms":
        """f(c) + f'(c) (x - c) + f''(between) (x - c)^2 / 2, where (x - c)^2 lies between 0 and the spread's square.

        Half of what the last term can be goes to the centre, half to the radius: to leading order that is the best
        linear approximation over the range.
        """
        zero = Interval.point(0.0)
        rest = zero.hull(bend * (Interval.point(to_numpy(self.deviation)).square() * 0.5))
        linear = AffineForms(np.zeros_like(self.centre), self.generators, self.radius) * slope
        return linear + (value + rest)

    def _product(self, other: "AffineForms") -> "AffineForms":
        """(c + a)(d + b) = c d + c b + d a + a b."""
        c, d = self.centre, other.centre
        first, second = c[..., None] * other.generators, d[..., None] * self.generators
        rest = self._quadratic(other)
        # Both products of the generators are rounded, and that of the centres, which the rest may nearly cancel.
        sizes = (np.abs(first) + np.abs(second)).sum(axis=-1)
        slack = DOUBLE_ROUNDOFF * (2.0 * sizes + np.abs(c * d)) + SMALLEST
        radius = np.abs(c) * other.radius + np.abs(d) * self.radius + rest.radius + slack
        return _rounded(c * d + rest.middle, first + second, radius, roundings=1)

    def _quadratic(self, other: "AffineForms") -> Interval:
        """A range of a b for the parts a, b of two forms without their centres.

        a b = ((a + b)^2 - (a - b)^2) / 4 lies between -(max|a - b|)^2 / 4 and (max|a + b|)^2 / 4, which is exact for
        parallel and for independent parts of equal spread; so a is scaled up and b down until they have that.
        """
        first, second = self.deviation, other.deviation
        both = (first > 0) & (second > 0)
        ratio = np.sqrt(np.where(both, second, 1.0) / np.where(both, first, 1.0))
        # Any positive scale is valid: a b = (a t)(b / t). A power of two makes it exact.
        scale = np.exp2(np.round(np.log2(np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1.0))))[..., None]
        a, b = self.generators * scale, other.generators / scale
        rest = self.radius * scale[..., 0] + other.radius / scale[..., 0]
        # Sums a +- b are off by one rounding of |a| + |b| each.
        slack = DOUBLE_ROUNDOFF * (np.abs(a) + np.abs(b)).sum(axis=-1)
        plus = rounded_up(np.abs(a + b).sum(axis=-1) + rest + slack, self.symbols)
        minus = rounded_up(np.abs(a - b).sum(axis=-1) + rest + slack, self.symbols)
        return Interval(-0.25 * above(minus * minus) - SMALLEST, 0.25 * above(plus * plus) + SMALLEST)

    def square(self) -> "AffineForms":
        """x^2: (c + a)^2 = c^2 + 2 c a + a^2 with a^2 between 0 and the spread's square."""
        at = Interval.point(self.centre)
        return self._expanded(at.square(), at * 2.0, Interval.point(2.0))

    def _operand(self, other: "AffineForms | Interval | float") -> "AffineForms | None":
        if isinstance(other, AffineForms):
            return other
        right = Interval.of(other)
        if right is None:
            return None
        return AffineForms(right.middle, np.zeros((*right.lower.shape, self.symbols)), right.radius)

    def widened(self, count: int) -> "AffineForms":
        """With `count` further symbols that these forms do not depend on."""
        zero = np.zeros((*self.centre.shape, count))
        return AffineForms(self.centre, np.concatenate([self.generators, zero], axis=-1), self.radius)

    def refreshed(self) -> "AffineForms":
        """[..., n] forms whose radii have become symbols of their own, so that what follows is correlated with them."""
        own = self.radius[..., :, None] * np.eye(self.centre.shape[-1])
        generators = np.concatenate([self.generators, own], axis=-1)
        return AffineForms(self.centre, generators, np.zeros_like(self.radius))

    def reduced(self, most: int, kept: int = 0) -> "AffineForms":
        """[cells, n] forms of at most max(most, n + kept) symbols: the smallest generators become a box.

        kept: so many symbols, the first ones, stay where they are.
        Valid when: nothing else refers to the symbols.
        Reference: Girard, Reachability of uncertain linear systems using zonotopes, HSCC 2005.
        """
        size = self.centre.shape[-1]
        if self.symbols <= most:
            return self
        keep = max(most - size, kept)
        unit = np.abs(self.generators).sum(axis=-1, keepdims=True)
        scaled = np.abs(self.generators) / np.where(unit > 0, unit, 1.0)
        score = scaled.sum(axis=-2) - scaled.max(axis=-2)
        score[..., :kept] = np.inf
        order = np.argsort(-score, axis=-1, kind="stable")[..., None, :]
        sorted_generators = np.take_along_axis(self.generators, np.broadcast_to(order, self.generators.shape), axis=-1)
        rest = np.abs(sorted_generators[..., keep:]).sum(axis=-1)
        radius = rounded_up(self.radius + rest, self.symbols)
        return AffineForms(self.centre, sorted_generators[..., :keep], radius).refreshed()


def _rounded(centre: np.ndarray, generators: np.ndarray, radius: np.ndarray, roundings: int) -> AffineForms:
    """Forms whose centre and generators each carry so many roundings of their own size, which go into the radius."""
    error = np.abs(centre) + np.abs(generators).sum(axis=-1)
    count = generators.shape[-1]
    slack = roundings * (DOUBLE_ROUNDOFF * error + SMALLEST * (count + 1))
    return AffineForms(centre, generators, rounded_up(radius + slack, count))
