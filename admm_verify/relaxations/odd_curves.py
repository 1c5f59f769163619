"""Records of bounded odd curves that are convex left of 0 and concave right of it: atan, erf, softsign."""

from dataclasses import dataclass
from math import pi, sqrt

from admm_verify.arrays import namespace
from admm_verify.network.error_function import erf, gaussian
from admm_verify.network.smooth_functions import softsign
from admm_verify.relaxations.contract import Layer, Relaxation
from admm_verify.relaxations.curves import between, tiniest
from admm_verify.relaxations.s_shaped import INFINITY, SShaped

_STEEPEST = 2.0 / sqrt(pi)
"""The slope of erf at 0."""


class OddCurve(SShaped):
    """What they share."""

    zero_at_zero = True
    inflection = 0.0
    straight_from = INFINITY
    steepest = 1.0
    values = (-1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Atan(OddCurve):
    """The angle whose tangent is x."""

    values = (-1.5707963267948968, 1.5707963267948968)

    def value(self, x: Layer) -> Layer:
        return namespace(x).atan(x)

    def derivative(self, x: Layer) -> Layer:
        return 1.0 / (1.0 + x * x)

    def bend(self, x: Layer) -> Layer:
        return -2.0 * x * self.derivative(x)

    def inverse_derivative(self, slope: Layer) -> Layer:
        xp, ratio = namespace(slope), _share(slope)
        return -xp.sqrt((1.0 - ratio) / ratio)


@dataclass(frozen=True, eq=False)
class Erf(OddCurve):
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

    steepest = 1.1283791670955128

    def value(self, x: Layer) -> Layer:
        return erf(x)

    def derivative(self, x: Layer) -> Layer:
        return _STEEPEST * gaussian(x, 1.0)

    def bend(self, x: Layer) -> Layer:
        return -2.0 * x

    def inverse_derivative(self, slope: Layer) -> Layer:
        return -namespace(slope).sqrt(-namespace(slope).log(_share(slope / _STEEPEST)))


@dataclass(frozen=True, eq=False)
class Softsign(OddCurve):
    """x / (1 + |x|)."""

    evaluation_roundings = 4.0

    def value(self, x: Layer) -> Layer:
        """Of infinite ends too, which the formula makes no number of."""
        xp = namespace(x)
        return xp.where(xp.isinf(x), xp.sign(x), softsign(x, ()))

    def derivative(self, x: Layer) -> Layer:
        root = 1.0 / (1.0 + namespace(x).abs(x))
        return root * root

    def bend(self, x: Layer) -> Layer:
        xp = namespace(x)
        return -2.0 * xp.sign(x) / (1.0 + xp.abs(x))

    def inverse_derivative(self, slope: Layer) -> Layer:
        root = namespace(slope).sqrt(_share(slope))
        return (root - 1.0) / root


def _share(slope: Layer) -> Layer:
    """A slope moved between 0 and 1, which is the steepest."""
    xp = namespace(slope)
    return between(slope, xp.full_like(slope, tiniest(slope)), xp.ones_like(slope))


KINDS: dict[str, type[Relaxation]] = {"atan": Atan, "erf": Erf, "softsign": Softsign}
