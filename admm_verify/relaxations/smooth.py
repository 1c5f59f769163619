"""Hulls of curves that are convex and concave by turns, given where they turn: functions of one source, record by
record.

A record says what phi, phi' and phi'' are, where phi turns from convex to concave (its inflections), where it is least
or greatest (its extrema), on which intervals it is defined, and where it has a given slope. From these come touching
points, certified minima, floor and ceiling, nearest points, images and Lipschitz constants.

On [l, u] the minimum of a phi(p) - g p is at l, at u or in a piece where a phi is convex; there
a phi(p) - g p >= h(t) + h'(t) (p - t) for every t of the piece, however t was found.

Where [l, u] leaves the domain, has an infinite end, or phi overflows, there is no hull: `image` says what is known,
maybe nothing (from -infinity to infinity), `support` is -infinity wherever phi or p counts, so that no bound comes of
it, and all else is of some point of the domain.
"""

from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise

from admm_verify.arrays import namespace
from admm_verify.relaxations.contract import Layer, Mask, Relaxation, SlopeRange
from admm_verify.relaxations.curves import between, epsilon, raised, stacked, tiniest
from admm_verify.relaxations.envelopes import Envelope, nearest

INFINITY = float("inf")

STEEPEST = 2.0**6
"""Slopes worth choosing are at most so many times the usual ones on [l, u]."""

Piece = tuple[Layer, Layer]
"""The ends of a part of [l, u] where phi is convex, or concave; equal ends where there is none."""


