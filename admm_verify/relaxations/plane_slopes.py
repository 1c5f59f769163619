"""Slopes of the planes below and above relu(n') - relu(n) over a polygon of n, D = n' - n and n'."""

from dataclasses import dataclass
from typing import Any

from admm_verify.arrays import Array, namespace
from admm_verify.relaxations.curves import between
from admm_verify.relaxations.polygons import Polygon, Triple

PLANES = 5
"""On each side."""


def tilts(polygon: Polygon) -> Triple:
    """The slopes of all planes, [planes, 2, ..., n] each: those below, then those above.

    Below phi are planes -(s n' - t D + w n) for slopes s, t, w above the turned one.
    """
    xp, turned = namespace(*polygon.low), polygon.turned
    both = Polygon(_paired(xp, turned.low, polygon.low), _paired(xp, turned.high, polygon.high))
    n, d, m = (xp.stack(list(part), axis=0) for part in zip(*_above(both), strict=True))
    return (
        xp.stack([-m[:, 0, ...], n[:, 1, ...]], axis=1),
        d,
        xp.stack([-n[:, 0, ...], m[:, 1, ...]], axis=1),
    )


def _paired(xp: Any, below: Triple, above: Triple) -> Triple:
    n, d, m = (xp.stack(list(xp.broadcast_arrays(*pair)), axis=0) for pair in zip(below, above, strict=True))
    return n, d, m


@dataclass(frozen=True, eq=False)
class _Chords:
    """Slopes of chords over the ranges of a polygon, 0 where a range is a point."""

    polygon: Polygon

    @property
    def of_most(self) -> Array:
        """In D, of the largest phi."""
        (ln, ld, lm), (un, ud, um) = self.polygon.low, self.polygon.high
        xp, zero = namespace(ln), namespace(ln).zeros_like(ln + ld + lm)

        def most(d: Array) -> Array:
            n = xp.where(d > 0, xp.minimum(un, um - d), xp.maximum(ln, lm - d))
            return xp.where(n >= 0, xp.maximum(d, -n), xp.maximum(n + d, zero))

        return _share(most(ud) - most(ld), ud - ld)

    @property
    def at_zero(self) -> Array:
        """In D, of relu(D), the value where n = 0."""
        (_, ld, lm), (_, ud, um) = self.polygon.low, self.polygon.high
        xp = namespace(ld)
        first, last = xp.maximum(ld, lm), xp.minimum(ud, um)
        zero = xp.zeros_like(first)
        return _share(xp.maximum(last, zero) - xp.maximum(first, zero), last - first)

    @property
    def of_gain(self) -> Array:
        """In n where it is positive, of the largest phi - D = relu(-n') - relu(-n)."""
        (ln, ld, lm), (un, _, _) = self.polygon.low, self.polygon.high
        xp, zero = namespace(ln), namespace(ln).zeros_like(ln + ld + lm)

        def gained(n: Array) -> Array:
            return xp.maximum(-xp.maximum(lm, n + ld), zero) - xp.maximum(-n, zero)

        at = between(zero, ln, un)
        return _share(gained(at) - gained(un), un - at)

    @property
    def of_top(self) -> Array:
        """In n where it is negative, of the largest phi."""
        (ln, ld, _), (un, ud, um) = self.polygon.low, self.polygon.high
        xp, zero = namespace(ln), namespace(ln).zeros_like(ln + ld + um)

        def top(n: Array) -> Array:
            return xp.maximum(xp.minimum(um, n + ud), zero) - xp.maximum(n, zero)

        at = between(zero, ln, un)
        return _share(top(at) - top(ln), at - ln)

    @property
    def of_second_gain(self) -> Array:
        """In n' where it is positive, of the largest phi - D."""
        (_, ld, lm), (un, _, um) = self.polygon.low, self.polygon.high
        xp, zero = namespace(lm), namespace(lm).zeros_like(un + ld + lm)

        def gained(m: Array) -> Array:
            return xp.maximum(-m, zero) - xp.maximum(-xp.minimum(un, m - ld), zero)

        at = between(ld + zero, lm, um)
        return _share(gained(at) - gained(um), um - at)

    @property
    def of_second_top(self) -> Array:
        """In n' where it is negative, of the largest phi."""
        (ln, _, lm), (_, ud, um) = self.polygon.low, self.polygon.high
        xp, zero = namespace(lm), namespace(lm).zeros_like(ln + ud + lm)

        def top(m: Array) -> Array:
            return xp.maximum(m, zero) - xp.maximum(xp.maximum(ln, m - ud), zero)

        at = between(ud + zero, lm, um)
        return _share(top(at) - top(lm), at - lm)

    @property
    def of_second(self) -> Array:
        """In n', of relu(n')."""
        lm, um = self.polygon.low[2], self.polygon.high[2]
        xp, one = namespace(lm), namespace(lm).ones_like(lm)
        return xp.where(lm >= 0, one, xp.where(um <= 0, 0.0 * one, _share(um, um - lm)))


def _above(polygon: Polygon) -> list[Triple]:
    """Slopes of planes above phi.

    Where n <= 0, phi = relu(n'), where n >= 0, D + relu(-n'), where n' >= 0, min(n', D) and where n' <= 0 min(-n, 0).
    Where both signs are open: z <= D's chord where n = 0; D and a chord in n of what phi is at most larger than D; a
    chord in n of what it is at most; and these two in n', whose range cuts the polygon's corners off.
    """
    (ln, ld, lm), (un, _, um), chords = polygon.low, polygon.high, _Chords(polygon)
    xp = namespace(ln)
    zero = xp.zeros_like(ln + ld + lm)
    one = zero + 1.0
    chord, fall, climb, steep = chords.of_most, chords.of_gain, chords.of_top, chords.of_second
    left, right, low, high = un <= 0, ln >= 0, um <= 0, lm >= 0
    exact = (left | right) & (low | high)
    # z = D, 0, -n, n' where both signs are known.
    own: Triple = (
        xp.where(right & ~high, -one, zero),
        xp.where(right & high, one, zero),
        xp.where(left & ~right & high, one, zero),
    )
    first: Triple = (
        zero,
        xp.where(left, zero, xp.where(right | high, one, xp.where(low, zero, chords.at_zero))),
        xp.where(left, steep, xp.where(right, steep - one, zero)),
    )
    second: Triple = (
        xp.where(left | right, zero, xp.where(high, zero, xp.where(low, -one, -fall))),
        xp.where(left | right, chord, xp.where(high | low, zero, one)),
        xp.where(left | right, zero, xp.where(high, one, zero)),
    )
    third: Triple = (
        xp.where(left, climb, xp.where(right, -fall, xp.where(high | low, zero, climb))),
        xp.where(left, zero, xp.where(right, one, xp.where(high | low, chord, zero))),
        zero,
    )
    fourth: Triple = (zero, xp.where(left, chord, one), -xp.where(left, zero, chords.of_second_gain))
    fifth: Triple = (zero, xp.where(high, one, zero), xp.where(high, zero, chords.of_second_top))
    found: list[Triple] = []
    for plane in (first, second, third, fourth, fifth):
        n, d, m = (xp.where(exact, known, part) for known, part in zip(own, plane, strict=True))
        found.append((n, d, m))
    return found


def _share(rise: Array, run: Array) -> Array:
    """rise / run, 0 where that is no number or run is not positive."""
    xp, some = namespace(rise), run > 0
    found = rise / xp.where(some, run, xp.ones_like(run))
    return xp.where(some & xp.isfinite(found), found, xp.zeros_like(found))
