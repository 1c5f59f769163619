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
        found: list[tuple[Array, Array, Array, Array, Array]] = []
        for n in (ln, between(zero, ln, un), un):
            low, high = lm - n, um - n
            first, last = xp.maximum(ld, low), xp.minimum(ud, high)
            some = first - last <= epsilon(first) * (xp.abs(first) + xp.abs(last))
            for d, m in ((first, xp.where(low > ld, lm, n + ld)), (last, xp.where(high < ud, um, n + ud))):
                found.append((n, d, m, xp.where(n >= 0, xp.maximum(d, -n), xp.maximum(m, zero)), some))
        for m in (lm, between(zero, lm, um), um):
            low, high = m - un, m - ln
            first, last = xp.maximum(ld, low), xp.minimum(ud, high)
            some = first - last <= epsilon(first) * (xp.abs(first) + xp.abs(last))
            for d, n in ((first, xp.where(low > ld, un, m - ld)), (last, xp.where(high < ud, ln, m - ud))):
                found.append((n, d, m, xp.where(m >= 0, xp.minimum(d, m), -xp.maximum(n, zero)), some))
        n, d, m, z, some = (xp.stack(list(part), axis=0) for part in zip(*found, strict=True))
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
