"""Boxes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import array_api_compat
import numpy as np

from admm_verify.arrays import Array, Bool, Float, Int, Placement, gamma, inner, namespace, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array, masks, plain_array
from admm_verify.options import brief, shown
from admm_verify.reprs import short_repr
from admm_verify.sets.contract import Finder, InputSet, Numbers, Vectors, VertexVerb, WalkableSet
from admm_verify.sets.norm_names import norm_name

_MOST_CELLS = 10**6


@dataclass(frozen=True, eq=False, repr=False)
class Box(WalkableSet):
    """The set {x : lower <= x <= upper}, or a batch of them; its ends are copies in float64, without gradients.

    Shapes: lower, upper [*input_shape] for one box, [rows, *input_shape] for one per row; what takes a box checks that
    its shape is that of the network.
    Raises: InputError for ends that are no arrays of real numbers, unequal shapes, NaN or infinite ends, or lower >
    upper (an empty set), naming the index.
    """

    lower: Array
    upper: Array

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            object.__setattr__(self, name, float64_array(getattr(self, name), f"box's {name} end"))
        places = [Placement.of(end) for end in (self.lower, self.upper)]
        if places[0] != places[1]:
            kinds = [f"{type(end).__name__} on {place.device}" for end, place in zip(self.range, places, strict=True)]
            raise InputError(
                f"The box has a lower end of type {kinds[0]} and an upper end of type {kinds[1]}; give both as arrays "
                "of one library on one device."
            )
        if tuple(self.lower.shape) != tuple(self.upper.shape):
            raise InputError(
                f"The box has lower of shape {tuple(self.lower.shape)} and upper of shape {tuple(self.upper.shape)}; "
                "give both the same shape."
            )
        xp = namespace(self.lower, self.upper)
        _refuse(~(xp.isfinite(self.lower) & xp.isfinite(self.upper)), self, "is NaN or infinite; give finite ends")
        _refuse(self.lower > self.upper, self, "makes the box empty; give lower <= upper")

    @classmethod
    def of(cls, *ends: Array) -> "Box":
        """The box of ends that are known to be float or finer arrays of one shape with lower <= upper: not checked."""
        box = object.__new__(cls)
        for name, end in zip(("lower", "upper"), ends, strict=True):
            object.__setattr__(box, name, end)
        return box

    @classmethod
    def point(cls, x: Array) -> "Box":
        """The box that holds one point alone, unchecked as well."""
        return cls.of(x, x)

    @property
    def range(self) -> tuple[Any, Any]:
        return self.lower, self.upper

    @property
    def fills_range(self) -> bool:
        return True

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.lower, self.upper

    @property
    def reach(self) -> Vectors:
        return self._reach

    @cached_property
    def _reach(self) -> Array:
        xp = namespace(self.lower)
        return xp.maximum(xp.abs(self.lower), xp.abs(self.upper))

    @property
    def centre(self) -> Vectors:
        return self.project(self.middle[0])

    @cached_property
    def middle(self) -> tuple[Array, Array]:
        """A centre c and the radius r of a box around c that holds this one; their roundings are few of `reach`."""
        centre = self.lower / 2 + self.upper / 2
        return centre, namespace(centre).maximum(self.upper - centre, centre - self.lower)

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        # min over the box of a x = a c - |a| r.
        centre, radius = self.middle
        size = namespace(coefficient).abs(coefficient)
        return inner(coefficient, centre) - inner(size, radius), 2.0 * inner(size, self.reach)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        return namespace(coefficient).where(coefficient > 0, self.lower, self.upper)

    def project(self, x: Vectors) -> Vectors:
        xp = namespace(x)
        return xp.minimum(xp.maximum(x, self.lower), self.upper)

    def drawn_in(self, x: Vectors) -> Vectors:
        return self.project(x)

    @cached_property
    def stride(self) -> Vectors:
        return self.width

    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        # In the largest norm, the steepest ascent is along the signs.
        xp = namespace(x)
        signs = xp.astype(direction > 0, x.dtype) - xp.astype(direction < 0, x.dtype)
        # In this order, no step is the product of infinity and zero.
        return self.project(x + (step * signs) * self.half)

    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        shares = self.placement.put(rng.uniform(-1.0, 1.0, (*self.lead, count, self.size)))
        boxes = self.at((..., None, slice(None)))
        return boxes.project(boxes.centre + shares * boxes.half)

    def corners(self, most: int) -> Float[Array, "... corners n"] | None:
        count, (lower, upper) = 2**self.sides, map(to_numpy, self.range)
        if count > most:
            return None
        side = np.maximum(np.cumsum(lower < upper, axis=-1) - 1, 0)
        high = (np.arange(count)[:, None] >> side[..., None, :]) & 1
        return self.placement.put(np.where(high == 1, upper[..., None, :], lower[..., None, :]))

    def inward(self, placement: Placement) -> "Box":
        xp, largest = placement.xp, placement.xp.finfo(placement.dtype).max
        lower, upper = (
            xp.clip(placement.directed(end, up), -largest, largest)
            for end, up in zip(self.range, (True, False), strict=True)
        )
        return self.of(lower, xp.maximum(lower, upper))

    def with_rounded(self, dtype: type[np.floating]) -> "Box":
        """The boxes that also hold what their points are rounded to in a type, where that is finite.

        Rounding is monotone, so the rounded ends are enough.
        """
        other = self.put(Placement.numpy(dtype)).put(self.placement)
        lower = np.where(np.isfinite(other.lower), np.minimum(self.lower, other.lower), self.lower)
        upper = np.where(np.isfinite(other.upper), np.maximum(self.upper, other.upper), self.upper)
        return self.of(lower, upper)

    @property
    def halvable(self) -> Bool[np.ndarray, "... n"]:
        """The sides with a number strictly between their ends."""
        middle = 0.5 * self.lower + 0.5 * self.upper
        return (self.lower < middle) & (middle < self.upper)

    def halved(self, side: Int[np.ndarray, " boxes"]) -> "Box":
        """The lower halves of all boxes and then the upper ones, which share the middle; `side`: where each is cut."""
        place = np.arange(len(side)), side
        middle = 0.5 * self.lower[place] + 0.5 * self.upper[place]
        below, above = np.array(self.upper), np.array(self.lower)
        below[place], above[place] = middle, middle
        return Box.joined([Box.of(self.lower, below), Box.of(above, self.upper)])

    def times(self, other: "Box") -> "Box":
        """The products with one other box [m]: the sides of both, [..., n + m]."""
        xp, shape = namespace(self.lower), (*self.lead, other.size)
        pairs = zip(self.range, other.range, strict=True)
        return self.of(*(xp.concat([own, xp.broadcast_to(end, shape)], axis=-1) for own, end in pairs))

    @property
    def packed(self) -> Vectors:
        """The lower and then the upper ends in one array, [..., 2 n]."""
        return namespace(self.lower).concat(self.range, axis=-1)

    @classmethod
    def unpacked(cls, ends: Array) -> "Box":
        """The boxes that were `packed`."""
        size = ends.shape[-1] // 2
        return cls.of(ends[..., :size], ends[..., size:])

    def flattened(self, flatten: Callable[[Array], Array]) -> "Box":
        return self.mapped(flatten)

    def seen(self, crop: Callable[[Array], Array]) -> "Box":
        return self.mapped(crop)

    def within(self, lower: Vectors, upper: Vectors) -> "Box":
        xp = namespace(self.lower)
        low = xp.maximum(self.lower, lower)
        # What is empty becomes a point.
        return self.of(low, xp.maximum(low, xp.minimum(self.upper, upper)))

    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        return namespace(x).all((self.lower <= x) & (x <= self.upper), axis=-1)

    def covers(self, other: InputSet) -> bool:
        low, high = other.range
        return bool(namespace(low).all((self.lower <= low) & (high <= self.upper)))

    def finder(self, vertex: VertexVerb, owner: Array) -> Finder:
        xp, size = namespace(self.lower), self.size
        lower, upper = (xp.reshape(end, (-1, size)) for end in self.range)

        def find(coefficient: Array) -> tuple[Array, Array]:
            x, value = vertex(xp.reshape(coefficient, (-1, size)), lower, upper, owner)
            return xp.reshape(x, coefficient.shape), xp.reshape(value, coefficient.shape[:-1])

        return find

    def flat(self, size: int) -> "Box":
        """Boxes of tensors as boxes of vectors with so many entries, [boxes, size]."""
        xp = namespace(self.lower)
        count = prod(self.lower.shape) // size
        return self.of(*(xp.reshape(end, (count, size)) for end in self.range))

    def support(self, directions: Float[np.ndarray, "d n"]) -> Float[np.ndarray, "boxes d"]:
        """max d'x over each box, rounded upward and exact along a coordinate."""
        value = self.upper @ np.maximum(directions, 0.0).T + self.lower @ np.minimum(directions, 0.0).T
        loss = 2.0 * gamma(2 * self.size + 4) * (self.reach @ np.abs(directions).T)
        along = np.count_nonzero(directions, axis=1) <= 1
        exact = along & np.all(np.isin(directions, (-1.0, 0.0, 1.0)), axis=1)
        return np.where(exact, value, np.nextafter(value + loss, np.inf))

    def scattered(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "points n"]:
        """Points of one box, a quarter of them vertices, where extremes like to be."""
        low, high = (to_numpy(end).reshape(1, -1) for end in self.range)
        # Ends may be so far apart that their difference overflows.
        share = rng.random((count, low.shape[1]))
        points = low * (1.0 - share) + high * share
        corners = rng.random(points.shape)[: count // 4] < 0.5
        points[: count // 4] = np.where(corners, low, high)
        return np.clip(points, low, high)

    def grid(self, sides: int) -> "Box":
        """One box cut into `sides` parts along every side that has a width, which cover it, [cells, inputs].

        Raises: InputError for more than a million cells.
        """
        low, high = (to_numpy(end).reshape(-1) for end in self.range)
        # NumPy's integers wrap around.
        count = sides ** int(np.count_nonzero(high > low))
        if count > _MOST_CELLS:
            raise InputError(
                f"A grid of {sides} cells a side makes {brief(count)} cells; take at most {_MOST_CELLS} in all."
            )
        cuts = [np.linspace(a, b, sides + 1 if b > a else 2) for a, b in zip(low, high, strict=True)]
        for cut, a, b in zip(cuts, low, high, strict=True):
            cut[0], cut[-1] = a, b
        # The last side changes fastest; NumPy's meshes have 32 axes at most.
        left, lower, upper = np.arange(count), np.empty((count, len(cuts))), np.empty((count, len(cuts)))
        for i in reversed(range(len(cuts))):
            left, place = np.divmod(left, len(cuts[i]) - 1)
            lower[:, i], upper[:, i] = cuts[i][place], cuts[i][place + 1]
        return self.of(lower, upper)

    @classmethod
    def around(
        cls,
        center: Array,
        radius: Array | float,
        within: tuple[Array | float, Array | float] | None = None,
        *,
        norm: str | float = "linf",
    ) -> "Box":
        """The box {x : |x - center| <= radius}, cut with [within[0], within[1]] elementwise.

        Ends are computed in float64 and moved outward by one unit in the last place, so that rounding never loses a
        point of the set.

        Shapes: center [*input_shape] or [rows, *input_shape]; radius and both of within numbers or arrays that
        broadcast.
        norm: "linf" or inf, in which balls are boxes; `Ball` makes those of other norms.
        Raises: InputError for what is no array of real numbers, a negative or NaN radius, another norm, or when the cut
        is empty.
        Error: rounded outward.
        """
        if (named := norm_name(norm)) != "linf":
            raise InputError(
                f"A ball in the norm {named!r} is no box; give av.Ball(center, radius, {named!r}, within) instead."
            )
        middle, width = center_and_radius(center, radius)
        placement, xp = Placement.of(middle), namespace(middle)
        infinity = xp.full_like(middle, float("inf"))
        lower = xp.where(width > 0, xp.nextafter(middle - width, -infinity), middle)
        upper = xp.where(width > 0, xp.nextafter(middle + width, infinity), middle)
        if within is not None:
            floor, ceiling = (_spread(placement, end, middle, "range within") for end in range_ends(within))
            lower, upper = xp.maximum(lower, floor), xp.minimum(upper, ceiling)
        return cls(lower, upper)

    @classmethod
    def inside(cls, center: np.ndarray, radius: np.ndarray, within: tuple[np.ndarray, np.ndarray]) -> "Box":
        """A box that the exact {x : |x - center| <= radius}, cut with [within[0], within[1]], holds for certain.

        Shapes: center [..., n], inside the range; radius and both of within broadcast.
        """
        # The centre itself is always inside, whatever rounding does to the ends.
        lower = np.maximum(np.nextafter(center - radius, np.inf), within[0])
        upper = np.minimum(np.nextafter(center + radius, -np.inf), within[1])
        return cls.of(np.minimum(lower, center), np.maximum(upper, center))


def center_and_radius(center: Array, radius: Array | float) -> tuple[Array, Array]:
    """A center, and radii of its shape, as float64 arrays of their own.

    Raises: InputError for what are no arrays of real numbers, radii that do not fit, and negative or NaN ones.
    """
    middle = float64_array(center, "center")
    width = _spread(Placement.of(middle), radius, middle, "radius")
    if not bool(namespace(middle).all(width >= 0)):
        raise InputError(f"The radius {shown(radius)} is negative or NaN; give numbers >= 0.")
    return middle, width


def range_ends(within: object) -> tuple[Array, Array]:
    """The two ends of a range that entries lie within.

    Raises: InputError for anything but a pair.
    """
    if isinstance(within, tuple | list) and len(within) == 2:
        return within[0], within[1]
    if array_api_compat.is_array_api_obj(within) or masks(within):
        pair = to_numpy(plain_array(within, "range within"))
        if pair.ndim and len(pair) == 2:
            return pair[0], pair[1]
    raise InputError(f"The range within is {shown(within)}; give a pair (lowest, highest), such as (0, 1), or None.")


def _spread(placement: Placement, value: Array | float, middle: Array, what: str) -> Array:
    array = float64_array(value, what, placement)
    try:
        return placement.xp.broadcast_to(array, middle.shape)
    except (ValueError, RuntimeError):
        raise InputError(
            f"The {what} has shape {tuple(array.shape)}, but the center has {tuple(middle.shape)}."
        ) from None


def _refuse(bad: Array, box: Box, reason: str) -> None:
    found = to_numpy(bad)
    if found.any():
        index = tuple(int(i) for i in np.unravel_index(found.argmax(), found.shape))
        low, high = to_numpy(box.lower)[index], to_numpy(box.upper)[index]
        raise InputError(f"At index {index} the interval [{low}, {high}] {reason}.")
