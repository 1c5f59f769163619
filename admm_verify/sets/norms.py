"""The l2 and the l1 norm in units of radii: what is least over their balls cut with boxes, and what is nearest."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import array_api_compat
import numpy as np

from admm_verify.arrays import Array, Float, namespace
from admm_verify.sets.crossing import crossing

Units = Float[Array, "... n"]
"""Distances y = (x - center) / radius from the center, or coefficients q of them."""

_STEEPEST = 1e-12
"""Of the square of a radius: less is not counted as left where the box takes nearly all, and multipliers stay small."""


@dataclass(frozen=True, eq=False)
class Sides:
    """A box in units of radii, within [-1, 1].

    Shapes: low, high, and share, the radii by the largest one, [..., n].
    """

    low: Array
    high: Array
    share: Array

    @cached_property
    def rest(self) -> Units:
        """The shortest y of the box."""
        xp = namespace(self.low)
        return xp.minimum(xp.maximum(xp.zeros_like(self.low), self.low), self.high)

    def clip(self, y: Units) -> Units:
        """The nearest y of the box."""
        xp = namespace(y, self.low)
        return xp.minimum(xp.maximum(y, self.low), self.high)

    def lowest(self, q: Units) -> Units:
        """The y of the box where q'y is least; where q is zero, the shortest."""
        xp = namespace(q, self.low)
        return xp.where(q > 0, self.low, xp.where(q < 0, self.high, self.rest))


