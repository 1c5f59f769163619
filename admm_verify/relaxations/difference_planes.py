"""Planes below and above relu(n') - relu(n) over ranges of n, of D = n' - n and of n'."""

from dataclasses import dataclass

from admm_verify.arrays import Array, Float, Placement, inner, namespace, take_rows
from admm_verify.relaxations.contract import Mask
from admm_verify.relaxations.curves import epsilon, tiniest
from admm_verify.relaxations.lines import Contact, Slopes
from admm_verify.relaxations.plane_slopes import PLANES, tilts
from admm_verify.relaxations.polygons import Polygon, Triple, abreast, triple
from admm_verify.relaxations.simplices import nearest_mean

_PACE = 0.1
"""Of a weight, for each height of the hull."""

_SPAN = 0.25
"""Of a step of a weight: measured; whole steps leave the planes that climbs start from before they know others."""

_SPARE = 24.0
"""Of two roundings, of which slopes of a mean and the heights of planes take fewer."""


@dataclass(frozen=True, eq=False)
class PlaneContact(Contact):
    """Planes in use: of each its weight, slopes and height at zero, and the sum of the weights, [..., n]."""

    parts: tuple[tuple[Array, Triple, Array], ...] = ()


@dataclass(frozen=True, eq=False)
class DifferencePlanes:
    """Linear bounds of differences: means of a few planes below, and of a few above.

    Slopes here are weights of the planes, of which the shares count: those of all planes below one after the other,
    then those of all above. tilt: the planes' slopes in the operands; rise: their heights at zero, further out than
    their touching points by what slopes of a mean may be rounded by. tied: whether n' = n + D on the hull.
    Shapes: tilt [..., 2 planes 3 n]; rise, start [..., 2 planes n]; size [..., n], of the hull's height.
    Error: a mean of planes as computed is off by fewer than 32 roundings of |slope| max|p| + max|phi|.
    """

    tilt: Array
    rise: Array
    start: Slopes
    size: Array
    bent: Mask
    tied: bool = True

    @classmethod
    def of(cls, lower: Array, upper: Array) -> "DifferencePlanes":
        """Over ranges [..., 3 n]."""
        polygon = Polygon.of(lower, upper)
        xp, tilt = namespace(lower), tilts(polygon)
        least, most, (n, d, m, z, some) = None, None, polygon.vertices
        for k in range(z.shape[0]):
            # Vertices that do not count stand for nothing.
            gap = z[k, ...] - (tilt[0] * n[k, ...] + tilt[1] * d[k, ...] + tilt[2] * m[k, ...])
            low = xp.where(some[k, ...], gap[:, 0, ...], xp.full_like(gap[:, 0, ...], float("inf")))
            high = xp.where(some[k, ...], gap[:, 1, ...], xp.full_like(gap[:, 1, ...], -float("inf")))
            least, most = (
                (low, high) if least is None or most is None else (xp.minimum(least, low), xp.maximum(most, high))
            )
        assert least is not None and most is not None
        reach = [xp.maximum(xp.abs(low), xp.abs(high)) for low, high in zip(polygon.low, polygon.high, strict=True)]
        size: Array = xp.max(xp.abs(z), axis=0)
        for part, far in zip(tilt, reach, strict=True):
            size = size + xp.abs(part) * far
        spare = _SPARE * epsilon(size) * size + 8.0 * tiniest(size)
        rise = xp.stack([least - spare[:, 0, ...], most + spare[:, 1, ...]], axis=1)
        middle: Array = rise
        for part, at in zip(tilt, polygon.middle, strict=True):
            middle = middle + part * at
        best = xp.max(middle[:, 0, ...], axis=0), xp.min(middle[:, 1, ...], axis=0)
        chosen = [middle[:, 0, ...] >= best[0], middle[:, 1, ...] <= best[1]]
        blocks = [xp.concat([part[k, side, ...] for part in tilt], axis=-1) for side in (0, 1) for k in range(PLANES)]
        return cls(
            xp.concat(blocks, axis=-1),
            xp.concat([rise[k, side, ...] for side in (0, 1) for k in range(PLANES)], axis=-1),
            xp.concat([xp.astype(own, rise.dtype) for side in chosen for own in _firsts(side)], axis=-1),
            xp.maximum(best[1] - best[0], xp.zeros_like(best[0])),
            polygon.bent,
        )

    def put(self, placement: Placement) -> "DifferencePlanes":
        """The same planes elsewhere, rounded where the precision is lower."""
        tilt, rise, start, size = map(placement.put, (self.tilt, self.rise, self.start, self.size))
        return DifferencePlanes(tilt, rise, start, size, placement.put_flags(self.bent), self.tied)

    @property
    def minimum(self) -> Slopes:
        return namespace(self.start).zeros_like(self.start)

    @property
    def maximum(self) -> Slopes:
        return namespace(self.start).ones_like(self.start)

    @property
    def span(self) -> Slopes:
        """The unit of a step."""
        return _SPAN * self.maximum

    @property
    def pace(self) -> Slopes:
        xp, size = namespace(self.size), self.size
        each = xp.where(size > 0, _PACE / xp.where(size > 0, size, xp.ones_like(size)), xp.zeros_like(size))
        return xp.concat([each] * (2 * self._count), axis=-1)

    @property
    def parallel(self) -> Slopes:
        return self.start

    @property
    def middle(self) -> Array:
        """The mean of the slopes below and above, of the operands."""
        (below, _), (above, _) = self.started
        return 0.5 * (below + above)

    @property
    def started(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Slopes and heights of the planes that are chosen at the start, below and above: one of each neuron."""
        found = []
        for side in (0, 1):
            slope, height = self._tilts(0)[side], self._sides(self.rise, 0)[side]
            for k in range(1, self._count):
                own = self._sides(self.start, k)[side] > 0
                xp, rise = namespace(own), self._sides(self.rise, k)[side]
                slope = tuple(xp.where(own, new, old) for new, old in zip(self._tilts(k)[side], slope, strict=True))
                height = xp.where(own, rise, height)
            found.append((abreast(*slope), height))
        return found[0], found[1]

    def loss(self, a: Array) -> Array:
        loss = namespace(a).abs(a) * self.size
        return abreast(loss, loss, loss)

    def contact(self, a: Array, slopes: Slopes) -> PlaneContact:
        xp, up = namespace(a), a > 0
        parts = []
        for k in range(self._count):
            weight, rise = (xp.where(up, *self._sides(layer, k)) for layer in (slopes, self.rise))
            below, above = self._tilts(k)
            n, d, m = (xp.where(up, low, high) for low, high in zip(below, above, strict=True))
            parts.append((weight, (n, d, m), rise))
        total = parts[0][0]
        for weight, _, _ in parts[1:]:
            total = total + weight
        # Weights that are all zero choose nothing; the first plane then counts.
        none = total <= 0
        total = xp.where(none, xp.ones_like(total), total)
        shares = [weight / total for weight, _, _ in parts]
        shares[0] = xp.where(none, xp.ones_like(total), shares[0])
        own = [xp.zeros_like(total)] * 4
        for share, (_, tilt, rise) in zip(shares, parts, strict=True):
            own = [sum_ + share * part for sum_, part in zip(own, (*tilt, rise), strict=True)]
        return PlaneContact(abreast(*own[:3]), intercept=own[3], parts=tuple(parts))

    def between(self, pre: Array) -> tuple[Array, Array]:
        """The highest of the planes below and the lowest of those above."""
        xp, operands = namespace(pre), triple(pre)
        floor = ceiling = None
        for k in range(self._count):
            rises = self._sides(self.rise, k)
            low, high = (
                sum((slope * p for slope, p in zip(tilt, operands, strict=True)), rise)
                for tilt, rise in zip(self._tilts(k), rises, strict=True)
            )
            floor = low if floor is None else xp.maximum(floor, low)
            ceiling = high if ceiling is None else xp.minimum(ceiling, high)
        assert floor is not None and ceiling is not None, "there is a plane on each side"
        return floor, xp.maximum(floor, ceiling)

    def multiplier(self, a: Array, contact: Contact) -> Array:
        return contact.slope * abreast(a, a, a)

    def value(self, a: Array, contact: Contact) -> Float[Array, "*#rows"]:
        return inner(a, contact.height)

    def post(self, a: Array, contact: Contact, pre: Array) -> Array:
        first, second, third = triple(contact.slope * pre)
        return first + second + third + contact.height

    def _gains(self, contact: Contact, own: Array, pre: Array) -> list[Array]:
        """How much higher each plane in use is than their mean."""
        assert isinstance(contact, PlaneContact), "of these planes"
        n, d, m = triple(pre)
        return [s * n + t * d + w * m + rise - own for _, (s, t, w), rise in contact.parts]

    def direction(self, a: Array, contact: Contact, pre: Array) -> Slopes:
        """How much higher each plane in use is than their mean; for planes above, how much lower."""
        xp, gains = namespace(a, pre), self._gains(contact, self.post(a, contact, pre), pre)
        up, down = xp.astype(a > 0, a.dtype), xp.astype(a < 0, a.dtype)
        return abreast(*(up * gain for gain in gains), *(-down * gain for gain in gains))

    def gradient(self, a: Array, contact: Contact, pre: Array) -> Slopes:
        """The supergradient of D in the weights where their sum is one, |a| direction."""
        xp, gains = namespace(a, pre), self._gains(contact, self.post(a, contact, pre), pre)
        zero = xp.zeros_like(a)
        up, down = xp.maximum(a, zero), xp.minimum(a, zero)
        return abreast(*(up * gain for gain in gains), *(down * gain for gain in gains))

    def nearest(self, a: Array, multiplier: Array) -> Array:
        """With what multiplies n + D - n' as it is: on the hull that is zero."""
        own = self.multiplier(a, self.contact(a, self.recover(a, multiplier)))
        return own + self._tie(multiplier - own)

    def recover(self, a: Array, multiplier: Array) -> Slopes:
        """Weights of the means nearest to the multipliers; CROWN's where a is 0 or the planes are not in use."""
        xp = namespace(a)
        some = xp.where(a == 0, xp.ones_like(a), a)
        ratio, found = self._untied(abreast(*(part / some for part in triple(multiplier)))), []
        for side, used in ((0, a > 0), (1, a < 0)):
            tilts = [self._untied(abreast(*self._tilts(k)[side])) for k in range(self._count)]
            for k, weight in enumerate(nearest_mean(tilts, ratio, self.size.shape[-1])):
                start = self._sides(self.start, k)[side]
                found.append(xp.where(used, weight, start + xp.zeros_like(weight)))
        return xp.concat(found, axis=-1)

    def take(self, rows: Array) -> "DifferencePlanes":
        parts = (take_rows(part, rows) for part in (self.tilt, self.rise, self.start, self.size, self.bent))
        return DifferencePlanes(*parts, tied=self.tied)

    def _tie(self, slope: Array) -> Array:
        """What slopes have of n + D - n'."""
        if not self.tied:
            return namespace(slope).zeros_like(slope)
        n, d, m = triple(slope)
        share = (n + d - m) / 3.0
        return abreast(share, share, -share)

    def _untied(self, slope: Array) -> Array:
        return slope - self._tie(slope)

    @property
    def _count(self) -> int:
        """Planes on each side."""
        return self.rise.shape[-1] // (2 * self.size.shape[-1])

    def _sides(self, layer: Array, k: int) -> tuple[Array, Array]:
        """What belongs to plane k below and above, [..., n] each."""
        size = self.size.shape[-1]
        below, above = k * size, (self._count + k) * size
        return layer[..., below : below + size], layer[..., above : above + size]

    def _tilts(self, k: int) -> tuple[Triple, Triple]:
        """The slopes of plane k below and above."""
        size = 3 * self.size.shape[-1]
        below, above = k * size, (self._count + k) * size
        return triple(self.tilt[..., below : below + size]), triple(self.tilt[..., above : above + size])


@dataclass(eq=False)
class ChosenPlanes:
    """Planes with the weights of some rows: their multipliers, and a support that needs no vertices."""

    planes: DifferencePlanes
    slopes: Slopes
    _height: Array | None = None

    def multiplier(self, a: Array) -> Array:
        """g, for coefficients a of phi; the next `support` is of these."""
        contact = self.planes.contact(a, self.slopes)
        self._height = contact.height
        return self.planes.multiplier(a, contact)

    def support(self, a: Array) -> Float[Array, "*#rows"]:
        """A lower bound of the sum over neurons of the least of a q - g.(n, D, n') over the hull, with the last g."""
        assert self._height is not None, "after its multipliers"
        return inner(a, self._height)


@dataclass(frozen=True, eq=False)
class FixedPlanes:
    """A plane below and a plane above for all rows, those that climbs start from.

    Shapes: below, above [..., 3 n], slopes; floor, ceiling [..., n], heights at zero.
    """

    below: Array
    above: Array
    floor: Array
    ceiling: Array

    @classmethod
    def of(cls, planes: DifferencePlanes) -> "FixedPlanes":
        """The planes of the start."""
        (below, floor), (above, ceiling) = planes.started
        return cls(below, above, floor, ceiling)

    def multiplier(self, a: Array) -> Array:
        """g, for coefficients a of phi."""
        every = abreast(a, a, a)
        return namespace(a).where(every > 0, self.below, self.above) * every

    def support(self, a: Array) -> Float[Array, "*#rows"]:
        """A lower bound of the sum over neurons of the least of a q - g.(n, D, n') over the hull, with those g."""
        xp, zero = namespace(a), namespace(a).zeros_like(a[..., :1])
        return inner(xp.maximum(a, zero), self.floor) + inner(xp.minimum(a, zero), self.ceiling)


def _firsts(chosen: Mask) -> list[Mask]:
    """Of what is chosen along the first axis, the first."""
    found, left = [], None
    for k in range(PLANES):
        own = chosen[k, ...]
        found.append(own if left is None else own & left)
        left = ~own if left is None else left & ~own
    return found
