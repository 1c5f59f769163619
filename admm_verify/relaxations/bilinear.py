"""The hull of a product of two numbers over a box, a tetrahedron, and the planes on its sides."""

from dataclasses import dataclass
from itertools import combinations

from admm_verify.arrays import Array, Float, inner, namespace, take_rows
from admm_verify.relaxations.contract import Mask
from admm_verify.relaxations.curves import epsilon, tiniest
from admm_verify.relaxations.lines import Contact, PlaneHull, Slopes

_PACE = 0.1
"""Of a weight, for each range of both operands' product: measured; with 0.5 it jumps between the planes."""

Pair = tuple[Array, Array]
"""Two operands, [..., n] each."""

Point = tuple[Array, Array, Array]
"""Both operands and the product."""


def pair(layer: Array) -> Pair:
    """The operands, [..., 2 n] -> [..., n] each."""
    size = layer.shape[-1] // 2
    return layer[..., :size], layer[..., size:]


def stacked(first: Array, second: Array) -> Array:
    """Two layers one after the other."""
    xp = namespace(first, second)
    return xp.concat(list(xp.broadcast_arrays(first, second)), axis=-1)


@dataclass(frozen=True, eq=False)
class Bilinear(PlaneHull):
    """{(x, y, q): q is in the convex hull of x y over a box}, whose vertices are the corners of the box.

    Floor: max of l_y x + l_x y - l_x l_y and u_y x + u_x y - u_x u_y; ceiling: min of u_y x + l_x y - l_x u_y and
    l_y x + u_x y - u_x l_y.
    limit: what no |x y| is above where the operands belong together; it cuts the support and the lines alone.
    Reference: McCormick, Mathematical Programming 10 (1976), section 4.
    """

    limit: float = float("inf")

    operands = sides = 2
    evaluation_roundings = 2.0

    def open(self, lower: Array, upper: Array) -> Mask:
        both = BilinearPlanes(lower, upper).bent
        return namespace(lower).concat([both, both], axis=-1)

    def gradient(self, x: Array) -> Array:
        first, second = pair(x)
        return stacked(second, first)

    def image(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """The least and the largest product of two ends, a rounding and the smallest normal number outward.

        The latter makes max|phi| of an image a measure of what products lose to underflow.
        """
        xp = namespace(lower, upper)
        products = [x * y for x, y in _corners(lower, upper)]
        least, most = products[0], products[0]
        for product in products[1:]:
            least, most = xp.minimum(least, product), xp.maximum(most, product)
        spare = 2.0 * epsilon(least)
        low = least - (spare * xp.abs(least) + tiniest(least))
        high = most + (spare * xp.abs(most) + tiniest(most))
        infinity = xp.full_like(low, float("inf"))
        # 0 times infinity is no number: nothing is known of the product.
        return xp.where(xp.isnan(low), -infinity, low), xp.where(xp.isnan(high), infinity, high)

    def support(self, lower: Array, upper: Array, post_weight: Array, pre_weight: Array) -> Array:
        first, second = pair(pre_weight)
        xp, least = namespace(lower, post_weight), None
        for x, y in _corners(lower, upper):
            value = post_weight * (x * y) - (first * x + second * y)
            least = value if least is None else xp.minimum(least, value)
        assert least is not None
        if self.limit == float("inf"):
            return least
        (lx, ly), (ux, uy) = pair(lower), pair(upper)
        most = xp.maximum(first * lx, first * ux) + xp.maximum(second * ly, second * uy)
        return xp.maximum(least, -(self.limit * xp.abs(post_weight) + most))

    def hull(self, lower: Array, upper: Array, pre: Array) -> tuple[Array, Array]:
        planes = BilinearPlanes(lower, upper)
        xp = namespace(lower, pre)
        floor = xp.maximum(planes.side(0, pre), planes.side(1, pre))
        ceiling = xp.minimum(planes.side(2, pre), planes.side(3, pre))
        # Rounding may cross them where the hull is flat.
        return floor, xp.maximum(ceiling, floor)

    def project(self, lower: Array, upper: Array, pre: Array, post: Array) -> tuple[Array, Array]:
        """The nearest of: the point itself if it is inside, its feet on the sides that lie inside, and the nearest
        points of the edges.
        """
        xp, planes = namespace(lower, pre), BilinearPlanes(lower, upper)
        point: Point = (*pair(pre), post)
        zero = xp.zeros_like(point[0] + point[1] + post + pair(lower)[0])
        found, best = (zero, zero, zero), zero + float("inf")
        feet: list[tuple[Point, Mask]] = [(point, planes.holds(point, ()))]
        feet += [(foot := planes.foot(side, point), planes.holds(foot, (side,))) for side in range(4)]
        corners: list[Point] = [(x + zero, y + zero, x * y + zero) for x, y in _corners(lower, upper)]
        feet += [(_nearest(one, other, point), zero == 0) for one, other in combinations(corners, 2)]
        for foot, usable in feet:
            distance = sum((a - b) ** 2 for a, b in zip(foot, point, strict=True))
            nearer = usable & (distance < best)
            best = xp.where(nearer, distance, best)
            found = tuple(xp.where(nearer, new, old) for new, old in zip(foot, found, strict=True))
        # A point so far away that squares overflow is as near to one corner as to any other, up to rounding.
        x, y, q = (xp.where(xp.isfinite(best), new, old) for new, old in zip(found, corners[0], strict=True))
        return stacked(x, y), q

    def gain(self, lower: Array, upper: Array) -> Array:
        xp = namespace(lower, upper)
        first, second = pair(xp.maximum(xp.abs(lower), xp.abs(upper)))
        return stacked(second, first)

    def slopes_over(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """What the other operand is between."""
        return stacked(*reversed(pair(lower))), stacked(*reversed(pair(upper)))

    def planes(self, lower: Array, upper: Array) -> "BilinearPlanes":
        return BilinearPlanes(lower, upper, self.limit)


@dataclass(frozen=True, eq=False)
class BilinearPlanes:
    """The linear bounds of products: planes between the two below, and between the two above.

    A slope here is a weight in [0, 1] on the way from the first plane of a side to the second, for planes below and
    then for those above. Planes that are no mean of the two are never better, but for the level ones at a limit of
    |x y|, which replace all of a side where their mean is beyond it in the middle of the box.
    """

    lower: Array
    upper: Array
    limit: float = float("inf")

    def side(self, number: int, pre: Array) -> Array:
        """One of the four planes at operands: two below, then two above."""
        (a, b), (x, y) = self._corner(number), pair(pre)
        return b * x + a * y - a * b

    def foot(self, number: int, point: Point) -> Point:
        """The nearest point of a plane."""
        a, b = self._corner(number)
        x, y, q = point
        rise = (b * x + a * y - a * b - q) / (1.0 + a * a + b * b)
        return x - rise * b, y - rise * a, q + rise

    def holds(self, point: Point, but: tuple[int, ...]) -> Mask:
        """Whether a point is in the box, which counts where planes fall into one, and on the right side of all planes
        but some.
        """
        x, y, q = point
        (lx, ly), (ux, uy), both = pair(self.lower), pair(self.upper), stacked(x, y)
        found = (lx <= x) & (x <= ux) & (ly <= y) & (y <= uy)
        for number in range(4):
            if number not in but:
                plane = self.side(number, both)
                found = found & (q >= plane if number < 2 else q <= plane)
        return found

    def _corner(self, number: int) -> Pair:
        """Where a plane touches along two edges: it is b x + a y - a b for the corner (a, b)."""
        (lx, ly), (ux, uy) = pair(self.lower), pair(self.upper)
        return [(lx, ly), (ux, uy), (lx, uy), (ux, ly)][number]

    @property
    def level(self) -> tuple[Mask, Mask]:
        """Where planes below, and above, are level."""
        (mx, my), (rx, ry) = pair(self.lower / 2 + self.upper / 2), pair(self.upper / 2 - self.lower / 2)
        return mx * my - rx * ry < -self.limit, mx * my + rx * ry > self.limit

    @property
    def limited(self) -> bool:
        """Whether any plane is level."""
        return self.limit < float("inf") and any(bool(namespace(side).any(side)) for side in self.level)

    @property
    def minimum(self) -> Slopes:
        return namespace(self.lower).zeros_like(self.lower)

    @property
    def maximum(self) -> Slopes:
        return namespace(self.lower).ones_like(self.lower)

    @property
    def start(self) -> Slopes:
        return self.parallel

    @property
    def span(self) -> Slopes:
        """The unit of a step."""
        return self.maximum

    @property
    def pace(self) -> Slopes:
        xp, area = namespace(self.lower), self._area
        each = xp.where(area > 0, _PACE / xp.where(area > 0, area, xp.ones_like(area)), xp.zeros_like(area))
        return stacked(each, each)

    @property
    def parallel(self) -> Slopes:
        return 0.5 * self.maximum

    @property
    def bent(self) -> Mask:
        (lx, ly), (ux, uy) = pair(self.lower), pair(self.upper)
        return (ux > lx) & (uy > ly)

    @property
    def apart(self) -> Float[Array, "..."]:
        """How far planes below are from those above, as a share of how far linear terms of the products go: the sum of
        w_x w_y over that of |m_x| w_y + |m_y| w_x, for middles m and widths w; 0 where no product is bent.
        """
        xp, area = namespace(self.lower), self._area
        (mx, my), (wx, wy) = pair(self.lower / 2 + self.upper / 2), pair(self.upper - self.lower)
        gap = xp.sum(area, axis=-1)
        straight = xp.sum(xp.abs(mx) * wy + xp.abs(my) * wx, axis=-1)
        some = xp.where(straight > 0, straight, xp.ones_like(straight))
        infinity = xp.full_like(gap, float("inf"))
        return xp.where(straight > 0, gap / some, xp.where(gap > 0, infinity, gap))

    @property
    def middle(self) -> Array:
        """The slopes of the parallel planes, of the operands."""
        return namespace(self.lower).concat([*reversed(pair(self.lower / 2 + self.upper / 2))], axis=-1)

    def loss(self, a: Array) -> Array:
        loss = 0.5 * namespace(a).abs(a) * self._area
        return stacked(loss, loss)

    def contact(self, a: Array, slopes: Slopes) -> Contact:
        below, above = pair(slopes)
        xp, up = namespace(a), a > 0
        weight = xp.where(up, below, above)
        (lx, ly), (ux, uy) = pair(self.lower), pair(self.upper)
        # Below, the second plane has both corners' other ends; above, the first mixes them.
        first = xp.where(up, ly, uy), lx
        second = xp.where(up, uy, ly), ux
        slope = [one + weight * (other - one) for one, other in zip(first, second, strict=True)]
        start, end = -first[0] * first[1], -second[0] * second[1]
        height = start + weight * (end - start)
        if self.limit < float("inf"):
            level = xp.where(up, *self.level)
            slope = [xp.where(level, xp.zeros_like(part), part) for part in slope]
            most = xp.full_like(height, self.limit)
            height = xp.where(level, xp.where(up, -most, most), height)
        return Contact(stacked(*slope), intercept=height)

    def multiplier(self, a: Array, contact: Contact) -> Array:
        return contact.slope * stacked(a, a)

    def value(self, a: Array, contact: Contact) -> Float[Array, "*#rows"]:
        return namespace(a).sum(a * contact.height, axis=-1)

    def post(self, a: Array, contact: Contact, pre: Array) -> Array:
        first, second = pair(contact.slope * pre)
        return first + second + contact.height

    def direction(self, a: Array, contact: Contact, pre: Array) -> Slopes:
        xp = namespace(a, pre)
        below = self.side(1, pre) - self.side(0, pre)
        above = self.side(3, pre) - self.side(2, pre)
        zero = xp.zeros_like(a * below)
        if self.limit < float("inf"):
            below, above = (xp.where(flat, zero, part) for flat, part in zip(self.level, (below, above), strict=True))
        return stacked(xp.where(a > 0, below + zero, zero), xp.where(a < 0, zero - above, zero))

    def gradient(self, a: Array, contact: Contact, pre: Array) -> Slopes:
        """The supergradient of D in the weights, |a| direction."""
        size = namespace(a).abs(a)
        return stacked(size, size) * self.direction(a, contact, pre)

    def nearest(self, a: Array, multiplier: Array) -> Array:
        slopes = self.recover(a, multiplier)
        return self.multiplier(a, self.contact(a, slopes))

    def recover(self, a: Array, multiplier: Array) -> Slopes:
        """Weights of the planes nearest to the multipliers, both operands in units of their range."""
        xp = namespace(a)
        some = xp.where(a == 0, xp.ones_like(a), a)
        ratio = [part / some for part in pair(multiplier)]
        (lx, ly), (ux, uy) = pair(self.lower), pair(self.upper)
        far, wide = _share(ratio[0], ly, uy), _share(ratio[1], lx, ux)
        half = xp.full_like(far, 0.5)
        below = xp.where(a > 0, xp.clip(0.5 * (far + wide), 0.0, 1.0), half)
        above = xp.where(a < 0, xp.clip(0.5 * ((1.0 - far) + wide), 0.0, 1.0), half)
        return stacked(below, above)

    def take(self, rows: Array) -> "BilinearPlanes":
        return BilinearPlanes(take_rows(self.lower, rows), take_rows(self.upper, rows), self.limit)

    @property
    def _area(self) -> Array:
        first, second = pair(self.upper - self.lower)
        return first * second


@dataclass(frozen=True, eq=False)
class MiddlePlanes:
    """The planes halfway between the two of a side, parallel below and above: slopes (m_y, m_x) and intercepts
    -m_x m_y -/+ r_x r_y, for middles m and radii r of the operands' ranges.

    Their multipliers and support are those of any point of the box, without its corners. In floating point `support`
    is off by a few roundings of |g| max|p| and |a| max|x y|, which bounds charge, for multipliers g as they are here.
    """

    middle: Array
    intercept: Array
    area: Array

    @classmethod
    def of(cls, lower: Array, upper: Array) -> "MiddlePlanes":
        """From ends [..., 2 n]; the radii are rounded up."""
        xp = namespace(lower)
        centre = lower / 2 + upper / 2
        radius = xp.maximum(upper - centre, centre - lower)
        radius = xp.nextafter(radius, xp.full_like(radius, float("inf")))
        (mx, my), (rx, ry) = pair(centre), pair(radius)
        return cls(stacked(my, mx), mx * my, rx * ry)

    def multiplier(self, a: Array) -> Array:
        """The multipliers of the operands, for coefficients a of the product."""
        first, second = pair(self.middle)
        return stacked(a * first, a * second)

    def support(self, a: Array) -> Float[Array, "*#rows"]:
        """The sum over products of the least of a q - g_x x - g_y y over the hull, with those multipliers g."""
        return -inner(a, self.intercept) - inner(namespace(a).abs(a), self.area)


def _corners(lower: Array, upper: Array) -> list[Pair]:
    (lx, ly), (ux, uy) = pair(lower), pair(upper)
    return [(lx, ly), (lx, uy), (ux, ly), (ux, uy)]


def _share(number: Array, low: Array, high: Array) -> Array:
    """How far a number is on the way from low to high, half where there is none."""
    xp, width = namespace(number, low), high - low
    share = (number - low) / xp.where(width > 0, width, xp.ones_like(width))
    return xp.where(width > 0, share, xp.full_like(share, 0.5))


def _nearest(start: Point, end: Point, point: Point) -> Point:
    """The nearest point of a segment."""
    xp = namespace(start[0])
    way = [b - a for a, b in zip(start, end, strict=True)]
    length = sum(step * step for step in way)
    along = sum((p - a) * step for p, a, step in zip(point, start, way, strict=True))
    share = xp.where(length > 0, along / xp.where(length > 0, length, xp.ones_like(length)), xp.zeros_like(along))
    share = xp.clip(share, 0.0, 1.0)
    x, y, q = (a + share * step for a, step in zip(start, way, strict=True))
    return x, y, q
