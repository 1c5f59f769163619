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


@dataclass(frozen=True, repr=False)
class LocalLipschitzSettings(Settings):
    """How `local_lipschitz` works.

    bounds: the method of `preactivation_bounds`. semidefinite: whether the best multipliers are looked for; they end
    within `tolerance`, relatively, of the least constant that multipliers prove. points, rounds: of the ascent that
    attains a slope: from so many random points of the set, so many times towards others. most_subproblems: into how
    many parts the set is split at most; 0 for none. gap: the relative one between both ends at which splitting is over.
    """

    bounds: str = "tightened"
    semidefinite: bool = True
    tolerance: Nonnegative = 1e-3
    points: AtLeastOne = 32
    rounds: Count = 12
    most_subproblems: Count = 200
    gap: Nonnegative = 1e-6
