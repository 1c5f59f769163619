"""What the checker knows of hyperbolic functions and of inverse ones."""

from abc import abstractmethod

import numpy as np

from admm_verify.certificates.bends import TINY, CheckedBends, Piece

_SPACING = 2.0**-52


class CheckedOdd(CheckedBends):
    """phi turns at 0 from convex to concave, or the other way where it is convex on the right."""

    inside = 0.0
    convex_right = True

    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        middle = np.clip(0.0, low, high)
        return ((middle, high),) if self.convex_right != above else ((low, middle),)

    def turns(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, np.clip(0.0, low, high)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        size = self.size(slope)
        return np.where(start >= 0, size, -size)

    @abstractmethod
    def size(self, slope: np.ndarray) -> np.ndarray:
        """The positive number where phi' is near the slope."""


class CheckedSinh(CheckedOdd):
    """sinh(x)."""

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.sinh(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return np.cosh(x)

    def size(self, slope: np.ndarray) -> np.ndarray:
        return np.arccosh(np.maximum(slope, 1.0))


class CheckedAsinh(CheckedOdd):
    """asinh(x)."""

    convex_right = False

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.arcsinh(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 1.0 / np.hypot(1.0, x)

    def size(self, slope: np.ndarray) -> np.ndarray:
        ratio = np.clip(slope, 4.0 * TINY, 1.0)
        return np.sqrt((1.0 - ratio) * (1.0 + ratio)) / ratio


class CheckedAtanh(CheckedOdd):
    """atanh(x), of numbers between -1 and 1."""

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.arctanh(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 1.0 / ((1.0 - x) * (1.0 + x))

    def size(self, slope: np.ndarray) -> np.ndarray:
        return np.sqrt(1.0 - 1.0 / np.maximum(slope, 1.0))

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low > -1) & (high < 1)


class CheckedAsin(CheckedOdd):
    """asin(x), of numbers from -1 to 1; no line of finite slope touches at these."""

    values = (-1.5707963267948968, 1.5707963267948968)

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.arcsin(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 1.0 / np.sqrt(np.maximum((1.0 - x) * (1.0 + x), _SPACING / 2))

    def size(self, slope: np.ndarray) -> np.ndarray:
        ratio = 1.0 / np.maximum(slope, 1.0)
        return np.minimum(np.sqrt((1.0 - ratio) * (1.0 + ratio)), 1.0 - _SPACING / 2)

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low >= -1) & (high <= 1)

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.where((low <= -1) | (high >= 1), np.inf, super().gain(low, high))


class CheckedCosh(CheckedBends):
    """cosh(x)."""

    values = (1.0, np.inf)
    inside = 0.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.cosh(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return np.sinh(x)

    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        return ((high if above else low, high),)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        return np.arcsinh(slope)

    def extremes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        return low, high, np.clip(0.0, low, high)


class CheckedAcosh(CheckedBends):
    """acosh(x), of numbers from 1 on; no line of finite slope touches it there."""

    values = (0.0, np.inf)
    inside = 2.0

    def value(self, x: np.ndarray) -> np.ndarray:
        return np.arccosh(x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        return 1.0 / (np.sqrt(np.maximum(x - 1.0, _SPACING)) * np.sqrt(x + 1.0))

    def pieces(self, low: np.ndarray, high: np.ndarray, above: bool) -> tuple[Piece, ...]:
        return ((low if above else high, high),)

    def inverse(self, slope: np.ndarray, start: np.ndarray, end: np.ndarray, above: bool) -> np.ndarray:
        ratio = np.clip(slope, 4.0 * TINY, 1.0 / _SPACING)
        return np.maximum(np.sqrt(1.0 + ratio * ratio) / ratio, 1.0 + _SPACING)

    def defined(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return low >= 1

    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.where(low <= 1, np.inf, super().gain(low, high))
