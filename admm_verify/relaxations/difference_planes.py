"""Planes below and above relu(n') - relu(n) over ranges of n, of D = n' - n and of n'."""

from dataclasses import dataclass

from admm_verify.arrays import Array, Float, namespace, take_rows
from admm_verify.relaxations.contract import Mask
from admm_verify.relaxations.curves import between, tiniest
from admm_verify.relaxations.lines import Contact, Slopes
from admm_verify.relaxations.polygons import Polygon, Triple, abreast, triple

_PACE = 0.1
"""Of a weight, for each height of the hull."""


@dataclass(frozen=True, eq=False)
class DifferencePlanes:
    """Linear bounds of differences: means of a few planes below, and of a few above.

    Slopes here are weights of the planes, of which the shares count: those of all planes below one after the other,
    then those of all above. tilt: the planes' slopes in the operands, rise: their heights at zero.
    Shapes: tilt [..., planes 3 n] and rise [..., planes n] of both sides; start [..., 2 planes n]; size [..., n], of
    the hull's height.
    """

    tilt: tuple[Array, Array]
    rise: tuple[Array, Array]
    start: Slopes
    size: Array
    bent: Mask

    @classmethod
    def of(cls, lower: Array, upper: Array) -> "DifferencePlanes":
        """Over ranges [..., 3 n]."""
        polygon = Polygon.of(lower, upper)
        xp, one = namespace(lower), None
        sides, rises, starts, best = [], [], [], []
        for sign in (1.0, -1.0):
            tilts = _above(polygon) if sign < 0 else [_turned(tilt) for tilt in _above(polygon.turned)]
            one = xp.ones_like(polygon.vertices[0][0])
            rise = [sign * polygon.least(sign * one, tuple(sign * part for part in tilt)) for tilt in tilts]
            middle = [
                sign * (sum(s * p for s, p in zip(tilt, polygon.middle, strict=True)) + height)
                for tilt, height in zip(tilts, rise, strict=True)
            ]
            top = middle[0]
            for other in middle[1:]:
                top = xp.maximum(top, other)
            left, weights = xp.ones_like(one), []
            for height in middle:
                own = xp.where(height >= top, left, xp.zeros_like(left))
                weights.append(own)
                left = left - own
            sides.append(xp.concat([part + xp.zeros_like(one) for tilt in tilts for part in tilt], axis=-1))
            rises.append(xp.concat(rise, axis=-1))
            starts += weights
            best.append(sign * top)
        below, above = best
        size = xp.maximum(above - below, xp.zeros_like(above))
        return cls((sides[0], sides[1]), (rises[0], rises[1]), xp.concat(starts, axis=-1), size, polygon.bent)

    @property
    def minimum(self) -> Slopes:
        return namespace(self.start).zeros_like(self.start)

    @property
    def maximum(self) -> Slopes:
        return namespace(self.start).ones_like(self.start)

    @property
    def span(self) -> Slopes:
        """The unit of a step."""
        return self.maximum

    @property
    def pace(self) -> Slopes:
        xp, size = namespace(self.size), self.size
        each = xp.where(size > 0, _PACE / xp.where(size > 0, size, xp.ones_like(size)), xp.zeros_like(size))
        return xp.concat([each] * (2 * self._planes), axis=-1)

    @property
    def parallel(self) -> Slopes:
        return self.start

    @property
    def middle(self) -> Array:
        """The mean of the slopes below and above, of the operands."""
        up = namespace(self.size).ones_like(self.size)
        return 0.5 * (self.contact(up, self.start).slope + self.contact(-up, self.start).slope)

    def loss(self, a: Array) -> Array:
        loss = namespace(a).abs(a) * self.size
        return abreast(loss, loss, loss)

    def contact(self, a: Array, slopes: Slopes) -> Contact:
        xp, up = namespace(a), a > 0
        total = xp.zeros_like(a)
        slope = height = total
        for k in range(self._planes):
            weight = self._weight(up, slopes, k)
            total = total + weight
            height = height + weight * xp.where(up, self._own(self.rise[0], k), self._own(self.rise[1], k))
            tilt = [xp.where(up, low, high) for low, high in zip(*self._tilts(k), strict=True)]
            slope = slope + abreast(*(weight * part for part in tilt)) if k else abreast(*(weight * t for t in tilt))
        total = xp.maximum(total, xp.full_like(total, tiniest(total)))
        return Contact(slope / abreast(total, total, total), intercept=height / total)

    def multiplier(self, a: Array, contact: Contact) -> Array:
        return contact.slope * abreast(a, a, a)

    def value(self, a: Array, contact: Contact) -> Float[Array, "*#rows"]:
        return namespace(a).sum(a * contact.height, axis=-1)

    def post(self, a: Array, contact: Contact, pre: Array) -> Array:
        first, second, third = triple(contact.slope * pre)
        return first + second + third + contact.height

    def direction(self, a: Array, contact: Contact, pre: Array) -> Slopes:
        """How much higher each plane in use is than their mean; for planes above, how much lower."""
        xp, own = namespace(a, pre), self.post(a, contact, pre)
        zero, found = xp.zeros_like(a * own), []
        for side, used, sign in ((0, a > 0, 1.0), (1, a < 0, -1.0)):
            for k in range(self._planes):
                tilt, rise = self._tilts(k)[side], self._own(self.rise[side], k)
                height = sum((s * p for s, p in zip(tilt, triple(pre), strict=True)), rise)
                found.append(xp.where(used, sign * (height - own), zero))
        return xp.concat(found, axis=-1)

    def gradient(self, a: Array, contact: Contact, pre: Array) -> Slopes:
        """The supergradient of D in the weights where their sum is one, |a| direction."""
        size = namespace(a).abs(a)
        return abreast(*[size] * (2 * self._planes)) * self.direction(a, contact, pre)

    def nearest(self, a: Array, multiplier: Array) -> Array:
        slopes = self.recover(a, multiplier)
        return self.multiplier(a, self.contact(a, slopes))

    def recover(self, a: Array, multiplier: Array) -> Slopes:
        """Weights that fall off with how far each plane's slopes are from the multipliers'."""
        xp = namespace(a)
        some = xp.where(a == 0, xp.ones_like(a), a)
        ratio = [part / some for part in triple(multiplier)]
        found = []
        for side, used in ((0, a > 0), (1, a < 0)):
            away = [
                sum(((s - r) ** 2 for s, r in zip(self._tilts(k)[side], ratio, strict=True)), xp.zeros_like(a))
                for k in range(self._planes)
            ]
            near = [1.0 / (far + 1e-12) for far in away]
            most = near[0]
            for other in near[1:]:
                most = xp.maximum(most, other)
            for k, own in enumerate(near):
                start = self._own(self.start, side * self._planes + k)
                found.append(xp.where(used, own / most, start + xp.zeros_like(own)))
        return xp.concat(found, axis=-1)

    def take(self, rows: Array) -> "DifferencePlanes":
        def both(pair: tuple[Array, Array]) -> tuple[Array, Array]:
            return take_rows(pair[0], rows), take_rows(pair[1], rows)

        start, size, bent = (take_rows(part, rows) for part in (self.start, self.size, self.bent))
        return DifferencePlanes(both(self.tilt), both(self.rise), start, size, bent)

    @property
    def _planes(self) -> int:
        return self.rise[0].shape[-1] // self.size.shape[-1]

    def _own(self, layer: Array, k: int) -> Array:
        """Block k of a layer, [..., n]."""
        size = self.size.shape[-1]
        return layer[..., k * size : (k + 1) * size]

    def _weight(self, up: Mask, slopes: Slopes, k: int) -> Array:
        return namespace(slopes).where(up, self._own(slopes, k), self._own(slopes, self._planes + k))

    def _tilts(self, k: int) -> tuple[Triple, Triple]:
        """The slopes of plane k below and above."""
        below, above = self.tilt
        n, d, m = (self._own(below, 3 * k + i) for i in range(3))
        return (n, d, m), (self._own(above, 3 * k), self._own(above, 3 * k + 1), self._own(above, 3 * k + 2))


