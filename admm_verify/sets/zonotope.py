"""Zonotopes as sets of inputs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from admm_verify.arrays import (
    DOUBLE_ROUNDOFF,
    Array,
    Bool,
    Float,
    Placement,
    gamma,
    namespace,
    quiet_overflow,
    to_numpy,
)
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.reprs import short_repr
from admm_verify.sets.bounded_squares import least_squares
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet, Vectors, WalkableSet
from admm_verify.sets.cut import Cut
from admm_verify.sets.exact_feasibility import solvable
from admm_verify.sets.images import along, applied, cropped, leading
from admm_verify.sets.interior import UnitProgram
from admm_verify.sets.slices import Shared, zonotope_share
from admm_verify.sets.zonotopes import Zonotopes

_AT_END = (1e-3, 1e-5, 1e-8)
"""How near to an end z stays there, in each of Newton's steps after an interior point method."""

_RIDGE = 1e-13
"""What makes those steps unique."""

_MOST_CORNERS = 1024
"""Of a box that is asked to be inside."""

_CLOSE = 1e-8
"""Of what z has to be known to for its points to count as nearest."""

_MOST_EXACT = 24
"""Inputs and symbols up to which rational numbers tell within about a tenth of a second where a point lies."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Zonotope(Zonotopes, WalkableSet):
    """The set {center + generators z : z in [-1, 1]^symbols}, or a batch of them.

    Points that the set gives lie inside, exactly; where it is flat, or thinner than its points' rounding, next to it.
    Samples are images of uniform z.
    Shapes: center [*input_shape] or [sets, *input_shape]; generators [n, symbols] or [sets, n, symbols], rows in the
    order of inputs.
    Raises: InputError for what are no arrays of finite real numbers, and for sizes that do not fit.
    Error: minima are rounded outward; nearest points are found by an active-set method, or an interior point method.
    Reference: Girard, Reachability of uncertain linear systems using zonotopes, HSCC 2005.
    """

    center: Array = field(repr=False)
    inverse: Array = field(repr=False)
    doubt: Array = field(repr=False)

    __repr__ = short_repr

    def __init__(self, center: Array, generators: Array) -> None:
        middle, matrix = float64_array(center, "zonotope's center"), float64_array(generators, "zonotope's generators")
        sides = tuple(matrix.shape)
        if len(sides) not in (2, 3) or 0 in sides[:-1]:
            raise InputError(
                f"The zonotope's generators are an array of shape {sides}; give (n, symbols), or (sets, n, symbols)."
            )
        for name, part in (("center has", middle), ("generators have", matrix)):
            if not bool(namespace(part).all(namespace(part).isfinite(part))):
                raise InputError(f"The zonotope's {name} NaN or infinite numbers; give finite ones.")
        lead = leading(tuple(middle.shape), sides[-2], "zonotope's center")
        if lead and len(sides) == 3 and 1 not in (lead[0], sides[0]) and lead[0] != sides[0]:
            raise InputError(
                f"The zonotope's center is one of {lead[0]} sets and its generators of {sides[0]}; give as many."
            )
        count = max((*lead, *sides[:-2], 1))
        both = (count,) if lead or len(sides) == 3 else ()
        centers = np.broadcast_to(to_numpy(middle).reshape(*lead, sides[-2]), (*both, sides[-2]))
        columns = np.broadcast_to(to_numpy(matrix), (*both, *sides[-2:]))
        if not sides[-1]:
            # A point: one symbol that moves nothing.
            columns = np.zeros((*both, sides[-2], 1))
        inverse = _inverse(columns)
        numbers = centers, columns, np.zeros_like(centers), inverse, _doubt(centers, columns, inverse, DOUBLE_ROUNDOFF)
        self._fill(*map(Placement.of(middle).put, map(np.array, numbers)))

    def _fill(self, *numbers: Array) -> None:
        names = ("center", "generators", "radius", "inverse", "doubt")
        for name, value in zip(names, numbers, strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, *numbers: Array) -> "Zonotope":
        """Those of centre and radius, which is 0, [..., n]; generators G [..., n, symbols]; an inverse of G from the
        right [..., symbols, n]; and doubt [..., 1], by how much z of a computed point may mislead, 1 for no inverse.
        """
        made = object.__new__(cls)
        made._fill(*numbers)
        return made

    @property
    def centre(self) -> Vectors:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.center

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.centre, self.generators, self.radius, self.inverse, self.doubt

    @cached_property
    def _solid(self) -> Array:
        return self.doubt < 0.3

    @cached_property
    def _room(self) -> Array:
        """How large z may be for computed points to be inside, [..., 1]; 1 where nothing makes sure of that."""
        return namespace(self.doubt).where(
            self._solid, 1.0 - 2.5 * self.doubt, namespace(self.doubt).ones_like(self.doubt)
        )

    def _image(self, z: Array) -> Vectors:
        return self.centre + applied(self.generators, self._room * z)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        return self._image(-namespace(coefficient).sign(along(coefficient, self.generators)))

    def project(self, x: Vectors) -> Vectors:
        xp, own = namespace(x), applied(self.inverse, x - self.centre)
        inside = self._solid & (_largest(own) <= self._room)
        inside = inside | xp.all(x == self.centre, axis=-1, keepdims=True)
        if bool(xp.all(inside)):
            return x
        # What is outside by rounding alone, as minimisers are, has its z near the border's.
        close = (self.doubt < _CLOSE) & (_largest(own) <= 1.0 + 4.0 * self.doubt)
        if bool(xp.all(inside | close)):
            return xp.where(inside, x, self._image(xp.clip(own / self._room, -1.0, 1.0)))
        place = Placement.of(x)
        double = place.double.put
        z = place.put(self._program.nearest(double(x) - double(self.centre)))
        inside = inside | self._reached(x - self.centre, self._room * z)
        return xp.where(inside, x, self._image(z))

    def _reached(self, away: Vectors, z: Array) -> Array:
        """Whether z leads to a point inside for certain, but for what its least correction mends, [..., 1]."""
        left = away - applied(self.generators, z)
        own = _largest(z + applied(self.inverse, left)) + self.doubt * (1.0 + _largest(z))
        return self._solid & (own <= 1.0)

    @cached_property
    def _program(self) -> "_Distances":
        return _Distances(self.placement.double.put(self._room[..., None] * self.generators))

    def stepped(self, x: Vectors, step: Array | float, direction: Vectors) -> Vectors:
        # In the norm of which the set is the unit ball, the steepest ascent is towards the farthest corner.
        xp = namespace(x)
        known = xp.where(xp.isnan(direction), xp.zeros_like(direction), direction)
        return self.project(x + applied(self.generators, step * xp.sign(along(known, self.generators))))

    def sample(self, count: int, rng: np.random.Generator) -> Float[Array, "... points n"]:
        z = self.placement.put(rng.uniform(-1.0, 1.0, (*self.lead, count, self.symbols)))
        return self.at((*(slice(None) for _ in self.lead), None))._image(z)

    def corners(self, most: int) -> Float[Array, "... corners n"] | None:
        """All corners of every set, as near as points inside come, and some points that are none."""
        if self.symbols > 62 or 2**self.symbols > most:
            return None
        signs = 2.0 * ((np.arange(2**self.symbols)[:, None] >> np.arange(self.symbols)) & 1) - 1.0
        z = self.placement.put(np.broadcast_to(signs, (*self.lead, *signs.shape)))
        return self.at((*(slice(None) for _ in self.lead), None))._image(z)

    def inward(self, placement: Placement) -> "Zonotope":
        home = Placement.numpy()
        near = tuple(map(placement.put, (self.centre, self.generators)))
        (center, columns), (middle, exact) = (
            [to_numpy(home.put(part)) for part in pair] for pair in (near, (self.centre, self.generators))
        )
        moved = np.abs(center - middle) + np.abs(columns - exact).sum(axis=-1)
        roundoff = float(placement.xp.finfo(placement.dtype).eps) / 2.0
        doubt = _doubt(middle, exact, to_numpy(home.put(self.inverse)), roundoff, moved)
        return self.of(*near, placement.put(self.radius), placement.put(self.inverse), placement.put(doubt))

    def flattened(self, flatten: Callable[[Array], Array]) -> "Zonotope":
        first, *others = self.numbers
        return self.of(flatten(first), *(others if self.lead else (part[None] for part in others)))

    def within(self, lower: Vectors, upper: Vectors) -> WalkableSet:
        return Cut.of_parts(self, Box.of(*self.range).within(lower, upper))

    def shared_with(self, ends: tuple[Vectors, Vectors], coefficient: Vectors) -> Shared:
        return zonotope_share(self.centre, self.generators, ends, coefficient)

    def seen(self, crop: Callable[[Array], Array]) -> InputSet:
        # Images under a matrix with one entry a row are zonotopes again.
        columns = cropped(crop, self.generators)
        if columns is None:
            return Box.of(*map(crop, self.range))
        center = crop(self.centre)
        return Zonotopes(center, columns, namespace(center).zeros_like(center))

    def surely(self, x: Vectors) -> Bool[Array, "..."]:
        return self._seen_inside(x)[0]

    def _seen_inside(self, x: Vectors) -> tuple[Bool[Array, "..."], Array]:
        """Whether points are seen to be inside, and z whose images are nearest to them."""
        xp, (lower, upper) = namespace(x), self.range
        near, away = xp.all((lower <= x) & (x <= upper), axis=-1), x - self.centre
        own = self._solid & (_largest(applied(self.inverse, away)) <= 1.0 - self.doubt)
        z = self._room * self._program.nearest(xp.where(near[..., None], away, xp.zeros_like(away)))
        inside = near & (own | self._reached(away, z))[..., 0]
        return inside | xp.all(x == self.centre, axis=-1), z

    def contains(self, x: Vectors) -> Bool[Array, "..."]:
        xp, (lower, upper) = namespace(x), self.range
        near = xp.all((lower <= x) & (x <= upper), axis=-1)
        away, (inside, z) = x - self.centre, self._seen_inside(x)
        left = away - applied(self.generators, z)
        outside = xp.logical_not(near) | self._separates(left, away)
        open = to_numpy(xp.logical_not(inside | outside))
        found = np.array(to_numpy(inside))
        if open.any():
            self._decide(found, open, to_numpy(x + 0.0 * self.centre), to_numpy(z))
        return xp.asarray(found, device=self.placement.device)

    def found_inside(self, x: Vectors) -> Bool[Array, "..."]:
        return self.contains(x) if max(self.size, self.symbols) <= _MOST_EXACT else self.surely(x)

    def _separates(self, functional: Vectors, away: Vectors) -> Bool[Array, "..."]:
        """Whether a'(x - centre) is more than it is anywhere in the set, for certain."""
        xp, size = namespace(away), namespace(away).abs(functional)
        most = xp.sum(xp.abs(along(functional, self.generators)), axis=-1)
        slack = gamma(2 * self.size + self.symbols + 16) * xp.sum(
            size * (xp.abs(away) + xp.abs(self.centre) * 2.0**-50 + self.deviation), axis=-1
        )
        return xp.sum(functional * away, axis=-1) - most > 4.0 * slack

    def _decide(self, found: np.ndarray, open: np.ndarray, x: np.ndarray, z: np.ndarray) -> None:
        """The answers where they are open, in rational numbers."""
        lead = x.shape[:-1]
        centers, columns = (
            np.broadcast_to(to_numpy(part), (*lead, *part.shape[len(self.lead) :]))
            for part in (self.centre, self.generators)
        )
        for k in map(tuple, np.argwhere(open)):
            if not np.isfinite(x[k]).all():
                found[k] = False
                continue
            target = [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(x[k], centers[k], strict=True)]
            exact = [[Fraction(float(value)) for value in column] for column in columns[k].T]
            found[k] = solvable(exact, target, [bool(value > 0) for value in z[k]])

    def covers(self, other: InputSet) -> bool:
        return any(self._covers(one) for one in other.supersets)

    def _covers(self, other: InputSet) -> bool:
        if other.size != self.size or len(other.lead) != len(self.lead):
            return False
        if isinstance(other, Zonotope) and other.symbols == self.symbols:
            pairs = ((self.centre, other.centre), (self.generators, other.generators))
            return all(bool(namespace(own).all(own == its)) for own, its in pairs) or self._holds(other)
        corners = Box.of(*other.range).corners(_MOST_CORNERS)
        return corners is not None and bool(namespace(corners).all(self.spread().surely(corners)))

    def _holds(self, other: "Zonotope") -> bool:
        """Whether another one lies inside: with G' = s G + D its z leads to s z + inverse (c' - c + D z) here.

        All of it, not only the points that it gives: bounds hold for all.
        """
        home = Placement.numpy().put
        inverse, doubt, own, its = map(home, (self.inverse, self.doubt, self.generators, other.generators))
        square = (own * own).sum(axis=(-2, -1), keepdims=True)
        alike = (own * its).sum(axis=(-2, -1), keepdims=True) / np.where(square > 0, square, 1.0)
        centers = home(self.centre), home(other.centre)
        moved = (inverse @ (centers[1] - centers[0])[..., None])[..., 0]
        turned = np.abs(inverse @ (its - alike * own)).sum(axis=-1)
        # What computed differences and products are off by.
        size = sum(map(np.abs, centers)) + (np.abs(its) + np.abs(alike * own)).sum(axis=-1)
        lost = 4.0 * gamma(self.size + self.symbols + 8) * (np.abs(inverse) @ size[..., None])[..., 0]
        most = np.abs(alike)[..., 0] + (np.abs(moved) + turned + lost).max(axis=-1, keepdims=True)
        return bool(np.all((doubt < 0.3) & (most * (1.0 + 1e-9) <= 1.0 - doubt)))


