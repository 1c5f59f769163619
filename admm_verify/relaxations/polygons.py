"""The ranges of n, of D = n' - n and of n', a polygon, and relu(n') - relu(n) over it."""

from dataclasses import dataclass
from functools import cached_property

from admm_verify.arrays import Array, namespace
from admm_verify.relaxations.contract import Layer, Mask
from admm_verify.relaxations.curves import between, epsilon

Triple = tuple[Array, Array, Array]
"""n, D and n', or a number for each of them, [..., n] each."""


def triple(layer: Array) -> Triple:
    """The operands, [..., 3 n] -> [..., n] each."""
    size = layer.shape[-1] // 3
    return layer[..., :size], layer[..., size : 2 * size], layer[..., 2 * size :]


def abreast(*layers: Array) -> Array:
    """Layers one after the other."""
    xp = namespace(*layers)
    return xp.concat(list(xp.broadcast_arrays(*layers)), axis=-1)


@dataclass(frozen=True, eq=False)
class Polygon:
    """{(n, D, n'): l_n <= n <= u_n, l_D <= D <= u_D, l_n' <= n' <= u_n', n' = n + D}, and phi(n, D) = relu(n') -
    relu(n) over it.

    Ranges of which no n' = n + D is left count without those of n', so that there always is a polygon.
    Shapes: low, high [..., n] each.
    """

    low: Triple
    high: Triple

    @classmethod
    def of(cls, lower: Array, upper: Array) -> "Polygon":
        """From the ends of all operands, [..., 3 n]."""
        (ln, ld, lm), (un, ud, um) = triple(lower), triple(upper)
        xp = namespace(lower, upper)
        least, most = ln + ld, un + ud
        slack = 2.0 * epsilon(least) * (xp.abs(least) + xp.abs(most))
        empty = (lm > most + slack) | (um < least - slack)
        return cls((ln, ld, xp.where(empty, least, lm)), (un, ud, xp.where(empty, most, um)))

    @cached_property
    def vertices(self) -> tuple[Array, Array, Array, Array, Array]:
        """n, D, n' and phi at points of the polygon, [12, ..., n] each, and which of them count: among those are the
        ends of all edges of the polygon cut along n = 0 and n' = 0, but for (0, 0), where phi is no less than at one
        of the others and no more than at another whatever linear function is added.

        They are the ends of what the polygon has of the lines n = l_n, 0, u_n and n' = l_n', 0, u_n'. Along n phi is
        concave, along n' convex, so that no point inside is a vertex of its hull.
        Error: n, D and n' have a rounding each, relative to themselves, and so has phi.
        """
        (ln, ld, lm), (un, ud, um) = self.low, self.high
        xp = namespace(*self.low, *self.high)
        zero = xp.zeros_like(ln + ld + lm)
        ln, ld, lm, un, ud, um = (end + zero for end in (ln, ld, lm, un, ud, um))
        n = xp.stack([ln, between(zero, ln, un), un], axis=0)
        low, high = lm - n, um - n
        first, last = xp.maximum(ld, low), xp.minimum(ud, high)
        d = xp.concat([first, last], axis=0)
        m = xp.concat([xp.where(low > ld, lm, n + ld), xp.where(high < ud, um, n + ud)], axis=0)
        n, some = xp.concat([n, n], axis=0), first - last <= epsilon(first) * (xp.abs(first) + xp.abs(last))
        z = xp.where(n >= 0, xp.maximum(d, -n), xp.maximum(m, zero))
        other = xp.stack([lm, between(zero, lm, um), um], axis=0)
        low, high = other - un, other - ln
        first, last = xp.maximum(ld, low), xp.minimum(ud, high)
        start = xp.concat([xp.where(low > ld, un, other - ld), xp.where(high < ud, ln, other - ud)], axis=0)
        way, other = xp.concat([first, last], axis=0), xp.concat([other, other], axis=0)
        more = first - last <= epsilon(first) * (xp.abs(first) + xp.abs(last))
        height = xp.where(other >= 0, xp.minimum(way, other), -xp.maximum(start, zero))
        n, d, m, z = (xp.concat(list(pair), axis=0) for pair in ((n, start), (d, way), (m, other), (z, height)))
        some = xp.concat([some, some, more, more], axis=0)
        return n, d, m, z, some

    def least(self, a: Layer, g: Triple) -> Layer:
        """The least a phi - g.(n, D, n')."""
        xp, best = namespace(a, *g), None
        for k in range(self.vertices[0].shape[0]):
            n, d, m, z, some = (part[k, ...] for part in self.vertices)
            value = a * z - (g[0] * n + g[1] * d + g[2] * m)
            value = xp.where(some, value, xp.full_like(value, float("inf")))
            best = value if best is None else xp.minimum(best, value)
        assert best is not None
        return best

    @property
    def extent(self) -> tuple[Array, Array]:
        """The least and the largest phi, as computed."""
        xp, (_, _, _, z, some) = namespace(*self.low), self.vertices
        infinity = xp.full_like(z, float("inf"))
        return xp.min(xp.where(some, z, infinity), axis=0), xp.max(xp.where(some, z, -infinity), axis=0)

    @cached_property
    def middle(self) -> Triple:
        """A point inside, the mean of its vertices."""
        xp, (n, d, _, _, some) = namespace(*self.low), self.vertices
        count = xp.sum(xp.astype(some, n.dtype), axis=0)
        n, d = (xp.sum(xp.where(some, part, xp.zeros_like(part)), axis=0) / count for part in (n, d))
        return n, d, n + d

    @property
    def turned(self) -> "Polygon":
        """The polygon of (n', -D, n), over which the same function is -phi."""
        (ln, ld, lm), (un, ud, um) = self.low, self.high
        return Polygon((lm, -ud, ln), (um, -ld, un))

    @property
    def bent(self) -> Mask:
        """Where a sign is unknown, so that phi may not be linear."""
        (ln, _, lm), (un, _, um) = self.low, self.high
        return ((ln < 0) & (un > 0)) | ((lm < 0) & (um > 0))
