"""The hull of relu(n') - relu(n) over ranges of n, of D = n' - n and of n'."""

from dataclasses import dataclass

from admm_verify.arrays import Array, namespace
from admm_verify.relaxations.contract import Mask
from admm_verify.relaxations.curves import epsilon
from admm_verify.relaxations.difference_planes import DifferencePlanes
from admm_verify.relaxations.lines import PlaneHull
from admm_verify.relaxations.plane_slopes import PLANES
from admm_verify.relaxations.polygons import Polygon, abreast, triple
from admm_verify.relaxations.simplices import heights, nearest


@dataclass(frozen=True, eq=False)
class ReluDifference(PlaneHull):
    """{(n, D, n', q): q is in the convex hull of relu(n') - relu(n) over the polygon of n' = n + D in their ranges}.

    phi = D, 0, -n or n' where both signs are known; it is 1-Lipschitz in D, and errors stay relative to it.
    """

    operands = 3
    sides = 2 * PLANES
    shares_operands = True
    evaluation_roundings = 0.0

    def open(self, lower: Array, upper: Array) -> Mask:
        bent = Polygon.of(lower, upper).bent
        return abreast(bent, bent, bent)

    def halves(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """At 0 where that is inside, else in the middle."""
        xp = namespace(lower, upper)
        at = xp.where((lower < 0) & (upper > 0), xp.zeros_like(lower), lower / 2 + upper / 2)
        return at, at

    def gradient(self, x: Array) -> Array:
        (n, _, m), xp = triple(x), namespace(x)
        one, zero = xp.ones_like(n), xp.zeros_like(n)
        return abreast(
            xp.where((n >= 0) & (m < 0), -one, zero),
            xp.where((n >= 0) & (m >= 0), one, zero),
            xp.where((n < 0) & (m >= 0), one, zero),
        )

    def image(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """The least and the largest phi at vertices, two roundings outward."""
        low, high = Polygon.of(lower, upper).extent
        xp, spare = namespace(low), 2.0 * epsilon(low)
        infinity = xp.full_like(low, float("inf"))
        low, high = low - spare * xp.abs(low), high + spare * xp.abs(high)
        return xp.where(xp.isnan(low), -infinity, low), xp.where(xp.isnan(high), infinity, high)

    def support(self, lower: Array, upper: Array, post_weight: Array, pre_weight: Array) -> Array:
        return Polygon.of(lower, upper).least(post_weight, triple(pre_weight))

    def tied(self, pre: Array) -> Array:
        """n + D - n'."""
        n, d, m = triple(pre)
        return n + d - m

    def hull(self, lower: Array, upper: Array, pre: Array) -> tuple[Array, Array]:
        """At n and D, from all triangles between vertices; phi itself outside the polygon."""
        n, d, m = triple(pre)
        x, y, _, z, some = Polygon.of(lower, upper).vertices
        xp = namespace(lower, pre)
        x, y, z = _usable(x, some), _usable(y, some), _usable(z, some)
        low, high, found = heights(x, y, z, (n, d))
        value = xp.where(n >= 0, xp.maximum(d, -n), xp.maximum(m, xp.zeros_like(m)))
        # The graph itself is in the hull, and rounding must not exclude it.
        inside = found & (n + d == m)
        low, high = xp.where(found, low, value), xp.where(found, high, value)
        return xp.where(inside, xp.minimum(low, value), low), xp.where(inside, xp.maximum(high, value), high)

    def outline(self, lower: Array, upper: Array, pre: Array) -> tuple[Array, Array]:
        return DifferencePlanes.of(lower, upper).between(pre)

    def project(self, lower: Array, upper: Array, pre: Array, post: Array) -> tuple[Array, Array]:
        """First on n' = n + D; there the point itself if it is inside, else the nearest point of all triangles."""
        n, d, m = triple(pre)
        polygon = Polygon.of(lower, upper)
        x, y, _, z, some = polygon.vertices
        x, y, z = _usable(x, some), _usable(y, some), _usable(z, some)
        off = (n + d - m) / 3.0
        n, d = n - off, d - off
        place = (n, d, n + d, post)
        low, high, found = heights(x, y, z, (n, d))
        n, d, m, q = nearest((x, y, x + y, z), place, found & (low <= post) & (post <= high))
        return abreast(n, d, m), q

    def gain(self, lower: Array, upper: Array) -> Array:
        xp, (un, _, um) = namespace(lower), triple(upper)
        one = xp.ones_like(un)
        first, second = xp.where(un > 0, one, 0.0 * one), xp.where(um > 0, one, 0.0 * one)
        return abreast(first, xp.maximum(first, second), second)

    def planes(self, lower: Array, upper: Array) -> "DifferencePlanes":
        return DifferencePlanes.of(lower, upper)


def _usable(layer: Array, some: Mask) -> Array:
    """Vertices, where those that do not count stand where one does."""
    xp = namespace(layer)
    first = xp.argmax(xp.astype(some, xp.int64), axis=0, keepdims=True)
    return xp.where(some, layer, xp.take_along_axis(layer, first, axis=0))
