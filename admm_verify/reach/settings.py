"""How reachable sets are found."""

from dataclasses import dataclass, replace
from typing import Annotated

from admm_verify.bounds.preactivation import METHODS
from admm_verify.errors import InputError
from admm_verify.options import POSITIVE, AtLeastOne, Count, Range, Settings, choice
from admm_verify.settings import TightenSettings

_MOST_NUMBERS = 2**25
"""Of all simulated states: a quarter of a gigabyte."""


@dataclass(frozen=True, repr=False)
class ReachSettings(Settings):
    """Reachable sets.

    method: of the pre-activation bounds of the whole box, "crown" or "tightened". tighten: how those are tightened,
    None as hard as pays.
    iterations: of slope ascent of the final bounds. grid: cells per side to begin with. tolerance: halve cells until no
    bound exceeds what a trajectory attains by more than this share of the direction's sampled width; None halves
    nothing. cells: most of them. batch: halved at once. cell_method, cell_iterations: of the halved cells' bounds.
    window: steps in one graph, None for the whole horizon; then each step starts from the box that many steps before.
    samples: simulated trajectories.
    Raises: InputError for words, counts and numbers that are not of these kinds.
    """

    method: str = "tightened"
    tighten: TightenSettings | None = None
    iterations: Count = 50
    grid: AtLeastOne = 1
    tolerance: Annotated[float | None, POSITIVE] = None
    cells: AtLeastOne = 20_000
    batch: AtLeastOne = 64
    cell_method: str = "crown"
    cell_iterations: Count = 5
    window: Annotated[int | None, Range(1)] = None
    samples: AtLeastOne = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("method", "cell_method"):
            choice(getattr(self, name), f"The reach setting {name}", METHODS)
        if self.window is not None and self.tolerance is not None:
            raise InputError("Cells are halved over the whole horizon only; leave out the window or the tolerance.")

    @property
    def of_cells(self) -> "ReachSettings":
        """How halved cells are bounded."""
        return replace(self, method=self.cell_method, iterations=self.cell_iterations)

    def trajectories(self, steps: int, states: int) -> int:
        """How many trajectories of so many steps and states are simulated: as have room in memory, at least one."""
        return max(1, min(self.samples, _MOST_NUMBERS // (steps * states)))