class _Distances:
    """Nearest points of {G z : |z_i| <= 1}, many at once.

    Shapes: generators G [..., n, symbols] in float64; with fewer symbols than n, only what lies along them counts.
    """

    def __init__(self, generators: Array) -> None:
        xp = namespace(generators)
        most = xp.max(xp.abs(generators), axis=(-2, -1))[..., None]
        self.scale = xp.where(most > 0, most, xp.ones_like(most))
        slopes, self.basis = generators / self.scale[..., None], None
        if slopes.shape[-1] < slopes.shape[-2]:
            self.basis, slopes = xp.linalg.qr(slopes)
        self.slopes = slopes
        self.inverse = xp.linalg.pinv(slopes)

    def nearest(self, away: Vectors) -> Array:
        """z for which G z is nearest to a point."""
        xp = namespace(away)
        rooms = away / self.scale
        rooms = rooms if self.basis is None else along(rooms, self.basis)
        start = applied(self.inverse, rooms)
        start = xp.where(xp.isfinite(start), start, xp.zeros_like(start))
        one = xp.ones_like(start)
        z, found = least_squares(self.slopes, rooms, xp.minimum(xp.maximum(start, -one), one))
        if bool(xp.all(found)):
            return z
        # Of the few that this does not find, the path comes near.
        shape, open = tuple(z.shape), xp.logical_not(found)[..., None]
        other = self._path(xp.where(open, rooms, xp.zeros_like(rooms)))
        return xp.where(open, xp.broadcast_to(other, shape), z)

    def _path(self, rooms: Vectors) -> Array:
        """z by an interior point method, whose last digits are those of Newton's."""
        xp = namespace(rooms)
        # Distances of far points by the square of their root, so that all terms are of size 1.
        far = xp.sqrt(xp.maximum(_largest(rooms), xp.ones_like(rooms[..., :1])))
        program = UnitProgram(self.slopes / far[..., None], rooms / far, xp.ones_like(rooms), soft=True)
        zero = xp.zeros_like(self.slopes[..., 0, :]) + 0.0 * rooms[..., :1]
        z = program.solve(zero, zero)[0]
        for room in _AT_END:
            z = self._polished(z, rooms, room)
        return z

    def _polished(self, z: Array, rooms: Vectors, room: float) -> Array:
        """One step of Newton's method for those z that are not at an end, where it helps."""
        xp = namespace(z)
        left = applied(self.slopes, z) - rooms
        free = (xp.abs(z) < 1.0 - room) | (z * along(left, self.slopes) > 0)
        ends = xp.where(free, z, xp.sign(z))
        pull = xp.where(free, along(applied(self.slopes, ends) - rooms, self.slopes), xp.zeros_like(z))
        slopes = self.slopes * xp.astype(free, z.dtype)[..., None, :]
        unit = xp.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        bend = xp.matrix_transpose(slopes) @ slopes
        some = xp.where(free, xp.full_like(z, _RIDGE), xp.ones_like(z))
        move = applied(xp.linalg.inv(bend + some[..., None] * unit), pull)
        found = xp.minimum(xp.maximum(ends - move, -xp.ones_like(z)), xp.ones_like(z))
        step = applied(self.slopes, found - z)
        gain = xp.sum(step * (2.0 * left + step), axis=-1, keepdims=True)
        return xp.where(gain < 0, found, z)


