"""What the solvers ask of an activation's relaxation, the convex hull of its graph over the range of its operands."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from admm_verify.arrays import Array, Bool, Float, namespace, take_rows

Layer = Float[Array, "*#layer"]
"""A number for every neuron of a layer, [..., n]; all axes broadcast."""

Mask = Bool[Array, "*#layer"]
"""Some neurons of a layer, [..., n]."""


SlopeLimits = tuple[float | Array, float | Array]
"""The least and the greatest slope of phi anywhere, of all neurons or of each."""


@dataclass(frozen=True, eq=False)
class SlopeRange:
    """The slopes of useful linear bounds of phi on [l, u], and CROWN's choice among them.

    For every slope s between lower_min and lower_max some line s p + c touches phi from below on [l, u]; for every s
    between upper_min and upper_max some line touches it from above. Steeper or flatter ones touch at an end of [l, u]
    only and are never better, or next to an end where phi' grows beyond use. Where phi is linear on [l, u] all are
    equal.
    """

    lower_min: Layer
    lower_max: Layer
    upper_min: Layer
    upper_max: Layer
    lower: Layer
    upper: Layer

    def take(self, rows: Array) -> "SlopeRange":
        """The ranges of the given rows only."""
        parts = (self.lower_min, self.lower_max, self.upper_min, self.upper_max, self.lower, self.upper)
        return SlopeRange(*(take_rows(part, rows) for part in parts))


class Hull(ABC):
    """The convex hull of {(p, phi(p)) : l <= p <= u}, for whole layers at once, and the facts about phi that count.

    Where phi takes m operands, p are their values one after the other: arrays over the operands, as l, u, p and the
    weights of p, are [..., m n], and those over the values of phi [..., n].
    Valid when: l <= u.
    """

    operands: int = 1
    """How many numbers phi takes."""

    kinked: bool = False
    """Convex and straight but for one kink at 0, through which all lines below pass; a sign makes phi linear."""
    rectifies: bool = False
    """max(p, 0): a neuron of a known sign is gone or passes through."""
    jumps: bool = False
    """A few cuts leave flat parts alone, of which nothing is left to relax."""
    zero_at_zero: bool = False
    """phi(0) = 0, whatever the parameters."""
    shares_operands: bool = False
    """Operands that only repeat what other activations read are bounded as well as it takes where those ask for it."""
    evaluation_roundings: float = 32.0
    """Roundings of max(1, max|phi|) by which float code may miss phi(p), whoever wrote it; 0 if it is exact.

    32 cover the rational approximations and clamped arguments of common runtimes in float32.
    """

    argument_roundings: float = 0.0
    """Roundings of max(1, max|phi'|) max|p| by which it may miss phi(p) besides."""

    def repeated(self, layer: Array) -> Array:
        """A number of every value of phi for each of its operands, [..., n] -> [..., m n]."""
        return layer if self.operands == 1 else namespace(layer).concat([layer] * self.operands, axis=-1)

    def folded(self, layer: Layer) -> Layer:
        """The sum over the operands, [..., m n] -> [..., n]."""
        if self.operands == 1:
            return layer
        xp, size = namespace(layer), layer.shape[-1] // self.operands
        return xp.sum(xp.reshape(layer, (*layer.shape[:-1], self.operands, size)), axis=-2)

    def open(self, lower: Layer, upper: Layer) -> Mask:
        """Where tighter ends of [l, u] can matter."""
        return lower < upper

    def halves(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """Where to cut [l, u] in two so that both hulls become small, of every operand: the upper end of the lower part
        and the lower end of the upper one, by default both in the middle.

        Numbers between the two, of which no float is one, are in one of both but for one rounding; where the lower part
        is all of [l, u] nothing is cut.
        """
        middle = lower / 2 + upper / 2
        return middle, middle

    def tied(self, pre: Layer) -> Layer | None:
        """What is zero where operands belong together, [..., n]; None where they may be any in their ranges."""
        return None

    @abstractmethod
    def gradient(self, x: Layer) -> Layer:
        """The derivative of phi by each operand, at a kink the one to the right, or what leads attacks where that is
        zero; in any precision.
        """

    @abstractmethod
    def image(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """An interval that holds phi([l, u]), rounded outward."""

    @abstractmethod
    def support(self, lower: Layer, upper: Layer, post_weight: Layer, pre_weight: Layer) -> Layer:
        """A lower bound of min over the hull of post_weight q - pre_weight p, tight up to rounding.

        Error: the result exceeds the true minimum by at most 32 roundings (2^-53 each in float64) of
        |post_weight| max|phi| + |pre_weight| max|p| over [l, u], plus underflow of a few 2^-1074; the caller subtracts
        that.
        """

    @abstractmethod
    def hull(self, lower: Layer, upper: Layer, pre: Layer) -> tuple[Layer, Layer]:
        """Floor and ceiling of the hull at p = pre, l <= pre <= u: from inside, up to rounding."""

    def outline(self, lower: Layer, upper: Layer, pre: Layer) -> tuple[Layer, Layer]:
        """Floor and ceiling of the hull at p = pre as near as they are found quickly, for scores."""
        return self.hull(lower, upper, pre)

    @abstractmethod
    def project(self, lower: Layer, upper: Layer, pre: Layer, post: Layer) -> tuple[Layer, Layer]:
        """The nearest point of the hull: argmin (p - pre)^2 + (q - post)^2; it lies in the hull up to rounding."""

    @abstractmethod
    def gain(self, lower: Layer, upper: Layer) -> Layer:
        """Lipschitz constants in each operand of the hull's floor and ceiling over [l, u], rounded upward: max |phi'|,
        but for steps.
        """

    def slope_limits(self) -> SlopeLimits:
        """The least and the greatest phi' anywhere, rounded outward; infinite where no number is, or where none is
        known: for functions of several operands.
        """
        return -float("inf"), float("inf")

    def slopes_over(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        """Between which (phi(p) - phi(q)) / (p - q) lies for all p and q in [l, u], rounded outward; infinite where no
        number is, or where none is known. Of several operands one after the other, while the others keep still.
        """
        xp = namespace(lower, upper)
        infinite = xp.full_like(lower + upper, float("inf"))
        return -infinite, infinite

    def carried(self, lower: Layer, upper: Layer, error: Layer) -> Layer:
        """How much phi of arguments in [l, u] that are off by at most `error` is off, rounded upward."""
        return self.folded(self.gain(lower - error, upper + error) * error) * (1 + 1e-9)

    domain: str = ""
    """The numbers that phi is defined for, in words, where these are not all."""

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        """Where phi is defined on all of [l, u]; elsewhere there is no hull, and `support` is -infinity."""
        return lower <= upper

    def own_error(self, lower: Layer, upper: Layer, reach: Layer, roundoff: float) -> Layer:
        """How much float code may miss phi by on [l, u], where |phi| <= reach."""
        xp = namespace(reach)
        one = xp.ones_like(reach)
        found = self.evaluation_roundings * roundoff * xp.maximum(reach, one)
        if not self.argument_roundings:
            return found
        size = xp.maximum(xp.abs(lower), xp.abs(upper)) * xp.maximum(self.gain(lower, upper), one)
        return found + self.argument_roundings * roundoff * size


class Relaxation(Hull):
    """The hull of a function of one number, whose linear bounds are lines of some slope."""

    @abstractmethod
    def slopes(self, lower: Layer, upper: Layer) -> SlopeRange:
        """The slopes of linear bounds; rounded, since only `support` turns a slope into a bound."""

    @abstractmethod
    def touch(self, lower: Layer, upper: Layer, slope: Layer, above: Mask) -> tuple[Layer, Layer]:
        """The point (p, phi(p)) where a line of this slope touches phi from below, or from above where `above`: the
        argmin over [l, u] of phi(p) - slope p, or the argmax. Not certified.
        """

    def toucher(self, lower: Layer, upper: Layer) -> Callable[[Layer, Mask], tuple[Layer, Layer]]:
        """`touch` over the same [l, u] for slope after slope."""
        return partial(self.touch, lower, upper)
