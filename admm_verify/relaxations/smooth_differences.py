"""Differences f(n') - f(n) of smooth activations: D = n' - n times a slope that f has between n and n'."""

from dataclasses import dataclass
from functools import cached_property

from admm_verify.arrays import Array, namespace
from admm_verify.relaxations.contract import Mask
from admm_verify.relaxations.curves import along_segment, between, epsilon, tiniest
from admm_verify.relaxations.difference_planes import DifferencePlanes
from admm_verify.relaxations.lines import PlaneHull
from admm_verify.relaxations.polygons import abreast, triple
from admm_verify.relaxations.s_shaped import Sigmoid, SShaped, Tanh

_MARGIN = 64.0
"""Of two roundings, by which slopes of f are moved outward."""

Segment = tuple[Array, Array]
"""Heights at both ends of D's range."""


@dataclass(frozen=True, eq=False)
class BowTie:
    """{(D, q): l_D <= D <= u_D, q between m D and M D}, with 0 <= m <= f' <= M over all ranges of n and n'.

    Its hull has two sides that are chords, from end to end of D's range, and two upright ones.
    Error: m and M are rounded outward, heights have another rounding.
    """

    low: Array
    high: Array
    flat: Array
    steep: Array

    @classmethod
    def of(cls, curve: SShaped, lower: Array, upper: Array) -> "BowTie":
        """Over ranges [..., 3 n], of a curve whose derivative is even and falls with |x|."""
        (ln, ld, lm), (un, ud, um) = triple(lower), triple(upper)
        xp, spare, tiny = namespace(lower), _MARGIN * epsilon(lower), tiniest(lower)
        # What n' = n + D leaves of both ranges.
        least = xp.minimum(xp.maximum(ln, _outward(lm - ud, -1.0)), xp.maximum(lm, _outward(ln + ld, -1.0)))
        most = xp.maximum(xp.minimum(un, _outward(um - ld, 1.0)), xp.minimum(um, _outward(un + ud, 1.0)))
        known = least <= most
        least, most = xp.where(known, least, xp.minimum(ln, lm)), xp.where(known, most, xp.maximum(un, um))
        near, far = between(xp.zeros_like(least), least, most), xp.maximum(xp.abs(least), xp.abs(most))
        steep = xp.minimum(curve.derivative(near) * (1.0 + spare) + tiny, curve.steepest * xp.ones_like(near))
        flat = xp.maximum(curve.derivative(far) * (1.0 - spare) - tiny, xp.zeros_like(far))
        # No D is beyond the ends of n' - n; where rounding or a part of a set leaves none, D's own ends count.
        low, high = xp.maximum(ld, _outward(lm - un, -1.0)), xp.minimum(ud, _outward(um - ln, 1.0))
        some = low <= high
        return cls(xp.where(some, low, ld), xp.where(some, high, ud), flat, steep)

    @cached_property
    def floor(self) -> Segment:
        """The least q at both ends."""
        xp = namespace(self.low)
        first, last = (xp.minimum(self.flat * end, self.steep * end) for end in (self.low, self.high))
        return first, last

    @cached_property
    def ceiling(self) -> Segment:
        """The largest q at both ends."""
        xp = namespace(self.low)
        first, last = (xp.maximum(self.flat * end, self.steep * end) for end in (self.low, self.high))
        return first, last

    @property
    def bent(self) -> Mask:
        """Where it has a height."""
        return (self.steep > self.flat) & ((self.low < 0) | (self.high > 0))


