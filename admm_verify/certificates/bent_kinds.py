"""What the checker knows of powers, waves, gates and bounded odd curves."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from admm_verify.certificates.bends import TINY, CheckedBends, Piece
from admm_verify.certificates.curves import SLACK, CheckedSShape
from admm_verify.network import error_function, smooth_functions

_HALF, _PERIOD = np.pi, 2.0 * np.pi
_NODES = 4001


@dataclass(frozen=True, eq=False)
class CheckedPower(CheckedBends):
    """x^e; an exponent e that is no integer is of numbers that are not negative.

    Shapes: exponent [n].
    """

    exponent: np.ndarray

    evaluation_roundings = 128.0

    def fault(self) -> str | None:
        some = np.isin(self.exponent, (0.0, 1.0)) | ~np.isfinite(self.exponent)
        return "A power with the exponent 0, 1 or no number is no curve" if some.any() else None

    @property
    def _whole(self) -> np.ndarray:
        return self.exponent == np.floor(self.exponent)

    @property
    def _even(self) -> np.ndarray:
        return self.exponent / 2 == np.floor(self.exponent / 2)

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.power(x, self.exponent)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        near = np.where((x == 0) & (self.exponent < 1), TINY, x)
        return self.exponent * np.power(near, self.exponent - 1.0)

    def slope_error(self, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        # The exponent of the derivative is rounded, too.
        size = np.abs(np.log(np.maximum(np.abs(slope), TINY))) + np.abs(np.log(np.abs(self.exponent)))
        return SLACK * np.abs(slope) * (1.0 + size) + TINY

    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        zero, odd = np.clip(0.0, low, high), self._whole & ~self._even
        concave = (self.exponent > 0) & (self.exponent < 1)
        start = np.where(odd, low if above else zero, np.where(concave == above, low, high))
        return ((start, np.where(odd & above, zero, high)),)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        ratio = slope / self.exponent
        size = np.power(np.maximum(np.where(self._even, np.abs(ratio), ratio), TINY), 1.0 / (self.exponent - 1.0))
        left = np.where(self._even & (self.exponent > 0), ratio < 0, start < 0)
        return np.where(left, -1.0, 1.0) * np.maximum(size, TINY)

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        positive, one_sign = self.exponent > 0, (low > 0) | (high < 0)
        return np.where(self._whole, positive | one_sign, (low > 0) | ((low >= 0) & positive))

    def extremes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, np.clip(0.0, low, high)

    def turns(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return self.extremes(low, high)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        steep = (low < TINY) & (self.exponent > 0) & (self.exponent < 1)
        return np.where(steep, np.inf, super().gain(low, high))

    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tangent, run = self.derivative(low / 2 + high / 2), high - low
        chord = np.where(run > 0, (self.value(high) - self.value(low)) / np.where(run > 0, run, 1.0), tangent)
        crossed = self._whole & ~self._even & (low < 0) & (high > 0)
        (start, end), *_ = self.pieces(low, high, False)
        below, above = np.where(end > start, (tangent, chord), (chord, tangent))
        if not crossed.any():
            return below, above
        found = super().slopes(low, high)
        return np.where(crossed, found[0], below), np.where(crossed, found[1], above)


class CheckedWave(CheckedBends):
    """sin(x + shift).

    Multiples of pi / 2 are off by d <= 2^-50 (1 + |x|), where phi'' is at most d: 8 d^2 covers what pieces lose.
    """

    shift: float
    values = (-1.0, 1.0)
    inside = 0.0
    argument_roundings = 4.0

    def value_error(self, x: np.ndarray, value: np.ndarray) -> np.ndarray:
        return super().value_error(x, value) + self.flaw(x, x)

    def slope_error(self, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return SLACK + self.flaw(x, x)

    def flaw(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        off = 2.0**-50 * (1.0 + np.maximum(np.abs(low), np.abs(high)))
        return np.minimum(8.0 * off * off, 2.0)

    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        """The half periods around the first and the last lowest point, highest where above; without one, the first and
        the last half period of that curvature.
        """
        centre = (0.5 if above else -0.5) * np.pi - self.shift
        first, last = np.ceil((low - centre) / _PERIOD), np.floor((high - centre) / _PERIOD)
        none = first > last
        first = np.where(none, np.ceil((low - centre - _HALF / 2) / _PERIOD), first)
        last = np.where(none, np.floor((high - centre + _HALF / 2) / _PERIOD), last)
        places = centre + _PERIOD * first, centre + _PERIOD * last
        found = [(np.clip(p - _HALF / 2, low, high), np.clip(p + _HALF / 2, low, high)) for p in places]
        return tuple(found)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        centre = (0.5 if above else -0.5) * np.pi - self.shift
        place = centre + _PERIOD * np.round((start / 2 + end / 2 - centre) / _PERIOD)
        angle = np.arcsin(np.clip(slope, -1.0, 1.0))
        return place - angle if above else place + angle

    def extremes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, *(self._next(low, high, place) for place in (-np.pi / 2, np.pi / 2))

    def turns(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, *(self._next(low, high, place) for place in (0.0, np.pi))

    def _next(self, low: np.ndarray, high: np.ndarray, place: float) -> np.ndarray:
        place = place - self.shift
        return np.clip(place + _PERIOD * np.ceil((low - place) / _PERIOD), low, high)


class CheckedSin(CheckedWave):
    """sin(x)."""

    shift = 0.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return np.cos(x)


class CheckedCos(CheckedWave):
    """cos(x)."""

    shift = np.pi / 2

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.cos(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return -np.sin(x)


class CheckedTan(CheckedBends):
    """tan(x) between two poles."""

    inside = 0.0
    argument_roundings = 4.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.tan(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 1.0 + np.tan(x) ** 2

    def flaw(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        off = 2.0**-50 * (1.0 + np.maximum(np.abs(low), np.abs(high)))
        return 16.0 * off * off

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        off = 2.0**-50 * (1.0 + np.maximum(np.abs(low), np.abs(high)))
        return (np.floor(low / np.pi + 0.5 - off) == np.floor(high / np.pi + 0.5 + off)) & (off < 0.01)

    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        centre = np.clip(np.pi * np.round((low / 2 + high / 2) / np.pi), low, high)
        return ((low, centre) if above else (centre, high),)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        centre = np.pi * np.round((start / 2 + end / 2) / np.pi)
        angle = np.arctan(np.sqrt(np.maximum(slope - 1.0, 0.0)))
        return centre - angle if above else centre + angle

    def turns(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, np.clip(np.pi * np.round((low / 2 + high / 2) / np.pi), low, high)


class CheckedGate(CheckedBends):
    """phi is concave up to a first bend, convex up to a second one and concave from there on, with one lowest point."""

    bends: tuple[float, float]
    lowest: float
    inside = 0.0
    argument_roundings = 4.0

    def slope_error(self, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return SLACK * np.ones_like(slope)

    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        first, second = (np.clip(bend, low, high) for bend in self.bends)
        return ((low, first), (second, high)) if above else ((first, second),)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        """From a table, with one step of Newton's method by quotients."""
        left, middle, right = _slopes_of(type(self))
        if above:
            found = np.where(start >= self.bends[1], np.interp(slope, *right), np.interp(slope, *left))
        else:
            found = np.interp(slope, *middle)
        step = 2.0**-16
        bend = (self.derivative(found + step) - self.derivative(found - step)) / (2.0 * step)
        usual = np.abs(bend) > 2.0**-9
        better = found - (self.derivative(found) - slope) / np.where(usual, bend, 1.0)
        return np.where(usual & (np.abs(better - found) < step), better, found)

    def extremes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, np.clip(self.lowest, low, high)

    def turns(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, *(np.clip(bend, low, high) for bend in self.bends)


@cache
def _slopes_of(kind: type[CheckedGate]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Tables of x by rising phi', left of, between and right of the bends."""
    curve, (first, second) = kind(), kind.bends
    share = (1.0 - np.cos(np.linspace(0.0, np.pi, _NODES))) / 2
    far = 64.0 * np.linspace(0.0, 1.0, _NODES) ** 3
    left, middle, right = first - far, first + (second - first) * share, (second + far)[::-1]
    tables = []
    for x in (left, middle, right):
        slope = np.maximum.accumulate(curve.derivative(x))
        tables.append((slope, x))
    return tuple(tables)


class CheckedGelu(CheckedGate):
    """x Phi(x)."""

    bends, lowest, values = (-1.4142135623730951, 1.4142135623730951), -0.7517915246935645, (-0.17, np.inf)

    def value(self, x: np.ndarray) -> np.ndarray:
        return x * error_function.normal_cdf(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return error_function.normal_cdf(x) + x * error_function.gaussian(x, 0.5) / np.sqrt(2.0 * np.pi)


class CheckedGeluTanh(CheckedGate):
    """x / (1 + exp(-2 k (x + c x^3)))."""

    bends, lowest, values = (-1.4185040087908284, 1.4185040087908284), -0.7524614220710163, (-0.1701, np.inf)

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(smooth_functions.gelu_tanh(x, ()))

    def value_error(self, x: np.ndarray, value: np.ndarray) -> np.ndarray:
        return super().value_error(x, value) * (1.0 + self._argument(np.abs(x)))

    def derivative(self, x: np.ndarray) -> np.ndarray:
        near = np.clip(x, -32.0, 32.0)
        share, rest = (1.0 / (1.0 + np.exp(np.minimum(sign * self._argument(near), 700.0))) for sign in (-1.0, 1.0))
        k, c = smooth_functions.GELU_SCALE, smooth_functions.GELU_CUBE
        return share + near * share * rest * 2.0 * k * (1.0 + 3.0 * c * near * near)

    @staticmethod
    def _argument(x: np.ndarray) -> np.ndarray:
        return 2.0 * smooth_functions.GELU_SCALE * (x + smooth_functions.GELU_CUBE * x * x * x)


class CheckedSilu(CheckedGate):
    """x / (1 + exp(-x))."""

    bends, lowest, values = (-2.3993572805154677, 2.3993572805154677), -1.2784645427610738, (-0.2785, np.inf)

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(smooth_functions.silu(x, ()))

    def derivative(self, x: np.ndarray) -> np.ndarray:
        near = np.clip(x, -700.0, 700.0)
        share, rest = 1.0 / (1.0 + np.exp(-near)), 1.0 / (1.0 + np.exp(near))
        return share + near * share * rest


class CheckedMish(CheckedGate):
    """x tanh(log(1 + exp(x)))."""

    bends, lowest, values = (-2.256376396360793, 1.4905711794854285), -1.1924312145154952, (-0.3089, np.inf)

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(smooth_functions.mish(x, ()))

    def derivative(self, x: np.ndarray) -> np.ndarray:
        near = np.clip(x, -300.0, 300.0)
        power = np.exp(-np.abs(near))
        top, rest = (
            np.where(near < 0, power * (power + 2.0), 1.0 + 2.0 * power),
            np.where(near < 0, 2.0, 2.0 * power**2),
        )
        share, other = top / (top + rest), rest / (top + rest)
        return share + near * other * (1.0 + share) / (1.0 + np.exp(-near))


class CheckedHardSwish(CheckedGate):
    """x min(max(x + 3, 0), 6) / 6, with kinks at the bends; lines beyond them."""

    bends, lowest, values = (-3.0, 3.0), -1.5, (-0.375, np.inf)
    evaluation_roundings = 8.0
    argument_roundings = 0.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(smooth_functions.hardswish(x, ()))

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return (2.0 * np.clip(x, -3.0, 3.0) + 3.0) / 6.0

    def tangent(self, x: np.ndarray, above: bool) -> np.ndarray:
        inner = self.derivative(x)
        return np.where(x <= -3.0, 0.0, np.where(x >= 3.0, 1.0, inner)) if above else inner

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        if not above:
            return 3.0 * slope - 1.5
        return np.where((start >= 3.0) * 1.0 > slope, end, start)

    def slope_range(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the parabola and of the lines, as far as [low, high] holds more than an end of them."""
        least, most = self.derivative(low), self.derivative(high)
        least, most = (
            np.where(high > 3.0, np.minimum(least, 1.0), least),
            np.where(low < -3.0, np.maximum(most, 0.0), most),
        )
        line = [high <= -3.0, low >= 3.0]
        return np.select(line, [0.0, 1.0], least), np.select(line, [0.0, 1.0], most)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        fine, low, high = self._regular(low, high)
        least, most = self.slope_range(low, high)
        return np.where(fine, np.maximum(np.abs(least), np.abs(most)) + SLACK, np.inf)


class CheckedAtan(CheckedSShape):
    """The angle whose tangent is x."""

    values, steepest = (-1.5707963267948968, 1.5707963267948968), 1.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.arctan(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + x * x)

    def inverse(self, slope: np.ndarray) -> np.ndarray:
        ratio = np.clip(slope, TINY, 1.0)
        return -np.sqrt((1.0 - ratio) / ratio)


class CheckedErf(CheckedSShape):
    """The error function."""

    values, steepest = (-1.0, 1.0), 1.1283791670955128

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(error_function.erf(x))

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 2.0 / np.sqrt(np.pi) * error_function.gaussian(x, 1.0)

    def inverse(self, slope: np.ndarray) -> np.ndarray:
        return -np.sqrt(-np.log(np.clip(slope / self.steepest, TINY, 1.0)))


class CheckedSoftsign(CheckedSShape):
    """x / (1 + |x|)."""

    values, steepest = (-1.0, 1.0), 1.0
    evaluation_roundings = 4.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return x / (1.0 + np.abs(x))

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.abs(x)) ** 2

    def inverse(self, slope: np.ndarray) -> np.ndarray:
        root = np.sqrt(np.clip(slope, TINY, 1.0))
        return (root - 1.0) / root
