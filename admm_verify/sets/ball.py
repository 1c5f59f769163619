"""Balls of the l2 and the l1 norm, cut with boxes."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any, ClassVar

import numpy as np

from admm_verify.arrays import (
    SMALLEST,
    Array,
    Bool,
    Float,
    Placement,
    gamma,
    inner,
    namespace,
    quiet_overflow,
    to_numpy,
)
from admm_verify.errors import InputError
from admm_verify.options import shown
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box, center_and_radius
from admm_verify.sets.contract import InputSet, Numbers, Vectors, WalkableSet
from admm_verify.sets.norm_names import NormName, norm_name
from admm_verify.sets.norms import Euclidean, Norm, Sides, Taxicab, towards


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Ball(WalkableSet):
    """The set {x : |(x - center) / radius|_p <= 1, lower <= x <= upper}, or a batch of them, for p = 2 or p = 1.

    `Ball(center, radius, norm="l2", within=None)` makes them; norm "l2", "l1" or "linf", or the numbers 2, 1 and inf,
    where "linf" gives a `Box`. within: ends (lower, upper) that entries lie between; without, there is no cut. A radius
    of 0 fixes an entry. Numbers are copies in float64, without gradients, and the set is that of these numbers exactly.

    Shapes: center [*input_shape] for one ball, [rows, *input_shape] for one per row; radius and both ends numbers or
    arrays that broadcast, as [rows, 1] for a radius per row of vectors.
    Raises: InputError for what are no arrays of real numbers, NaN or infinite centers, negative, NaN or infinite radii,
    unknown norms, and where the cut leaves nothing between the ends of an entry; empty cuts of whole balls are refused
    where rows are known, as in `Problem`.
    """

    center: Array
    radius: Array
    lower: Array
    upper: Array

    kind: ClassVar[Norm]

    __repr__ = short_repr

    def __new__(
        cls,
        center: Array,
        radius: Array | float,
        norm: str | float = "l2",
        within: tuple[Array | float, Array | float] | None = None,
    ) -> WalkableSet:
        named = norm_name(norm)
        middle, width = center_and_radius(center, radius)
        if not bool(namespace(width).all(namespace(width).isfinite(width))):
            raise InputError(
                f"The radius {shown(radius)} is infinite; give finite numbers, or a Box of the range alone."
            )
        with quiet_overflow():
            box = Box.around(middle, width, within)
        if named == "linf":
            return box
        return _KINDS[named].of(middle, width, *box.range)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, self.numbers

    @classmethod
    def of(cls, *numbers: Array) -> "Ball":
        ball = object.__new__(cls)
        for name, number in zip(("center", "radius", "lower", "upper"), numbers, strict=True):
            object.__setattr__(ball, name, number)
        return ball

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.center, self.radius, self.lower, self.upper

    @cached_property
    def _widest(self) -> Array:
        """The largest radius of every set, or 1 where all are zero, [..., 1]."""
        xp = namespace(self.radius)
        most = xp.max(self.radius, axis=-1, keepdims=True)
        return xp.where(most > 0, most, xp.ones_like(most))

    @cached_property
    def _share(self) -> Vectors:
        """Radii by the largest one."""
        return self.radius / self._widest

    @cached_property
    def _sides(self) -> Sides:
        """The box in units of radii."""
        xp = namespace(self.lower)
        low, high = (xp.clip(self._scaled(end), -1.0, 1.0) for end in (self.lower, self.upper))
        return Sides(low, high, self._share)

    @cached_property
    def _anchor(self) -> Vectors:
        """The point of the box nearest to the center in every entry, hence the shortest y: every cut ball holds it."""
        xp = namespace(self.center)
        return xp.minimum(xp.maximum(self.center, self.lower), self.upper)

    @cached_property
    def _spent(self) -> tuple[Array, Array]:
        """|y|^p of the anchor's entries, and their sum [..., 1]."""
        xp = namespace(self.center)
        terms = xp.abs(self._scaled(self._anchor)) ** self.kind.power
        return terms, xp.sum(terms, axis=-1, keepdims=True)

    @cached_property
    def is_cut(self) -> bool:
        """Whether a box cuts something off one of the balls."""
        low, high, xp = self._sides.low, self._sides.high, namespace(self.center)
        edge = 1.0 - 8.0 * xp.finfo(low.dtype).eps
        return bool(xp.any(((low > -edge) | (high < edge)) & (self.radius > 0)))

    def _scaled(self, x: Vectors) -> Vectors:
        """(x - center) / radius, 0 where entries are fixed."""
        xp, free = namespace(x, self.radius), self.radius > 0
        with quiet_overflow():
            found = (x - self.center) / xp.where(free, self.radius, xp.ones_like(self.radius))
        largest = xp.finfo(found.dtype).max
        return xp.where(free, xp.clip(found, -largest, largest), xp.zeros_like(found))

    @property
    def range(self) -> tuple[Any, Any]:
        return self._range

    @cached_property
    def _range(self) -> tuple[Array, Array]:
        xp, (terms, spent) = namespace(self.center), self._spent
        # What the other entries must spend, an entry cannot.
        left = xp.clip(1.0 - spent + terms + 16.0 * (self.size + 8) * xp.finfo(spent.dtype).eps, 0.0, 1.0)
        with quiet_overflow():
            room = self.radius * xp.where(spent > 0, left ** (1.0 / self.kind.power), xp.ones_like(left))
            infinity = xp.full_like(room, inf)
            room = xp.minimum(self.radius, xp.nextafter(room * (1.0 + 1e-6), infinity))
            low = xp.where(room > 0, xp.nextafter(self.center - room, -infinity), self.center)
            high = xp.where(room > 0, xp.nextafter(self.center + room, infinity), self.center)
        low = xp.minimum(xp.maximum(self.lower, low), self.upper)
        return low, xp.maximum(low, xp.minimum(self.upper, high))

    @property
    def reach(self) -> Vectors:
        return self._reach

    @cached_property
    def _reach(self) -> Array:
        xp, (lower, upper) = namespace(self.center), self.range
        return xp.maximum(xp.abs(lower), xp.abs(upper))

    @property
    def centre(self) -> Vectors:
        return self._anchor

    @property
    def surrounding(self) -> tuple[Vectors, Numbers]:
        return self.center, namespace(self.radius).max(self.radius, axis=-1, keepdims=True)

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        # For any g, c'x = c'center + g'(x - center) + (c - g)'(x - center), of which the second term is at least
        # -|radius g| in the dual norm and the last one least at ends of the box.
        xp, c = namespace(coefficient), coefficient
        size, value = xp.abs(c), inner(c, self.center)
        magnitude = inner(size, xp.abs(self.center)) + inner(size, self.reach)
        scale, q = self._tilt(c)
        # Scaled entries lose what is below the smallest number.
        lost = 8.0 * self.size * SMALLEST * (1.0 + (scale * self._widest)[..., 0])
        if not self.is_cut:
            length = (self.kind.dual_length(q) * scale * self._widest)[..., 0]
            return value - length - lost, 2.0 * (magnitude + length)
        h, some = self.kind.lowest_cut(q, self._sides)[1], self._share > 0
        g = xp.where((h == q) | ~some, c, scale * (h / xp.where(some, self._share, xp.ones_like(self._share))))
        length = (self.kind.dual_length((g / scale) * self._share) * scale * self._widest)[..., 0]
        rest, below, above = c - g, self.lower - self.center, self.upper - self.center
        least = xp.sum(xp.minimum(rest * below, rest * above), axis=-1)
        most = xp.sum(xp.abs(rest) * xp.maximum(xp.abs(below), xp.abs(above)), axis=-1)
        return value - length + least - lost, 2.0 * (magnitude + length + most)

    def _tilt(self, coefficient: Vectors) -> tuple[Array, Vectors]:
        """A scale [..., 1] and q with c'x = c'center + scale widest q'y."""
        xp = namespace(coefficient)
        most = xp.max(xp.abs(coefficient), axis=-1, keepdims=True)
        scale = xp.where(most > 0, most, xp.ones_like(most))
        return scale, (coefficient / scale) * self._share

    def _least(self, coefficient: Vectors) -> Vectors:
        q = self._tilt(coefficient)[1]
        return self.kind.lowest_cut(q, self._sides)[0] if self.is_cut else self.kind.lowest(q)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        return self._inside(self._least(coefficient))

    def best(self, coefficient: Vectors) -> tuple[Vectors, Numbers]:
        # An iteration does without a point that lies inside for certain.
        xp = namespace(coefficient)
        y = self._least(coefficient)
        x = self._snapped(y, self.center + self.radius * y)
        return x, xp.sum(coefficient * x, axis=-1)

    def _boxed(self, x: Vectors) -> Vectors:
        xp = namespace(x)
        return xp.minimum(xp.maximum(x, self.lower), self.upper)

    def _snapped(self, y: Vectors, x: Vectors) -> Vectors:
        """The x near center + radius y, at ends of the box where y is; those of the ball itself are no numbers."""
        if not self.is_cut:
            return self._boxed(x)
        xp, low, high = namespace(y), self._sides.low, self._sides.high
        x = xp.where((y <= low) & (low > -1.0), self.lower, x)
        return self._boxed(xp.where((y >= high) & (high < 1.0), self.upper, x))

    def _inside(self, y: Vectors) -> Vectors:
        """A point of the set, for certain, next to center + radius y for y of the cut ball up to rounding."""
        xp, place, eps = namespace(y), Placement.of(y), namespace(y).finfo(y.dtype).eps
        away = self.radius * (y * (1.0 - 4.0 * eps - 3.0 * gamma(self.size + 8)))
        start = self._snapped(y, towards(self.center, away))
        start = xp.where(self.radius > 0, start, self._anchor)
        found, settled = start, self._surely(start)
        for more in (1.0, 2.0**12):
            if bool(xp.all(settled)):
                return found
            # The total is convex on the way to the anchor.
            total, least = self._total(start)[0], self._spent[1]
            over = xp.where(total > least, total - least, xp.ones_like(total))
            share = (total - (1.0 - 2.0 * self._margin)) / over
            share = place.put(xp.clip(more * (share + 8.0 * eps), 0.0, 1.0))
            nearer = towards(self._anchor, (start - self._anchor) * (1.0 - share))
            found = xp.where(settled, found, self._boxed(nearer))
            settled = settled | self._surely(found)
        return xp.where(settled, found, self._anchor)

    def _total(self, x: Vectors) -> tuple[Any, Any]:
        """sum |(x - center) / radius|^p in float64, [..., 1], and where entries are outside the box or not fixed."""
        place = self.placement.double
        xp, double = place.xp, self if self.placement == place else self.put(place)
        x = place.put(x)
        with quiet_overflow():
            total = xp.sum(xp.abs(double._scaled(x)) ** self.kind.power, axis=-1, keepdims=True)
        out = (x < double.lower) | (x > double.upper) | ((double.radius == 0) & (x != double.center)) | xp.isnan(x)
        return total, xp.any(out, axis=-1, keepdims=True)

    @property
    def _margin(self) -> float:
        """How far a total of about 1 may be off."""
        return 2.0 * gamma(self.size + 8)

    def _surely(self, x: Vectors) -> Any:
        """Whether points lie inside for certain, [..., 1]; the anchor does wherever anything does."""
        return self._reaches(x) | namespace(x).all(x == self._anchor, axis=-1, keepdims=True)

    def _reaches(self, x: Vectors) -> Any:
        """Whether points lie inside, as far as float64 can tell, [..., 1]."""
        total, out = self._total(x)
        return (total <= 1.0 - self._margin) & ~out

    def surely(self, x: Vectors) -> Bool[Array, "..."]:
        return self._surely(x)[..., 0]

    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        total, out = self._total(x)
        place = Placement.of(total)
        found, doubtful = (
            (total <= 1.0 - self._margin) & ~out,
            (namespace(total).abs(total - 1.0) < self._margin) & ~out,
        )
        answer, wanted = np.array(to_numpy(found[..., 0])), to_numpy(doubtful[..., 0])
        if wanted.any():
            shape = (*wanted.shape, self.size)
            x, center, radius = (np.broadcast_to(to_numpy(part), shape) for part in (x, self.center, self.radius))
            for index in map(tuple, np.argwhere(wanted)):
                answer[index] = self._exact_total(x[index], center[index], radius[index]) <= 1
        return place.xp.asarray(answer, device=place.device)

    def _exact_total(self, x: np.ndarray, center: np.ndarray, radius: np.ndarray) -> Fraction:
        """sum |(x - center) / radius|^p over the entries that are not fixed."""
        entries = np.nonzero((radius > 0) & (x != center))[0]
        exact = ((Fraction(float(x[i])) - Fraction(float(center[i]))) / Fraction(float(radius[i])) for i in entries)
        return sum((abs(part) ** self.kind.power for part in exact), Fraction(0))

    def project(self, x: Vectors) -> Vectors:
        xp, start = namespace(x), self._boxed(x)
        inside = self._surely(start)
        if bool(xp.all(inside)):
            return start
        e = self._scaled(x)
        most = xp.maximum(xp.max(xp.abs(e), axis=-1, keepdims=True), xp.ones_like(e[..., :1]))
        return xp.where(inside, start, self._inside(self.kind.nearest(e / most, 1.0 / most, self._sides)))

    def drawn_in(self, x: Vectors) -> Vectors:
        xp, x = namespace(x), self.project(x)
        return xp.where(self.contains(x)[..., None], x, xp.full_like(x, float("nan")))

    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        # From the centre a step of 1 leads to the point of the set where the direction ascends most, one of -1 where it
        # does least.
        xp, step = namespace(x), self.placement.put(np.asarray(step)) if isinstance(step, int | float) else step
        known = xp.where(xp.isnan(direction), xp.zeros_like(direction), direction)
        largest = xp.finfo(direction.dtype).max
        top = self.best(-xp.sign(step) * xp.clip(known, -largest, largest))[0]
        return self.project(x + xp.abs(step) * (top - self._anchor))

    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        drawn = self.placement.put(self.kind.drawn((*self.lead, count, self.size), rng))
        balls = self.at((..., None, slice(None)))
        return balls.project(balls.center + balls.radius * drawn)

    def flattened(self, flatten: Callable[[Array], Array]) -> "Ball":
        found = self.mapped(flatten)
        empty = ~to_numpy(found.contains(found.centre))
        if empty.any():
            raise InputError(
                f"The ball of row {int(empty.argmax())} has no point within its box: the nearest one is further from "
                "the center than the radius. Give a larger radius, or another range within."
            )
        return found

    def seen(self, crop: Callable[[Array], Array]) -> "Ball | Box":
        xp = namespace(self.center)
        index = xp.broadcast_to(xp.arange(1, self.size + 1, dtype=self.center.dtype), self.shape)
        places = np.sort(to_numpy(crop(index)), axis=-1)
        if ((places[..., 1:] == places[..., :-1]) & (places[..., 1:] > 0)).any():
            # Entries that are seen twice would count twice.
            return Box.of(*map(crop, self.range))
        return self.mapped(crop)

    def within(self, lower: Vectors, upper: Vectors) -> "Ball":
        xp = namespace(self.lower)
        low = xp.maximum(self.lower, lower)
        high = xp.maximum(low, xp.minimum(self.upper, upper))
        shape = low.shape
        return self.of(*(xp.broadcast_to(part, shape) for part in (self.center, self.radius)), low, high)

    def covers(self, other: InputSet) -> bool:
        xp, (low, high) = namespace(self.center), other.range
        boxed = xp.all((self.lower <= low) & (high <= self.upper))
        if isinstance(other, type(self)):
            fits = xp.all((self.center == other.center) & (other.radius <= self.radius))
            if bool(boxed & fits):
                return True
        far = xp.maximum(xp.abs(self._scaled(low)), xp.abs(self._scaled(high)))
        fixed = xp.all((self.radius > 0) | ((low == self.center) & (high == self.center)))
        total = xp.sum(far**self.kind.power, axis=-1)
        inside = xp.all(total <= 1.0 - self._margin)
        if isinstance(other, type(self)):
            free = self.radius > 0
            ratio = xp.where(free, other.radius / xp.where(free, self.radius, xp.ones_like(self.radius)), 0.0)
            length = self.kind.length(self._scaled(other.center))[..., 0] + xp.max(ratio, axis=-1)
            inside = inside | xp.all(length <= 1.0 - self._margin)
        return bool(boxed & fixed & inside)

    def inward(self, placement: Placement) -> "Ball":
        # A ball around a center that moved by some share of the radii keeps what is left of these.
        xp, own = placement.xp, namespace(self.center)
        largest = xp.finfo(placement.dtype).max
        center = xp.clip(placement.put(self.center), -largest, largest)
        moved = self.kind.length(self._scaled(self.placement.put(center)))
        left = own.clip(1.0 - moved - self._margin, 0.0, 1.0)
        radius = xp.clip(placement.directed(own.where(moved > 0, self.radius * left, self.radius), False), 0.0, largest)
        box = Box.of(self.lower, self.upper).inward(placement)
        found = self.of(center, radius, *box.range)
        anchor = found.centre
        some = found._reaches(anchor)
        center, lower, upper = (xp.where(some, part, anchor) for part in (center, *box.range))
        return self.of(center, xp.where(some, radius, xp.zeros_like(radius)), lower, upper)


class L2Ball(Ball):
    """Balls of the l2 norm, cut with boxes."""

    kind = Euclidean()


class L1Ball(Ball):
    """Balls of the l1 norm, cut with boxes."""

    kind = Taxicab()

    def corners(self, most: int) -> Float[Array, "... corners n"] | None:
        if 2 * self.size > most or self.is_cut:
            return None
        balls, xp = self.at((..., None, slice(None))), namespace(self.center)
        unit = xp.concat([xp.eye(self.size, dtype=self.center.dtype), -xp.eye(self.size, dtype=self.center.dtype)])
        return balls._inside(xp.broadcast_to(self.placement.put(unit), (*self.lead, 2 * self.size, self.size)))


_KINDS: dict[NormName, type[Ball]] = {"l2": L2Ball, "l1": L1Ball}