def _turned(tilt: Triple) -> Triple:
    """Slopes below phi from slopes above the turned one: z >= -(s n' - t D + w n) for z' <= s n + t D + w n'."""
    first, second, third = tilt
    return -third, second, -first


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
    def of_second(self) -> Array:
        """In n', of relu(n')."""
        lm, um = self.polygon.low[2], self.polygon.high[2]
        xp, one = namespace(lm), namespace(lm).ones_like(lm)
        return xp.where(lm >= 0, one, xp.where(um <= 0, 0.0 * one, _share(um, um - lm)))


def _above(polygon: Polygon) -> list[Triple]:
    """Slopes of planes above phi.

    Where n <= 0, phi = relu(n'), where n >= 0, D + relu(-n'), where n' >= 0, min(n', D) and where n' <= 0 min(-n, 0).
    Where both signs are open: z <= D's chord; D and a chord in n of what phi is at most larger than D; and a chord in n
    of what it is at most.
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
        xp.where(left, zero, xp.where(right | high, one, xp.where(low, zero, chord))),
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
    found: list[Triple] = []
    for plane in (first, second, third):
        n, d, m = (xp.where(exact, known, part) for known, part in zip(own, plane, strict=True))
        found.append((n, d, m))
    return found


def _share(rise: Array, run: Array) -> Array:
    """rise / run, 0 where that is no number or run is not positive."""
    xp, some = namespace(rise), run > 0
    found = rise / xp.where(some, run, xp.ones_like(run))
    return xp.where(some & xp.isfinite(found), found, xp.zeros_like(found))
