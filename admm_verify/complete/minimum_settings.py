"""How a certified minimum is searched for."""

from dataclasses import dataclass, field
from typing import Annotated

from admm_verify.bounds.arithmetic import check_arithmetic
from admm_verify.options import ANY, Count, Nonnegative, Settings
from admm_verify.settings import RefineSettings, SearchSettings


def _search() -> SearchSettings:
    """Of values: more refinement than verdicts take, whose thresholds are mostly nearer to the bounds."""
    return SearchSettings(
        input_iterations=4, refinement=RefineSettings(rounds=12, nodes=500.0, least_gain=0.01, iterations=5)
    )


@dataclass(frozen=True, repr=False)
class MinimumSettings(Settings):
    """How `minimum` works, beyond what it is asked.

    relative, absolute: a row is done once upper - lower <= max(relative * |upper|, absolute). max_subproblems: parts of
    the sets that are bounded at most, None for no limit; 0 gives the root's bounds and attacks alone. passes: of the
    root's bounds, before sets are split. arithmetic: "real" bounds the network in real numbers; "float32" and "float64"
    subtract what evaluating it in that type can be off by. search: of the parts; sets of at most its `input_sides`
    sides of positive width, three times as many where activations are curved, are halved at those, others are split at
    neurons. Its refinement, of bounds of neurons where a row's value is below what is attained, comes first where more
    than six sides have a width.

    Raises: InputError for a choice that does not exist, or a value of another type or range.
    """

    relative: Nonnegative = 1e-3
    absolute: Nonnegative = 1e-6
    max_subproblems: Annotated[int | None, ANY] = None
    passes: Count = 30
    arithmetic: str = "real"
    search: SearchSettings = field(default_factory=_search)

    def __post_init__(self) -> None:
        check_arithmetic(self.arithmetic)
        super().__post_init__()
