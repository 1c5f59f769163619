"""How Lipschitz constants are bounded."""

from dataclasses import dataclass

from admm_verify.options import AtLeastOne, Count, Nonnegative, Settings


@dataclass(frozen=True, repr=False)
class LipschitzSettings(Settings):
    """How `lipschitz_constant` works.

    semidefinite: whether the best multipliers are looked for, beside those in closed form; they end within `tolerance`,
    relatively, of the least constant that multipliers prove. points, rounds: of the ascent that attains a slope: from
    so many random points, so many times to neighbours of the steeper half.
    """

    semidefinite: bool = True
    tolerance: Nonnegative = 1e-3
    points: AtLeastOne = 64
    rounds: Count = 40
