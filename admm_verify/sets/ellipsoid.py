"""Ellipsoids."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import SMALLEST, Array, Bool, Float, Placement, gamma, inner, namespace, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet, Numbers, Vectors, WalkableSet
from admm_verify.sets.cut import Cut
from admm_verify.sets.images import along, applied, leading, length
from admm_verify.sets.semidefinite import factored, form_at_most_one, misled
from admm_verify.sets.slices import Shared, ellipsoid_share

_MOST_CORNERS = 1024
"""Of a box that is asked to be inside."""

_MOST_EXACT = 32
"""Inputs up to which rational numbers tell within about a tenth of a second where a point lies."""

_ROUNDS = 14
"""Newton's steps for the nearest point, which double the digits from a start that is off by a factor of sqrt(n)."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Ellipsoid(WalkableSet):
    """The set {x : (x - center)' inv(shape) (x - center) <= 1}, or a batch of them.

    shape is symmetric and positive semidefinite: where it is singular, the set is flat, {x : c'(x - center) <=
    sqrt(c' shape c) for all c}. Of a shape that rounding made asymmetric the mean with its transpose is taken, and one
    that rounding made indefinite is widened by as little as mends that; `matrix` is what was taken.

    Points that the set gives lie inside, exactly; where it is thinner than its points' rounding, next to it.
    Shapes: center [*input_shape] or [sets, *input_shape]; shape [n, n] or [sets, n, n], rows in the order of inputs.
    Raises: InputError for what are no arrays of finite real numbers, sizes that do not fit, and a shape that is not
    symmetric or has a negative eigenvalue.
    Error: minima are rounded outward, and relative errors grow with the condition of shape's correlation matrix.
    Reference: Boyd and Vandenberghe, Convex Optimization (2004), 2.2.2 and 8.1; Moré and Sorensen, SIAM J. Sci. Stat.
    Comput. 4 (1983) for the nearest point.
    """

    center: Array
    matrix: Array
    deviation: Array = field(repr=False)
    axes: Array = field(repr=False)
    inverse: Array = field(repr=False)
    spare: Array = field(repr=False)
    doubt: Array = field(repr=False)
    entries: tuple[int, ...] | None = field(repr=False)

    __repr__ = short_repr

    def __init__(self, center: Array, shape: Array) -> None:
        middle, matrix = float64_array(center, "ellipsoid's center"), float64_array(shape, "ellipsoid's shape")
        sides = tuple(matrix.shape)
        if len(sides) not in (2, 3) or sides[-1] != sides[-2] or 0 in sides:
            raise InputError(f"The ellipsoid's shape is an array of shape {sides}; give (n, n), or (sets, n, n).")
        for name, part in (("center", middle), ("shape", matrix)):
            if not bool(namespace(part).all(namespace(part).isfinite(part))):
                raise InputError(f"The ellipsoid's {name} has NaN or infinite numbers; give finite ones.")
        lead = leading(tuple(middle.shape), sides[-1], "ellipsoid's center")
        both = lead or sides[:-2]
        if len(sides) == 3 and lead and 1 not in (sides[0], lead[0]) and sides[0] != lead[0]:
            raise InputError(
                f"The ellipsoid's center is one of {lead[0]} sets and its shape of {sides[0]}; give as many of both."
            )
        if len(sides) == 3 and lead:
            both = (max(sides[0], lead[0]),)
        place, n = Placement.of(middle), sides[-1]
        centers = np.broadcast_to(to_numpy(middle).reshape(*lead, n), (*both, n))
        parts = factored(centers, np.broadcast_to(to_numpy(matrix), (*both, n, n)))
        entries = tuple(middle.shape[1:] if lead else middle.shape)
        self._fill(*map(place.put, (np.array(centers), *parts)), entries)

    def _fill(self, *values: object) -> None:
        names = ("center", "matrix", "deviation", "axes", "inverse", "spare", "doubt", "entries")
        for name, value in zip(names, values, strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, *numbers: Array) -> "Ellipsoid":
        """The sets {c + U z : |z| <= 1}, and all that lies between them and their `matrix`.

        numbers: center [..., n]; matrix [..., n, n]; deviation [..., n], half of the range, rounded up; axes U and its
        inverse [..., n, n]; spare e [..., n], where |U'c|^2 + sum (e_i c_i)^2 is at least
        c'matrix c; doubt [..., 1], by how much a computed |z| may mislead.
        """
        made = object.__new__(cls)
        made._fill(*numbers, None)
        return made

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.center, self.matrix, self.deviation, self.axes, self.inverse, self.spare, self.doubt

    @property
    def range(self) -> tuple[Any, Any]:
        return self._range

    @cached_property
    def _range(self) -> tuple[Array, Array]:
        xp, c, d = namespace(self.center), self.center, self.deviation
        infinity = xp.full_like(c, float("inf"))
        lower, upper = xp.nextafter(c - d, -infinity), xp.nextafter(c + d, infinity)
        return xp.where(d > 0, lower, c), xp.where(d > 0, upper, c)

    @property
    def reach(self) -> Vectors:
        xp, (lower, upper) = namespace(self.center), self.range
        return xp.maximum(xp.abs(lower), xp.abs(upper))

    @property
    def centre(self) -> Vectors:
        return self.center

    @cached_property
    def _room(self) -> Array:
        """The radius of the ball of z whose computed images are inside, [..., 1]."""
        xp = namespace(self.doubt)
        return xp.maximum(1.0 - 2.5 * self.doubt, xp.zeros_like(self.doubt))

    @cached_property
    def _solid(self) -> Array:
        """Where the inverse is one, [..., 1]."""
        xp = namespace(self.axes)
        return xp.all(xp.any(self.axes != 0, axis=-2), axis=-1)[..., None] & (self.doubt < 0.3)

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        # min c'x = c'center - sqrt(c' shape c), and |U'c|^2 + |spare c|^2 is no less than c' shape c.
        xp, size = namespace(coefficient), namespace(coefficient).abs(coefficient)
        both = xp.concat([along(coefficient, self.axes), coefficient * self.spare], axis=-1)
        slack = 2.0 * gamma(4 * self.size + 16) * inner(size, self.deviation) + SMALLEST * 4 * (self.size + 4)
        value = inner(coefficient, self.center) - length(both) - slack
        return value, 2.0 * inner(size, self.reach)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        return self.center - applied(self.axes, self._room * _unit(along(coefficient, self.axes)))

    def project(self, x: Vectors) -> Vectors:
        xp = namespace(x)
        away = x - self.center
        own = applied(self.inverse, away)
        inside = self._solid & (length(own)[..., None] <= self._room)
        scale = xp.max(xp.abs(self.axes), axis=(-2, -1))[..., None]
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        axes = self.axes / scale[..., None]
        # min |U z - d|^2 over |z| <= r: z_i = u_i'd / (|u_i|^2 + t), where t >= 0 makes |z| = r.
        pull, curvature = along(away / scale, axes), xp.sum(axes * axes, axis=-2)
        found = self.center + applied(self.axes, _nearest(pull, curvature, self._room))
        return xp.where(inside, x, found)

    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        xp = namespace(x)
        known = xp.where(xp.isnan(direction), xp.zeros_like(direction), direction)
        return self.project(x + applied(self.axes, step * _unit(along(known, self.axes))))

    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        z = self.placement.put(rng.standard_normal((*self.lead, count, self.size)))
        share = self.placement.put(rng.random((*self.lead, count, 1)) ** (1.0 / self.size))
        sets = self.at((*(slice(None) for _ in self.lead), None))
        return sets.center + applied(sets.axes, sets._room * share * _unit(z))

    def inward(self, placement: Placement) -> "Ellipsoid":
        home = Placement.numpy()
        center, matrix, deviation, axes, inverse, spare, doubt = self.numbers
        near = placement.put(center)
        moved, middle, half, back = (to_numpy(home.put(part)) for part in (near, center, deviation, inverse))
        roundoff = float(placement.xp.finfo(placement.dtype).eps) / 2.0
        more = misled(moved, half, back, roundoff, np.abs(moved - middle))[..., None]
        double = self.placement.double
        numbers = (matrix, deviation, axes, inverse, spare, doubt + double.put(more))
        return self.of(near, *map(placement.put, numbers))

    def flattened(self, flatten: Callable[[Array], Array]) -> "Ellipsoid":
        center, *others = self.numbers
        lead = self.lead
        flat = flatten(center if self.entries is None else namespace(center).reshape(center, (*lead, *self.entries)))
        return self.of(flat, *(others if lead else (part[None] for part in others)))

    def within(self, lower: Vectors, upper: Vectors) -> WalkableSet:
        return Cut.of_parts(self, Box.of(*self.range).within(lower, upper))

    def shared_with(self, ends: tuple[Vectors, Vectors], coefficient: Vectors) -> Shared | None:
        return ellipsoid_share(self.center, self.matrix, ends, coefficient)

    def seen(self, crop: Callable[[Array], Array]) -> InputSet:
        return Box.of(*map(crop, self.range))

    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        away = x - self.center
        size, doubt = length(applied(self.inverse, away)), self.doubt[..., 0]
        inside, outside = size <= 1.0 - doubt, size > 1.0 + doubt
        sure = self._solid[..., 0] & (inside | outside)
        return self._exactly(x, to_numpy(inside), to_numpy(~sure))

    def surely(self, x: Vectors) -> Bool[Array, "..."]:
        xp, size = namespace(x), length(applied(self.inverse, x - self.center))
        inside = self._solid[..., 0] & (size <= 1.0 - self.doubt[..., 0])
        return xp.logical_or(inside, xp.all(x == self.center, axis=-1))

    def found_inside(self, x: Vectors) -> Bool[Array, "..."]:
        return self.contains(x) if self.size <= _MOST_EXACT else self.surely(x)

    def _exactly(self, x: Vectors, inside: np.ndarray, open: np.ndarray) -> Array:
        """The answers with those that are open in rational numbers."""
        inside = np.array(inside)
        points, centers = np.broadcast_arrays(to_numpy(x), to_numpy(self.center))
        matrices = np.broadcast_to(to_numpy(self.matrix), (*points.shape, self.size))
        for k in map(tuple, np.argwhere(open)):
            finite = bool(np.isfinite(points[k]).all())
            d = (
                [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(points[k], centers[k], strict=True)]
                if finite
                else []
            )
            inside[k] = finite and bool(form_at_most_one(matrices[k], d))
        return namespace(x).asarray(inside, device=self.placement.device)

    def covers(self, other: InputSet) -> bool:
        return any(self._covers(one) for one in other.supersets)

    def _covers(self, other: InputSet) -> bool:
        if other.size != self.size or len(other.lead) != len(self.lead):
            return False
        if isinstance(other, Ellipsoid):
            return self._same(other) or self._holds(other)
        corners = Box.of(*other.range).corners(_MOST_CORNERS)
        return corners is not None and bool(namespace(corners).all(self.spread().found_inside(corners)))

    def _same(self, other: "Ellipsoid") -> bool:
        pairs = ((self.center, other.center), (self.matrix, other.matrix), (self.doubt, other.doubt))
        return all(bool(namespace(own).all(own == its)) for own, its in pairs)

    def _holds(self, other: "Ellipsoid") -> bool:
        """Whether another one lies inside, |U^-1 (c' - c)| + |U^-1 [U', spare']| <= 1.

        All of it, not only the points that it gives: bounds hold for all.
        """
        home = Placement.numpy().put
        away = np.linalg.norm(to_numpy(applied(self.inverse, other.center - self.center)), axis=-1)
        inverse = home(self.inverse)
        axes, spare = (np.linalg.norm(inverse @ part, ord=2, axis=(-2, -1)) for part in other._roots)
        doubt, solid = home(self.doubt)[..., 0], to_numpy(self._solid)[..., 0]
        # What computed differences and products are off by, in units of z.
        size = np.abs(home(self.center)) + np.abs(home(other.center)) + home(other.deviation) * self.size
        lost = np.linalg.norm((np.abs(inverse) @ size[..., None])[..., 0], axis=-1) * 4.0 * gamma(self.size + 8)
        return bool(np.all(solid & ((away + np.hypot(axes, spare) + lost) * (1.0 + 1e-9) <= 1.0 - doubt)))

    @property
    def _roots(self) -> tuple[np.ndarray, np.ndarray]:
        """The axes, and the spare as a matrix, as arrays of NumPy."""
        home = Placement.numpy().put
        return to_numpy(home(self.axes)), to_numpy(home(self.spare))[..., None] * np.eye(self.size)


