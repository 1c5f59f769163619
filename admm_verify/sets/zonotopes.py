"""Zonotopes with a box around every point."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Array, Float, SameArray, gamma, inner, namespace
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet, Numbers, Vectors


def rounded_up(total: SameArray, terms: int) -> SameArray:
    """An upper bound of a sum of non-negative numbers that was computed with some rounding in each of its terms."""
    return total * (1.0 + 2.0 * (terms + 16) * DOUBLE_ROUNDOFF) + SMALLEST * (terms + 16)


@dataclass(frozen=True, eq=False)
class Zonotopes(InputSet):
    """The sets {centre + generators z + e : z in [-1, 1]^m, |e| <= radius}, the affine images of boxes.

    Shapes: centre, radius [..., n]; generators [..., n, m].
    Error: the range is rounded outward, and is the whole line where numbers are not finite.
    Reference: Girard, Reachability of uncertain linear systems using zonotopes, HSCC 2005.
    """

    centre: Array
    generators: Array
    radius: Array

    @classmethod
    def of(cls, *numbers: Array) -> Self:
        return cls(*numbers)

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.centre, self.generators, self.radius

    @property
    def symbols(self) -> int:
        """The length m of z."""
        return self.generators.shape[-1]

    @cached_property
    def deviation(self) -> Numbers:
        """An upper bound of |x - centre|, for every coordinate."""
        xp = namespace(self.centre)
        return rounded_up(xp.sum(xp.abs(self.generators), axis=-1) + self.radius, self.symbols)

    @property
    def range(self) -> tuple[Any, Any]:
        return self._range

    @cached_property
    def _range(self) -> tuple[Array, Array]:
        xp, centre, deviation = namespace(self.centre), self.centre, self.deviation
        infinity = xp.full_like(centre, float("inf"))
        lower, upper = xp.nextafter(centre - deviation, -infinity), xp.nextafter(centre + deviation, infinity)
        known = xp.isfinite(lower) & xp.isfinite(upper)
        return xp.where(known, lower, -infinity), xp.where(known, upper, infinity)

    @property
    def reach(self) -> Vectors:
        xp, (lower, upper) = namespace(self.centre), self.range
        return xp.maximum(xp.abs(lower), xp.abs(upper))

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        # min c'x = c'centre - sum over symbols |c'g| - |c|'radius.
        xp, symbols = namespace(coefficient), self.symbols
        size = xp.abs(coefficient)
        drop = xp.sum(xp.abs(self._along(coefficient)), axis=-1)
        value = inner(coefficient, self.centre) - drop - inner(size, self.radius)
        most = inner(size, self.reach)
        # The sum over the symbols and what their products lose to underflow are nothing that the caller counts.
        slack = 2.0 * gamma(symbols + 3) * most + SMALLEST * self.size * (symbols + 2)
        return value - slack, 2.0 * most

    def minimiser(self, coefficient: Vectors) -> Vectors:
        xp = namespace(coefficient)
        z, shared = -xp.sign(self._along(coefficient)), self._shared
        moved = (self.generators @ z[..., None])[..., 0] if shared is None else z @ xp.matrix_transpose(shared)
        return self.centre + moved - xp.sign(coefficient) * self.radius

    def seen(self, crop: Callable[[Array], Array]) -> InputSet:
        return Box.of(*map(crop, self.range))

    def covers(self, other: InputSet) -> bool:
        """True for parts of the same zonotopes that have a smaller radius; others are not looked at closer."""
        if not isinstance(other, Zonotopes) or self.shape != other.shape or self.symbols != other.symbols:
            return False
        xp = namespace(self.centre)
        same = xp.all(self.centre == other.centre) & xp.all(self.generators == other.generators)
        return bool(same & xp.all(self.radius >= other.radius))

    def _along(self, coefficient: Vectors) -> Float[Array, "... m"]:
        """c'generators."""
        shared = self._shared
        return (coefficient[..., None, :] @ self.generators)[..., 0, :] if shared is None else coefficient @ shared

    @property
    def _shared(self) -> Array | None:
        """The generators where rows share them, so that these take one product of matrices."""
        generators = self.generators
        if len(generators.shape) > 2:
            return generators[..., 0, :, :] if generators.shape[-3] == 1 else None
        return generators