class Smooth(Relaxation):
    """What these relaxations share; a subclass gives phi, its derivatives and its shape.

    Computed phi and phi' are within 16 roundings, relatively, unless they underflow or a record says otherwise.
    """

    inflections: tuple[float, ...] = ()
    """Where phi turns from convex to concave or back, from left to right."""
    convex_first: bool = True
    """Whether phi is convex left of its first inflection."""
    extrema: tuple[float, ...] = ()
    """Where phi' is 0 inside the domain."""
    values: tuple[float, float] = (-INFINITY, INFINITY)
    """The infimum and supremum of phi."""
    steep: bool = False
    """Whether phi' has no bound next to a point, where slopes beyond all use are left out."""
    inside: float = 1.0
    """A point of the domain."""

    @abstractmethod
    def value(self, x: Layer) -> Layer:
        """phi(x)."""

    @abstractmethod
    def derivative(self, x: Layer) -> Layer:
        """phi'(x)."""

    @abstractmethod
    def second(self, x: Layer) -> Layer:
        """phi''(x), roughly."""

    @abstractmethod
    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        """The point near [start, end], a piece where phi is convex, or concave where above, at which phi' comes nearest
        to the slope; any finite number where the piece has no length.
        """

    def polished(self, x: Layer, slope: Layer) -> Layer:
        """A point where phi' is nearer to the slope than at one that is near; by default that one."""
        return x

    def slope_at(self, x: Layer, above: Mask) -> Layer:
        """phi'(x), at a kink the one on the side of the convex piece, of the concave one where above."""
        return self.derivative(x)

    def gradient(self, x: Layer) -> Layer:
        return self.derivative(x)

    def value_error(self, x: Layer, value: Layer) -> Layer:
        """A bound on |computed phi - phi| at x."""
        return 8.0 * epsilon(value) * namespace(value).abs(value) + tiniest(value)

    def slope_error(self, x: Layer, slope: Layer) -> Layer:
        """A bound on |computed phi' - phi'| at x."""
        return 8.0 * epsilon(slope) * namespace(slope).abs(slope) + tiniest(slope)

    def tops(self, lower: Layer, upper: Layer) -> tuple[Layer, ...]:
        """Points of [l, u] with the least and the greatest value among them."""
        xp = namespace(lower, upper)
        return lower, upper, *(between(xp.full_like(lower, x), lower, upper) for x in self.extrema)

    def turns(self, lower: Layer, upper: Layer) -> tuple[Layer, ...]:
        """Points of [l, u] with the least and the greatest phi' among them."""
        xp = namespace(lower, upper)
        return lower, upper, *(between(xp.full_like(lower, x), lower, upper) for x in self.inflections)

    def pieces(self, lower: Layer, upper: Layer, above: Mask) -> tuple[Piece, ...]:
        """The parts of [l, u] where phi is convex, concave where above, from left to right."""
        xp = namespace(lower, upper)
        edges = (-INFINITY, *self.inflections, INFINITY)
        runs = list(pairwise(edges))
        convex, concave = runs[0::2], runs[1::2]
        if not self.convex_first:
            convex, concave = concave, convex
        nothing = INFINITY, INFINITY
        found = []
        for k in range(max(len(convex), len(concave))):
            below, over = (side[k] if k < len(side) else nothing for side in (convex, concave))
            ends = [
                xp.where(above, xp.full_like(lower, o), xp.full_like(lower, b))
                for b, o in zip(below, over, strict=True)
            ]
            found.append((between(ends[0], lower, upper), between(ends[1], lower, upper)))
        return tuple(found)

    @property
    def bends(self) -> bool:
        """Whether phi is neither convex nor concave on the whole of its domain."""
        return bool(self.inflections)

    def flaw(self, lower: Layer, upper: Layer) -> Layer | float:
        """What minima lose where computed ends of pieces miss the true ones, per unit of phi."""
        return 0.0

    def slope_range(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """The least and the greatest phi' on [l, u], as computed."""
        xp = namespace(lower, upper)
        found = self.derivative(stacked(*self.turns(lower, upper)))
        return xp.min(found, axis=0), xp.max(found, axis=0)

    def regular(self, lower: Layer, upper: Layer) -> tuple[Mask, Layer, Layer]:
        """Where phi is defined and finite on [l, u], and ends of which that holds everywhere."""
        xp = namespace(lower, upper)
        fine = xp.isfinite(lower) & xp.isfinite(upper) & self.admits(lower, upper)
        point = xp.full_like(lower, self.inside)
        lower, upper = xp.where(fine, lower, point), xp.where(fine, upper, point)
        finite = xp.all(xp.isfinite(self.value(stacked(lower, upper))), axis=0)
        return fine & finite, xp.where(finite, lower, point), xp.where(finite, upper, point)

    def image(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """The least and the greatest of phi at both ends and at extrema, with the error of each, within phi's values.

        All values for an infinite end; all numbers where [l, u] leaves the domain. The smallest normal number makes
        max|phi| of an image a measure of underflow errors in phi too.
        """
        xp = namespace(lower, upper)
        finite, defined = xp.isfinite(lower) & xp.isfinite(upper), self.admits(lower, upper)
        usual = finite & defined
        point = xp.full_like(lower, self.inside)
        x = stacked(*self.tops(xp.where(usual, lower, point), xp.where(usual, upper, point)))
        value = self.value(x)
        error = 2.0 * self.value_error(x, value)
        down, up = xp.min(value - error, axis=0), xp.max(value + error, axis=0)
        least, greatest = (xp.full_like(lower, value) for value in self.values)
        # Where phi overflows, value and error are infinite and their difference is not a number.
        down = xp.where(finite & ~xp.isnan(down), xp.maximum(down, least), least)
        up = xp.where(finite & ~xp.isnan(up), xp.minimum(up, greatest), greatest)
        infinite = xp.full_like(down, INFINITY)
        return xp.where(defined, down, -infinite), xp.where(defined, up, infinite)

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        """The largest |phi'| at both ends and at inflections, with its error; infinite where there is no hull."""
        xp = namespace(lower, upper)
        fine, lower, upper = self.regular(lower, upper)
        x = stacked(*self.turns(lower, upper))
        slope = self.derivative(x)
        most = xp.max(xp.abs(slope) + 2.0 * self.slope_error(x, slope), axis=0)
        return xp.where(fine & ~xp.isnan(most), most, xp.full_like(most, INFINITY))

    def slopes_over(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """The least and the greatest phi', with the largest error of those that are compared."""
        xp = namespace(lower, upper)
        fine = xp.isfinite(self.gain(lower, upper))
        point = xp.full_like(lower, self.inside)
        lower, upper = xp.where(fine, lower, point), xp.where(fine, upper, point)
        x, (least, most) = stacked(*self.turns(lower, upper)), self.slope_range(lower, upper)
        error = xp.max(2.0 * self.slope_error(x, self.derivative(x)), axis=0)
        infinite = xp.full_like(error, INFINITY)
        return xp.where(fine, least - error, -infinite), xp.where(fine, most + error, infinite)

    def slopes(self, lower: Layer, upper: Layer) -> SlopeRange:
        """Those of floor and ceiling at both ends; by default those at m = (l + u) / 2.

        Among lines on one side of phi the one of least area is best at m, so it touches the hull's boundary there.
        """
        xp = namespace(lower, upper)
        _, lower, upper = self.regular(lower, upper)
        least, most = self._capped(lower, upper)
        both = Envelope.both(self, lower, upper)
        first, last = both.end_slopes(least, most)
        low, high = xp.minimum(first, last), xp.maximum(first, last)
        middle = between(both.slope(0.5 * lower + 0.5 * upper, least, most), low, high)
        return SlopeRange(
            lower_min=low[0, ...],
            lower_max=high[0, ...],
            upper_min=low[1, ...],
            upper_max=high[1, ...],
            lower=middle[0, ...],
            upper=middle[1, ...],
        )

    def touch(self, lower: Layer, upper: Layer, slope: Layer, above: Mask) -> tuple[Layer, Layer]:
        """The best of l, u and the points of that slope in the pieces that are convex, or concave where above."""
        return self.toucher(lower, upper)(slope, above)

    def toucher(self, lower: Layer, upper: Layer) -> Callable[[Layer, Mask], tuple[Layer, Layer]]:
        _, lower, upper = self.regular(lower, upper)
        xp = namespace(lower)
        low, high = self.value(lower), self.value(upper)
        convex, concave = (
            self.pieces(lower, upper, xp.full_like(lower, side, dtype=xp.bool)) for side in (False, True)
        )

        def touched(slope: Layer, above: Mask) -> tuple[Layer, Layer]:
            xp = namespace(lower, slope)
            pieces = list(zip(convex, concave, strict=True))
            start, end = (stacked(*(xp.where(above, over[k], below[k]) for below, over in pieces)) for k in (0, 1))
            inner = between(self.stationary(slope, start, end, above), start, end)
            posts = self.value(inner)
            best = lower, low
            for p, q in (*((inner[k, ...], posts[k, ...]) for k in range(len(pieces))), (upper, high)):
                gain = (q - best[1]) - slope * (p - best[0])
                better = xp.where(above, -gain, gain) < 0
                best = xp.where(better, p, best[0]), xp.where(better, q, best[1])
            return best

        return touched

    def support(self, lower: Layer, upper: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
        """A lower bound of min over [l, u] of h(p) = a phi(p) - g p, which is the minimum over the hull.

        The least of h at both ends and, piece by piece, of h(t) + min(h'(t) (start - t), h'(t) (end - t), 0).

        Error: what values and slopes can be off by is subtracted here; what is left is the rounding of those products
        and sums, fewer than 32 roundings of |a| max|phi| + |g| max|p|.
        """
        xp = namespace(lower, upper, post_weight, pre_weight)
        ends = lower, upper
        fine, lower, upper = self.regular(lower, upper)
        above, size = post_weight < 0, xp.abs(post_weight)
        lower, upper = (raised(end, post_weight, pre_weight) for end in (lower, upper))
        ratio = self._ratio(lower, upper, post_weight, pre_weight)
        zero = xp.zeros_like(size)
        bound = xp.min(self._level(stacked(lower, upper), post_weight, pre_weight), axis=0)
        pieces = self.pieces(lower, upper, above)
        left, right = (stacked(*(piece[k] for piece in pieces)) for k in (0, 1))
        t = between(self.stationary(ratio, left, right, above), left, right)
        t = between(self.polished(t, ratio), left, right)
        slope = self.slope_at(t, above)
        charge = size * self.slope_error(t, slope)
        tilt = post_weight * slope - pre_weight
        drop = xp.minimum((tilt + charge) * (left - t), (tilt - charge) * (right - t))
        inner = self._level(t, post_weight, pre_weight) + xp.minimum(drop, zero)
        bound = xp.minimum(bound, xp.min(inner, axis=0)) - size * self.flaw(lower, upper)
        known = fine & ~xp.isnan(bound)
        return xp.where(known, bound, self._unbounded(ends, post_weight, pre_weight))

    def hull(self, lower: Layer, upper: Layer, pre: Layer) -> tuple[Layer, Layer]:
        """phi on the curved parts and chords between points of the graph elsewhere: from inside wherever those are."""
        xp = namespace(lower, upper, pre)
        _, lower, upper = self.regular(lower, upper)
        near = between(pre, lower, upper)
        value = self.value(near)
        height = self._both(lower, upper, near).height(near, value)
        # The graph itself is in the hull, and rounding must not exclude it.
        return xp.minimum(height[0, ...], value), xp.maximum(height[1, ...], value)

    def project(self, lower: Layer, upper: Layer, pre: Layer, post: Layer) -> tuple[Layer, Layer]:
        """The point itself inside, else the nearest one on the floor or, from above, on the ceiling."""
        xp = namespace(lower, upper, pre, post)
        _, lower, upper = self.regular(lower, upper)
        near = between(pre, lower, upper)
        both = self._both(lower, upper, near)
        value = self.value(near)
        height = both.height(near, value)
        low, high = xp.minimum(height[0, ...], value), xp.maximum(height[1, ...], value)
        above = post > high
        inside = (pre == near) & (post >= low) & ~above
        p, q = nearest(self, Envelope.choice(above, both), pre, post)
        return xp.where(inside, pre, p), xp.where(inside, post, q)

    def _both(self, lower: Layer, upper: Layer, like: Layer) -> Envelope:
        """Floor and ceiling, for points with more axes."""
        return Envelope.both(self, raised(lower, like), raised(upper, like))

    def _capped(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """The range of phi' on [l, u], without slopes that are steep beyond use."""
        xp = namespace(lower, upper)
        least, most = self.slope_range(lower, upper)
        if not self.steep:
            return least, most
        run = upper - lower
        width = xp.maximum(run, xp.full_like(run, tiniest(run)))
        found = self.value(stacked(*self.tops(lower, upper)))
        low, high = xp.min(found, axis=0), xp.max(found, axis=0)
        usual = xp.maximum((high - low) / width, xp.abs(self.derivative(0.5 * lower + 0.5 * upper)))
        limit = STEEPEST * usual
        return xp.maximum(least, -limit), xp.minimum(most, limit)

    def _ratio(self, lower: Layer, upper: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
        """g / a moved into the range of phi', of which a minimum inside has one."""
        xp = namespace(lower, upper, post_weight, pre_weight)
        least, most = self.slope_range(lower, upper)
        largest = 2.0 ** (500 if epsilon(lower) < 1e-10 else 60)
        moderate = xp.abs(pre_weight) < largest * xp.abs(post_weight)
        steep = xp.where((pre_weight < 0) == (post_weight < 0), largest * xp.ones_like(post_weight), -largest)
        ratio = xp.where(moderate, pre_weight / xp.where(moderate, post_weight, xp.ones_like(post_weight)), steep)
        return between(ratio, least, most)

    def _level(self, p: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
        """A lower bound of a phi(p) - g p."""
        value = self.value(p)
        return post_weight * value - pre_weight * p - namespace(value).abs(post_weight) * self.value_error(p, value)

    def _unbounded(self, ends: Piece, post_weight: Layer, pre_weight: Layer) -> Layer:
        """The lower bound where there is no hull: of the image for g = 0, 0 where nothing counts, else -infinity."""
        xp = namespace(*ends, post_weight)
        low, high = self.image(*ends)
        zero = xp.zeros_like(post_weight)
        flat = xp.where(post_weight > 0, post_weight * low, xp.where(post_weight < 0, post_weight * high, zero))
        nothing = xp.full_like(flat, -INFINITY)
        return xp.where((pre_weight == 0) & ~xp.isnan(flat), flat, nothing)
