"""Records of curves that are convex or concave on each branch of their domain: exponentials, roots, powers."""

from dataclasses import dataclass

from admm_verify.arrays import namespace
from admm_verify.relaxations.contract import Layer, Mask, Relaxation
from admm_verify.relaxations.curves import tiniest
from admm_verify.relaxations.smooth import INFINITY, Piece, Smooth


@dataclass(frozen=True, eq=False)
class Exp(Smooth):
    """exp(x)."""

    values = (0.0, INFINITY)
    inside = 0.0

    def value(self, x: Layer) -> Layer:
        return namespace(x).exp(x)

    def derivative(self, x: Layer) -> Layer:
        return namespace(x).exp(x)

    def second(self, x: Layer) -> Layer:
        return namespace(x).exp(x)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        return namespace(slope).log(_positive(slope))


class OnPositive(Smooth):
    """Defined right of 0 only."""

    domain = "positive numbers"
    steep = True

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        return lower > 0


@dataclass(frozen=True, eq=False)
class Log(OnPositive):
    """The natural logarithm, of positive numbers."""

    convex_first = False

    def value(self, x: Layer) -> Layer:
        return namespace(x).log(x)

    def derivative(self, x: Layer) -> Layer:
        return 1.0 / x

    def second(self, x: Layer) -> Layer:
        return -1.0 / (x * x)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        return 1.0 / _positive(slope)


@dataclass(frozen=True, eq=False)
class Sqrt(Smooth):
    """The square root, of numbers from 0 on; its slope at 0 is infinite."""

    domain = "numbers that are not negative"
    steep = True
    convex_first = False
    zero_at_zero = True
    values = (0.0, INFINITY)

    def value(self, x: Layer) -> Layer:
        return namespace(x).sqrt(x)

    def derivative(self, x: Layer) -> Layer:
        return 0.5 / namespace(x).sqrt(_positive(x))

    def second(self, x: Layer) -> Layer:
        safe = _positive(x)
        return -0.25 / (safe * namespace(x).sqrt(safe))

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        root = 0.5 / _positive(slope)
        # At 0 no line touches from above.
        return namespace(root).maximum(root * root, namespace(root).full_like(root, tiniest(root)))

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        return lower >= 0

    def gain(self, lower: Layer, upper: Layer) -> Layer:
        xp = namespace(lower, upper)
        found = super().gain(lower, upper)
        return xp.where(lower < tiniest(lower), xp.full_like(found, INFINITY), found)

    def carried(self, lower: Layer, upper: Layer, error: Layer) -> Layer:
        """|sqrt(x) - sqrt(y)| is at most sqrt|x - y|, also next to 0."""
        xp = namespace(lower, upper, error)
        usual = super().carried(lower, upper, error)
        most = xp.sqrt(error) * (1 + 1e-9)
        return xp.where(xp.isnan(usual) | (usual > most), most, usual)


@dataclass(frozen=True, eq=False)
class Square(Smooth):
    """x^2."""

    zero_at_zero = True
    extrema = (0.0,)
    values = (0.0, INFINITY)
    evaluation_roundings = 4.0
    """One product, or a power by someone's library."""

    def value(self, x: Layer) -> Layer:
        return x * x

    def derivative(self, x: Layer) -> Layer:
        return 2.0 * x

    def second(self, x: Layer) -> Layer:
        return 2.0 * namespace(x).ones_like(x)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        return 0.5 * slope


@dataclass(frozen=True, eq=False)
class Reciprocal(Smooth):
    """1 / x, of positive numbers, where it is convex, or of negative ones, where it is concave."""

    domain = "numbers of one sign"
    steep = True

    def value(self, x: Layer) -> Layer:
        return 1.0 / x

    def derivative(self, x: Layer) -> Layer:
        return -1.0 / (x * x)

    def second(self, x: Layer) -> Layer:
        return 2.0 / (x * x * x)

    def stationary(self, slope: Layer, start: Layer, end: Layer, above: Mask) -> Layer:
        xp = namespace(slope)
        size = 1.0 / xp.sqrt(_positive(-slope))
        return xp.where(start > 0, size, -size)

    def admits(self, lower: Layer, upper: Layer) -> Mask:
        return (lower > 0) | (upper < 0)

    def pieces(self, lower: Layer, upper: Layer, above: Mask) -> tuple[Piece, ...]:
        xp = namespace(lower, upper)
        return ((xp.where((lower > 0) == above, upper, lower), upper),)


def _positive(x: Layer) -> Layer:
    """x, or the smallest normal number instead of less."""
    return namespace(x).maximum(x, namespace(x).full_like(x, tiniest(x)))


KINDS: dict[str, type[Relaxation]] = {
    "exp": Exp,
    "log": Log,
    "reciprocal": Reciprocal,
    "sqrt": Sqrt,
    "square": Square,
}
