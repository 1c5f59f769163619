"""Records of curves that pass positive numbers and hold back negative ones: GELU, SiLU, Mish, HardSwish.

All are concave left of a first inflection, convex up to a second one and concave right of it, with one minimum.
"""

from abc import abstractmethod
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from admm_verify.arrays import namespace, to_numpy
from admm_verify.network.activations import sigmoid
from admm_verify.network.error_function import gaussian, normal_cdf
from admm_verify.network.smooth_functions import GELU_CUBE, GELU_SCALE, gelu, gelu_tanh, hardswish, mish, silu
from admm_verify.relaxations.contract import Layer, Mask, Relaxation, SlopeLimits
from admm_verify.relaxations.curves import between, epsilon
from admm_verify.relaxations.inverse_slopes import InverseSlopes, inverse_slopes
from admm_verify.relaxations.smooth import INFINITY, Smooth

_DENSITY = 1.0 / sqrt(2.0 * pi)


class Gate(Smooth):
    """What they share; |phi'| < 1.3, so that its terms' roundings are some of 1."""

    zero_at_zero = True
    convex_first = False
    inside = 0.0
    argument_roundings = 4.0
    """Times |x|: of factors next to 0 or 1 that runtimes compute as differences."""

    @abstractmethod
    def value(self, x: Layer) -> Layer:
        """phi(x)."""

    def slope_error(self, x: Layer, slope: Layer) -> Layer:
        return 16.0 * epsilon(slope) * namespace(slope).ones_like(slope)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        inverses, xp = self._inverses, namespace(slope, start)
        left, middle, right = inverses(slope)
        return xp.where(above, xp.where(start >= inverses.right.inflection, right, left), middle)

    def polished(self, x: Layer, slope: Layer) -> Layer:
        """By a step of Newton's method, where that is short."""
        xp = namespace(x, slope)
        bend = self.second(x)
        usual = xp.abs(bend) > 2.0**-40
        step = (self.derivative(x) - slope) / xp.where(usual, bend, xp.ones_like(bend))
        return xp.where(usual & (xp.abs(step) < 2.0**-6), x - step, x)

    def slope_limits(self) -> SlopeLimits:
        """0 and 1 far away, and what phi' is where it turns, which hardly depends on where exactly."""
        turns = np.array(self.inflections)
        slope = to_numpy(self.derivative(turns))
        error = 2.0 * to_numpy(self.slope_error(turns, slope))
        return min(0.0, float((slope - error).min())), max(1.0, float((slope + error).max()))

    @property
    def _inverses(self) -> InverseSlopes:
        left, right = self.inflections
        return inverse_slopes(type(self), left, right)


@dataclass(frozen=True, eq=False)
class Gelu(Gate):
    """x Phi(x), with the normal distribution Phi."""

    inflections = (-1.4142135623730951, 1.4142135623730951)
    extrema = (-0.7517915246935645,)
    values = (-0.17, INFINITY)

    def value(self, x: Layer) -> Layer:
        return gelu(x, ())

    def derivative(self, x: Layer) -> Layer:
        return normal_cdf(x) + x * _DENSITY * gaussian(x, 0.5)

    def second(self, x: Layer) -> Layer:
        return _DENSITY * gaussian(x, 0.5) * (2.0 - x * x)


@dataclass(frozen=True, eq=False)
class GeluTanh(Gate):
    """x s(2 k (x + c x^3)), with the sigmoid s, k = sqrt(2 / pi) and c = 0.044715."""

    inflections = (-1.4185040087908284, 1.4185040087908284)
    extrema = (-0.7524614220710163,)
    values = (-0.1701, INFINITY)

    def value(self, x: Layer) -> Layer:
        return gelu_tanh(x, ())

    def value_error(self, x: Layer, value: Layer) -> Layer:
        """The argument of the exponential function is rounded, too."""
        xp = namespace(x)
        size = xp.abs(x)
        argument = 2.0 * GELU_SCALE * (size + GELU_CUBE * size * size * size)
        return super().value_error(x, value) + 4.0 * epsilon(value) * xp.abs(value) * argument

    def derivative(self, x: Layer) -> Layer:
        share, rate = self._share(x)
        return share + x * rate * share * (1.0 - share)

    def second(self, x: Layer) -> Layer:
        share, rate = self._share(x)
        slope = rate * share * (1.0 - share)
        growth = 12.0 * GELU_SCALE * GELU_CUBE * x
        return 2.0 * slope + x * (slope * (1.0 - 2.0 * share) * rate + share * (1.0 - share) * growth)

    def _share(self, x: Layer) -> tuple[Layer, Layer]:
        """The sigmoid and the derivative of its argument."""
        xp = namespace(x)
        # Beyond, the sigmoid is 0 or 1 and cubes may overflow.
        x = between(x, xp.full_like(x, -32.0), xp.full_like(x, 32.0))
        square = x * x
        share = sigmoid(2.0 * GELU_SCALE * x * (1.0 + GELU_CUBE * square), ())
        return share, 2.0 * GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * square)


