"""The laws of every relaxation on smooth curves with domains, extrema and several inflections."""

from decimal import Decimal

import numpy as np
import pytest

from admm_verify.arrays import quiet_overflow
from admm_verify.relaxations.convex import Exp, Log, Reciprocal, Sqrt, Square
from tests.laws.test_piecewise_linear import Case, RelaxationLaws


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
