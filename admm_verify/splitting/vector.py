"""Vectors of the layered splitting: several arrays that add, scale and compare as one."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import add, sub

from admm_verify.arrays import Array, namespace, select_rows
from admm_verify.splitting.state import PerRow


@dataclass(frozen=True, eq=False)
class Vector(PerRow):
    """One point of a product space, a part per factor.

    Shapes: parts[i] [rows, n_i].
    """

    parts: list[Array]

    def map(self, work: Callable[..., Array], *others: "Vector") -> "Vector":
        """work(part, *parts of the others) in every factor."""
        everyone = (self.parts, *(other.parts for other in others))
        return Vector([work(*parts) for parts in zip(*everyone, strict=True)])

    def __add__(self, other: "Vector") -> "Vector":
        return self.map(add, other)

    def __sub__(self, other: "Vector") -> "Vector":
        return self.map(sub, other)

    def __rmul__(self, factor: float) -> "Vector":
        return self.map(lambda part: factor * part)

    def __truediv__(self, divisor: Array) -> "Vector":
        """Every row divided by its own number; divisor [rows, 1]."""
        return self.map(lambda part: part / divisor)

    def squares(self) -> list[Array]:
        """The squared length of every part, [rows] each."""
        return [namespace(part).vecdot(part, part) for part in self.parts]

    def where(self, chosen: Array, otherwise: "Vector") -> "Vector":
        """The chosen rows [rows] of this vector, those of the other elsewhere."""
        return self.map(lambda part, other: select_rows(chosen, part, other), otherwise)
