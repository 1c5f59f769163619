"""One side of the hull of a curve: chords and parts of phi by turns, of which any may have no length."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from admm_verify.arrays import namespace
from admm_verify.relaxations.contract import Layer, Mask
from admm_verify.relaxations.curves import along_segment, between, chord_slope, nearest_on_line, stacked, tiniest

if TYPE_CHECKING:
    from admm_verify.relaxations.smooth import Piece, Smooth

TOUCHING_STEPS = 6
"""Steps towards a line that touches twice; they converge quadratically, from one side where one end is a point."""

NEAREST_STEPS, LOGARITHMIC_STEPS = 20, 8
"""Steps of a safeguarded Newton iteration towards a nearest point, the first ones on logarithms. Measured on ends and
points of sizes from 1e-2 to 10: relative errors below 1e-9 after 16 steps, and mostly rounding after 20.
"""


@dataclass(frozen=True, eq=False)
class Envelope:
    """The floor of a hull, or its ceiling where above: knots l = x_0 <= .. <= x_5 = u, with chords from x_0 to x_1,
    from x_2 to x_3 and from x_4 to x_5, and phi between.

    Shapes: knots and posts [6, ...].
    """

    curve: "Smooth"
    above: Mask
    knots: Layer
    posts: Layer

    @classmethod
    def of(cls, curve: "Smooth", lower: Layer, upper: Layer, above: Mask) -> "Envelope":
        """The convex, or concave, envelope of phi over [l, u]."""
        xp = namespace(lower, upper)
        first, *others = curve.pieces(lower, upper, above)
        t, s, v, w = first[0], first[1], upper, upper
        if curve.bends:
            second = others[0] if others else (upper, upper)
            parts = [((lower, lower), first), (first, second), *([(second, (upper, upper))] if others else [])]
            near, far = _touching(curve, parts, above)
            t, s, v = far[0, ...], near[1, ...], far[1, ...]
            if others:
                w = xp.maximum(v, near[2, ...])
            # Where the tangents from both ends miss each other, their chord is all of the envelope.
            missed = t > s
            t, s = xp.where(missed, lower, t), xp.where(missed, lower, s)
        knots = stacked(lower, t, s, v, w, upper)
        return cls(curve, above, knots, curve.value(knots))

    @classmethod
    def both(cls, curve: "Smooth", lower: Layer, upper: Layer) -> "Envelope":
        """Floor and ceiling along an axis before the others."""
        xp = namespace(lower, upper)
        above = xp.stack([xp.full_like(lower, side, dtype=xp.bool) for side in (False, True)])
        return cls.of(curve, lower[None, ...], upper[None, ...], above)

    @staticmethod
    def choice(chosen: Mask, both: "Envelope") -> "Envelope":
        """Of floor and ceiling, the latter where chosen, neuron by neuron."""
        xp = namespace(chosen)
        knots, posts = (xp.where(chosen, part[:, 1, ...], part[:, 0, ...]) for part in (both.knots, both.posts))
        return Envelope(both.curve, chosen, knots, posts)

    def height(self, pre: Layer, value: Layer) -> Layer:
        """The height at pre in [l, u], where phi is the value given."""
        xp, found = namespace(pre), value
        starts, ends = self.knots[0::2, ...], self.knots[1::2, ...]
        straight = along_segment(starts, self.posts[0::2, ...], ends, self.posts[1::2, ...], pre)
        within = (pre > starts) & (pre < ends)
        for k in range(3):
            found = xp.where(within[k, ...], straight[k, ...], found)
        return found

    def chords(self, least: Layer, most: Layer) -> Layer:
        """The slopes of the three chords, within the range of phi' given, which they have but for cancellation."""
        ends = self.knots[0::2, ...], self.posts[0::2, ...], self.knots[1::2, ...], self.posts[1::2, ...]
        return between(chord_slope(*ends, otherwise=least), least, most)

    def slope(self, pre: Layer, least: Layer, most: Layer) -> Layer:
        """A slope of the envelope at pre, within a range."""
        xp = namespace(pre)
        found = between(self.curve.slope_at(pre, self.above), least, most)
        starts, ends, chords = self.knots[0::2, ...], self.knots[1::2, ...], self.chords(least, most)
        within = (pre >= starts) & (pre <= ends) & (ends > starts)
        for k in range(3):
            found = xp.where(within[k, ...], chords[k, ...], found)
        return found

    def end_slopes(self, least: Layer, most: Layer) -> tuple[Layer, Layer]:
        """The slopes at l and at u, within a range: of the first and the last part that has a length."""
        xp, chords = namespace(self.knots), self.chords(least, most)
        long, found = self.knots[1:, ...] > self.knots[:-1, ...], []
        for end, order in ((self.knots[0, ...], range(4, -1, -1)), (self.knots[5, ...], range(5))):
            slope = tangent = between(self.curve.slope_at(end, self.above), least, most)
            for k in order:
                slope = xp.where(long[k, ...], tangent if k % 2 else chords[k // 2, ...], slope)
            found.append(slope)
        return found[0], found[1]


def _touching(curve: "Smooth", parts: "list[tuple[Piece, Piece]]", above: Mask) -> tuple[Layer, Layer]:
    """Where a line touches phi from below, or above, in both pieces of each part: the slope of the chord between the
    points that have its slope, again and again. This is Newton's method on the difference of both minima as a function
    of the slope.

    Shapes: the points [parts, ...] each.
    """
    start, end = (stacked(*(stacked(*(pair[side][k] for pair in parts)) for side in (0, 1))) for k in (0, 1))
    xp = namespace(start)
    found = stacked(end[0, ...], start[1, ...])
    for _ in range(TOUCHING_STEPS):
        (s, v), (low, high) = ((part[0, ...], part[1, ...]) for part in (found, curve.value(found)))
        slope = chord_slope(s, low, v, high, otherwise=xp.zeros_like(s))
        there = between(curve.stationary(slope[None, ...], start, end, above), start, end)
        found = xp.where(v > s, there, found)
    return found[0, ...], found[1, ...]


def nearest(curve: "Smooth", side: Envelope, pre: Layer, post: Layer) -> tuple[Layer, Layer]:
    """The nearest point of a floor, or a ceiling, from a point beyond it.

    Downhill from the p in [l, u] next to pre, as far as the envelope's lowest point (uphill, highest, above), the
    derivative D(p) = (p - pre) + (q - post) q' of half the squared distance changes sign once. Part by part from the
    left, D at the start of a part tells whether to go on into it.

    Valid when: the point lies below the hull, or above it where above.
    """
    xp = namespace(pre, post)
    lower, upper = side.knots[0, ...], side.knots[5, ...]
    near = between(pre, lower, upper)
    flat = curve.touch(lower, upper, xp.zeros_like(pre), side.above)[0]
    left, right = xp.minimum(near, flat), xp.maximum(near, flat)
    chords = side.chords(*curve.slope_range(lower, upper))
    p = left + xp.zeros_like(pre + post)
    q = side.height(p, curve.value(p))
    for k in range(5):
        start, end = (between(side.knots[i, ...], left, right) for i in (k, k + 1))
        if k % 2:
            slope, height = curve.slope_at(start, side.above), curve.value(start)
            found = _on_curve(curve, (start, end), pre, post, side.above, right == near)
            reached = curve.value(found)
        else:
            slope = chords[k // 2, ...]
            height = side.posts[k, ...] + slope * (start - side.knots[k, ...])
            found, reached, _ = nearest_on_line(start, height, end, slope, pre, post)
        onward = (end > start) & ((start - pre) + (height - post) * slope < 0)
        p, q = xp.where(onward, found, p), xp.where(onward, reached, q)
    return p, q


def _on_curve(curve: "Smooth", part: "Piece", pre: Layer, post: Layer, above: Mask, rising: Mask) -> Layer:
    """The p of a part of the curve where D(p) = 0, or the end next to it; rising: the envelope rises there.

    Turned so that phi is convex and increases, X(x) = Y(x) is solved for X = (phi - post) phi' and Y = pre - x. A
    bracket shrinks by Newton steps on log X - log Y at first, which sees exponentials and powers as lines, then on X -
    Y, and by halves where these lead out of it. As X <= pre - low, phi' is at most (pre - low) / (phi(low) - post)
    there.
    """
    xp = namespace(*part, pre, post)
    one = xp.ones_like(pre + post)
    flip, turn = xp.where(above, -one, one), xp.where(rising, one, -one)
    low, high = xp.where(rising, part[0], -part[1]) * one, xp.where(rising, part[1], -part[0]) * one
    aim, least = turn * pre, 4.0 * tiniest(one)
    rise, run = flip * (curve.value(turn * low) - post), aim - low
    some = (rise > least) & (run > least)
    steepest = xp.where(some, run, one) / xp.where(some, rise, one)
    there = between(turn * curve.stationary(turn * flip * steepest, *part, above), low, high)
    x = xp.where(some, there, high)
    for k in range(NEAREST_STEPS):
        p = turn * x
        rise, run = flip * (curve.value(p) - post), aim - x
        slope, bend = turn * flip * curve.slope_at(p, above), xp.maximum(flip * curve.second(p), xp.zeros_like(x))
        off = rise * slope
        low, high = xp.where(off >= run, low, x), xp.where(off >= run, x, high)
        new = x - (off - run) / (1.0 + slope * slope + xp.maximum(rise * bend, xp.zeros_like(rise)))
        if k < LOGARITHMIC_STEPS:
            usable = (rise > least) & (off > least) & (run > least) & (slope > least)
            rise, run, slope, off = (xp.where(usable, part, one) for part in (rise, run, slope, off))
            step = (xp.log(off) - xp.log(run)) / (slope / rise + bend / slope + 1.0 / run)
            new = xp.where(usable & (x - step > low) & (x - step < high), x - step, new)
        x = xp.where((new >= low) & (new <= high) & xp.isfinite(bend), new, 0.5 * low + 0.5 * high)
    return between(turn * x, *part)
