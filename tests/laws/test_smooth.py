"""The laws of every relaxation on a smooth curve with many extrema and inflections."""

from decimal import Decimal

import mpmath
import numpy as np
import pytest

from admm_verify.arrays import quiet_overflow
from admm_verify.relaxations.waves import Sin
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

    def samples(self, count: int) -> np.ndarray:
        """With the extrema, between which values are."""
        extrema = [top[None] for top in self.relaxation.tops(self.lower, self.upper)[2:]]
        return np.concatenate([super().samples(count), *extrema])

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


class TestSin(SmoothLaws):
    kind = Sin

    def placed(self, ends: np.ndarray) -> np.ndarray:
        return np.clip(ends, -1000, 1000)

    def exact(self, parameters: list[Decimal], p: Decimal) -> Decimal:
        with mpmath.workdps(60):
            return Decimal(mpmath.nstr(mpmath.sin(mpmath.mpf(str(p))), 60, strip_zeros=False))
