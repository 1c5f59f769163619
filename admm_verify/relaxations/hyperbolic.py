"""Records of hyperbolic functions and of inverse ones: sinh, cosh, asinh, acosh, atanh, asin."""

from dataclasses import dataclass

from admm_verify.arrays import namespace
from admm_verify.relaxations.contract import Layer, Mask, Relaxation, SlopeLimits
from admm_verify.relaxations.curves import between, epsilon, tiniest
from admm_verify.relaxations.smooth import INFINITY, Smooth


class OddSmooth(Smooth):
    """Odd functions that turn at 0."""

    inflections = (0.0,)
    inside = 0.0
    zero_at_zero = True


@dataclass(frozen=True, eq=False)
class Sinh(OddSmooth):
    """(exp(x) - exp(-x)) / 2."""

    convex_first = False

    def value(self, x: Layer) -> Layer:
        return namespace(x).sinh(x)

    def derivative(self, x: Layer) -> Layer:
        return namespace(x).cosh(x)

    def second(self, x: Layer) -> Layer:
        return namespace(x).sinh(x)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        xp = namespace(slope, start)
        size = xp.acosh(xp.maximum(slope, xp.ones_like(slope)))
        return xp.where(start >= 0, size, -size)


@dataclass(frozen=True, eq=False)
class Cosh(Smooth):
    """(exp(x) + exp(-x)) / 2."""

    extrema = (0.0,)
    values = (1.0, INFINITY)
    inside = 0.0

    def value(self, x: Layer) -> Layer:
        return namespace(x).cosh(x)

    def derivative(self, x: Layer) -> Layer:
        return namespace(x).sinh(x)

    def second(self, x: Layer) -> Layer:
        return namespace(x).cosh(x)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        return namespace(slope).asinh(slope)


@dataclass(frozen=True, eq=False)
class Asinh(OddSmooth):
    """log(x + sqrt(x^2 + 1)), whose sinh is x."""

    def value(self, x: Layer) -> Layer:
        return namespace(x).asinh(x)

    def derivative(self, x: Layer) -> Layer:
        """1 / sqrt(1 + x^2), of scaled numbers whose squares do not overflow."""
        xp = namespace(x)
        size = xp.maximum(xp.abs(x), xp.ones_like(x))
        one, ratio = 1.0 / size, x / size
        return one / xp.sqrt(one * one + ratio * ratio)

    def second(self, x: Layer) -> Layer:
        return -x * self.derivative(x) ** 3

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        xp = namespace(slope, start)
        s = between(slope, xp.full_like(slope, 4.0 * tiniest(slope)), xp.ones_like(slope))
        size = xp.sqrt((1.0 - s) * (1.0 + s)) / s
        return xp.where(start >= 0, size, -size)

    def slope_limits(self) -> SlopeLimits:
        return 0.0, 1.0


@dataclass(frozen=True, eq=False)
class Atanh(OddSmooth):
    """log((1 + x) / (1 - x)) / 2, of numbers between -1 and 1, whose tanh is x."""

    domain = "numbers between -1 and 1"
    steep = True
    convex_first = False

    def value(self, x: Layer) -> Layer:
        return namespace(x).atanh(x)

    def derivative(self, x: Layer) -> Layer:
        return 1.0 / ((1.0 - x) * (1.0 + x))

    def second(self, x: Layer) -> Layer:
        return 2.0 * x * self.derivative(x) ** 2

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        xp = namespace(slope, start)
        size = xp.sqrt(1.0 - 1.0 / xp.maximum(slope, xp.ones_like(slope)))
        return xp.where(start >= 0, size, -size)

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        return (lower > -1) & (upper < 1)


@dataclass(frozen=True, eq=False)
class Asin(OddSmooth):
    """The angle between -pi / 2 and pi / 2 whose sine is x; its slope at -1 and 1 is infinite."""

    domain = "numbers from -1 to 1"
    steep = True
    convex_first = False
    values = (-1.5707963267948968, 1.5707963267948968)

    def value(self, x: Layer) -> Layer:
        return namespace(x).asin(x)

    def derivative(self, x: Layer) -> Layer:
        """1 / sqrt(1 - x^2); at the ends that of the number beside them."""
        xp = namespace(x)
        product = (1.0 - x) * (1.0 + x)
        return 1.0 / xp.sqrt(xp.maximum(product, xp.full_like(product, 0.5 * epsilon(product))))

    def second(self, x: Layer) -> Layer:
        return x * self.derivative(x) ** 3

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        xp = namespace(slope, start)
        ratio = 1.0 / xp.maximum(slope, xp.ones_like(slope))
        size = xp.sqrt((1.0 - ratio) * (1.0 + ratio))
        # At the ends no line touches.
        size = xp.minimum(size, xp.full_like(size, 1.0 - 0.5 * epsilon(size)))
        return xp.where(start >= 0, size, -size)

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        return (lower >= -1) & (upper <= 1)

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower, upper)
        found = super().gain(lower, upper)
        return xp.where((lower <= -1) | (upper >= 1), xp.full_like(found, INFINITY), found)


@dataclass(frozen=True, eq=False)
class Acosh(Smooth):
    """log(x + sqrt(x^2 - 1)), of numbers from 1 on, whose cosh is x; its slope at 1 is infinite."""

    domain = "numbers from 1 on"
    steep = True
    convex_first = False
    values = (0.0, INFINITY)
    inside = 2.0

    def value(self, x: Layer) -> Layer:
        return namespace(x).acosh(x)

    def derivative(self, x: Layer) -> Layer:
        """1 / sqrt(x^2 - 1); at 1 that of the number beside it."""
        xp = namespace(x)
        excess = xp.maximum(x - 1.0, xp.full_like(x, epsilon(x)))
        return 1.0 / (xp.sqrt(excess) * xp.sqrt(x + 1.0))

    def second(self, x: Layer) -> Layer:
        return -x * self.derivative(x) ** 3

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        xp = namespace(slope)
        s = between(slope, xp.full_like(slope, 4.0 * tiniest(slope)), xp.full_like(slope, 1.0 / epsilon(slope)))
        size = xp.sqrt(1.0 + s * s) / s
        return xp.maximum(size, xp.full_like(size, 1.0 + epsilon(size)))

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        return lower >= 1

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower, upper)
        found = super().gain(lower, upper)
        return xp.where(lower <= 1, xp.full_like(found, INFINITY), found)


KINDS: dict[str, type[Relaxation]] = {
    "acosh": Acosh,
    "asin": Asin,
    "asinh": Asinh,
    "atanh": Atanh,
    "cosh": Cosh,
    "sinh": Sinh,
}
"""Every kind of activation here with its record."""