def _unit(x: Vectors) -> Vectors:
    """x / |x|, and 0 where x is."""
    xp, size = namespace(x), length(x)[..., None]
    return xp.where(size > 0, x / xp.where(size > 0, size, xp.ones_like(size)), xp.zeros_like(x))


def _nearest(pull: Vectors, curvature: Vectors, radius: Array) -> Vectors:
    """z with z_i = pull_i / (curvature_i + t) for the least t >= 0 with |z| <= radius.

    Newton's method on 1 / |z|, which is nearly linear in t, from a t that is too small by at most a factor of sqrt(n).
    """
    xp = namespace(pull)
    room = xp.where(radius > 0, radius, xp.ones_like(radius))
    t = xp.max(xp.maximum(xp.abs(pull) / room - curvature, xp.zeros_like(pull)), axis=-1, keepdims=True)
    for _ in range(_ROUNDS):
        z, below = _over(pull, curvature + t), curvature + t
        size = length(z)[..., None]
        if not bool(xp.any(size > room)):
            break
        fall = xp.sum(_over(_unit(z) ** 2, below), axis=-1, keepdims=True)
        t = t + xp.maximum(_over(size / room - 1.0, fall), xp.zeros_like(t))
    z = _over(pull, curvature + t)
    size = length(z)[..., None]
    z = z * xp.where(size > room, room / xp.where(size > 0, size, xp.ones_like(size)), xp.ones_like(size))
    return xp.where(radius > 0, z, xp.zeros_like(z))


def _over(top: Array, bottom: Array) -> Array:
    """top / bottom, and 0 where bottom is."""
    xp = namespace(top)
    return xp.where(bottom > 0, top / xp.where(bottom > 0, bottom, xp.ones_like(bottom)), xp.zeros_like(top))