def _largest(z: Array) -> Array:
    xp = namespace(z)
    return xp.max(xp.abs(z), axis=-1, keepdims=True)


@quiet_overflow()
def _inverse(columns: Float[np.ndarray, "... n m"]) -> Float[np.ndarray, "... m n"]:
    """An inverse from the right where rows are independent, of rows scaled to length 1."""
    size = np.abs(columns).sum(axis=-1, keepdims=True)
    size = np.where(size > 0, size, 1.0)
    found = np.linalg.pinv(columns / size, rcond=1e-12) / np.swapaxes(size, -1, -2)
    # Of the smallest numbers there is none.
    return np.where(np.isfinite(found), found, 0.0)


@quiet_overflow()
def _doubt(
    center: np.ndarray, columns: np.ndarray, inverse: np.ndarray, roundoff: float, moved: np.ndarray | float = 0.0
) -> Float[np.ndarray, "... 1"]:
    """How far max |z| of the exact point can be from that with which one was computed, or from the computed one.

    With F = I - G inverse, z = inverse (I - F)^-1 d solves G z = d. moved: by how much points miss the exact ones.
    """
    *_, n, m = columns.shape
    size = np.abs(columns).sum(axis=-1)
    over = np.where(size > 0, size, 1.0)
    slip = np.abs(np.eye(n) - columns @ inverse) + gamma(m + 4) * np.abs(columns) @ np.abs(inverse)
    lost = (slip * over[..., None, :] / over[..., :, None]).sum(axis=-1).max(axis=-1)
    error = moved + (m + n + 8) * roundoff * (np.abs(center) + 2.0 * size)
    stretch, stray = ((np.abs(inverse) @ part[..., None])[..., 0].max(axis=-1) for part in (over, error))
    doubt = 1.1 * (stretch * (lost + (n + 4) * roundoff) + stray) / np.maximum(1.0 - lost, 0.5)
    return np.where(lost < 0.1, np.minimum(doubt, 1.0), 1.0)[..., None]