class Norm(ABC):
    """A norm |y|_p, its balls {y : |y|_p <= 1}, and the same cut with a box, which is not empty."""

    power: ClassVar[int]

    @abstractmethod
    def length(self, y: Units) -> Array:
        """|y|_p, [..., 1]."""

    @abstractmethod
    def dual_length(self, q: Units) -> Array:
        """max q'y over the ball, [..., 1]."""

    @abstractmethod
    def lowest(self, q: Units) -> Units:
        """The y of the ball where q'y is least; zero where q is."""

    @abstractmethod
    def lowest_cut(self, q: Units, sides: Sides) -> tuple[Units, Units]:
        """The y of the cut ball where q'y is least, and a multiplier h that proves it.

        q'y = h'y + (q - h)'y, where y is least for the first part over the ball alone and for the second over the box
        alone. h is q itself where y is inside the box.
        """

    @abstractmethod
    def nearest(self, w: Units, theta: Array, sides: Sides) -> Units:
        """The y of the cut ball where |share (y - w / theta)| is least in the plain sense; w / theta lies outside.

        Shapes: theta [..., 1], in (0, 1]; |w| <= 1.
        """

    @abstractmethod
    def drawn(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Uniform points of the ball."""


class Euclidean(Norm):
    """p = 2."""

    power = 2

    def length(self, y: Units) -> Array:
        xp = namespace(y)
        most = _largest(y)
        return most * xp.sqrt(xp.sum((y / most) ** 2, axis=-1, keepdims=True))

    def dual_length(self, q: Units) -> Array:
        return self.length(q)

    def lowest(self, q: Units) -> Units:
        xp, part = namespace(q), q / _largest(q)
        total = xp.sqrt(xp.sum(part**2, axis=-1, keepdims=True))
        return -part / xp.where(total > 0, total, xp.ones_like(total))

    def lowest_cut(self, q: Units, sides: Sides) -> tuple[Units, Units]:
        # y = clip(-s q, low, high), whose length grows with s: s^2 is where its square is 1.
        xp, most = namespace(q), _largest(q)
        p = q / most
        left = 1.0 - xp.sum(sides.rest**2, axis=-1, keepdims=True)
        square = xp.sum(p**2, axis=-1, keepdims=True)
        square = xp.where(square > 0, square, xp.ones_like(square))
        # Each square is at most that of the rest and what q adds.
        first = xp.maximum(left, xp.full_like(left, _STEEPEST)) / square
        end = sides.lowest(p)
        largest = xp.finfo(p.dtype).max
        steps = xp.where(p != 0, end / xp.where(p != 0, p, xp.ones_like(p)), xp.zeros_like(p))
        last = xp.clip(xp.max(xp.abs(steps), axis=-1, keepdims=True) ** 2, 0.0, largest)
        last = xp.maximum(last, first)

        def excess(t: Array) -> tuple[Array, Array]:
            moved = -xp.sqrt(t) * p
            inside = (moved > sides.low) & (moved < sides.high)
            slope = xp.sum(xp.where(inside, p, xp.zeros_like(p)) ** 2, axis=-1, keepdims=True)
            return xp.sum(sides.clip(moved) ** 2, axis=-1, keepdims=True) - 1.0, slope

        loose = xp.sum(end**2, axis=-1, keepdims=True) <= 1.0
        # Where the box alone decides there is nothing to look for.
        s = xp.sqrt(crossing(excess, first, xp.where(loose, first, last), first))
        moved = -s * p
        y = xp.where(loose, end, sides.clip(moved))
        h = xp.where(loose, xp.zeros_like(y), -y / s)
        inside = (moved > sides.low) & (moved < sides.high)
        return y, xp.where(inside & ~loose, q, h * most)

    def nearest(self, w: Units, theta: Array, sides: Sides) -> Units:
        # y = clip(w k / (theta k + t), low, high) with k = share^2, shorter for larger t: 1 / |y| is nearly linear.
        xp, k = namespace(w), sides.share**2
        rest = xp.sum(sides.rest**2, axis=-1, keepdims=True)
        left = xp.sqrt(xp.maximum(1.0 - rest, xp.full_like(rest, _STEEPEST)))
        most = self.length(w) / left
        zero = xp.zeros_like(most)

        def at(t: Array) -> tuple[Array, Array]:
            below = theta * k + t
            below = xp.where(below > 0, below, xp.ones_like(below))
            return w * k / below, below

        def excess(t: Array) -> tuple[Array, Array]:
            moved, below = at(t)
            y = sides.clip(moved)
            inside = (moved > sides.low) & (moved < sides.high)
            total = xp.sum(y**2, axis=-1, keepdims=True)
            length = xp.sqrt(total)
            fall = xp.sum(xp.where(inside, y**2 / below, xp.zeros_like(y)), axis=-1, keepdims=True)
            return 1.0 / length - 1.0, fall / (total * length)

        return sides.clip(at(crossing(excess, zero, most, most))[0])

    def drawn(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        y = rng.standard_normal(shape)
        length = np.sqrt(np.sum(y**2, axis=-1, keepdims=True))
        return y / length * rng.random((*shape[:-1], 1)) ** (1.0 / shape[-1])


class Taxicab(Norm):
    """p = 1."""

    power = 1

    def length(self, y: Units) -> Array:
        xp = namespace(y)
        return xp.sum(xp.abs(y), axis=-1, keepdims=True)

    def dual_length(self, q: Units) -> Array:
        xp = namespace(q)
        return xp.max(xp.abs(q), axis=-1, keepdims=True)

    def lowest(self, q: Units) -> Units:
        xp = namespace(q)
        first = xp.argmax(xp.abs(q), axis=-1, keepdims=True)
        places = xp.arange(q.shape[-1], device=array_api_compat.device(q))
        return xp.where(places == first, -xp.sign(q), xp.zeros_like(q))

    def lowest_cut(self, q: Units, sides: Sides) -> tuple[Units, Units]:
        # The steepest entries go to their ends, as far as the length lasts.
        xp, end = namespace(q), sides.lowest(q)
        rest, size = xp.broadcast_to(sides.rest, end.shape), xp.abs(q)
        left = 1.0 - xp.sum(xp.abs(sides.rest), axis=-1, keepdims=True)
        extra = xp.abs(end - rest)
        order = xp.argsort(size, axis=-1, descending=True)
        after = xp.cumulative_sum(xp.take_along_axis(extra, order, axis=-1), axis=-1)
        over = xp.where(after > left, xp.take_along_axis(size, order, axis=-1), xp.zeros_like(extra))
        level, zero = xp.max(over, axis=-1, keepdims=True), xp.zeros_like(extra)
        # Those that are as steep as the last one share what is left for it.
        spent = xp.sum(xp.where(size > level, extra, zero), axis=-1, keepdims=True)
        equal = xp.sum(xp.where(size == level, extra, zero), axis=-1, keepdims=True)
        share = xp.clip((left - spent) / xp.where(equal > 0, equal, xp.ones_like(equal)), 0.0, 1.0)
        y = xp.where(size > level, end, xp.where(size == level, rest + share * (end - rest), rest))
        # Entries that the box keeps away from the center cost length whatever they do.
        h = xp.minimum(xp.maximum(q, -level), level)
        h = xp.where(sides.low > 0, -level, xp.where(sides.high < 0, level, h))
        return y, h

    def nearest(self, w: Units, theta: Array, sides: Sides) -> Units:
        # y = clip(soft(w, t / share^2) / theta, low, high), shorter for larger t.
        xp, k = namespace(w), sides.share**2
        some = k > 0
        k = xp.where(some, k, xp.ones_like(k))
        size = xp.where(some, xp.abs(w), xp.zeros_like(w))

        def at(t: Array) -> Array:
            return xp.sign(w) * xp.maximum(size - t / k, xp.zeros_like(size)) / theta

        def excess(t: Array) -> tuple[Array, Array]:
            moved = at(t)
            inside = (moved > sides.low) & (moved < sides.high) & (moved != 0)
            slope = xp.sum(xp.where(inside, 1.0 / k, xp.zeros_like(k)), axis=-1, keepdims=True) / theta
            return 1.0 - self.length(sides.clip(moved)), slope

        zero = xp.zeros_like(theta)
        return sides.clip(at(crossing(excess, zero, xp.max(size * k, axis=-1, keepdims=True), zero)))

    def drawn(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        parts = rng.exponential(size=(*shape[:-1], shape[-1] + 1))
        signs = np.where(rng.random(shape) < 0.5, -1.0, 1.0)
        return signs * parts[..., :-1] / np.sum(parts, axis=-1, keepdims=True)


def _largest(q: Units) -> Array:
    """max |q|, or 1 where that is zero, [..., 1]."""
    xp = namespace(q)
    most = xp.max(xp.abs(q), axis=-1, keepdims=True)
    return xp.where(most > 0, most, xp.ones_like(most))


def towards(start: Array, away: Array) -> Array:
    """start + away, rounded towards the start."""
    xp, x = namespace(start, away), start + away
    return xp.where(xp.abs(x - start) > xp.abs(away), xp.nextafter(x, xp.broadcast_to(start, x.shape)), x)