class SmoothDifference(PlaneHull):
    """{(n, D, n', q): n and n' in their ranges, (D, q) in the hull of the bow tie}; a subclass names the curve."""

    curve: SShaped

    operands = 3
    sides = 2
    shares_operands = True

    def open(self, lower: Array, upper: Array) -> Mask:
        bent = BowTie.of(self.curve, lower, upper).bent
        return abreast(bent, bent, bent) & (lower < upper)

    def halves(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """At 0 where that is inside, else in the middle."""
        xp = namespace(lower, upper)
        at = xp.where((lower < 0) & (upper > 0), xp.zeros_like(lower), lower / 2 + upper / 2)
        return at, at

    def gradient(self, x: Array) -> Array:
        """By D at n', and what is left of n."""
        n, _, m = triple(x)
        slope = self.curve.derivative(m)
        return abreast(slope - self.curve.derivative(n), slope, namespace(x).zeros_like(n))

    def image(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """The least and the largest q at the ends of D, two roundings and one smallest normal number outward."""
        shape = BowTie.of(self.curve, lower, upper)
        xp = namespace(lower)
        low, high = xp.minimum(*shape.floor), xp.maximum(*shape.ceiling)
        spare, tiny, infinity = 2.0 * epsilon(low), tiniest(low), xp.full_like(low, float("inf"))
        low, high = low - (spare * xp.abs(low) + tiny), high + (spare * xp.abs(high) + tiny)
        return xp.where(xp.isnan(low), -infinity, low), xp.where(xp.isnan(high), infinity, high)

    def support(self, lower: Array, upper: Array, post_weight: Array, pre_weight: Array) -> Array:
        shape, (g, t, w) = BowTie.of(self.curve, lower, upper), triple(pre_weight)
        xp, up = namespace(lower, post_weight), post_weight > 0
        (ln, _, lm), (un, _, um) = triple(lower), triple(upper)
        heights = [xp.where(up, *pair) for pair in zip(shape.floor, shape.ceiling, strict=True)]
        ends = [post_weight * q - t * d for q, d in zip(heights, (shape.low, shape.high), strict=True)]
        return xp.minimum(*ends) - xp.maximum(g * ln, g * un) - xp.maximum(w * lm, w * um)

    def hull(self, lower: Array, upper: Array, pre: Array) -> tuple[Array, Array]:
        """The chords' heights at D."""
        shape, d = BowTie.of(self.curve, lower, upper), triple(pre)[1]
        floor, ceiling = (
            along_segment(shape.low, side[0], shape.high, side[1], d) for side in (shape.floor, shape.ceiling)
        )
        return floor, namespace(floor).maximum(ceiling, floor)

    def project(self, lower: Array, upper: Array, pre: Array, post: Array) -> tuple[Array, Array]:
        """n and n' on their ranges; D and q stay inside, or go to the nearest point of the four sides."""
        shape, (n, d, m) = BowTie.of(self.curve, lower, upper), triple(pre)
        xp, (ln, _, lm), (un, _, um) = namespace(lower, pre), triple(lower), triple(upper)
        floor, ceiling = self.hull(lower, upper, pre)
        inside = (d >= shape.low) & (d <= shape.high) & (post >= floor) & (post <= ceiling)
        found, height, best = d, post, xp.where(inside, xp.zeros_like(floor), xp.full_like(floor, float("inf")))
        corners = [(shape.low, side[0]) for side in (shape.floor, shape.ceiling)]
        corners += [(shape.high, side[1]) for side in (shape.ceiling, shape.floor)]
        for (x, y), (right, top) in zip(corners, [*corners[1:], corners[0]], strict=True):
            run, rise = right - x, top - y
            length = run * run + rise * rise
            share = ((d - x) * run + (post - y) * rise) / xp.where(length > 0, length, xp.ones_like(length))
            share = xp.clip(xp.where(length > 0, share, xp.zeros_like(share)), 0.0, 1.0)
            foot, at = x + share * run, y + share * rise
            away = (foot - d) ** 2 + (at - post) ** 2
            nearer = away < best
            found, height = xp.where(nearer, foot, found), xp.where(nearer, at, height)
            best = xp.where(nearer, away, best)
        return abreast(between(n, ln, un), found, between(m, lm, um)), height

    def gain(self, lower: Array, upper: Array) -> Array:
        """What the function, with its three operands as they are given, can grow by each of them."""
        one = namespace(lower).ones_like(triple(lower)[0])
        steepest = self.curve.steepest
        return abreast(steepest * one, 4.0 * steepest * one, steepest * one)

    def planes(self, lower: Array, upper: Array) -> DifferencePlanes:
        shape = BowTie.of(self.curve, lower, upper)
        xp, run = namespace(lower), shape.high - shape.low
        some, zero = run > 0, xp.zeros_like(shape.low)
        tilts, rises, spare = [], [], 32.0 * epsilon(run)
        reach = xp.maximum(xp.abs(shape.low), xp.abs(shape.high))
        for side, sign in ((shape.floor, 1.0), (shape.ceiling, -1.0)):
            slope = xp.where(some, (side[1] - side[0]) / xp.where(some, run, xp.ones_like(run)), shape.steep)
            slope = xp.where(xp.isfinite(slope), slope, zero)
            gaps = [height - slope * end for height, end in zip(side, (shape.low, shape.high), strict=True)]
            touch = xp.minimum(*gaps) if sign > 0 else xp.maximum(*gaps)
            size = xp.abs(slope) * reach + xp.maximum(xp.abs(side[0]), xp.abs(side[1]))
            rises.append(touch - sign * (spare * size + 8.0 * tiniest(size)))
            tilts.append(abreast(zero, slope, zero))
        height = xp.maximum(self._height(shape), zero)
        one = zero + 1.0
        return DifferencePlanes(abreast(*tilts), abreast(*rises), abreast(one, one), height, shape.bent, tied=False)

    def _height(self, shape: BowTie) -> Array:
        """Of the hull, in the middle."""
        (low, high), (bottom, top) = shape.ceiling, shape.floor
        return (low / 2 + high / 2) - (bottom / 2 + top / 2)


def _outward(x: Array, way: float) -> Array:
    """A sum or difference of two numbers with its rounding."""
    return x + way * epsilon(x) * namespace(x).abs(x)


class SigmoidDifference(SmoothDifference):
    """sigmoid(n') - sigmoid(n)."""

    curve = Sigmoid()


class TanhDifference(SmoothDifference):
    """tanh(n') - tanh(n)."""

    curve = Tanh()


KINDS: dict[str, type[SmoothDifference]] = {"sigmoid_difference": SigmoidDifference, "tanh_difference": TanhDifference}
