"""The laws of every relaxation on smooth curves with domains, extrema and several inflections."""

from decimal import Decimal

import mpmath
import numpy as np
import pytest

from admm_verify.arrays import quiet_overflow
from admm_verify.relaxations.convex import Exp, Log, Reciprocal, Sqrt, Square
from admm_verify.relaxations.gates import Gelu, GeluTanh, HardSwish, Mish, Silu
from admm_verify.relaxations.powers import Power
from admm_verify.relaxations.waves import Cos, Sin, Tan
from tests.laws.test_piecewise_linear import NEURONS, Case, RelaxationLaws


@pytest.fixture(autouse=True)
def quiet():
    """As at every door: what overflows has no bound, and says nothing of it."""
    with quiet_overflow():
        yield


class SteepCase(Case):
    """Neurons whose functions may be so steep that one rounding of p counts more than one of phi."""

    def slack(self, *points: np.ndarray) -> np.ndarray:
        reach = self.largest[0] * self.wide.gain(*self.ends)
        return super().slack(*points) + 64 * self.roundoff * np.where(np.isfinite(reach), reach, 0.0)

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        a, g = super().weights()
        return a, np.clip(g, -1e28, 1e28).astype(g.dtype)


@pytest.mark.slow
class SmoothLaws(RelaxationLaws):
    """The same draws, moved into the domain."""

    def placed(self, ends: np.ndarray) -> np.ndarray:
        """Drawn ends as ones of the domain, keeping their order."""
        return ends

    def case(self, seed: int, dtype: type) -> Case:
        drawn = super().case(seed, dtype)
        lower, upper = np.sort([self.placed(drawn.lower), self.placed(drawn.upper)], axis=0).astype(dtype)
        return SteepCase(drawn.relaxation, drawn.wide, lower, upper, drawn.rng)


def positive(ends: np.ndarray) -> np.ndarray:
    """Ends right of 0, of magnitudes whose reciprocals' squares have squares in float32."""
    return np.clip(np.abs(ends), 1e-4, 1e8)


class PoleLaws(SmoothLaws):
    """Curves with a pole at 0, or with an infinite slope there."""

    def placed(self, ends: np.ndarray) -> np.ndarray:
        return positive(ends)

    def shallow_case(self, seed: int, dtype: type) -> Case:
        case = self.case(seed, dtype)
        lower, upper = np.maximum(case.lower, case.upper / 3), np.minimum(case.upper, case.lower / 3)
        ends = np.where(case.lower > 0, lower, case.lower), np.where(case.upper < 0, upper, case.upper)
        return SteepCase(case.relaxation, case.wide, *(end.astype(dtype) for end in ends), case.rng)


class TestExp(SmoothLaws):
    kind = Exp

    def placed(self, ends: np.ndarray) -> np.ndarray:
        return np.clip(ends, -80, 40)

    def shallow_case(self, seed: int, dtype: type) -> Case:
        case = self.case(seed, dtype)
        upper = np.minimum(case.upper, case.lower + dtype(3))
        return SteepCase(case.relaxation, case.wide, case.lower, upper, case.rng)

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return p.exp()


class TestLog(PoleLaws):
    kind = Log

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return p.ln()


class TestSqrt(PoleLaws):
    kind = Sqrt

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return p.sqrt()


class TestSquare(SmoothLaws):
    kind = Square

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return p * p


class TestReciprocal(PoleLaws):
    kind = Reciprocal

    def case(self, seed: int, dtype: type) -> Case:
        drawn = super().case(seed, dtype)
        left = drawn.rng.random(drawn.lower.shape) < 0.5
        lower, upper = np.where(left, -drawn.upper, drawn.lower), np.where(left, -drawn.lower, drawn.upper)
        return SteepCase(drawn.relaxation, drawn.wide, lower, upper, drawn.rng)

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return 1 / p


class WrittenOut(SmoothLaws):
    """Curves whose values mpmath gives with 60 digits."""

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        """phi(x)."""
        raise NotImplementedError

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        with mpmath.workdps(60):
            return Decimal(mpmath.nstr(self.of(mpmath.mpf(str(p))), 60, strip_zeros=False))


class TestGelu(WrittenOut):
    kind = Gelu

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2


class TestGeluTanh(WrittenOut):
    kind = GeluTanh

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        inner = mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf(0.044715) * x**3)
        return x / (1 + mpmath.exp(-inner))


class TestSilu(WrittenOut):
    kind = Silu

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        return x / (1 + mpmath.exp(-x))


class TestMish(WrittenOut):
    kind = Mish

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        small = mpmath.exp(-abs(x))
        top, rest = (small * (small + 2), 2) if x < 0 else (1 + 2 * small, 2 * small**2)
        return x * top / (top + rest)


class TestHardSwish(WrittenOut):
    kind = HardSwish

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        return x * min(max(x + 3, mpmath.mpf(0)), mpmath.mpf(6)) / 6


class TestSin(WrittenOut):
    kind = Sin

    def placed(self, ends: np.ndarray) -> np.ndarray:
        return np.clip(ends, -1000, 1000)

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.sin(x)


class TestCos(WrittenOut):
    kind = Cos

    def placed(self, ends: np.ndarray) -> np.ndarray:
        return np.clip(ends, -1000, 1000)

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.cos(x)


class TestTan(WrittenOut):
    kind = Tan

    def placed(self, ends: np.ndarray) -> np.ndarray:
        return np.clip(ends, -1.5, 1.5)

    def shallow_case(self, seed: int, dtype: type) -> Case:
        case = self.case(seed, dtype)
        ends = np.clip([case.lower, case.upper], -1.2, 1.2).astype(dtype)
        return SteepCase(case.relaxation, case.wide, *ends, case.rng)

    def of(self, x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.tan(x)


class TestPower(WrittenOut):
    kind = Power

    def parameters(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [rng.choice([3.0, 4.0, 5.0], NEURONS)]

    def placed(self, ends: np.ndarray) -> np.ndarray:
        return np.clip(ends, -30, 30)

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return p ** int(parameters[0])


class TestFractionalPower(PoleLaws):
    kind = Power

    def parameters(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [rng.choice([-2.0, -1.5, -0.5, 0.25, 1.75], NEURONS)]

    def placed(self, ends: np.ndarray) -> np.ndarray:
        return np.clip(np.abs(ends), 1e-3, 1e3)

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        return p ** parameters[0]
