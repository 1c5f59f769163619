"""The hull of powers with a constant exponent, which may differ from neuron to neuron."""

from dataclasses import dataclass
from typing import Any

from admm_verify.arrays import namespace
from admm_verify.network.smooth_functions import power
from admm_verify.relaxations.contract import Layer, Mask, Relaxation
from admm_verify.relaxations.curves import between, epsilon, tiniest
from admm_verify.relaxations.smooth import INFINITY, Piece, Smooth


@dataclass(frozen=True, eq=False)
class Power(Smooth):
    """x^e for an exponent e other than 0 and 1.

    Of all numbers where e is a positive integer, of those from 0 on where it is another positive number, of those of
    one sign where it is a negative integer, of positive ones elsewhere.
    Shapes: exponent [n] or broadcasting to [..., n].
    """

    exponent: Layer

    domain = "numbers of one sign, or, as its exponent has it, for positive ones"
    steep = True
    evaluation_roundings = 128.0
    """Exponents may be rounded to float32 first, which powers magnify by their logarithm."""

    def value(self, x: Layer) -> Layer:
        return power(x, (self.exponent,))

    def derivative(self, x: Layer) -> Layer:
        xp, e = namespace(x), self.exponent
        # The slope at 0 is infinite where e < 1.
        return e * power(xp.where((x == 0) & (e < 1), xp.full_like(x, tiniest(x)), x), (e - 1.0,))

    def second(self, x: Layer) -> Layer:
        xp, e = namespace(x), self.exponent
        return e * (e - 1.0) * power(xp.where((x == 0) & (e < 2), xp.full_like(x, tiniest(x)), x), (e - 2.0,))

    def slope_error(self, x: Layer, slope: Layer) -> Layer:
        """e - 1 is rounded, too, which a power magnifies by its logarithm."""
        xp = namespace(slope)
        size, tiny = xp.abs(slope), tiniest(slope)
        power = xp.abs(xp.log(xp.maximum(size, xp.full_like(size, tiny)))) + xp.abs(xp.log(xp.abs(self.exponent)))
        return (8.0 + power) * epsilon(slope) * size + tiny

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        xp, e = namespace(slope, start), self.exponent
        ratio = slope / e
        positive = xp.where(self._even, xp.abs(ratio), ratio)
        least = xp.full_like(positive, tiniest(positive))
        size = xp.maximum(power(xp.maximum(positive, least), (1.0 / (e - 1.0),)), least)
        left = xp.where(self._even & (e > 0), ratio < 0, start < 0)
        return xp.where(left, -size, size)

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        one_sign = (lower > 0) | (upper < 0)
        whole = self._integer & ((self.exponent > 0) | one_sign)
        return whole | (lower > 0) | ((lower >= 0) & (self.exponent > 0))

    def tops(self, lower: Layer, upper: Layer) -> tuple[Layer, ...]:
        return lower, upper, between(namespace(lower, upper).zeros_like(lower), lower, upper)

    def turns(self, lower: Layer, upper: Layer) -> tuple[Layer, ...]:
        return self.tops(lower, upper)

    def pieces(self, lower: Layer, upper: Layer, above: Mask) -> tuple[Piece, ...]:
        """Odd powers are concave left of 0 and convex right of it, those between 0 and 1 concave, all others convex."""
        xp = namespace(lower, upper)
        zero = between(xp.zeros_like(lower), lower, upper)
        concave = (self.exponent > 0) & (self.exponent < 1)
        whole, odd = above == concave, self._integer & ~self._even
        start = xp.where(odd, xp.where(above, lower, zero), xp.where(whole, lower, upper))
        return ((start, xp.where(odd & above, zero, upper)),)

    @property
    def bends(self) -> bool:
        return bool(namespace(self.exponent).any(self._integer & ~self._even & (self.exponent > 0)))

    def image(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        xp = namespace(lower, upper)
        low, high = super().image(lower, upper)
        signless = (self._even | (lower >= 0)) & self.admits(lower, upper)
        return xp.where(signless, xp.maximum(low, xp.zeros_like(low)), low), high

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower, upper)
        found = super().gain(lower, upper)
        steep = (lower < tiniest(lower)) & (self.exponent > 0) & (self.exponent < 1)
        return xp.where(steep, xp.full_like(found, INFINITY), found)

    @property
    def _integer(self) -> Any:
        return self.exponent == namespace(self.exponent).floor(self.exponent)

    @property
    def _even(self) -> Any:
        half = 0.5 * self.exponent
        return half == namespace(half).floor(half)


KINDS: dict[str, type[Relaxation]] = {"power": Power}