@dataclass(frozen=True, eq=False)
class Silu(Gate):
    """x s(x), with the sigmoid s; also called swish."""

    inflections = (-2.3993572805154677, 2.3993572805154677)
    extrema = (-1.2784645427610738,)
    values = (-0.2785, INFINITY)

    def value(self, x: Layer) -> Layer:
        return silu(x, ())

    def derivative(self, x: Layer) -> Layer:
        share = sigmoid(x, ())
        return share + x * share * sigmoid(-x, ())

    def second(self, x: Layer) -> Layer:
        share = sigmoid(x, ())
        return share * sigmoid(-x, ()) * (2.0 + x * (1.0 - 2.0 * share))


@dataclass(frozen=True, eq=False)
class Mish(Gate):
    """x tanh(log(1 + exp(x)))."""

    inflections = (-2.256376396360793, 1.4905711794854285)
    extrema = (-1.1924312145154952,)
    values = (-0.3089, INFINITY)

    def value(self, x: Layer) -> Layer:
        return mish(x, ())

    def derivative(self, x: Layer) -> Layer:
        share, rest = _mish_parts(x)
        return share + x * rest * sigmoid(x, ())

    def second(self, x: Layer) -> Layer:
        share, rest = _mish_parts(x)
        s = sigmoid(x, ())
        slope = rest * s
        return 2.0 * slope + x * slope * (sigmoid(-x, ()) - 2.0 * share * s)


@dataclass(frozen=True, eq=False)
class HardSwish(Smooth):
    """x min(max(x + 3, 0), 6) / 6, with kinks at -3 and 3."""

    zero_at_zero = True
    convex_first = False
    inside = 0.0
    inflections = (-3.0, 3.0)
    extrema = (-1.5,)
    values = (-0.375, INFINITY)
    evaluation_roundings = 8.0

    def value(self, x: Layer) -> Layer:
        return hardswish(x, ())

    def derivative(self, x: Layer) -> Layer:
        xp = namespace(x)
        one = xp.ones_like(x)
        return xp.where(x < -3.0, 0.0 * one, xp.where(x < 3.0, self._curved(x), one))

    def second(self, x: Layer) -> Layer:
        xp = namespace(x)
        return xp.where(xp.abs(x) <= 3.0, xp.full_like(x, 1.0 / 3.0), xp.zeros_like(x))

    def slope_at(self, x: Layer, above: Mask) -> Layer:
        """On the left line up to -3, on the right one from 3 on where above; on the parabola at both else."""
        xp = namespace(x)
        one = xp.ones_like(x)
        straight = xp.where(x <= -3.0, 0.0 * one, xp.where(x >= 3.0, one, self._curved(x)))
        return xp.where(above, straight, self._curved(x))

    def slope_error(self, x: Layer, slope: Layer) -> Layer:
        return 4.0 * epsilon(slope) * namespace(slope).ones_like(slope)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        """3 s - 3 / 2 on the parabola; on the lines one of the ends."""
        xp = namespace(slope, start)
        steepness = xp.astype(start >= 3.0, slope.dtype)
        return xp.where(above, xp.where(steepness > slope, end, start), 3.0 * slope - 1.5)

    def slope_range(self, lower: Layer, upper: Layer) -> tuple[Layer, Layer]:
        xp = namespace(lower, upper)
        least, most = self._curved(lower), self._curved(upper)
        zero, one = xp.zeros_like(least), xp.ones_like(least)
        most = xp.where(lower < -3.0, xp.maximum(most, zero), most)
        least = xp.where(upper > 3.0, xp.minimum(least, one), least)
        flat, full = upper <= -3.0, lower >= 3.0
        return xp.where(flat, zero, xp.where(full, one, least)), xp.where(flat, zero, xp.where(full, one, most))

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower, upper)
        fine, lower, upper = self.regular(lower, upper)
        least, most = self.slope_range(lower, upper)
        found = xp.maximum(xp.abs(least), xp.abs(most)) + self.slope_error(lower, most)
        return xp.where(fine, found, xp.full_like(found, INFINITY))

    def slope_limits(self) -> SlopeLimits:
        return -0.5, 1.5

    def _curved(self, x: Layer) -> Layer:
        """The slope of the parabola, where it ends beyond it."""
        xp = namespace(x)
        return (2.0 * between(x, xp.full_like(x, -3.0), xp.full_like(x, 3.0)) + 3.0) / 6.0


def _mish_parts(x: Layer) -> tuple[Layer, Layer]:
    """w = tanh(log(1 + exp(x))) and 1 - w^2, relatively accurate: rational functions of exp(-|x|)."""
    xp = namespace(x)
    small = xp.exp(-xp.abs(x))
    left, right = small * (small + 2.0), 1.0 + 2.0 * small
    low, high = left + 2.0, right + 2.0 * small * small
    factor = 2.0 * (1.0 + small)
    rest = xp.where(x < 0, factor / low, small * factor / high)
    return xp.where(x < 0, left / low, right / high), rest * rest


KINDS: dict[str, type[Relaxation]] = {
    "gelu": Gelu,
    "gelu_tanh": GeluTanh,
    "hardswish": HardSwish,
    "mish": Mish,
    "silu": Silu,
}
